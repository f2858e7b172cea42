// Package index answers which pack holds a blob.
//
// An index segment is a sorted table of fixed-width rows (docs/format.md, section
// 10) that is searched where it lies, in heap or mapped memory, without decoding
// it. An Index is an immutable set of segments behind a Bloom filter that answers
// most questions about new blobs. A Builder makes a segment of the packs of a
// session, Merge makes few segments of many.
//
// A segment is checked once, by NewSegment; look-ups trust nothing that could
// make them panic even so, since mapped bytes may change under them. The package
// neither reads nor seals: it sees the payload of an index object only.
package index

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"iter"

	"vault/crypto"
	"vault/pack"
)

// The layout, part of the format; integers are little endian.
//
//	 0  version u32 1 | packs u32 | segments u32 | rows u32 | heap bytes u32 | 0 u32
//	24  pack rows     name [32] | size u32 | kind u8 | 0 u8 | header length u16 | header offset in the heap u32 | 0 u32
//	    segment rows  pack u32 | offset u32 | stored u32 | raw u32 | ordinal u32, its top byte the codec
//	    blob rows     name [32] | segment u32 | offset in the plain segment u32 | length u32
//	    heap          the packs' headers
const (
	version     = 1
	headSize    = 24
	packSize    = 48
	segmentSize = 20
	rowSize     = 44

	// MaxRows is the number of blob rows that a segment may have. Any pack
	// fits: its directory holds fewer blobs.
	MaxRows = 1 << 22
	// MaxSize is the length that a segment may have.
	MaxSize = 1 << 30

	maxHeader = crypto.HeaderSize + 2048
)

// Location is one place where a blob lies.
type Location struct {
	Pack     pack.ID
	PackSize uint32
	Kind     crypto.BlobKind
	Header   []byte // of the pack; aliases the index segment, must not be changed

	// The segment within the pack, as in pack.SegmentInfo.
	SegmentOffset, Stored, Raw, Ordinal uint32
	Codec                               pack.Codec

	// The blob within the plain segment.
	Offset, Length uint32
}

// Segment returns what pack.OpenSegment needs.
func (l *Location) Segment() pack.SegmentInfo {
	return pack.SegmentInfo{Offset: l.SegmentOffset, Stored: l.Stored, Raw: l.Raw, Ordinal: l.Ordinal, Codec: l.Codec}
}

// PackInfo is what a segment pins of a pack.
type PackInfo struct {
	ID     pack.ID
	Size   uint32
	Kind   crypto.BlobKind
	Header []byte // aliases the index segment
}

// Segment is an immutable index segment. It refers to the bytes it was made of,
// which must stay as they are, and is safe for concurrent use.
type Segment struct {
	b        []byte
	packs    []byte
	segments []byte
	rows     []byte
	heap     []byte
	n        int // rows
}

var le = binary.LittleEndian

// NewSegment checks a payload completely, in one pass, and returns it as a segment:
// every rule of section 10 holds, segments lie behind each other in their packs,
// and the blobs of each segment fill it exactly. Errors wrap crypto.ErrDamaged, or
// ErrUnsupported for another version.
func NewSegment(payload []byte) (*Segment, error) {
	s, err := TrustSegment(payload)
	if err != nil {
		return nil, err
	}
	for _, check := range []func() error{s.checkPacks, s.checkSegments, s.checkRows} {
		if err := check(); err != nil {
			return nil, fmt.Errorf("index segment: %w: %w", crypto.ErrDamaged, err)
		}
	}
	return s, nil
}

// TrustSegment is NewSegment for bytes that have passed it before and are known
// not to have changed, such as an authenticated local cache: it checks the lengths
// only, in constant time. Look-ups in bytes that would not pass give wrong answers
// or none; they do not panic.
func TrustSegment(payload []byte) (*Segment, error) {
	fail := func(format string, args ...any) (*Segment, error) {
		return nil, fmt.Errorf("index segment: %w: %s", crypto.ErrDamaged, fmt.Sprintf(format, args...))
	}
	if len(payload) < headSize || len(payload) > MaxSize {
		return fail("%d bytes", len(payload))
	}
	if v := le.Uint32(payload); v != version {
		return nil, fmt.Errorf("index segment: version %d: %w", v, crypto.ErrUnsupported)
	}
	field := func(i int) int64 { return int64(le.Uint32(payload[4*i:])) }
	packs, segments, rows, heap := field(1), field(2), field(3), field(4)
	if zero := field(5); zero != 0 {
		return fail("reserved field is %d", zero)
	}
	if rows > MaxRows {
		return fail("%d rows, limit %d", rows, MaxRows)
	}
	if want := headSize + packs*packSize + segments*segmentSize + rows*rowSize + heap; want != int64(len(payload)) {
		return fail("%d packs, %d segments, %d rows and %d bytes of headers need %d bytes, not %d", packs, segments, rows, heap, want, len(payload))
	}
	s := &Segment{b: payload, n: int(rows)}
	rest := payload[headSize:]
	for _, part := range []struct {
		b    *[]byte
		size int64
	}{{&s.packs, packs * packSize}, {&s.segments, segments * segmentSize}, {&s.rows, rows * rowSize}, {&s.heap, heap}} {
		*part.b, rest = rest[:part.size:part.size], rest[part.size:]
	}
	return s, nil
}

// Bytes returns the payload that the segment was made of.
func (s *Segment) Bytes() []byte { return s.b }

// Len returns the number of rows.
func (s *Segment) Len() int { return s.n }

// NumPacks returns the number of packs.
func (s *Segment) NumPacks() int { return len(s.packs) / packSize }

// Packs yields all packs, in the order of their names.
func (s *Segment) Packs() iter.Seq[PackInfo] {
	return func(yield func(PackInfo) bool) {
		for i := range s.NumPacks() {
			if p, ok := s.pack(i); ok && !yield(p) {
				return
			}
		}
	}
}

// All yields every row, in the order of the blobs' names.
func (s *Segment) All() iter.Seq2[crypto.ID, Location] {
	return func(yield func(crypto.ID, Location) bool) {
		for i := range s.n {
			if l, ok := s.location(i); ok && !yield(s.name(i), l) {
				return
			}
		}
	}
}

// Lookup yields all locations of a blob in this segment.
func (s *Segment) Lookup(id crypto.ID) iter.Seq[Location] {
	return func(yield func(Location) bool) { s.lookup(&id, yield) }
}

// Has reports whether the segment has a location of the blob.
func (s *Segment) Has(id crypto.ID) bool {
	i := s.find(&id)
	return i < s.n && *s.nameRef(i) == id
}

// lookup passes the locations of a blob to yield and reports whether that wants
// more.
func (s *Segment) lookup(id *crypto.ID, yield func(Location) bool) bool {
	for i := s.find(id); i < s.n && *s.nameRef(i) == *id; i++ {
		if l, ok := s.location(i); ok && !yield(l) {
			return false
		}
	}
	return true
}

func (s *Segment) nameRef(i int) *crypto.ID { return (*crypto.ID)(s.rows[i*rowSize:]) }
func (s *Segment) name(i int) crypto.ID     { return *s.nameRef(i) }

// prefix returns the first 8 bytes of the name in row i, so that their order is
// the order of names.
func (s *Segment) prefix(i int) uint64 { return binary.BigEndian.Uint64(s.rows[i*rowSize:]) }

// location returns what row i says, and false if it refers to nothing.
func (s *Segment) location(i int) (l Location, ok bool) {
	row := s.rows[i*rowSize:][:rowSize]
	segment := uint64(le.Uint32(row[32:]))
	if segment >= uint64(len(s.segments)/segmentSize) {
		return l, false
	}
	g := s.segments[segment*segmentSize:][:segmentSize]
	number := uint64(le.Uint32(g))
	if number >= uint64(s.NumPacks()) {
		return l, false
	}
	p := s.packs[number*packSize:][:packSize]
	from, n := uint64(le.Uint32(p[40:])), uint64(le.Uint16(p[38:]))
	if from+n > uint64(len(s.heap)) {
		return l, false
	}
	l.Pack = pack.ID(p[:32])
	l.PackSize = le.Uint32(p[32:])
	l.Kind = crypto.BlobKind(p[36])
	l.Header = s.heap[from : from+n : from+n]
	l.SegmentOffset, l.Stored, l.Raw = le.Uint32(g[4:]), le.Uint32(g[8:]), le.Uint32(g[12:])
	l.Ordinal, l.Codec = le.Uint32(g[16:])&0xffffff, pack.Codec(g[19])
	l.Offset, l.Length = le.Uint32(row[36:]), le.Uint32(row[40:])
	return l, uint64(l.Offset)+uint64(l.Length) <= uint64(l.Raw)
}

// pack returns what pack row i says, and false if its header is not there.
func (s *Segment) pack(i int) (PackInfo, bool) {
	p := s.packs[i*packSize:][:packSize]
	from, n := uint64(le.Uint32(p[40:])), uint64(le.Uint16(p[38:]))
	if from+n > uint64(len(s.heap)) {
		return PackInfo{}, false
	}
	return PackInfo{
		ID:     pack.ID(p[:32]),
		Size:   le.Uint32(p[32:]),
		Kind:   crypto.BlobKind(p[36]),
		Header: s.heap[from : from+n : from+n],
	}, true
}

// compareRows orders blob rows by name, segment and offset.
func compareRows(a, b []byte) int {
	if c := bytes.Compare(a[:32], b[:32]); c != 0 {
		return c
	}
	for at := 32; at < 40; at += 4 {
		if x, y := le.Uint32(a[at:]), le.Uint32(b[at:]); x != y {
			if x < y {
				return -1
			}
			return 1
		}
	}
	return 0
}
