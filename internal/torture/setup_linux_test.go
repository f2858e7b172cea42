package torture

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"

	"golang.org/x/sys/unix"
)

// vault is the program under test, fast a directory for what needs no real disk.
var vault, fast string

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	parent := "/dev/shm"
	if unix.Access(parent, unix.W_OK) != nil {
		parent = ""
	}
	dir, err := os.MkdirTemp(parent, "torture")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	bin, err := os.MkdirTemp("", "torture-program")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(bin)
	fast, vault = dir, os.Getenv("VAULT_BIN")
	if vault == "" {
		vault = filepath.Join(bin, "vault")
		if out, err := exec.Command("go", "build", "-o", vault, "vault/cmd/vault").CombinedOutput(); err != nil {
			fmt.Fprintf(os.Stderr, "go build: %v\n%s", err, out)
			return 1
		}
	}
	return m.Run()
}

// number reads a number from the environment.
func number(name string, otherwise int) int {
	if n, err := strconv.Atoi(os.Getenv(name)); err == nil {
		return n
	}
	return otherwise
}

// disk returns a directory on a real file system. It stays if the test fails.
func disk(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp(os.Getenv("TORTURE_DIR"), "torture")
	must(t, err)
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("what the test left is in %s", dir)
			return
		}
		must(t, os.RemoveAll(dir))
	})
	return dir
}

func must(t *testing.T, errs ...error) {
	t.Helper()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
}
