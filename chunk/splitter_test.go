package chunk

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"testing"
	"testing/iotest"
)

var testSecret = [32]byte{1, 2, 3, 4, 5, 31: 32}

func mustNew(t testing.TB, p Params, secret [32]byte) *Chunker {
	t.Helper()
	c, err := New(p, secret)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// lengthsOf splits r and checks that the chunks add up to data.
func lengthsOf(t testing.TB, s *Splitter, r io.Reader, data []byte) []int {
	t.Helper()
	s.Reset(r)
	var lengths []int
	at := 0
	for {
		b, err := s.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if len(b) == 0 || len(b) > len(data)-at || !bytes.Equal(b, data[at:at+len(b)]) {
			t.Fatalf("chunk of %d bytes at %d is not the input there", len(b), at)
		}
		at += len(b)
		lengths = append(lengths, len(b))
	}
	if at != len(data) {
		t.Fatalf("chunks add up to %d bytes of %d", at, len(data))
	}
	if b, err := s.Next(); b != nil || err != io.EOF {
		t.Fatalf("after the end: %d bytes, %v", len(b), err)
	}
	return lengths
}

// variants are the ways to evaluate p that must agree.
func variants(t testing.TB, p Params, secret [32]byte) map[string]*Chunker {
	c := mustNew(t, p, secret)
	v := map[string]*Chunker{"default": c}
	if p.Algorithm == AESWindow {
		for _, k := range append([]*kernel{nil}, kernels...) {
			if k == c.window.kernel {
				continue
			}
			w := *c.window
			w.kernel = k
			v[nameOf(k)] = &Chunker{params: p, window: &w}
		}
	}
	return v
}

// readers wrap the input in every way that a reader may deliver it.
var readers = map[string]func(io.Reader) io.Reader{
	"plain":    func(r io.Reader) io.Reader { return r },
	"one byte": iotest.OneByteReader,
	"half":     iotest.HalfReader,
	"data err": iotest.DataErrReader,
	"empty":    func(r io.Reader) io.Reader { return &stutterReader{r: r} },
}

// stutterReader returns odd pieces, and nothing every other time.
type stutterReader struct {
	r     io.Reader
	calls int
}

func (s *stutterReader) Read(b []byte) (int, error) {
	s.calls++
	if s.calls%2 == 0 {
		return 0, nil
	}
	return s.r.Read(b[:min(len(b), 1+s.calls*s.calls%4099)])
}

// inputs are small data of many textures.
func inputs(n int) map[string][]byte {
	in := map[string][]byte{
		"empty":     {},
		"byte":      {7},
		"random":    lcgBytes(1, n),
		"csv":       csvBytes(2, n),
		"zeros":     make([]byte, n),
		"ones":      bytes.Repeat([]byte{0xff}, n),
		"period":    bytes.Repeat(lcgBytes(3, 100), n/100),
		"period 16": bytes.Repeat(lcgBytes(3, 16), n/16),
	}
	bitmap := make([]byte, n)
	for i := range bitmap {
		if i/300%3 == 0 {
			bitmap[i] = 1 << (i / 900 % 8)
		}
	}
	in["bitmap"] = bitmap
	holes := lcgBytes(4, n)
	r := rand.New(rand.NewPCG(1, 1))
	for i := 0; i < n; i += 1 + r.IntN(20000) {
		clear(holes[i:min(n, i+r.IntN(20000))])
	}
	in["holes"] = holes
	return in
}

func TestSplitMatchesReference(t *testing.T) {
	for _, tc := range []struct {
		p Params
		n int
	}{
		{Params{AESWindow, 64, 65, 8}, 2000},
		{Params{AESWindow, 64, 4096, 8}, 60000},
		{Params{AESWindow, 1000, 50000, 12}, 120000},
		{Params{AESWindow, 3000, 5000, 14}, 60000},
		{Params{Rabin, 64, 4096, 8}, 20000},
		{Params{Rabin, 1000, 5000, 10}, 30000},
	} {
		chunkers := variants(t, tc.p, testSecret)
		for name, data := range inputs(tc.n) {
			want := refLengths(tc.p, testSecret, data)
			for variant, c := range chunkers {
				s := c.NewSplitter()
				for how, wrap := range readers {
					if got := lengthsOf(t, s, wrap(bytes.NewReader(data)), data); !slices.Equal(got, want) {
						t.Errorf("%+v, %s, %s, %s:\n got %d\nwant %d", tc.p, name, variant, how, got, want)
					}
				}
			}
		}
	}
}

// Every length of a short stream, and every split of the window's warming up.
func TestSplitEveryLength(t *testing.T) {
	p := Params{AESWindow, 64, 400, 8}
	data := lcgBytes(9, 900)
	for name, c := range variants(t, p, testSecret) {
		s := c.NewSplitter()
		for n := range data {
			want := refLengths(p, testSecret, data[:n])
			if got := lengthsOf(t, s, bytes.NewReader(data[:n]), data[:n]); !slices.Equal(got, want) {
				t.Fatalf("%s, %d bytes: got %d, want %d", name, n, got, want)
			}
		}
	}
}

// Many buffers' worth: the tail is moved to the front in the middle of chunks.
func TestSplitMovesTail(t *testing.T) {
	const size = 12 << 20
	data := lcgBytes(5, size)
	for _, p := range []Params{
		{AESWindow, 10000, 300000, 17},
		{AESWindow, 1 << 20, 3 << 20, 20},
		{Rabin, 10000, 300000, 17},
	} {
		c := mustNew(t, p, testSecret)
		s := c.NewSplitter()
		want := lengthsOf(t, s, bytes.NewReader(data), data)
		// The same from single chunks: what precedes a chunk must not matter.
		for i, at := 0, 0; i < len(want); i++ {
			s.Reset(bytes.NewReader(data[at:]))
			b, err := s.Next()
			if err != nil || len(b) != want[i] {
				t.Fatalf("%+v: chunk %d at %d: %d bytes, %v; want %d", p, i, at, len(b), err, want[i])
			}
			at += len(b)
		}
		got := lengthsOf(t, s, &stutterReader{r: bytes.NewReader(data)}, data)
		if !slices.Equal(got, want) {
			t.Errorf("%+v: lengths depend on how the data arrives", p)
		}
	}
}

func TestSplitZeroWindowBoundary(t *testing.T) {
	p := Params{AESWindow, 100, 20000, 8}
	zeros := make([]byte, 30000)
	seen := map[bool]bool{}
	for i := 0; i < 5000 && len(seen) < 2; i++ {
		secret := [32]byte{byte(i), byte(i >> 8)}
		cuts := refWindowTest(secret, p.Bits)(zeros[:64])
		if seen[cuts] {
			continue
		}
		seen[cuts] = true
		want := refLengths(p, secret, zeros)
		if (want[0] == p.Min) != cuts {
			t.Fatalf("first chunk of zeros is %d bytes", want[0])
		}
		for name, c := range variants(t, p, secret) {
			if got := lengthsOf(t, c.NewSplitter(), bytes.NewReader(zeros), zeros); !slices.Equal(got, want) {
				t.Errorf("%s: got %d, want %d", name, got, want)
			}
		}
	}
	if len(seen) < 2 {
		t.Fatal("no secret found that cuts zeros")
	}
}

// Runs of zeros are stepped over, but not what follows at once.
func TestFindAfterZeros(t *testing.T) {
	w := mustNew(t, Params{AESWindow, 64, 65, 8}, testSecret).window
	if w.zeroCuts {
		t.Fatal("this secret does not step over zeros")
	}
	var s windowScratch
	for _, n := range []int{0, 1} {
		for edge := -1; edge <= 1; edge++ {
			zeros := make([]byte, (n+1)*zeroBlock+windowSize-1+edge)
			for seed := range uint64(600) {
				b := append(zeros, lcgBytes(seed, 20)...)
				want := -1
				if i := w.findAny(b[len(zeros)-windowSize:], &s); i >= 0 {
					want = len(zeros) - windowSize + i
				}
				if got := w.find(b, &s); got != want {
					t.Fatalf("%d zeros, seed %d: found %d, want %d", len(zeros), seed, got, want)
				}
			}
		}
	}
}

func TestReadErrors(t *testing.T) {
	fail := errors.New("disk on fire")
	data := lcgBytes(6, 100000)
	for _, alg := range []Algorithm{AESWindow, Rabin} {
		p := Params{alg, 1000, 20000, 12}
		s := mustNew(t, p, testSecret).NewSplitter()
		all := lengthsOf(t, s, bytes.NewReader(data), data)
		for _, n := range []int{0, 1, 999, 50000, len(data)} {
			s.Reset(io.MultiReader(bytes.NewReader(data[:n]), iotest.ErrReader(fail)))
			at, i := 0, 0
			for {
				b, err := s.Next()
				if err != nil {
					if err != fail || b != nil {
						t.Fatalf("got %d bytes and %v, want the reader's error", len(b), err)
					}
					break
				}
				if len(b) != all[i] {
					t.Fatalf("error after %d: chunk %d is %d bytes, want %d", n, i, len(b), all[i])
				}
				i++
				at += len(b)
			}
			if rest := n - at; i < len(all)-1 && (rest < 0 || rest >= all[i]) {
				t.Errorf("error after %d: only %d bytes came in chunks", n, at)
			}
			if _, err := s.Next(); err != fail {
				t.Errorf("the error did not stay: %v", err)
			}
			if got := lengthsOf(t, s, bytes.NewReader(data), data); !slices.Equal(got, all) {
				t.Errorf("Reset after an error does not start over")
			}
		}
	}
}

type brokenReader struct{ n int }

func (r brokenReader) Read(b []byte) (int, error) { return r.n, nil }

type hugeReader struct{}

func (hugeReader) Read(b []byte) (int, error) { return len(b) + 1, nil }

func TestBrokenReaders(t *testing.T) {
	s := mustNew(t, DefaultParams(), testSecret).NewSplitter()
	if b, err := s.Next(); b != nil || err != io.EOF {
		t.Errorf("before Reset: %d bytes, %v", len(b), err)
	}
	s.Reset(brokenReader{0})
	if _, err := s.Next(); err != io.ErrNoProgress {
		t.Errorf("reader without progress: %v", err)
	}
	for _, r := range []io.Reader{brokenReader{-1}, hugeReader{}} {
		s.Reset(r)
		if b, err := s.Next(); err == nil || len(b) > 0 {
			t.Errorf("%T: %d bytes, %v", r, len(b), err)
		}
	}
}

func TestBufferUntouchedBeyondData(t *testing.T) {
	for _, alg := range []Algorithm{AESWindow, Rabin} {
		p := DefaultParams()
		p.Algorithm = alg
		s := mustNew(t, p, testSecret).NewSplitter()
		for _, n := range []int{0, 1, 5000, p.Min - 1, p.Min, p.Min + 1, 300000} {
			for i := range s.buf {
				s.buf[i] = 0xaa
			}
			data := make([]byte, n)
			lengthsOf(t, s, bytes.NewReader(data), data)
			if i := bytes.IndexFunc(s.buf[n:], func(r rune) bool { return r == 0 }); i >= 0 {
				t.Errorf("%v, %d bytes: buffer touched at %d", alg, n, n+i)
			}
		}
	}
}

func TestNoAllocations(t *testing.T) {
	data := lcgBytes(7, 3<<20)
	for _, alg := range []Algorithm{AESWindow, Rabin} {
		for _, c := range variants(t, Params{alg, 4096, 1 << 20, 16}, testSecret) {
			s := c.NewSplitter()
			r := bytes.NewReader(data)
			if n := testing.AllocsPerRun(2, func() {
				r.Reset(data)
				for s.Reset(r); ; {
					if _, err := s.Next(); err != nil {
						return
					}
				}
			}); n > 0 {
				t.Errorf("%v: %v allocations a stream", alg, n)
			}
		}
	}
}

// Two splitters of one chunker at once, for the race detector.
func TestChunkerConcurrentUse(t *testing.T) {
	data := lcgBytes(8, 1<<20)
	for _, alg := range []Algorithm{AESWindow, Rabin} {
		c := mustNew(t, Params{alg, 4096, 1 << 20, 14}, testSecret)
		got := make(chan string)
		for range 4 {
			go func() { got <- fmt.Sprint(lengthsOf(t, c.NewSplitter(), bytes.NewReader(data), data)) }()
		}
		first := <-got
		for range 3 {
			if next := <-got; next != first {
				t.Errorf("%v: splitters differ", alg)
			}
		}
	}
}

func FuzzSplit(f *testing.F) {
	f.Add([]byte("hello"), uint16(0), uint16(0), uint8(0), uint8(0))
	f.Add(lcgBytes(1, 3000), uint16(10), uint16(500), uint8(0), uint8(1))
	f.Add(csvBytes(1, 3000), uint16(100), uint16(900), uint8(1), uint8(2))
	f.Add(make([]byte, 9000), uint16(1), uint16(9000), uint8(0), uint8(3))
	f.Add(append(make([]byte, 9000), lcgBytes(1, 3000)...), uint16(1), uint16(9000), uint8(1), uint8(0))
	f.Fuzz(func(t *testing.T, data []byte, minOver, span uint16, bits, alg uint8) {
		p := Params{
			Algorithm: AESWindow + Algorithm(alg%2),
			Min:       64 + int(minOver),
			Max:       64 + int(minOver) + 1 + int(span),
			Bits:      8 + bits%17,
		}
		if len(data) > 1<<17 || p.Algorithm == Rabin && len(data) > 1<<14 {
			t.Skip("slow")
		}
		secret := [32]byte{alg, bits}
		want := refLengths(p, secret, data)
		for name, c := range variants(t, p, secret) {
			for how, wrap := range readers {
				if got := lengthsOf(t, c.NewSplitter(), wrap(bytes.NewReader(data)), data); !slices.Equal(got, want) {
					t.Errorf("%+v, %s, %s:\n got %d\nwant %d", p, name, how, got, want)
				}
			}
		}
	})
}
