package archive

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"vault/crypto"
	"vault/snapshot"
)

// sample makes a tree with some of everything that needs no privilege.
func sample(t testing.TB) string {
	t.Helper()
	dir := t.TempDir()
	for _, d := range []string{"a/b/c", "empty", "many"} {
		mkdir(t, filepath.Join(dir, d))
	}
	for name, size := range map[string]int{"none": 0, "one": 1, "inline": 128, "over": 129, "min": 1 << 10,
		"a/mid": 40_000, "a/b/big": 700_000, "a/b/c/x": 5000} {
		write(t, filepath.Join(dir, name), noise(byte(size), size))
	}
	write(t, filepath.Join(dir, "zeros"), make([]byte, 100_000))
	for i := range 700 {
		write(t, filepath.Join(dir, "many", fmt.Sprintf("f%03d", i)), noise(byte(i), i))
	}
	write(t, filepath.Join(dir, "bad\xff\xfename"), []byte("x"))
	for target, name := range map[string]string{"../nowhere\xff": "a/link", "inline": "z"} {
		if err := os.Symlink(target, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	if err := unix.Mkfifo(filepath.Join(dir, "pipe"), 0o640); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(filepath.Join(dir, "a/mid"), 0o751|fs.ModeSetuid); err != nil {
		t.Fatal(err)
	}
	old := time.Unix(-5, 123456789)
	if err := os.Chtimes(filepath.Join(dir, "a/mid"), old, old); err != nil {
		t.Fatal(err)
	}
	return dir
}

// compareTree checks that a stored tree is the source.
func compareTree(t testing.TB, m *memory, root *snapshot.Node, dir string) {
	t.Helper()
	got := tree(t, m, root)
	seen := 0
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, _ := filepath.Rel(dir, path)
		n := got[rel]
		if n == nil {
			t.Errorf("%q is missing", rel)
			return nil
		}
		seen++
		var u unix.Stat_t
		if err := unix.Lstat(path, &u); err != nil {
			return err
		}
		var st stat
		st.set(&u)
		if n.Mode != st.mode&0o7777 || n.UID != st.uid || n.GID != st.gid || n.MTime != st.mtime ||
			n.CTime != st.ctime || n.Inode != st.ino || n.Type != st.kind() || n.Links != st.links() {
			t.Errorf("%q: got %+v, want %+v", rel, n, st)
		}
		if u, err := user.LookupId(fmt.Sprint(st.uid)); err == nil && u.Username != n.User {
			t.Errorf("%q: user %q, want %q", rel, n.User, u.Username)
		}
		switch n.Type {
		case snapshot.File:
			want, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			if c := content(t, m, n); !bytes.Equal(c, want) {
				t.Errorf("%q: content of %d bytes differs, want %d", rel, len(c), len(want))
			}
			if inline := n.Content.Inline != nil; inline != (n.Size >= 1 && n.Size <= 128) {
				t.Errorf("%q: %d bytes, inline %v", rel, n.Size, inline)
			}
		case snapshot.Symlink:
			if want, _ := os.Readlink(path); n.Target != want {
				t.Errorf("%q: target %q, want %q", rel, n.Target, want)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if seen != len(got) {
		t.Errorf("%d entries stored, the source has %d", len(got), seen)
	}
}

func TestPathStoresEverything(t *testing.T) {
	dir := sample(t)
	m := newMemory()
	v, notices := archiveDir(t, options(t, m), dir, nil)
	mustComplete(t, v)
	if len(notices) != 0 {
		t.Errorf("notices: %v", notices)
	}
	compareTree(t, m, v.Root, dir)
	want := snapshot.Counts{New: 710}
	if v.Files != want || v.Directories.New != 6 || v.Others != 3 {
		t.Errorf("files %+v, directories %+v, others %d", v.Files, v.Directories, v.Others)
	}
	if v.BytesProcessed == 0 || v.BytesAdded == 0 {
		t.Errorf("processed %d, added %d", v.BytesProcessed, v.BytesAdded)
	}
}

func TestDeterministic(t *testing.T) {
	dir := sample(t)
	var first crypto.ID
	for workers := 1; workers <= 4; workers++ {
		for range 3 {
			m := newMemory()
			o := options(t, m)
			o.Workers = workers
			v, _ := archiveDir(t, o, dir, nil)
			mustComplete(t, v)
			if first.IsZero() {
				first = v.Root.Tree
			}
			if v.Root.Tree != first {
				t.Fatalf("%d workers give another tree", workers)
			}
		}
	}
}

func TestParentUnchangedWritesNothing(t *testing.T) {
	dir := sample(t)
	m := newMemory()
	o := options(t, m)
	v1, _ := archiveDir(t, o, dir, nil)
	blobs := len(m.blobs)
	m.resetCounts()
	v2, _ := archiveDir(t, o, dir, trusted(v1))
	mustComplete(t, v2)
	if v2.Root.Tree != v1.Root.Tree || !equal(v1.Root, v2.Root) {
		t.Error("the root changed")
	}
	if m.puts[crypto.BlobData] != 0 || m.puts[crypto.BlobTree] != 0 || len(m.blobs) != blobs {
		t.Errorf("puts: %v", m.puts)
	}
	if v2.Files.Unmodified != 710 || v2.Files.New+v2.Files.Changed != 0 || v2.Directories.Unmodified != 6 || v2.Others != 3 {
		t.Errorf("files %+v, directories %+v, others %d", v2.Files, v2.Directories, v2.Others)
	}
	if v2.BytesProcessed != v1.BytesProcessed || v2.BytesAdded != 0 {
		t.Errorf("processed %d, added %d", v2.BytesProcessed, v2.BytesAdded)
	}
}

func TestParentRacyIsReadAgain(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "f"), noise(1, 3000))
	m := newMemory()
	o := options(t, m)
	v1, _ := archiveDir(t, o, dir, nil)
	ctime := tree(t, m, v1.Root)["f"].CTime
	for _, c := range []struct {
		late  time.Duration // from the change to the parent's scan
		reads int
	}{{time.Second, 1}, {2*time.Second - 1, 1}, {2 * time.Second, 0}, {-time.Hour, 1}} {
		p := trusted(v1)
		p.ScanStarted = snapshot.TimeOf(ctime.Std().Add(c.late))
		m.resetCounts()
		v2, _ := archiveDir(t, o, dir, p)
		if m.puts[crypto.BlobData] != c.reads {
			t.Errorf("%v after the change: %d puts, want %d", c.late, m.puts[crypto.BlobData], c.reads)
		}
		if v2.Files.Unmodified != 1 || v2.Root.Tree != v1.Root.Tree {
			t.Errorf("%v after the change: %+v", c.late, v2.Files)
		}
	}
}

// TestParentChanges makes one change after another and compares each result with
// one that knows no parent.
func TestParentChanges(t *testing.T) {
	dir := sample(t)
	at := func(name string) string { return filepath.Join(dir, name) }
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	changes := []struct {
		name string
		do   func()
		want snapshot.Counts // files
	}{
		{"nothing", func() {}, snapshot.Counts{Unmodified: 710}},
		{"touched", func() { now := time.Now(); must(os.Chtimes(at("over"), now, now)) }, snapshot.Counts{Changed: 1, Unmodified: 709}},
		{"mode only", func() { must(os.Chmod(at("many/f300"), 0o600)) }, snapshot.Counts{Changed: 1, Unmodified: 709}},
		{"grown", func() { write(t, at("many/f699"), noise(9, 9000)) }, snapshot.Counts{Changed: 1, Unmodified: 709}},
		{"same size and mtime", func() {
			var u unix.Stat_t
			must(unix.Stat(at("a/b/big"), &u))
			write(t, at("a/b/big"), noise(77, 700_000))
			must(os.Chtimes(at("a/b/big"), time.Unix(u.Mtim.Unix()), time.Unix(u.Mtim.Unix())))
		}, snapshot.Counts{Changed: 1, Unmodified: 709}},
		{"file becomes symlink", func() { must(os.Remove(at("one"))); must(os.Symlink("none", at("one"))) }, snapshot.Counts{Unmodified: 709}},
		{"symlink becomes file", func() { must(os.Remove(at("one"))); write(t, at("one"), []byte("1")) }, snapshot.Counts{New: 1, Unmodified: 709}},
		{"renamed", func() { must(os.Rename(at("many/f100"), at("many/g100"))) }, snapshot.Counts{New: 1, Unmodified: 709}},
		{"first removed", func() { must(os.Remove(at("many/f000"))) }, snapshot.Counts{Unmodified: 709}},
		{"last removed", func() { must(os.Remove(at("many/g100"))) }, snapshot.Counts{Unmodified: 708}},
		{"directory emptied", func() { must(os.RemoveAll(at("many"))); must(os.Mkdir(at("many"), 0o700)) }, snapshot.Counts{Unmodified: 10}},
		{"directory becomes file", func() { must(os.Remove(at("empty"))); write(t, at("empty"), noise(3, 300)) }, snapshot.Counts{New: 1, Unmodified: 10}},
		{"file becomes directory", func() { must(os.Remove(at("empty"))); mkdir(t, at("empty/x")); write(t, at("empty/y"), nil) }, snapshot.Counts{New: 1, Unmodified: 10}},
	}
	m := newMemory()
	o := options(t, m)
	last, _ := archiveDir(t, o, dir, nil)
	for _, c := range changes {
		c.do()
		fresh, _ := archiveDir(t, o, dir, nil)
		for _, trust := range []bool{true, false} {
			p := trusted(last)
			p.Trusted = trust
			v, notices := archiveDir(t, o, dir, p)
			mustComplete(t, v)
			if v.Files != c.want || len(notices) > 0 {
				t.Errorf("%s (trusted %v): files %+v, want %+v; %v", c.name, trust, v.Files, c.want, notices)
			}
			if !equal(v.Root, fresh.Root) {
				t.Errorf("%s (trusted %v): the tree depends on history", c.name, trust)
			}
			if v.BytesProcessed != fresh.BytesProcessed {
				t.Errorf("%s: processed %d, want %d", c.name, v.BytesProcessed, fresh.BytesProcessed)
			}
		}
		compareTree(t, m, fresh.Root, dir)
		last = fresh
	}
}

func TestUntrustedParentWithMissingBlobs(t *testing.T) {
	dir := sample(t)
	write(t, filepath.Join(dir, "long"), noise(8, 1_500_000)) // more than 64 chunks
	m := newMemory()
	o := options(t, m)
	v1, _ := archiveDir(t, o, dir, nil)
	nodes := tree(t, m, v1.Root)
	if nodes["long"].Content.List.IsZero() {
		t.Fatal("the long file has no list of items")
	}
	var ids []crypto.ID
	for it, err := range snapshot.Items(context.Background(), m, nodes["long"].Content, nodes["long"].Size) {
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, it.ID)
	}
	ids = []crypto.ID{nodes["a/mid"].Content.Items[0].ID, nodes["long"].Content.List, ids[len(ids)-1], nodes["many"].Tree}
	for i, id := range ids {
		lost := newMemory()
		for k, b := range m.blobs {
			lost.blobs[k] = b
		}
		delete(lost.blobs, id)
		o := options(t, lost)
		p := trusted(v1)
		p.Trusted = false
		v2, _ := archiveDir(t, o, dir, p)
		mustComplete(t, v2)
		if v2.Root.Tree != v1.Root.Tree {
			t.Errorf("case %d: another tree", i)
		}
		if !lost.Has(crypto.BlobData, id) {
			t.Errorf("case %d: the missing blob was not stored again", i)
		}
		compareTree(t, lost, v2.Root, dir)
	}
}

func TestDamagedParentIsReadAgain(t *testing.T) {
	dir := sample(t)
	m := newMemory()
	o := options(t, m)
	v1, _ := archiveDir(t, o, dir, nil)
	delete(m.blobs, tree(t, m, v1.Root)["many"].Tree)
	v2, notices := archiveDir(t, o, dir, trusted(v1))
	mustComplete(t, v2)
	if len(notices) != 1 || notices[0].Path != "many" {
		t.Errorf("notices %v", notices)
	}
	if v2.Root.Tree != v1.Root.Tree {
		t.Error("another tree")
	}
	compareTree(t, m, v2.Root, dir)
}

func TestRoots(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "file"), noise(1, 3000))
	mkdir(t, filepath.Join(dir, "d"))
	write(t, filepath.Join(dir, "d/in"), []byte("x"))
	for name, target := range map[string]string{"link": "d", "loop": "loop"} {
		if err := os.Symlink(target, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		path    string
		state   snapshot.State
		kind    snapshot.Type
		notices int
	}{
		{"file", snapshot.Complete, snapshot.File, 0},
		{"d", snapshot.Complete, snapshot.Directory, 0},
		{"d/", snapshot.Complete, snapshot.Directory, 0},
		{"link", snapshot.Complete, snapshot.Symlink, 1},
		{"link/", snapshot.Complete, snapshot.Directory, 0}, // a slash follows
		{"loop", snapshot.Complete, snapshot.Symlink, 1},
		{"loop/", snapshot.Failed, 0, 0},
		{"missing", snapshot.Failed, 0, 0},
		{"file/", snapshot.Failed, 0, 0},
	} {
		m := newMemory()
		o := options(t, m)
		// Not filepath.Join: it would drop the slash.
		v, notices := archiveDir(t, o, dir+"/"+c.path, nil)
		if v.State != c.state || len(notices) != c.notices {
			t.Errorf("%s: %v %v, notices %v", c.path, v.State, v.Problems, notices)
			continue
		}
		if c.state == snapshot.Failed {
			if v.Root != nil || v.ProblemCount != 1 || len(v.Problems) != 1 {
				t.Errorf("%s: failed with root %v and problems %v", c.path, v.Root, v.Problems)
			}
			continue
		}
		if v.Root.Type != c.kind || v.Root.Name != "" {
			t.Errorf("%s: root %+v", c.path, v.Root)
		}
		m.resetCounts()
		again, _ := archiveDir(t, o, dir+"/"+c.path, trusted(v))
		if len(m.puts) > 0 {
			t.Errorf("%s: with a parent: puts %v", c.path, m.puts)
		}
		if !equal(again.Root, v.Root) || again.Files.New+again.Files.Changed+again.Directories.New != 0 {
			t.Errorf("%s: with a parent: %+v", c.path, again)
		}
	}
}

func TestSelect(t *testing.T) {
	dir := sample(t)
	m := newMemory()
	o := options(t, m)
	full, _ := archiveDir(t, o, dir, nil)
	var asked []string
	o.Select = func(path string, n *snapshot.Node) bool {
		asked = append(asked, path)
		return path != "a/b" && !strings.HasPrefix(path, "many/") && n.Type != snapshot.FIFO
	}
	v, _ := archiveDir(t, o, dir, trusted(full))
	got := tree(t, m, v.Root)
	for path := range tree(t, m, full.Root) {
		want := path != "a/b" && !strings.HasPrefix(path, "a/b/") && !strings.HasPrefix(path, "many/") && path != "pipe"
		if (got[path] != nil) != want {
			t.Errorf("%q: stored %v, want %v", path, got[path] != nil, want)
		}
	}
	if slices.Contains(asked, "a/b/c") || slices.Contains(asked, ".") {
		t.Error("asked about the root, or about what lies in a directory left out")
	}
	back, _ := archiveDir(t, options(t, m), dir, trusted(v))
	if back.Root.Tree != full.Root.Tree {
		t.Error("the tree depends on what its parent left out")
	}
}

func TestSocketIsNotice(t *testing.T) {
	dir := t.TempDir()
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	t.Chdir(dir)
	if err := unix.Bind(fd, &unix.SockaddrUnix{Name: "sock"}); err != nil {
		t.Fatal(err)
	}
	m := newMemory()
	v, notices := archiveDir(t, options(t, m), dir, nil)
	mustComplete(t, v)
	if len(notices) != 1 || notices[0].Path != "sock" || len(tree(t, m, v.Root)) != 1 {
		t.Errorf("notices %v", notices)
	}
}

func TestStoreErrorStops(t *testing.T) {
	dir := sample(t)
	boom := errors.New("store is full")
	total := 0
	{
		m := newMemory()
		archiveDir(t, options(t, m), dir, nil)
		total = m.n
	}
	for at := 0; at < total; at += 1 + total/40 {
		before := openFDs(t)
		m := newMemory()
		m.fail, m.failAt = boom, at
		_, err := Run(context.Background(), options(t, m), []Volume{{Name: "v", Source: Path{dir}}})
		if !errors.Is(err, boom) {
			t.Fatalf("put %d fails: %v", at, err)
		}
		mustSettle(t, before)
	}
}

func TestCancelLeavesNothing(t *testing.T) {
	dir := sample(t)
	for at := 0; at < 900; at += 50 {
		before := openFDs(t)
		ctx, cancel := context.WithCancel(context.Background())
		m := newMemory()
		n := 0
		o := options(t, m)
		o.Workers = 2
		var once = make(chan struct{}, 1)
		once <- struct{}{}
		m.onPut = func([]byte) {
			<-once
			if n++; n > at {
				cancel()
			}
			once <- struct{}{}
		}
		_, err := Run(ctx, o, []Volume{{Name: "v", Source: Path{dir}}})
		cancel()
		if n > at && !errors.Is(err, context.Canceled) {
			t.Fatalf("cancelled at put %d: %v", at, err)
		}
		mustSettle(t, before)
	}
}
