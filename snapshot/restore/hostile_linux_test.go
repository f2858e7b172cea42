package restore

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"golang.org/x/sys/unix"

	"vault/backend"
	"vault/crypto"
	"vault/internal/wire"
	"vault/snapshot"
)

// rawDir stores a directory leaf with whatever names, in whatever order.
func (s *store) rawDir(kids ...ent) crypto.ID {
	b := wire.AppendUvarint([]byte{1, 1, 0}, uint64(len(kids)))
	for _, k := range kids {
		b = wire.AppendString(b, k.Name)
		b = must1(snapshot.AppendBody(b, &k.Node))
	}
	return must1(s.Put(context.Background(), crypto.BlobTree, b))
}

func (s *store) rawRoot(kids ...ent) *snapshot.Node {
	e := dirOf("")
	e.Tree = s.rawDir(kids...)
	return &e.Node
}

// TestHostileNames: no name leads out of its directory.
func TestHostileNames(t *testing.T) {
	s := newStore()
	long := strings.Repeat("n", 4097)
	for _, name := range []string{"", ".", "..", "/", "a/b", "/etc/x", "../x", "a\x00b", "..\x00", long} {
		base := t.TempDir()
		f := s.fileOf(name, "evil")
		d := dirOf(name)
		d.Tree = s.rawDir(s.fileOf("x", "evil"))
		for _, e := range []ent{f, linkTo(name, "/etc"), d} {
			rep := restoreTo(t, s, s.rawRoot(e), filepath.Join(base, "t"))
			if rep.ProblemCount == 0 {
				t.Errorf("%.20q as a %v: no problem", name, e.Type)
			}
		}
		if got := list(base); len(got) != 2 { // t and t/v
			t.Errorf("%.20q: %q", name, got)
		}
		// The same without the reader's check.
		w, d2 := fakeWorker(t, s, base)
		if _, err := w.place(d2, &f.Node, keepGood); err == nil {
			t.Errorf("%.20q was placed", name)
		}
	}
	_, err := Run(context.Background(), Options{Source: s, Target: t.TempDir()}, volumeOf(s.rawRoot(), "../x"))
	if err == nil {
		t.Error("volume beside the target was accepted")
	}
	for _, dir := range []string{"/abs", "a/../../b", "a\x00", ".."} {
		if _, err := splitDir(dir); err == nil {
			t.Errorf("volume directory %q was accepted", dir)
		}
	}
}

// fakeWorker returns a worker with a directory of a fresh target.
func fakeWorker(t *testing.T, s *store, base string) (*worker, *dir) {
	r := newRun(context.Background(), Options{Source: s, Target: filepath.Join(base, "t")})
	must(r.openTarget())
	t.Cleanup(func() { r.dirs.release(r.target); r.dirs.close() })
	v := &volume{name: "v", size: newBudget(&snapshot.Volume{}), links: newLinks()}
	d := newDir(r.target, ".", v, &snapshot.Node{Type: snapshot.Directory})
	w := &worker{run: r}
	if !w.ready(d) {
		t.Fatal(r.problems)
	}
	return w, d
}

// list returns all paths below dir.
func list(dir string) (paths []string) {
	filepath.WalkDir(dir, func(path string, de os.DirEntry, err error) error {
		if path != dir {
			paths = append(paths, strings.TrimPrefix(path, dir+"/"))
		}
		return nil
	})
	return paths
}

// TestSymlinkThenThrough: a name that is a symlink first and a directory or
// file later writes nothing through it.
func TestSymlinkThenThrough(t *testing.T) {
	s := newStore()
	canary := t.TempDir()
	victim := filepath.Join(canary, "victim")
	must(os.WriteFile(victim, []byte("precious"), 0o644))
	before := describe(t, canary)
	through := dirOf("x")
	through.Tree = s.rawDir(s.fileOf("victim", "evil"))
	file := s.fileOf("y", "evil")
	for name, root := range map[string]*snapshot.Node{
		"link, directory": s.rawRoot(linkTo("x", canary), through),
		"directory, link": s.rawRoot(through, linkTo("x", canary)),
		"link, file":      s.rawRoot(linkTo("y", victim), file),
		"sorted":          s.tree(dirOf("", linkTo("x", canary), file)),
	} {
		target := t.TempDir()
		for _, p := range []Policy{IfChanged, Always} {
			restoreTo(t, s, root, target, func(o *Options) { o.Overwrite = p; o.Delete = true })
		}
		// Restored over a tree in which the names are symlinks already.
		must(os.MkdirAll(filepath.Join(target, "w/v"), 0o755))
		must(os.Symlink(canary, filepath.Join(target, "w/v/x")))
		must(os.Symlink(victim, filepath.Join(target, "w/v/y")))
		for _, p := range []Policy{Never, IfNewer, IfChanged, Always} {
			restoreTo(t, s, root, filepath.Join(target, "w"), func(o *Options) { o.Overwrite = p; o.Delete = p == Always })
		}
		equalTrees(t, before, describe(t, canary))
		t.Log(name)
	}
}

// TestSymlinkedPlaces: neither the volume's directory nor one on the way to it
// may be a symlink.
func TestSymlinkedPlaces(t *testing.T) {
	s := newStore()
	root := s.tree(dirOf("", s.fileOf("f", "data")))
	canary, target := t.TempDir(), t.TempDir()
	must(os.Symlink(canary, filepath.Join(target, "usr")))
	rep, err := Run(context.Background(), Options{Source: s, Target: target}, volumeOf(root, "usr/share"))
	if err != nil || rep.ProblemCount != 1 {
		t.Errorf("way: %v, %+v", err, rep.Problems)
	}
	file := s.tree(s.fileOf("", "data"))
	rep, err = Run(context.Background(), Options{Source: s, Target: target}, volumeOf(file, "usr/file"))
	if err != nil || rep.ProblemCount != 1 {
		t.Errorf("way of a file: %v, %+v", err, rep.Problems)
	}
	// In place of the volume itself the policy decides.
	rep, err = Run(context.Background(), Options{Source: s, Target: target, Overwrite: Never}, volumeOf(root, "usr"))
	if err != nil || rep.ProblemCount != 1 {
		t.Errorf("never: %v, %+v", err, rep.Problems)
	}
	rep, err = Run(context.Background(), Options{Source: s, Target: target}, volumeOf(root, "usr"))
	if err != nil || rep.ProblemCount != 0 {
		t.Errorf("replace: %v, %+v", err, rep.Problems)
	}
	if got := list(canary); len(got) != 0 {
		t.Errorf("written outside: %q", got)
	}
	if st := must1(os.Lstat(filepath.Join(target, "usr"))); !st.IsDir() {
		t.Errorf("usr is %v", st.Mode())
	}
	// The target itself is the caller's own path.
	to := filepath.Join(t.TempDir(), "link")
	must(os.Symlink(canary, to))
	noProblems(t, restoreTo(t, s, root, to))
	if got := list(canary); len(got) != 2 {
		t.Errorf("target by symlink: %q", got)
	}
}

// TestLyingLengths: what does not add up is an error, and nothing of it stays.
func TestLyingLengths(t *testing.T) {
	s := newStore()
	ctx := context.Background()
	chunk := noise(testChunk, 1)
	id := must1(s.Put(ctx, crypto.BlobData, []byte(chunk)))
	data := func(n uint64) snapshot.Item { return snapshot.Item{Kind: snapshot.ItemData, Length: n, ID: id} }
	hole := func(n uint64) snapshot.Item { return snapshot.Item{Kind: snapshot.ItemHole, Length: n} }
	lost := snapshot.Item{Kind: snapshot.ItemData, Length: 5, ID: crypto.ID{1}}
	cw := snapshot.NewContentWriter(s, snapshot.DefaultThresholds())
	for range 100 {
		must(cw.Add(ctx, data(testChunk)))
	}
	long := must1(cw.Finish(ctx))
	items := func(it ...snapshot.Item) snapshot.Content { return snapshot.Content{Items: it} }
	for name, c := range map[string]struct {
		size    uint64
		content snapshot.Content
	}{
		"blob shorter than said":   {testChunk + 1, items(data(testChunk + 1))},
		"blob longer than said":    {testChunk - 1, items(data(testChunk - 1))},
		"blob that is lost":        {5, items(lost)},
		"second blob lost":         {testChunk + 5, items(data(testChunk), lost)},
		"list shorter":             {101 * testChunk, long},
		"list longer":              {99 * testChunk, long},
		"list much longer":         {1, long},
		"huge, then wrong":         {1 << 62, items(hole(1<<62-testChunk+1), data(testChunk-1))},
		"large with a lost piece":  {largeFile + 5, items(hole(largeFile), lost)},
		"list that is no list":     {5, snapshot.Content{List: id}},
		"list that is a directory": {5, snapshot.Content{List: s.rawDir()}},
	} {
		f := ent{Node: snapshot.Node{Name: "bad", Type: snapshot.File, Mode: 0o644, Size: c.size, Content: c.content, UID: self.uid, GID: self.gid}}
		root := s.tree(dirOf("", s.fileOf("a", "good"), f, s.fileOf("z", "good")))
		for _, old := range []bool{false, true} {
			target := t.TempDir()
			if old {
				must(os.Mkdir(filepath.Join(target, "v"), 0o755))
			}
			rep := restoreTo(t, s, root, target)
			if rep.ProblemCount != 1 || rep.Problems[0].Path != "bad" {
				t.Errorf("%s: problems %v", name, rep.Problems)
			}
			if got := fmt.Sprint(list(target)); got != "[v v/a v/z]" {
				t.Errorf("%s: left %s", name, got)
			}
		}
	}
	// The checks of this package alone.
	w, d := fakeWorker(t, s, t.TempDir())
	for name, n := range map[string]*snapshot.Node{
		"items beyond the size":  {Name: "f", Type: snapshot.File, Size: 5, Content: items(hole(6))},
		"items short of it":      {Name: "f", Type: snapshot.File, Size: 5, Content: items(hole(4))},
		"inline beyond the size": {Name: "f", Type: snapshot.File, Size: 5, Content: snapshot.Content{Inline: []byte("123456")}},
		"no content":             {Name: "f", Type: snapshot.File, Size: 5},
		"item of 2^63":           {Name: "f", Type: snapshot.File, Size: 5, Content: items(data(1 << 63))},
	} {
		if _, err := w.place(d, n, keepGood); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

// TestHostileAttributes: an attribute as long as a blob is refused unread.
func TestHostileAttributes(t *testing.T) {
	s := newStore()
	big := must1(s.Put(context.Background(), crypto.BlobData, make([]byte, 1<<20)))
	f := s.fileOf("f", "data").with(func(n *snapshot.Node) {
		n.Xattrs = []snapshot.Xattr{
			{Name: "user.big", Length: 1 << 20, Blob: big},
			{Name: "user.lies", Length: 2000, Blob: big},
			{Name: "user.right", Value: []byte("r")},
		}
	})
	target := t.TempDir()
	rep := restoreTo(t, s, s.tree(dirOf("", f)), target)
	if rep.ProblemCount != 2 || s.gets.Load() != 1 {
		t.Errorf("%d problems, %d blobs fetched: %v", rep.ProblemCount, s.gets.Load(), rep.Problems)
	}
	if got := listXattrs(filepath.Join(target, "v/f")); fmt.Sprint(got) != "[user.right]" {
		t.Errorf("attributes %q", got)
	}
}

// TestDeep restores thousands of directories in one another, with few
// descriptors, twice.
func TestDeep(t *testing.T) {
	const depth = 3000
	s := newStore()
	e := dirOf("d", s.fileOf("leaf", "deep"))
	for range depth {
		e = dirOf("d", e, s.fileOf("f", "x"))
		e = ent{Node: *s.save(e)}
	}
	n := e.Node
	n.Name = ""
	base := tempDir(t, "/dev/shm")
	start := openDescriptors()
	var peak atomic.Int64
	for i, want := range []Verb{Created, Unchanged} {
		rep := restoreTo(t, s, &n, base, func(o *Options) {
			o.Observe = func(e Event) {
				if e.Type == snapshot.Directory {
					return
				}
				if len(e.Path)%50 == 1 {
					peak.Store(max(peak.Load(), int64(openDescriptors())))
				}
			}
		})
		noProblems(t, rep)
		if rep.Entries[want] != 2*depth+2 {
			t.Errorf("run %d: %v", i, rep.Entries)
		}
	}
	if p := peak.Load() - int64(start); p > int64(descriptorLimit())+40 {
		t.Errorf("%d descriptors open", p)
	}
	if end := openDescriptors(); end > start {
		t.Errorf("%d descriptors left open", end-start)
	}
}

func openDescriptors() int { return len(must1(os.ReadDir("/proc/self/fd"))) }

// TestFewDescriptors: directories are closed and opened again all the time.
func TestFewDescriptors(t *testing.T) {
	s := newStore()
	var kids []ent
	for i := range 100 {
		kids = append(kids, dirOf(fmt.Sprintf("d%03d", i), dirOf("e", s.fileOf("f", "x"), linkTo("l", "f")), s.fileOf("g", "y")))
	}
	root := s.tree(dirOf("", kids...))
	target := t.TempDir()
	r := newRun(context.Background(), Options{Source: s, Target: target, Workers: 4})
	r.dirs.limit = 3
	if err := r.all(volumeOf(root, "v")); err != nil {
		t.Fatal(err)
	}
	noProblems(t, r.report())
	if got := len(list(target)); got != 1+100*5 {
		t.Errorf("%d entries", got)
	}
}

// TestRacingRenamer: somebody exchanges a directory for a symlink to a canary,
// and back, as fast as possible. Nothing arrives there.
func TestRacingRenamer(t *testing.T) {
	s := newStore()
	var kids []ent
	for i := range 400 {
		kids = append(kids, s.fileOf(fmt.Sprintf("f%03d", i), noise(300, byte(i))), linkTo(fmt.Sprintf("l%03d", i), "f"),
			dirOf(fmt.Sprintf("s%03d", i), s.fileOf("in", "x")))
	}
	root := s.tree(dirOf("", dirOf("sub", kids...), dirOf("other", s.fileOf("f", "x"))))
	base := t.TempDir()
	canary, target := filepath.Join(base, "canary"), filepath.Join(base, "target")
	must(os.Mkdir(canary, 0o777))
	must(os.WriteFile(filepath.Join(canary, "f000"), []byte("precious"), 0o600))
	before := describe(t, canary)
	sub, evil := filepath.Join(target, "v/sub"), filepath.Join(target, "evil")
	must(os.MkdirAll(target, 0o777))
	must(os.Symlink(canary, evil))
	attack := func() bool {
		return unix.Renameat2(unix.AT_FDCWD, sub, unix.AT_FDCWD, evil, unix.RENAME_EXCHANGE) == nil
	}
	raceUntil(t, 6, 50, attack, func(i int) {
		r := newRun(context.Background(), Options{Source: s, Target: target, Overwrite: Policy(i % 2), Delete: i%3 == 0, Workers: 4})
		r.dirs.limit = 2 // opens everything again and again
		if err := r.all(volumeOf(root, "v")); err != nil {
			t.Fatal(err)
		}
	})
	equalTrees(t, before, describe(t, canary))
}

// TestStoreFailures: one lost blob is a problem of one file; a store that cannot
// be reached stops everything.
func TestStoreFailures(t *testing.T) {
	s := newStore()
	root := s.tree(dirOf("", s.fileOf("a", noise(500, 1)), s.fileOf("b", noise(600, 2)), s.fileOf("c", noise(700, 3))))
	n := 0
	s.onGet = func(crypto.ID) error {
		if n++; n == 2 {
			return errLost
		}
		return nil
	}
	target := t.TempDir()
	rep := restoreTo(t, s, root, target, func(o *Options) { o.Workers = 1 })
	if rep.ProblemCount != 1 || !errors.Is(rep.Problems[0], errLost) || rep.Problems[0].Path != "b" || rep.Files != 2 {
		t.Errorf("%+v", rep)
	}
	if _, err := os.Lstat(filepath.Join(target, "v/b")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("b: %v", err)
	}
	noProblems(t, restoreTo(t, s, root, target))

	s.onGet = func(crypto.ID) error { return fmt.Errorf("get: %w", backend.ErrUnreachable) }
	target = t.TempDir()
	rep, err := Run(context.Background(), Options{Source: s, Target: target}, volumeOf(root, "v"))
	if !errors.Is(err, backend.ErrUnreachable) || rep.ProblemCount > 1 {
		t.Errorf("unreachable: %v, %+v", err, rep)
	}
	if got := fmt.Sprint(list(target)); got != "[v]" {
		t.Errorf("left %s", got)
	}
}

// TestLostTree: a directory that cannot be read leaves the others.
func TestLostTree(t *testing.T) {
	s := newStore()
	bad := dirOf("bad")
	bad.Tree = crypto.ID{9}
	root := s.tree(dirOf("", s.fileOf("a", "x"), bad, dirOf("good", s.fileOf("f", "x"))))
	target := t.TempDir()
	must(os.MkdirAll(filepath.Join(target, "v/bad"), 0o755))
	must(os.WriteFile(filepath.Join(target, "v/bad/keep"), nil, 0o644))
	rep := restoreTo(t, s, root, target, func(o *Options) { o.Delete = true })
	if rep.ProblemCount != 1 || rep.Problems[0].Path != "bad" {
		t.Errorf("%v", rep.Problems)
	}
	if got := fmt.Sprint(list(target)); got != "[v v/a v/bad v/bad/keep v/good v/good/f]" {
		t.Errorf("left %s", got)
	}
}

// TestCancel stops at every n-th blob. What has a final name is complete or
// obviously not, and the next run finishes.
func TestCancel(t *testing.T) {
	s := newStore()
	big := s.fileOf("big", noise(largeFile+spanBytes, 1))
	var kids []ent
	for i := range 30 {
		kids = append(kids, s.fileOf(fmt.Sprintf("f%02d", i), noise(3*testChunk, byte(i))))
	}
	root := s.tree(dirOf("", append(kids, big, linkTo("l", "f00"))...))
	full := t.TempDir()
	restoreTo(t, s, root, full)
	want := describe(t, full)
	target := t.TempDir()
	for _, stopAt := range []int64{1, 20, 100, 200, 60} {
		ctx, cancel := context.WithCancel(context.Background())
		first := s.gets.Load()
		s.onGet = func(crypto.ID) error {
			if s.gets.Load()-first >= stopAt {
				cancel()
			}
			return nil
		}
		// Each worker may get a blob more: with many of them the last stop would come too late.
		_, err := Run(ctx, Options{Source: s, Target: target, Workers: 4}, volumeOf(root, "v"))
		cancel()
		if !errors.Is(err, context.Canceled) {
			t.Fatalf("stopped at %d: %v", stopAt, err)
		}
		for path, g := range describe(t, target) {
			large := path == "v/big" || strings.HasPrefix(path, "v/"+tempPrefix)
			if st := must1(os.Lstat(filepath.Join(target, path))); large && st.Mode() == 0o600 {
				continue // recognisably incomplete
			}
			switch w, ok := want[path]; {
			case !ok:
				t.Errorf("stopped at %d: %q is left", stopAt, path)
			case path != "." && path != "v" && g != w:
				t.Errorf("stopped at %d: %q is incomplete: %s", stopAt, path, g)
			}
		}
	}
	s.onGet = nil
	rep := restoreTo(t, s, root, target)
	noProblems(t, rep)
	if rep.Entries[Unchanged] == 0 || rep.BytesWritten == 0 {
		t.Errorf("did not go on: %+v", rep)
	}
	equalTrees(t, want, describe(t, target), ".")
}

// TestDiskFull uses a small tmpfs.
func TestDiskFull(t *testing.T) {
	target := t.TempDir()
	if err := unix.Mount("tmpfs", target, "tmpfs", 0, "size=20m"); err != nil {
		t.Skip(err)
	}
	defer unix.Unmount(target, unix.MNT_DETACH)
	s := newStore()
	root := s.tree(dirOf("", s.fileOf("a", "x"), s.fileOf("big", noise(largeFile+2*spanBytes, 1)), s.fileOf("c", "y"), s.fileOf("mid", noise(largeFile-1, 2))))
	rep := restoreTo(t, s, root, target)
	if rep.ProblemCount != 1 || rep.Problems[0].Path != "big" || !errors.Is(rep.Problems[0], unix.ENOSPC) {
		t.Errorf("%v", rep.Problems)
	}
	if got := fmt.Sprint(list(target)); got != "[v v/a v/c v/mid]" {
		t.Errorf("left %s", got)
	}
}

// TestExchanged: a closed directory that is another one when it is needed again
// is not entered, and a planted file is no source of hard links.
func TestExchanged(t *testing.T) {
	s := newStore()
	base := t.TempDir()
	w, d := fakeWorker(t, s, base)
	sub := d.below(&snapshot.Node{Name: "sub", Type: snapshot.Directory})
	if !w.ready(sub) {
		t.Fatal(w.problems)
	}
	w.dirs.drop(sub)
	path := filepath.Join(base, "t/sub")
	must(os.Rename(path, path+"2"))
	must(os.Mkdir(path, 0o700))
	if _, err := w.dirs.acquire(sub); err != errMoved {
		t.Errorf("exchanged directory: %v", err)
	}

	a, b := s.fileOf("a", "data"), s.fileOf("b", "data")
	a.Inode, a.Links, b.Inode, b.Links = 5, 2, 5, 2
	w.entry(d, &a.Node)
	planted := filepath.Join(base, "t/a")
	must(os.Remove(planted))
	must(os.WriteFile(planted, []byte("evil"), 0o644))
	w.entry(d, &b.Node)
	if got := read(filepath.Join(base, "t/b")); got != "data" || w.nProblem != 0 || w.nNotice != 1 {
		t.Errorf("b holds %q, %v, %v", got, w.problems, w.notices)
	}
}
