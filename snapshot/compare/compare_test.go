package compare_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"vault/crypto"
	"vault/internal/treetest"
	"vault/snapshot"
	"vault/snapshot/compare"
)

func diff(t *testing.T, s *treetest.Store, old, now *snapshot.Node) (list []string, r compare.Report) {
	t.Helper()
	err := compare.Diff(t.Context(), s, old, now, func(c compare.Change) error {
		r.Add(c)
		list = append(list, strings.TrimSpace(fmt.Sprintf("%s %s %s", c.Kind, c.Path, strings.Join(c.What, ","))))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return list, r
}

func TestDiff(t *testing.T) {
	s := treetest.NewStore()
	old := s.Tree(t, "a/=", "a/same=x", "a/x=1", "b=22", "gone/=", "gone/deep=333", "kind/=", "kind/in=1", "m=x", "z=9")
	now := s.Tree(t, "a/=", "a/same=x", "a/x=2", "b=22", "kind=file", "m=x:mode", "new/=", "new/deep=4444", "z=9")
	list, r := diff(t, s, old, now)
	want := []string{"changed a/x content", "removed gone", "removed gone/deep", "removed kind", "removed kind/in", "added kind",
		"metadata m mode", "added new", "added new/deep"}
	if !slices.Equal(list, want) {
		t.Errorf("got  %q\nwant %q", list, want)
	}
	if want := (compare.Report{Added: 3, Removed: 4, Changed: 1, Metadata: 1, BytesAdded: 4 + 4 + 1, BytesRemoved: 3 + 1 + 1}); r != want {
		t.Errorf("report %+v, want %+v", r, want)
	}
	if list, _ := diff(t, s, old, old); len(list) != 0 {
		t.Errorf("a tree differs from itself: %q", list)
	}
	if list, _ := diff(t, s, nil, s.Tree(t, "f=x")); !slices.Equal(list, []string{"added", "added f"}) {
		t.Errorf("from nothing: %q", list)
	}
}

// TestSharedIsNotRead: what both have in common costs nothing.
func TestSharedIsNotRead(t *testing.T) {
	s := treetest.NewStore()
	entries := []string{"big/="}
	for i := range 3000 {
		entries = append(entries, fmt.Sprintf("big/%05d=x", i))
	}
	old := s.Tree(t, append(entries, "z=1")...)
	now := s.Tree(t, append(entries, "z=2")...)
	s.Gets = 0
	if list, _ := diff(t, s, old, now); len(list) != 1 {
		t.Errorf("got %q", list)
	}
	if s.Gets != 2 {
		t.Errorf("%d pages were read, want the two that differ", s.Gets)
	}
}

func TestMetadata(t *testing.T) {
	base := snapshot.Node{Type: snapshot.File, Mode: 0o644, Inode: 1, CTime: snapshot.Time{Sec: 1}, Links: 2}
	for what, change := range map[string]func(n *snapshot.Node){
		"metadata  mode":   func(n *snapshot.Node) { n.Mode = 0o600 },
		"metadata  owner":  func(n *snapshot.Node) { n.User = "x" },
		"metadata  mtime":  func(n *snapshot.Node) { n.MTime.Nsec = 1 },
		"metadata  flags":  func(n *snapshot.Node) { n.Flags = 1 },
		"metadata  xattrs": func(n *snapshot.Node) { n.Xattrs = []snapshot.Xattr{{Name: "user.a"}} },
		"changed  content,mtime": func(n *snapshot.Node) {
			n.Size, n.Content.Inline, n.MTime.Sec = 1, []byte("x"), 5
		},
		"changed  type": func(n *snapshot.Node) { n.Type = snapshot.FIFO },
		"":              func(n *snapshot.Node) { n.Inode, n.CTime, n.Links, n.Device = 2, snapshot.Time{Sec: 2}, 1, 1 },
	} {
		now := base
		change(&now)
		list, _ := diff(t, treetest.NewStore(), &base, &now)
		if got := strings.Join(list, ";"); got != what {
			t.Errorf("got %q, want %q", got, what)
		}
	}
}

func TestErrorsEndIt(t *testing.T) {
	s := treetest.NewStore()
	stop := errors.New("stop")
	calls := 0
	err := compare.Diff(t.Context(), s, nil, s.Tree(t, "a=1", "b=2"), func(compare.Change) error { calls++; return stop })
	if !errors.Is(err, stop) || calls != 1 {
		t.Errorf("%v after %d calls", err, calls)
	}
	old, now := s.Tree(t, "d/=", "d/a=1"), s.Tree(t, "d/=", "d/a=2")
	d, err := snapshot.Lookup(t.Context(), s, now.Tree, "d")
	if err != nil {
		t.Fatal(err)
	}
	s.Lose(crypto.BlobTree, d.Tree)
	if err := compare.Diff(t.Context(), s, old, now, func(compare.Change) error { return nil }); err == nil {
		t.Error("a missing page was not noticed")
	}
}
