//go:build linux && !vault_portable

package durable

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// bothWays runs f with openat2 and with the walk that takes its place.
func bothWays(t *testing.T, f func(t *testing.T)) {
	t.Run("openat2", f)
	t.Run("walk", func(t *testing.T) {
		old := noOpenat2.Swap(true)
		defer noOpenat2.Store(old)
		f(t)
	})
}

func TestNoSymlinksBelow(t *testing.T) {
	bothWays(t, func(t *testing.T) {
		dir, outside := t.TempDir(), t.TempDir()
		for _, err := range []error{
			os.WriteFile(filepath.Join(outside, "secret"), []byte("secret"), 0o600),
			os.MkdirAll(filepath.Join(dir, "a/b"), 0o700),
			os.WriteFile(filepath.Join(dir, "a/b/file"), []byte("fine"), 0o600),
			os.Symlink(outside, filepath.Join(dir, "out")),
			os.Symlink("a", filepath.Join(dir, "in")), // one that stays inside is refused as well
			os.Symlink(filepath.Join(outside, "secret"), filepath.Join(dir, "a/link")),
		} {
			if err != nil {
				t.Fatal(err)
			}
		}
		d := mustOpenDir(t, dir)
		for _, path := range []string{"out/secret", "in/b/file", "a/link"} {
			if f, err := d.OpenFile(path); err == nil {
				f.Close()
				t.Errorf("%s was opened through a link", path)
			}
		}
		for _, path := range []string{"out", "in", "in/b", "..", "a/../..", "/"} {
			if sub, err := d.OpenDir(path); err == nil {
				sub.Close()
				t.Errorf("%s was opened as a directory", path)
			}
		}
		f, err := d.OpenFile("a/b/file")
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		buf := make([]byte, 10)
		if n, err := f.ReadAt(buf, 1); n != 3 || err != io.EOF || f.Size() != 4 {
			t.Errorf("read %d bytes, %v; size %d", n, err, f.Size())
		}
		if _, err := d.OpenFile("a/b/none"); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("missing file: %v", err)
		}
		if _, err := d.OpenDir("a/none/b"); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("missing directory: %v", err)
		}
		// The held directory is the one that was opened, wherever its name went.
		moved := dir + "-moved"
		if err := os.Rename(dir, moved); err != nil {
			t.Fatal(err)
		}
		defer os.RemoveAll(moved)
		if err := os.Symlink(outside, dir); err != nil {
			t.Fatal(err)
		}
		if err := d.Create("new", nil, 0o600); err != nil {
			t.Error(err)
		}
		if got := files(t, outside); !slices.Equal(got, []string{"secret"}) {
			t.Errorf("a file was redirected: %q", got)
		}
	})
}

// TestPipe: opening a planted pipe must not hang.
func TestPipe(t *testing.T) {
	dir := t.TempDir()
	if err := unix.Mkfifo(filepath.Join(dir, "pipe"), 0o600); err != nil {
		t.Skip(err)
	}
	if _, err := mustOpenDir(t, dir).OpenFile("pipe"); err == nil {
		t.Error("a pipe was opened")
	}
}

// TestDescriptors: no way of writing or failing leaks a descriptor.
func TestDescriptors(t *testing.T) {
	count := func() int { return len(files(t, "/proc/self/fd")) }
	d := mustOpenDir(t, t.TempDir())
	before := count()
	for range 3 {
		for _, refuse := range []map[Step]error{nil, noTmpfile, noRename, noLink, {StepSync: unix.EIO}, {StepWrite: unix.ENOSPC}} {
			d.SetHook((&recorder{refuse: refuse}).hook)
			d.named.Store(false)
			_ = d.Create("x", []byte("x"), 0o600)
			_ = d.Replace("x", []byte("y"), 0o600)
			_, _ = d.Entries()
			_, _ = d.Sweep()
		}
	}
	if after := count(); after > before { // fewer, when something else lets go of one meanwhile
		t.Errorf("%d descriptors were open, now %d", before, after)
	}
}

// TestSweep: temporary files of the dead go, those of the living stay.
func TestSweep(t *testing.T) {
	dir := t.TempDir()
	d := mustOpenDir(t, dir)
	d.named.Store(true)
	for _, name := range []string{".tmp-dead1", ".tmp-dead2", "object", ".other"} {
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(filepath.Join(dir, ".tmp-directory"), 0o700); err != nil {
		t.Fatal(err)
	}
	swept := -1
	other := mustOpenDir(t, dir)
	d.SetHook(func(s Step, _ string) error {
		if s != StepSync {
			return nil
		}
		var err error
		swept, err = other.Sweep()
		return err
	})
	if err := d.Create("x", []byte("alive"), 0o600); err != nil {
		t.Fatalf("create beside a sweeper: %v", err)
	}
	if swept != 2 {
		t.Errorf("swept %d files, want 2", swept)
	}
	mustHold(t, filepath.Join(dir, "x"), "alive")
	if got, want := files(t, dir), []string{".other", ".tmp-directory", "object", "x"}; !slices.Equal(got, want) {
		t.Errorf("after the sweep %q are left, want %q", got, want)
	}
}

// TestSweptByOthers: a temporary file that vanishes, as by a sweeper on
// another machine whose locks do not reach here, costs another attempt.
func TestSweptByOthers(t *testing.T) {
	for _, refuse := range []map[Step]error{noTmpfile, noRename} {
		for _, write := range []func(*Dir, string, []byte, fs.FileMode) error{(*Dir).Create, (*Dir).Replace} {
			dir := t.TempDir()
			d := mustOpenDir(t, dir)
			robbed := 0
			d.SetHook(func(s Step, path string) error {
				if s == StepSync && robbed < 2 {
					for _, name := range files(t, dir) {
						if err := os.Remove(filepath.Join(dir, name)); err != nil {
							t.Error(err)
						}
						robbed++
					}
				}
				return refuse[s]
			})
			if err := write(d, "x", []byte("data"), 0o600); err != nil {
				t.Errorf("after two thefts: %v", err)
			}
			if robbed != 2 {
				t.Errorf("%d thefts", robbed)
			}
			mustHold(t, filepath.Join(dir, "x"), "data")
		}
	}
}

// TestEntriesReread: an entry that is replaced while the directory is read may
// be missed by that reading (on tmpfs and btrfs it is, in directories of more
// than one buffer), so a directory is read more than once.
func TestEntriesReread(t *testing.T) {
	dir := t.TempDir()
	if shm, err := os.MkdirTemp("/dev/shm", "durable-test"); err == nil {
		dir = shm // a tmpfs, where one reading does not pass this test
		t.Cleanup(func() { os.RemoveAll(shm) })
	}
	d := mustOpenDir(t, dir)
	const n = 1500
	name := func(i int) string { return fmt.Sprintf("%04d-%s", i, strings.Repeat("x", 100)) }
	for i := range n {
		if err := os.WriteFile(filepath.Join(dir, name(i)), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	// No entry is replaced twice during one call, however slow that is: one that is
	// replaced during each reading may be missed.
	var call atomic.Int64
	var wg sync.WaitGroup
	stop := make(chan struct{})
	wg.Go(func() {
		tmp := filepath.Join(dir, TempPrefix+"test")
		replaced := make([]int64, n) // during which call, at the latest
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			default: // without fsync, to be quick; now and then a rest, as real ones have
				if i%20 == 0 {
					time.Sleep(5 * time.Millisecond)
				}
				at := n - 1 - i%(n/2)
				if replaced[at] == call.Load() {
					time.Sleep(time.Millisecond)
					i--
					continue
				}
				err := os.WriteFile(tmp, nil, 0o600)
				if err == nil {
					err = os.Rename(tmp, filepath.Join(dir, name(at)))
				}
				replaced[at] = call.Load()
				if err != nil {
					t.Error(err)
					return
				}
			}
		}
	})
	for range 200 {
		call.Add(1)
		list, err := d.Entries()
		if err != nil {
			t.Fatal(err)
		}
		list = slices.DeleteFunc(list, func(e Entry) bool { return IsTemp(e.Name) })
		if len(list) != n {
			t.Errorf("%d of %d entries were met", len(list), n)
			break
		}
	}
	close(stop)
	wg.Wait()
}
