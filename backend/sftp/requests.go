package sftp

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"

	"github.com/pkg/sftp"
)

// Requests and answers, and which attributes of a file are told
// (draft-ietf-secsh-filexfer-02, sections 3 and 5), and what a file is opened for
// (section 6.3).
const (
	askOpen, askClose, askRead, askWrite, askFstat, askSetStat, askFsetStat = 3, 4, 5, 6, 8, 9, 10
	askOpenDir, askReadDir, askRemove, askMkdir, askStat, askExtended       = 11, 12, 13, 14, 17, 200

	isStatus, isHandle, isData, isName, isAttributes = 101, 102, 103, 104, 105

	hasSize, hasOwner, hasMode, hasTimes, hasExtended = 1, 2, 4, 8, 1 << 31

	toRead, toMake = 1, 2 | 8 | 32 // to write, made, and by nobody else
)

// Modes of what is made.
const (
	fileMode = 0o600
	dirMode  = 0o700
)

// errMalformed says that an answer is none.
var errMalformed = errors.New("the server sends a malformed answer")

// request is a packet of ours. [aside.send] fills in its length and its id.
type request []byte

// newRequest begins a request of that type, in room, whose arguments begin with texts.
func newRequest(room []byte, kind byte, texts ...string) request {
	q := append(request(room), 0, 0, 0, 0, kind, 0, 0, 0, 0)
	for _, s := range texts {
		q = append(q.number(uint32(len(s))), s...)
	}
	return q
}

func (q request) number(n ...uint32) request {
	for _, n := range n {
		q = binary.BigEndian.AppendUint32(q, n)
	}
	return q
}

func (q request) offset(n int64) request { return binary.BigEndian.AppendUint64(q, uint64(n)) }

func openRequest(name string, flags uint32) request {
	q := newRequest(nil, askOpen, name).number(flags)
	if flags == toMake {
		return q.number(hasMode, fileMode)
	}
	return q.number(0)
}

func mkdirRequest(dir string) request {
	return newRequest(nil, askMkdir, dir).number(hasMode, dirMode)
}

func writeRequest(room []byte, handle string, off int64, data []byte) request {
	return append(newRequest(room, askWrite, handle).offset(off).number(uint32(len(data))), data...)
}

func readRequest(handle string, off int64, n int) request {
	return newRequest(nil, askRead, handle).offset(off).number(uint32(n))
}

func syncRequest(handle string) request {
	return newRequest(nil, askExtended, "fsync@openssh.com", handle)
}

// send sends a request. To be called in [call], since it waits as long as the
// connection takes no more.
func (c *conn) send(q request) (<-chan answer, error) { return c.aside.send(q) }

// answered waits for an answer, or the end of the connection.
func (c *conn) answered(ch <-chan answer) (answer, error) {
	select {
	case a := <-ch:
		return a, nil
	case <-c.ctx.Done():
		return answer{}, &lost{context.Cause(c.ctx)}
	}
}

// ask is send and answered.
func (c *conn) ask(q request) (answer, error) {
	ch, err := c.send(q)
	if err != nil {
		return answer{}, err
	}
	return c.answered(ch)
}

// open opens a file or directory and returns its handle. One that comes too late is closed.
func (c *conn) open(ctx context.Context, name string) (string, error) {
	return callOr(ctx, c, func() (string, error) {
		a, err := c.ask(openRequest(name, toRead))
		if err != nil {
			return "", err
		}
		return handleOf(a)
	}, c.closeLater)
}

// sync makes the file or directory of a handle durable.
func (c *conn) sync(ctx context.Context, handle string) error {
	return do(ctx, c, func() error {
		a, err := c.ask(syncRequest(handle))
		if err != nil {
			return err
		}
		return verdictOf(a)
	})
}

// fstat returns what the file of a handle is.
func (c *conn) fstat(ctx context.Context, handle string) (*entry, error) {
	return call(ctx, c, func() (*entry, error) {
		a, err := c.ask(newRequest(nil, askFstat, handle))
		if err != nil {
			return nil, err
		}
		return attributesOf(a)
	})
}

// closeLater closes a handle whose closing cannot fail in a way that matters.
func (c *conn) closeLater(handle string) {
	c.pending.Add(1)
	go func() {
		defer c.pending.Add(-1)
		_, _ = c.ask(newRequest(nil, askClose, handle))
	}()
}

// handleOf returns the handle that an answer gives.
func handleOf(a answer) (string, error) {
	if a.kind != isHandle {
		return "", failureOf(a)
	}
	d := decoder{a.body}
	handle := d.text()
	if d.b == nil {
		return "", errMalformed
	}
	return handle, nil
}

// attributesOf returns what an answer tells of a file.
func attributesOf(a answer) (*entry, error) {
	if a.kind != isAttributes {
		return nil, failureOf(a)
	}
	d, e := decoder{a.body}, &entry{}
	d.attributes(e)
	if d.b == nil {
		return nil, errMalformed
	}
	return e, nil
}

// verdictOf returns nil if an answer says that what was asked for is done.
func verdictOf(a answer) error {
	if d := (decoder{a.body}); a.kind == isStatus && len(a.body) >= 4 && d.number() == 0 {
		return nil
	}
	return failureOf(a)
}

// failureOf returns the error that an answer stands for, in the library's terms.
func failureOf(a answer) error {
	if a.kind != isStatus || len(a.body) < 4 {
		return errMalformed
	}
	d := decoder{a.body}
	code := d.number()
	said := d.text()
	switch err := (&sftp.StatusError{Code: code}); error(err.FxCode()) {
	case sftp.ErrSSHFxOk:
		return errMalformed // what was asked for is no mere yes
	case sftp.ErrSSHFxEOF:
		return io.EOF
	case sftp.ErrSSHFxNoSuchFile:
		return fs.ErrNotExist
	case sftp.ErrSSHFxPermissionDenied:
		return fs.ErrPermission
	default:
		return fmt.Errorf("%q: %w", said, err)
	}
}

// decoder takes values off the front of b, which is nil after one that is not
// there, and never nil before.
type decoder struct{ b []byte }

func (d *decoder) take(n uint64) []byte {
	if d.b == nil || uint64(len(d.b)) < n {
		d.b = nil
		return nil
	}
	v := d.b[:n]
	d.b = d.b[n:]
	return v
}

func (d *decoder) number() uint32 {
	if v := d.take(4); v != nil {
		return binary.BigEndian.Uint32(v)
	}
	return 0
}

func (d *decoder) text() string { return string(d.take(uint64(d.number()))) }
