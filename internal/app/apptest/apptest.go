//go:build linux

package apptest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"vault/internal/porttest"
)

// nobody runs the servers in tests of root.
const nobody = 65534

// ready bounds the start of a server on a machine that is busy.
const ready = 3 * time.Minute

var started struct {
	sync.Mutex
	servers []*server
	dirs    []string
}

// Main runs the tests of a package and then stops the servers that they have
// started. It is for TestMain: os.Exit(apptest.Main(m)).
func Main(m *testing.M) int {
	code := m.Run()
	started.Lock()
	defer started.Unlock()
	for _, s := range started.servers {
		s.stop()
	}
	for _, d := range started.dirs {
		os.RemoveAll(d)
	}
	return code
}

// Need skips a test whose program is not installed, and returns the program's path.
// Where CI is "true" it fails the test.
func Need(t testing.TB, program, debianPackage string, places ...string) string {
	t.Helper()
	for _, place := range append([]string{""}, places...) {
		if place == "" {
			if path, err := exec.LookPath(program); err == nil {
				return path
			}
			continue
		}
		if found, _ := filepath.Glob(filepath.Join(place, program)); len(found) > 0 {
			return found[len(found)-1]
		}
	}
	if os.Getenv("CI") == "true" {
		t.Fatalf("%s is missing: apt-get install %s", program, debianPackage)
	}
	t.Skipf("%s is missing: apt-get install %s", program, debianPackage)
	return ""
}

// Dir makes a directory that the servers' user owns and everybody may enter. Main
// removes it.
func Dir() (string, error) {
	dir, err := os.MkdirTemp("", "vault-app")
	if err != nil {
		return "", err
	}
	started.Lock()
	started.dirs = append(started.dirs, dir)
	started.Unlock()
	if err := os.Chmod(dir, 0o755); err != nil {
		return "", err
	}
	if os.Geteuid() == 0 {
		err = os.Chown(dir, nobody, nobody)
	}
	return dir, err
}

// duplicate copies a directory with its owners and modes.
func duplicate(from, to string) error {
	if out, err := exec.Command("cp", "-a", from, to).CombinedOutput(); err != nil {
		return fmt.Errorf("copy %s: %w: %s", from, err, out)
	}
	return nil
}

// server is a process that tests talk to.
type server struct {
	cmd  *exec.Cmd
	log  string
	quit syscall.Signal // ends it
	done chan struct{}  // closed when it has ended
}

// command prepares a program that runs as the servers' user in a directory.
func command(dir, name string, args ...string) *exec.Cmd {
	cmd := exec.Command(name, args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "TMPDIR="+dir, "HOME="+dir)
	cmd.SysProcAttr = &syscall.SysProcAttr{}
	if os.Geteuid() == 0 {
		cmd.SysProcAttr.Credential = &syscall.Credential{Uid: nobody, Gid: nobody}
	}
	return cmd
}

// launch starts a server and waits until probe succeeds.
func launch(cmd *exec.Cmd, dir string, quit syscall.Signal, probe func(context.Context) error) (*server, error) {
	s := &server{cmd: cmd, log: filepath.Join(dir, "log"), quit: quit, done: make(chan struct{})}
	log, err := os.Create(s.log)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr.Pdeathsig = syscall.SIGKILL
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		cmd.Wait()
		close(s.done)
	}()
	ctx, cancel := context.WithTimeout(context.Background(), ready)
	defer cancel()
	for {
		err := probe(ctx)
		if err == nil {
			started.Lock()
			defer started.Unlock()
			started.servers = append(started.servers, s)
			return s, nil
		}
		select {
		case <-s.done:
			text, _ := os.ReadFile(s.log)
			return nil, fmt.Errorf("%s has ended: %s", cmd.Path, text)
		case <-ctx.Done():
			s.stop()
			return nil, fmt.Errorf("%s does not answer: %w", cmd.Path, err)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// stop ends the server and waits for it.
func (s *server) stop() {
	s.cmd.Process.Signal(s.quit)
	select {
	case <-s.done:
	case <-time.After(30 * time.Second):
		s.cmd.Process.Kill()
		<-s.done
	}
}

// onPort starts a server on one port after another.
func onPort(start func(port int) (*server, error)) (*server, int, error) {
	var failed []error
	for range 5 {
		port, release, err := porttest.Keep()
		if err != nil {
			return nil, 0, err
		}
		s, err := start(port)
		if err == nil {
			return s, port, nil // kept as long as this process lives
		}
		release()
		failed = append(failed, err)
	}
	return nil, 0, errors.Join(failed...)
}
