package bench

import (
	"math/rand/v2"
	"os"
	"runtime"
	"strconv"
	"testing"
	"time"

	"vault/crypto"
	"vault/index"
	"vault/pack"
)

// indexSegment is the payload of an index segment of rows blobs, in packs of 1600.
func indexSegment(tb testing.TB, rng *rand.ChaCha8, rows int) []byte {
	var b index.Builder
	header := make([]byte, crypto.HeaderSize)
	for b.Rows() < rows {
		d := pack.Directory{Kind: crypto.BlobData}
		at := uint32(crypto.HeaderSize)
		for i := range 16 {
			g := pack.SegmentInfo{Offset: at, Raw: 500_000, Stored: 500_016, Ordinal: uint32(i), Blobs: make([]pack.Blob, 100)}
			for j := range g.Blobs {
				g.Blobs[j] = pack.Blob{ID: randomID(rng), Length: 5000}
			}
			at += g.Stored
			d.Segments = append(d.Segments, g)
		}
		if err := b.Add(pack.ID(randomID(rng)), 16<<20, header, d); err != nil {
			tb.Fatal(err)
		}
	}
	return b.Encode()
}

func randomID(rng *rand.ChaCha8) (id crypto.ID) {
	rng.Read(id[:])
	return id
}

// BenchmarkIndexAtScale opens an index of 2x10^7 blobs (INDEX_BLOBS=100000000 for
// 10^8) that lies in files mapped into memory, as the cache of a client has it, and
// asks it for new and for known blobs. Heap bytes a blob are what the process
// holds more after the opening than before.
func BenchmarkIndexAtScale(b *testing.B) {
	blobs := 20_000_000
	if text := os.Getenv("INDEX_BLOBS"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil {
			b.Fatal(err)
		}
		blobs = n
	}
	const each = 1_000_000 // rows of a segment
	rng := rand.NewChaCha8([32]byte{8})
	dir := b.TempDir()
	var payloads [][]byte
	var known []crypto.ID
	for i := 0; i*each < blobs; i++ {
		p := indexSegment(b, rng, each)
		s, err := index.NewSegment(p)
		if err != nil {
			b.Fatal(err)
		}
		step := 0
		for id := range s.All() {
			if step++; step%(blobs>>16+1) == 0 {
				known = append(known, id)
			}
		}
		payloads = append(payloads, mapped(b, dir, i, p))
	}
	rand.New(rng).Shuffle(len(known), func(i, j int) { known[i], known[j] = known[j], known[i] })
	unknown := make([]crypto.ID, 1<<16)
	for i := range unknown {
		unknown[i] = randomID(rng)
	}

	before := heap()
	began := time.Now()
	var list []*index.Segment
	for _, p := range payloads {
		s, err := index.TrustSegment(p)
		if err != nil {
			b.Fatal(err)
		}
		list = append(list, s)
	}
	x := index.New(list...)
	opened := time.Since(began)
	held := float64(heap()-before) / float64(x.Len())
	b.Logf("%d blobs in %d segments: opened in %.2f s, %.2f bytes of heap a blob", x.Len(), len(list), opened.Seconds(), held)
	if held > 2 {
		b.Errorf("%.2f bytes of heap a blob, at most 2 are allowed", held)
	}
	for _, c := range []struct {
		name string
		ids  []crypto.ID
		has  bool
	}{{"new", unknown, false}, {"known", known, true}} {
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				if x.Has(c.ids[i%len(c.ids)]) != c.has {
					b.Fatal("a wrong answer")
				}
			}
			b.ReportMetric(held, "heap-B/blob")
		})
	}
	runtime.KeepAlive(x)
}

func heap() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}
