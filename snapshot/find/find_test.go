package find_test

import (
	"slices"
	"testing"

	"vault/internal/treetest"
	"vault/snapshot"
	"vault/snapshot/find"
)

func found(t *testing.T, s *treetest.Store, f *find.Finder, root *snapshot.Node) (list []string) {
	t.Helper()
	err := f.Find(t.Context(), "root", root, func(p string, _ *snapshot.Node) error {
		list = append(list, p)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return list
}

func TestPatterns(t *testing.T) {
	s := treetest.NewStore()
	root := s.Tree(t, "A.conf=1", "d/=", "d/a.conf=1", "d/e/=", "d/e/a.conf=22", "d/e/f=333", "x\xff=1")
	for _, c := range []struct {
		q    find.Query
		want []string
	}{
		{find.Query{Patterns: []string{"a.conf"}}, []string{"d/a.conf", "d/e/a.conf"}},
		{find.Query{Patterns: []string{"a.conf"}, Fold: true}, []string{"A.conf", "d/a.conf", "d/e/a.conf"}},
		{find.Query{Patterns: []string{"e/*"}}, []string{"d/e/a.conf", "d/e/f"}},
		{find.Query{Patterns: []string{"/*"}}, []string{"A.conf", "d", "x\xff"}},
		{find.Query{Patterns: []string{"/d/*"}}, []string{"d/a.conf", "d/e"}},
		{find.Query{Patterns: []string{"d/e/f/g"}}, nil},
		{find.Query{Patterns: []string{"x?"}}, []string{"x\xff"}},
		{find.Query{Types: []snapshot.Type{snapshot.Directory}}, []string{"d", "d/e"}},
		{find.Query{Larger: size(2)}, []string{"d/e/a.conf", "d/e/f"}},
		{find.Query{Larger: size(2), Smaller: size(2)}, []string{"d/e/a.conf"}},
		{find.Query{Smaller: size(1), Patterns: []string{"*.conf", "f"}}, []string{"A.conf", "d/a.conf"}},
	} {
		if err := c.q.Check(); err != nil {
			t.Fatal(err)
		}
		if got := found(t, s, find.New(s, c.q), root); !slices.Equal(got, c.want) {
			t.Errorf("%+v: %q, want %q", c.q, got, c.want)
		}
	}
	if err := (&find.Query{Patterns: []string{"[x"}}).Check(); err == nil {
		t.Error("a malformed pattern was accepted")
	}
	file := &snapshot.Node{Type: snapshot.File}
	if got := found(t, s, find.New(s, find.Query{Patterns: []string{"ro*"}}), file); !slices.Equal(got, []string{""}) {
		t.Errorf("a root that is a file: %q", got)
	}
}

func size(n uint64) *uint64 { return &n }

func TestTimes(t *testing.T) {
	at := snapshot.Time{Sec: 100, Nsec: 5}
	n := &snapshot.Node{MTime: at}
	after := snapshot.Time{Sec: 100, Nsec: 6}
	for _, c := range []struct {
		q    find.Query
		want bool
	}{{find.Query{Newer: &at}, true}, {find.Query{Newer: &after}, false}, {find.Query{Older: &at}, false}, {find.Query{Older: &after}, true}} {
		if got := c.q.Match("x", n); got != c.want {
			t.Errorf("%+v: %t", c.q, got)
		}
	}
}

// TestBarren: what holds no match is read once, whatever backup it is in - but
// not where the path decides, which is another one elsewhere.
func TestBarren(t *testing.T) {
	s := treetest.NewStore()
	a := s.Tree(t, "one/=", "one/deep/=", "one/deep/f=1", "hit=1")
	b := s.Tree(t, "two/=", "two/deep/=", "two/deep/f=1", "hit=1", "more=1")
	f := find.New(s, find.Query{Patterns: []string{"hit"}})
	if got := found(t, s, f, a); !slices.Equal(got, []string{"hit"}) {
		t.Errorf("first: %q", got)
	}
	s.Gets = 0
	if got := found(t, s, f, b); !slices.Equal(got, []string{"hit"}) {
		t.Errorf("second: %q", got)
	}
	if s.Gets != 1 {
		t.Errorf("%d pages were read the second time, want the root alone", s.Gets)
	}
	f = find.New(s, find.Query{Patterns: []string{"two/deep/f"}})
	if got := found(t, s, f, a); got != nil {
		t.Errorf("first by path: %q", got)
	}
	if got := found(t, s, f, b); !slices.Equal(got, []string{"two/deep/f"}) {
		t.Errorf("second by path: %q", got)
	}
}
