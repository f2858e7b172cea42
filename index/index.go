package index

import (
	"iter"

	"vault/crypto"
)

// Index is an immutable set of segments. It is safe for concurrent use.
//
// Its own memory is a filter of about 1.25 bytes a row. The filter is kept in
// layers of geometrically growing size, so With neither rebuilds everything nor
// lets look-ups ask many filters: there are at most about log2 of the number of
// rows, and usually one to three.
type Index struct {
	layers []*layer // by falling number of rows
	rows   int
}

// layer is some segments with one filter over their names.
type layer struct {
	filter   filter
	segments []*Segment
	rows     int
}

// New returns an Index of the segments, each of which should be given once.
func New(segments ...*Segment) *Index { return new(Index).With(segments...) }

// With returns an Index that has more segments. It shares segments and filters
// with x, which stays as it is.
func (x *Index) With(segments ...*Segment) *Index {
	var all []*Segment
	rows := 0
	for _, s := range segments {
		if s.n > 0 {
			all = append(all, s)
			rows += s.n
		}
	}
	if rows == 0 {
		return x
	}
	// Take in the layers at the end that are not much larger. So each remaining
	// one has more than twice the rows of the next, and a row is added to a
	// filter only as often as its layer doubles.
	kept := len(x.layers)
	for kept > 0 && x.layers[kept-1].rows <= 2*rows {
		kept--
		all = append(all, x.layers[kept].segments...)
		rows += x.layers[kept].rows
	}
	y := &Index{rows: rows, layers: make([]*layer, kept, kept+1)}
	copy(y.layers, x.layers)
	for _, l := range y.layers {
		y.rows += l.rows
	}
	y.layers = append(y.layers, newLayer(all, rows))
	return y
}

func newLayer(segments []*Segment, rows int) *layer {
	l := &layer{filter: newFilter(rows), segments: segments, rows: rows}
	for _, s := range segments {
		for i := range s.n {
			l.filter.add(s.rows[i*rowSize:][:16])
		}
	}
	return l
}

// Len returns the number of rows, in which a blob counts once for each location.
func (x *Index) Len() int { return x.rows }

// Segments yields all segments that have rows, in no particular order.
func (x *Index) Segments() iter.Seq[*Segment] {
	return func(yield func(*Segment) bool) {
		for _, l := range x.layers {
			for _, s := range l.segments {
				if !yield(s) {
					return
				}
			}
		}
	}
}

// Has reports whether the blob has a location.
func (x *Index) Has(id crypto.ID) bool {
	for _, l := range x.layers {
		if !l.filter.has(&id) {
			continue
		}
		for _, s := range l.segments {
			if s.Has(id) {
				return true
			}
		}
	}
	return false
}

// Lookup yields all locations of a blob. A reader must try them all before it
// calls the blob lost.
func (x *Index) Lookup(id crypto.ID) iter.Seq[Location] {
	return func(yield func(Location) bool) { x.lookup(&id, yield) }
}

func (x *Index) lookup(id *crypto.ID, yield func(Location) bool) {
	for _, l := range x.layers {
		if !l.filter.has(id) {
			continue
		}
		for _, s := range l.segments {
			if !s.lookup(id, yield) {
				return
			}
		}
	}
}

// HeapBytes returns the memory that the Index needs beside the segments' bytes.
func (x *Index) HeapBytes() int {
	n := 0
	for _, l := range x.layers {
		n += len(l.filter)*blockBits/8 + len(l.segments)*256
	}
	return n
}
