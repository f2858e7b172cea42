package archive

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"vault/snapshot"
)

func TestUnchanged(t *testing.T) {
	at := func(sec int64, nsec uint32) snapshot.Time { return snapshot.Time{Sec: sec, Nsec: nsec} }
	s := &scan{safe: at(100, 5)}
	for _, c := range []struct {
		name string
		do   func(st *stat, d *device, old *snapshot.Node)
		want bool
	}{
		{"nothing", func(*stat, *device, *snapshot.Node) {}, true},
		{"type", func(st *stat, _ *device, _ *snapshot.Node) { st.mode = unix.S_IFLNK }, false},
		{"size", func(st *stat, _ *device, _ *snapshot.Node) { st.size++ }, false},
		{"mtime", func(st *stat, _ *device, _ *snapshot.Node) { st.mtime.Nsec++ }, false},
		{"ctime", func(st *stat, _ *device, _ *snapshot.Node) { st.ctime.Sec-- }, false},
		{"inode", func(st *stat, _ *device, _ *snapshot.Node) { st.ino++ }, false},
		{"device", func(_ *stat, d *device, _ *snapshot.Node) { d.number = 1 }, false},
		{"mode", func(st *stat, _ *device, _ *snapshot.Node) { st.mode ^= 0o7 }, true}, // told by the stat
		{"racy", func(st *stat, _ *device, old *snapshot.Node) { st.ctime = at(100, 6); old.CTime = st.ctime }, false},
		{"just not racy", func(st *stat, _ *device, old *snapshot.Node) { st.ctime = at(100, 5); old.CTime = st.ctime }, true},
	} {
		st := stat{mode: unix.S_IFREG | 0o644, size: 10, ino: 7, mtime: at(50, 1), ctime: at(60, 2)}
		old := snapshot.Node{Type: snapshot.File, Mode: 0o644, Size: 10, Inode: 7, MTime: st.mtime, CTime: st.ctime}
		d := &device{}
		c.do(&st, d, &old)
		if got := s.unchanged(&st, d, &old); got != c.want {
			t.Errorf("%s: %v", c.name, got)
		}
	}
}

// TestShorterThanSeen gives the cutter files that shrank after their size was taken.
func TestShorterThanSeen(t *testing.T) {
	m := newMemory()
	r := newRun(t.Context(), options(t, m))
	defer r.stop()
	for _, seen := range []uint64{100, 500, 5000, 500_000} {
		for _, is := range []int{0, 1, 50, 128, 129, 4000} {
			for _, blocks := range []uint64{0, 1 << 20} { // as if sparse, or not
				if uint64(is) > seen {
					continue
				}
				path := filepath.Join(t.TempDir(), "f")
				data := noise(1, is)
				write(t, path, data)
				f, err := os.Open(path)
				if err != nil {
					t.Fatal(err)
				}
				n := &snapshot.Node{Type: snapshot.File}
				err = r.own.cut.file(t.Context(), int(f.Fd()), seen, blocks, n)
				f.Close()
				if err != nil {
					t.Fatal(err)
				}
				if _, err := snapshot.AppendBody(nil, n); err != nil {
					t.Errorf("%d of %d bytes: %v", is, seen, err)
				}
				if !bytes.Equal(content(t, m, n), data) || (n.Content.Inline != nil) != (is > 0 && is <= 128) {
					t.Errorf("%d of %d bytes: %+v", is, seen, n)
				}
			}
		}
	}
}

// TestVanishedEntryOfParent has a file that the parent knows vanish while everything
// else is taken over.
func TestVanishedEntryOfParent(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"a", "b", "c"} {
		write(t, filepath.Join(dir, name), noise(name[0], 500))
	}
	m := newMemory()
	o := options(t, m)
	full, _ := archiveDir(t, o, dir, nil)
	now := time.Now().Add(time.Minute)
	if err := os.Chtimes(filepath.Join(dir, "b"), now, now); err != nil {
		t.Fatal(err)
	}
	o.Select = func(path string, _ *snapshot.Node) bool {
		if path == "c" {
			os.Remove(filepath.Join(dir, "b"))
		}
		return true
	}
	v, notices := archiveDir(t, o, dir, trusted(full))
	o.Select = nil
	fresh, _ := archiveDir(t, o, dir, nil)
	if v.Root.Tree != fresh.Root.Tree || len(notices) != 1 {
		t.Errorf("entries %v, notices %v", tree(t, m, v.Root), notices)
	}
}

// TestLinkChangesBetweenNames changes a file after it was read under its first name.
func TestLinkChangesBetweenNames(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "a")
	write(t, path, noise(1, 3000))
	const others = lookAtOnce - 10 // few enough for the scanner to look at them itself, one by one
	for i := range others {
		write(t, filepath.Join(dir, fmt.Sprint("b", 1000+i)), noise(2, 300))
	}
	for _, name := range []string{"y", "z"} {
		if err := os.Link(path, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	m := newMemory()
	o := options(t, m)
	o.Select = func(p string, _ *snapshot.Node) bool {
		if p == fmt.Sprint("b", 1000+others-1) {
			time.Sleep(20 * time.Millisecond) // "a" is read by now
			write(t, path, noise(3, 4000))
		}
		return true
	}
	v, _ := archiveDir(t, o, dir, nil)
	mustComplete(t, v)
	got := tree(t, m, v.Root)
	for _, name := range []string{"y", "z"} {
		if !bytes.Equal(content(t, m, got[name]), noise(3, 4000)) {
			t.Errorf("%s is not what the file was when it was looked at", name)
		}
	}
}
