package archive

import (
	"os"
	"path/filepath"
	"slices"
	"testing"

	"vault/snapshot"
)

// TestHome leaves out the repository that a run is stored in, wherever it lies in
// a volume and whatever it is called.
func TestHome(t *testing.T) {
	defer func() { scans = true }()
	for _, portable := range []bool{false, true} {
		scans = !portable
		dir := t.TempDir()
		mkdir(t, filepath.Join(dir, "a/repo/packs"))
		mkdir(t, filepath.Join(dir, "a/other"))
		write(t, filepath.Join(dir, "a/repo/config"), noise(1, 1000))
		write(t, filepath.Join(dir, "a/other/file"), noise(2, 1000))
		name := filepath.Join(t.TempDir(), "name")
		if err := os.Symlink(filepath.Join(dir, "a/repo"), name); err != nil {
			t.Fatal(err)
		}
		m := newMemory()
		o := options(t, m)
		o.Repository = name
		var parent *Parent
		for range 2 { // without a parent, and with one
			v, notices := archiveDir(t, o, dir, parent)
			mustComplete(t, v)
			var got []string
			for path := range contentsOf(t, m, v.Root) {
				got = append(got, path)
			}
			slices.Sort(got)
			if want := []string{"a", "a/other", "a/other/file"}; !slices.Equal(got, want) {
				t.Errorf("portable %t: stored %q, want %q", portable, got, want)
			}
			if !slices.Contains(notices, Notice{Volume: "v", Path: "a/repo", Message: noticeHome}) {
				t.Errorf("portable %t: nothing is said of it: %v", portable, notices)
			}
			parent = &Parent{Root: v.Root, ScanStarted: v.ScanStarted, Trusted: true}
		}
		for _, root := range []string{filepath.Join(dir, "a/repo"), name + "/"} {
			r := archive(t, o, Volume{Name: "v", Source: Path{root}})
			if v := r.Volumes[0]; v.State != snapshot.Failed {
				t.Errorf("portable %t: a volume of the repository itself is %v", portable, v.State)
			}
		}
		// One that does not exist is nothing.
		o.Repository = filepath.Join(dir, "none")
		v, _ := archiveDir(t, o, dir, nil)
		if n := len(contentsOf(t, m, v.Root)); n != 6 {
			t.Errorf("portable %t: %d entries without a repository", portable, n)
		}
	}
}
