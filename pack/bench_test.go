package pack

import (
	"slices"
	"testing"

	"vault/crypto"
)

func benchData() map[string][]byte {
	rng := newRand(1)
	n := 512 << 10
	// Mixed: words with random numbers between them, about 3 to 1.
	var mixed []byte
	for len(mixed) < n {
		mixed = append(append(mixed, text(rng, 40)...), noise(rng, 12)...)
	}
	return map[string][]byte{"noise": noise(rng, n), "text": text(rng, n), "mixed": mixed[:n]}
}

func BenchmarkEncode(b *testing.B) {
	data := benchData()
	for _, kind := range []string{"noise", "mixed", "text"} {
		raw := data[kind]
		for level := LevelFastest; level <= LevelBest; level++ {
			b.Run(kind+"/"+level.String(), func(b *testing.B) {
				c := NewCoder(level)
				dst := make([]byte, EncodeBound(len(raw)))
				b.SetBytes(int64(len(raw)))
				b.ReportAllocs()
				n := 0
				for b.Loop() {
					out, _ := c.Encode(dst, raw)
					n = len(out)
				}
				b.ReportMetric(float64(n)/float64(len(raw)), "ratio")
			})
		}
		// What noise would cost without the probe.
		b.Run(kind+"/no-probe", func(b *testing.B) {
			compress := newEncoder(LevelFastest)
			dst := make([]byte, 0, EncodeBound(len(raw)))
			b.SetBytes(int64(len(raw)))
			for b.Loop() {
				compress(dst, raw)
			}
		})
	}
}

func BenchmarkVerify(b *testing.B) {
	for kind, raw := range benchData() {
		for name, size := range map[string]int{"4KiB": 4 << 10, "512KiB": 512 << 10} {
			b.Run(kind+"/"+name, func(b *testing.B) {
				c := NewCoder(LevelFastest)
				builder := newBuilder(b, crypto.BlobData, 16<<20, nil)
				_, blobs := gather(testKeys, crypto.BlobData, slices.Collect(slices.Chunk(raw, size))...)
				coded, codec := c.Encode(nil, raw)
				slot, _ := builder.Reserve(coded, codec, len(raw), blobs)
				slot.Seal(coded)
				scratch := make([]byte, DecodeBound(len(raw)))
				b.SetBytes(int64(len(raw)))
				b.ReportAllocs()
				for b.Loop() {
					if _, err := slot.Verify(c, scratch); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}

// BenchmarkPack fills and finishes packs of 16 MiB with segments of 512 KiB that
// do not compress: all but the names.
func BenchmarkPack(b *testing.B) {
	raw := benchData()["noise"]
	_, blobs := gather(testKeys, crypto.BlobData, raw)
	c := NewCoder(LevelFastest)
	buf := make([]byte, 16<<20)
	scratch := make([]byte, DecodeBound(len(raw)))
	n := 0
	for b.Loop() {
		builder := newBuilder(b, crypto.BlobData, 16<<20, buf)
		for {
			coded, codec := c.Encode(nil, raw)
			slot, ok := builder.Reserve(coded, codec, len(raw), blobs)
			if !ok {
				break
			}
			slot.Seal(coded)
			if _, err := slot.Verify(c, scratch); err != nil {
				b.Fatal(err)
			}
			n += len(raw)
		}
		finish(b, builder)
	}
	b.SetBytes(int64(n / b.N))
}
