//go:build linux

package run

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"time"

	"vault/internal/app/config"
)

// skipStatus is the exit status by which a hook says that there is nothing to do
// now, and that this is no failure (EX_TEMPFAIL of sysexits.h).
const skipStatus = 75

const (
	defaultHookTimeout = time.Hour
	defaultPatience    = 2 * time.Minute // with a repository, of an application at rest
	killAfter          = 5 * time.Second // between SIGTERM and SIGKILL
	maxSaid            = 2 << 10         // bytes of a command's output that are kept
)

// ErrSkipped says that a hook asked for the run to be skipped.
var ErrSkipped = errors.New("skipped")

// CommandError is a command of the configuration that did not end well.
type CommandError struct {
	Phase   string // before, enter, leave ...
	Command string
	Status  int    // exit status; -1 if it did not exit by itself
	Said    string // the end of its output
	Err     error
}

// Error says which command failed, how, and what it said.
func (e *CommandError) Error() string {
	s := fmt.Sprintf("%s: %s: %v", e.Phase, e.Command, e.Err)
	if e.Said != "" {
		s += ": " + e.Said
	}
	return s
}

// Unwrap returns the cause.
func (e *CommandError) Unwrap() error { return e.Err }

// executor runs the commands of one application.
type executor struct {
	app     string
	base    []string      // environment that does not change: "NAME=value"
	hide    []string      // names of variables that hold secrets
	timeout time.Duration // of a command that names none
	said    func(phase string, command string)
	warn    func(message string)
	partial func(message string) // a failure that makes the result partial
}

// environ is this process's environment without its secrets, and what is known of
// the run.
func (x *executor) environ(phase string, own config.Environment, extra []string) []string {
	env := slices.DeleteFunc(os.Environ(), func(pair string) bool {
		name, _, _ := strings.Cut(pair, "=")
		return slices.Contains(x.hide, name)
	})
	env = append(env, x.base...)
	env = append(env, "VAULT_APP="+x.app, "VAULT_PHASE="+phase)
	env = append(env, extra...)
	return append(env, own.List()...)
}

// steps runs commands one after another, up to the first whose failure counts.
func (x *executor) steps(ctx context.Context, phase string, list config.Steps, extra []string) error {
	for i := range list {
		if err := x.step(ctx, phase, &list[i], extra); err != nil {
			return err
		}
	}
	return nil
}

// all runs all commands, whatever happens to any of them.
func (x *executor) all(ctx context.Context, phase string, list config.Steps, extra []string) error {
	var errs []error
	for i := range list {
		errs = append(errs, x.step(ctx, phase, &list[i], extra))
	}
	return errors.Join(errs...)
}

func (x *executor) step(ctx context.Context, phase string, c *config.Command, extra []string) error {
	err := x.run(ctx, phase, c, extra)
	var failed *CommandError
	switch {
	case err == nil || !errors.As(err, &failed) || ctx.Err() != nil:
		return err
	case c.OnError == config.OnErrorIgnore:
		x.warn(err.Error())
		return nil
	case c.OnError == config.OnErrorWarn:
		x.partial(err.Error())
		return nil
	case failed.Status == skipStatus && phase == "before":
		return fmt.Errorf("%w: %w", ErrSkipped, err)
	}
	return err
}

// run runs one command.
func (x *executor) run(ctx context.Context, phase string, c *config.Command, extra []string) error {
	return x.exec(ctx, phase, c, extra, func(cmd *exec.Cmd, said *tail) { cmd.Stdout = said })
}

// output runs a command and returns what it prints, at most limit bytes.
func (x *executor) output(ctx context.Context, phase string, c *config.Command, limit int) ([]byte, error) {
	var out bytes.Buffer
	err := x.exec(ctx, phase, c, nil, func(cmd *exec.Cmd, _ *tail) { cmd.Stdout = &out })
	if err == nil && out.Len() > limit {
		err = fmt.Errorf("%s: %s: it printed more than %d bytes", phase, c, limit)
	}
	return out.Bytes(), err
}

// errUnread says that a command left some of its input.
var errUnread = errors.New("it ended before it had read everything")

// feed runs a command with in as its standard input. If in ends with an error, the
// command is ended before it could take what it got for everything. A command that
// ends well without having read everything has failed as well.
func (x *executor) feed(ctx context.Context, phase string, c *config.Command, in io.Reader) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var pipe *os.File
	done, ended := make(chan error, 1), make(chan struct{})
	err := x.exec(ctx, phase, c, nil, func(cmd *exec.Cmd, said *tail) {
		r, w, err := os.Pipe()
		if err != nil {
			cancel(err)
			done <- err
			return
		}
		cmd.Stdin, cmd.Stdout, pipe = r, said, r
		go func() {
			_, err := io.Copy(feeding{w}, in)
			if err != nil && err != errUnread {
				cancel(fmt.Errorf("read what is to be restored: %w", err))
				<-ended // the end of its input would look like the end of everything
			}
			w.Close()
			done <- err
		}()
	})
	close(ended)
	if pipe != nil {
		pipe.Close()
	}
	switch ferr := <-done; {
	case ferr == nil, ferr == errUnread && err != nil: // its status says why
		return err
	case ferr == errUnread:
		return &CommandError{Phase: phase, Command: c.String(), Err: ferr}
	default:
		return ferr
	}
}

// feeding is the standard input of a command. That it cannot be written to is no error
// of what is written, which may be a broken pipe as well: that of a store.
type feeding struct{ w io.Writer }

func (f feeding) Write(b []byte) (int, error) {
	n, err := f.w.Write(b)
	if err != nil {
		err = errUnread
	}
	return n, err
}

// limit returns how long a command may take; 0: as long as it needs. One that reads a
// volume takes as long as that is large, and is no hook.
func (x *executor) limit(phase string, c *config.Command) time.Duration {
	if phase == phaseRestore {
		return c.Timeout.Std(0)
	}
	return cmp.Or(c.Timeout.Std(x.timeout), defaultHookTimeout)
}

// phaseRestore is that of a command which reads what is restored.
const phaseRestore = "restore"

// exec runs one command in a process group of its own. When ctx ends or its time is
// up, the group gets SIGTERM, and SIGKILL later.
func (x *executor) exec(ctx context.Context, phase string, c *config.Command, extra []string, connect func(cmd *exec.Cmd, said *tail)) error {
	if x.said != nil {
		x.said(phase, c.String())
	}
	timed, cancel := ctx, func() {}
	if limit := x.limit(phase, c); limit > 0 {
		timed, cancel = context.WithTimeoutCause(ctx, limit, fmt.Errorf("not done after %v", limit))
	}
	defer cancel()
	argv := c.Argv()
	cmd := exec.CommandContext(timed, argv[0], argv[1:]...)
	cmd.Dir, cmd.Env = c.Dir, x.environ(phase, c.Env, extra)
	said := &tail{}
	cmd.Stderr = said
	connect(cmd, said)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM) }
	cmd.WaitDelay = killAfter
	err := cmd.Run()
	if timed.Err() != nil && cmd.Process != nil {
		syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) // what is left of the group
	}
	if errors.Is(err, exec.ErrWaitDelay) { // it ended well and left a process behind that holds its output
		err = nil
	}
	if err == nil {
		return nil
	}
	e := &CommandError{Phase: phase, Command: c.String(), Status: -1, Said: said.String(), Err: err}
	var exit *exec.ExitError
	switch {
	case timed.Err() != nil:
		e.Err = context.Cause(timed)
	case errors.As(err, &exit):
		e.Status = exit.ExitCode()
	}
	return e
}

// tail keeps the last bytes that are written to it.
type tail struct{ buf []byte }

func (t *tail) Write(b []byte) (int, error) {
	t.buf = append(t.buf, b[max(0, len(b)-maxSaid):]...)
	if over := len(t.buf) - maxSaid; over > 0 {
		t.buf = append(t.buf[:0], t.buf[over:]...)
	}
	return len(b), nil
}

func (t *tail) String() string {
	return strings.ToValidUTF8(string(bytes.TrimSpace(t.buf)), "\uFFFD")
}
