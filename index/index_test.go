package index

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"

	"vault/crypto"
	"vault/pack"
)

// testPack is a pack that exists only as what an index holds of it.
type testPack struct {
	id     pack.ID
	size   int
	header []byte
	dir    pack.Directory
}

// randomPack makes a pack of up to segments segments of up to blobs blobs. A blob
// is new, or one of known.
func randomPack(rng *rand.Rand, segments, blobs int, known []crypto.ID) testPack {
	p := testPack{header: make([]byte, crypto.HeaderSize)}
	fill(rng, p.id[:])
	fill(rng, p.header)
	p.dir.Kind = crypto.BlobData + crypto.BlobKind(rng.IntN(2))
	at := uint32(len(p.header))
	for i := range 1 + rng.IntN(segments) {
		s := pack.SegmentInfo{Offset: at, Ordinal: uint32(i)}
		for range 1 + rng.IntN(blobs) {
			b := pack.Blob{Length: 1 + rng.Uint32N(5000)}
			if len(known) > 0 && rng.IntN(5) == 0 {
				b.ID = known[rng.IntN(len(known))]
			} else {
				fill(rng, b.ID[:])
			}
			s.Raw += b.Length
			s.Blobs = append(s.Blobs, b)
		}
		s.Stored = s.Raw + pack.Overhead
		if rng.IntN(2) == 0 {
			s.Codec, s.Stored = pack.Zstd, s.Raw/2+pack.Overhead+1
		}
		if s.Codec == pack.Zstd && s.Stored >= s.Raw+pack.Overhead {
			s.Codec, s.Stored = pack.Stored, s.Raw+pack.Overhead
		}
		at += s.Stored
		p.dir.Segments = append(p.dir.Segments, s)
	}
	p.size = crypto.PaddedSize(int(at) + len(p.dir.Encode()) + 48)
	return p
}

func fill(rng *rand.Rand, b []byte) {
	for i := range b {
		b[i] = byte(rng.Uint32())
	}
}

// model is what an index is compared with.
type model map[crypto.ID][]Location

func (m model) add(p testPack) {
	for _, s := range p.dir.Segments {
		at := uint32(0)
		for _, b := range s.Blobs {
			m[b.ID] = append(m[b.ID], Location{
				Pack: p.id, PackSize: uint32(p.size), Kind: p.dir.Kind, Header: p.header,
				SegmentOffset: s.Offset, Stored: s.Stored, Raw: s.Raw, Ordinal: s.Ordinal, Codec: s.Codec,
				Offset: at, Length: b.Length,
			})
			at += b.Length
		}
	}
}

func (m model) rows() (n int) {
	for _, l := range m {
		n += len(l)
	}
	return n
}

func (m model) ids() []crypto.ID {
	var ids []crypto.ID
	for id := range m {
		ids = append(ids, id)
	}
	slices.SortFunc(ids, crypto.ID.Compare)
	return ids
}

func compareLocations(a, b Location) int {
	return cmp.Or(bytes.Compare(a.Pack[:], b.Pack[:]), cmp.Compare(a.Ordinal, b.Ordinal), cmp.Compare(a.Offset, b.Offset))
}

func equalLocations(a, b []Location) bool {
	a, b = slices.Clone(a), slices.Clone(b)
	slices.SortFunc(a, compareLocations)
	slices.SortFunc(b, compareLocations)
	return slices.EqualFunc(a, b, func(x, y Location) bool {
		return x.Pack == y.Pack && x.PackSize == y.PackSize && x.Kind == y.Kind && bytes.Equal(x.Header, y.Header) &&
			x.Offset == y.Offset && x.Length == y.Length && reflect.DeepEqual(x.Segment(), y.Segment())
	})
}

func encode(t testing.TB, packs ...testPack) []byte {
	t.Helper()
	var b Builder
	for _, p := range packs {
		if err := b.Add(p.id, p.size, p.header, p.dir); err != nil {
			t.Fatal(err)
		}
	}
	return b.Encode()
}

func segment(t testing.TB, payload []byte) *Segment {
	t.Helper()
	s, err := NewSegment(payload)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// look is what Segment and Index have in common.
type look interface {
	Has(crypto.ID) bool
	Len() int
}

func locations(x look, id crypto.ID) []Location {
	switch x := x.(type) {
	case *Segment:
		return slices.Collect(x.Lookup(id))
	case *Index:
		return slices.Collect(x.Lookup(id))
	}
	panic("unknown index")
}

func checkModel(t *testing.T, rng *rand.Rand, x look, m model) {
	t.Helper()
	if x.Len() != m.rows() {
		t.Errorf("%d rows, want %d", x.Len(), m.rows())
	}
	for id, want := range m {
		if got := locations(x, id); !x.Has(id) || !equalLocations(got, want) {
			t.Fatalf("%v: %d locations, want %d, or they differ", id, len(got), len(want))
		}
		near := id
		near[31] ^= 1 + byte(rng.IntN(255))
		if _, ok := m[near]; !ok && (x.Has(near) || len(locations(x, near)) > 0) {
			t.Fatalf("%v is found and was not added", near)
		}
	}
	for range 200 {
		var id crypto.ID
		fill(rng, id[:])
		if x.Has(id) || len(locations(x, id)) > 0 {
			t.Fatalf("%v is found and was not added", id)
		}
	}
	for _, id := range []crypto.ID{{}, {0: 0xff, 1: 0xff, 2: 0xff, 3: 0xff, 4: 0xff, 5: 0xff, 6: 0xff, 7: 0xff, 31: 1}} {
		if x.Has(id) {
			t.Fatalf("%v is found", id)
		}
	}
}

func TestSegmentAgainstModel(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for round := range 20 {
		m := model{}
		var packs []testPack
		for range round {
			p := randomPack(rng, 4, 60, m.ids())
			m.add(p)
			packs = append(packs, p)
		}
		payload := encode(t, packs...)
		s := segment(t, payload)
		checkModel(t, rng, s, m)
		rng.Shuffle(len(packs), func(i, j int) { packs[i], packs[j] = packs[j], packs[i] })
		if !bytes.Equal(encode(t, packs...), payload) {
			t.Error("the encoding depends on the order of packs")
		}
		if got := len(slices.Collect(s.Packs())); got != round || s.NumPacks() != round {
			t.Errorf("%d packs, want %d", got, round)
		}
		seen := model{}
		var last crypto.ID
		for id, l := range s.All() {
			if id.Compare(last) < 0 {
				t.Error("All is out of order")
			}
			last = id
			seen[id] = append(seen[id], l)
		}
		if len(seen) != len(m) || seen.rows() != m.rows() {
			t.Errorf("All yields %d rows, want %d", seen.rows(), m.rows())
		}
	}
}

// TestSkewedNames: look-ups are right where names are not uniform, too.
func TestSkewedNames(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	for name, skew := range map[string]func(id *crypto.ID, i int){
		"one prefix":   func(id *crypto.ID, i int) { clear(id[:8]) },
		"two prefixes": func(id *crypto.ID, i int) { binary.BigEndian.PutUint64(id[:], uint64(-(i % 2))) },
		"exponential":  func(id *crypto.ID, i int) { binary.BigEndian.PutUint64(id[:], 1<<(i%64)) },
		"neighbours":   func(id *crypto.ID, i int) { binary.BigEndian.PutUint64(id[:], 1<<63+uint64(i)) },
		"one far":      func(id *crypto.ID, i int) { binary.BigEndian.PutUint64(id[:], uint64(i/1999)<<63|uint64(i)) },
	} {
		p := randomPack(rng, 1, 1, nil)
		s := &p.dir.Segments[0]
		*s = pack.SegmentInfo{Offset: s.Offset}
		for i := range 2000 {
			b := pack.Blob{Length: 1}
			fill(rng, b.ID[:])
			skew(&b.ID, i)
			s.Blobs = append(s.Blobs, b)
		}
		s.Raw, s.Stored = 2000, 2000+pack.Overhead
		p.size = crypto.PaddedSize(100_000)
		m := model{}
		m.add(p)
		t.Run(name, func(t *testing.T) {
			checkModel(t, rng, segment(t, encode(t, p)), m)
			checkModel(t, rng, New(segment(t, encode(t, p))), m)
		})
	}
}

func TestIndexAgainstModel(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 6))
	m := model{}
	x := New()
	checkModel(t, rng, x, m)
	if x.With() != x || x.With(segment(t, encode(t))).Len() != 0 {
		t.Error("nothing added, and yet something changed")
	}
	for round := range 20 {
		before, rows := x, x.Len()
		var add []*Segment
		for range 1 + rng.IntN(3) {
			p, q := randomPack(rng, 3, 20, m.ids()), randomPack(rng, 3, 20+round*5, m.ids())
			m.add(p)
			m.add(q)
			add = append(add, segment(t, encode(t, p, q)))
		}
		x = x.With(add...)
		if before.Len() != rows {
			t.Fatal("With changed its receiver")
		}
		for i := 1; i < len(x.layers); i++ {
			if x.layers[i-1].names <= 2*x.layers[i].names {
				t.Fatalf("layers of %d and %d names", x.layers[i-1].names, x.layers[i].names)
			}
		}
	}
	checkModel(t, rng, x, m)
	checkModel(t, rng, New(slices.Collect(x.Segments())...), m)
	for range x.Lookup(m.ids()[0]) {
		break // must not panic
	}
}

// TestWithOnly: whatever comes and goes, the index answers as one that is made of
// the same segments, is the old one when nothing did, and stays small.
func TestWithOnly(t *testing.T) {
	rng := rand.New(rand.NewPCG(11, 12))
	type part struct {
		packs [2]testPack
		*Segment
	}
	var parts []part
	x := New()
	kept, made := 0, 0 // filters
	for round := range 40 {
		parts = slices.DeleteFunc(parts, func(part) bool { return rng.IntN(12) == 0 })
		if round%20 == 19 {
			parts = parts[len(parts)/2:]
		}
		for range rng.IntN(4) {
			p := [2]testPack{randomPack(rng, 3, 30, nil), randomPack(rng, 3, 30, nil)}
			parts = append(parts, part{p, segment(t, encode(t, p[:]...))})
		}
		rng.Shuffle(len(parts), func(i, j int) { parts[i], parts[j] = parts[j], parts[i] })
		m := model{}
		var list []*Segment
		for _, p := range parts {
			list = append(list, p.Segment)
			m.add(p.packs[0])
			m.add(p.packs[1])
		}
		before, layers, rows := x, slices.Clone(x.layers), x.Len()
		x = x.WithOnly(list...)
		if before.Len() != rows || !slices.Equal(before.layers, layers) {
			t.Fatal("WithOnly changed its receiver")
		}
		if x.WithOnly(list...) != x {
			t.Fatal("the same segments, and yet another index")
		}
		checkModel(t, rng, x, m)
		names := 0
		for i, l := range x.layers {
			if i > 0 && x.layers[i-1].names <= 2*l.names {
				t.Fatalf("layers of %d and %d names", x.layers[i-1].names, l.names)
			}
			if names += l.names; 3*l.names > 4*count(l.segments) {
				t.Fatalf("a filter of %d names for %d", l.names, count(l.segments))
			}
			if slices.ContainsFunc(layers, func(old *layer) bool { return &old.filter[0] == &l.filter[0] }) {
				kept++
			} else {
				made++
			}
		}
		if x.Len() != m.rows() || 3*names > 4*x.Len() {
			t.Fatalf("%d rows, want %d; %d names in filters", x.Len(), m.rows(), names)
		}
	}
	if kept < 10 || made < 10 {
		t.Errorf("%d filters were shared and %d made: the test tells nothing", kept, made)
	}
	if x.WithOnly().Len() != 0 {
		t.Error("of no segments, and not empty")
	}
}

func TestFilterRate(t *testing.T) {
	rng := rand.New(rand.NewPCG(7, 8))
	const n = 100_000
	f := newFilter(n)
	var id crypto.ID
	for range n {
		fill(rng, id[:16])
		f.add(id[:16])
		if !f.has(&id) {
			t.Fatal("an added name is not admitted")
		}
	}
	wrong := 0
	for range n {
		fill(rng, id[:16])
		if f.has(&id) {
			wrong++
		}
	}
	t.Logf("%.2f %% of new names admitted", 100*float64(wrong)/n)
	if wrong > n/60 {
		t.Errorf("%d of %d new names admitted", wrong, n)
	}
}

func TestBuilderLimits(t *testing.T) {
	rng := rand.New(rand.NewPCG(9, 10))
	p, q := randomPack(rng, 1, 5, nil), randomPack(rng, 1, 5, nil)
	var b Builder
	if err := b.Add(p.id, p.size, p.header, p.dir); err != nil {
		t.Fatal(err)
	}
	if err := b.Add(p.id, p.size, p.header, p.dir); err == nil {
		t.Error("the same pack twice: no error")
	}
	if err := b.Add(q.id, q.size, q.header[1:], q.dir); err == nil {
		t.Error("short header: no error")
	}
	if err := b.Add(q.id, q.size, q.header, pack.Directory{Kind: 1}); err == nil {
		t.Error("no segments: no error")
	}
	full := q.dir
	full.Segments = []pack.SegmentInfo{{Blobs: make([]pack.Blob, MaxRows-b.Rows()+1)}}
	if err := b.Add(q.id, q.size, q.header, full); !errors.Is(err, ErrFull) {
		t.Errorf("above the limit: %v", err)
	}
	if b.Packs() != 1 || b.Rows() != p.dir.Blobs() || !bytes.Equal(b.Encode(), encode(t, p)) {
		t.Error("a refused pack left something behind")
	}
	b.Reset()
	if err := b.Add(p.id, p.size, p.header, p.dir); err != nil || !bytes.Equal(b.Encode(), encode(t, p)) {
		t.Errorf("after Reset: %v", err)
	}
}
