package sftp

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strings"
	"time"
)

const chunkSize = 32 << 10 // of one request; what every server takes

// raceTries is how often a Create begins anew whose target was in the way and
// then was not.
const raceTries = 4

// errAgain says that the attempt must be made anew, at once.
var errAgain = errors.New("the object vanished while it was looked at")

// Put implements [backend.Backend].
func (s *Store) Put(ctx context.Context, name string, data []byte) error {
	return s.write(ctx, "put", name, data)
}

// Create implements [backend.Backend]. When it answers fs.ErrExist, what
// exists is durable. On a server without hard links it fails with
// errors.ErrUnsupported.
func (s *Store) Create(ctx context.Context, name string, data []byte) error {
	return s.write(ctx, "create", name, data)
}

// upload stores one object, in one or several attempts.
type upload struct {
	s         *Store
	rel       string // the object's directory below the repository's
	target    string // path on the server
	data      []byte
	exclusive bool // the target must not exist

	temp    string // of the latest attempt, as long as it may exist
	sent    bool   // the target was asked for, and no answer has come
	stamp   int64  // the mark that temp was to get, Unix seconds; 0: none
	marked  bool   // and has
	decided bool   // the server has answered: verdict is nil or fs.ErrExist
	verdict error  // what is left to do is to make it durable
}

func (s *Store) write(ctx context.Context, op, name string, data []byte) error {
	if err := s.begin(ctx, op, name); err != nil {
		return err
	}
	dir, _ := path.Split(name)
	u := &upload{s: s, rel: strings.TrimSuffix(dir, "/"), target: s.file(name), data: data, exclusive: op == "create"}
	err := s.retry(ctx, func(ctx context.Context, c *conn) error {
		err := errAgain
		for n := 0; err == errAgain && n < raceTries; n++ {
			err = u.attempt(ctx, c)
		}
		return err
	})
	if u.temp != "" {
		s.sweepLater(u.temp)
	}
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) && !isContext(err) {
			err = unreachable(gone(err))
		}
		return s.failed(op, name, err)
	}
	return nil
}

// attempt goes through all steps once.
func (u *upload) attempt(ctx context.Context, c *conn) (err error) {
	s := u.s
	if u.exclusive && !c.has.hardlink && !s.single.Load() {
		return noLinks(errors.New("the server cannot create exclusively (hardlink@openssh.com)"))
	}
	if err := u.settle(ctx, c); u.decided || err != nil {
		if err == nil {
			err = u.conclude(ctx, c, nil)
		}
		return err
	}
	g, err := u.open(ctx, c)
	if err != nil {
		return err
	}
	defer g.close()
	err = u.fill(ctx, c, g)
	if err == nil {
		switch {
		case u.exclusive && c.has.hardlink:
			err = u.link(ctx, c)
		case u.exclusive:
			err = u.claim(ctx, c)
		default:
			err = u.replace(ctx, c)
		}
		if errors.Is(err, fs.ErrNotExist) {
			err = errAgain // somebody has swept the temporary file away
		}
	}
	if err == nil || errors.Is(err, fs.ErrExist) {
		u.decided, u.verdict = true, err
		return u.conclude(ctx, c, g)
	}
	if !temporary(err) && ctx.Err() == nil {
		err = s.explain(ctx, c, err)
		u.drop(ctx, c)
	}
	return err
}

// conclude makes what the server has decided durable and returns it: also
// that the object exists, since whoever was first may not have come to syncing
// the directory yet, but our caller will act on it. g holds the object's directory
// open, or is nil.
func (u *upload) conclude(ctx context.Context, c *conn, g *ground) error {
	removed := make(chan struct{})
	go func() { defer close(removed); u.drop(ctx, c) }()
	var err error
	if g != nil && g.dir != "" {
		err = dirSynced(c.sync(ctx, g.dir))
	} else if err = u.s.entryDurable(ctx, c, u.rel); err == nil {
		err = syncDir(ctx, c, u.s.dir(u.rel))
	}
	<-removed
	if err != nil {
		return err
	}
	return u.verdict
}

// replace gives the temporary file its name, which may be in use.
func (u *upload) replace(ctx context.Context, c *conn) error {
	temp := u.temp
	if c.has.posixRename {
		u.sent = true
		err := u.answered(ctx, do(ctx, c, func() error { return c.client.PosixRename(temp, u.target) }))
		if err == nil {
			u.temp = ""
		}
		return err
	}
	// RENAME of version 3 must refuse a name in use. That suffices for a new
	// name; an old one cannot be replaced without a gap.
	err := u.answered(ctx, do(ctx, c, func() error { return c.client.Rename(temp, u.target) }))
	if err != nil && !temporary(err) && ctx.Err() == nil {
		switch _, serr := lstat(ctx, c, u.target); {
		case temporary(serr):
			return serr
		case serr == nil:
			return &marked{kind: errors.ErrUnsupported, err: fmt.Errorf("replace an object without posix-rename@openssh.com: %w", err),
				hint: "the server's SFTP cannot replace files in one step; OpenSSH can"}
		}
	}
	return err
}

// link gives the temporary file its name if that is free.
func (u *upload) link(ctx context.Context, c *conn) error {
	temp := u.temp
	u.sent = true
	err := u.answered(ctx, do(ctx, c, func() error { return c.client.Link(temp, u.target) }))
	if err == nil || u.sent || errors.Is(err, fs.ErrNotExist) {
		return err
	}
	// "Failure" and "permission denied" have many reasons: look.
	info, serr := lstat(ctx, c, u.target)
	switch {
	case serr == nil && info.Mode().IsRegular():
		return fmt.Errorf("link: %w", fs.ErrExist)
	case serr == nil:
		return errors.New("something that is not a regular file is in the way")
	case !errors.Is(serr, fs.ErrNotExist):
		return serr
	case errors.Is(err, fs.ErrPermission), isUnsupported(err):
		// We have just made a file here, so that it is not about permissions.
		if u.s.single.Load() {
			return u.claim(ctx, c)
		}
		return noLinks(fmt.Errorf("hard links: %w", err))
	}
	if err = u.s.explain(ctx, c, err); isFailure(err) && !isMarked(err) {
		return u.retryLink(ctx, c, err)
	}
	return err
}

// claim gives the temporary file its name if nobody has it, as far as a look
// just before can tell.
func (u *upload) claim(ctx context.Context, c *conn) error {
	switch info, err := lstat(ctx, c, u.target); {
	case err == nil && info.Mode().IsRegular():
		return fmt.Errorf("look: %w", fs.ErrExist)
	case err == nil:
		return errors.New("something that is not a regular file is in the way")
	case !errors.Is(err, fs.ErrNotExist):
		return err
	}
	return u.replace(ctx, c)
}

func noLinks(err error) error {
	return &marked{kind: errors.ErrUnsupported, err: err,
		hint: "the server, or its file system, cannot make hard links: only a repository for a single writer is safe there"}
}

// retryLink tries once more to link: the name was in use and then was not, or
// the file system cannot link at all and does not say so.
func (u *upload) retryLink(ctx context.Context, c *conn, first error) error {
	temp := u.temp
	u.sent = true
	err := u.answered(ctx, do(ctx, c, func() error { return c.client.Link(temp, u.target) }))
	if err == nil || u.sent {
		return err
	}
	switch info, serr := lstat(ctx, c, u.target); {
	case serr == nil && info.Mode().IsRegular():
		return fmt.Errorf("link: %w", fs.ErrExist)
	case temporary(serr):
		return serr
	}
	return first
}

// answered notes that the server has decided about the target, if it has.
func (u *upload) answered(ctx context.Context, err error) error {
	if !temporary(err) && (err == nil || ctx.Err() == nil) {
		u.sent = false
	}
	return err
}

func isMarked(err error) bool {
	var m *marked
	return errors.As(err, &m)
}

// settle ends what an earlier attempt has left undecided: either it turns out
// to have stored the object, which decides the upload, or it can no longer
// change anything, since its temporary file is gone.
func (u *upload) settle(ctx context.Context, c *conn) error {
	if u.temp == "" || u.decided {
		return nil
	}
	temp := u.temp
	// A link is another name of the same file: mark one and look at the other.
	// The mark stays the same: a request over a connection that broke may be carried
	// out late.
	if u.exclusive && u.sent && !u.marked {
		if u.stamp == 0 {
			var b [4]byte
			rand.Read(b[:])
			u.stamp = 1<<30 + int64(binary.BigEndian.Uint32(b[:])>>2)
		}
		at := time.Unix(u.stamp, 0)
		switch err := do(ctx, c, func() error { return c.client.Chtimes(temp, at, at) }); {
		case err == nil:
			u.marked = true
		case !errors.Is(err, fs.ErrNotExist):
			return err
		}
	}
	switch err := do(ctx, c, func() error { return c.client.Remove(temp) }); {
	case errors.Is(err, fs.ErrNotExist):
		u.s.remember(temp) // the request that makes it may be carried out yet
	case err != nil:
		return err
	}
	if u.exclusive && u.sent { // a rename can be repeated
		landed, err := u.landed(ctx, c)
		if err != nil {
			return err
		}
		u.decided = landed
	}
	u.temp, u.sent, u.stamp, u.marked = "", false, 0, false
	return nil
}

// landed reports whether the request whose answer was lost had stored the object.
func (u *upload) landed(ctx context.Context, c *conn) (bool, error) {
	info, err := lstat(ctx, c, u.target)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return false, nil
	case err != nil:
		return false, err
	case u.stamp != 0 && info.ModTime().Unix() == u.stamp:
		return true, nil
	case u.marked:
		return false, nil
	}
	// The temporary file was gone before it could be marked: somebody has
	// swept it away.
	same, err := u.holdsData(ctx, c, info.Size())
	if err != nil || !same || u.s.single.Load() { // nobody else can have made it
		return same, err
	}
	return false, &marked{kind: nil, err: errors.New("the connection broke while the object was created, and what is there is the same: nobody can tell who has made it"),
		hint: "read the object to see whose it is"}
}

// holdsData reports whether the target holds what was to be stored.
func (u *upload) holdsData(ctx context.Context, c *conn, size int64) (bool, error) {
	if size != int64(len(u.data)) {
		return false, nil
	}
	f, err := c.open(ctx, u.target)
	if err != nil {
		return false, err
	}
	defer c.closeLater(f)
	got := fetch(ctx, c, f, 0, size)
	return bytes.Equal(got.data, u.data), got.err
}

// drop removes the temporary file. If that fails, Sweep will.
func (u *upload) drop(ctx context.Context, c *conn) {
	if u.temp == "" {
		return
	}
	temp := u.temp
	if err := do(ctx, c, func() error { return c.client.Remove(temp) }); err == nil || errors.Is(err, fs.ErrNotExist) {
		u.temp = ""
	}
}
