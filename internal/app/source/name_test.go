package source

import (
	"testing"

	"vault/snapshot"
)

func TestNames(t *testing.T) {
	for s, want := range map[string]string{"": "%", ".": "%2E", "..": "%2E%2E", "...": "...", "a.b": "a.b", "module/x/ui_name": "module%2Fx%2Fui_name",
		"100%": "100%25", "%2E": "%252E", "\x00": "%00", "caf\xe9": "caf\xe9"} {
		if got := EscapeName(s); got != want {
			t.Errorf("%q becomes %q, want %q", s, got, want)
		}
		if got, err := UnescapeName(want); err != nil || got != s {
			t.Errorf("%q comes back as %q (%v)", s, got, err)
		}
	}
	for _, name := range []string{"", ".", "..", "a%", "%self", "%2e", "a%2Eb", "a/b", "%41"} {
		if got, err := UnescapeName(name); err == nil {
			t.Errorf("%q is %q", name, got)
		}
	}
}

func FuzzNames(f *testing.F) {
	f.Add("a%2F/b")
	f.Add("..")
	f.Fuzz(func(t *testing.T, s string) {
		name := EscapeName(s)
		if back, err := UnescapeName(name); err != nil || back != s {
			t.Fatalf("%q: %q: %q, %v", s, name, back, err)
		}
		if err := snapshot.CheckName(name); err != nil && len(name) <= snapshot.MaxName {
			t.Fatalf("%q: %v", s, err)
		}
		if back, err := UnescapeName(s); err == nil && EscapeName(back) != s {
			t.Fatalf("%q is read as %q", s, back)
		}
	})
}
