package snapshot

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"runtime"
	"slices"
	"strings"
	"testing"

	"vault/crypto"
)

// tree stores a tree given as paths ("a/" is a directory) and returns its root.
func tree(t testing.TB, m *memStore, paths ...string) *Node {
	t.Helper()
	type dir map[string]any
	root := dir{}
	for _, p := range paths {
		d := root
		parts := strings.Split(strings.TrimSuffix(p, "/"), "/")
		for i, part := range parts {
			if i == len(parts)-1 && !strings.HasSuffix(p, "/") {
				d[part] = nil
				break
			}
			if d[part] == nil {
				d[part] = dir{}
			}
			d = d[part].(dir)
		}
	}
	var store func(name string, d dir) *Node
	store = func(name string, d dir) *Node {
		var nodes []*Node
		for part, below := range d {
			if below, ok := below.(dir); ok {
				nodes = append(nodes, store(part, below))
			} else {
				nodes = append(nodes, fileNode(part, 3))
			}
		}
		slices.SortFunc(nodes, func(a, b *Node) int { return strings.Compare(a.Name, b.Name) })
		return dirNode(name, writeDir(t, m, DefaultThresholds(), nodes))
	}
	return store("", root)
}

func TestWalkOrder(t *testing.T) {
	m := newStore()
	root := tree(t, m, "a/x", "a/b/c", "a-b", "z", "empty/", "\xff\xfe")
	var got []string
	err := Walk(t.Context(), m, root, func(path string, n *Node) error {
		if i := strings.LastIndexByte(path, '/'); n.Name != path[i+1:] {
			t.Errorf("path %q of a node called %q", path, n.Name)
		}
		got = append(got, path)
		return nil
	})
	want := []string{"", "a", "a/b", "a/b/c", "a/x", "a-b", "empty", "z", "\xff\xfe"}
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("walk %q, %v, want %q", got, err, want)
	}
	for _, tt := range []struct {
		at   string
		err  error
		want string
	}{
		{"a", fs.SkipDir, " a a-b empty z \xff\xfe"},
		{"a/b", fs.SkipDir, " a a/b a/x a-b empty z \xff\xfe"},
		{"a/b/c", fs.SkipDir, " a a/b a/b/c a/x a-b empty z \xff\xfe"},
		{"a-b", fs.SkipDir, " a a/b a/b/c a/x a-b"},
		{"a/x", fs.SkipAll, " a a/b a/b/c a/x"},
		{"", fs.SkipDir, ""},
	} {
		got := []string{}
		err := Walk(t.Context(), m, root, func(path string, n *Node) error {
			got = append(got, path)
			if path == tt.at {
				return tt.err
			}
			return nil
		})
		if strings.Join(got, " ") != tt.want || err != nil {
			t.Errorf("%v at %q: %q, %v", tt.err, tt.at, got, err)
		}
	}
	boom := errors.New("boom")
	if err := Walk(t.Context(), m, root, func(string, *Node) error { return boom }); err != boom {
		t.Errorf("error of fn: %v", err)
	}
	file := fileNode("", 3)
	w := NewWalker(t.Context(), m, file)
	if n, err := w.Next(); n != file || err != nil {
		t.Errorf("root that is a file: %v, %v", n, err)
	}
	if n, err := w.Next(); err != io.EOF {
		t.Errorf("after it: %v, %v", n, err)
	}
}

// TestWalkGoesOn: a directory that cannot be read does not hide its siblings.
func TestWalkGoesOn(t *testing.T) {
	m := newStore()
	a, c := tree(t, m, "x"), tree(t, m, "y")
	root := dirNode("", writeDir(t, m, DefaultThresholds(), []*Node{dirNode("a", a.Tree), dirNode("b", crypto.ID{1}), dirNode("c", c.Tree)}))
	w := NewWalker(t.Context(), m, root)
	var got []string
	for {
		_, err := w.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			if !errors.Is(err, fs.ErrNotExist) || w.Path() != "b" {
				t.Errorf("at %q: %v", w.Path(), err)
			}
			got = append(got, "!")
			continue
		}
		got = append(got, fmt.Sprint(w.Path(), w.Depth()))
	}
	if s := strings.Join(got, " "); s != "0 a1 a/x2 b1 ! c1 c/y2" {
		t.Errorf("walk: %s", s)
	}
}

// chain stores directories in one another, depth of them below the root.
func chain(m *memStore, depth int) *Node {
	id := m.page(DirLeaf, 0)
	for range depth {
		id = m.page(DirLeaf, 0, mustEntry(dirNode("d", id)))
	}
	return dirNode("", id)
}

func TestWalkDeep(t *testing.T) {
	for _, tt := range []struct {
		depth int
		want  error
	}{{MaxDepth - 1, io.EOF}, {MaxDepth, ErrTooLarge}} {
		m := newStore()
		w := NewWalker(t.Context(), m, chain(m, tt.depth))
		deepest := 0
		var err error
		for err == nil {
			_, err = w.Next()
			deepest = max(deepest, w.Depth())
		}
		if !errors.Is(err, tt.want) {
			t.Errorf("%d deep: %v, want %v", tt.depth, err, tt.want)
		}
		if deepest != MaxDepth-1 && deepest != MaxDepth {
			t.Errorf("%d deep: got to %d", tt.depth, deepest)
		}
	}
}

// TestWalkBomb: two entries a directory, 64 deep, are 2^64 entries in 64 small
// pages.
func TestWalkBomb(t *testing.T) {
	m := newStore()
	id := m.page(DirLeaf, 0)
	for range 64 {
		id = m.page(DirLeaf, 0, mustEntry(dirNode("a", id)), mustEntry(dirNode("b", id)))
	}
	w := NewWalker(t.Context(), m, dirNode("", id))
	w.MaxEntries = 100_000
	n := uint64(0)
	var err error
	for err == nil {
		if _, err = w.Next(); err == nil {
			n++
		}
	}
	if !errors.Is(err, ErrTooLarge) || n != w.MaxEntries {
		t.Errorf("%d entries, %v", n, err)
	}
	if w.held > 1<<20 {
		t.Errorf("the walker holds %d bytes", w.held)
	}
	// A tree of exactly as many entries is whole.
	w = NewWalker(t.Context(), m, chain(m, 2))
	w.MaxEntries = 3
	for range 3 {
		if _, err := w.Next(); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := w.Next(); err != io.EOF {
		t.Errorf("at the limit: %v", err)
	}
}

// TestWalkSuspends: large pages on every level of a deep tree are given up and
// read again, and nothing is lost.
func TestWalkSuspends(t *testing.T) {
	m := newStore()
	id := m.page(DirLeaf, 0, entry("bottom"))
	big := fileNode("", 0)
	for i := range 200 {
		big.Xattrs = append(big.Xattrs, Xattr{Name: fmt.Sprintf("user.%03d", i), Value: make([]byte, 1000)})
	}
	var pages [][]byte
	for i := range 5 {
		big.Name = fmt.Sprintf("a%d", i)
		pages = append(pages, mustEntry(big))
	}
	const depth = 120 // of pages of 1 MB
	for range depth {
		l1 := m.page(DirLeaf, 0, append(slices.Clone(pages), mustEntry(dirNode("d", id)))...)
		l2 := m.page(DirLeaf, 0, mustEntry(fileNode("e", 0)), mustEntry(fileNode("f", 0)))
		id = m.page(DirInner, 1, dirRef("d", l1, 6), dirRef("f", l2, 2))
	}
	w := NewWalker(t.Context(), m, dirNode("", id))
	n, most := 0, 0
	suspended := false
	for {
		_, err := w.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		n++
		held := 0
		for _, d := range w.dirs {
			held += d.reader.pages.held()
		}
		if held != w.held {
			t.Fatalf("the walker holds %d bytes and counts %d", held, w.held)
		}
		most = max(most, held)
		suspended = suspended || w.cold > 0
	}
	if want := 1 + depth*8 + 1; n != want {
		t.Errorf("%d entries, want %d", n, want)
	}
	if !suspended || most > walkBudget+4<<20 {
		t.Errorf("suspended: %t; the walker held %d MiB", suspended, most>>20)
	}
	runtime.KeepAlive(w)
}
