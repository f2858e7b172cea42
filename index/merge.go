package index

import (
	"bytes"
	"fmt"
	"iter"
	"slices"

	"vault/crypto"
	"vault/pack"
)

// Merge makes few segments of many: it yields the payloads of new segments that
// hold exactly the rows of those packs in segments for which keep says true. Each
// has at most maxRows rows (1..MaxRows), or one pack; each holds its packs
// completely; their ranges of pack names are disjoint and ascending. A pack in
// several of the segments is taken over once. keep is called once a pack.
//
// The result depends on the set of rows only. Names of blobs are uniform, so every
// output spans the whole range of blob names: splitting by blob names instead would
// spread each pack over all outputs, and repeat its pack and segment rows in each.
//
// Rows are merged as a stream, once for each output: beside the inputs, memory
// holds one output and a few bytes for each pack and segment row. Iteration ends
// with the first error, which wraps crypto.ErrDamaged: an input that is not sound,
// or a pack that two inputs describe differently.
func Merge(segments []*Segment, keep func(pack.ID) bool, maxRows int) iter.Seq2[[]byte, error] {
	if maxRows < 1 || maxRows > MaxRows {
		panic(fmt.Sprintf("index: internal error: merge into %d rows", maxRows))
	}
	return func(yield func([]byte, error) bool) {
		sources, err := collect(segments, keep)
		for len(sources) > 0 && err == nil {
			var group []source
			group, sources = cut(sources, maxRows)
			var payload []byte
			if payload, err = mergeGroup(segments, group); err == nil && !yield(payload, nil) {
				return
			}
		}
		if err != nil {
			yield(nil, fmt.Errorf("merge index: %w", err))
		}
	}
}

// source says which input describes a pack.
type source struct {
	id     pack.ID
	input  int
	number int // of the pack in the input
	from   int // its segment rows, from..to-1
	to     int
	rows   int
	header int
}

// collect returns the packs to keep by name, each from the first input that has it.
func collect(segments []*Segment, keep func(pack.ID) bool) ([]source, error) {
	var all []source
	for i, s := range segments {
		if _, err := NewSegment(s.b); err != nil { // it may have been trusted
			return nil, err
		}
		all = append(all, sourcesOf(s, i)...)
	}
	slices.SortStableFunc(all, func(a, b source) int { return bytes.Compare(a.id[:], b.id[:]) })
	var kept []source
	for i := 0; i < len(all); {
		first := all[i]
		for i++; i < len(all) && all[i].id == first.id; i++ {
			if !samePack(segments, first, all[i]) {
				return nil, fmt.Errorf("pack %v: two segments differ: %w", first.id, crypto.ErrDamaged)
			}
		}
		if keep(first.id) {
			kept = append(kept, first)
		}
	}
	return kept, nil
}

func sourcesOf(s *Segment, input int) []source {
	list := make([]source, s.NumPacks())
	packOf := make([]uint32, len(s.segments)/segmentSize)
	for i := range packOf {
		packOf[i] = le.Uint32(s.segments[i*segmentSize:])
		p := &list[packOf[i]]
		if p.to == 0 {
			p.from = i
		}
		p.to = i + 1
	}
	for i := range s.n {
		list[packOf[le.Uint32(s.rows[i*rowSize+32:])]].rows++
	}
	for i := range list {
		p := s.packs[i*packSize:][:packSize]
		list[i].id, list[i].input, list[i].number = pack.ID(p[:32]), input, i
		list[i].header = int(le.Uint16(p[38:]))
	}
	return list
}

// samePack compares what two inputs say of a pack, except its blobs.
func samePack(segments []*Segment, a, b source) bool {
	s, t := segments[a.input], segments[b.input]
	p, _ := s.pack(a.number)
	q, _ := t.pack(b.number)
	if p.Size != q.Size || p.Kind != q.Kind || !bytes.Equal(p.Header, q.Header) ||
		a.rows != b.rows || a.to-a.from != b.to-b.from {
		return false
	}
	for i := range a.to - a.from {
		x := s.segments[(a.from+i)*segmentSize:][:segmentSize]
		y := t.segments[(b.from+i)*segmentSize:][:segmentSize]
		if !bytes.Equal(x[4:], y[4:]) {
			return false
		}
	}
	return true
}

// cut returns the packs of the next output, and the rest.
func cut(sources []source, maxRows int) (group, rest []source) {
	segments, rows, heap := 0, 0, 0
	for i, p := range sources {
		segments, rows, heap = segments+p.to-p.from, rows+p.rows, heap+p.header
		if i > 0 && (rows > maxRows || encodedSize(i+1, segments, rows, heap) > MaxSize) {
			return sources[:i], sources[i:]
		}
	}
	return sources, nil
}

// mergeGroup encodes the packs of one output.
func mergeGroup(segments []*Segment, group []source) ([]byte, error) {
	nsegments, rows, heap := 0, 0, 0
	for _, p := range group {
		nsegments, rows, heap = nsegments+p.to-p.from, rows+p.rows, heap+p.header
	}
	e := newEncoder(len(group), nsegments, rows, heap)
	streams := make([]stream, len(segments))
	for i, s := range segments {
		streams[i] = stream{s: s, number: make([]uint32, len(s.segments)/segmentSize)}
	}
	for _, p := range group {
		s := segments[p.input]
		info, _ := s.pack(p.number)
		e.addPack(info.ID, info.Size, info.Kind, info.Header)
		for i := p.from; i < p.to; i++ {
			g := s.segments[i*segmentSize:][:segmentSize]
			n := e.addSegment(le.Uint32(g[4:]), le.Uint32(g[8:]), le.Uint32(g[12:]), le.Uint32(g[16:])&0xffffff, pack.Codec(g[19]))
			streams[p.input].number[i] = n + 1
		}
	}
	mergeRows(e, streams)
	return e.finish()
}

// stream goes through the rows of one input that belong to a group. Packs are
// sorted by name there as here, so its rows are in order with new numbers too.
type stream struct {
	s      *Segment
	number []uint32 // new number of each segment, plus 1; 0: not in this group
	next   int
	row    []byte
	now    uint32 // new number of the row's segment
}

// advance goes to the next row and reports whether there is one.
func (t *stream) advance() bool {
	for ; t.next < t.s.n; t.next++ {
		row := t.s.rows[t.next*rowSize:][:rowSize]
		if n := t.number[le.Uint32(row[32:])]; n != 0 {
			t.row, t.now = row, n-1
			t.next++
			return true
		}
	}
	return false
}

// before orders streams by their rows. Two streams never have the same segment.
func (t *stream) before(u *stream) bool {
	if c := bytes.Compare(t.row[:32], u.row[:32]); c != 0 {
		return c < 0
	}
	return t.now < u.now
}

// mergeRows merges the streams into e with a binary heap.
func mergeRows(e *encoder, streams []stream) {
	var queue []*stream
	for i := range streams {
		if streams[i].advance() {
			queue = append(queue, &streams[i])
		}
	}
	for i := len(queue)/2 - 1; i >= 0; i-- {
		sift(queue, i)
	}
	for len(queue) > 0 {
		t := queue[0]
		e.addRow(t.row[:32], t.now, le.Uint32(t.row[36:]), le.Uint32(t.row[40:]))
		if !t.advance() {
			queue[0] = queue[len(queue)-1]
			queue = queue[:len(queue)-1]
		}
		sift(queue, 0)
	}
}

// sift moves the stream at i down to its place in the heap.
func sift(queue []*stream, i int) {
	for {
		child := 2*i + 1
		if child >= len(queue) {
			return
		}
		if child+1 < len(queue) && queue[child+1].before(queue[child]) {
			child++
		}
		if !queue[child].before(queue[i]) {
			return
		}
		queue[i], queue[child] = queue[child], queue[i]
		i = child
	}
}
