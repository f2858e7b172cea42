package fidelity

import (
	"os"
	"path/filepath"
	"testing"
)

// TestCopied: what is restored from a copy in another repository is what is
// restored from the first, and what was there.
func TestCopied(t *testing.T) {
	t.Parallel()
	p := mounted(t, "ext4")
	src := p.mkdir(t, "src")
	left, err := Build(src, Options{Seed: 5})
	must(t, err)
	t.Logf("ext4 cannot hold %v", Names(left))
	list := filepath.Join(p.dir, "list")
	must(t, os.WriteFile(list, []byte(filepath.Join(src, "sparse")+"\n"+filepath.Join(src, "links")+"\n"), 0o600))
	want := scan(t, src)
	from, to := newRepository(t, nil), newRepository(t, nil)
	from.vault(t, 0, "backup", "-q", "tree="+src, "--command", "out=seq 100000", "--group", "all")
	from.vault(t, 0, "backup", "-q", "--files-from", list, "--group", "list")
	for range 2 { // the second finds nothing to do
		to.vault(t, 0, "copy", "-q", "--from-repo", filepath.Join(from.dir, "repo"), "--from-password-command", "echo correct horse")
	}
	for name, r := range map[string]repository{"first": from, "copy": to} {
		sum := r.vault(t, 0, "restore", "latest", "--group", "all", "--volume", "tree="+name, "--target", p.dir, "--json").summary(t)
		if sum.Notices > 0 || sum.Errors > 0 {
			t.Errorf("%s: %d notices, %d errors", name, sum.Notices, sum.Errors)
		}
		same(t, want, scan(t, filepath.Join(p.dir, name)))
		r.vault(t, 0, "restore", "latest", "--group", "list", "--target", filepath.Join(p.dir, name+"-list"))
		r.vault(t, 0, "check", "--read-data")
	}
	same(t, scan(t, filepath.Join(p.dir, "first-list")), scan(t, filepath.Join(p.dir, "copy-list")))
	rsync(t, src, filepath.Join(p.dir, "copy"))
}
