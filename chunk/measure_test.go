package chunk

import (
	"bytes"
	"flag"
	"fmt"
	"hash/maphash"
	"io/fs"
	"math"
	"math/bits"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// Chunk lengths of random data follow the geometric law of the boundary rule.
func TestLengthDistribution(t *testing.T) {
	data := make([]byte, 24<<20)
	rand.NewChaCha8([32]byte{1}).Read(data)
	for _, alg := range []Algorithm{AESWindow, Rabin} {
		p := Params{alg, 1000, 8000, 11}
		lengths := lengthsOf(t, mustNew(t, p, testSecret).NewSplitter(), bytes.NewReader(data), data)
		lengths = lengths[:len(lengths)-1]
		q := 1 - math.Pow(2, -float64(p.Bits))
		n := float64(len(lengths))
		mean := float64(len(data)) / n
		want := float64(p.Min-1) + (1-math.Pow(q, float64(p.Max-p.Min+1)))/(1-q)
		// The greatest distance between the distributions, as by Kolmogorov and
		// Smirnov; beyond 1.63 once in a hundred secrets.
		slices.Sort(lengths)
		var d float64
		for i, l := range lengths {
			if l < p.Max {
				d = max(d, math.Abs(1-math.Pow(q, float64(l-p.Min+1))-float64(i+1)/n))
			}
		}
		t.Logf("%v: %d chunks, mean %.0f (theory %.0f), distance %.2f", alg, len(lengths), mean, want, d*math.Sqrt(n))
		if math.Abs(mean/want-1) > 0.03 || d*math.Sqrt(n) > 1.63 {
			t.Errorf("%v: chunk lengths do not follow the law", alg)
		}
	}
}

var measure = flag.String("measure", "", "a directory tree: print how both algorithms deduplicate changed versions of it and of generated data")

// TestMeasure prints how well both algorithms find the data of a first version in
// a second, for means of four sizes and five shapes of the length distribution:
// the minimum from a fifth to nineteen twentieths of the mean. All-zero chunks
// are left out. Compare lines at equal measured mean.
func TestMeasure(t *testing.T) {
	if *measure == "" {
		t.Skip("only with -measure=DIR")
	}
	const secrets = 4
	r := rand.New(rand.NewPCG(7, 7))
	for _, set := range []struct {
		name string
		v    [2][]byte
	}{
		{"files", filesVersions(t, r, *measure)},
		{"csv", csvVersions(r)},
		{"image", imageVersions(t, r, *measure)},
		{"sql", sqlVersions(r)},
	} {
		fmt.Printf("%s: %.1f + %.1f MB\n", set.name, float64(len(set.v[0]))/1e6, float64(len(set.v[1]))/1e6)
		for _, alg := range []Algorithm{AESWindow, Rabin} {
			for _, fifth := range []int{32 << 10, 64 << 10, 128 << 10, 256 << 10} {
				high := uint8(bits.Len(uint(fifth))) + 1 // of 4*fifth
				for _, p := range []Params{
					{alg, fifth, min(30*fifth, MaxChunk), high},
					{alg, 3 * fifth, min(30*fifth, MaxChunk), high - 1},
					{alg, 4 * fifth, min(30*fifth, MaxChunk), high - 2},
					{alg, 9 * fifth / 2, min(30*fifth, MaxChunk), high - 3},
					{alg, 19 * fifth / 4, min(30*fifth, MaxChunk), high - 4},
				} {
					var sum tally
					for i := range secrets {
						sum.add(tallyOf(t, p, [32]byte{byte(i)}, set.v))
					}
					fmt.Printf("%-6s %-10v min %4d bits %d mean %4.0f KiB, at max %4.1f%%, new in v2 %5.2f%%, stored %6.2f MB\n",
						set.name, alg, p.Min>>10, p.Bits, sum.mean()/1024, sum.atMax(), sum.fresh(), sum.stored()/secrets/1e6)
				}
			}
		}
	}
}

// tally counts non-zero chunks and the bytes that are stored for each version.
type tally struct {
	chunks, forced int
	bytes          [2]int // in version i, zeros left out
	new            [2]int // of these, not seen before
}

func (t *tally) add(u tally) {
	t.chunks += u.chunks
	t.forced += u.forced
	for i := range t.new {
		t.new[i] += u.new[i]
		t.bytes[i] += u.bytes[i]
	}
}

func (t tally) mean() float64   { return float64(t.bytes[0]+t.bytes[1]) / float64(t.chunks) }
func (t tally) stored() float64 { return float64(t.new[0] + t.new[1]) }
func (t tally) fresh() float64  { return 100 * float64(t.new[1]) / float64(t.bytes[1]) }
func (t tally) atMax() float64  { return 100 * float64(t.forced) / float64(t.chunks) }

var hashSeed = maphash.MakeSeed()

func tallyOf(t testing.TB, p Params, secret [32]byte, versions [2][]byte) (sum tally) {
	seen := map[uint64]bool{}
	s := mustNew(t, p, secret).NewSplitter()
	for i, data := range versions {
		s.Reset(bytes.NewReader(data))
		for b, err := s.Next(); err == nil; b, err = s.Next() {
			if IsZero(b) {
				continue
			}
			sum.chunks++
			sum.bytes[i] += len(b)
			if len(b) == p.Max {
				sum.forced++
			}
			if name := maphash.Bytes(hashSeed, b); !seen[name] {
				seen[name] = true
				sum.new[i] += len(b)
			}
		}
	}
	return sum
}

// filesOf returns the contents of up to limit bytes of regular files.
func filesOf(t testing.TB, dir string, limit int) (files [][]byte) {
	err := filepath.WalkDir(dir, func(name string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() || limit < 0 {
			return err
		}
		b, err := os.ReadFile(name)
		limit -= len(b)
		files = append(files, b)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// edited returns b with a few bytes inserted, removed or replaced somewhere.
func edited(r *rand.Rand, b []byte) []byte {
	at := r.IntN(len(b) + 1)
	cut := min(len(b)-at, r.IntN(40))
	return slices.Concat(b[:at], lcgBytes(r.Uint64(), r.IntN(40)), b[at+cut:])
}

// filesVersions is an archive: files after one another, padded to 512 bytes with a
// header. One file in 200 changes, and one in 1000 goes.
func filesVersions(t testing.TB, r *rand.Rand, dir string) (v [2][]byte) {
	for i, f := range filesOf(t, dir, 128<<20) {
		entry := func(f []byte) []byte {
			h := fmt.Appendf(nil, "file %06d size %d", i, len(f))
			h = append(h, make([]byte, 512-len(h))...)
			return append(append(h, f...), make([]byte, -len(f)&511)...)
		}
		v[0] = append(v[0], entry(f)...)
		switch n := r.IntN(1000); {
		case n < 5:
			v[1] = append(v[1], entry(edited(r, f))...)
		case n > 5:
			v[1] = append(v[1], entry(f)...)
		}
	}
	return v
}

// csvVersions is a table, and the same with 20 rows inserted.
func csvVersions(r *rand.Rand) (v [2][]byte) {
	v[0] = csvBytes(1, 96<<20)
	at := make([]int, 20)
	for i := range at {
		at[i] = r.IntN(len(v[0]))
	}
	slices.Sort(at)
	last := 0
	for _, a := range at {
		a += bytes.IndexByte(v[0][a:], '\n') + 1
		v[1] = append(append(v[1], v[0][last:a]...), "inserted,2024-02-30,1.5,new\n"...)
		last = a
	}
	v[1] = append(v[1], v[0][last:]...)
	return v
}

// imageVersions is a disk: files at multiples of 4 KiB, free space of zeros between
// some, and the same after 40 bursts of small writes.
func imageVersions(t testing.TB, r *rand.Rand, dir string) (v [2][]byte) {
	const block = 4096
	for _, f := range filesOf(t, dir, 96<<20) {
		v[0] = append(append(v[0], f...), make([]byte, -len(f)&(block-1))...)
		if r.IntN(500) == 0 {
			v[0] = append(v[0], make([]byte, block*r.IntN(1000))...)
		}
	}
	v[1] = slices.Clone(v[0])
	for range 40 {
		at := r.IntN(len(v[1])/block - 32)
		for range 1 + r.IntN(16) {
			b := (at + r.IntN(32)) * block
			copy(v[1][b:b+block], lcgBytes(r.Uint64(), block))
		}
	}
	return v
}

// sqlVersions is a dump of rows, and the next day's: of 60 tables a third has a
// few rows changed, and rows at its end.
func sqlVersions(r *rand.Rand) (v [2][]byte) {
	for table := range 60 {
		rows := 8000 + r.IntN(16000)
		changes := table%3 == 0
		for i := range rows {
			row := fmt.Appendf(nil, "INSERT INTO t%d VALUES (%d,'%x','name %d',NULL,0,%d);\n", table, i, r.Uint64(), r.IntN(5000), r.IntN(100))
			v[0] = append(v[0], row...)
			if changes && r.IntN(4000) == 0 {
				row = bytes.Replace(row, []byte("NULL"), []byte("'changed'"), 1)
			}
			v[1] = append(v[1], row...)
		}
		if changes {
			v[1] = fmt.Appendf(v[1], "INSERT INTO t%d VALUES (%d,'new');\n", table, rows)
		}
	}
	return v
}
