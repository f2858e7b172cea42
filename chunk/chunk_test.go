package chunk

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"flag"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/restic/chunker"
)

var update = flag.Bool("update", false, "rewrite testdata/vectors.json from the reference")

func TestValidate(t *testing.T) {
	good := DefaultParams()
	for _, tc := range []struct {
		why    string
		change func(*Params)
		ok     bool
	}{
		{"default", func(*Params) {}, true},
		{"rabin", func(p *Params) { p.Algorithm = Rabin }, true},
		{"no algorithm", func(p *Params) { p.Algorithm = 0 }, false},
		{"future algorithm", func(p *Params) { p.Algorithm = 3 }, false},
		{"window crosses the start", func(p *Params) { p.Min = 63 }, false},
		{"least minimum", func(p *Params) { p.Min = 64 }, true},
		{"negative minimum", func(p *Params) { p.Min = -1 }, false},
		{"minimum equals maximum", func(p *Params) { p.Min = p.Max }, false},
		{"one apart", func(p *Params) { p.Min = p.Max - 1 }, true},
		{"greatest maximum", func(p *Params) { p.Max = MaxChunk }, true},
		{"beyond it", func(p *Params) { p.Max = MaxChunk + 1 }, false},
		{"few bits", func(p *Params) { p.Bits = 7 }, false},
		{"least bits", func(p *Params) { p.Bits = 8 }, true},
		{"most bits", func(p *Params) { p.Bits = 24 }, true},
		{"many bits", func(p *Params) { p.Bits = 25 }, false},
	} {
		p := good
		tc.change(&p)
		err := p.Validate()
		if (err == nil) != tc.ok || err != nil && !errors.Is(err, ErrParams) {
			t.Errorf("%s: %v", tc.why, err)
		}
		if _, err := New(p, testSecret); (err == nil) != tc.ok {
			t.Errorf("%s: New: %v", tc.why, err)
		}
	}
}

func TestAlgorithmNames(t *testing.T) {
	if AESWindow != 1 || Rabin != 2 {
		t.Error("the numbers are part of the format")
	}
	for _, a := range []Algorithm{AESWindow, Rabin} {
		if got, err := ParseAlgorithm(a.String()); got != a || err != nil {
			t.Errorf("%v parses as %v, %v", a, got, err)
		}
	}
	for _, bad := range []string{"", "AES-WINDOW", "gear", Algorithm(3).String()} {
		if _, err := ParseAlgorithm(bad); !errors.Is(err, ErrParams) {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

func TestIsZero(t *testing.T) {
	for n := range 200 {
		b := make([]byte, n)
		if !IsZero(b) {
			t.Fatalf("%d zeros are not zero", n)
		}
		for i := range b {
			b[i] = 1 << (i % 8)
			if IsZero(b) {
				t.Fatalf("%d bytes with one set at %d are zero", n, i)
			}
			b[i] = 0
		}
	}
}

// A vector fixes the format: input made by a formula, and where it is cut.
type vector struct {
	Algorithm string `json:"algorithm"`
	Min       int    `json:"min"`
	Max       int    `json:"max"`
	Bits      uint8  `json:"bits"`
	Secret    string `json:"secret"`  // hex
	Derived   string `json:"derived"` // hex: the AES key, or the polynomial as a number
	Input     string `json:"input"`   // "lcg", "csv" or "holes", by the functions in reference_test.go
	Seed      uint64 `json:"seed"`
	Length    int    `json:"length"`
	Chunks    []int  `json:"chunks"` // lengths
}

func (v vector) params(t *testing.T) (Params, [32]byte) {
	alg, err := ParseAlgorithm(v.Algorithm)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := hex.DecodeString(v.Secret)
	if err != nil || len(secret) != 32 {
		t.Fatalf("secret %q: %v", v.Secret, err)
	}
	return Params{alg, v.Min, v.Max, v.Bits}, [32]byte(secret)
}

func (v vector) data() []byte {
	switch v.Input {
	case "csv":
		return csvBytes(v.Seed, v.Length)
	case "holes": // every second 50,000 bytes are zeros
		b := lcgBytes(v.Seed, v.Length)
		for i := range b {
			if i/50000%2 == 1 {
				b[i] = 0
			}
		}
		return b
	}
	return lcgBytes(v.Seed, v.Length)
}

const vectorFile = "testdata/vectors.json"

func TestVectors(t *testing.T) {
	if *update {
		writeVectors(t)
	}
	text, err := os.ReadFile(vectorFile)
	if err != nil {
		t.Fatal(err)
	}
	var vectors []vector
	if err := json.Unmarshal(text, &vectors); err != nil {
		t.Fatal(err)
	}
	count := map[Algorithm]int{}
	for i, v := range vectors {
		p, secret := v.params(t)
		count[p.Algorithm]++
		if p.Algorithm == Rabin {
			if pol, err := derivePolynomial(secret[:]); err != nil || pol.String() != "0x"+v.Derived {
				t.Errorf("vector %d: polynomial %v, %v; want %s", i, pol, err, v.Derived)
			}
		} else if key := hex.EncodeToString(refWindowKey(secret)); key != v.Derived {
			t.Errorf("vector %d: key %s, want %s", i, key, v.Derived)
		}
		data := v.data()
		for name, c := range variants(t, p, secret) {
			if got := lengthsOf(t, c.NewSplitter(), bytes.NewReader(data), data); !slices.Equal(got, v.Chunks) {
				t.Errorf("vector %d, %s:\n got %d\nwant %d", i, name, got, v.Chunks)
			}
		}
	}
	if count[AESWindow] < 4 || count[Rabin] < 4 {
		t.Errorf("only %v vectors", count)
	}
}

// writeVectors makes the vectors without this package's code: by the reference,
// and by restic/chunker's own reader where that would take minutes.
func writeVectors(t *testing.T) {
	secret := [32]byte{}
	for i := range secret {
		secret[i] = byte(i)
	}
	var out []string
	for _, alg := range []Algorithm{AESWindow, Rabin} {
		for _, v := range []vector{
			{Min: 64, Max: 4096, Bits: 8, Input: "lcg", Seed: 1, Length: 4000},
			{Min: 2048, Max: 65536, Bits: 13, Input: "lcg", Seed: 2, Length: 200000},
			{Min: 2048, Max: 65536, Bits: 13, Input: "csv", Seed: 3, Length: 200000},
			{Min: 1000, Max: 30000, Bits: 12, Input: "holes", Seed: 4, Length: 150000},
			{Min: 128 << 10, Max: 4 << 20, Bits: 19, Input: "lcg", Seed: 5, Length: 8 << 20},
		} {
			v.Algorithm, v.Secret = alg.String(), hex.EncodeToString(secret[:])
			p := Params{alg, v.Min, v.Max, v.Bits}
			if alg == AESWindow {
				v.Derived = hex.EncodeToString(refWindowKey(secret))
				v.Chunks = refLengths(p, secret, v.data())
			} else {
				pol := refPolynomial(secret)
				v.Derived = strings.TrimPrefix(pol.String(), "0x")
				c := chunker.New(bytes.NewReader(v.data()), pol, chunker.WithBoundaries(uint(p.Min), uint(p.Max)), chunker.WithAverageBits(int(p.Bits)))
				for b, err := c.Next(nil); err == nil; b, err = c.Next(nil) {
					v.Chunks = append(v.Chunks, int(b.Length))
				}
			}
			text, err := json.Marshal(v)
			if err != nil {
				t.Fatal(err)
			}
			out = append(out, string(text))
		}
	}
	if err := os.WriteFile(vectorFile, []byte("[\n"+strings.Join(out, ",\n")+"\n]\n"), 0o666); err != nil {
		t.Fatal(err)
	}
}

func benchmarkSplit(b *testing.B, p Params, data []byte) {
	s := mustNew(b, p, testSecret).NewSplitter()
	r := bytes.NewReader(nil)
	b.SetBytes(int64(len(data)))
	for b.Loop() {
		r.Reset(data)
		s.Reset(r)
		for {
			if _, err := s.Next(); err != nil {
				break
			}
		}
	}
}

func BenchmarkSplit(b *testing.B) {
	const n = 16 << 20
	for _, alg := range []Algorithm{AESWindow, Rabin} {
		p := DefaultParams()
		p.Algorithm = alg
		b.Run(alg.String()+"/random", func(b *testing.B) { benchmarkSplit(b, p, lcgBytes(1, n)) })
		b.Run(alg.String()+"/text", func(b *testing.B) { benchmarkSplit(b, p, csvBytes(1, n)) })
		b.Run(alg.String()+"/zeros", func(b *testing.B) { benchmarkSplit(b, p, make([]byte, n)) })
		b.Run(alg.String()+"/small", func(b *testing.B) { benchmarkSplit(b, p, lcgBytes(1, 3000)) })
	}
}

func BenchmarkIsZero(b *testing.B) {
	data := make([]byte, 1<<20)
	b.SetBytes(int64(len(data)))
	for b.Loop() {
		if !IsZero(data) {
			b.Fatal("not zero")
		}
	}
}
