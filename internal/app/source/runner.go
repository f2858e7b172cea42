//go:build linux

package source

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"
)

const (
	maxSaid   = 4 << 10 // bytes of standard error in an error
	maxOutput = 1 << 20 // bytes of an answer

	// MaxSaid is how much of the end of standard error Feed returns.
	MaxSaid = 64 << 10

	// patience is the time that a program has to end after it was asked to.
	patience = 3 * time.Second
)

// Runner says how programs are run: as whom, where, and behind which other program.
// The zero Runner runs them here. It is not changed by use.
type Runner struct {
	Prefix []string // arguments before the program's own, as "podman", "exec", "-i", "db"
	As     *Account // nil for who runs this process
	Env    []string // added to the environment, "key=value"; may hold secrets
	Dir    string   // working directory; "" for the root if As is set
}

// Argv returns the arguments that run one of several programs: the first that is
// installed here, or simply the first behind a Prefix.
func (r Runner) Argv(programs []string, args ...string) ([]string, error) {
	if len(r.Prefix) > 0 {
		argv := append([]string(nil), r.Prefix...)
		return append(append(argv, programs[0]), args...), nil
	}
	path, err := Look(programs...)
	if err != nil {
		return nil, err
	}
	return append([]string{path}, args...), nil
}

// Environ returns the variables to add to the environment of this process.
func (r Runner) Environ() []string { return append(r.As.Env(), r.Env...) }

// WorkDir returns the directory in which to start: another account may not enter
// the current one.
func (r Runner) WorkDir() string {
	if r.Dir == "" && r.As.Credential() != nil {
		return "/"
	}
	return r.Dir
}

// ProgramError is a program that did not end well.
type ProgramError struct {
	Program string         // its name, with the prefix if there is one
	Status  int            // exit status, -1 if a signal ended it
	Signal  syscall.Signal // which, or 0
	Said    string         // the end of its standard error
}

func (e *ProgramError) Error() string {
	text := fmt.Sprintf("%s exited with status %d", e.Program, e.Status)
	if e.Signal != 0 {
		text = fmt.Sprintf("%s was killed by signal %d (%v)", e.Program, int(e.Signal), e.Signal)
	}
	if e.Said != "" {
		text += ": " + e.Said
	}
	return text
}

// Output runs a program and returns its standard output, at most 1 MiB. A failure
// of the program is a *ProgramError.
func (r Runner) Output(ctx context.Context, argv []string) ([]byte, error) {
	var out limited
	if _, err := r.run(ctx, argv, nil, &out); err != nil {
		return nil, err
	}
	if out.over {
		return nil, fmt.Errorf("%s: its output is longer than %d bytes", argv[0], maxOutput)
	}
	return out.buf.Bytes(), nil
}

// Feed runs a program with in as its standard input, and returns the end of what it
// wrote to standard error, at most MaxSaid bytes. When in ends with an error, the program is killed before
// it could take what it got for everything, and the error is that of in. A
// program that ends well without having read everything has failed as well. Feed
// returns when the program has ended and in is not read any more; a Read that hangs
// keeps it.
func (r Runner) Feed(ctx context.Context, in io.Reader, argv []string) (said string, err error) {
	return r.run(ctx, argv, in, io.Discard)
}

func (r Runner) run(ctx context.Context, argv []string, in io.Reader, out io.Writer) (string, error) {
	if len(argv) == 0 || argv[0] == "" {
		return "", errors.New("no command given")
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Dir = r.WorkDir()
	cmd.Env = append(os.Environ(), r.Environ()...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Credential: r.As.Credential()}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM) }
	cmd.WaitDelay = patience
	var said tail
	cmd.Stdout, cmd.Stderr = out, &said
	var pipe io.WriteCloser
	if in != nil {
		var err error
		if pipe, err = cmd.StdinPipe(); err != nil {
			return "", fmt.Errorf("run %s: %w", argv[0], err)
		}
	}
	if err := cmd.Start(); err != nil {
		return "", fmt.Errorf("run %s: %w", argv[0], err)
	}
	fed := make(chan error, 1)
	if in == nil {
		fed <- nil
	} else {
		go func() { fed <- feed(pipe, in, cancel) }()
	}
	err := cmd.Wait()
	if context.Cause(ctx) != nil {
		syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) // what is left of the group
	}
	cause := context.Cause(ctx)
	ferr := <-fed
	switch {
	case cause != nil:
		return said.String(), cause
	case err != nil && (ferr == nil || ferr == errUnread):
		return said.String(), programError(r.Prefix, argv, err, said.String())
	case ferr == errUnread:
		return said.String(), fmt.Errorf("%s: %w", argv[0], ferr)
	}
	return said.String(), ferr
}

// errUnread says that a program left some of its input.
var errUnread = errors.New("it ended before it had read everything")

// feed copies in to a program and closes its standard input. After an error of in
// the input stays open until the program is gone: its end would look like the end
// of everything.
func feed(pipe io.WriteCloser, in io.Reader, cancel context.CancelCauseFunc) error {
	buf := make([]byte, 64<<10)
	for {
		n, err := in.Read(buf)
		if n > 0 {
			if _, werr := pipe.Write(buf[:n]); werr != nil {
				return errUnread // its status says why
			}
		}
		switch {
		case err == io.EOF:
			pipe.Close()
			return nil
		case err != nil:
			err = fmt.Errorf("read what is to be restored: %w", err)
			cancel(err)
			return err
		}
	}
}

func programError(prefix, argv []string, err error, said string) error {
	name := argv[0]
	if n := len(prefix); n > 0 && n < len(argv) {
		name = strings.Join(prefix, " ") + " " + argv[n]
	}
	var exit *exec.ExitError
	if !errors.As(err, &exit) {
		return fmt.Errorf("run %s: %w", name, err)
	}
	if len(said) > maxSaid {
		said = "..." + strings.ToValidUTF8(said[len(said)-maxSaid:], "")
	}
	e := &ProgramError{Program: name, Status: exit.ExitCode(), Said: said}
	if ws, ok := exit.Sys().(syscall.WaitStatus); ok && ws.Signaled() {
		e.Signal = ws.Signal()
	}
	return e
}

// limited keeps the first maxOutput bytes.
type limited struct {
	buf  bytes.Buffer
	over bool
}

func (l *limited) Write(b []byte) (int, error) {
	if room := maxOutput - l.buf.Len(); len(b) > room {
		l.over = true
		l.buf.Write(b[:room])
		return len(b), nil
	}
	return l.buf.Write(b)
}

// tail keeps the last MaxSaid bytes.
type tail struct{ buf []byte }

func (t *tail) Write(b []byte) (int, error) {
	t.buf = append(t.buf, b[max(0, len(b)-MaxSaid):]...)
	if over := len(t.buf) - MaxSaid; over > 0 {
		t.buf = t.buf[over:]
	}
	return len(b), nil
}

func (t *tail) String() string { return strings.ToValidUTF8(string(bytes.TrimSpace(t.buf)), "\uFFFD") }
