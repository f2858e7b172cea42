package archive

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"

	"vault/chunk"
	"vault/crypto"
	"vault/internal/sys"
	"vault/snapshot"
)

// holeAlign is what the ends of holes are rounded to, inward; part of the format.
const holeAlign = 4096

// A cutter turns the bytes of one file after another into contents
// (docs/format.md, section 8). It is for one goroutine.
type cutter struct {
	run   *run
	sink  *sink
	min   uint64 // up to so many bytes are one chunk
	buf   []byte // room for a file of min bytes
	split *chunk.Splitter
	list  *snapshot.ContentWriter
	in    span
	lend  bool // other workers may help with this file
	loans loans
}

func newCutter(r *run, s *sink) cutter {
	return cutter{run: r, sink: s, min: uint64(max(r.o.Chunker.Params().Min, r.o.Thresholds.InlineFile)),
		list: snapshot.NewContentWriter(s, r.o.Thresholds)}
}

func (c *cutter) small() []byte {
	if c.buf == nil {
		c.buf = make([]byte, c.min)
	}
	return c.buf
}

func (c *cutter) splitter() *chunk.Splitter {
	if c.split == nil {
		c.split = c.run.o.Chunker.NewSplitter()
	}
	return c.split
}

// file reads up to size bytes of a file into n.Content and n.Size. An error of
// type *stopError is not the file's.
func (c *cutter) file(ctx context.Context, fd int, size, blocks uint64, n *snapshot.Node) error {
	n.Content, n.Size = snapshot.Content{}, 0
	single := size <= uint64(c.run.o.Chunker.Params().Min) || size <= uint64(c.run.o.Thresholds.InlineFile)
	sparse := blocks*512 < size && size >= max(1, c.run.o.Thresholds.HoleBytes)
	switch {
	case size == 0:
		return nil
	case single && !sparse:
		return c.single(ctx, fd, size, n)
	}
	defer c.reset()
	c.lend = size >= lendFrom
	err := error(nil)
	if sparse {
		err = c.sparse(ctx, fd, size)
	} else {
		err = c.span(ctx, fd, 0, size)
	}
	if err == nil {
		err = c.settle(ctx, 0)
	}
	if err != nil {
		return err
	}
	if c.list.Size() <= uint64(c.run.o.Thresholds.InlineFile) { // it shrank, or is small and sparse
		return c.single(ctx, fd, min(size, uint64(c.run.o.Thresholds.InlineFile)), n)
	}
	n.Size = c.list.Size()
	n.Content, err = c.list.Finish(ctx)
	return err
}

// single reads a file that is one chunk.
func (c *cutter) single(ctx context.Context, fd int, size uint64, n *snapshot.Node) error {
	b, err := readAt(fd, c.small()[:size], 0)
	if err != nil {
		return err
	}
	n.Size = uint64(len(b))
	c.run.looked.Add(n.Size)
	switch {
	case len(b) == 0:
		return nil
	case len(b) <= c.run.o.Thresholds.InlineFile:
		n.Content.Inline = bytes.Clone(b)
		return nil
	}
	it := snapshot.Item{Kind: snapshot.ItemZero, Length: n.Size}
	if !chunk.IsZero(b) {
		it.Kind = snapshot.ItemData
		if it.ID, err = c.sink.put(ctx, crypto.BlobData, b); err != nil {
			return err
		}
	}
	n.Content.Items = []snapshot.Item{it}
	return nil
}

// sparse adds the items of a file that may have holes: long holes, and the runs
// of data between them. A file that turns out to be shorter ends there.
func (c *cutter) sparse(ctx context.Context, fd int, size uint64) error {
	run := uint64(0) // where data that was not added yet begins
	for off := uint64(0); off < size; {
		data, err := seekData(fd, off, &size)
		if err != nil {
			return err
		}
		if data > off && data-off >= c.run.o.Thresholds.HoleBytes {
			begin := (off + holeAlign - 1) &^ (holeAlign - 1)
			if end := data &^ (holeAlign - 1); end > begin {
				if err := c.span(ctx, fd, run, begin); err != nil {
					return err
				}
				if c.list.Size()+c.loans.bytes < begin {
					return nil
				}
				c.run.looked.Add(end - begin)
				if err := c.add(ctx, snapshot.Item{Kind: snapshot.ItemHole, Length: end - begin}); err != nil {
					return err
				}
				run = end
			}
		}
		if data >= size {
			break
		}
		if off, err = seekHole(fd, data, size); err != nil {
			return err
		}
	}
	return c.span(ctx, fd, run, size)
}

// seekData returns where data begins, from off on; if there is none, the end of the
// file or size, whichever comes first, and then size is that.
func seekData(fd int, off uint64, size *uint64) (uint64, error) {
	n, err := sys.Seek(fd, int64(off), sys.SEEK_DATA)
	switch {
	case err == sys.EINVAL:
		return off, nil // the file system does not know about holes
	case err == sys.ENXIO:
		end, err := sys.Seek(fd, 0, io.SeekEnd)
		if err != nil {
			return 0, fmt.Errorf("look for the end: %w", err)
		}
		*size = min(*size, uint64(end))
		return *size, nil
	case err != nil:
		return 0, fmt.Errorf("look for data: %w", err)
	}
	return min(max(uint64(n), off), *size), nil
}

// seekHole returns where the hole after the data at off begins; size if there is
// none.
func seekHole(fd int, off, size uint64) (uint64, error) {
	n, err := sys.Seek(fd, int64(off), sys.SEEK_HOLE)
	switch {
	case err == sys.ENXIO, err == sys.EINVAL:
		return size, nil
	case err != nil:
		return 0, fmt.Errorf("look for a hole: %w", err)
	case uint64(n) <= off: // the file changed between the calls
		return size, nil
	}
	return min(uint64(n), size), nil
}

// span adds the bytes from begin to end, as chunks.
func (c *cutter) span(ctx context.Context, fd int, begin, end uint64) error {
	if begin >= end {
		return nil
	}
	c.in = span{fd: fd, off: begin, end: end}
	return c.cut(ctx, &c.in)
}

// cut adds a run of data, as chunks.
func (c *cutter) cut(ctx context.Context, r io.Reader) error {
	s := c.splitter()
	s.Reset(r)
	defer s.Reset(nil)
	for {
		if err := context.Cause(ctx); err != nil {
			return &stopError{err}
		}
		b, err := s.Next()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		c.run.looked.Add(uint64(len(b)))
		if err := c.chunk(ctx, b); err != nil {
			return err
		}
	}
}

func (c *cutter) chunk(ctx context.Context, b []byte) error {
	it := snapshot.Item{Kind: snapshot.ItemZero, Length: uint64(len(b))}
	if !chunk.IsZero(b) {
		if c.lend && c.loans.lend(c.run, b) {
			return c.settle(ctx, maxLoans)
		}
		id, err := c.sink.put(ctx, crypto.BlobData, b)
		if err != nil {
			return err
		}
		it.Kind, it.ID = snapshot.ItemData, id
	}
	return c.add(ctx, it)
}

// add adds an item after those that are still to come.
func (c *cutter) add(ctx context.Context, it snapshot.Item) error {
	if c.loans.none() {
		return c.list.Add(ctx, it)
	}
	c.loans.keep(it)
	return c.settle(ctx, maxLoans)
}

// reset forgets a file that was read, or given up.
func (c *cutter) reset() {
	c.loans.reset()
	c.list.Reset()
}

// settle adds the items that are known, in order, and waits until at most limit
// are not.
func (c *cutter) settle(ctx context.Context, limit int) error {
	for !c.loans.none() {
		it, ok, err := c.loans.first(ctx, c.loans.len() > limit)
		if err != nil {
			return &stopError{err}
		}
		if !ok {
			return nil
		}
		if err := c.list.Add(ctx, it); err != nil {
			return err
		}
	}
	return nil
}

// stream reads r to its end into n.
func (c *cutter) stream(ctx context.Context, r io.Reader, n *snapshot.Node) error {
	n.Content, n.Size = snapshot.Content{}, 0
	head := make([]byte, c.run.o.Thresholds.InlineFile+1)
	got, err := io.ReadFull(r, head)
	head = head[:got]
	switch {
	case err == io.EOF:
		return nil
	case errors.Is(err, io.ErrUnexpectedEOF):
		n.Content.Inline, n.Size = head, uint64(got)
		c.run.looked.Add(n.Size)
		return nil
	case err != nil:
		return err
	}
	defer c.reset()
	c.lend = true
	if err := c.cut(ctx, io.MultiReader(bytes.NewReader(head), r)); err != nil {
		return err
	}
	if err := c.settle(ctx, 0); err != nil {
		return err
	}
	n.Size = c.list.Size()
	n.Content, err = c.list.Finish(ctx)
	return err
}

// span is an io.Reader of part of a file. It does not use the offset of the
// descriptor.
type span struct {
	fd       int
	off, end uint64
}

// Read implements io.Reader. A file that ends early is no error.
func (s *span) Read(b []byte) (int, error) {
	if uint64(len(b)) > s.end-s.off {
		b = b[:s.end-s.off]
	}
	if len(b) == 0 {
		return 0, io.EOF
	}
	for {
		n, err := sys.Pread(s.fd, b, int64(s.off))
		switch {
		case err == sys.EINTR:
			continue
		case err != nil:
			return 0, fmt.Errorf("read at %d: %w", s.off, err)
		case n == 0:
			return 0, io.EOF
		}
		s.off += uint64(n)
		return n, nil
	}
}

// readAt fills b from an offset, or returns what there is of it. Regular files
// give all they have in one call.
func readAt(fd int, b []byte, off int64) ([]byte, error) {
	for got := 0; ; {
		n, err := sys.Pread(fd, b[got:], off+int64(got))
		switch {
		case err == sys.EINTR:
			continue
		case err != nil:
			return nil, fmt.Errorf("read: %w", err)
		}
		if got += n; n == 0 || got == len(b) {
			return b[:got], nil
		}
	}
}
