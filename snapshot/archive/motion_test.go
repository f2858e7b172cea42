package archive

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"vault/chunk"
	"vault/crypto"
	"vault/snapshot"
)

// TestChangesWhileRead has a file change at its first, its first two, or each of its
// readings.
func TestChangesWhileRead(t *testing.T) {
	for _, c := range []struct {
		times   int // how often it changes
		notices int
	}{{0, 0}, {1, 0}, {2, 0}, {1000, 2}} {
		dir := t.TempDir()
		path := filepath.Join(dir, "log")
		line := noise(1, 5000)
		write(t, path, line)
		if err := os.Link(path, filepath.Join(dir, "other-name")); err != nil {
			t.Fatal(err)
		}
		m := newMemory()
		o := options(t, m)
		o.Workers = 1
		left := c.times
		last := m.BlobID(crypto.BlobData, nil)
		m.onPut = func(data []byte) {
			// The last chunk of a reading: the first 5000 bytes never change.
			if left == 0 || last == m.BlobID(crypto.BlobData, data) || len(data) == 0 || data[0] == 1 {
				return
			}
			left--
			f, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
			if err != nil {
				t.Error(err)
				return
			}
			f.Write(noise(byte(left), 1000))
			f.Close()
		}
		v, notices := archiveDir(t, o, dir, nil)
		mustComplete(t, v)
		if len(notices) != c.notices {
			t.Errorf("%d changes: notices %v", c.times, notices)
		}
		if c.notices > 0 && (notices[0].Path != "log" || !strings.Contains(notices[0].Message, "changed")) {
			t.Errorf("notice %v", notices[0])
		}
		m.onPut = nil
		got := tree(t, m, v.Root)
		now, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if got["log"] == nil {
			t.Fatalf("%d changes: %v", c.times, got)
		}
		stored := content(t, m, got["log"])
		if !bytes.HasPrefix(now, stored) || len(stored) < 5000 {
			t.Errorf("%d changes: stored %d bytes that are not the beginning of the file", c.times, len(stored))
		}
		if c.notices == 0 {
			compareTree(t, m, v.Root, dir)
		}
	}
}

// TestShrinksWhileRead has a file become one that is held in its node.
func TestShrinksWhileRead(t *testing.T) {
	for _, to := range []int64{0, 50, 2000} {
		dir := t.TempDir()
		path := filepath.Join(dir, "f")
		write(t, path, noise(1, 900_000))
		m := newMemory()
		o := options(t, m)
		o.Workers = 1
		var done atomic.Bool
		m.onPut = func(data []byte) {
			if !done.Swap(true) {
				if err := os.Truncate(path, to); err != nil {
					t.Error(err)
				}
			}
		}
		v, notices := archiveDir(t, o, dir, nil)
		mustComplete(t, v)
		if len(notices) != 0 {
			t.Errorf("notices %v", notices)
		}
		compareTree(t, m, v.Root, dir)
	}
}

// TestVanishing removes what the scanner has listed or seen, and replaces it.
func TestVanishing(t *testing.T) {
	dir := t.TempDir()
	at := func(s string) string { return filepath.Join(dir, s) }
	names := []string{"b-gone", "c-stays", "d-gone-later", "e-becomes-link", "f-becomes-pipe"}
	for i, name := range names {
		write(t, at(name), noise(byte(i), 2000))
	}
	for _, d := range []string{"g-dir-gone", "h-dir-becomes-link", "i-dir"} {
		mkdir(t, at(d))
		write(t, at(d+"/x"), []byte("x"))
	}
	write(t, at("a-first"), []byte("x"))
	if err := os.Link(at("d-gone-later"), at("z-other-name")); err != nil {
		t.Fatal(err)
	}
	m := newMemory()
	o := options(t, m)
	full, _ := archiveDir(t, o, dir, nil)
	o.Select = func(path string, _ *snapshot.Node) bool {
		switch path {
		case "a-first": // all are listed, the others were not looked at
			os.Remove(at("b-gone"))
		case "i-dir": // all before were looked at; files before are not read before the batch is full
			os.Remove(at("d-gone-later"))
			os.Remove(at("e-becomes-link"))
			os.Symlink("c-stays", at("e-becomes-link"))
			os.Remove(at("f-becomes-pipe"))
			unix.Mkfifo(at("f-becomes-pipe"), 0o600)
			os.RemoveAll(at("g-dir-gone"))
			os.RemoveAll(at("h-dir-becomes-link"))
			os.Symlink("/etc", at("h-dir-becomes-link"))
		}
		return true
	}
	v, notices := archiveDir(t, o, dir, nil)
	if v.State != snapshot.Partial {
		t.Errorf("state %v", v.State)
	}
	said := map[string]bool{}
	for _, n := range notices {
		said["notice "+n.Path] = true
	}
	for _, p := range v.Problems {
		said["problem "+p.Path] = true
	}
	for _, want := range []string{"notice b-gone", "notice d-gone-later", "problem e-becomes-link", "problem f-becomes-pipe",
		"notice g-dir-gone", "problem h-dir-becomes-link"} {
		if !said[want] {
			t.Errorf("no %s", want)
		}
		delete(said, want)
	}
	if len(said) > 0 {
		t.Errorf("unexpected: %v", said)
	}
	got := tree(t, m, v.Root)
	if len(got) != 6 { // ., a-first, c-stays, i-dir, i-dir/x, z-other-name
		t.Errorf("entries: %v", got)
	}
	if n := got["z-other-name"]; n == nil || !bytes.Equal(content(t, m, n), noise(2, 2000)) {
		t.Error("the second name of a vanished file was lost")
	}
	// The same with everything but what changed being taken over.
	o.Select = nil
	v2, _ := archiveDir(t, o, dir, trusted(full))
	mustComplete(t, v2)
	compareTree(t, m, v2.Root, dir)
}

// deepDir makes a chain of directories, longer than any path may be. Each has a file
// before and one after the directory in it.
func deepDir(t testing.TB, levels int) string {
	t.Helper()
	dir := fastDir(t)
	fd, err := unix.Open(dir, unix.O_RDONLY|unix.O_DIRECTORY, 0)
	if err != nil {
		t.Fatal(err)
	}
	for i := range levels {
		for _, name := range []string{"a", "z"} {
			f, err := unix.Openat(fd, name, unix.O_CREAT|unix.O_WRONLY, 0o600)
			if err != nil {
				t.Fatal(err)
			}
			unix.Write(f, []byte(fmt.Sprint(name, i)))
			unix.Close(f)
		}
		if err := unix.Mkdirat(fd, "m", 0o700); err != nil {
			t.Fatal(err)
		}
		next, err := unix.Openat(fd, "m", unix.O_RDONLY|unix.O_DIRECTORY, 0)
		if err != nil {
			t.Fatal(err)
		}
		unix.Close(fd)
		fd = next
	}
	unix.Close(fd)
	return dir
}

func TestDeep(t *testing.T) {
	const levels = 2100
	dir := deepDir(t, levels)
	m := newMemory()
	o := options(t, m)
	before, most := openFDs(t), 0
	n := 0
	m.onPut = func([]byte) { // while directories are finished on the way back
		if n++; n%100 == 1 {
			most = max(most, openFDs(t))
		}
	}
	o.Select = func(path string, _ *snapshot.Node) bool {
		if len(path)%200 == 1 {
			most = max(most, openFDs(t))
		}
		return true
	}
	v, notices := archiveDir(t, o, dir, nil)
	mustComplete(t, v)
	if len(notices) > 0 {
		t.Error(notices[0])
	}
	if v.Directories.New != levels+1 || v.Files.New != 2*levels {
		t.Fatalf("%+v, %+v", v.Directories, v.Files)
	}
	if most-before > 300 {
		t.Errorf("%d descriptors", most-before)
	}
	if most <= before {
		t.Error("descriptors were not counted")
	}
	m.onPut, o.Select = nil, nil
	node := v.Root
	for i := range levels {
		for _, name := range []string{"a", "z"} {
			f, err := snapshot.Lookup(t.Context(), m, node.Tree, name)
			if err != nil || string(f.Content.Inline) != fmt.Sprint(name, i) {
				t.Fatalf("level %d: %v %v", i, f, err)
			}
		}
		var err error
		if node, err = snapshot.Lookup(t.Context(), m, node.Tree, "m"); err != nil {
			t.Fatalf("level %d: %v", i, err)
		}
	}
	v2, _ := archiveDir(t, o, dir, trusted(v))
	if v2.Root.Tree != v.Root.Tree {
		t.Error("another tree with a parent")
	}
}

// TestNarrowWindow makes the scanner enter directories before it has looked at what
// follows them, so that it comes back to directories that were closed.
func TestNarrowWindow(t *testing.T) {
	const levels = 3 * keepOpen
	dir := deepDir(t, levels)
	m := newMemory()
	o := options(t, m)
	want, _ := archiveDir(t, o, dir, nil)
	r := newRun(t.Context(), o)
	defer r.stop()
	s := newScan(r, nil, &snapshot.Volume{})
	s.stuck = maxHeld // as if much were waiting already
	var st stat
	if err := st.lstat(unix.AT_FDCWD, dir, &s.stat); err != nil {
		t.Fatal(err)
	}
	e := &slot{node: s.node("", &st)}
	if err := s.rootDir(e, dir, nil); err != nil {
		t.Fatal(err)
	}
	if s.vol.ProblemCount > 0 {
		t.Fatalf("problems: %v", s.vol.Problems)
	}
	if e.node.Tree != want.Root.Tree {
		t.Error("another tree")
	}
	if s.stuck != maxHeld || s.held != 0 {
		t.Errorf("stuck %d, held %d at the end", s.stuck-maxHeld, s.held)
	}
}

// TestMovedDirectory moves directories away while the scanner is below them.
func TestMovedDirectory(t *testing.T) {
	for _, c := range []struct {
		moves []int // levels, in this order
		lost  []int // levels of which the end is missing
	}{
		{[]int{10}, nil}, // those above are found from the root
		{[]int{10, 5}, []int{5, 6, 7, 8, 9}},
	} {
		dir, outside := deepDir(t, 2*keepOpen), fastDir(t)
		m := newMemory()
		r := newRun(t.Context(), options(t, m))
		s := newScan(r, nil, &snapshot.Volume{})
		s.stuck = maxHeld
		moved := false
		r.o.Select = func(path string, _ *snapshot.Node) bool {
			if !moved && strings.Count(path, "/") == 2*keepOpen-1 {
				moved = true
				for _, level := range c.moves { // closed by now
					at := filepath.Join(dir, strings.Repeat("m/", level))
					if err := os.Rename(at, filepath.Join(outside, fmt.Sprint(level))); err != nil {
						t.Error(err)
					}
				}
			}
			return true
		}
		e := &slot{node: &snapshot.Node{Type: snapshot.Directory}}
		if err := s.rootDir(e, dir, nil); err != nil {
			t.Fatal(err)
		}
		r.stop()
		if !moved || int(s.vol.ProblemCount) != len(c.lost) {
			t.Fatalf("moved %v, problems %v", moved, s.vol.Problems)
		}
		got := tree(t, m, e.node)
		for level := range 2 * keepOpen {
			want := !slices.Contains(c.lost, level)
			if z := strings.Repeat("m/", level) + "z"; (got[z] != nil) != want {
				t.Errorf("moves %v: level %d: stored %v", c.moves, level, !want)
			}
		}
	}
}

func TestWideDirectory(t *testing.T) {
	const files = 50_000
	dir := fastDir(t)
	fd, err := unix.Open(dir, unix.O_RDONLY|unix.O_DIRECTORY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	for i := range files {
		f, err := unix.Openat(fd, fmt.Sprintf("file-%06d", (i*7919)%files), unix.O_CREAT|unix.O_WRONLY, 0o600)
		if err != nil {
			t.Fatal(err)
		}
		unix.Close(f)
	}
	mkdir(t, filepath.Join(dir, "aaa/sub")) // everything after it waits for it
	m := newMemory()
	o := options(t, m)
	v, _ := archiveDir(t, o, dir, nil)
	mustComplete(t, v)
	if v.Files.New != files || len(tree(t, m, v.Root)) != files+3 {
		t.Errorf("%+v", v.Files)
	}
	m.resetCounts()
	write(t, filepath.Join(dir, "file-049999x"), []byte("x"))
	v2, _ := archiveDir(t, o, dir, trusted(v))
	if v2.Files != (snapshot.Counts{New: 1, Unmodified: files}) {
		t.Errorf("%+v", v2.Files)
	}
	fresh, _ := archiveDir(t, o, dir, nil)
	if fresh.Root.Tree != v2.Root.Tree {
		t.Error("the tree depends on history")
	}
}

// TestLargeFileBlocksNobody holds the worker of a large file until everything else
// is stored.
func TestLargeFileBlocksNobody(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "a-large"), noise(1, batchBytes+1))
	const files = 3000
	mkdir(t, filepath.Join(dir, "b"))
	for i := range files {
		write(t, filepath.Join(dir, "b", fmt.Sprint(i)), append(noise(2, 200), fmt.Sprint(i)...))
	}
	m := newMemory()
	o := options(t, m)
	o.Workers = 2
	var small atomic.Int64
	var waited atomic.Bool
	m.onPut = func(data []byte) {
		if len(data) < 300 {
			small.Add(1)
			return
		}
		if len(data) >= 1024 && !waited.Swap(true) {
			for end := time.Now().Add(5 * time.Minute); small.Load() < files && time.Now().Before(end); {
				time.Sleep(time.Millisecond)
			}
			if n := small.Load(); n < files {
				t.Errorf("only %d small files were stored meanwhile", n)
			}
		}
	}
	v, _ := archiveDir(t, o, dir, nil)
	mustComplete(t, v)
	m.onPut = nil
	compareTree(t, m, v.Root, dir)
}

// TestLoans has idle workers store the chunks of one large file.
func TestLoans(t *testing.T) {
	dir := t.TempDir()
	data := noise(1, lendFrom+100_000)
	clear(data[1<<20 : 2<<20])
	write(t, filepath.Join(dir, "large"), data)
	testLoans(t, dir, data)
}

// TestLoansSparse has them help with a file of short runs of data between holes.
func TestLoansSparse(t *testing.T) {
	dir := t.TempDir()
	data := make([]byte, lendFrom)
	for off := 0; off < lendFrom; off += 1 << 20 {
		copy(data[off:], noise(byte(off>>20), 700_000))
	}
	path := filepath.Join(dir, "large")
	write(t, path, nil)
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for off := 0; off < lendFrom; off += 1 << 20 {
		if _, err := f.WriteAt(data[off:off+700_000], int64(off)); err != nil {
			t.Fatal(err)
		}
	}
	if err := f.Truncate(lendFrom); err != nil {
		t.Fatal(err)
	}
	testLoans(t, dir, data)
}

func testLoans(t *testing.T, dir string, data []byte) {
	var want crypto.ID
	for _, workers := range []int{1, 2, 4} {
		m := newMemory()
		o := options(t, m)
		var err error
		o.Chunker, err = chunk.New(chunk.Params{Algorithm: chunk.AESWindow, Min: 4 << 10, Max: 64 << 10, Bits: 14}, m.ChunkerSecret())
		if err != nil {
			t.Fatal(err)
		}
		o.Workers = workers
		var now, most atomic.Int64
		m.onPut = func([]byte) {
			if n := now.Add(1); n > most.Load() {
				most.Store(n)
			}
			if most.Load() < 2 { // there is much time to help
				time.Sleep(time.Millisecond)
			}
			now.Add(-1)
		}
		v, _ := archiveDir(t, o, dir, nil)
		mustComplete(t, v)
		if want.IsZero() {
			want = v.Root.Tree
		}
		if v.Root.Tree != want {
			t.Errorf("%d workers give another tree", workers)
		}
		if workers > 1 && most.Load() < 2 {
			t.Errorf("%d workers: nobody helped", workers)
		}
		m.onPut = nil
		if !bytes.Equal(content(t, m, tree(t, m, v.Root)["large"]), data) {
			t.Errorf("%d workers: content differs", workers)
		}
		// An error in the middle ends everything.
		m = newMemory()
		m.fail, m.failAt = os.ErrClosed, 200
		o.NewStore = func() Store { return m }
		if _, err := Run(context.Background(), o, []Volume{{Name: "v", Source: Path{dir}}}); err == nil {
			t.Error("an error was lost")
		}
		mustSettle(t, openFDs(t))
	}
}
