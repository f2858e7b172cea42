package sftp

import (
	"context"
	"errors"
	"hash/maphash"
	"io"
	"io/fs"
	"math"
)

// A reader asks for blocks of at most blockSize, which travel as many requests
// at once, and for the next ones while one is consumed. The size of an object that
// is wanted to its end is asked for together with its first bytes, which are all
// of most records: opened and read, those take two round trips.
const (
	blockSize   = 1 << 20
	blocksAhead = 2
	headSize    = chunkSize
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

	c     *conn  // nil once closed
	f     string // handle
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
	f, err := c.open(ctx, r.s.file(r.name))
	if err != nil {
		return r.s.missing(ctx, c, err)
	}
	r.block, r.next, r.ahead = nil, nil, r.pos
	// A range of some bytes shows by itself whether it is there.
	if r.left <= 0 || r.toEnd {
		err = r.measure(ctx, c, f)
	}
	if err == nil && r.pos > r.start {
		err = r.again(ctx, c, f)
	}
	if err != nil {
		c.closeLater(f)
		return err
	}
	r.s.mu.Lock()
	c.users++
	r.s.mu.Unlock()
	r.c, r.f = c, f
	return nil
}

// measure checks a range that is empty or reaches to the end against the
// object's size, and may take its first block.
func (r *reader) measure(ctx context.Context, c *conn, f string) error {
	head := make(chan blockOrError, 1)
	if r.toEnd && r.pos == r.start { // nothing was returned: a new version will do
		r.left = -1
		at := r.pos
		go func() {
			data, err := call(ctx, c, func() ([]byte, error) { return c.readSome(f, at, headSize) })
			head <- blockOrError{data, err}
		}()
	}
	info, err := c.fstat(ctx, f)
	switch {
	case err != nil:
		return err
	case !info.Mode().IsRegular():
		return errors.New("not a regular file")
	case r.pos > info.Size():
		return io.ErrUnexpectedEOF
	case r.left < 0:
		r.left = info.Size() - r.pos
		r.take(<-head)
	case r.toEnd && r.left != info.Size()-r.pos:
		return errOther
	}
	return nil
}

// take makes the head of an object the block that comes next, if it is what the
// object's size says. Whatever kept it from coming is met again by who asks once more.
func (r *reader) take(head blockOrError) {
	if n := int64(len(head.data)); n > 0 && n == min(r.left, headSize) {
		ready := make(chan blockOrError, 1)
		ready <- head
		r.next, r.ahead = append(r.next, ready), r.pos+n
	}
}

// errOther says that an object is no longer the one that was being read.
var errOther = errors.New("the object was replaced while it was read and the connection broke")

// again reads what was returned already, and compares.
func (r *reader) again(ctx context.Context, c *conn, f string) error {
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

// fetch reads exactly n bytes, or fails: with what there is and
// io.ErrUnexpectedEOF where the object ends before.
func fetch(ctx context.Context, c *conn, f string, off, n int64) blockOrError {
	data, err := call(ctx, c, func() ([]byte, error) { return c.readAt(f, off, int(n)) })
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	return blockOrError{data, err}
}

// readSome reads n bytes at most with one request. An end of the file is io.EOF.
func (c *conn) readSome(handle string, off int64, n int) ([]byte, error) {
	a, err := c.ask(readRequest(handle, off, n))
	if err != nil {
		return nil, err
	}
	return dataOf(a, n)
}

// dataOf returns the bytes that an answer gives, one at least and n at most.
func dataOf(a answer, n int) ([]byte, error) {
	if a.kind != isData {
		return nil, failureOf(a)
	}
	d := decoder{a.body}
	data := d.take(uint64(d.number()))
	if len(data) == 0 || len(data) > n {
		return nil, errMalformed
	}
	return data, nil
}

// readAt reads n bytes with requests of chunkSize that are made at once, and
// those again of which a server has answered a part. Where the file ends before,
// it returns what there is and io.EOF.
func (c *conn) readAt(handle string, off int64, n int) ([]byte, error) {
	type piece struct {
		at, end int
		ch      <-chan answer
	}
	var queue []piece
	want := func(at, end int) error {
		ch, err := c.send(readRequest(handle, off+int64(at), end-at))
		queue = append(queue, piece{at, end, ch})
		return err
	}
	for at := 0; at < n; at += chunkSize {
		if err := want(at, min(n, at+chunkSize)); err != nil {
			return nil, err
		}
	}
	buf, ends := make([]byte, n), n
	for ; len(queue) > 0; queue = queue[1:] {
		p := queue[0]
		a, err := c.answered(p.ch)
		if err != nil {
			return nil, err
		}
		data, err := dataOf(a, p.end-p.at)
		if err == io.EOF {
			ends = min(ends, p.at)
			continue
		}
		if err != nil {
			return nil, err
		}
		p.at += copy(buf[p.at:], data)
		if p.at < p.end {
			if err := want(p.at, p.end); err != nil {
				return nil, err
			}
		}
	}
	if ends < n {
		return buf[:ends], io.EOF
	}
	return buf, nil
}

// Remaining tells backend.ReadAll how much to allocate.
func (r *reader) Remaining() int64 { return r.left }

// Read implements io.Reader.
func (r *reader) Read(p []byte) (int, error) {
	if r.c == nil {
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
	if r.c == nil {
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
	if r.c == nil {
		return
	}
	r.c.closeLater(r.f)
	r.s.release(r.c)
	r.c, r.block, r.next = nil, nil, nil
}

// Close implements io.Closer.
func (r *reader) Close() error {
	r.drop()
	return nil
}
