package sftp

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"time"

	"github.com/pkg/sftp"
)

// Requests and answers (draft-ietf-secsh-filexfer-02, section 3), and which
// attributes of a file are told (section 5).
const (
	askClose, askOpenDir, askReadDir, askStat = 4, 11, 12, 17

	isStatus, isHandle, isName, isAttributes = 101, 102, 104, 105

	hasSize, hasOwner, hasMode, hasTimes, hasExtended = 1, 2, 4, 8, 1 << 31
)

// A directory is read with several requests at a time, first and at most: OpenSSH
// answers one with up to 100 entries, and only one after the last of them tells
// that there are no more.
const (
	firstReads = 2
	mostReads  = 16
)

// errMalformed says that an answer is none.
var errMalformed = errors.New("the server sends a malformed answer")

// errNothing says that a directory is missing and the one of the repository is there.
var errNothing = fmt.Errorf("nothing was stored there: %w", fs.ErrNotExist)

// readDir returns what a directory holds, as the server says. It takes two round
// trips where the library takes four, and does not wait for the closing. It may
// return errNothing if ground, the repository's directory, is given: that is
// looked at in the same round trip. To be called in [call].
func (c *conn) readDir(ctx context.Context, dir, ground string) ([]os.FileInfo, error) {
	ch, err := c.aside.ask(askOpenDir, dir)
	if err != nil {
		return nil, err
	}
	var looked <-chan answer
	if ground != "" { // later than dir, as requests of one connection are carried out in order
		if looked, err = c.aside.ask(askStat, ground); err != nil {
			return nil, err
		}
	}
	a, err := c.answered(ch)
	if err != nil {
		return nil, err
	}
	if a.kind != isHandle {
		err := statusOf(a)
		if err == fs.ErrNotExist && looked != nil && c.isDir(looked) {
			err = errNothing
		}
		return nil, err
	}
	d := decoder{a.body}
	handle := d.text()
	if d.b == nil {
		return nil, errMalformed
	}
	defer c.aside.ask(askClose, handle) // an error is the connection's, and shows elsewhere
	return c.readAll(ctx, handle)
}

// readAll reads an open directory to its end. Where answers overtake each other,
// those after the one that tells the end count as well.
func (c *conn) readAll(ctx context.Context, handle string) (list []os.FileInfo, err error) {
	for end, n := false, firstReads; !end; n = min(2*n, mostReads) {
		if ctx.Err() != nil {
			return nil, fs.ErrClosed // nobody waits
		}
		var queue []<-chan answer
		for range n {
			ch, err := c.aside.ask(askReadDir, handle)
			if err != nil {
				return nil, err
			}
			queue = append(queue, ch)
		}
		for _, ch := range queue {
			a, err := c.answered(ch)
			if err != nil {
				return nil, err
			}
			if a.kind == isName {
				if list, err = appendNames(list, a.body); err != nil {
					return nil, err
				}
			} else if err := statusOf(a); err == io.EOF {
				end = true
			} else {
				return nil, err
			}
		}
	}
	return list, nil
}

// isDir waits for an answer and reports whether it tells of a directory.
func (c *conn) isDir(ch <-chan answer) bool {
	a, err := c.answered(ch)
	if err != nil || a.kind != isAttributes {
		return false
	}
	d, e := decoder{a.body}, &entry{}
	d.attributes(e)
	return d.b != nil && e.IsDir()
}

// answered waits for an answer, or the end of the connection.
func (c *conn) answered(ch <-chan answer) (answer, error) {
	select {
	case a := <-ch:
		return a, nil
	case <-c.ctx.Done():
		return answer{}, &lost{context.Cause(c.ctx)}
	}
}

// statusOf returns the error that an answer stands for, in the library's terms.
func statusOf(a answer) error {
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

// appendNames decodes an answer that names files.
func appendNames(list []os.FileInfo, body []byte) ([]os.FileInfo, error) {
	d := decoder{body}
	for n := d.number(); n > 0 && d.b != nil; n-- {
		e := &entry{name: path.Base(d.text())}
		d.text() // the line of a listing for people
		d.attributes(e)
		if d.b != nil && e.name != "." && e.name != ".." {
			list = append(list, e)
		}
	}
	if d.b == nil {
		return nil, errMalformed
	}
	return list, nil
}

// entry is an fs.FileInfo.
type entry struct {
	name string
	size int64
	mode fs.FileMode
	time time.Time
}

func (e *entry) Name() string       { return e.name }
func (e *entry) Size() int64        { return e.size }
func (e *entry) Mode() fs.FileMode  { return e.mode }
func (e *entry) ModTime() time.Time { return e.time }
func (e *entry) IsDir() bool        { return e.mode.IsDir() }
func (e *entry) Sys() any           { return nil }

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

// attributes fills in what is told of a file. The type of one of which nothing
// is told is that of a regular file.
func (d *decoder) attributes(e *entry) {
	flags := d.number()
	if flags&hasSize != 0 {
		high := d.number()
		e.size = int64(uint64(high)<<32 | uint64(d.number()))
	}
	if flags&hasOwner != 0 {
		d.take(8)
	}
	if flags&hasMode != 0 {
		e.mode = modeOf(d.number())
	}
	if flags&hasTimes != 0 {
		d.number()
		e.time = time.Unix(int64(d.number()), 0)
	}
	if flags&hasExtended != 0 {
		for n := d.number(); n > 0 && d.b != nil; n-- {
			d.text()
			d.text()
		}
	}
}

// modeOf returns the mode that POSIX's st_mode stands for. Only regular files
// and directories matter here: any other type is an irregular one.
func modeOf(mode uint32) fs.FileMode {
	const typeBits, regular, directory, permissions = 0o170000, 0o100000, 0o040000, 0o777
	m := fs.FileMode(mode & permissions)
	switch mode & typeBits {
	case regular, 0:
		return m
	case directory:
		return m | fs.ModeDir
	}
	return m | fs.ModeIrregular
}
