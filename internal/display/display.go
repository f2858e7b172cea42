// Package display writes names and quantities for people.
//
// File names and messages come from anywhere: a name may hold escape sequences
// that rewrite a terminal, characters that turn the direction of writing, or
// bytes that are no text at all. What goes to a person passes through Name or
// Line first. Programs read JSON instead, where names stand unchanged.
package display

import (
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// Name returns s as it is if that is safe and unmistakable, else quoted as a Go
// string: control bytes, bidirectional controls, invisible characters, invalid
// UTF-8, spaces at the ends and names that look quoted already are escaped.
func Name(s string) string {
	if s == "" || s[0] == '"' || s[0] == ' ' || s[len(s)-1] == ' ' || !printable(s) {
		return strconv.Quote(s)
	}
	return s
}

// Line returns s with everything escaped that is not printable, so that it
// stays one line and changes nothing else on the terminal.
func Line(s string) string {
	if printable(s) {
		return s
	}
	var b strings.Builder
	for i, w := 0, 0; i < len(s); i += w {
		var r rune
		r, w = utf8.DecodeRuneInString(s[i:])
		switch {
		case r == utf8.RuneError && w == 1:
			fmt.Fprintf(&b, `\x%02x`, s[i])
		case safe(r):
			b.WriteRune(r)
		default:
			q := strconv.QuoteRune(r)
			b.WriteString(q[1 : len(q)-1])
		}
	}
	return b.String()
}

func printable(s string) bool {
	if !utf8.ValidString(s) {
		return false
	}
	for _, r := range s {
		if !safe(r) {
			return false
		}
	}
	return true
}

// safe reports whether a terminal shows r and nothing else happens: IsPrint
// leaves out control characters and all of category Cf, to which the
// bidirectional controls belong.
func safe(r rune) bool { return unicode.IsPrint(r) }

// Bytes returns n with a binary unit, as "1.5 MiB".
func Bytes(n uint64) string {
	if n < 1<<10 {
		return fmt.Sprintf("%d B", n)
	}
	v, unit := float64(n)/(1<<10), 0
	for v >= 1023.95 && unit < len("KMGTPE")-1 {
		v /= 1 << 10
		unit++
	}
	return fmt.Sprintf("%.1f %ciB", v, "KMGTPE"[unit])
}

// Duration returns d with the precision that matters, as "0.4 s", "12 s",
// "3:05" or "1:02:03".
func Duration(d time.Duration) string {
	d = max(d, 0)
	if d < 10*time.Second {
		return fmt.Sprintf("%.1f s", d.Seconds())
	}
	s := int64(d.Round(time.Second) / time.Second)
	switch {
	case s < 60:
		return fmt.Sprintf("%d s", s)
	case s < 3600:
		return fmt.Sprintf("%d:%02d", s/60, s%60)
	}
	return fmt.Sprintf("%d:%02d:%02d", s/3600, s/60%60, s%60)
}

// Count returns "1 file", "2 files".
func Count(n uint64, one string) string {
	if n == 1 {
		return "1 " + one
	}
	if strings.HasSuffix(one, "y") {
		one = strings.TrimSuffix(one, "y") + "ie"
	}
	return fmt.Sprintf("%d %ss", n, one)
}
