package snapshot

import (
	"context"
	"fmt"
	"io"
	"io/fs"

	"vault/crypto"
	"vault/internal/wire"
)

// Reader reads a file's bytes at any place. It keeps the data blob it used
// last, so that reading on does not fetch it again. It is for one goroutine.
type Reader struct {
	ctx  context.Context
	src  Source
	size uint64
	c    Content

	last Extent    // the extent used last; Length 0 if none
	id   crypto.ID // the blob in buf; zero if none
	buf  []byte
}

// NewReader returns a reader of the content of n, which must be a file.
func NewReader(ctx context.Context, src Source, n *Node) *Reader {
	return &Reader{ctx: ctx, src: src, size: n.Size, c: n.Content}
}

// Size returns the file's size.
func (r *Reader) Size() int64 { return int64(r.size) }

// ReadAt implements io.ReaderAt, but not for concurrent use. A blob that is not
// as long as its item says is an error.
func (r *Reader) ReadAt(p []byte, off int64) (int, error) {
	if off < 0 {
		return 0, fmt.Errorf("read file at %d: %w", off, fs.ErrInvalid)
	}
	if uint64(off) >= r.size {
		return 0, io.EOF
	}
	want := int(min(uint64(len(p)), r.size-uint64(off)))
	n := 0
	if len(r.c.Inline) > 0 {
		if uint64(len(r.c.Inline)) != r.size {
			return 0, fmt.Errorf("read file: %w: %d bytes in place of %d", wire.ErrMalformed, len(r.c.Inline), r.size)
		}
		n = copy(p[:want], r.c.Inline[off:])
	} else if at := uint64(off); at >= r.last.Offset && at-r.last.Offset < r.last.Length {
		var err error
		if n, err = r.extent(p[:want], r.last, at); err != nil {
			return n, err
		}
	}
	if n < want {
		for x, err := range Range(r.ctx, r.src, r.c, r.size, uint64(off)+uint64(n), uint64(want-n)) {
			if err != nil {
				return n, err
			}
			r.last = x
			m, err := r.extent(p[n:want], x, uint64(off)+uint64(n))
			n += m
			if err != nil {
				return n, err
			}
		}
	}
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

// extent copies the bytes of x from place at on.
func (r *Reader) extent(p []byte, x Extent, at uint64) (int, error) {
	skip := at - x.Offset
	n := int(min(uint64(len(p)), x.Length-skip))
	if x.Kind != ItemData {
		clear(p[:n])
		return n, nil
	}
	if r.id != x.ID || r.buf == nil {
		r.id = crypto.ID{}
		b, err := r.src.Get(r.ctx, crypto.BlobData, x.ID, r.buf[:0])
		if err != nil {
			return 0, fmt.Errorf("read file at %d: %w", x.Offset, err)
		}
		r.buf, r.id = b, x.ID
	}
	if uint64(len(r.buf)) != x.Length {
		return 0, fmt.Errorf("read file at %d: %w: blob %v has %d bytes, its item %d", x.Offset, wire.ErrMalformed, x.ID, len(r.buf), x.Length)
	}
	return copy(p[:n], r.buf[skip:]), nil
}
