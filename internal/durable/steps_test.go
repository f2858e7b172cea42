//go:build linux && !vault_portable

package durable

import (
	"errors"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// recorder is a hook that records the steps and refuses some.
type recorder struct {
	steps  []string
	refuse map[Step]error
}

func (r *recorder) hook(s Step, path string) error {
	if strings.Contains(path, TempPrefix) {
		path = "TEMP"
	}
	r.steps = append(r.steps, string(s)+" "+path)
	return r.refuse[s]
}

// The ways in which file systems differ, by what they refuse.
var (
	noTmpfile = map[Step]error{StepTemp: unix.EOPNOTSUPP}                         // NFS
	noRename  = map[Step]error{StepTemp: unix.EISDIR, StepRenameNew: unix.EINVAL} // old kernels
	noLink    = map[Step]error{StepTemp: unix.EINVAL, StepRenameNew: unix.EINVAL, StepLink: unix.EPERM}
)

// TestOrder states the order of durability for every way of writing.
func TestOrder(t *testing.T) {
	replace := func(d *Dir) error { return d.Replace("x", []byte("new"), 0o600) }
	create := func(d *Dir) error { return d.Create("x", []byte("new"), 0o600) }
	for _, c := range []struct {
		name   string
		refuse map[Step]error
		exists bool
		do     func(*Dir) error
		want   string
		err    error
	}{
		{"create", nil, false, create, "temp . | write x | fsync x | link x | fsyncdir .", nil},
		{"create existing", nil, true, create, "temp . | write x | fsync x | link x | fsyncdir .", fs.ErrExist},
		{"replace", nil, false, replace, "temp . | write x | fsync x | link x | fsyncdir .", nil},
		{"replace existing", nil, true, replace, "temp . | write x | fsync x | link x | link TEMP | rename x | fsyncdir .", nil},
		{"create, named", noTmpfile, false, create, "temp . | tempnamed . | write x | fsync x | renamenew x | fsyncdir .", nil},
		{"create existing, named", noTmpfile, true, create, "temp . | tempnamed . | write x | fsync x | renamenew x | fsyncdir .", fs.ErrExist},
		{"replace existing, named", noTmpfile, true, replace, "temp . | tempnamed . | write x | fsync x | rename x | fsyncdir .", nil},
		{"create, linked", noRename, false, create, "temp . | tempnamed . | write x | fsync x | renamenew x | link x | fsyncdir .", nil},
		{"create existing, linked", noRename, true, create, "temp . | tempnamed . | write x | fsync x | renamenew x | link x | fsyncdir .", fs.ErrExist},
		{"create impossible", noLink, false, create, "temp . | tempnamed . | write x | fsync x | renamenew x | link x", ErrNotExclusive},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			path := filepath.Join(dir, "x")
			if c.exists {
				if err := WriteFile(path, []byte("old"), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			r := &recorder{refuse: c.refuse}
			d := mustOpenDir(t, dir)
			d.SetHook(r.hook)
			if err := c.do(d); !errors.Is(err, c.err) {
				t.Errorf("error %v, want %v", err, c.err)
			}
			if got := strings.Join(r.steps, " | "); got != c.want {
				t.Errorf("steps\n got %s\nwant %s", got, c.want)
			}
			switch {
			case c.err == nil:
				mustHold(t, path, "new")
			case c.exists:
				mustHold(t, path, "old")
			default:
				if got := files(t, dir); len(got) != 0 {
					t.Errorf("left behind: %q", got)
				}
			}
			if got := files(t, dir); slices.ContainsFunc(got, IsTemp) {
				t.Errorf("left behind: %q", got)
			}
		})
	}
}

// TestFailingSteps fails every step in turn: an error must come out, the old
// file must be whole unless the new one is, and nothing else may be left.
func TestFailingSteps(t *testing.T) {
	for _, named := range []bool{false, true} {
		for _, step := range []Step{StepTempNamed, StepWrite, StepSync, StepRename, StepSyncDir} {
			if step == StepTempNamed && !named {
				continue
			}
			dir := t.TempDir()
			path := filepath.Join(dir, "x")
			if err := WriteFile(path, []byte("old"), 0o600); err != nil {
				t.Fatal(err)
			}
			r := &recorder{refuse: map[Step]error{step: unix.EIO}}
			d := mustOpenDir(t, dir)
			d.named.Store(named)
			d.SetHook(r.hook)
			if err := d.Replace("x", []byte("new"), 0o600); !errors.Is(err, unix.EIO) {
				t.Errorf("%s fails: error %v", step, err)
			}
			want := "old"
			if step == StepSyncDir {
				want = "new"
			}
			mustHold(t, path, want)
			if got := files(t, dir); !slices.Equal(got, []string{"x"}) {
				t.Errorf("%s fails: left behind %q", step, got)
			}
			syncs := 0
			for _, s := range r.steps {
				if s == "fsync x" {
					syncs++
				}
			}
			if syncs > 1 {
				t.Errorf("%s fails: fsync was tried %d times", step, syncs)
			}
		}
	}
}

// TestInterruptedSync: a signal interrupts fsync once; the data goes into a
// new file rather than into the same descriptor again.
func TestInterruptedSync(t *testing.T) {
	dir := t.TempDir()
	d := mustOpenDir(t, dir)
	var steps []string
	d.SetHook(func(s Step, path string) error {
		steps = append(steps, string(s))
		if s == StepSync && len(steps) == 3 {
			return unix.EINTR
		}
		return nil
	})
	if err := d.Create("x", []byte("data"), 0o600); err != nil {
		t.Fatal(err)
	}
	want := []string{"temp", "write", "fsync", "temp", "write", "fsync", "link", "fsyncdir"}
	if !slices.Equal(steps, want) {
		t.Errorf("steps %q, want %q", steps, want)
	}
	mustHold(t, filepath.Join(dir, "x"), "data")
}

// TestUnsyncableDirectory: a file system that cannot sync directories is used
// all the same, one whose directory fails to sync is not.
func TestUnsyncableDirectory(t *testing.T) {
	d := mustOpenDir(t, t.TempDir())
	bad := &Dir{fd: -1, rel: "."}
	if err := bad.Sync(); !errors.Is(err, unix.EBADF) {
		t.Errorf("sync of a bad descriptor: %v", err)
	}
	if err := d.Sync(); err != nil {
		t.Error(err)
	}
}
