//go:build linux

package run

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/iotest"
	"time"

	"vault/backend"
	"vault/internal/app/config"
	"vault/internal/repotest"
	"vault/repo"
)

// restoring is an application with a repository in memory, in a directory of its own.
type restoring struct {
	Options
	t   *testing.T
	dir string
}

// newRestoring returns an application "web" with what the configuration says below it;
// DIR stands for the directory.
func newRestoring(t *testing.T, app string) *restoring {
	t.Helper()
	s := &restoring{t: t, dir: t.TempDir()}
	text := "version: 1\nrepositories: {main: {url: /nonexistent, password-env: NONE}}\napps:\n  web:\n    to: main\n" + strings.ReplaceAll(app, "DIR", s.dir)
	s.write("vault.yaml", text)
	c, err := config.Load(s.path("vault.yaml"), config.Options{})
	if err != nil {
		t.Fatal(err)
	}
	be, _ := repotest.New(t)
	t.Cleanup(func() { repotest.MustCheck(t, be) })
	s.Options = Options{Config: c, StateDir: s.path("state"), Host: "host", User: "me", Explain: func(error) (int, string) { return 1, "" },
		Open: func(context.Context, config.Destination, bool) (*repo.Repo, error) {
			return repotest.Open(t, staying{be}), nil
		}}
	return s
}

// staying is a store that stays open for the checks.
type staying struct{ backend.Backend }

func (staying) Close() error { return nil }

func (s *restoring) path(name string) string { return filepath.Join(s.dir, name) }

func (s *restoring) write(name, text string) {
	s.t.Helper()
	if err := os.WriteFile(s.path(name), []byte(text), 0o600); err != nil {
		s.t.Fatal(err)
	}
}

func (s *restoring) backup() {
	s.t.Helper()
	if p := Backup(s.t.Context(), s.Options, "web"); p.Err != nil {
		s.t.Fatal(p.Err)
	}
}

// TestHalfRestored: an application of which the first volume was begun stays half
// restored, whatever the next attempts fail of.
func TestHalfRestored(t *testing.T) {
	for name, again := range map[string]RestoreOptions{"resumed": {}, "begun anew": {Restart: true}} {
		t.Run(name, func(t *testing.T) {
			s := newRestoring(t, `    volumes:
      db: {command: [echo, rows], restore: {command: {shell: 'cat >DIR/db; exit $(cat DIR/load)'}}}
    restore: {before: [{shell: 'exit $(cat DIR/before)'}]}
`)
			s.backup()
			s.write("before", "0")
			s.write("load", "1")
			again.Options, again.App = s.Options, "web"
			if p := Restore(t.Context(), RestoreOptions{Options: s.Options, App: "web"}); p.Err == nil {
				t.Fatal("a restore whose command fails succeeds")
			}
			s.write("before", "1")
			if p := Restore(t.Context(), again); p.Err == nil {
				t.Fatal("a restore whose hook fails succeeds")
			}
			if p := Backup(t.Context(), s.Options, "web"); !errors.Is(p.Err, ErrHalfRestored) {
				t.Errorf("half an application is backed up: %v", p.Err)
			}
			s.write("before", "0")
			s.write("load", "0")
			if p := Restore(t.Context(), again); p.Err != nil {
				t.Error(p.Err)
			}
			s.backup()
		})
	}
}

// TestFeedBroken: a command does not take for everything what it got before the store
// failed, not even if that was a pipe, too.
func TestFeedBroken(t *testing.T) {
	dir := t.TempDir()
	x := &executor{app: "web", timeout: time.Minute}
	broken := fmt.Errorf("read pack: %w", syscall.EPIPE)
	c := &config.Command{Shell: "cat >beginning && touch whole", Dir: dir}
	err := x.feed(t.Context(), "restore", c, io.MultiReader(strings.NewReader("rows"), iotest.ErrReader(broken)))
	if !errors.Is(err, broken) {
		t.Errorf("%v, want that of the store", err)
	}
	if _, err := os.Stat(filepath.Join(dir, "whole")); err == nil {
		t.Error("the command took the beginning for everything")
	}
}

// TestLongRestore: a volume may take longer than a hook to come back, unless its command
// says how long that may be.
func TestLongRestore(t *testing.T) {
	s := newRestoring(t, `    hook-timeout: 100ms
    volumes:
      db: {command: [echo, rows], restore: {command: {shell: 'sleep 1; cat >DIR/db'}}}
`)
	s.backup()
	if p := Restore(t.Context(), RestoreOptions{Options: s.Options, App: "web"}); p.Err != nil {
		t.Fatal(p.Err)
	}
	command := s.Config.Apps["web"].Volumes["db"].Restore.Command
	command.Timeout, command.Shell = config.Duration(100*time.Millisecond), "sleep 600; cat >/dev/null"
	if p := Restore(t.Context(), RestoreOptions{Options: s.Options, App: "web"}); p.Err == nil || !strings.Contains(p.Err.Error(), "not done after 100ms") {
		t.Errorf("after its own time-out: %v", p.Err)
	}
}

// TestUnread: a command that ends before it has read what it is to restore has not
// restored it, whatever its status says: a shell tells that of the last in a pipeline.
func TestUnread(t *testing.T) {
	const more = "head -c 1000000 /dev/zero" // than a pipe holds
	s := newRestoring(t, `    volumes:
      db: {command: [sh, -c, "`+more+`"], restore: {command: {shell: 'if [ -e DIR/whole ]; then cat >DIR/db; else head -c 1000 | cat >DIR/db; fi'}}}
`)
	s.backup()
	p := Restore(t.Context(), RestoreOptions{Options: s.Options, App: "web"})
	var failed *CommandError
	if !errors.As(p.Err, &failed) || !errors.Is(p.Err, errUnread) || failed.Status != 0 {
		t.Fatalf("a command that reads the beginning alone: %v", p.Err)
	}
	s.write("whole", "")
	if p := Restore(t.Context(), RestoreOptions{Options: s.Options, App: "web"}); p.Err != nil {
		t.Fatal(p.Err)
	}
	if fi, err := os.Stat(s.path("db")); err != nil || fi.Size() != 1000000 {
		t.Errorf("%v, %v", fi, err)
	}
}

// TestDryRestore: a dry run makes no volume of a container engine.
func TestDryRestore(t *testing.T) {
	s := newRestoring(t, `    roots: {volumes: {podman: rootful}}
    volumes:
      html: {container: {volume: html}}
      more: {path: volumes/more}
`)
	s.write("podman", "#!/bin/sh\ncd '"+s.dir+"'\n"+`case "$1 $2" in
"volume ls") ls volumes ;;
"volume create") mkdir -p volumes/$3 ;;
"volume inspect") printf '[{"Name":"%s","Driver":"local","Mountpoint":"%s"}]' $3 $PWD/volumes/$3 ;;
*) exit 64 ;;
esac
`)
	if err := errors.Join(os.Chmod(s.path("podman"), 0o700), os.MkdirAll(s.path("volumes/html"), 0o700), os.Mkdir(s.path("volumes/more"), 0o700)); err != nil {
		t.Fatal(err)
	}
	s.write("volumes/html/index", "hello")
	s.write("volumes/more/page", "more")
	t.Setenv("PATH", s.dir+":"+os.Getenv("PATH"))
	t.Setenv("_CONTAINERS_USERNS_CONFIGURED", "done") // owners are as they are seen
	s.backup()
	if err := os.RemoveAll(s.path("volumes/html")); err != nil {
		t.Fatal(err)
	}
	o := RestoreOptions{Options: s.Options, App: "web"}
	o.DryRun = true
	p := Restore(t.Context(), o)
	if want := []string{"html: to the volume html, which is made", "more: to " + s.path("volumes/more")}; p.Err != nil || !slices.Equal(p.Planned, want) {
		t.Errorf("%q, %v, want %q", p.Planned, p.Err, want)
	}
	if _, err := os.Stat(s.path("volumes/html")); err == nil {
		t.Error("a dry run has made a volume")
	}
	if p := Restore(t.Context(), RestoreOptions{Options: s.Options, App: "web"}); p.Err != nil {
		t.Fatal(p.Err)
	}
	if got, err := os.ReadFile(s.path("volumes/html/index")); string(got) != "hello" {
		t.Errorf("%q, %v", got, err)
	}
}
