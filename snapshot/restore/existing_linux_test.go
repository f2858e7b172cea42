package restore

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"vault/crypto"
	"vault/snapshot"
)

func touch(path, content string, at snapshot.Time) {
	must(os.WriteFile(path, []byte(content), 0o644))
	must(os.Chtimes(path, time.Time{}, at.Std()))
}

func read(path string) string { return string(must1(os.ReadFile(path))) }

// TestPolicies: what happens to a file that exists.
func TestPolicies(t *testing.T) {
	s := newStore()
	older := snapshot.Time{Sec: someTime.Sec - 1}
	newer := snapshot.Time{Sec: someTime.Sec + 1}
	cases := []struct {
		name    string
		content string
		at      snapshot.Time
		want    map[Policy]Verb
	}{
		{"the same", "new", someTime, map[Policy]Verb{IfChanged: Unchanged, Always: Replaced, IfNewer: Skipped, Never: Skipped}},
		{"same size and time", "old", someTime, map[Policy]Verb{IfChanged: Unchanged, Always: Replaced, IfNewer: Skipped, Never: Skipped}},
		{"older", "old", older, map[Policy]Verb{IfChanged: Replaced, Always: Replaced, IfNewer: Replaced, Never: Skipped}},
		{"newer", "old", newer, map[Policy]Verb{IfChanged: Replaced, Always: Replaced, IfNewer: Skipped, Never: Skipped}},
		{"other size", "longer", someTime, map[Policy]Verb{IfChanged: Replaced, Always: Replaced, IfNewer: Skipped, Never: Skipped}},
	}
	root := s.tree(dirOf("", s.fileOf("f", "new")))
	for _, c := range cases {
		for p, verb := range c.want {
			for _, dry := range []bool{true, false} {
				target := t.TempDir()
				f := filepath.Join(target, "v/f")
				must(os.Mkdir(filepath.Join(target, "v"), 0o755))
				touch(f, c.content, c.at)
				before := describe(t, target)
				rep := restoreTo(t, s, root, target, func(o *Options) { o.Overwrite = p; o.DryRun = dry })
				noProblems(t, rep)
				want := uint64(1)
				if verb == Unchanged && p == Never {
					want = 2
				}
				if rep.Entries[verb] < want || rep.Entries[Created] != 0 {
					t.Errorf("%s, %v, dry %v: %v", c.name, p, dry, rep.Entries)
				}
				if dry {
					equalTrees(t, before, describe(t, target))
					continue
				}
				content := c.content
				if verb == Replaced {
					content = "new"
				}
				if got := read(f); got != content {
					t.Errorf("%s, %v: holds %q, want %q", c.name, p, got, content)
				}
				if n := len(list(target)); n != 2 {
					t.Errorf("%s, %v: %q", c.name, p, list(target))
				}
			}
		}
	}
}

// TestCorrected: metadata of a file whose content is right.
func TestCorrected(t *testing.T) {
	s := newStore()
	root := s.tree(dirOf("", s.fileOf("f", "same").with(func(n *snapshot.Node) {
		n.Xattrs = []snapshot.Xattr{{Name: "user.a", Value: []byte("1")}, {Name: "user.b", Value: []byte("2")}}
	})))
	target := t.TempDir()
	noProblems(t, restoreTo(t, s, root, target))
	f := filepath.Join(target, "v/f")
	want := describe(t, target)
	ino := must1(os.Stat(f))
	must(os.Chmod(f, 0o777|os.ModeSetuid))
	must(unix.Lsetxattr(f, "user.b", []byte("wrong"), 0))
	must(unix.Lsetxattr(f, "user.c", []byte("extra"), 0))
	must(unix.Lremovexattr(f, "user.a"))
	rep := restoreTo(t, s, root, target)
	noProblems(t, rep)
	equalTrees(t, want, describe(t, target))
	if rep.Entries[Corrected] != 1 || !os.SameFile(ino, must1(os.Stat(f))) {
		t.Errorf("%v", rep.Entries)
	}
}

// TestStrangersInode: a file with other names, or of somebody who should not
// own it, is replaced and never written to.
func TestStrangersInode(t *testing.T) {
	s := newStore()
	big := noise(updateBytes+testChunk, 1)
	for name, plant := range map[string]func(f, canary string){
		"hard link": func(f, canary string) { must(os.Link(canary, f)) },
		"other's own file": func(f, canary string) {
			must(os.Rename(canary, f))
			must(os.Link(f, canary))
			must(os.Remove(canary))
			must(os.Chown(f, 4711, 4711))
		},
	} {
		for content, old := range map[string]string{"small": "small", big: "B" + big[1:]} {
			if name != "hard link" && os.Geteuid() != 0 {
				continue
			}
			for _, p := range []Policy{IfChanged, Always} {
				root := s.tree(dirOf("", s.fileOf("f", content).with(func(n *snapshot.Node) { n.Mode = 0o600 })))
				base := t.TempDir()
				canary, f := filepath.Join(base, "canary"), filepath.Join(base, "t/v/f")
				must(os.MkdirAll(filepath.Dir(f), 0o755))
				touch(canary, old, someTime)
				plant(f, canary)
				stranger := must1(os.Open(f))
				before := must1(stranger.Stat())
				noProblems(t, restoreTo(t, s, root, filepath.Join(base, "t"), func(o *Options) { o.Overwrite = p }))
				after := must1(stranger.Stat())
				if after.Mode() != before.Mode() || after.ModTime() != before.ModTime() || after.Size() != before.Size() {
					t.Errorf("%s, %v: %v became %v", name, p, before, after)
				}
				if os.SameFile(after, must1(os.Stat(f))) {
					t.Errorf("%s, %v: the inode is still there", name, p)
				}
				if read(f) != content {
					t.Errorf("%s, %v: wrong content", name, p)
				}
				stranger.Close()
			}
		}
	}
}

// TestUpdateInPlace: only what differs is written.
func TestUpdateInPlace(t *testing.T) {
	const size = 40 * testChunk
	for _, length := range []int{size, size + 5*testChunk, size - 7*testChunk - 3} {
		for _, named := range []bool{true, false} {
			s := newStore()
			content := []byte(noise(size, 1))
			copy(content[10*testChunk:], make([]byte, 2*testChunk)) // zeros
			root := s.tree(dirOf("", s.fileOf("f", string(content))))
			target := t.TempDir()
			must(os.Mkdir(filepath.Join(target, "v"), 0o755))
			old := append([]byte(nil), content[:min(length, size)]...)
			old = append(old, noise(max(0, length-size), 2)...)
			old[3*testChunk+5]++
			old[10*testChunk+5]++
			f := filepath.Join(target, "v/f")
			touch(f, string(old), someTime)
			must(os.Chtimes(f, time.Time{}, time.Unix(1, 0)))
			ino := must1(os.Stat(f))
			o := Options{Source: s, Target: target, Verify: true}
			if !named {
				o.Source = nameless{s}
			}
			rep, err := Run(context.Background(), o, volumeOf(root, "v"))
			if err != nil {
				t.Fatal(err)
			}
			noProblems(t, rep)
			missing := uint64(2 * blockBytes) // of a chunk, and of zeros
			if length < size {
				missing += 7*testChunk + blockBytes // a hole, and what is cut
			}
			if rep.Entries[Updated] != 1 || !os.SameFile(ino, must1(os.Stat(f))) || rep.BytesWritten != missing {
				t.Errorf("%d to %d: wrote %d, %v", length, size, rep.BytesWritten, rep.Entries)
			}
			if read(f) != string(content) || must1(os.Stat(f)).ModTime() != someTime.Std().Local() {
				t.Errorf("%d to %d: wrong", length, size)
			}
		}
	}
}

// TestUpdateFails: a file that could not be updated does not look complete.
func TestUpdateFails(t *testing.T) {
	s := newStore()
	root := s.tree(dirOf("", s.fileOf("f", noise(20*testChunk, 1))))
	target := t.TempDir()
	must(os.Mkdir(filepath.Join(target, "v"), 0o755))
	f := filepath.Join(target, "v/f")
	touch(f, noise(20*testChunk, 2), snapshot.Time{Sec: 5})
	n := 0
	s.onGet = func(crypto.ID) error {
		if n++; n > 3 {
			return errLost
		}
		return nil
	}
	if rep := restoreTo(t, s, root, target); rep.ProblemCount != 1 {
		t.Errorf("%v", rep.Problems)
	}
	st := must1(os.Stat(f))
	if st.Mode() != 0o600 || st.ModTime().Unix() != 0 {
		t.Errorf("%v %v", st.Mode(), st.ModTime())
	}
	s.onGet = nil
	noProblems(t, restoreTo(t, s, root, target))
	if read(f) != noise(20*testChunk, 1) {
		t.Error("not completed")
	}
}

// TestVerifyExisting: a file that only looks right is found and repaired.
func TestVerifyExisting(t *testing.T) {
	s := newStore()
	root := s.tree(dirOf("", s.fileOf("big", noise(20*testChunk, 1)), s.fileOf("tiny", "abc"), s.fileOf("zero", string(make([]byte, 4*testChunk)))))
	target := t.TempDir()
	noProblems(t, restoreTo(t, s, root, target))
	want := describe(t, target)
	for _, name := range []string{"big", "tiny", "zero"} {
		f := filepath.Join(target, "v", name)
		b := []byte(read(f))
		b[len(b)-1]++
		touch(f, string(b), someTime)
	}
	rep := restoreTo(t, s, root, target)
	if rep.BytesWritten != 0 {
		t.Errorf("without Verify: %+v", rep)
	}
	rep = restoreTo(t, s, root, target, func(o *Options) { o.Verify = true })
	noProblems(t, rep)
	equalTrees(t, want, describe(t, target))
	if rep.BytesVerified == 0 || rep.Entries[Replaced]+rep.Entries[Updated] != 3 {
		t.Errorf("%+v", rep)
	}
}

// TestConflicts: types that differ.
func TestConflicts(t *testing.T) {
	s := newStore()
	root := s.tree(dirOf("", s.fileOf("f", "file"), dirOf("d", s.fileOf("in", "x")), linkTo("l", "f")))
	all := []string{"f", "d", "l"}
	for _, c := range []struct {
		what     string
		make     func(path string)
		problems map[Policy]int // of f, d and l
	}{
		{"empty directory", func(p string) { must(os.Mkdir(p, 0o755)) }, map[Policy]int{IfChanged: 0, Always: 0, Never: 0}},
		{"full directory", func(p string) { must(os.MkdirAll(p+"/sub", 0o755)); touch(p+"/sub/x", "x", someTime) }, map[Policy]int{IfChanged: 2, Always: 2, Never: 0}},
		{"file", func(p string) { touch(p, "other", someTime) }, map[Policy]int{IfChanged: 0, Always: 0, Never: 1}},
		{"symlink", func(p string) { must(os.Symlink("/etc", p)) }, map[Policy]int{IfChanged: 0, Always: 0, Never: 1}},
		{"fifo", func(p string) { must(unix.Mkfifo(p, 0o644)) }, map[Policy]int{IfChanged: 0, Always: 0, Never: 1}},
	} {
		for p, problems := range c.problems {
			target := t.TempDir()
			must(os.Mkdir(filepath.Join(target, "v"), 0o755))
			for _, name := range all {
				c.make(filepath.Join(target, "v", name))
			}
			before := describe(t, target)
			rep := restoreTo(t, s, root, target, func(o *Options) { o.Overwrite = p; o.DryRun = true })
			equalTrees(t, before, describe(t, target))
			rep = restoreTo(t, s, root, target, func(o *Options) { o.Overwrite = p })
			if int(rep.ProblemCount) != problems {
				t.Errorf("%s, %v: %v", c.what, p, rep.Problems)
			}
			if p != Never && problems == 0 {
				if got := fmt.Sprint(list(target)); got != "[v v/d v/d/in v/f v/l]" || read(filepath.Join(target, "v/f")) != "file" {
					t.Errorf("%s, %v: %s", c.what, p, got)
				}
			}
			if c.what == "full directory" {
				if read(filepath.Join(target, "v/f/sub/x")) != "x" {
					t.Errorf("%v removed a full directory", p)
				}
				rep = restoreTo(t, s, root, target, func(o *Options) { o.Overwrite = p; o.Delete = true })
				if p != Never {
					noProblems(t, rep)
				}
			}
		}
	}
}

// TestDelete: what the backup does not have goes, but nothing outside, nothing
// that is not selected, and nothing on the way to another volume.
func TestDelete(t *testing.T) {
	s := newStore()
	root := s.tree(dirOf("", s.fileOf("keep", "x"), dirOf("d", s.fileOf("in", "x"))))
	base := t.TempDir()
	target, canary := filepath.Join(base, "t"), filepath.Join(base, "canary")
	must(os.MkdirAll(filepath.Join(target, "v/d/extra/deep/er"), 0o755))
	must(os.MkdirAll(filepath.Join(target, "v/spared"), 0o755))
	must(os.MkdirAll(filepath.Join(target, "v/nested/w"), 0o755))
	must(os.Mkdir(canary, 0o755))
	for _, f := range []string{"t/outside", "t/v/x", "t/v/d/extra/deep/y", "t/v/spared/z", "t/v/nested/w/old", "t/v/nested/gone", "canary/c"} {
		touch(filepath.Join(base, f), f, someTime)
	}
	must(os.Symlink(canary, filepath.Join(target, "v/link")))
	must(os.Symlink(canary, filepath.Join(target, "v/d/extra/link")))
	volumes := append(volumeOf(root, "v"), Volume{Volume: &snapshot.Volume{Name: "w", Root: s.tree(dirOf("", s.fileOf("new", "x")))}, Dir: "v/nested/w"})
	slices.Reverse(volumes)
	o := Options{Source: s, Target: target, Delete: true, DryRun: true,
		Select: func(_, path string, n *snapshot.Node) bool { return !strings.HasPrefix(path, "spared") }}
	var mu sync.Mutex
	var deleted []string
	o.Observe = func(e Event) {
		if e.Verb == Deleted {
			mu.Lock()
			deleted = append(deleted, e.Path)
			mu.Unlock()
		}
	}
	before := describe(t, base)
	dry, err := Run(context.Background(), o, volumes)
	if err != nil {
		t.Fatal(err)
	}
	equalTrees(t, before, describe(t, base))
	slices.Sort(deleted)
	if got := fmt.Sprint(deleted); got != "[d/extra d/extra/deep d/extra/deep/er d/extra/deep/y d/extra/link link old x]" {
		t.Errorf("dry run: %s", got)
	}
	o.DryRun = false
	rep, err := Run(context.Background(), o, volumes)
	if err != nil {
		t.Fatal(err)
	}
	noProblems(t, rep)
	if got := fmt.Sprint(list(base)); got != "[canary canary/c t t/outside t/v t/v/d t/v/d/in t/v/keep t/v/nested t/v/nested/gone t/v/nested/w t/v/nested/w/new t/v/spared t/v/spared/z]" {
		t.Errorf("left %s", got)
	}
	if dry.Entries != rep.Entries {
		t.Errorf("dry run said %v, then %v", dry.Entries, rep.Entries)
	}
}

// TestHome: the repository that is read from is neither removed nor written to,
// whatever lies around it and whatever the backup has in its place.
func TestHome(t *testing.T) {
	s := newStore()
	for _, tc := range []struct {
		what     string
		root     *snapshot.Node
		dir      string // of the volume
		problems uint64
	}{
		{what: "the backup knows nothing of it", root: s.tree(dirOf("", s.fileOf("keep", "x"))), dir: "v"},
		{what: "nor of what it lies in", root: s.tree(dirOf("", dirOf("d", s.fileOf("keep", "x")))), dir: "v"},
		{what: "an older one of itself", root: s.tree(dirOf("", dirOf("d", dirOf("repo", s.fileOf("config", "old"))))), dir: "v", problems: 1},
		{what: "a file", root: s.tree(dirOf("", dirOf("d", s.fileOf("repo", "x")))), dir: "v", problems: 1},
		{what: "a volume is restored there", root: s.tree(dirOf("", s.fileOf("keep", "x"))), dir: "v/d/repo", problems: 1},
	} {
		target := t.TempDir()
		repo, other := filepath.Join(target, "v/d/repo"), filepath.Join(target, "v/d/other")
		must(os.MkdirAll(filepath.Join(repo, "packs"), 0o755))
		must(os.MkdirAll(other, 0o755))
		touch(filepath.Join(repo, "config"), "config", someTime)
		before := describe(t, repo)
		name := filepath.Join(t.TempDir(), "name")
		must(os.Symlink(repo, name))
		for _, dry := range []bool{true, false} {
			rep, err := Run(context.Background(), Options{Source: s, Target: target, Repository: name, Overwrite: Always, Delete: true, DryRun: dry}, []Volume{{Volume: &snapshot.Volume{Name: "v", Root: tc.root}, Dir: tc.dir}})
			if err != nil {
				t.Fatal(err)
			}
			if rep.ProblemCount != tc.problems && !dry {
				t.Errorf("%s: %d problems, want %d: %v", tc.what, rep.ProblemCount, tc.problems, rep.Problems)
			}
			equalTrees(t, before, describe(t, repo))
		}
		if _, err := os.Stat(other); tc.dir == "v" && err == nil {
			t.Errorf("%s: what lies beside it is left", tc.what)
		}
		if _, err := Run(context.Background(), Options{Source: s, Target: repo, Repository: name, Delete: true}, volumeOf(tc.root, ".")); !errors.Is(err, errHome) {
			t.Errorf("restore to the repository itself: %v", err)
		}
		equalTrees(t, before, describe(t, repo))
	}
}

// TestDryRun into nothing makes nothing.
func TestDryRun(t *testing.T) {
	s := newStore()
	root := s.tree(dirOf("", s.fileOf("f", noise(1000, 1)), dirOf("d", linkTo("l", "x"))))
	target := filepath.Join(t.TempDir(), "a/b")
	rep := restoreTo(t, s, root, target, func(o *Options) { o.DryRun = true })
	noProblems(t, rep)
	if _, err := os.Lstat(filepath.Dir(target)); err == nil || rep.Entries[Created] != 4 || s.gets.Load() != 0 {
		t.Errorf("%v, %v, %d fetched", err, rep.Entries, s.gets.Load())
	}
}

// TestSelect: selected entries and their parents, with the parents' metadata.
func TestSelect(t *testing.T) {
	s := newStore()
	h := func(name string) ent {
		return s.fileOf(name, noise(400, 1)).with(func(n *snapshot.Node) { n.Inode, n.Links = 7, 3 })
	}
	mode := func(n *snapshot.Node) { n.Mode = 0o1750 }
	root := s.tree(dirOf("", dirOf("a", dirOf("b", s.fileOf("want", "x"), s.fileOf("not", "y")).with(mode), h("h1")), dirOf("c", h("h2"), linkTo("l", "h")), h("h3")))
	for name, c := range map[string]struct {
		chosen func(path string) bool
		want   string
	}{
		"one file":       {func(p string) bool { return p == "a/b/want" }, "[v v/a v/a/b v/a/b/want]"},
		"second link":    {func(p string) bool { return strings.HasPrefix(p, "c/h") || p == "h3" }, "[v v/c v/c/h2 v/h3]"},
		"a symlink":      {func(p string) bool { return p == "c/l" }, "[v v/c v/c/l]"},
		"only directory": {func(p string) bool { return p == "a/b" }, "[v v/a v/a/b]"},
		"nothing":        {func(p string) bool { return false }, "[v]"},
	} {
		target := t.TempDir()
		rep := restoreTo(t, s, root, target, func(o *Options) {
			o.Select = func(v, path string, n *snapshot.Node) bool { return v == "v" && c.chosen(path) }
		})
		noProblems(t, rep)
		if got := fmt.Sprint(list(target)); got != c.want {
			t.Errorf("%s: %s, want %s", name, got, c.want)
		}
		if st, err := os.Stat(filepath.Join(target, "v/a/b")); err == nil && (st.Mode() != os.ModeDir|os.ModeSticky|0o750 || st.ModTime() != someTime.Std().Local()) {
			t.Errorf("%s: parent has %v %v", name, st.Mode(), st.ModTime())
		}
		if strings.Contains(c.want, "h2") {
			a, b := must1(os.Stat(filepath.Join(target, "v/c/h2"))), must1(os.Stat(filepath.Join(target, "v/h3")))
			if read(filepath.Join(target, "v/c/h2")) != noise(400, 1) || !os.SameFile(a, b) {
				t.Error("links are not one file")
			}
		}
	}
	// What Descend refuses is not read.
	rep := restoreTo(t, s, root, t.TempDir(), func(o *Options) {
		o.Select = func(_, path string, _ *snapshot.Node) bool { return strings.Contains(path, "/") }
		o.Descend = func(_, path string, _ *snapshot.Node) bool { return path == "c" }
	})
	if rep.Files != 1 || rep.Directories != 2 {
		t.Errorf("descend: %+v", rep)
	}
}

// TestLinks: links to files that exist already, changed files, planted sources.
func TestLinks(t *testing.T) {
	s := newStore()
	h := func(name, content string, links uint64) ent {
		return s.fileOf(name, content).with(func(n *snapshot.Node) { n.Inode, n.Links = 7, links })
	}
	body := noise(500, 1)
	root := s.tree(dirOf("", h("a", body, 3), dirOf("d", h("b", body, 3)), h("z", body, 3)))
	same := func(target string, names ...string) {
		t.Helper()
		first := must1(os.Stat(filepath.Join(target, "v", names[0])))
		for _, n := range names {
			if st := must1(os.Stat(filepath.Join(target, "v", n))); !os.SameFile(first, st) || read(filepath.Join(target, "v", n)) != body {
				t.Errorf("%s is not a link", n)
			}
		}
	}
	target := t.TempDir()
	rep := restoreTo(t, s, root, target)
	noProblems(t, rep)
	same(target, "a", "d/b", "z")
	if rep.HardLinks != 2 || rep.Files != 1 {
		t.Errorf("%+v", rep)
	}
	full := describe(t, filepath.Join(target, "v"))
	for _, missing := range []string{"a", "d/b", "z"} {
		must(os.Remove(filepath.Join(target, "v", missing)))
		noProblems(t, restoreTo(t, s, root, target))
		same(target, "a", "d/b", "z")
		equalTrees(t, full, describe(t, filepath.Join(target, "v")))
	}
	// A name that is a file of its own, though with the right content.
	must(os.Remove(filepath.Join(target, "v/z")))
	touch(filepath.Join(target, "v/z"), body, someTime)
	noProblems(t, restoreTo(t, s, root, target))
	same(target, "a", "d/b", "z")
	// A name that leads to another file with the same size and time: its inode
	// is no source of links.
	canary := filepath.Join(t.TempDir(), "canary")
	touch(canary, strings.ToUpper(body), someTime)
	must(os.Remove(filepath.Join(target, "v/a")))
	must(os.Link(canary, filepath.Join(target, "v/a")))
	before := describe(t, canary)
	restoreTo(t, s, root, target, func(o *Options) { o.Verify = true })
	same(target, "a", "d/b", "z")
	after := describe(t, canary)
	if strings.Replace(before["."], ` links 2 as "."`, "", 1) != after["."] {
		t.Errorf("canary: %v, was %v", after, before)
	}

	// Names of one inode whose content differs are files of their own.
	target = t.TempDir()
	noProblems(t, restoreTo(t, s, s.tree(dirOf("", h("a", body, 2), h("b", "other", 2))), target))
	if read(filepath.Join(target, "v/a")) != body || read(filepath.Join(target, "v/b")) != "other" {
		t.Error("contents mixed up")
	}
	// The first one lost: the second is written.
	target = t.TempDir()
	n := 0
	s.onGet = func(crypto.ID) error {
		if n++; n == 1 {
			return errLost
		}
		return nil
	}
	if rep := restoreTo(t, s, root, target, func(o *Options) { o.Workers = 1 }); rep.ProblemCount != 1 {
		t.Errorf("%v", rep.Problems)
	}
	s.onGet = nil
}

// TestManySymlinks: more than may wait are made all the same.
func TestManySymlinks(t *testing.T) {
	s := newStore()
	var kids []ent
	for i := range 2000 {
		kids = append(kids, linkTo(fmt.Sprintf("l%04d", i), "t"))
	}
	target := t.TempDir()
	r := newRun(context.Background(), Options{Source: s, Target: target, Workers: 2})
	r.deferred.Store(maxDeferred - 100_000)
	if err := r.all(volumeOf(s.tree(dirOf("", kids...)), "v")); err != nil {
		t.Fatal(err)
	}
	noProblems(t, r.report())
	if got := r.report().Symlinks; got != 2000 || len(list(target)) != 2001 || r.deferred.Load() != maxDeferred-100_000 {
		t.Errorf("%d symlinks, %d waiting", got, r.deferred.Load())
	}
}

// TestSingleFiles: volumes that are files, and several volumes.
func TestSingleFiles(t *testing.T) {
	s := newStore()
	target := t.TempDir()
	vol := func(name, dir string, e ent) Volume {
		return Volume{Volume: &snapshot.Volume{Name: name, Root: s.tree(e)}, Dir: dir}
	}
	rep, err := Run(context.Background(), Options{Source: s, Target: target}, []Volume{
		vol("dump", "db.sql", s.fileOf("", noise(largeFile+1, 1))), vol("deep", "a/b/file", s.fileOf("", "x")),
		vol("/usr/share", "usr/share/", dirOf("", s.fileOf("f", "y"))),
		{Volume: &snapshot.Volume{Name: "lost", State: snapshot.Failed}, Dir: "lost"},
	})
	if err != nil || rep.ProblemCount != 1 || rep.Problems[0].Volume != "lost" {
		t.Errorf("%v, %v", err, rep.Problems)
	}
	if got := fmt.Sprint(list(target)); got != "[a a/b a/b/file db.sql usr usr/share usr/share/f]" {
		t.Errorf("%s", got)
	}
	if read(filepath.Join(target, "db.sql")) != noise(largeFile+1, 1) {
		t.Error("wrong content")
	}
	noProblems(t, must1(Run(context.Background(), Options{Source: s, Target: target}, volumeOf(s.tree(dirOf("", s.fileOf("top", "t"))), "."))))
	if read(filepath.Join(target, "top")) != "t" {
		t.Error("volume in the target itself")
	}
	if _, err := Run(context.Background(), Options{Source: s, Target: target}, []Volume{vol("a", "x", dirOf("")), vol("b", "./x/", dirOf(""))}); err == nil {
		t.Error("two volumes in one place")
	}
}

// TestInheritedACL: default ACLs of the target do not get into what is restored.
func TestInheritedACL(t *testing.T) {
	s := newStore()
	root := s.tree(dirOf("", s.fileOf("f", "x"), dirOf("d", s.fileOf("g", "y"))))
	clean := t.TempDir()
	noProblems(t, restoreTo(t, s, root, clean))
	target := t.TempDir()
	if err := unix.Lsetxattr(target, aclDefault, acl(7, 7, 5, 7), 0); err != nil {
		t.Skip(err)
	}
	noProblems(t, restoreTo(t, s, root, target))
	equalTrees(t, describe(t, clean), describe(t, target), ".")
	must(os.RemoveAll(filepath.Join(target, "v")))
	must(os.Mkdir(filepath.Join(target, "v"), 0o755)) // inherits
	noProblems(t, restoreTo(t, s, root, target))
	equalTrees(t, describe(t, clean), describe(t, target), ".")
}

func TestACLGroup(t *testing.T) {
	for _, c := range []struct {
		acl  []byte
		want uint32
	}{{acl(6, 6, 0, 6), 0}, {acl(6, 6, 5, 7), 5}, {nil, 0}, {[]byte{2, 0, 0, 0, 4, 0, 7}, 0}, {[]byte{2, 0, 0, 0, 4, 0, 0xff, 0xff, 0, 0, 0, 0}, 7}} {
		if got := groupRights(c.acl); got != c.want {
			t.Errorf("%x: %o, want %o", c.acl, got, c.want)
		}
	}
}
