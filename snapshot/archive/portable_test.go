package archive

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"vault/internal/match"
	"vault/snapshot"
)

// contentsOf returns the files of a saved tree by path, and the others with their
// type or target.
func contentsOf(t *testing.T, m *memory, root *snapshot.Node) map[string]string {
	t.Helper()
	got := map[string]string{}
	var walk func(dir string, n *snapshot.Node)
	walk = func(dir string, n *snapshot.Node) {
		r := snapshot.NewDirReader(t.Context(), m, n.Tree)
		for {
			n, err := r.Next()
			if errors.Is(err, io.EOF) {
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			n = n.Clone()
			p := dir + n.Name
			switch n.Type {
			case snapshot.Directory:
				got[p] = "directory"
				walk(p+"/", n)
			case snapshot.Symlink:
				got[p] = "-> " + n.Target
			case snapshot.File:
				var b bytes.Buffer
				b.Write(n.Content.Inline)
				for item, err := range snapshot.Items(t.Context(), m, n.Content, n.Size) {
					if err != nil {
						t.Fatal(err)
					}
					if item.Kind == snapshot.ItemData {
						b.Write(m.blobs[item.ID])
					} else {
						b.Write(make([]byte, item.Length))
					}
				}
				got[p] = b.String()
			default:
				got[p] = n.Type.String()
			}
		}
	}
	walk("", root)
	return got
}

// TestPortable: the way in which other systems than Linux are read stores files,
// directories and links, says what it leaves out, and reads nothing twice.
func TestPortable(t *testing.T) {
	scans = false
	defer func() { scans = true }()
	dir := t.TempDir()
	want := map[string]string{"a": "small", "a-b": strings.Repeat("large ", 50_000), "d": "directory", "d/e": "directory", "d/e/f": "deep",
		"d/empty": "", "d-": "directory", "link": "-> nowhere"}
	for p, text := range want {
		p = filepath.Join(dir, p)
		var err error
		switch {
		case text == "directory":
			err = os.MkdirAll(p, 0o755)
		case strings.HasPrefix(text, "-> "):
			err = os.Symlink(text[3:], p)
		default:
			if err = os.MkdirAll(filepath.Dir(p), 0o755); err == nil {
				err = os.WriteFile(p, []byte(text), 0o640)
			}
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	m := newMemory()
	o := options(t, m)
	v, notices := archiveDir(t, o, dir, nil)
	if len(notices) != 1 || notices[0].Message != noticePortable {
		t.Errorf("notices %v", notices)
	}
	got := contentsOf(t, m, v.Root)
	for p, text := range want {
		if got[p] != text {
			t.Errorf("%s: %d bytes %.20q, want %d %.20q", p, len(got[p]), got[p], len(text), text)
		}
	}
	if len(got) != len(want) || v.State != snapshot.Complete || v.Root.Mode != 0o755 {
		t.Errorf("%d entries, want %d; %v, mode %o", len(got), len(want), v.State, v.Root.Mode)
	}
	before := m.n
	again, _ := archiveDir(t, o, dir, trusted(v))
	if again.Files.Unmodified != 4 || again.Root.Tree != v.Root.Tree {
		t.Errorf("unchanged: %+v", again.Files)
	}
	if m.n-before > 10 { // pages, no content
		t.Errorf("%d blobs were put for an unchanged tree", m.n-before)
	}
	if err := os.WriteFile(filepath.Join(dir, "a"), []byte("changed"), 0o600); err != nil {
		t.Fatal(err)
	}
	x := &Excludes{Command: patterns(t, match.Gitignore, "d/e/")}
	r := archive(t, o, Volume{Name: "v", Source: Path{dir}, Parent: trusted(v), Excludes: x})
	got = contentsOf(t, m, r.Volumes[0].Root)
	if got["a"] != "changed" || got["d/e/f"] != "" || got["d/empty"] != "" || r.Volumes[0].Files.Changed != 1 {
		t.Errorf("after a change: %v", r.Volumes[0].Files)
	}
	if _, ok := got["d/e"]; ok {
		t.Error("an excluded directory is there")
	}
	r = archive(t, o, Volume{Name: "one", Source: Path{filepath.Join(dir, "a-b")}})
	if n := r.Volumes[0].Root; n == nil || n.Type != snapshot.File || n.Size != 300_000 {
		t.Errorf("a single file: %+v", n)
	}
}

// TestPortableRefuses: what is asked for and cannot be done is an error, not left
// out in silence.
func TestPortableRefuses(t *testing.T) {
	scans = false
	defer func() { scans = true }()
	dir := t.TempDir()
	o := options(t, newMemory())
	one := o
	one.OneFileSystem = true
	for _, c := range []struct {
		name string
		o    Options
		v    Volume
	}{
		{"one file system", one, Volume{Source: Path{dir}}},
		{"ignore files", o, Volume{Source: Path{dir}, Excludes: &Excludes{IgnoreFiles: []string{".gitignore"}}}},
		{"list", o, Volume{Source: List{Paths: []string{filepath.Join(dir, "x")}}}},
	} {
		c.v.Name = "v"
		if _, err := Run(t.Context(), c.o, []Volume{c.v}); !errors.Is(err, errors.ErrUnsupported) {
			t.Errorf("%s: %v", c.name, err)
		}
	}
	r := archive(t, o, Volume{Name: "v", Source: Path{filepath.Join(dir, "missing")}})
	if r.Volumes[0].State != snapshot.Failed || r.Volumes[0].ProblemCount != 1 {
		t.Errorf("missing: %+v", r.Volumes[0])
	}
}
