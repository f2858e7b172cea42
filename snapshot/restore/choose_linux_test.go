package restore

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"vault/internal/match"
	"vault/snapshot"
)

// TestChoose: patterns choose, in volumes by name and in volumes by path.
func TestChoose(t *testing.T) {
	s := newStore()
	root := s.tree(dirOf("",
		dirOf("docs", s.fileOf("a.txt", "x"), s.fileOf("b.TXT", "x"), s.fileOf("c.jpg", "x"), dirOf("old", s.fileOf("a.txt", "x"))),
		dirOf("src", dirOf("lib", s.fileOf("main.c", "x")), s.fileOf("Makefile", "x")), dirOf("empty"), s.fileOf("top", "x")))
	includes := func(fold bool, patterns ...string) []*match.List {
		return []*match.List{must1(match.ParseArgs(match.Restic, patterns, match.Options{Includes: true, Fold: fold}))}
	}
	excludes := func(patterns ...string) []*match.List {
		return []*match.List{must1(match.ParseArgs(match.Restic, patterns, match.Options{}))}
	}
	for name, c := range map[string]struct {
		volume string
		choice Choice
		want   string
	}{
		"everything":           {"v", Choice{}, "docs docs/a.txt docs/b.TXT docs/c.jpg docs/old docs/old/a.txt empty src src/Makefile src/lib src/lib/main.c top"},
		"below":                {"v", Choice{Below: "src/lib"}, "src src/lib src/lib/main.c"},
		"name":                 {"v", Choice{Includes: includes(false, "*.txt")}, "docs docs/a.txt docs/old docs/old/a.txt"},
		"name, any case":       {"v", Choice{Includes: includes(true, "*.txt")}, "docs docs/a.txt docs/b.TXT docs/old docs/old/a.txt"},
		"directory":            {"v", Choice{Includes: includes(false, "src")}, "src src/Makefile src/lib src/lib/main.c"},
		"directory anywhere":   {"v", Choice{Includes: includes(false, "old")}, "docs docs/old docs/old/a.txt"},
		"anchored":             {"v", Choice{Includes: includes(false, "/docs/a.txt")}, "docs docs/a.txt"},
		"anchored, no match":   {"v", Choice{Includes: includes(false, "/a.txt")}, ""},
		"by path":              {"/home/u", Choice{Includes: includes(false, "/home/u/docs/a.txt")}, "docs docs/a.txt"},
		"by path, above":       {"/home/u", Choice{Includes: includes(false, "/home")}, "docs docs/a.txt docs/b.TXT docs/c.jpg docs/old docs/old/a.txt empty src src/Makefile src/lib src/lib/main.c top"},
		"by path, elsewhere":   {"/home/u", Choice{Includes: includes(false, "/docs")}, ""},
		"negated":              {"v", Choice{Includes: includes(false, "docs", "!*.jpg")}, "docs docs/a.txt docs/b.TXT docs/old docs/old/a.txt"},
		"excluded":             {"v", Choice{Excludes: excludes("*.txt", "src")}, "docs docs/b.TXT docs/c.jpg docs/old empty top"},
		"excluded by path":     {"/home/u", Choice{Excludes: excludes("/home/u/docs", "/home/u/src/lib/*")}, "empty src src/Makefile src/lib top"},
		"included, excluded":   {"v", Choice{Includes: includes(false, "docs"), Excludes: excludes("old", "b*")}, "docs docs/a.txt docs/c.jpg"},
		"below, included":      {"v", Choice{Below: "docs/old", Includes: includes(false, "a.txt")}, "docs docs/old docs/old/a.txt"},
		"below, wholly out":    {"v", Choice{Below: "docs/old", Excludes: excludes("docs")}, ""},
		"below, similar names": {"v", Choice{Below: "to"}, ""},
	} {
		target := t.TempDir()
		ch := NewChooser(c.choice)
		if ch.All() != (name == "everything") {
			t.Errorf("%s: all is %t", name, ch.All())
		}
		entered := 0
		rep, err := Run(context.Background(), Options{Source: s, Target: target, Select: ch.Select, Descend: func(v, p string, n *snapshot.Node) bool {
			ok := ch.Descend(v, p, n)
			if ok {
				entered++
			}
			return ok
		}}, []Volume{{Volume: &snapshot.Volume{Name: c.volume, Root: root, State: snapshot.Complete}, Dir: "v"}})
		must(err)
		noProblems(t, rep)
		want := "[v" + strings.ReplaceAll(" "+c.want, " ", " v/") + "]"
		if c.want == "" {
			want = "[v]"
		}
		if got := fmt.Sprint(list(target)); got != want {
			t.Errorf("%s: restored %s, want %s", name, got, want)
		}
		if name == "anchored, no match" && entered > 0 {
			t.Errorf("%s: %d directories were entered", name, entered)
		}
	}
}
