package sftp

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"sync"
	"time"

	"vault/backend"
)

// commandDialer starts a program for each connection, in a process group of its
// own. The first one may use the terminal until it has logged in.
type commandDialer struct {
	args []string
	next bool // the first has been started
}

// maxStderr is how much of a program's last words is kept.
const maxStderr = 2 << 10

// dial implements dialer. Whether a program works is seen when SFTP starts.
func (d *commandDialer) dial(context.Context, time.Duration) (*link, error) {
	cmd := exec.Command(d.args[0], d.args[1:]...)
	said := &tail{}
	cmd.Stderr = said
	cmd.WaitDelay = time.Second // its children may keep standard error open
	fail := func(err error) (*link, error) {
		return nil, &dialError{marked: &marked{kind: backend.ErrUnreachable, err: fmt.Errorf("run %s: %w", d.args[0], err), hint: "check the command that was given for SFTP"}}
	}
	w, err := cmd.StdinPipe()
	if err != nil {
		return fail(err)
	}
	r, err := cmd.StdoutPipe()
	if err != nil {
		return fail(err)
	}
	start, back := apart(cmd, !d.next)
	d.next = true
	if err := start(); err != nil {
		return fail(err)
	}
	ended := make(chan struct{})
	var once sync.Once
	stop := func() {
		once.Do(func() {
			// Wait must not run while somebody reads from the pipe; closing
			// it wakes the reader.
			w.Close()
			killAll(cmd)
			back()
			r.Close()
			go func() {
				_ = cmd.Wait()
				close(ended)
			}()
		})
	}
	return &link{r: r, w: w, close: stop, ready: back, why: func() error {
		stop()
		<-ended
		if text := said.String(); text != "" {
			return errors.New(text)
		}
		return nil
	}}, nil
}

// tail keeps the end of what is written to it.
type tail struct {
	mu  sync.Mutex
	buf []byte // guarded by mu
}

func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.buf = append(t.buf, p...)
	if over := len(t.buf) - maxStderr; over > 0 {
		t.buf = append(t.buf[:0], t.buf[over:]...)
	}
	return len(p), nil
}

// String returns the last words in one line.
func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return strings.Join(strings.Fields(strings.ToValidUTF8(string(bytes.TrimSpace(t.buf)), "?")), " ")
}
