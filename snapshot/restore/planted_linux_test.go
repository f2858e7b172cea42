package restore

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"vault/snapshot"
)

// raceUntil runs restores while attack runs again and again beside them, until
// both have had their share, or a minute has passed in which each had some. Only if
// one is kept from running for several minutes that is an error.
func raceUntil(t *testing.T, restores int, attacks int64, attack func() bool, restore func(i int)) {
	t.Helper()
	var done atomic.Int64
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		for {
			select {
			case <-stop:
				return
			default:
			}
			if attack() {
				done.Add(1)
			}
		}
	}()
	start := time.Now()
	for i := 0; i < restores || done.Load() < attacks; i++ {
		if time.Since(start) > time.Minute && i > 2 && done.Load() > 0 {
			t.Logf("%d attacks during %d restores", done.Load(), i)
			break
		}
		if time.Since(start) > 5*time.Minute {
			t.Errorf("only %d attacks during %d restores", done.Load(), i)
			break
		}
		restore(i)
	}
	close(stop)
	<-stopped
}

// TestRacingPlanter: while files are restored, somebody puts symlinks and hard links
// to a canary in the place of files, directories, and temporary files. Nothing of
// the canary changes.
func TestRacingPlanter(t *testing.T) {
	s := newStore()
	victim := noise(updateBytes+testChunk, 7)
	changed := "X" + victim[1:len(victim)-1] + "Y"
	private := func(n *snapshot.Node) {
		n.Mode = 0o4711
		n.Xattrs = []snapshot.Xattr{{Name: "user.evil", Value: []byte("x")}}
	}
	linked := func(n *snapshot.Node) { n.Inode, n.Links = 5, 2 }
	root := s.tree(dirOf("", s.fileOf("big", changed).with(private), s.fileOf("big2", changed).with(private), s.fileOf("small", "small").with(private),
		s.fileOf("h1", changed).with(linked), s.fileOf("h2", changed).with(linked), linkTo("link", "small"),
		dirOf("dir", s.fileOf("victim", changed).with(private), dirOf("victims", s.fileOf("in", "x"))).with(private)))
	names := []string{"big", "big2", "small", "h1", "h2", "link", "dir/victim", "dir", "dir/victims"}
	base := t.TempDir()
	canary, target := filepath.Join(base, "canary"), filepath.Join(base, "target")
	must(os.MkdirAll(filepath.Join(canary, "victims"), 0o755))
	file := filepath.Join(canary, "victim")
	touch(file, victim, someTime)
	touch(filepath.Join(canary, "victims/in"), "precious", someTime)
	before := describe(t, canary)
	must(os.MkdirAll(filepath.Join(target, "v"), 0o755))

	r := rand.New(rand.NewPCG(1, 2))
	plant := filepath.Join(base, "plant")
	attack := func() bool {
		name := names[r.IntN(len(names))]
		if at := strings.IndexByte(name, '/'); at > 0 { // the attacker must not be tricked either
			if st, err := os.Lstat(filepath.Join(target, "v", name[:at])); err != nil || !st.IsDir() {
				return false
			}
		}
		name = filepath.Join(target, "v", name)
		if r.IntN(3) == 0 { // what is there now, temporary names too
			if all, _ := filepath.Glob(filepath.Join(target, "v", tempPrefix+"*")); len(all) > 0 {
				name = all[0]
			}
		}
		os.RemoveAll(plant)
		switch r.IntN(3) {
		case 0:
			os.Symlink(file, plant)
		case 1:
			os.Link(file, plant)
		default:
			os.Symlink(canary, plant)
		}
		return unix.Renameat2(unix.AT_FDCWD, plant, unix.AT_FDCWD, name, unix.RENAME_EXCHANGE) == nil
	}
	raceUntil(t, 60, 200, attack, func(i int) {
		o := Options{Source: s, Target: target, Overwrite: []Policy{IfChanged, Always, IfNewer}[i%3], Delete: i%2 == 0, Verify: i%5 == 0, Workers: 3}
		if _, err := Run(context.Background(), o, volumeOf(root, "v")); err != nil {
			t.Fatal(err)
		}
	})
	must(os.RemoveAll(target))
	os.RemoveAll(plant)
	equalTrees(t, before, describe(t, canary))

	// Left alone, a restore comes out right.
	must(os.Mkdir(target, 0o755))
	noProblems(t, restoreTo(t, s, root, target))
	if read(filepath.Join(target, "v/big")) != changed {
		t.Error("wrong content")
	}
}

// TestTreeCycle: directories that hold themselves end where the volume's record
// does, with few descriptors, whatever is restored of them.
func TestTreeCycle(t *testing.T) {
	names := newStore()
	page := func(kids ...ent) []byte { return names.blobs[names.rawDir(kids...)] }
	to := func(name string, i int) ent {
		d := dirOf(name)
		d.Tree = hostileID(i)
		return d
	}
	entries := slackEntries
	slackEntries = 300
	defer func() { slackEntries = entries }()
	for name, blobs := range map[string]hostileStore{
		"itself":     {page(names.fileOf("f", "x"), to("loop", 0))},
		"each other": {page(to("a", 1)), page(to("b", 0), names.fileOf("f", "x"))},
		"twice":      {page(to("a", 0), to("b", 0))},
	} {
		root := dirOf("")
		root.Tree = hostileID(0)
		start := openDescriptors()
		for _, dry := range []bool{true, false} {
			target := tempDir(t, os.TempDir())
			v := &snapshot.Volume{Name: "v", State: snapshot.Complete, Root: &root.Node, Directories: snapshot.Counts{New: 3}}
			rep, err := Run(context.Background(), Options{Source: blobs, Target: target, DryRun: dry, Delete: true}, []Volume{{Volume: v, Dir: "v"}})
			var size *SizeError
			if !errors.As(err, &size) || size.What != "entries" {
				t.Errorf("%s, dry %t: %v, %v", name, dry, err, rep.Problems)
			}
			if rep.Entries[Created] > slackEntries+10 {
				t.Errorf("%s: %d entries", name, rep.Entries[Created])
			}
		}
		if end := openDescriptors(); end > start {
			t.Errorf("%s: %d descriptors left open", name, end-start)
		}
	}
}

// TestDuplicateNames: of entries with the same name in a directory at most the first
// is restored, the rest is a problem, and neither writes into the other.
func TestDuplicateNames(t *testing.T) {
	s := newStore()
	dir := func(content string) ent {
		d := dirOf("x")
		d.Tree = s.rawDir(s.fileOf("in", content))
		return d
	}
	for name, kids := range map[string][]ent{
		"files":                {s.fileOf("x", "first"), s.fileOf("x", "second")},
		"directories":          {dir("first"), dir("second")},
		"file and directory":   {s.fileOf("x", "first"), dir("second")},
		"directory and file":   {dir("first"), s.fileOf("x", "second")},
		"link and directory":   {linkTo("x", "/"), dir("second")},
		"with another between": {s.fileOf("x", "first"), s.fileOf("y", "y"), s.fileOf("x", "second")},
	} {
		for _, existed := range []bool{false, true} {
			target := t.TempDir()
			if existed {
				must(os.Mkdir(filepath.Join(target, "v"), 0o755))
			}
			rep := restoreTo(t, s, s.rawRoot(kids...), target)
			if rep.ProblemCount == 0 {
				t.Errorf("%s: no problem", name)
			}
			for _, p := range list(target) {
				if st := must1(os.Lstat(filepath.Join(target, p))); st.Mode().IsRegular() && strings.Contains(read(filepath.Join(target, p)), "second") {
					t.Errorf("%s, existed %t: %s has what came second", name, existed, p)
				}
			}
		}
		// The same without the reader's check: what this run made is not written again.
		w, d := fakeWorker(t, s, t.TempDir())
		d.made = true
		f := s.fileOf("x", "first")
		if _, err := w.place(d, &f.Node, keepGood); err != nil {
			t.Fatal(err)
		}
		f = s.fileOf("x", "second")
		if _, err := w.place(d, &f.Node, keepGood); !errors.Is(err, errDuplicate) {
			t.Errorf("%s: %v", name, err)
		}
		sub := d.below(&snapshot.Node{Name: "x", Type: snapshot.Directory})
		if w.ready(sub) {
			t.Errorf("%s: entered as a directory", fmt.Sprint(name))
		}
	}
}
