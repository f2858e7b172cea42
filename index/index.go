package index

import (
	"iter"
	"slices"

	"vault/crypto"
)

// Index is an immutable set of segments. It is safe for concurrent use.
//
// Its own memory is a filter of about 1.25 bytes a row, and at most 1.67 where
// [Index.WithOnly] has left segments out. The filter is kept in layers of
// geometrically growing size, so With neither rebuilds everything nor lets
// look-ups ask many filters: there are at most about log2 of the number of
// rows, and usually one to three. Indexes made of one another share the layers
// that they have in common, so that holding several costs little more than one.
type Index struct {
	layers []*layer // by falling size of their filters
	rows   int
}

// layer is some segments with one filter over their names. It never changes.
type layer struct {
	filter   filter
	segments []*Segment
	names    int // that the filter was made of: the rows of segments, and those of a few that were left out
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
	for kept > 0 && x.layers[kept-1].names <= 2*rows {
		kept--
		all = append(all, x.layers[kept].segments...)
		rows += count(x.layers[kept].segments)
	}
	return newIndex(append(slices.Clip(x.layers[:kept]), newLayer(all, rows)))
}

// WithOnly returns an Index of exactly these segments, each of which should be
// given once. It is x if that has them already, and shares with x as much as the
// two have in common: only what was added costs work and memory, and a filter is
// made anew when more than a quarter of the names in it belong to segments that
// have gone. x stays as it is.
func (x *Index) WithOnly(segments ...*Segment) *Index {
	held := make(map[*Segment]bool, len(segments)) // the wanted ones, and whether a layer has them
	for _, s := range segments {
		held[s] = false
	}
	gone := func(s *Segment) bool { _, wanted := held[s]; return !wanted }
	var layers []*layer
	same := true
	for _, l := range x.layers {
		if slices.ContainsFunc(l.segments, gone) {
			same = false
			rest := slices.DeleteFunc(slices.Clone(l.segments), gone)
			if 4*count(rest) < 3*l.names {
				continue // what is wanted of it goes into another layer
			}
			l = &layer{filter: l.filter, segments: rest, names: l.names}
		}
		layers = append(layers, l)
		for _, s := range l.segments {
			held[s] = true
		}
	}
	if !same {
		x = newIndex(layers)
	}
	return x.With(slices.DeleteFunc(slices.Clone(segments), func(s *Segment) bool { return held[s] })...)
}

func newIndex(layers []*layer) *Index {
	x := &Index{layers: layers}
	for _, l := range layers {
		x.rows += count(l.segments)
	}
	return x
}

// count returns the number of rows that the segments have together.
func count(segments []*Segment) (rows int) {
	for _, s := range segments {
		rows += s.n
	}
	return rows
}

func newLayer(segments []*Segment, rows int) *layer {
	l := &layer{filter: newFilter(rows), segments: segments, names: rows}
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
