package sftp

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"sync/atomic"
	"time"

	"github.com/pkg/sftp"

	"vault/backend"
	"vault/internal/limit"
)

// link is a way to an SFTP server that a dialer has opened.
type link struct {
	r     io.Reader
	w     io.WriteCloser
	close func() // breaks the connection at once, whatever is under way; may run twice

	// ping asks the other side for a sign of life, and heard counts what has
	// arrived from it. Nil: only requests show whether it lives.
	ping  func() error
	heard func() int64

	// why explains a connection that broke, or nil.
	why func() error

	ready func() // is called once SFTP has started; may be nil
}

// dialer opens links. Dial is not called concurrently.
type dialer interface {
	dial(ctx context.Context, timeout time.Duration) (*link, error)
}

// features are the extensions that a server has, see PROTOCOL in the sources
// of OpenSSH.
type features struct{ hardlink, posixRename, fsync, statvfs bool }

// conn is one connection. It is safe for concurrent use.
type conn struct {
	client *sftp.Client
	aside  *aside // requests that the library does not make as we need them
	has    features
	link   *link
	ctx    context.Context // done when the connection is dead; its cause says why
	cancel context.CancelCauseFunc

	pending atomic.Int64 // requests without an answer
	moved   atomic.Int64 // bytes of SFTP, both ways
	held    atomic.Int64 // transfers that wait for the rate limit

	users int // guarded by Store.mu
}

// flow is what the connections of a store have in common.
type flow struct {
	up, down *limit.Limiter
	trace    func(string) // of what is written
	moved    atomic.Int64 // bytes of SFTP, both ways
}

// newConn starts SFTP on a link, which it closes when it fails.
func newConn(ctx context.Context, l *link, timeout time.Duration, f *flow) (*conn, error) {
	c := &conn{link: l}
	c.ctx, c.cancel = context.WithCancelCause(context.Background())
	stop := context.AfterFunc(ctx, func() { c.kill(ctx.Err()) })
	timer := time.AfterFunc(timeout, func() { c.kill(errors.New("no answer to the start of SFTP")) })
	c.aside = newAside(&meter{c: c, f: f, r: l.r, limit: f.down}, &meter{c: c, f: f, w: l.w, limit: f.up}, f.trace)
	client, err := sftp.NewClientPipe(c.aside, c.aside, sftp.UseConcurrentReads(true), sftp.MaxConcurrentRequestsPerFile(64))
	timer.Stop()
	if l.ready != nil {
		l.ready()
	}
	if !stop() && ctx.Err() != nil {
		c.kill(ctx.Err())
		return nil, ctx.Err()
	}
	if err != nil {
		c.kill(err)
		if l.why == nil {
			return nil, &lost{fmt.Errorf("start sftp: %w", err)}
		}
		if said := l.why(); said != nil {
			err = said
		}
		return nil, &dialError{mayPass: true, marked: &marked{kind: backend.ErrUnreachable, err: fmt.Errorf("start sftp: %w", err),
			hint: "check the command that was given for SFTP: it must carry SFTP on its standard input and output, and print nothing else"}}
	}
	c.client = client
	version := func(name, want string) bool {
		got, ok := client.HasExtension(name)
		return ok && got == want
	}
	c.has = features{
		hardlink:    version("hardlink@openssh.com", "1"),
		posixRename: version("posix-rename@openssh.com", "1"),
		fsync:       version("fsync@openssh.com", "1"),
		statvfs:     version("statvfs@openssh.com", "2"),
	}
	go func() {
		err := client.Wait()
		if l.why != nil && l.why() != nil {
			err = l.why()
		}
		if err == nil || err == io.EOF {
			err = errors.New("the server closed the connection")
		}
		c.kill(err)
	}()
	go c.watch(timeout)
	return c, nil
}

// kill breaks the connection; whoever waits for an answer over it stops.
func (c *conn) kill(why error) {
	c.cancel(why)
	c.link.close()
}

// hangUp ends a connection that nobody uses.
func (c *conn) hangUp() { c.kill(errors.New("closed")) }

func (c *conn) dead() bool { return c.ctx.Err() != nil }

// watch breaks the connection when it is stuck: nothing at all arrives within
// the timeout although signs of life were asked for, or no request makes any
// progress for several times as long. It counts ticks, not time: a machine
// that was suspended gives the other side as long as ever.
func (c *conn) watch(timeout time.Duration) {
	const perTimeout = 4
	tick := time.NewTicker(timeout / perTimeout)
	defer tick.Stop()
	var heard, moved int64
	var silent, stalled int
	pinging := make(chan struct{}, 1)
	for {
		select {
		case <-c.ctx.Done():
			return
		case <-tick.C:
		}
		if n := c.moved.Load(); n != moved || c.pending.Load() == 0 || c.held.Load() > 0 {
			moved, stalled = n, 0
		} else if stalled++; stalled >= perTimeout*stallFactor {
			c.kill(fmt.Errorf("the server has left a request unanswered for %v", stallFactor*timeout))
			return
		}
		if c.link.ping == nil {
			continue
		}
		if n := c.link.heard(); n != heard || c.held.Load() > 0 {
			heard, silent = n, 0
		} else if silent++; silent >= perTimeout {
			c.kill(fmt.Errorf("nothing was heard from the server for %v", timeout))
			return
		}
		select {
		case pinging <- struct{}{}:
			go func() {
				// An error is no news: a dead connection is noticed by others.
				_ = c.link.ping()
				<-pinging
			}()
		default:
		}
	}
}

// call runs one request, or a few on one file, and waits for the answer, for
// ctx or for the end of the connection. The request itself may go on after
// that: f must not use memory that is not its own.
func call[T any](ctx context.Context, c *conn, f func() (T, error)) (T, error) {
	return callOr(ctx, c, f, nil)
}

// callOr is call with a function for the result of a request that nobody
// waits for any more.
func callOr[T any](ctx context.Context, c *conn, f func() (T, error), abandoned func(T)) (T, error) {
	type result struct {
		v   T
		err error
	}
	var none T
	if err := ctx.Err(); err != nil {
		return none, err
	}
	ch := make(chan result, 1)
	c.pending.Add(1)
	go func() {
		v, err := f()
		c.pending.Add(-1)
		ch <- result{v, err}
	}()
	select {
	case r := <-ch:
		return r.v, c.judge(r.err)
	case <-ctx.Done():
	case <-c.ctx.Done():
	}
	if abandoned != nil {
		go func() {
			if r := <-ch; r.err == nil {
				abandoned(r.v)
			}
		}()
	}
	if err := ctx.Err(); err != nil {
		return none, err
	}
	return none, &lost{context.Cause(c.ctx)}
}

// do is call for requests without a result.
func do(ctx context.Context, c *conn, f func() error) error {
	_, err := call(ctx, c, func() (struct{}, error) { return struct{}{}, f() })
	return err
}

// judge tells answers of the server from failures of the connection. Whatever
// is not an answer ends the connection.
func (c *conn) judge(err error) error {
	var status *sftp.StatusError
	switch {
	case temporary(err): // it comes from the connection
	case err == nil, err == io.EOF, errors.Is(err, fs.ErrNotExist), errors.Is(err, fs.ErrPermission), errors.Is(err, fs.ErrClosed):
		return err
	case errors.As(err, &status):
		if code := status.FxCode(); error(code) != sftp.ErrSSHFxConnectionLost && error(code) != sftp.ErrSSHFxNoConnection {
			return err
		}
	}
	c.kill(err)
	if cause := context.Cause(c.ctx); cause != nil {
		err = cause
	}
	return &lost{err}
}

// meter counts and limits what passes, one way.
type meter struct {
	c     *conn
	f     *flow
	r     io.Reader
	w     io.WriteCloser
	limit *limit.Limiter
}

func (m *meter) Read(p []byte) (int, error) {
	n, err := m.r.Read(p)
	m.count(n)
	if werr := m.wait(n); werr != nil && err == nil {
		err = werr
	}
	return n, err
}

func (m *meter) Write(p []byte) (int, error) {
	if err := m.wait(len(p)); err != nil {
		return 0, err
	}
	n, err := m.w.Write(p)
	m.count(n)
	return n, err
}

func (m *meter) count(n int) {
	m.c.moved.Add(int64(n))
	m.f.moved.Add(int64(n))
}

func (m *meter) wait(n int) error {
	if m.limit == nil {
		return nil
	}
	m.c.held.Add(1)
	defer m.c.held.Add(-1)
	return m.limit.Wait(m.c.ctx, n)
}

func (m *meter) Close() error { return m.w.Close() }
