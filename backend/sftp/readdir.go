package sftp

import (
	"context"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"time"
)

// A directory is read with several requests at a time, first and at most: OpenSSH
// answers one with up to 100 entries, and only one after the last of them tells
// that there are no more.
const (
	firstReads = 2
	mostReads  = 16
)

// errNothing says that a directory is missing and the one of the repository is there.
var errNothing = fmt.Errorf("nothing was stored there: %w", fs.ErrNotExist)

// readDir returns what a directory holds, as the server says. It takes two round
// trips where the library takes four, and does not wait for the closing. It may
// return errNothing if ground, the repository's directory, is given: that is
// looked at in the same round trip. To be called in [call].
func (c *conn) readDir(ctx context.Context, dir, ground string) ([]os.FileInfo, error) {
	ch, err := c.send(newRequest(nil, askOpenDir, dir))
	if err != nil {
		return nil, err
	}
	var looked <-chan answer
	if ground != "" { // later than dir, as requests of one connection are carried out in order
		if looked, err = c.send(newRequest(nil, askStat, ground)); err != nil {
			return nil, err
		}
	}
	a, err := c.answered(ch)
	if err != nil {
		return nil, err
	}
	handle, err := handleOf(a)
	if err == fs.ErrNotExist && looked != nil && c.isDir(looked) {
		err = errNothing
	}
	if err != nil {
		return nil, err
	}
	defer c.send(newRequest(nil, askClose, handle)) // an error is the connection's, and shows elsewhere
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
			ch, err := c.send(newRequest(nil, askReadDir, handle))
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
			} else if err := failureOf(a); err == io.EOF {
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
	if err != nil {
		return false
	}
	e, err := attributesOf(a)
	return err == nil && e.IsDir()
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
