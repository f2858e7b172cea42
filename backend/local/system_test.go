//go:build linux

package local

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"vault/backend"
	"vault/internal/durable"
)

// The tests below start this test binary again as another process, which
// TestMain sends to the helper named here.
const helperVar = "VAULT_TEST_LOCAL_HELPER"

func TestMain(m *testing.M) {
	dir := os.Getenv("VAULT_TEST_LOCAL_DIR")
	switch os.Getenv(helperVar) {
	case "":
		os.Exit(m.Run())
	case "writer":
		writeForever(dir, nil)
	case "named writer":
		writeForever(dir, func(s durable.Step, _ string) error {
			if s == durable.StepTemp {
				return syscall.EOPNOTSUPP
			}
			return nil
		})
	case "stranger":
		os.Exit(actAsStranger(dir))
	}
	os.Exit(3)
}

func helper(t *testing.T, name, dir string) *exec.Cmd {
	t.Helper()
	exe, err := os.Executable()
	must(t, err)
	cmd := exec.Command(exe)
	cmd.Env = append(os.Environ(), helperVar+"="+name, "VAULT_TEST_LOCAL_DIR="+dir)
	return cmd
}

// whole returns an object that tells whether it is complete: its length and
// bytes follow from the first.
func whole(seed byte) []byte { return bytes.Repeat([]byte{seed}, 1+int(seed)*4001) }

func isWhole(data []byte) bool { return len(data) > 0 && bytes.Equal(data, whole(data[0])) }

func writeForever(dir string, hook durable.Hook) {
	s, err := open(dir, hook)
	for i := 0; err == nil; i++ {
		if err = s.Put(ctx, "sessions/replaced", whole(byte(i))); err != nil {
			break
		}
		err = s.Put(ctx, fmt.Sprintf("packs/%02x/%d-%d", i%7, os.Getpid(), i), whole(byte(i*31)))
		if i == 0 {
			fmt.Println("started")
		}
	}
	fmt.Fprintln(os.Stderr, err)
	os.Exit(4)
}

// TestKill kills a writer again and again: whatever is visible afterwards is
// whole, and a sweep leaves nothing but objects.
func TestKill(t *testing.T) {
	for _, name := range []string{"writer", "named writer"} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			s := mustOpen(t, dir)
			defer s.Close()
			kills := 0
			// For a second, but on a busy machine, where that is a kill or none, five of them:
			// each writer stores an object of its own before it is killed.
			for end := time.Now().Add(time.Second); kills < 5 || time.Now().Before(end); kills++ {
				cmd := helper(t, name, dir)
				var stderr bytes.Buffer
				cmd.Stderr = &stderr
				out, err := cmd.StdoutPipe()
				must(t, err, cmd.Start())
				_, _ = out.Read(make([]byte, 7))
				time.Sleep(time.Duration(rand.IntN(40_000)) * time.Microsecond)
				must(t, cmd.Process.Kill())
				_ = cmd.Wait()
				if stderr.Len() > 0 {
					t.Fatalf("the writer failed: %s", stderr.String())
				}
			}
			n := 0
			for info, err := range s.List(ctx, "") {
				must(t, err)
				data, err := backend.ReadAll(ctx, s, info.Name, 1<<21)
				if err != nil || !isWhole(data) {
					t.Errorf("%s is visible with %d bytes (%v)", info.Name, len(data), err)
				}
				n++
			}
			swept, err := s.Sweep(ctx)
			if err != nil && !errors.Is(err, errors.ErrUnsupported) {
				t.Error(err)
			}
			t.Logf("%d kills, %d objects, %d temporary files swept", kills, n, swept)
			if n < 3 {
				t.Errorf("%d objects after %d kills: the writer did not get far", n, kills)
			}
			left := 0
			must(t, filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
				if strings.HasPrefix(e.Name(), ".") {
					left++
				}
				return err
			}))
			if left > 0 && err == nil {
				t.Errorf("%d temporary files are left after the sweep", left)
			}
		})
	}
}

// TestPermission opens another user's repository.
func TestPermission(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root to become somebody else")
	}
	base := t.TempDir()
	s := mustOpen(t, base+"/repo")
	defer s.Close()
	must(t, s.Put(ctx, "config", []byte("config")), s.Put(ctx, "packs/ab/x", nil))
	for _, dir := range []string{base, filepath.Dir(base)} { // what TempDir has made
		must(t, os.Chmod(dir, 0o755)) // the way there is open to everyone
	}
	// The binary may lie where nobody else can reach it.
	exe := base + "/helper"
	self, err := os.Executable()
	must(t, err)
	data, err := os.ReadFile(self)
	must(t, err, os.WriteFile(exe, data, 0o755))
	cmd := helper(t, "stranger", base)
	cmd.Path, cmd.Args = exe, []string{exe}
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("as another user: %v\n%s", err, out)
	}
}

// actAsStranger runs as a user who may not read base/repo, at first, and then
// would like to write beside it.
func actAsStranger(base string) int {
	bad := 0
	refused := func(what string, err error) {
		if !errors.Is(err, backend.ErrPermission) || !errors.Is(err, backend.ErrUnreachable) || errors.Is(err, fs.ErrNotExist) {
			fmt.Printf("%s: %v\n", what, err)
			bad++
		}
	}
	_, err := Open(base + "/repo")
	refused("open", err)
	_, err = Open(base + "/repo/below")
	refused("open below", err)
	s, err := Open(base + "/mine")
	if err != nil {
		fmt.Println("open a missing place:", err)
		return 1
	}
	refused("create in a parent that is not ours", s.Create(ctx, "config", nil))
	return bad
}

// TestFullDisk fills a small file system: a clear error, and what was stored
// before is whole.
func TestFullDisk(t *testing.T) {
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=64k,mode=700"); err != nil {
		if os.Getenv("CI") == "true" && os.Geteuid() == 0 {
			t.Fatalf("mount: %v", err)
		}
		t.Skipf("mount: %v", err)
	}
	defer func() { must(t, syscall.Unmount(dir, 0)) }()
	s := mustOpen(t, dir)
	defer s.Close()
	old := bytes.Repeat([]byte("o"), 9000)
	must(t, s.Put(ctx, "keys/old", old), s.Put(ctx, "ballast", make([]byte, 20_000)))
	full := func(what string, err error) {
		t.Helper()
		if !errors.Is(err, backend.ErrNoSpace) || errors.Is(err, backend.ErrUnreachable) {
			t.Errorf("%s: %v", what, err)
		}
	}
	full("create", s.Create(ctx, "packs/big", make([]byte, 100_000)))
	full("replace", s.Put(ctx, "keys/old", make([]byte, 100_000)))
	for i := range 100 {
		if err := s.Put(ctx, fmt.Sprintf("packs/%d", i), make([]byte, 4096)); err != nil {
			full("fill", err)
			break
		}
	}
	full("replace, no room left", s.Put(ctx, "keys/old", make([]byte, 9000)))
	if got, err := backend.ReadAll(ctx, s, "keys/old", 1<<20); err != nil || !bytes.Equal(got, old) {
		t.Errorf("the old object: %d bytes, %v", len(got), err)
	}
	must(t, s.Delete(ctx, "ballast")) // deleting works, and makes room
	must(t, s.Create(ctx, "gc/1.plan", make([]byte, 15_000)))
}

// TestReadOnly reads from a read-only mount, and is told why it cannot write.
func TestReadOnly(t *testing.T) {
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=64k"); err != nil {
		t.Skipf("mount: %v", err)
	}
	defer func() { must(t, syscall.Unmount(dir, 0)) }()
	w := mustOpen(t, dir)
	must(t, w.Put(ctx, "packs/x", []byte("x")), w.Close(), syscall.Mount("", dir, "", syscall.MS_REMOUNT|syscall.MS_RDONLY, ""))
	s := mustOpen(t, dir)
	defer s.Close()
	if got, err := backend.ReadAll(ctx, s, "packs/x", 9); string(got) != "x" {
		t.Errorf("read: %q, %v", got, err)
	}
	for _, err := range []error{s.Put(ctx, "y", nil), s.Create(ctx, "packs/z", nil), s.Create(ctx, "new/z", nil), s.Delete(ctx, "packs/x")} {
		if !errors.Is(err, backend.ErrPermission) || !strings.Contains(backend.Hint(err), "read-only") {
			t.Errorf("%v, hint %q", err, backend.Hint(err))
		}
	}
}

// TestSwappedDirectory: a shard that is replaced by a link to elsewhere takes
// no object there.
func TestSwappedDirectory(t *testing.T) {
	dir, outside := t.TempDir(), t.TempDir()
	s := mustOpen(t, dir)
	defer s.Close()
	must(t, s.Put(ctx, "packs/ab/x", []byte("x")), os.WriteFile(outside+"/y", []byte("y"), 0o600),
		os.Rename(dir+"/packs/ab", dir+"/packs/ac"), os.Symlink(outside, dir+"/packs/ab"))
	if err := s.Put(ctx, "packs/ab/z", nil); err == nil {
		t.Error("an object was stored through a link")
	}
	if err := s.Delete(ctx, "packs/ab/y"); err == nil {
		t.Error("a file was deleted through a link")
	}
	if _, err := s.Get(ctx, "packs/ab/y", 0, -1); err == nil || errors.Is(err, fs.ErrNotExist) {
		t.Errorf("get through a link: %v", err)
	}
	if list, err := os.ReadDir(outside); err != nil || len(list) != 1 {
		t.Errorf("outside: %v, %v", list, err)
	}
}
