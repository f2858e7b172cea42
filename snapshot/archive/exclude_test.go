package archive

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"vault/internal/match"
	"vault/snapshot"
)

func patterns(t testing.TB, d match.Dialect, p ...string) []*match.List {
	t.Helper()
	l, err := match.ParseArgs(d, p, match.Options{Source: "test"})
	if err != nil {
		t.Fatal(err)
	}
	return []*match.List{l}
}

// plant makes files, by path, with their content; a path that ends in a slash is a
// directory.
func plant(t testing.TB, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, data := range files {
		path := filepath.Join(dir, name)
		if strings.HasSuffix(name, "/") {
			mkdir(t, path)
			continue
		}
		mkdir(t, filepath.Dir(path))
		write(t, path, []byte(data))
	}
	return dir
}

// without archives a directory with excludes, and returns the paths that are stored
// and the number of those left out.
func without(t testing.TB, dir string, x *Excludes) (paths string, left uint64, notices []Notice) {
	t.Helper()
	m := newMemory()
	r := archive(t, options(t, m), Volume{Name: "v", Source: Path{dir}, Excludes: x})
	mustComplete(t, r.Volumes[0])
	return listed(t, m, r.Volumes[0].Root), r.Excluded[0], r.Notices
}

func listed(t testing.TB, m *memory, root *snapshot.Node) string {
	t.Helper()
	nodes := tree(t, m, root)
	delete(nodes, ".")
	return strings.Join(slices.Sorted(maps.Keys(nodes)), " ")
}

func TestExcludes(t *testing.T) {
	const tag = "Signature: 8a477f597d28d172789f06886806bc55"
	for name, c := range map[string]struct {
		files   map[string]string
		x       Excludes
		want    string
		left    uint64
		notices int
	}{
		"nothing": {files: map[string]string{"a/b": "", "c": ""}, want: "a a/b c"},
		"patterns": {
			files: map[string]string{"a/x.o": "", "a/y": "", "o/x.o": "", "keep.o": "", "d/": "", "f/d": ""},
			x:     Excludes{Command: patterns(t, match.Gitignore, "*.o", "!/keep.o", "d/")},
			want:  "a a/y f f/d keep.o o", left: 3,
		},
		"a directory counts as one": {
			files: map[string]string{"a/b/c": "", "a/d": "", "e": ""},
			x:     Excludes{Command: patterns(t, match.Gitignore, "/a")},
			want:  "e", left: 1,
		},
		"command beats file": {
			files: map[string]string{"a": "", "b": ""},
			x:     Excludes{Files: patterns(t, match.Gitignore, "*"), Command: patterns(t, match.Gitignore, "!b")},
			want:  "b", left: 1,
		},
		"larger": {
			files: map[string]string{"small": "1234", "large": "12345", "dir/large": "123456", "none": ""},
			x:     Excludes{LargerThan: 4},
			want:  "dir none small", left: 2,
		},
		"ignore files in directories, with negation": {
			files: map[string]string{".no": "*.log\n/only-here\n", "a.log": "", "only-here": "", "sub/only-here": "",
				"sub/.no": "!b.log\n", "sub/a.log": "", "sub/b.log": "", "sub/deep/b.log": "", "other/b.log": ""},
			x:    Excludes{IgnoreFiles: []string{".no"}},
			want: ".no other sub sub/.no sub/b.log sub/deep sub/deep/b.log sub/only-here", left: 4,
		},
		"of two ignore files the later name is stronger": {
			files: map[string]string{".one": "*.log", ".two": "!*.log", "a.log": "", "d/.one": "*.log", "d/a.log": ""},
			x:     Excludes{IgnoreFiles: []string{".one", ".two"}},
			want:  ".one .two a.log d d/.one", left: 1,
		},
		"an ignore file of an excluded directory does not count": {
			files: map[string]string{"a/.no": "!x", "a/x": ""},
			x:     Excludes{IgnoreFiles: []string{".no"}, Command: patterns(t, match.Gitignore, "a")},
			want:  "", left: 1,
		},
		"ignore file too large": {
			files: map[string]string{".no": strings.Repeat("#", maxIgnoreFile-2) + "\nx", "x": ""},
			x:     Excludes{IgnoreFiles: []string{".no"}}, want: ".no", left: 1,
		},
		"ignore file just too large": {
			files: map[string]string{".no": strings.Repeat("#", maxIgnoreFile-1) + "\nx", "x": ""},
			x:     Excludes{IgnoreFiles: []string{".no"}}, want: ".no x", notices: 1,
		},
		"markers": {
			files: map[string]string{"cache/CACHEDIR.TAG": tag + "\nmore", "cache/x": "", "cache/y/z": "",
				"cut/CACHEDIR.TAG": tag[:20], "cut/x": "", "other/CACHEDIR.TAG": "no", "other/x": "",
				"dir/CACHEDIR.TAG/x": tag, "exact/CACHEDIR.TAG": tag, "exact/x": ""},
			x: Excludes{Markers: []match.Marker{match.CacheTag}},
			want: "cache cache/CACHEDIR.TAG cut cut/CACHEDIR.TAG cut/x dir dir/CACHEDIR.TAG dir/CACHEDIR.TAG/x " +
				"exact exact/CACHEDIR.TAG other other/CACHEDIR.TAG other/x", left: 3,
		},
		"marker without header": {
			files: map[string]string{"a/.nobackup": "", "a/x": "", "b/.nobackup/y": "", "b/x": "", "c/x": ""},
			x:     Excludes{Markers: []match.Marker{{Name: ".nobackup"}}},
			want:  "a a/.nobackup b b/.nobackup b/.nobackup/y c c/x", left: 2,
		},
		"marker in the root": {
			files: map[string]string{".nobackup": "", "x": "", "y/z": ""},
			x:     Excludes{Markers: []match.Marker{{Name: ".nobackup"}}},
			want:  ".nobackup", left: 2,
		},
		"two markers": {
			files: map[string]string{"m": "", "n": "yes", "o": "no", "x": ""},
			x:     Excludes{Markers: []match.Marker{{Name: "n", Header: "ye"}, {Name: "m"}, {Name: "o", Header: "ye"}}},
			want:  "m n", left: 2,
		},
	} {
		t.Run(name, func(t *testing.T) {
			got, left, notices := without(t, plant(t, c.files), &c.x)
			if got != c.want || left != c.left || len(notices) != c.notices {
				t.Errorf("stored %q, want %q; %d left out, want %d; notices %v", got, c.want, left, c.left, notices)
			}
		})
	}
}

// TestExcludeUnusual: what is not a regular file is neither an ignore file nor a
// marker with a header, and is not opened.
func TestExcludeUnusual(t *testing.T) {
	dir := plant(t, map[string]string{"a/x": "", "b/x": "", "c/x": "", "patterns": "x\n", "tag": "yes"})
	for link, target := range map[string]string{"a/.no": "../patterns", "b/tag": "../tag"} {
		if err := os.Symlink(target, filepath.Join(dir, link)); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"c/.no", "c/tag"} {
		if err := unix.Mkfifo(filepath.Join(dir, name), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	x := &Excludes{IgnoreFiles: []string{".no"}, Markers: []match.Marker{{Name: "tag", Header: "yes"}}}
	got, left, notices := without(t, filepath.Join(dir, "a"), x)
	if got != ".no x" || left != 0 || len(notices) != 1 {
		t.Errorf("link as ignore file: %q, %d left out, notices %v", got, left, notices)
	}
	got, left, _ = without(t, filepath.Join(dir, "b"), x)
	if got != "tag x" || left != 0 {
		t.Errorf("link as marker: %q, %d left out", got, left)
	}
	got, left, notices = without(t, filepath.Join(dir, "c"), x)
	if got != ".no tag x" || left != 0 || len(notices) != 1 {
		t.Errorf("pipes: %q, %d left out, notices %v", got, left, notices)
	}
	got, _, notices = without(t, filepath.Join(dir, "c"), &Excludes{Command: patterns(t, match.Gitignore, ".no")})
	if got != "tag x" || len(notices) != 0 {
		t.Errorf("pipe excluded: %q, notices %v", got, notices)
	}
}

// TestExcludeRestic: anchored patterns of the restic dialect begin at the root of
// the file system.
func TestExcludeRestic(t *testing.T) {
	dir := plant(t, map[string]string{"a/b": "", "b/a": "", "c": ""})
	got, _, _ := without(t, dir, &Excludes{Command: patterns(t, match.Restic, dir+"/a", "/c", "b/a")})
	if got != "b c" {
		t.Errorf("stored %q", got)
	}
}

// TestExcludesChange: whatever a trusted parent left out or had, the tree is that
// of a run without parent.
func TestExcludesChange(t *testing.T) {
	dir := plant(t, map[string]string{"a": "1", "b/a": "2", "b/c/a": "3", "b/c/d": "4", "z/CACHEDIR.TAG": match.CacheTag.Header, "z/x": "5", "only/a": "6"})
	choices := []*Excludes{
		nil,
		{Command: patterns(t, match.Gitignore, "a")},
		{Command: patterns(t, match.Gitignore, "c")},
		{Command: patterns(t, match.Gitignore, "*", "!*/")},
		{Markers: []match.Marker{match.CacheTag}},
		{IgnoreFiles: []string{"b"}, Command: patterns(t, match.Gitignore, "/b/c/d")},
		{Command: patterns(t, match.Gitignore, "nothing")},
	}
	m := newMemory()
	o := options(t, m)
	volume := func(x *Excludes, p *Parent) snapshot.Volume {
		v := archive(t, o, Volume{Name: "v", Source: Path{dir}, Excludes: x, Parent: p}).Volumes[0]
		mustComplete(t, v)
		return v
	}
	var alone []snapshot.Volume
	for _, x := range choices {
		alone = append(alone, volume(x, nil))
	}
	for i := range choices {
		for j, x := range choices {
			m.resetCounts()
			v := volume(x, trusted(alone[i]))
			if v.Root.Tree != alone[j].Root.Tree {
				t.Errorf("choice %d after %d: stored %q, alone %q", j, i, listed(t, m, v.Root), listed(t, m, alone[j].Root))
			}
			if i == j && len(m.puts) > 0 {
				t.Errorf("choice %d again: puts %v", j, m.puts)
			}
		}
	}
	if alone[0].Root.Tree == alone[1].Root.Tree || alone[0].Root.Tree != alone[6].Root.Tree {
		t.Error("the choices do not differ as they should")
	}
}

// TestExcludedItems: each entry left out is told, once, if items are.
func TestExcludedItems(t *testing.T) {
	dir := plant(t, map[string]string{"a/x": "", "a/y": "", "m/mark": "", "m/p": "", "m/q/r": ""})
	m := newMemory()
	o := options(t, m)
	o.Items = true
	var got []string
	o.Observe = func(e Event) {
		if e.Kind == EventExcluded {
			got = append(got, e.Path)
		}
	}
	r := archive(t, o, Volume{Source: Path{dir}, Excludes: &Excludes{
		Command: patterns(t, match.Gitignore, "x"), Markers: []match.Marker{{Name: "mark"}}}},
		Volume{Source: Path{dir}})
	if slices.Sort(got); strings.Join(got, " ") != "a/x m/p m/q" || !slices.Equal(r.Excluded, []uint64{3, 0}) {
		t.Errorf("told %q, counted %v", got, r.Excluded)
	}
}

func BenchmarkSmallFilesUnchangedExcludes(b *testing.B) {
	const files = 20_000
	dir := smallFiles(b, files)
	m := newMemory()
	o := options(b, m)
	first, _ := archiveDir(b, o, dir, nil)
	v := Volume{Name: "v", Source: Path{dir}, Parent: trusted(first), Excludes: &Excludes{
		Command: patterns(b, match.Gitignore, "*.o", "node_modules/", "/000/cache", "*~", "a/**/b", ".git", "core.*", "*.py[co]", "tmp*", "!tmpl"),
		Markers: []match.Marker{match.CacheTag}, IgnoreFiles: []string{".no"}, LargerThan: 1 << 30}}
	b.ReportAllocs()
	for b.Loop() {
		archive(b, o, v)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/files, "ns/file")
}
