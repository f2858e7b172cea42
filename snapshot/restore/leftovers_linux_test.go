package restore

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"vault/snapshot"
)

// plantLeftovers makes what a killed restore can leave in a directory, and names
// that only look like it.
func plantLeftovers(dir string) {
	must(os.WriteFile(filepath.Join(dir, tempName()), []byte("half"), 0o600))
	must(os.Symlink("/", filepath.Join(dir, tempName())))
	must(unix.Mkfifo(filepath.Join(dir, tempName()), 0o600))
	must(os.WriteFile(filepath.Join(dir, partialName(&snapshot.Node{Name: "gone"})), []byte("half"), 0o600))
	for _, name := range alike {
		must(os.WriteFile(filepath.Join(dir, name), nil, 0o600))
	}
	must(os.Mkdir(filepath.Join(dir, tempPrefix+"0123456789abcdee"), 0o755))
}

var alike = []string{tempPrefix, tempPrefix + "notes", tempPrefix + "0123456789ABCDEF", tempPrefix + "0123456789abcdef0", "x" + tempPrefix + "0123456789abcdef"}

func temporaries(dir string) (n int) {
	for _, p := range list(dir) {
		if st := must1(os.Lstat(filepath.Join(dir, p))); isTemporary(filepath.Base(p)) && !st.IsDir() {
			n++
		}
	}
	return n
}

// TestLeftovers: what a killed restore left is removed by the next, with or
// without --delete, wherever that comes by, and nothing else is.
func TestLeftovers(t *testing.T) {
	s := newStore()
	own := tempPrefix + "fedcba9876543210" // in the backup itself
	root := s.tree(dirOf("", s.fileOf("f", "x"), dirOf("d", s.fileOf(own, "mine"))))
	for _, p := range []Policy{IfChanged, Always, Never} {
		target := t.TempDir()
		noProblems(t, restoreTo(t, s, root, target))
		v := filepath.Join(target, "v")
		must(os.Mkdir(filepath.Join(v, "other"), 0o755))
		for _, dir := range []string{target, v, filepath.Join(v, "d"), filepath.Join(v, "other")} {
			plantLeftovers(dir)
		}
		before := describe(t, target)
		dry := restoreTo(t, s, root, target, func(o *Options) { o.Overwrite, o.DryRun = p, true })
		equalTrees(t, before, describe(t, target))
		rep := restoreTo(t, s, root, target, func(o *Options) { o.Overwrite = p })
		noProblems(t, rep)
		if dry.Entries[Deleted] != 8 || rep.Entries[Deleted] != 8 {
			t.Errorf("%v: %d and %d deleted, want 8", p, dry.Entries[Deleted], rep.Entries[Deleted])
		}
		for dir, want := range map[string]int{v: 1 + 4, filepath.Join(v, "d"): 1, target: 4 + 1 + 4} { // those of other directories stay
			if got := temporaries(dir); got != want {
				t.Errorf("%v: %d temporary names below %s, want %d", p, got, dir, want)
			}
			for _, name := range alike {
				must1(os.Lstat(filepath.Join(dir, name)))
			}
		}
		if read(filepath.Join(v, "d", own)) != "mine" {
			t.Errorf("%v: a file of the backup is gone", p)
		}
	}
}

// TestLeftoversBesideSingleFile: also where a volume is one file.
func TestLeftoversBesideSingleFile(t *testing.T) {
	s := newStore()
	target := t.TempDir()
	plantLeftovers(target)
	noProblems(t, restoreTo(t, s, s.tree(s.fileOf("", "content")), target))
	if n := temporaries(target); n != 0 || read(filepath.Join(target, "v")) != "content" {
		t.Errorf("%d are left", n)
	}
}

// TestLeftoversOfTheLiving: temporary names of a restore that is at work stay. It
// waits for a blob of each of its files while another one passes through.
func TestLeftoversOfTheLiving(t *testing.T) {
	s := newStore()
	var kids []ent
	for i := range 4 {
		kids = append(kids, s.fileOf(fmt.Sprint("f", i), noise(3*testChunk, byte(i))))
	}
	large := largeFile + 3*testChunk
	kids = append(kids, s.fileOf("large", noise(large, 9)))
	root := s.tree(dirOf("", kids...))
	passing := s.tree(dirOf("", s.fileOf("another", "x")))
	target := t.TempDir()
	must(os.Mkdir(filepath.Join(target, "v"), 0o755))
	most, gets := 0, 0
	slow := &hooked{store: s, before: func() {
		if gets++; gets%16 != 1 {
			return
		}
		most = max(most, temporaries(target))
		rep := restoreTo(t, s, passing, target)
		noProblems(t, rep)
		if rep.Entries[Deleted] > 0 {
			t.Errorf("%d names of a running restore were removed", rep.Entries[Deleted])
		}
	}}
	noProblems(t, restoreTo(t, s, root, target, func(o *Options) { o.Source, o.Workers = slow, 3 }))
	if most < 1 {
		t.Errorf("there never were temporary names")
	}
	if got := strings.Join(list(filepath.Join(target, "v")), " "); got != "another f0 f1 f2 f3 large" {
		t.Errorf("left %s", got)
	}
}
