package snapshot

import (
	"strings"
	"unicode/utf8"
)

// escapeMark begins the shown form of a name that package fs would refuse.
const escapeMark = "%raw%"

// EscapeName returns the form in which FS shows the name of an entry. Most
// names are shown as they are. A name that is not UTF-8, contains a backslash
// (which users of package fs may take for a separator) or begins with "%raw%"
// is shown as "%raw%" followed by the name in which each backslash, percent
// sign and byte that is not UTF-8 is a percent sign and two upper-case hex
// digits: "caf\xe9" becomes "%raw%caf%E9". No two names have the same form.
func EscapeName(name string) string {
	if utf8.ValidString(name) && !strings.Contains(name, `\`) && !strings.HasPrefix(name, escapeMark) {
		return name
	}
	const digits = "0123456789ABCDEF"
	var b strings.Builder
	b.WriteString(escapeMark)
	for i := 0; i < len(name); {
		r, w := utf8.DecodeRuneInString(name[i:])
		if c := name[i]; c == '%' || c == '\\' || r == utf8.RuneError && w == 1 {
			b.WriteByte('%')
			b.WriteByte(digits[c>>4])
			b.WriteByte(digits[c&15])
		} else {
			b.WriteString(name[i : i+w])
		}
		i += w
	}
	return b.String()
}

// UnescapeName returns the name that EscapeName shows as shown; false if it
// shows no name so.
func UnescapeName(shown string) (string, bool) {
	name := shown
	if rest, ok := strings.CutPrefix(shown, escapeMark); ok {
		var b strings.Builder
		for i := 0; i < len(rest); i++ {
			if rest[i] != '%' {
				b.WriteByte(rest[i])
				continue
			}
			if i+2 >= len(rest) {
				return "", false
			}
			hi, lo := hexDigit(rest[i+1]), hexDigit(rest[i+2])
			if hi < 0 || lo < 0 {
				return "", false
			}
			b.WriteByte(byte(hi<<4 | lo))
			i += 2
		}
		name = b.String()
	}
	if CheckName(name) != nil || EscapeName(name) != shown {
		return "", false
	}
	return name, true
}

func hexDigit(c byte) int {
	switch {
	case c >= '0' && c <= '9':
		return int(c - '0')
	case c >= 'A' && c <= 'F':
		return int(c-'A') + 10
	}
	return -1
}
