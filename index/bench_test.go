package index

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"vault/crypto"
	"vault/pack"
)

// benchSegment is a segment of n rows in packs of 2000 blobs.
func benchSegment(rng *rand.Rand, n int) *Segment {
	var b Builder
	for b.Rows() < n {
		p := testPack{header: make([]byte, crypto.HeaderSize), size: 16 << 20}
		fill(rng, p.id[:])
		p.dir.Kind = crypto.BlobData
		at := uint32(crypto.HeaderSize)
		for i := range 20 {
			s := pack.SegmentInfo{Offset: at, Raw: 500_000, Stored: 500_016, Ordinal: uint32(i), Blobs: make([]pack.Blob, 100)}
			for j := range s.Blobs {
				fill(rng, s.Blobs[j].ID[:])
				s.Blobs[j].Length = 5000
			}
			at += s.Stored
			p.dir.Segments = append(p.dir.Segments, s)
		}
		if err := b.Add(p.id, p.size, p.header, p.dir); err != nil {
			panic(err)
		}
	}
	s, err := NewSegment(b.Encode())
	if err != nil {
		panic(err)
	}
	return s
}

// BenchmarkIndex asks for known and new blobs in an index of 10^6 rows.
func BenchmarkIndex(b *testing.B) {
	rng := rand.New(rand.NewPCG(1, 1))
	for _, segments := range []int{1, 8} {
		var list []*Segment
		for range segments {
			list = append(list, benchSegment(rng, 1_000_000/segments))
		}
		x := New(list...)
		known, unknown := make([]crypto.ID, 1<<16), make([]crypto.ID, 1<<16)
		for i := range known {
			s := list[rng.IntN(len(list))]
			known[i] = s.name(rng.IntN(s.Len()))
			fill(rng, unknown[i][:])
		}
		b.Run(fmt.Sprintf("segments=%d/hit", segments), func(b *testing.B) {
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				if !x.Has(known[i&0xffff]) {
					b.Fatal("not found")
				}
			}
			b.ReportMetric(float64(x.HeapBytes())/float64(x.Len()), "heap-B/row")
		})
		b.Run(fmt.Sprintf("segments=%d/lookup", segments), func(b *testing.B) {
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				for l := range x.Lookup(known[i&0xffff]) {
					if l.Length != 5000 {
						b.Fatal("wrong")
					}
				}
			}
		})
		b.Run(fmt.Sprintf("segments=%d/miss", segments), func(b *testing.B) {
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				if x.Has(unknown[i&0xffff]) {
					b.Fatal("found")
				}
			}
		})
	}
}

// BenchmarkBuild measures what opening and merging cost, in ns a row.
func BenchmarkBuild(b *testing.B) {
	rng := rand.New(rand.NewPCG(2, 2))
	list := []*Segment{benchSegment(rng, 100_000), benchSegment(rng, 100_000), benchSegment(rng, 50_000)}
	rows := New(list...).Len()
	per := func(b *testing.B) {
		b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*rows), "ns/row")
	}
	b.Run("NewSegment", func(b *testing.B) {
		for b.Loop() {
			for _, s := range list {
				if _, err := NewSegment(s.Bytes()); err != nil {
					b.Fatal(err)
				}
			}
		}
		per(b)
	})
	b.Run("New", func(b *testing.B) {
		for b.Loop() {
			New(list...)
		}
		per(b)
	})
	b.Run("Merge", func(b *testing.B) {
		for b.Loop() {
			for _, err := range Merge(list, all, MaxRows) {
				if err != nil {
					b.Fatal(err)
				}
			}
		}
		per(b)
	})
}

// BenchmarkOpen makes an index of segments that are at hand, as opening a
// repository of 5 million blobs does: what is read and kept of each row is what
// the filter needs.
func BenchmarkOpen(b *testing.B) {
	rng := rand.New(rand.NewPCG(1, 1))
	var list []*Segment
	for range 5 {
		list = append(list, benchSegment(rng, 1_000_000))
	}
	b.ReportAllocs()
	for b.Loop() {
		x := New(list...)
		b.ReportMetric(float64(x.HeapBytes())/float64(x.Len()), "heap-bytes/blob")
	}
}
