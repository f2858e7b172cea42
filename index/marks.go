package index

import (
	"iter"
	"sync/atomic"

	"vault/crypto"
	"vault/pack"
)

// Marks is a set of rows of an Index: one bit a row, so that a collection can
// tell live blobs from dead ones without holding their names. It is safe for
// concurrent use.
type Marks struct {
	x    *Index
	bits map[*Segment][]atomic.Uint64
}

// NewMarks returns an empty set.
func (x *Index) NewMarks() *Marks {
	m := &Marks{x: x, bits: make(map[*Segment][]atomic.Uint64)}
	for s := range x.Segments() {
		m.bits[s] = make([]atomic.Uint64, (s.n+63)/64)
	}
	return m
}

// Mark marks one row of the blob, always the same one, and reports whether the
// Index has the blob and whether this call was the first to mark it.
func (m *Marks) Mark(kind crypto.BlobKind, id crypto.ID) (known, first bool) {
	for _, l := range m.x.layers {
		if !l.filter.has(&id) {
			continue
		}
		for _, s := range l.segments {
			for i := s.find(&id); i < s.n && *s.nameRef(i) == id; i++ {
				if loc, ok := s.location(i); ok && loc.Kind == kind {
					bit := uint64(1) << (i % 64)
					return true, m.bits[s][i/64].Or(bit)&bit == 0
				}
			}
		}
	}
	return false, false
}

// Marked reports whether a row of the blob is marked.
func (m *Marks) Marked(kind crypto.BlobKind, id crypto.ID) bool {
	for _, l := range m.x.layers {
		if !l.filter.has(&id) {
			continue
		}
		for _, s := range l.segments {
			for i := s.find(&id); i < s.n && *s.nameRef(i) == id; i++ {
				if loc, ok := s.location(i); ok && loc.Kind == kind && m.bits[s][i/64].Load()>>(i%64)&1 == 1 {
					return true
				}
			}
		}
	}
	return false
}

// Row is a row of an Index and whether it is marked.
type Row struct {
	ID crypto.ID
	Location
	Marked bool
}

// Rows yields every row.
func (m *Marks) Rows() iter.Seq[Row] {
	return func(yield func(Row) bool) {
		for s := range m.x.Segments() {
			bits := m.bits[s]
			for i := range s.n {
				loc, ok := s.location(i)
				if ok && !yield(Row{s.name(i), loc, bits[i/64].Load()>>(i%64)&1 == 1}) {
					return
				}
			}
		}
	}
}

// RowsIn yields the rows of the packs that are wanted. Going through the others
// costs about a nanosecond a row; wanted is called once for each pack of a segment.
func (m *Marks) RowsIn(wanted func(pack.ID) bool) iter.Seq[Row] {
	return func(yield func(Row) bool) {
		for s := range m.x.Segments() {
			in := s.segmentsOf(wanted)
			if in == nil {
				continue
			}
			bits := m.bits[s]
			for i := range s.n {
				if g := le.Uint32(s.rows[i*rowSize+32:]); int(g) >= len(in) || !in[g] {
					continue
				}
				loc, ok := s.location(i)
				if ok && !yield(Row{s.name(i), loc, bits[i/64].Load()>>(i%64)&1 == 1}) {
					return
				}
			}
		}
	}
}

// segmentsOf tells for each segment row whether its pack is wanted; nil if none is.
func (s *Segment) segmentsOf(wanted func(pack.ID) bool) []bool {
	packs, some := make([]bool, s.NumPacks()), false
	for i := range packs {
		packs[i] = wanted(pack.ID(s.packs[i*packSize:][:32]))
		some = some || packs[i]
	}
	if !some {
		return nil
	}
	in := make([]bool, len(s.segments)/segmentSize)
	for i := range in {
		n := le.Uint32(s.segments[i*segmentSize:])
		in[i] = int(n) < len(packs) && packs[n]
	}
	return in
}
