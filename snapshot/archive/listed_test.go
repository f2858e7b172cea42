package archive

import (
	"math/rand/v2"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"vault/internal/match"
	"vault/snapshot"
)

// fromList archives listed paths, given below dir, and returns what is stored of
// dir, without dir itself.
func fromList(t *testing.T, dir string, x *Excludes, names ...string) (string, Report) {
	t.Helper()
	m := newMemory()
	var paths []string
	for _, n := range names {
		paths = append(paths, filepath.Join(dir, n))
	}
	r := archive(t, options(t, m), Volume{Name: "/", Source: List{Paths: paths}, Excludes: x})
	checkEncodes(t, r.Volumes)
	if r.Volumes[0].Root == nil {
		return "", r
	}
	nodes := tree(t, m, r.Volumes[0].Root)
	for p := path.Dir(dir); p != "/"; p = path.Dir(p) {
		if n := nodes[p[1:]]; n == nil || n.Type != snapshot.Directory || n.Mode == 0 {
			t.Errorf("on the way, %s is %v", p, n)
		}
	}
	var got []string
	for p := range nodes {
		if in, ok := strings.CutPrefix("/"+p, dir+"/"); ok {
			got = append(got, in)
		} else if p != "." && !strings.HasPrefix(dir+"/", "/"+p+"/") {
			t.Errorf("%q is stored", p)
		}
	}
	slices.Sort(got)
	return strings.Join(got, " "), r
}

func TestList(t *testing.T) {
	dir := plant(t, map[string]string{"a/b/c": "1", "a/b/d": "2", "a/b.x": "3", "a/e": "4", "a/sub/f/g": "5", "top": "6",
		"odd/new\nline": "7", "odd/ sp ace ": "8", "odd/bad\xff": "9", "odd/*": "10", "odd/[x]": "11", "odd/x": "12"})
	if err := os.Symlink("a/b", filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("gone", filepath.Join(dir, "dangling")); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		list     []string
		x        *Excludes
		want     string
		state    snapshot.State
		problems uint64
		notices  int
	}{
		"one file":            {list: []string{"a/b/c"}, want: "a a/b a/b/c", state: snapshot.Complete},
		"a directory whole":   {list: []string{"a/sub"}, want: "a a/sub a/sub/f a/sub/f/g", state: snapshot.Complete},
		"both":                {list: []string{"a/sub/f/g", "a/sub", "a/sub", "a/b/d"}, want: "a a/b a/b/d a/sub a/sub/f a/sub/f/g", state: snapshot.Complete},
		"prefix of a name":    {list: []string{"a/b.x", "a/b/d"}, want: "a a/b a/b.x a/b/d", state: snapshot.Complete},
		"odd names":           {list: []string{"odd/new\nline", "odd/ sp ace ", "odd/bad\xff", "odd/*", "odd/[x]"}, want: "odd odd/ sp ace  odd/* odd/[x] odd/bad\xff odd/new\nline", state: snapshot.Complete},
		"not clean":           {list: []string{"a//b/../b/./c/"}, want: "a a/b a/b/c", state: snapshot.Complete},
		"link itself":         {list: []string{"link"}, want: "link", state: snapshot.Complete},
		"dangling link":       {list: []string{"dangling"}, want: "dangling", state: snapshot.Complete},
		"through a link":      {list: []string{"link/c"}, want: "link link/c", state: snapshot.Complete},
		"link and through it": {list: []string{"link", "link/c"}, want: "link", state: snapshot.Partial, problems: 1},
		"missing":             {list: []string{"a/e", "a/gone", "gone/too/x", "gone/too/y"}, want: "a a/e", state: snapshot.Partial, problems: 2},
		"all missing":         {list: []string{"a/gone", "gone"}, state: snapshot.Failed, problems: 2},
		"below a file":        {list: []string{"a/e/f", "top"}, want: "a top", state: snapshot.Partial, problems: 1},
		"below a listed file": {list: []string{"a/e/f", "a/e"}, want: "a a/e", state: snapshot.Partial, problems: 1},
		"through a dangling":  {list: []string{"dangling/x", "top"}, want: "top", state: snapshot.Partial, problems: 1},
		"none":                {state: snapshot.Failed, problems: 1},
		"excluded below": {list: []string{"a"}, x: &Excludes{Command: patterns(t, match.Gitignore, "b*", "/g")},
			want: "a a/e a/sub a/sub/f a/sub/f/g", state: snapshot.Complete},
		"excluded itself": {list: []string{"a/e", "top"}, x: &Excludes{Command: patterns(t, match.Gitignore, "e")},
			want: "a top", state: snapshot.Complete, notices: 1},
		"excluded on the way": {list: []string{"a/e", "top"}, x: &Excludes{Command: patterns(t, match.Gitignore, "a")},
			want: "top", state: snapshot.Complete, notices: 1},
		"all excluded": {list: []string{"top"}, x: &Excludes{Command: patterns(t, match.Gitignore, "top")},
			want: "", state: snapshot.Complete, notices: 1},
		"patterns begin at the root": {list: []string{"a/e", "top"}, x: &Excludes{Command: patterns(t, match.Gitignore, dir+"/a/e")},
			want: "a top", state: snapshot.Complete, notices: 1},
	} {
		t.Run(name, func(t *testing.T) {
			got, r := fromList(t, dir, c.x, c.list...)
			v := r.Volumes[0]
			if got != c.want || v.State != c.state || v.ProblemCount != c.problems || len(r.Notices) != c.notices {
				t.Errorf("stored %q, want %q; %v, want %v; problems %v; notices %v", got, c.want, v.State, c.state, v.Problems, r.Notices)
			}
		})
	}
	if got, _ := fromList(t, dir, nil, "link/c"); got == "link link/c" {
		m := newMemory()
		r := archive(t, options(t, m), Volume{Source: List{Paths: []string{dir + "/link/c"}}})
		if n := tree(t, m, r.Volumes[0].Root)[dir[1:]+"/link"]; n.Type != snapshot.Directory {
			t.Errorf("a link on the way is stored as %v", n.Type)
		}
	}
}

// TestListOwnFiles: markers and ignore files on the way do not count, those of what
// is listed do.
func TestListOwnFiles(t *testing.T) {
	dir := plant(t, map[string]string{"a/.no": "*", "a/mark": "", "a/b/x": "", "a/b/c/mark": "", "a/b/c/x": "", "a/b/d/.no": "x", "a/b/d/x": ""})
	x := &Excludes{IgnoreFiles: []string{".no"}, Markers: []match.Marker{{Name: "mark"}}}
	if got, _ := fromList(t, dir, x, "a/b"); got != "a a/b a/b/c a/b/c/mark a/b/d a/b/d/.no a/b/x" {
		t.Errorf("stored %q", got)
	}
	if got, _ := fromList(t, dir, x, "a/b/x", "a/mark", "a/.no"); got != "a a/.no a/b a/b/x a/mark" {
		t.Errorf("with files that are listed themselves, stored %q", got)
	}
}

// TestListParent: lists that change, with trusted parents.
func TestListParent(t *testing.T) {
	dir := plant(t, map[string]string{"a/b": "1", "a/c": "2", "d/e/f": "3", "d/g": "4"})
	m := newMemory()
	o := options(t, m)
	lists := [][]string{{"a/b"}, {"a"}, {"a/b", "d/e/f"}, {"d"}, {"d/g", "a/c"}}
	volume := func(list []string, p *Parent) snapshot.Volume {
		var paths []string
		for _, l := range list {
			paths = append(paths, filepath.Join(dir, l))
		}
		v := archive(t, o, Volume{Source: List{Paths: paths}, Parent: p}).Volumes[0]
		mustComplete(t, v)
		return v
	}
	for i, before := range lists {
		for j, now := range lists {
			alone := volume(now, nil)
			after := volume(now, trusted(volume(before, nil)))
			if listed(t, m, alone.Root) != listed(t, m, after.Root) {
				t.Errorf("list %d after %d: %q, alone %q", j, i, listed(t, m, after.Root), listed(t, m, alone.Root))
			}
			if i == j && after.Files.New+after.Files.Changed > 0 {
				t.Errorf("list %d again: %+v", j, after.Files)
			}
		}
	}
}

// TestListOneFileSystem: the file system that is not left is that of what is listed.
func TestListOneFileSystem(t *testing.T) {
	dir, err := os.MkdirTemp("/dev/shm", "archive-")
	if err != nil {
		t.Skip("no /dev/shm")
	}
	defer os.RemoveAll(dir)
	var root, shm unix.Stat_t
	if unix.Stat("/dev", &root) != nil || unix.Stat("/dev/shm", &shm) != nil || root.Dev == shm.Dev {
		t.Skip("/dev/shm is no file system of its own")
	}
	write(t, filepath.Join(dir, "file"), []byte("x"))
	m := newMemory()
	o := options(t, m)
	o.OneFileSystem = true
	v := archive(t, o, Volume{Source: List{Paths: []string{dir}}}).Volumes[0]
	if tree(t, m, v.Root)[dir[1:]+"/file"] == nil {
		t.Error("a listed directory on another file system is empty")
	}
	o.Select = func(path string, n *snapshot.Node) bool { return path == "dev" || strings.HasPrefix(path, "dev/shm") }
	v = archive(t, o, Volume{Source: List{Paths: []string{"/dev"}}}).Volumes[0]
	if got := listed(t, m, v.Root); got != "dev dev/shm" {
		t.Errorf("below a listed directory another file system was entered, or not stored: %q", got)
	}
}

func TestListNotAbsolute(t *testing.T) {
	for _, p := range []string{"a", "", "./a", "/a\x00b"} {
		if _, err := Run(t.Context(), options(t, newMemory()), []Volume{{Source: List{Paths: []string{"/", p}}}}); err == nil {
			t.Errorf("%q is accepted", p)
		}
	}
}

// TestBranch compares the branches of random lists with a plain way to find them.
func TestBranch(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	parts := []string{"a", "b", "a.b", "a-", "ab", "\xff", "~", "A", "a b", "a\x01"}
	for range 300 {
		var paths []string
		for range 1 + rng.IntN(12) {
			p := ""
			for range 1 + rng.IntN(4) {
				p += "/" + parts[rng.IntN(len(parts))]
			}
			paths = append(paths, p)
		}
		b, err := newBranch("/", paths)
		if err != nil {
			t.Fatal(err)
		}
		checkBranch(t, b, paths, "")
	}
}

func checkBranch(t *testing.T, b *branch, paths []string, dir string) {
	t.Helper()
	var want []string
	for _, p := range paths {
		if rest, ok := strings.CutPrefix(p, dir+"/"); ok {
			name, _, _ := strings.Cut(rest, "/")
			want = append(want, name)
		}
	}
	slices.Sort(want)
	want = slices.Compact(want)
	var got []string
	for name := range b.names {
		if name != "" {
			got = append(got, name)
		}
	}
	if !slices.Equal(got, want) || b.whole() != slices.Contains(paths, dir) || b.below() != (len(want) > 0) {
		t.Fatalf("of %q in %q: names %q, want %q; whole %v, below %v", paths, dir, got, want, b.whole(), b.below())
	}
	for _, name := range want {
		checkBranch(t, b.child(name), paths, dir+"/"+name)
	}
}
