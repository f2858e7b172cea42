package restore

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"vault/snapshot"
)

// keep sets how much of links stays in memory.
func keep(t *testing.T, names, spilled int) {
	k, m := linksKept, maxSpilled
	linksKept, maxSpilled = names, spilled
	t.Cleanup(func() { linksKept, maxSpilled = k, m })
}

// TestLinksInAFile runs what is tested of hard links with next to none in memory.
func TestLinksInAFile(t *testing.T) {
	for _, n := range []int{0, 1, 3} {
		keep(t, n, maxSpilled)
		t.Run(fmt.Sprintf("links/%d", n), TestLinks)
		t.Run(fmt.Sprintf("exchanged/%d", n), TestExchanged)
		t.Run(fmt.Sprintf("bytes/%d", n), TestByteBomb)
	}
}

// linkedTree returns a tree of files with one to five names each, in many
// directories, and the names by file.
func linkedTree(s *store, rng *rand.Rand, files int) (*snapshot.Node, [][]string) {
	dirs := make([][]ent, 40)
	names := make([][]string, files)
	for i := range files {
		f := s.fileOf("", fmt.Sprintf("content %d", i/2)) // two have the same
		n := 1 + rng.IntN(5)
		for j := range n {
			d := rng.IntN(len(dirs))
			name := fmt.Sprintf("f%d-%d", i, j)
			dirs[d] = append(dirs[d], f.with(func(x *snapshot.Node) { x.Name, x.Inode, x.Links = name, uint64(i+1), uint64(n) }))
			names[i] = append(names[i], dirPath(d)+"/"+name)
		}
	}
	// Directory d is in d/3: a tree that is some levels deep.
	var build func(d int) ent
	build = func(d int) ent {
		kids := dirs[d]
		for c := 3*d + 1; c <= 3*d+3 && c < len(dirs); c++ {
			kids = append(kids, build(c))
		}
		return dirOf(fmt.Sprintf("d%d", d), kids...)
	}
	return s.tree(dirOf("", build(0))), names
}

func dirPath(d int) string {
	if d == 0 {
		return "d0"
	}
	return dirPath((d-1)/3) + fmt.Sprintf("/d%d", d)
}

// wantLinks compares what was restored with the model: names of one file are one
// inode, and of others another.
func wantLinks(t *testing.T, base string, names [][]string) {
	t.Helper()
	seen := map[uint64]int{}
	for i, list := range names {
		for _, name := range list {
			st := must1(os.Stat(filepath.Join(base, name)))
			sys := st.Sys().(*syscall.Stat_t)
			if other, ok := seen[sys.Ino]; ok && other != i || sys.Nlink != uint64(len(list)) {
				t.Fatalf("%s has %d names, want %d, or is of file %d", name, sys.Nlink, len(list), other)
			}
			seen[sys.Ino] = i
			if got := read(filepath.Join(base, name)); got != fmt.Sprintf("content %d", i/2) {
				t.Fatalf("%s holds %q", name, got)
			}
		}
	}
	if len(seen) != len(names) {
		t.Errorf("%d inodes for %d files", len(seen), len(names))
	}
}

// TestManyLinks restores files with several names, over nothing and over what has
// lost some, with more and less of them in memory.
func TestManyLinks(t *testing.T) {
	for _, kept := range []int{0, 20, linksKept} {
		keep(t, kept, maxSpilled)
		rng := rand.New(rand.NewPCG(1, uint64(kept)))
		s := newStore()
		root, names := linkedTree(s, rng, 300)
		target := t.TempDir()
		for round := range 3 {
			rep := restoreTo(t, s, root, target)
			noProblems(t, rep)
			if rep.NoticeKinds["link"] != 0 {
				t.Errorf("%d kept, round %d: %v", kept, round, rep.Notices)
			}
			wantLinks(t, filepath.Join(target, "v"), names)
			for range 100 {
				list := names[rng.IntN(len(names))]
				os.Remove(filepath.Join(target, "v", list[rng.IntN(len(list))]))
			}
		}
		restoreTo(t, s, root, target)
		if left, err := filepath.Glob(filepath.Join(target, "*", tempPrefix+"*")); err != nil || len(left) > 0 {
			t.Errorf("left: %q, %v", left, err)
		}
	}
}

// TestLinksForgotten: the file for links cannot be made, cannot be written, or has
// no room. Everything is restored all the same, and said.
func TestLinksForgotten(t *testing.T) {
	short := slackBytes
	slackBytes = 0
	t.Cleanup(func() { slackBytes = short })
	for name, spill := range map[string]func(r *run){
		"not made": func(r *run) { r.makeSpill = func(*dir) (file, error) { return file{}, unix.EROFS } },
		"not written": func(r *run) {
			r.makeSpill = func(*dir) (file, error) {
				fd, err := unix.Open("/dev/full", unix.O_RDWR|unix.O_CLOEXEC, 0)
				return file{fd}, err
			}
		},
		"no room": func(*run) { maxSpilled = 5 },
	} {
		t.Run(name, func(t *testing.T) {
			keep(t, 10, maxSpilled)
			s := newStore()
			long := strings.Repeat("n", 200) // 64 KiB of records are soon reached
			var a, b []ent
			var size uint64
			for i := range 600 {
				f := s.fileOf(fmt.Sprintf("%s%d", long, i), fmt.Sprintf("content %d", i)).with(func(n *snapshot.Node) { n.Inode, n.Links = uint64(i+1), 2 })
				a, b = append(a, f), append(b, f)
				size += f.Size
			}
			target := t.TempDir()
			r := newRun(context.Background(), Options{Source: s, Target: target, Workers: 4})
			spill(r)
			volumes := volumeOf(s.tree(dirOf("", dirOf("a", a...), dirOf("b", b...))), "v")
			volumes[0].BytesProcessed = size // each file once, as a backup says it
			if err := r.all(volumes); err != nil {
				t.Fatal(err)
			}
			rep := r.report()
			noProblems(t, rep)
			if rep.NoticeKinds["link"] == 0 || rep.Files+rep.HardLinks != 1200 || rep.HardLinks == 600 {
				t.Errorf("%d files, %d links, notices %v", rep.Files, rep.HardLinks, rep.NoticeKinds)
			}
			for i := range 600 {
				for _, d := range []string{"a", "b"} {
					if got := read(filepath.Join(target, "v", d, fmt.Sprintf("%s%d", long, i))); got != fmt.Sprintf("content %d", i) {
						t.Fatalf("%s %d holds %q", d, i, got)
					}
				}
			}
		})
	}
}

// TestSpill compares a spill with a map, over so many keys that some have equal
// hashes.
func TestSpill(t *testing.T) {
	var s spill
	s.start(func() (file, error) {
		f, err := os.Create(filepath.Join(t.TempDir(), "spill"))
		if err != nil {
			return file{}, err
		}
		fd, err := unix.Dup(int(f.Fd()))
		return file{fd}, errors.Join(err, f.Close())
	})
	defer s.close()
	type kept struct {
		record string
		place  uint64
	}
	model := map[linkKey]kept{}
	rng := rand.New(rand.NewPCG(3, 3))
	for range 150_000 {
		key := linkKey{rng.Uint64N(3), rng.Uint64N(60_000)}
		b, place, err := s.take(key)
		if err != nil || string(b) != model[key].record || b != nil && place != model[key].place {
			t.Fatalf("%v: %q at %d, %v; want %+v", key, b, place, err, model[key])
		}
		delete(model, key)
		if rng.IntN(4) == 0 {
			continue
		}
		record := binary.LittleEndian.AppendUint64(binary.LittleEndian.AppendUint64(nil, key.device), key.inode)
		record = append(record, make([]byte, 40+rng.IntN(2))...)
		binary.LittleEndian.PutUint64(record[20:], rng.Uint64())
		room := len(b)
		if err := s.put(key, record, place, room); err != nil {
			t.Fatal(err)
		}
		if len(record) != room {
			place = s.end + uint64(len(s.buf)-len(record)-4)
		}
		model[key] = kept{string(record), place}
	}
	if s.n != len(model) {
		t.Errorf("%d records, want %d", s.n, len(model))
	}
	for key, want := range model {
		if b, _, err := s.take(key); err != nil || string(b) != want.record {
			t.Fatalf("%v: %q, %v", key, b, err)
		}
	}
}

// TestLinksMemory has a process of its own meet 3,000,000 files that have another
// name each, which never comes.
func TestLinksMemory(t *testing.T) {
	const most = 256 << 20
	if raceDetector {
		t.Skip("the race detector multiplies memory")
	}
	if testing.Short() {
		t.Skip("meets three million files")
	}
	if os.Getenv("VAULT_LINKS") != "" {
		manyLinks(t)
		return
	}
	cmd := exec.Command(must1(os.Executable()), "-test.run=^TestLinksMemory$", "-test.v")
	cmd.Env = append(os.Environ(), "VAULT_LINKS=1")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	used := int64(cmd.ProcessState.SysUsage().(*syscall.Rusage).Maxrss) << 10
	t.Logf("%d MiB\n%s", used>>20, out)
	if used > most {
		t.Errorf("%d MiB, want at most %d", used>>20, most>>20)
	}
}

func manyLinks(t *testing.T) {
	w, root := fakeWorker(t, newStore(), t.TempDir())
	ls := &root.volume.links
	const files, perDir = 3_000_000, 1000
	var d *dir
	name := func(i int) string { return fmt.Sprintf("a-name-of-usual-length-%07d", i) }
	for i := range files {
		if i%perDir == 0 {
			d = newDir(root, name(i), root.volume, &snapshot.Node{Type: snapshot.Directory})
			d.path, d.made, d.stamp = name(i), true, "12345678"
		}
		l, fresh, err := ls.take(linkKey{0, uint64(i)}, [32]byte{1}, 1)
		if err != nil || !fresh {
			t.Fatalf("file %d: known: %v, %v", i, !fresh, err)
		}
		l.seen++
		l.take(outcome{known: true, made: true, id: identity{1, uint64(i)}, stamp: "12345678"}, location{d, name(i)})
		w.letGo(root.volume, l)
	}
	if w.nNotice != 0 {
		t.Errorf("%d forgotten: %v", w.nNotice, w.notices[0])
	}
	for i := 0; i < files; i += 1009 { // all are there
		l, fresh, err := ls.take(linkKey{0, uint64(i)}, [32]byte{2}, 1)
		if err != nil || fresh || l.at.name != name(i) || l.at.dir.path != name(i-i%perDir) || l.out.id.ino != uint64(i) {
			t.Fatalf("file %d: known: %v, %+v, %v", i, !fresh, l, err)
		}
		w.letGo(root.volume, l)
	}
	t.Logf("%d in a file of %d MB, with %d MB of index", ls.far.n, (ls.far.end+uint64(len(ls.far.buf)))>>20, 8*len(ls.far.slots)>>20)
	ls.far.close()
}
