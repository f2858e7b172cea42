package sftp

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"io"
	"io/fs"
	"math"
	"os"

	"github.com/pkg/sftp"
)

// A reader asks for blocks of at most blockSize, which travel as many requests
// at once, and for the next ones while one is consumed.
const (
	blockSize   = 1 << 20
	blocksAhead = 2
)

// Get implements [backend.Backend].
func (s *Store) Get(ctx context.Context, name string, off, n int64) (io.ReadCloser, error) {
	if err := s.begin(ctx, "get", name); err != nil {
		return nil, err
	}
	switch {
	case off < 0:
		return nil, s.failed("get", name, fs.ErrInvalid)
	case n > math.MaxInt64-off:
		return nil, s.failed("get", name, io.ErrUnexpectedEOF)
	}
	r := &reader{ctx: ctx, s: s, name: name, start: off, pos: off, left: n, toEnd: n < 0}
	r.seen.SetSeed(maphash.MakeSeed())
	err := s.retry(ctx, func(ctx context.Context, c *conn) error { return r.open(ctx, c) })
	if err != nil {
		return nil, s.failed("get", name, err)
	}
	return r, nil
}

// reader reads one version of an object. When the connection breaks it opens
// the object again and reads what it had read once more: if that is the same,
// and ends at the same place where it is read to the end, then all it returns
// is one version, be it the old or a new one.
type reader struct {
	ctx  context.Context
	s    *Store
	name string

	c     *conn      // nil once closed
	f     *sftp.File // nil once closed
	start int64
	pos   int64 // of the next byte to return
	left  int64 // bytes to return from there
	toEnd bool  // they are all that there are
	seen  maphash.Hash

	block []byte              // what is left of the current block
	next  []chan blockOrError // the answers that are under way, in order
	ahead int64               // where the block after those begins
}

type blockOrError struct {
	data []byte
	err  error
}

// open opens the object over c and keeps c.
func (r *reader) open(ctx context.Context, c *conn) error {
	f, err := openFile(ctx, c, r.s.file(r.name), os.O_RDONLY)
	if err != nil {
		return r.s.missing(ctx, c, err)
	}
	// A range of some bytes shows by itself whether it is there.
	if r.left <= 0 || r.toEnd {
		err = r.measure(ctx, c, f)
	}
	if err == nil && r.pos > r.start {
		err = r.again(ctx, c, f)
	}
	if err != nil {
		closeLater(c, f)
		return err
	}
	r.s.mu.Lock()
	c.users++
	r.s.mu.Unlock()
	r.c, r.f = c, f
	r.block, r.next, r.ahead = nil, nil, r.pos
	return nil
}

// measure checks a range that is empty or reaches to the end against the
// object's size.
func (r *reader) measure(ctx context.Context, c *conn, f *sftp.File) error {
	info, err := call(ctx, c, f.Stat)
	switch {
	case err != nil:
		return err
	case !info.Mode().IsRegular():
		return errors.New("not a regular file")
	case r.pos > info.Size():
		return io.ErrUnexpectedEOF
	case r.toEnd && r.pos == r.start: // nothing was returned: a new version will do
		r.left = info.Size() - r.pos
	case r.toEnd && r.left != info.Size()-r.pos:
		return errOther
	}
	return nil
}

// errOther says that an object is no longer the one that was being read.
var errOther = errors.New("the object was replaced while it was read and the connection broke")

// again reads what was returned already, and compares.
func (r *reader) again(ctx context.Context, c *conn, f *sftp.File) error {
	var sum maphash.Hash
	sum.SetSeed(r.seen.Seed())
	for at := r.start; at < r.pos; {
		b := fetch(ctx, c, f, at, min(r.pos-at, blockSize))
		if errors.Is(b.err, io.ErrUnexpectedEOF) {
			return errOther
		}
		if b.err != nil {
			return b.err
		}
		sum.Write(b.data)
		at += int64(len(b.data))
	}
	if sum.Sum64() != r.seen.Sum64() {
		return errOther
	}
	return nil
}

// fetch reads exactly n bytes, or fails.
func fetch(ctx context.Context, c *conn, f *sftp.File, off, n int64) blockOrError {
	data, err := call(ctx, c, func() ([]byte, error) {
		buf := make([]byte, n)
		n, err := f.ReadAt(buf, off)
		return buf[:n], err
	})
	switch {
	case err == nil && int64(len(data)) == n, err == io.EOF && int64(len(data)) == n:
		return blockOrError{data: data}
	case err == nil:
		return blockOrError{err: io.ErrUnexpectedEOF}
	case err != io.EOF:
		return blockOrError{err: err}
	}
	// A connection that is closing answers like a file that ends.
	if _, err := call(ctx, c, f.Stat); err != nil {
		return blockOrError{err: &lost{fmt.Errorf("read: %w", err)}}
	}
	return blockOrError{err: io.ErrUnexpectedEOF}
}

// Remaining tells backend.ReadAll how much to allocate.
func (r *reader) Remaining() int64 { return r.left }

// Read implements io.Reader.
func (r *reader) Read(p []byte) (int, error) {
	if r.f == nil {
		return 0, r.s.failed("read", r.name, fs.ErrClosed)
	}
	if err := r.ctx.Err(); err != nil {
		return 0, err
	}
	if len(p) == 0 {
		return 0, nil
	}
	if r.left == 0 {
		return 0, io.EOF
	}
	if len(r.block) == 0 {
		if err := r.refill(); err != nil {
			return 0, r.s.failed("read", r.name, err)
		}
	}
	n := copy(p, r.block)
	r.seen.Write(p[:n])
	r.block = r.block[n:]
	r.pos += int64(n)
	r.left -= int64(n)
	return n, nil
}

// refill waits for the next block, over a new connection if need be.
func (r *reader) refill() error {
	err := r.receive()
	if err == nil || !temporary(err) {
		return err
	}
	first := err
	r.drop()
	err = r.s.retry(r.ctx, func(ctx context.Context, c *conn) error {
		if err := r.open(ctx, c); err != nil {
			return err
		}
		err := r.receive()
		if err != nil {
			r.drop()
		}
		return err
	})
	if errors.Is(err, fs.ErrClosed) {
		return first // readers outlive the store, but get no new connection
	}
	return err
}

// receive takes the first of the blocks that are under way, and keeps so many
// of those after it under way.
func (r *reader) receive() error {
	if r.f == nil {
		return fs.ErrClosed
	}
	r.request()
	b := <-r.next[0]
	r.next = r.next[1:]
	if b.err != nil {
		return b.err
	}
	r.block = b.data
	r.request()
	return nil
}

// request asks for blocks until enough are under way.
func (r *reader) request() {
	for len(r.next) < blocksAhead && r.ahead < r.pos+r.left {
		ch := make(chan blockOrError, 1)
		ctx, c, f, at := r.ctx, r.c, r.f, r.ahead
		n := min(r.pos+r.left-at, blockSize)
		r.next = append(r.next, ch)
		r.ahead += n
		go func() { ch <- fetch(ctx, c, f, at, n) }()
	}
}

// drop gives up file and connection.
func (r *reader) drop() {
	if r.f == nil {
		return
	}
	closeLater(r.c, r.f)
	r.s.release(r.c)
	r.c, r.f, r.block, r.next = nil, nil, nil, nil
}

// Close implements io.Closer.
func (r *reader) Close() error {
	r.drop()
	return nil
}
