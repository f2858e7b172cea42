package index

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"slices"
	"testing"

	"vault/crypto"
	"vault/pack"
)

// exercise makes every look-up there is; none may panic.
func exercise(s *Segment) (rows int) {
	ids := []crypto.ID{{}, {0: 0x80}, {0: 0xff}}
	for range s.Packs() {
	}
	for i := range s.Len() {
		ids = append(ids, s.name(i))
	}
	for range s.All() {
		rows++
	}
	x := New(s)
	for _, id := range ids {
		s.Has(id)
		x.Has(id)
		for range s.Lookup(id) {
		}
		for range x.Lookup(id) {
		}
	}
	return rows
}

// consistent checks that what was accepted obeys the rules, by other means than
// NewSegment.
func consistent(t testing.TB, s *Segment) {
	t.Helper()
	raw := map[pack.ID]map[uint32]uint32{}
	var last crypto.ID
	n := 0
	for id, l := range s.All() {
		n++
		if id.Compare(last) < 0 {
			t.Fatal("rows are out of order")
		}
		last = id
		if uint64(l.SegmentOffset)+uint64(l.Stored) > uint64(l.PackSize) || l.Offset+l.Length > l.Raw || l.Length == 0 ||
			l.Raw > pack.MaxRaw || l.Codec > pack.Zstd || l.PackSize > pack.MaxSize || len(l.Header) < crypto.HeaderSize {
			t.Fatalf("accepted %+v", l)
		}
		if raw[l.Pack] == nil {
			raw[l.Pack] = map[uint32]uint32{}
		}
		raw[l.Pack][l.Ordinal] += l.Length
		if !s.Has(id) {
			t.Fatalf("%v is not found", id)
		}
	}
	if n != s.Len() || len(raw) != s.NumPacks() {
		t.Fatalf("%d of %d rows, %d of %d packs", n, s.Len(), len(raw), s.NumPacks())
	}
	for _, l := range s.All() {
		if raw[l.Pack][l.Ordinal] != l.Raw {
			t.Fatalf("blobs of %d bytes in %+v", raw[l.Pack][l.Ordinal], l)
		}
	}
}

func samplePayload(t testing.TB) []byte {
	rng := rand.New(rand.NewPCG(1, 3))
	var ids []crypto.ID
	var packs []testPack
	for range 3 {
		p := randomPack(rng, 3, 6, ids)
		for _, s := range p.dir.Segments {
			for _, b := range s.Blobs {
				ids = append(ids, b.ID)
			}
		}
		packs = append(packs, p)
	}
	return encode(t, packs...)
}

func TestChangedSegments(t *testing.T) {
	payload := samplePayload(t)
	refused, accepted := 0, 0
	for i := range payload {
		for _, change := range []byte{1, 2, 0x10, 0x80, 0xff} {
			b := bytes.Clone(payload)
			b[i] ^= change
			if s, err := TrustSegment(b); err == nil {
				exercise(s)
			}
			s, err := NewSegment(b)
			if err != nil {
				if !errors.Is(err, crypto.ErrDamaged) && !errors.Is(err, crypto.ErrUnsupported) {
					t.Fatalf("byte %d: %v", i, err)
				}
				refused++
				continue
			}
			accepted++
			if exercise(s) != s.Len() {
				t.Fatalf("byte %d: rows are missing", i)
			}
			consistent(t, s)
		}
	}
	t.Logf("%d changes refused, %d made another sound segment", refused, accepted)
	for n := range payload {
		if _, err := TrustSegment(payload[:n]); err == nil {
			t.Errorf("cut to %d bytes: no error", n)
		}
	}
	if _, err := NewSegment(append(bytes.Clone(payload), 0)); err == nil {
		t.Error("trailing byte: no error")
	}
}

// TestHostileSegments sets single fields of a sound segment.
func TestHostileSegments(t *testing.T) {
	rng := rand.New(rand.NewPCG(2, 4))
	p, q := randomPack(rng, 1, 1, nil), randomPack(rng, 1, 1, nil)
	for _, x := range []*testPack{&p, &q} { // two segments, of blobs of 10 and 20, and of 30 bytes
		x.dir.Segments = []pack.SegmentInfo{
			{Offset: crypto.HeaderSize, Stored: 46, Raw: 30, Blobs: []pack.Blob{{ID: crypto.ID{1, x.id[0]}, Length: 10}, {ID: crypto.ID{2, x.id[0]}, Length: 20}}},
			{Offset: crypto.HeaderSize + 46, Stored: 45, Raw: 30, Ordinal: 1, Codec: pack.Zstd, Blobs: []pack.Blob{{ID: crypto.ID{3, x.id[0]}, Length: 30}}},
		}
		x.size = 512
	}
	good := encode(t, p, q)
	segments := headSize + 2*packSize
	rows := segments + 4*segmentSize
	tests := []struct {
		name string
		at   int
		v    uint32
	}{
		{"version", 0, 2},
		{"more packs", 4, 3},
		{"10^9 packs", 4, 1e9},
		{"all bits of segments", 8, 1<<32 - 1},
		{"10^9 rows", 12, 1e9},
		{"larger heap", 16, 2*crypto.HeaderSize + 1},
		{"reserved", 20, 1},
		{"size 0", headSize + 32, 0},
		{"size that holds no directory", headSize + 32, 511},
		{"size that is no class", headSize + 32, 1000003},
		{"size above the limit", headSize + 32, 1 << 31},
		{"kind 0", headSize + 36, crypto.HeaderSize << 16},
		{"kind 3", headSize + 36, crypto.HeaderSize<<16 | 3},
		{"reserved byte", headSize + 36, crypto.HeaderSize<<16 | 0x101},
		{"header length", headSize + 36, (crypto.HeaderSize+1)<<16 | 1},
		{"header offset", headSize + 40, 1},
		{"reserved of a pack", headSize + 44, 1},
		{"segment of no pack", segments + 3*segmentSize, 2},
		{"segment of the pack before", segments + 2*segmentSize, 0},
		{"first pack has no segment", segments, 1},
		{"gap before a segment", segments + segmentSize + 4, crypto.HeaderSize + 47},
		{"segments overlap", segments + segmentSize + 4, crypto.HeaderSize + 45},
		{"stored", segments + 8, 47},
		{"stored up to the end", segments + segmentSize + 8, 512 - crypto.HeaderSize - 46},
		{"raw 0", segments + segmentSize + 12, 0},
		{"raw above the limit", segments + segmentSize + 12, pack.MaxRaw + 1},
		{"raw larger than its blobs", segments + segmentSize + 12, 31},
		{"raw smaller than its blobs", segments + segmentSize + 12, 29},
		{"ordinal", segments + segmentSize + 16, 2 | 1<<24},
		{"codec", segments + segmentSize + 16, 1 | 2<<24},
		{"row of no segment", rows + 32, 4},
		{"row at all bits", rows + 32, 1<<32 - 1},
		{"offset beyond", rows + 36, 21},
		{"offset wraps", rows + 36, 1<<32 - 5},
		{"length 0", rows + 40, 0},
		{"length beyond", rows + 40, 31},
		{"length of all bits", rows + 40, 1<<32 - 1},
		{"length shorter", rows + 40, 9},
	}
	for _, tt := range tests {
		b := bytes.Clone(good)
		le.PutUint32(b[tt.at:], tt.v)
		if bytes.Equal(b, good) {
			t.Fatalf("%s: changes nothing", tt.name)
		}
		if s, err := NewSegment(b); err == nil {
			t.Errorf("%s: accepted", tt.name)
			exercise(s)
		}
		if s, err := TrustSegment(b); err == nil {
			exercise(s)
		}
	}
	swap := func(at, size int) []byte {
		b := bytes.Clone(good)
		copy(b[at:], good[at+size:at+2*size])
		copy(b[at+size:], good[at:at+size])
		return b
	}
	twice := bytes.Clone(good)
	copy(twice[rows+rowSize:], twice[rows:rows+rowSize])
	samePack := bytes.Clone(good)
	copy(samePack[headSize+packSize:], samePack[headSize:headSize+32])
	for name, b := range map[string][]byte{
		"packs swapped": swap(headSize, packSize), "segments swapped": swap(segments, segmentSize),
		"rows swapped": swap(rows, rowSize), "row twice": twice, "pack twice": samePack,
	} {
		if _, err := NewSegment(b); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

func FuzzSegment(f *testing.F) {
	f.Add(samplePayload(f))
	f.Add(slices.Concat([]byte{1}, make([]byte, 23)))
	f.Fuzz(func(t *testing.T, b []byte) {
		if s, err := TrustSegment(b); err == nil {
			exercise(s)
		}
		if s, err := NewSegment(b); err == nil {
			consistent(t, s)
			for payload, err := range Merge([]*Segment{s}, all, MaxRows) {
				if err != nil || !bytes.Equal(payload, b) {
					t.Fatalf("does not encode to the same bytes: %v", err)
				}
			}
		}
	})
}

// TestHostileSums: what adds up only modulo 2^32, or lies behind the last row.
func TestHostileSums(t *testing.T) {
	id, header := pack.ID{1}, make([]byte, crypto.HeaderSize)
	const rows = 257 // of 2^24 bytes: 2^32 and the raw length
	e := newEncoder(1, 1, rows, len(header))
	e.addPack(id, 32<<20, crypto.BlobData, header)
	segment := e.addSegment(crypto.HeaderSize, pack.MaxRaw+pack.Overhead, pack.MaxRaw, 0, pack.Stored)
	for i := range rows {
		name := crypto.ID{byte(i >> 8), byte(i)}
		e.addRow(name[:], segment, 0, pack.MaxRaw)
	}
	if _, err := e.finish(); err == nil {
		t.Error("blobs of more than 2^32 bytes in a segment: accepted")
	}

	one := func(packs, heap int) *encoder {
		e := newEncoder(packs, 1, 1, packs*len(header)+heap)
		e.addPack(id, 512, crypto.BlobData, header)
		e.addSegment(crypto.HeaderSize, 26, 10, 0, pack.Stored)
		e.addRow(make([]byte, 32), 0, 0, 10)
		for i := range packs - 1 {
			e.addPack(pack.ID{byte(i + 2)}, 512, crypto.BlobData, header)
		}
		return e
	}
	for _, tt := range []struct {
		name        string
		packs, heap int
		ok          bool
	}{{"honest", 1, 0, true}, {"spare bytes in the heap", 1, 5, false}, {"pack without segments", 2, 0, false}} {
		if _, err := one(tt.packs, tt.heap).finish(); (err == nil) != tt.ok {
			t.Errorf("%s: %v", tt.name, err)
		}
	}
}
