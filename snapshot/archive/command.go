package archive

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"time"

	"vault/internal/sys"
	"vault/snapshot"
)

const (
	stderrTail  = 2 << 10 // bytes of standard error kept for the message
	pipeBytes   = 1 << 20 // asked for the pipe; the system may give less
	shellBinary = "/bin/sh"
)

// killAfter is the time from SIGTERM to SIGKILL. Tests shorten it.
var killAfter = 3 * time.Second

// Command is an Opener that runs a program and reads its standard output. The
// program has its own process group, no standard input, and the working
// directory Dir or that of this process. It must end with status 0.
// Env is not recorded, so it may hold secrets.
//
// When the context ends the group gets SIGTERM, and SIGKILL three seconds later.
// Processes that left the group are not reached.
type Command struct {
	Argv  []string // program and arguments, or
	Shell string   // a script for /bin/sh -c
	Env   []string // added to the environment, "key=value"
	Dir   string

	// Credential is as whom the program runs; nil is who runs this process.
	Credential *sys.Credential
}

// Describe implements Source.
func (c Command) Describe() (snapshot.VolumeKind, string) {
	if c.Shell != "" {
		return snapshot.VolumeCommand, c.Shell
	}
	quoted := make([]string, len(c.Argv))
	for i, a := range c.Argv {
		quoted[i] = quote(a)
	}
	return snapshot.VolumeCommand, strings.Join(quoted, " ")
}

// quote writes an argument so that a shell would read it back.
func quote(s string) string {
	plain := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("-_./=:,@%+", r)
	}
	if s != "" && strings.TrimFunc(s, plain) == "" {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}

// Open implements Opener: it starts the program.
func (c Command) Open(ctx context.Context) (io.ReadCloser, error) {
	argv := c.Argv
	if c.Shell != "" {
		argv = []string{shellBinary, "-c", c.Shell}
	}
	if len(argv) == 0 || argv[0] == "" {
		return nil, errors.New("no command given")
	}
	p := &process{ctx: ctx, killed: make(chan struct{})}
	p.cmd = exec.Command(argv[0], argv[1:]...)
	p.cmd.Dir = c.Dir
	p.cmd.Env = append(os.Environ(), c.Env...)
	p.cmd.Stderr = &p.stderr
	p.cmd.WaitDelay = killAfter
	sys.Group(p.cmd, c.Credential)
	r, w, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("make a pipe: %w", err)
	}
	p.out = r
	p.cmd.Stdout = w
	if conn, err := r.SyscallConn(); err == nil {
		conn.Control(func(fd uintptr) { sys.GrowPipe(fd, pipeBytes) })
	}
	err = p.cmd.Start()
	w.Close()
	if err != nil {
		r.Close()
		return nil, fmt.Errorf("start command: %w", err)
	}
	p.stop = context.AfterFunc(ctx, p.kill)
	return p, nil
}

// process is a running command.
type process struct {
	ctx    context.Context
	cmd    *exec.Cmd
	out    *os.File
	stderr tail
	stop   func() bool   // of the watch over ctx
	killed chan struct{} // closed when kill has returned
	late   time.Time     // when patience ends; set by kill
}

func (p *process) Read(b []byte) (int, error) { return p.out.Read(b) }

// kill ends the process group, politely at first, and then the reading.
func (p *process) kill() {
	defer close(p.killed)
	sys.Terminate(p.cmd)
	// The pipe ends when its last writer does. Who ignores the signal keeps it
	// open, so reading ends on its own.
	p.late = time.Now().Add(killAfter)
	p.out.SetReadDeadline(p.late)
}

// Close waits for the program and says how it ended, if not well. It is called
// after the end of its output, or early because of an error elsewhere.
func (p *process) Close() error {
	p.out.Close() // who still writes gets SIGPIPE
	waited := make(chan error, 1)
	go func() { waited <- p.cmd.Wait() }()
	err := p.wait(waited)
	if !p.stop() {
		<-p.killed
	}
	switch {
	case p.ctx.Err() != nil:
		sys.Kill(p.cmd) // what is left of the group
		return context.Cause(p.ctx)
	case err == nil, errors.Is(err, exec.ErrWaitDelay):
		return nil // a daemon that it left behind may hold standard error
	}
	return p.describe(err)
}

// wait returns when the program has ended, which the end of ctx enforces.
func (p *process) wait(waited <-chan error) error {
	select {
	case err := <-waited:
		return err
	case <-p.killed:
	}
	late := time.NewTimer(time.Until(p.late))
	defer late.Stop()
	select {
	case err := <-waited:
		return err
	case <-late.C:
		sys.Kill(p.cmd)
	}
	return <-waited
}

func (p *process) describe(err error) error {
	said := ""
	if s := p.stderr.String(); s != "" {
		said = ": " + s
	}
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		if number, name, ok := sys.Signalled(exit.Sys()); ok {
			return fmt.Errorf("command was killed by signal %d (%s)%s", number, name, said)
		}
		return fmt.Errorf("command exited with status %d%s", exit.ExitCode(), said)
	}
	return fmt.Errorf("wait for command: %w%s", err, said)
}

// tail keeps the last bytes written to it.
type tail struct {
	buf     []byte
	dropped bool
}

func (t *tail) Write(b []byte) (int, error) {
	n := len(b)
	if over := len(t.buf) + len(b) - stderrTail; over > 0 {
		t.dropped = true
		if over >= len(t.buf) {
			b = b[max(0, len(b)-stderrTail):]
			t.buf = t.buf[:0]
		} else {
			t.buf = append(t.buf[:0], t.buf[over:]...)
		}
	}
	t.buf = append(t.buf, b...)
	return n, nil
}

// String returns what was kept, without white space at the ends.
func (t *tail) String() string {
	s := string(bytes.TrimSpace(t.buf))
	if t.dropped {
		s = "..." + s
	}
	return strings.ToValidUTF8(s, "\uFFFD")
}
