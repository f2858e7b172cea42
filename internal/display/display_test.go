package display

import (
	"testing"
	"time"
	"unicode"
	"unicode/utf8"
)

func TestName(t *testing.T) {
	for in, want := range map[string]string{
		"plain":            "plain",
		"with space":       "with space",
		"über/日本":          "über/日本",
		"":                 `""`,
		" lead":            `" lead"`,
		"trail ":           `"trail "`,
		`"quoted"`:         `"\"quoted\""`,
		"esc\x1b[2J":       `"esc\x1b[2J"`,
		"line\nbreak":      `"line\nbreak"`,
		"bad\xff":          `"bad\xff"`,
		"bidi\u202egnp.":   `"bidi\u202egnp."`,
		"zero\u200bwidth":  `"zero\u200bwidth"`,
		"no\u00a0break":    `"no\u00a0break"`,
		"csi\u009b31m":     `"csi\u009b31m"`,
		"separator\u2028x": `"separator\u2028x"`,
	} {
		if got := Name(in); got != want {
			t.Errorf("Name(%q) = %s, want %s", in, got, want)
		}
	}
}

func TestLine(t *testing.T) {
	for in, want := range map[string]string{
		"open x: no such file": "open x: no such file",
		"a\nb\x1b[0m\xffc":     `a\nb\x1b[0m\xffc`,
		"\u202eevil":           `\u202eevil`,
		"it's \"quoted\"\t.":   `it's "quoted"\t.`,
	} {
		if got := Line(in); got != want {
			t.Errorf("Line(%q) = %s, want %s", in, got, want)
		}
	}
}

func FuzzLine(f *testing.F) {
	for _, s := range []string{"", "a", "\x1b]0;title\a", "\u202e", "\xff\xfe", "日本"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		for _, out := range []string{Line(s), Name(s)} {
			if !utf8.ValidString(out) {
				t.Fatalf("%q gives invalid UTF-8 %q", s, out)
			}
			for _, r := range out {
				if unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r) {
					t.Fatalf("%q gives %q, which holds %U", s, out, r)
				}
			}
		}
	})
}

func TestQuantities(t *testing.T) {
	for in, want := range map[uint64]string{
		0: "0 B", 1023: "1023 B", 1024: "1.0 KiB", 1<<20 - 1: "1.0 MiB", 3 << 29: "1.5 GiB", 1<<64 - 1: "16.0 EiB",
	} {
		if got := Bytes(in); got != want {
			t.Errorf("Bytes(%d) = %q, want %q", in, got, want)
		}
	}
	for in, want := range map[time.Duration]string{
		-time.Second: "0.0 s", 1234 * time.Millisecond: "1.2 s", 12 * time.Second: "12 s",
		185 * time.Second: "3:05", 3723 * time.Second: "1:02:03",
	} {
		if got := Duration(in); got != want {
			t.Errorf("Duration(%v) = %q, want %q", in, got, want)
		}
	}
	if got := Count(1, "file") + Count(2, "file") + Count(0, "directory"); got != "1 file2 files0 directories" {
		t.Errorf("Count: %q", got)
	}
}
