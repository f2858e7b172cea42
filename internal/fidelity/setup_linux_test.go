package fidelity

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

var (
	shared string // a directory that everybody may enter
	vault  string // the program
	self   string // this test, where everybody may run it
)

// The tests run the program itself. As another user, a test runs itself again
// with this in the environment.
const childTask = "FIDELITY_CHILD"

func TestMain(m *testing.M) {
	if task := os.Getenv(childTask); task != "" {
		if err := child(task); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(run(m))
}

func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "fidelity")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	shared = dir
	defer os.RemoveAll(dir)
	vault, self = filepath.Join(dir, "vault"), filepath.Join(dir, "fidelity.test")
	if err := errors.Join(os.Chmod(dir, 0o755), build(), copySelf()); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return m.Run()
}

// build compiles the program, unless VAULT_BIN names one to test.
func build() error {
	if bin := os.Getenv("VAULT_BIN"); bin != "" {
		data, err := os.ReadFile(bin)
		if err != nil {
			return err
		}
		return os.WriteFile(vault, data, 0o755)
	}
	if out, err := exec.Command("go", "build", "-o", vault, "vault/cmd/vault").CombinedOutput(); err != nil {
		return fmt.Errorf("go build: %w\n%s", err, out)
	}
	return nil
}

func copySelf() error {
	exe, err := os.Executable()
	if err != nil {
		return err
	}
	data, err := os.ReadFile(exe)
	if err != nil {
		return err
	}
	return os.WriteFile(self, data, 0o755)
}

// closed are features that shut their owner out, so that no backup can read them.
var closed = []string{"mode/*-0000", "mode/*-0001", "mode/*-4000"}

// child does what another user is to do: "build DIR" makes a tree there.
func child(task string) error {
	verb, dir, _ := strings.Cut(task, " ")
	if verb != "build" {
		return fmt.Errorf("unknown task %q", task)
	}
	left, err := Build(dir, Options{Seed: 2, Without: closed})
	if err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(Names(left))
}

// user is who a program runs as; nil is whoever runs the tests.
var user = &syscall.Credential{Uid: 12345, Gid: 54321, Groups: []uint32{54322}}

// missing skips the test, or fails it where everything has to be there.
func missing(t *testing.T, format string, args ...any) {
	t.Helper()
	if os.Getenv("CI") == "true" {
		t.Fatalf(format, args...)
	}
	t.Skipf(format, args...)
}

func needRoot(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		missing(t, "needs root")
	}
}

func needProgram(t *testing.T, names ...string) {
	t.Helper()
	for _, name := range names {
		if _, err := exec.LookPath(name); err != nil {
			missing(t, "%v", err)
		}
	}
}

// tempDir is t.TempDir for trees that have immutable entries.
func tempDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp(shared, "t")
	if err != nil {
		t.Fatal(err)
	}
	must(t, os.Chmod(dir, 0o755))
	t.Cleanup(func() {
		if err := errors.Join(Clear(dir), os.Remove(dir)); err != nil {
			t.Errorf("clean up: %v", err)
		}
	})
	return dir
}

// place is an empty directory on some file system.
type place struct{ fs, dir string }

const imageSize = 700 << 20

// mounted returns a fresh file system of a kind. It is gone when the test ends.
func mounted(t *testing.T, kind string) place {
	t.Helper()
	needRoot(t)
	base := tempDir(t)
	dir := filepath.Join(base, "mnt")
	must(t, os.Mkdir(dir, 0o755))
	args := []string{"-t", "tmpfs", "-o", "size=1G,mode=755", "tmpfs", dir}
	if kind != "tmpfs" {
		needProgram(t, "mkfs."+kind)
		image := filepath.Join(base, "image")
		must(t, os.WriteFile(image, nil, 0o600))
		must(t, os.Truncate(image, imageSize))
		if out, err := exec.Command("mkfs."+kind, "-q", image).CombinedOutput(); err != nil {
			t.Fatalf("mkfs.%s: %v\n%s", kind, err, out)
		}
		args = []string{"-t", kind, "-o", "loop", image, dir}
	}
	// Others take loop devices and give them back: one that seems to be free may be gone.
	for deadline := time.Now().Add(8 * time.Minute); ; time.Sleep(100 * time.Millisecond) {
		out, err := exec.Command("mount", args...).CombinedOutput()
		if err == nil {
			break
		}
		if !strings.Contains(string(out), "loop") || time.Now().After(deadline) {
			missing(t, "mount %s: %v\n%s", strings.Join(args, " "), err, out)
		}
	}
	// A mount with -o loop detaches its device when it is unmounted.
	t.Cleanup(func() {
		err := unix.Unmount(dir, 0)
		for deadline := time.Now().Add(time.Minute); err == unix.EBUSY && time.Now().Before(deadline); err = unix.Unmount(dir, 0) {
			time.Sleep(10 * time.Millisecond) // somebody looks at every mount now and then
		}
		if err != nil {
			t.Errorf("unmount %s: %v", dir, err)
			unix.Unmount(dir, unix.MNT_DETACH)
		}
	})
	must(t, os.Chmod(dir, 0o755))
	return place{kind, dir}
}

// mkdir makes a directory of a place.
func (p place) mkdir(t *testing.T, name string) string {
	t.Helper()
	dir := filepath.Join(p.dir, name)
	must(t, os.Mkdir(dir, 0o755))
	return dir
}

// repository is one with a passphrase, made for a test.
type repository struct {
	dir string
	as  *syscall.Credential
}

func newRepository(t *testing.T, as *syscall.Credential) repository {
	t.Helper()
	dir := tempDir(t)
	if as != nil {
		must(t, os.Chown(dir, int(as.Uid), int(as.Gid)))
	}
	r := repository{dir, as}
	r.vault(t, 0, "init", "--quiet", "--kdf-memory", "8", "--kdf-time", "1", "--kdf-threads", "1")
	return r
}

// result is what a run of the program left.
type result struct {
	stdout, stderr string
	state          *os.ProcessState
}

func (r repository) command(args ...string) *exec.Cmd {
	cmd := exec.Command(vault, args...)
	cmd.Dir = r.dir
	cmd.Env = append(os.Environ(), "VAULT_REPO="+filepath.Join(r.dir, "repo"), "VAULT_PASSWORD=correct horse",
		"VAULT_STATE_DIR="+filepath.Join(r.dir, "state"), "XDG_CACHE_HOME="+filepath.Join(r.dir, "cache"), "HOME="+r.dir, "VAULT_LOG=")
	if r.as != nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: r.as}
	}
	return cmd
}

// vault runs the program, which must end with this code.
func (r repository) vault(t *testing.T, code int, args ...string) result {
	t.Helper()
	cmd := r.command(args...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	if got := cmd.ProcessState.ExitCode(); got != code {
		t.Fatalf("vault %s: exit code %d, want %d\n%s%s", strings.Join(args, " "), got, code, tail(stdout.String()), tail(stderr.String()))
	}
	return result{stdout.String(), stderr.String(), cmd.ProcessState}
}

func tail(s string) string {
	if len(s) > 4000 {
		return "...\n" + s[len(s)-4000:]
	}
	return s
}

// summary is the last message of a restore.
type summary struct {
	Type          string            `json:"message_type"`
	Written       uint64            `json:"bytes_restored"`
	Kept          uint64            `json:"bytes_kept"`
	Verified      uint64            `json:"bytes_verified"`
	Unchanged     uint64            `json:"files_unchanged"`
	Deleted       uint64            `json:"files_deleted"`
	Errors        uint64            `json:"error_count"`
	Notices       uint64            `json:"notice_count"`
	FilesRestored uint64            `json:"files_restored"`
	Kinds         map[string]uint64 `json:"notice_kinds"`
}

func (r result) summary(t *testing.T) summary {
	t.Helper()
	var s summary
	for line := range strings.Lines(r.stdout) {
		var next summary
		if err := json.Unmarshal([]byte(line), &next); err != nil {
			t.Fatalf("%v: %s", err, line)
		}
		if next.Type == "summary" {
			s = next
		}
	}
	if s.Type == "" {
		t.Fatalf("no summary in %s", tail(r.stdout))
	}
	return s
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// scan looks at a tree; the socket that no backup has is left out.
func scan(t *testing.T, dir string) Tree {
	t.Helper()
	tree, err := Scan(dir, ScanOptions{MinHole: 64 << 10, Prune: func(path string) bool { return path == "special/socket" }})
	if err != nil {
		t.Fatal(err)
	}
	return tree
}

const maxShown = 40

// same fails the test with the differences of two trees.
func same(t *testing.T, want, got Tree) {
	t.Helper()
	diffs := Compare(want, got)
	for _, d := range diffs[:min(len(diffs), maxShown)] {
		t.Error(d)
	}
	if len(diffs) > maxShown {
		t.Errorf("and %d more differences", len(diffs)-maxShown)
	}
}

// rsync lets rsync find differences. It does not get the socket, what has no
// room in PATH_MAX, and a file of 1 TB, which it would read whole.
func rsync(t *testing.T, want, got string) {
	t.Helper()
	needProgram(t, "rsync")
	out, err := exec.Command("rsync", "-naciHAX", "--delete", "--numeric-ids", "--exclude=/special/socket", "--exclude=/long/*", "--exclude=/sparse/huge", "--filter=-x trusted.SGI_ACL_*",
		want+"/", got+"/").CombinedOutput()
	if err != nil || len(bytes.TrimSpace(out)) > 0 {
		t.Errorf("rsync finds differences: %v\n%s", err, tail(string(out)))
	}
}
