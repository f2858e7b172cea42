package archive

import (
	"context"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"vault/internal/match"
	"vault/internal/sys"
	"vault/snapshot"
)

// scanDir scans a directory by a scan that a test holds, and returns its root.
func scanDir(t testing.TB, s *scan, dir string) *snapshot.Node {
	t.Helper()
	e := &slot{node: &snapshot.Node{Type: snapshot.Directory}}
	if err := s.rootDir(e, dir, nil); err != nil {
		t.Fatal(err)
	}
	return e.node
}

// seenAhead waits until the helpers of a scan have done everything that was asked of
// them. It reports whether they have opened a directory that is called name.
func seenAhead(t testing.TB, s *scan, name string) (opened bool) {
	t.Helper()
	for _, p := range s.ahead.all {
		if p.dir == nil || p.ran {
			continue
		}
		select {
		case <-p.done:
			p.done <- struct{}{}
		case <-time.After(2 * time.Minute):
			t.Fatal("no helper has looked ahead")
		}
		opened = opened || p.name == name && p.fd >= 0
	}
	return opened
}

// TestAhead scans directories that are looked into ahead, wholly or in part, with and without
// something that is left out of them.
func TestAhead(t *testing.T) {
	dir := fastDir(t)
	var want []string
	keep := func(p string) { want = append(want, p) }
	for d := range 2 * aheadDirs {
		sub := fmt.Sprintf("d%02d", d)
		mkdir(t, filepath.Join(dir, sub))
		keep(sub)
		ignored, n := false, []int{1, lookAtOnce - 1, 3*lookAtOnce + 20}[d%3]
		if d == 10 {
			n = 4000 // not listed ahead
		}
		if d%5 == 0 {
			write(t, filepath.Join(dir, sub, ".no"), []byte("*.p"))
			keep(sub + "/.no")
			ignored = true
		}
		for i := range n {
			p := fmt.Sprintf("%s/f%04d.%c", sub, i, "nop"[i%3])
			write(t, filepath.Join(dir, p), []byte(p))
			if i%3 == 0 || i%3 == 2 && !ignored {
				keep(p)
			}
		}
		mkdir(t, filepath.Join(dir, sub, "o.d", "x.o"))
		keep(sub + "/o.d")
	}
	m := newMemory()
	o := options(t, m)
	x := &Excludes{Command: patterns(t, match.Gitignore, "*.o"), IgnoreFiles: []string{".no"}}
	run := func(x *Excludes, parent *Parent) snapshot.Volume {
		r := archive(t, o, Volume{Name: "v", Source: Path{dir}, Excludes: x, Parent: parent})
		mustComplete(t, r.Volumes[0])
		if len(r.Notices) > 0 {
			t.Fatal(r.Notices)
		}
		return r.Volumes[0]
	}
	v := run(x, nil)
	got := tree(t, m, v.Root)
	delete(got, ".")
	slices.Sort(want)
	if have := slices.Sorted(maps.Keys(got)); !slices.Equal(have, want) {
		t.Errorf("%d entries, %d wanted", len(have), len(want))
	}
	m.resetCounts()
	if again := run(x, trusted(v)); again.Root.Tree != v.Root.Tree || len(m.puts) > 0 {
		t.Errorf("an unchanged tree gives another, or writes %v", m.puts)
	}
	all := run(nil, trusted(v))
	compareTree(t, m, all.Root, dir)
	if fresh := run(nil, nil); fresh.Root.Tree != all.Root.Tree {
		t.Error("the tree depends on history")
	}
}

// TestAheadStale: what was seen too long ago is not relied upon.
func TestAheadStale(t *testing.T) {
	dir := t.TempDir()
	for _, d := range []string{"a", "b", "c", "d"} {
		mkdir(t, filepath.Join(dir, d))
		write(t, filepath.Join(dir, d, "old"), []byte(d))
	}
	m := newMemory()
	r := newRun(t.Context(), options(t, m))
	defer r.stop()
	s := newScan(r, nil, &snapshot.Volume{})
	r.o.Select = func(path string, _ *snapshot.Node) bool {
		if path == "a/old" {
			if !seenAhead(t, s, "b") {
				t.Error("nobody has looked into the next directory")
			}
			write(t, filepath.Join(dir, "b", "new"), []byte("new"))
			s.ahead.now = time.Now().Add(maxPeekAge + time.Minute)
		}
		return true
	}
	got := tree(t, m, scanDir(t, s, dir))
	if got["b/new"] == nil || len(got) != 10 {
		t.Errorf("entries: %v", slices.Sorted(maps.Keys(got)))
	}
}

// TestAheadReplaced replaces directories after somebody has looked into them: by a link,
// by another one, by nothing. The scan goes on with what was opened, or with what is there if
// that took too long; it leaves the tree in no case.
func TestAheadReplaced(t *testing.T) {
	dir, outside := t.TempDir(), t.TempDir()
	write(t, filepath.Join(outside, "secret"), []byte("secret"))
	names := []string{"a", "b-link", "c-other", "d-gone", "e"}
	for _, d := range names {
		mkdir(t, filepath.Join(dir, d, "sub"))
		write(t, filepath.Join(dir, d, "sub", "file"), noise(1, 3000))
	}
	m := newMemory()
	r := newRun(t.Context(), options(t, m))
	defer r.stop()
	s := newScan(r, nil, &snapshot.Volume{})
	r.o.Select = func(path string, _ *snapshot.Node) bool {
		if path != "a/sub" {
			return true
		}
		seenAhead(t, s, "b-link")
		for _, d := range names[1:4] {
			if err := os.Rename(filepath.Join(dir, d), filepath.Join(outside, d)); err != nil {
				t.Error(err)
			}
		}
		os.Symlink(outside, filepath.Join(dir, "b-link"))
		mkdir(t, filepath.Join(dir, "c-other"))
		return true
	}
	got := tree(t, m, scanDir(t, s, dir))
	want := []string{"."}
	for _, d := range names {
		n := got[d+"/sub/file"]
		switch {
		case n != nil:
			want = append(want, d, d+"/sub", d+"/sub/file")
			if string(content(t, m, n)) != string(noise(1, 3000)) {
				t.Errorf("%s: another content", d)
			}
		case d == "c-other":
			want = append(want, d)
		}
	}
	if have := slices.Sorted(maps.Keys(got)); !slices.Equal(have, want) || got["a"] == nil || got["e"] == nil {
		t.Errorf("entries %v, wanted %v", have, want)
	}
}

// TestAheadOfMovedDirectory has each directory on a long way down hold another one, into
// which somebody looks, and moves some of them away.
func TestAheadOfMovedDirectory(t *testing.T) {
	const levels = 2 * keepOpen
	dir, outside := deepDir(t, levels), fastDir(t)
	for level := range levels {
		at := filepath.Join(dir, strings.Repeat("m/", level), "n")
		mkdir(t, at)
		write(t, filepath.Join(at, "x"), []byte("x"))
	}
	fds := openFDs(t)
	m := newMemory()
	r := newRun(t.Context(), options(t, m))
	s := newScan(r, nil, &snapshot.Volume{})
	most := 0
	r.o.Select = func(path string, _ *snapshot.Node) bool {
		if path == strings.Repeat("m/", levels-1)+"z" {
			most = openFDs(t)
			for _, level := range []int{10, 5} {
				if err := os.Rename(filepath.Join(dir, strings.Repeat("m/", level)), filepath.Join(outside, fmt.Sprint(level))); err != nil {
					t.Error(err)
				}
			}
		}
		return true
	}
	got := tree(t, m, scanDir(t, s, dir))
	r.stop()
	if most == 0 || most > fds+keepOpen+2*maxPeeks+50 {
		t.Errorf("%d descriptors, %d before", most, fds)
	}
	if s.vol.ProblemCount != 5 {
		t.Errorf("problems %v", s.vol.Problems)
	}
	for level := range levels {
		if n := strings.Repeat("m/", level) + "n/x"; (got[n] != nil) != (level < 5 || level > 9) {
			t.Errorf("level %d: stored %v", level, got[n] != nil)
		}
	}
	mustSettle(t, fds)
}

// TestAheadStops ends a run while helpers look ahead.
func TestAheadStops(t *testing.T) {
	dir := fastDir(t)
	for d := range 20 {
		for i := range 40 {
			mkdir(t, filepath.Join(dir, fmt.Sprint("d", d), fmt.Sprint("e", i)))
		}
	}
	fds := openFDs(t)
	for at := 1; at < 800; at += 61 {
		ctx, cancel := context.WithCancel(t.Context())
		o := options(t, newMemory())
		n := 0
		o.Select = func(string, *snapshot.Node) bool {
			if n++; n == at {
				cancel()
			}
			return true
		}
		if _, err := Run(ctx, o, []Volume{{Name: "v", Source: Path{dir}}}); err == nil {
			t.Errorf("stopped at %d: no error", at)
		}
		cancel()
		mustSettle(t, fds)
	}
}

// TestPeekLeavesOut: of what a name leaves out nothing is looked at, not even ahead.
func TestPeekLeavesOut(t *testing.T) {
	tmp := t.TempDir()
	for _, name := range []string{"a", "gone", "z"} {
		write(t, filepath.Join(tmp, "sub-"+name), nil)
	}
	fd, err := unix.Open(tmp, unix.O_RDONLY|unix.O_DIRECTORY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	x := &Excludes{Command: patterns(t, match.Gitignore, "sub-a")}
	var l listing
	buf, st := make([]byte, 4096), new(sys.Stat_t)
	if !l.readSmall(fd, buf, 1000) {
		t.Fatal("not listed")
	}
	os.Remove(filepath.Join(tmp, "sub-gone"))
	p := &peek{dir: &dir{fd: fd}, fd: -1, n: lookAtOnce, names: &l, patterns: x.set("").Root()}
	p.run(t.Context(), buf, st)
	if len(p.looks) != 3 || p.looks[0].known || !p.looks[0].unseen || p.looks[1].known || p.looks[1].unseen || !p.looks[2].known {
		t.Errorf("%+v", p.looks)
	}
	// A name that is listed only if it lies on another device, and one that is no directory.
	for _, c := range []struct {
		name   string
		dev    uint64
		opened bool
	}{{".", 1, true}, {"sub-z", 0, false}, {"sub-gone", 0, false}} {
		p := &peek{dir: &dir{fd: fd}, fd: -1, n: lookAtOnce, name: c.name, stay: true, dev: c.dev}
		p.names = &p.list
		p.run(t.Context(), buf, st)
		if (p.fd >= 0) != c.opened || p.listed || len(p.looks) > 0 {
			t.Errorf("%s: %+v", c.name, p)
		}
		if p.fd >= 0 {
			unix.Close(p.fd)
		}
	}
}

// TestOtherFileSystemIsEmpty: of a file system that is not entered no names are looked at, those
// of a directory before it neither.
func TestOtherFileSystemIsEmpty(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "file"), nil)
	r := newRun(t.Context(), options(t, newMemory()))
	defer r.stop()
	for _, other := range []bool{false, true} {
		r.oneFS = other
		s := newScan(r, nil, &snapshot.Volume{})
		var before listing
		before.append("file")
		s.lists = append(s.lists, before)
		fd, err := unix.Open(dir, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		up := &frame{name: ".", base: 99, slot: &slot{}}
		f := &frame{up: up, name: "d", depth: 1}
		if err := s.opened(&slot{frame: up, node: &snapshot.Node{Type: snapshot.Directory}}, fd, f, nil); err != nil {
			t.Fatal(err)
		}
		if n := f.list.len(); (n == 0) != other {
			t.Errorf("another file system %v: %d names", other, n)
		}
	}
}
