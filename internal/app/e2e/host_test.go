//go:build linux

package e2e

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"vault/docs/examples"
	"vault/internal/app/apptest"
)

func TestMain(m *testing.M) { os.Exit(apptest.Main(m)) }

// built is the program, built once.
var built = sync.OnceValues(func() (string, error) {
	dir, err := apptest.Dir()
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, "vault")
	if out, err := exec.Command("go", "build", "-o", path, "vault/cmd/vault").CombinedOutput(); err != nil {
		return "", fmt.Errorf("go build: %w: %s", err, out)
	}
	return path, nil
})

// hangs is how long a program may take, on the slowest of machines.
const hangs = 5 * time.Minute

// host is a machine: a directory with a home, a state directory, programs and a
// configuration of its own.
type host struct {
	t      *testing.T
	dir    string
	vault  string
	config string // text
	env    []string
	as     *syscall.Credential // who runs the program; nil is who runs the test
}

func newHost(t *testing.T) *host {
	t.Helper()
	vault, err := built()
	if err != nil {
		t.Fatal(err)
	}
	h := &host{t: t, dir: t.TempDir(), vault: vault}
	h.mkdir("bin", "home", "state")
	h.write("key", "correct horse\n")
	h.env = append(os.Environ(), "PATH="+h.path("bin")+":"+os.Getenv("PATH"), "HOME="+h.path("home"), "VAULT_STATE_DIR="+h.path("state"),
		"VAULT_CONFIG="+h.path("vault.yaml"), "XDG_CACHE_HOME="+h.path("home/cache"), "VAULT_REPO=", "VAULT_PASSWORD=")
	return h
}

func (h *host) path(name string) string { return filepath.Join(h.dir, name) }

func (h *host) must(err error) {
	h.t.Helper()
	if err != nil {
		h.t.Fatal(err)
	}
}

func (h *host) mkdir(names ...string) {
	h.t.Helper()
	for _, name := range names {
		h.must(os.MkdirAll(h.path(name), 0o755))
	}
}

func (h *host) write(name, text string) {
	h.t.Helper()
	put(h.t, h.path(name), text)
}

func put(t *testing.T, path, text string) {
	t.Helper()
	if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(text), 0o600)); err != nil {
		t.Fatal(err)
	}
}

func (h *host) read(name string) string {
	h.t.Helper()
	text, err := os.ReadFile(h.path(name))
	h.must(err)
	return string(text)
}

func (h *host) exists(name string) bool {
	_, err := os.Lstat(h.path(name))
	return err == nil
}

// program makes a script that also writes down how it was called.
func (h *host) program(name, body string) {
	h.t.Helper()
	text := fmt.Sprintf("#!/bin/sh\necho \"%s $*\" >>'%s'\ncd '%s' || exit 9\n%s", name, h.path("calls"), h.dir, body)
	h.must(os.WriteFile(h.path("bin/"+name), []byte(text), 0o755))
}

// calls returns how programs were called since they were last asked for.
func (h *host) calls() string {
	h.t.Helper()
	text, err := os.ReadFile(h.path("calls"))
	if !errors.Is(err, os.ErrNotExist) {
		h.must(errors.Join(err, os.Remove(h.path("calls"))))
	}
	return strings.TrimSpace(strings.ReplaceAll(string(text), h.dir, "DIR"))
}

func (h *host) wantCalls(want ...string) {
	h.t.Helper()
	if got := h.calls(); got != strings.Join(want, "\n") {
		h.t.Errorf("programs were called:\n%s\nwant:\n%s", got, strings.Join(want, "\n"))
	}
}

// configure takes an example and puts what belongs to this host into it: pairs of a
// text that must be there and what stands in its place.
func (h *host) configure(example string, pairs ...string) {
	h.t.Helper()
	text, ok := examples.Get(example)
	if !ok {
		h.t.Fatalf("there is no example %s", example)
	}
	h.config = string(text)
	h.reconfigure(append([]string{"/etc/vault/key", h.path("key")}, pairs...)...)
}

// reconfigure changes the configuration in the same way.
func (h *host) reconfigure(pairs ...string) {
	h.t.Helper()
	for i := 0; i < len(pairs); i += 2 {
		if !strings.Contains(h.config, pairs[i]) {
			h.t.Fatalf("the configuration has no %q:\n%s", pairs[i], h.config)
		}
		h.config = strings.ReplaceAll(h.config, pairs[i], pairs[i+1])
	}
	h.write("vault.yaml", h.config)
}

// run runs the program, which must end with an exit code, and returns what it prints.
func (h *host) run(code int, args ...string) string {
	h.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), hangs)
	defer cancel()
	cmd := exec.CommandContext(ctx, h.vault, args...)
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGQUIT) } // which prints where its goroutines are
	cmd.WaitDelay = time.Minute
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: h.as}
	cmd.Env, cmd.Dir = h.env, h.dir
	out, err := cmd.CombinedOutput()
	if ctx.Err() != nil {
		h.t.Fatalf("vault %s has not ended after %v:\n%s", strings.Join(args, " "), hangs, out)
	}
	got := 0
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
		got = exit.ExitCode()
	} else {
		h.must(err)
	}
	if got != code {
		h.t.Fatalf("vault %s: exit code %d, want %d:\n%s", strings.Join(args, " "), got, code, out)
	}
	return string(out)
}

// wantText checks what a program has said.
func (h *host) wantText(got string, texts ...string) {
	h.t.Helper()
	for _, want := range texts {
		if !strings.Contains(got, want) {
			h.t.Errorf("%q is not in:\n%s", want, got)
		}
	}
}

// at returns arguments that mean a repository, with the key of this host.
func (h *host) at(repo string, args ...string) []string {
	return append(args, "-r", repo, "--password-file", h.path("key"))
}

// backups returns how many backups a repository has.
func (h *host) backups(repo string) int {
	h.t.Helper()
	return strings.Count(h.run(0, h.at(repo, "backups", "--json")...), `"message_type":"backup"`)
}

// shortDir makes a directory with a short name, wherever temporary files are: podman takes
// no runroot of more than 50 characters.
func shortDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("/tmp", "run")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// copyTree makes a copy with all that rsync keeps, but without what patterns of it name.
func copyTree(t *testing.T, from, to string, without ...string) {
	t.Helper()
	apptest.Need(t, "rsync", "rsync")
	args := []string{"-aXH"}
	for _, pattern := range without {
		args = append(args, "--exclude="+pattern)
	}
	if out, err := exec.Command("rsync", append(args, from+"/", to+"/")...).CombinedOutput(); err != nil {
		t.Fatalf("rsync: %v: %s", err, out)
	}
}

// same compares two trees by rsync: contents, types, modes, owners, times, links,
// extended attributes, and what only one has.
func same(t *testing.T, want, got string) {
	t.Helper()
	apptest.Need(t, "rsync", "rsync")
	out, err := exec.Command("rsync", "-aXHn", "--checksum", "--delete", "--itemize-changes", want+"/", got+"/").CombinedOutput()
	if err != nil || len(out) > 0 {
		t.Errorf("%s differs from %s: %v\n%s", got, want, err, out)
	}
}

func rename(t *testing.T, from, to string) {
	t.Helper()
	if err := os.Rename(from, to); err != nil {
		t.Fatal(err)
	}
}

func removeAll(paths ...string) error {
	var errs []error
	for _, p := range paths {
		errs = append(errs, os.RemoveAll(p))
	}
	return errors.Join(errs...)
}
