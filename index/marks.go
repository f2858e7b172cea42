package index

import (
	"iter"
	"sync/atomic"

	"vault/crypto"
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
