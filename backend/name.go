package backend

import (
	"fmt"
	"strings"
)

// Limits of object names. They are what every driver can store: file systems
// take 255 bytes an element, S3 1024 bytes a key, of which the place's own
// prefix needs some.
const (
	maxElement = 255
	maxName    = 512
)

// Check reports whether name is a valid object name: elements joined by
// single slashes, each of 1 to 255 bytes of [a-z0-9._-] that does not begin
// with a dot, 512 bytes in all. Names that begin with a dot are left to the
// drivers' temporary files and to file systems (".", "..", ".snapshot"), and
// upper case is left out because some file systems fold it. The error matches
// [ErrName].
func Check(name string) error {
	if name == "" {
		return fmt.Errorf("%w: empty", ErrName)
	}
	if len(name) > maxName {
		return fmt.Errorf("%w: %d bytes, limit %d", ErrName, len(name), maxName)
	}
	start := 0
	for i := 0; i <= len(name); i++ {
		if i < len(name) && name[i] != '/' {
			if !validByte(name[i]) {
				return fmt.Errorf("%w: %q holds %q", ErrName, name, name[i])
			}
			continue
		}
		switch elem := name[start:i]; {
		case elem == "":
			return fmt.Errorf("%w: %q has an empty element", ErrName, name)
		case elem[0] == '.':
			return fmt.Errorf("%w: %q has an element that begins with a dot", ErrName, name)
		case len(elem) > maxElement:
			return fmt.Errorf("%w: %q has an element of %d bytes, limit %d", ErrName, name, len(elem), maxElement)
		}
		start = i + 1
	}
	return nil
}

// CheckPrefix reports whether prefix may be given to List: "" or a valid name
// followed by "/". The error matches [ErrName].
func CheckPrefix(prefix string) error {
	if prefix == "" {
		return nil
	}
	dir, ok := strings.CutSuffix(prefix, "/")
	if !ok {
		return fmt.Errorf("%w: prefix %q does not end in a slash", ErrName, prefix)
	}
	return Check(dir)
}

func validByte(c byte) bool {
	return 'a' <= c && c <= 'z' || '0' <= c && c <= '9' || c == '.' || c == '_' || c == '-'
}
