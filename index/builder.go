package index

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"slices"

	"vault/crypto"
	"vault/pack"
)

// ErrFull means that a Builder has no room for a pack: encode what is there and
// add the pack to an empty one.
var ErrFull = errors.New("index segment is full")

// Builder gathers finished packs into an index segment. The zero value is empty
// and ready. It is for one goroutine.
type Builder struct {
	packs    []packEntry
	known    map[pack.ID]struct{}
	segments int
	rows     int
	heap     int
}

type packEntry struct {
	id     pack.ID
	size   int
	header []byte
	dir    pack.Directory
}

// Add adds a pack of size bytes, as pack.Builder.Finish or pack.ReadDirectory
// describe it: all its blobs, or none with an error - ErrFull if the segment would
// exceed a limit. header and dir are retained until Reset.
func (b *Builder) Add(id pack.ID, size int, header []byte, dir pack.Directory) error {
	if _, ok := b.known[id]; ok {
		return fmt.Errorf("index pack %v: added twice", id)
	}
	if len(header) < crypto.HeaderSize || len(header) > maxHeader || len(dir.Segments) == 0 {
		return fmt.Errorf("index pack %v: header of %d bytes, %d segments", id, len(header), len(dir.Segments))
	}
	rows, segments, heap := b.rows+dir.Blobs(), b.segments+len(dir.Segments), b.heap+len(header)
	if rows > MaxRows || encodedSize(len(b.packs)+1, segments, rows, heap) > MaxSize {
		return fmt.Errorf("index pack %v: %w", id, ErrFull)
	}
	if b.known == nil {
		b.known = make(map[pack.ID]struct{})
	}
	b.known[id] = struct{}{}
	b.packs = append(b.packs, packEntry{id, size, header, dir})
	b.rows, b.segments, b.heap = rows, segments, heap
	return nil
}

// Rows returns the number of blob rows so far.
func (b *Builder) Rows() int { return b.rows }

// Packs returns the number of packs so far.
func (b *Builder) Packs() int { return len(b.packs) }

// Reset forgets all packs.
func (b *Builder) Reset() {
	clear(b.packs)
	*b = Builder{packs: b.packs[:0]}
}

// Encode returns the segment's payload, checked as a reader would. It depends on
// the set of packs only, not on the order in which they were added.
func (b *Builder) Encode() []byte {
	packs := slices.Clone(b.packs)
	slices.SortFunc(packs, func(x, y packEntry) int { return bytes.Compare(x.id[:], y.id[:]) })
	e := newEncoder(len(packs), b.segments, b.rows, b.heap)
	rows := make([]blobRow, 0, b.rows)
	for _, p := range packs {
		e.addPack(p.id, uint32(p.size), p.dir.Kind, p.header)
		for _, g := range p.dir.Segments {
			segment := e.addSegment(g.Offset, g.Stored, g.Raw, g.Ordinal, g.Codec)
			offset := uint32(0)
			for i := range g.Blobs {
				rows = append(rows, blobRow{&g.Blobs[i].ID, segment, offset, g.Blobs[i].Length})
				offset += g.Blobs[i].Length
			}
		}
	}
	slices.SortFunc(rows, func(x, y blobRow) int {
		return cmp.Or(bytes.Compare(x.id[:], y.id[:]), cmp.Compare(x.segment, y.segment), cmp.Compare(x.offset, y.offset))
	})
	for _, r := range rows {
		e.addRow(r.id[:], r.segment, r.offset, r.length)
	}
	payload, err := e.finish()
	if err != nil {
		panic("index: internal error: " + err.Error())
	}
	return payload
}

type blobRow struct {
	id                      *crypto.ID
	segment, offset, length uint32
}

// encodedSize returns the length of a payload.
func encodedSize(packs, segments, rows, heap int) int {
	return headSize + packs*packSize + segments*segmentSize + rows*rowSize + heap
}

// encoder fills a payload of known size, each of its four tables in order.
type encoder struct {
	b                          []byte
	pack, segment, row, heap   int    // where the next one goes
	packs, segments, heapBytes uint32 // how much there is so far
}

func newEncoder(packs, segments, rows, heap int) *encoder {
	b := make([]byte, encodedSize(packs, segments, rows, heap))
	for i, v := range []int{version, packs, segments, rows, heap, 0} {
		le.PutUint32(b[4*i:], uint32(v))
	}
	e := &encoder{b: b, pack: headSize}
	e.segment = e.pack + packs*packSize
	e.row = e.segment + segments*segmentSize
	e.heap = e.row + rows*rowSize
	return e
}

// addPack adds a pack; the segments added next are its.
func (e *encoder) addPack(id pack.ID, size uint32, kind crypto.BlobKind, header []byte) {
	p := e.b[e.pack:][:packSize]
	copy(p, id[:])
	le.PutUint32(p[32:], size)
	p[36] = byte(kind)
	le.PutUint16(p[38:], uint16(len(header)))
	le.PutUint32(p[40:], e.heapBytes)
	e.heap += copy(e.b[e.heap:], header)
	e.heapBytes += uint32(len(header))
	e.pack += packSize
	e.packs++
}

// addSegment adds a segment of the last pack and returns its number.
func (e *encoder) addSegment(offset, stored, raw, ordinal uint32, codec pack.Codec) uint32 {
	g := e.b[e.segment:][:segmentSize]
	le.PutUint32(g, e.packs-1)
	le.PutUint32(g[4:], offset)
	le.PutUint32(g[8:], stored)
	le.PutUint32(g[12:], raw)
	le.PutUint32(g[16:], ordinal|uint32(codec)<<24)
	e.segment += segmentSize
	e.segments++
	return e.segments - 1
}

func (e *encoder) addRow(name []byte, segment, offset, length uint32) {
	row := e.b[e.row:][:rowSize]
	copy(row, name)
	le.PutUint32(row[32:], segment)
	le.PutUint32(row[36:], offset)
	le.PutUint32(row[40:], length)
	e.row += rowSize
}

// finish returns the payload after reading it as others will.
func (e *encoder) finish() ([]byte, error) {
	if _, err := NewSegment(e.b); err != nil {
		return nil, err
	}
	return e.b, nil
}
