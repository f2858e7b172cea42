package fidelity

import (
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// leftOut is what each file system is known not to hold, as patterns of
// features. A test that leaves out anything else, or holds all of one pattern,
// fails.
var leftOut = map[string][]string{
	"ext4": {"xattr/60000-*", "time/1700-*", "time/3000-*", "flag/nocompress-*", "flag/nocow-*",
		"flag/dirsync-file", "flag/topdir-file", "flag/project-file"},
	"xfs": {"symlink/long-4095", "special/high", "time/1700-*", "time/3000-*", "flag/compress-*", "flag/nocompress-*",
		"flag/dirsync-*", "flag/topdir-*", "flag/nocow-*", "flag/project-file", "flag/journal-*"},
	"btrfs": {"xattr/60000-*", "flag/journal-*", "flag/dirsync-file", "flag/topdir-*", "flag/dax-*", "flag/project-*"},
	"tmpfs": {"flag/compress-*", "flag/sync-*", "flag/nocompress-*", "flag/journal-*", "flag/dirsync-*", "flag/topdir-*", "flag/nocow-*",
		"flag/dax-*", "flag/project-*"},
}

// perhaps needs privileges that root in a container may lack: the journal flag
// takes CAP_SYS_RESOURCE.
var perhaps = []string{"flag/journal-*"}

// TestFileSystems: on every file system, a tree with everything that it can hold
// comes back as it was.
func TestFileSystems(t *testing.T) {
	for _, kind := range []string{"ext4", "xfs", "btrfs", "tmpfs"} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			p := mounted(t, kind)
			src := p.mkdir(t, "src")
			left, err := Build(src, Options{Seed: 1})
			must(t, err)
			for _, o := range left {
				t.Logf("%s cannot hold %v", kind, o)
			}
			expectLeft(t, kind, left)
			want := scan(t, src)
			r := newRepository(t, nil)
			backup := r.vault(t, 0, "backup", "tree="+src)
			if !strings.Contains(backup.stderr, "socket") {
				t.Errorf("the socket is not mentioned: %s", backup.stderr)
			}
			same(t, want, scan(t, src)) // a backup changes nothing
			sum := r.vault(t, 0, "restore", "latest", "--target", filepath.Join(p.dir, "out"), "--verify", "--json").summary(t)
			if sum.Notices > 0 || sum.Errors > 0 {
				t.Errorf("%d notices, %d errors", sum.Notices, sum.Errors)
			}
			out := filepath.Join(p.dir, "out", "tree")
			same(t, want, scan(t, out))
			rsync(t, src, out)

			// Once more over it: nothing to do.
			sum = r.vault(t, 0, "restore", "latest", "--target", filepath.Join(p.dir, "out"), "--json").summary(t)
			if sum.Written > 0 || int(sum.Unchanged) != len(want) {
				t.Errorf("again: %d bytes written, %d of %d entries unchanged", sum.Written, sum.Unchanged, len(want))
			}
			same(t, want, scan(t, out))

			// And over it, whatever is there: also what is immutable.
			sum = r.vault(t, 0, "restore", "latest", "--target", filepath.Join(p.dir, "out"), "--overwrite", "always", "--json").summary(t)
			if sum.Notices > 0 || sum.Errors > 0 || sum.Unchanged == sum.FilesRestored {
				t.Errorf("over it: %+v", sum)
			}
			same(t, want, scan(t, out))
		})
	}
}

func expectLeft(t *testing.T, kind string, left []Omission) {
	t.Helper()
	patterns := slices.Concat(leftOut[kind], perhaps)
	used := map[string]bool{}
	for _, o := range left {
		i := slices.IndexFunc(patterns, func(p string) bool { ok, _ := path.Match(p, o.Feature); return ok })
		if i < 0 {
			t.Errorf("%s should hold %v", kind, o)
			continue
		}
		used[patterns[i]] = true
	}
	for _, p := range leftOut[kind] {
		if !used[p] {
			t.Errorf("%s should not hold %s", kind, p)
		}
	}
}
