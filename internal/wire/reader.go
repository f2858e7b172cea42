package wire

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
)

// ErrMalformed is wrapped by every decoding error. The error's text adds the
// offset and what was expected there.
var ErrMalformed = errors.New("malformed encoding")

// Reader decodes a byte slice from front to back.
//
// Its error is sticky: after the first one every method returns a zero value
// and consumes nothing, so a decoder reads all fields and asks for Err or Done
// once at the end. Loops over a Count must still end early on Err, as elements
// may consume no time but a caller's memory.
//
// A Reader is a small value for one goroutine; it neither changes nor retains
// more than the slice it was given.
type Reader struct {
	b   []byte
	off int
	err error
}

// NewReader returns a Reader of b, which must not change while it is in use.
func NewReader(b []byte) *Reader { return &Reader{b: b} }

// Len returns the number of bytes not yet read.
func (r *Reader) Len() int { return len(r.b) - r.off }

// Offset returns the number of bytes read.
func (r *Reader) Offset() int { return r.off }

// Err returns the first error, or nil.
func (r *Reader) Err() error { return r.err }

// Done returns the first error, or an error if anything is left to read.
func (r *Reader) Done() error {
	if r.err == nil && r.Len() > 0 {
		r.Fail("%d trailing bytes", r.Len())
	}
	return r.err
}

// Fail records an error at the current offset, unless there is one already. It
// is for the rules that this package does not know: order, known bits, ranges.
func (r *Reader) Fail(format string, args ...any) {
	if r.err == nil {
		r.err = fmt.Errorf("%w at offset %d: %s", ErrMalformed, r.off, fmt.Sprintf(format, args...))
	}
}

// take returns the next n bytes, or nil with the error set.
func (r *Reader) take(n int, what string) []byte {
	if r.err != nil {
		return nil
	}
	if n < 0 || n > r.Len() {
		r.Fail("%s needs %d bytes, %d left", what, n, r.Len())
		return nil
	}
	v := r.b[r.off : r.off+n : r.off+n]
	r.off += n
	return v
}

// U8 reads one byte.
func (r *Reader) U8() uint8 {
	if v := r.take(1, "u8"); v != nil {
		return v[0]
	}
	return 0
}

// U16 reads two bytes, little endian.
func (r *Reader) U16() uint16 {
	if v := r.take(2, "u16"); v != nil {
		return binary.LittleEndian.Uint16(v)
	}
	return 0
}

// U32 reads four bytes, little endian.
func (r *Reader) U32() uint32 {
	if v := r.take(4, "u32"); v != nil {
		return binary.LittleEndian.Uint32(v)
	}
	return 0
}

// U64 reads eight bytes, little endian.
func (r *Reader) U64() uint64 {
	if v := r.take(8, "u64"); v != nil {
		return binary.LittleEndian.Uint64(v)
	}
	return 0
}

// Uvarint reads a minimal unsigned LEB128 integer of at most max.
func (r *Reader) Uvarint(max uint64) uint64 {
	if r.err != nil {
		return 0
	}
	v, n := decodeUvarint(r.b[r.off:])
	switch {
	case n == 0:
		r.Fail("uvarint is cut short")
	case n < 0:
		r.Fail("uvarint is not minimal or exceeds 64 bits")
	case v > max:
		r.Fail("integer %d exceeds the limit %d", v, max)
	default:
		r.off += n
		return v
	}
	return 0
}

// decodeUvarint returns the value and its length; 0 if b ends too early, -1 if
// the encoding is too long, not minimal, or overflows.
func decodeUvarint(b []byte) (uint64, int) {
	var v uint64
	for i, c := range b {
		if i == maxUvarintLen-1 && c > 1 {
			return 0, -1 // beyond 64 bits
		}
		v |= uint64(c&0x7f) << (7 * i)
		if c < 0x80 {
			if c == 0 && i > 0 {
				return 0, -1 // a shorter encoding exists
			}
			return v, i + 1
		}
	}
	return 0, 0
}

// Varint reads a minimal zigzag LEB128 integer.
func (r *Reader) Varint() int64 {
	u := r.Uvarint(math.MaxUint64)
	return int64(u>>1) ^ -int64(u&1)
}

// Fixed reads n bytes. The result aliases the input; it is nil after an error.
func (r *Reader) Fixed(n int) []byte { return r.take(n, "fixed field") }

// Copy fills dst with the next len(dst) bytes, or with zeros after an error.
func (r *Reader) Copy(dst []byte) {
	if v := r.take(len(dst), "fixed field"); v != nil || len(dst) == 0 {
		copy(dst, v)
		return
	}
	clear(dst)
}

// Bytes reads a length of at most max and that many bytes. The result aliases
// the input; it is nil after an error, and not nil if it is merely empty.
func (r *Reader) Bytes(max int) []byte {
	start := r.off
	n := r.Uvarint(limit(max))
	if r.err == nil && n > uint64(r.Len()) {
		r.off = start
		r.Fail("length %d, only %d bytes left", n, len(r.b)-start)
	}
	if r.err != nil {
		return nil
	}
	return r.take(int(n), "bytes")
}

// String is Bytes as a string of its own memory.
func (r *Reader) String(max int) string { return string(r.Bytes(max)) }

// Count reads the number of elements of a list, which is at most max. As each
// element takes at least minSize (>= 1) bytes, a count that the remaining bytes
// cannot hold is refused too: so a caller may allocate by the count.
func (r *Reader) Count(max, minSize int) int {
	if minSize < 1 {
		panic("wire: internal error: Count with elements of no size")
	}
	start := r.off
	n := r.Uvarint(limit(max))
	if r.err == nil && n > uint64(r.Len()/minSize) {
		left := r.Len()
		r.off = start
		r.Fail("%d elements of at least %d bytes, only %d bytes left", n, minSize, left)
	}
	if r.err != nil {
		return 0
	}
	return int(n)
}

func limit(max int) uint64 {
	if max < 0 {
		panic("wire: internal error: negative limit")
	}
	return uint64(max)
}
