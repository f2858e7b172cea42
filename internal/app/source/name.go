package source

import (
	"fmt"
	"strings"
)

// EscapeName returns the name of an entry for any string of bytes: a key of a
// database, a part of a key of a bucket. Percent signs, slashes and NUL bytes become
// a percent sign and two upper-case hex digits, and so do the dots of "." and "..".
// The empty string becomes "%". No two strings have the same name.
func EscapeName(s string) string {
	switch s {
	case "":
		return "%"
	case ".", "..":
		return strings.Repeat("%2E", len(s))
	}
	return nameEscaper.Replace(s)
}

var nameEscaper = strings.NewReplacer("%", "%25", "/", "%2F", "\x00", "%00")

// UnescapeName returns the string that EscapeName gives a name to. Any other name is
// an error.
func UnescapeName(name string) (string, error) {
	s := strings.NewReplacer("%25", "%", "%2F", "/", "%00", "\x00", "%2E", ".").Replace(name)
	if name == "%" {
		s = ""
	}
	if EscapeName(s) != name {
		return "", fmt.Errorf("%q is no escaped name", name)
	}
	return s, nil
}
