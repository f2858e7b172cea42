package pack

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"vault/crypto"
)

var testKeys = crypto.NewKeys(crypto.MasterKey{1, 2, 3}, crypto.RepoID{4, 5, 6}, crypto.AESGCM)

func newRand(seed byte) *rand.ChaCha8 { return rand.NewChaCha8([32]byte{seed}) }

// noise returns n random bytes, text n bytes that compress well.
func noise(rng *rand.ChaCha8, n int) []byte {
	b := make([]byte, n)
	rng.Read(b)
	return b
}

func text(rng *rand.ChaCha8, n int) []byte {
	words := []string{"segment ", "pack ", "blob ", "index\n", "0123 ", "directory, ", "of ", "the "}
	var b []byte
	for len(b) < n {
		b = append(b, words[rng.Uint64()%uint64(len(words))]...)
	}
	return b[:n]
}

// gather joins the blobs of a segment and names them.
func gather(keys *crypto.Keys, kind crypto.BlobKind, data ...[]byte) (raw []byte, blobs []Blob) {
	for _, d := range data {
		raw = append(raw, d...)
		blobs = append(blobs, Blob{keys.BlobID(kind, d), uint32(len(d))})
	}
	return raw, blobs
}

func newBuilder(t testing.TB, kind crypto.BlobKind, target int, buf []byte) *Builder {
	t.Helper()
	b, err := NewBuilder(testKeys, crypto.SessionID{7}, kind, target, buf, newRand(9))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// add puts one segment into b, verified.
func add(t testing.TB, b *Builder, c *Coder, data ...[]byte) bool {
	t.Helper()
	raw, blobs := gather(testKeys, b.kind, data...)
	coded, codec := c.Encode(nil, raw)
	slot, ok := b.Reserve(coded, codec, len(raw), blobs)
	if !ok {
		return false
	}
	slot.Seal(coded)
	if _, err := slot.Verify(c, nil); err != nil {
		t.Fatal(err)
	}
	return true
}

func finish(t testing.TB, b *Builder) Finished {
	t.Helper()
	f, err := b.Finish()
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// readFrom reads as from a file: beyond its end is an error.
func readFrom(file []byte) func(int64, []byte) error {
	return func(off int64, dst []byte) error {
		if off < 0 || off+int64(len(dst)) > int64(len(file)) {
			return fmt.Errorf("read %d bytes at %d of %d", len(dst), off, len(file))
		}
		copy(dst, file[off:])
		return nil
	}
}

// readPack returns all blobs of a file that claims to be size bytes long, names
// checked.
func readPack(file []byte, size int64) (Directory, [][]byte, error) {
	d, object, err := ReadDirectory(testKeys, size, readFrom(file))
	if err != nil {
		return d, nil, err
	}
	var data [][]byte
	c := NewCoder(LevelNone)
	for _, s := range d.Segments {
		sealed := make([]byte, s.Stored)
		if err := readFrom(file)(int64(s.Offset), sealed); err != nil {
			return d, nil, err
		}
		plain, err := OpenSegment(object, c, s, sealed, nil)
		if err != nil {
			return d, nil, err
		}
		for _, b := range s.Blobs {
			if testKeys.BlobID(d.Kind, plain[:b.Length]) != b.ID {
				return d, nil, fmt.Errorf("wrong name: %w", crypto.ErrDamaged)
			}
			data = append(data, slices.Clone(plain[:b.Length]))
			plain = plain[b.Length:]
		}
	}
	return d, data, nil
}

func TestRoundTrip(t *testing.T) {
	rng := newRand(1)
	small := func(n int) (list [][]byte) {
		for i := range n {
			list = append(list, text(rng, 1+i%700))
		}
		return list
	}
	tests := []struct {
		name     string
		kind     crypto.BlobKind
		level    Level
		target   int
		segments [][][]byte
		size     int // 0: at most target
	}{
		{"one byte", crypto.BlobData, LevelFastest, 1 << 20, [][][]byte{{{0}}}, 512},
		{"tree", crypto.BlobTree, LevelBest, 1 << 20, [][][]byte{{text(rng, 5000)}}, 0},
		{"many small", crypto.BlobData, LevelDefault, 1 << 20, [][][]byte{small(2000), small(1), small(500)}, 0},
		{"directory above the tail", crypto.BlobData, LevelFastest, 16 << 20, [][][]byte{small(5000), small(5000)}, 0},
		{"mixed", crypto.BlobData, LevelBetter, 4 << 20, [][][]byte{small(100), {noise(rng, 1<<20)}, {noise(rng, 1000), text(rng, 300000)}}, 0},
		{"largest, as it is", crypto.BlobData, LevelFastest, 1 << 20, [][][]byte{{noise(rng, MaxRaw)}}, crypto.PaddedSize(MaxRaw + 1000)},
		{"largest, compressed", crypto.BlobData, LevelFastest, 16 << 20, [][][]byte{{bytes.Repeat(text(rng, 1<<14), MaxRaw>>14)}}, 0},
		{"no compression", crypto.BlobData, LevelNone, 1 << 20, [][][]byte{{text(rng, 600000)}}, 0},
		{"target is no class", crypto.BlobData, LevelNone, 1000003, [][][]byte{{noise(rng, 900000)}}, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			b := newBuilder(t, tt.kind, tt.target, nil)
			if !b.Empty() {
				t.Error("new builder is not empty")
			}
			c := NewCoder(tt.level)
			var want [][]byte
			for _, s := range tt.segments {
				if !add(t, b, c, s...) {
					t.Fatal("segment does not fit")
				}
				want = append(want, s...)
			}
			size := b.Size()
			f := finish(t, b)
			if len(f.Bytes) != size || len(f.Bytes) != crypto.PaddedSize(size) || size > max(tt.target, tt.size) || tt.size > 0 && size != tt.size {
				t.Errorf("%d bytes, Size said %d; want at most %d or exactly %d", len(f.Bytes), size, tt.target, tt.size)
			}
			if f.ID != ID(crypto.FileHash(f.Bytes)) || !bytes.HasPrefix(f.Bytes, f.Header) || len(f.Header) != crypto.HeaderSize {
				t.Error("name or header is not that of the file")
			}
			d, got, err := readPack(f.Bytes, int64(len(f.Bytes)))
			if err != nil {
				t.Fatal(err)
			}
			if !d.equal(f.Directory) || d.Kind != tt.kind || len(d.Segments) != len(tt.segments) || d.Blobs() != len(want) {
				t.Error("directory differs")
			}
			if !slices.EqualFunc(got, want, bytes.Equal) {
				t.Error("blobs differ")
			}
		})
	}
}

// TestFlips flips every bit of a pack. What reads without an error must be right,
// and only the padding may be changed without a reader's notice: its only check is
// the name of the pack.
func TestFlips(t *testing.T) {
	rng := newRand(2)
	b := newBuilder(t, crypto.BlobData, 4096, nil)
	c := NewCoder(LevelFastest)
	want := [][]byte{noise(rng, 20), noise(rng, 70), text(rng, 700)}
	add(t, b, c, want[0], want[1])
	add(t, b, c, want[2])
	f := finish(t, b)
	file := slices.Clone(f.Bytes)
	padding := len(file) - footerSize - len(f.Directory.Encode()) - Overhead - f.Directory.end()
	if f.Directory.Segments[1].Codec != Zstd || padding == 0 {
		t.Fatalf("the sample lacks a compressed segment or padding: %d of %d bytes, %v", padding, len(file), f.Directory.Segments[1].Codec)
	}
	unnoticed := 0
	for i := range 8 * len(file) {
		file[i/8] ^= 1 << (i % 8)
		if ID(crypto.FileHash(file)) == f.ID {
			t.Fatalf("bit %d does not change the name", i)
		}
		_, got, err := readPack(file, int64(len(file)))
		if err == nil {
			unnoticed++
			if !slices.EqualFunc(got, want, bytes.Equal) {
				t.Fatalf("bit %d: wrong bytes", i)
			}
		}
		file[i/8] ^= 1 << (i % 8)
	}
	if unnoticed != 8*padding {
		t.Errorf("%d flips unnoticed, %d bits of padding", unnoticed, 8*padding)
	}
}

func TestTruncation(t *testing.T) {
	rng := newRand(3)
	b := newBuilder(t, crypto.BlobTree, 8192, nil)
	add(t, b, NewCoder(LevelFastest), noise(rng, 1000), text(rng, 500))
	file := finish(t, b).Bytes
	for n := range file {
		if _, _, err := readPack(file[:n], int64(n)); err == nil {
			t.Errorf("cut to %d bytes: no error", n)
		}
		if _, _, err := readPack(file[:n], int64(len(file))); err == nil {
			t.Errorf("cut to %d bytes, size as before: no error", n)
		}
	}
	for _, size := range []int64{-1, 0, 1, MaxSize + 1, 1 << 62} {
		if _, _, err := readPack(file, size); err == nil {
			t.Errorf("size %d: no error", size)
		}
	}
	longer := append(slices.Clone(file), make([]byte, 8192)...)
	if _, _, err := readPack(longer, int64(len(longer))); err == nil {
		t.Error("appended zeros: no error")
	}
}

// TestSizesHide shows that the size of a pack depends on volume and number of blobs
// only, not on how the volume is divided.
func TestSizesHide(t *testing.T) {
	sizes := map[string][]int{
		"equal":  {400 << 10, 400 << 10, 400 << 10, 400 << 10},
		"rising": {100 << 10, 300 << 10, 500 << 10, 700 << 10},
		"one":    {1600<<10 - 3*20000, 20000, 20000, 20000},
	}
	seen := map[int]bool{}
	for name, list := range sizes {
		rng := newRand(4)
		b := newBuilder(t, crypto.BlobData, 16<<20, nil)
		for _, n := range list {
			add(t, b, NewCoder(LevelFastest), noise(rng, n))
		}
		n := len(finish(t, b).Bytes)
		t.Logf("%s: %d", name, n)
		seen[n] = true
	}
	if len(seen) != 1 {
		t.Errorf("sizes %v for one volume", seen)
	}
}

func TestID(t *testing.T) {
	id := ID{0xab, 1, 31: 0xff}
	if got := id.Path(); got != "packs/ab/"+id.String() || len(got) != 9+64 {
		t.Errorf("path %q", got)
	}
	if back, err := ParseID(id.String()); err != nil || back != id {
		t.Errorf("ParseID: %v, %v", back, err)
	}
	for _, s := range []string{"", "ab", strings.ToUpper(id.String()), id.String() + "00", strings.Repeat("x", 64)} {
		if _, err := ParseID(s); err == nil {
			t.Errorf("ParseID(%q): no error", s)
		}
	}
	for l := LevelNone; l <= LevelBest; l++ {
		if back, err := ParseLevel(l.String()); err != nil || back != l {
			t.Errorf("ParseLevel(%v): %v, %v", l, back, err)
		}
	}
	if _, err := ParseLevel("Best"); err == nil {
		t.Error("ParseLevel accepts another spelling")
	}
}
