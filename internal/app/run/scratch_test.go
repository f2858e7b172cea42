//go:build linux

package run

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"vault/snapshot"
	"vault/snapshot/restore"
)

// filledScratch makes a scratch place with what is hard to remove.
func filledScratch(t *testing.T, state string) *scratch {
	t.Helper()
	s, err := newScratch(state, "web", t.TempDir(), time.Now())
	if err == nil {
		err = errors.Join(os.MkdirAll(filepath.Join(s.Dir, "a/b"), 0o755), os.WriteFile(filepath.Join(s.Dir, "a/b/f"), nil, 0o400),
			os.Chmod(filepath.Join(s.Dir, "a/b"), 0), os.Chmod(filepath.Join(s.Dir, "a"), 0o500))
	}
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func gone(t *testing.T, state string, s *scratch) {
	t.Helper()
	if _, err := os.Lstat(s.Dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%s is there: %v", s.Dir, err)
	}
	if left, err := readScratch(state, "web"); left != nil || err != nil {
		t.Errorf("noted: %v, %v", left, err)
	}
}

// TestScratch: what was noted is removed, with read-only directories and locked files,
// and nothing else ever is.
func TestScratch(t *testing.T) {
	state := t.TempDir()
	s := filledScratch(t, state)
	f, err := os.OpenFile(filepath.Join(s.Dir, "locked"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	if have, err := unix.IoctlGetUint32(int(f.Fd()), unix.FS_IOC_GETFLAGS); err == nil {
		unix.IoctlSetPointerInt(int(f.Fd()), unix.FS_IOC_SETFLAGS, int(have|0x10)) // where it can be, it is immutable
	}
	f.Close()
	outside := filepath.Join(t.TempDir(), "mine")
	if err := errors.Join(os.WriteFile(outside, nil, 0o600), os.Symlink(filepath.Dir(outside), filepath.Join(s.Dir, "link"))); err != nil {
		t.Fatal(err)
	}
	again, err := readScratch(state, "web")
	if err != nil || again == nil || *again != *s {
		t.Fatalf("noted: %+v, %v", again, err)
	}
	if err := again.remove(state); err != nil {
		t.Error(err)
	}
	gone(t, state, s)
	if _, err := os.Stat(outside); err != nil {
		t.Error(err)
	}

	// What died before it made the place.
	s = filledScratch(t, state)
	if err := errors.Join(removeScratch(s.Dir), s.remove(state)); err != nil {
		t.Error(err)
	}
	gone(t, state, s)

	// Somebody put something else there.
	s = filledScratch(t, state)
	if err := errors.Join(removeScratch(s.Dir), os.Symlink(filepath.Dir(outside), s.Dir)); err != nil {
		t.Fatal(err)
	}
	if err := s.remove(state); !errors.Is(err, errScratchAlien) {
		t.Errorf("a link in its place: %v", err)
	}
	if _, err := os.Stat(outside); err != nil {
		t.Error(err)
	}
}

// TestScratchMounted: what is mounted in the place by a check is not removed with it.
func TestScratchMounted(t *testing.T) {
	state, mine := t.TempDir(), t.TempDir()
	s := filledScratch(t, state)
	at := filepath.Join(s.Dir, "with space")
	if err := errors.Join(os.Mkdir(at, 0o700), os.WriteFile(filepath.Join(mine, "f"), nil, 0o600)); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("mount", "--bind", mine, at).CombinedOutput(); err != nil {
		t.Skipf("nothing can be mounted here: %s", out)
	}
	t.Cleanup(func() { exec.Command("umount", at).Run() })
	if err := s.remove(state); !errors.Is(err, errScratchMounted) || !strings.Contains(err.Error(), "with space") {
		t.Errorf("removed with a mount in it: %v", err)
	}
	if left, err := readScratch(state, "web"); left == nil || err != nil {
		t.Errorf("forgotten: %v", err)
	}
	if _, err := os.Stat(filepath.Join(mine, "f")); err != nil {
		t.Error(err)
	}
	if out, err := exec.Command("umount", at).CombinedOutput(); err != nil {
		t.Fatalf("umount: %s", out)
	}
	if err := s.remove(state); err != nil {
		t.Error(err)
	}
	gone(t, state, s)
}

func TestRehearsalRoom(t *testing.T) {
	v := volume("v", snapshot.Complete, 1, 1)
	if err := rehearsalRoom(t.TempDir(), []restore.Volume{{Volume: &v}}); errors.Is(err, ErrNoRoom) {
		t.Log("the disk is all but full")
	} else if err != nil {
		t.Error(err)
	}
	v.BytesProcessed = 1 << 61
	if err := rehearsalRoom(t.TempDir(), []restore.Volume{{Volume: &v}, {Volume: &v}}); !errors.Is(err, ErrNoRoom) {
		t.Error(err)
	}
}

// FuzzScratch: nothing is ever taken for a scratch place that could not be one.
func FuzzScratch(f *testing.F) {
	for _, text := range []string{`{"version":1,"app":"web","dir":"/var/tmp/vault-rehearsal-web-0123456789abcdef"}`, `{"version":1,"app":"web","dir":"/"}`,
		`{"version":1,"app":"..","dir":"/vault-rehearsal-..-0123456789abcdef/.."}`, `{"version":1,"app":"","dir":"vault-rehearsal--0123456789abcdef"}`, `{`, `null`} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		s, err := decodeScratch(data)
		if err != nil {
			return
		}
		if base := filepath.Base(s.Dir); !filepath.IsAbs(s.Dir) || !strings.HasPrefix(base, scratchPrefix) || len(base) < len(scratchPrefix)+scratchDigits {
			t.Errorf("%q was taken for a scratch place", s.Dir)
		}
	})
}
