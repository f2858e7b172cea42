package pack

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"

	"vault/crypto"
)

func TestConcurrentSlots(t *testing.T) {
	const workers, each = 8, 24
	b := newBuilder(t, crypto.BlobData, 16<<20, nil)
	var mu sync.Mutex
	want := map[crypto.ID][]byte{}
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			rng := newRand(byte(w))
			c := NewCoder(LevelFastest)
			var coded, scratch []byte
			for i := range each {
				data := text(rng, 100+i*1000)
				if i%2 == 0 {
					data = noise(rng, 100+i*500)
				}
				raw, blobs := gather(testKeys, crypto.BlobData, data[:50], data[50:])
				out, codec := c.Encode(coded, raw)
				if codec == Zstd {
					coded = out
				}
				slot, ok := b.Reserve(out, codec, len(raw), blobs)
				if !ok {
					t.Error("does not fit")
					return
				}
				slot.Seal(out)
				var err error
				if scratch, err = slot.Verify(c, scratch); err != nil {
					t.Error(err)
				}
				mu.Lock()
				want[blobs[0].ID], want[blobs[1].ID] = data[:50], data[50:]
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	f := finish(t, b)
	d, got, err := readPack(f.Bytes, int64(len(f.Bytes)))
	if err != nil || len(d.Segments) != workers*each || len(got) != 2*workers*each {
		t.Fatalf("%d segments, %d blobs, %v", len(d.Segments), len(got), err)
	}
	for _, data := range got {
		id := testKeys.BlobID(crypto.BlobData, data)
		if !bytes.Equal(want[id], data) {
			t.Fatalf("blob %v is wrong or was not put", id)
		}
		delete(want, id)
	}
	if len(want) != 0 {
		t.Errorf("%d blobs are missing", len(want))
	}
}

// TestTarget fills packs at random: none may exceed its target, and one that is
// refused must really not have fitted.
func TestTarget(t *testing.T) {
	rng := rand.New(newRand(5))
	data := noise(newRand(6), 1<<16)
	c := NewCoder(LevelNone)
	buf := make([]byte, 1<<17)
	for _, target := range []int{1 << 17, 100_000, 3 << 15} {
		for range 30 {
			b := newBuilder(t, crypto.BlobData, target, buf)
			for {
				n := 1 + rng.IntN(1<<14)
				free := b.Free()
				if !add(t, b, c, data[:n]) {
					if free >= n+10 && crypto.PaddedSize(target) == target {
						t.Fatalf("%d bytes are refused, %d are free", n, free)
					}
					break
				}
			}
			f := finish(t, b)
			if len(f.Bytes) > target || &f.Bytes[0] != &buf[0] {
				t.Fatalf("%d bytes in other memory or above %d", len(f.Bytes), target)
			}
		}
	}
}

func TestFirstSegmentAlwaysFits(t *testing.T) {
	rng := newRand(7)
	b := newBuilder(t, crypto.BlobData, 1, nil)
	data := noise(rng, 100_000)
	if !add(t, b, NewCoder(LevelNone), data) {
		t.Fatal("first segment is refused")
	}
	if add(t, b, NewCoder(LevelNone), []byte{1}) {
		t.Error("second segment is accepted above the target")
	}
	f := finish(t, b)
	if _, got, err := readPack(f.Bytes, int64(len(f.Bytes))); err != nil || !bytes.Equal(got[0], data) {
		t.Errorf("read back: %v", err)
	}
	if _, err := NewBuilder(testKeys, crypto.SessionID{}, crypto.BlobData, MaxSize+1, nil, rng); err == nil {
		t.Error("target above the limit: no error")
	}
}

func TestMostSegments(t *testing.T) {
	b := newBuilder(t, crypto.BlobData, 32<<20, nil)
	raw, blobs := gather(testKeys, crypto.BlobData, []byte{1})
	for i := range MaxSegments {
		if _, ok := b.Reserve(raw, Stored, 1, blobs); !ok {
			t.Fatalf("segment %d is refused", i)
		}
	}
	if _, ok := b.Reserve(raw, Stored, 1, blobs); ok {
		t.Error("one segment too many is accepted")
	}
}

func mustPanic(t *testing.T, what string, f func()) {
	t.Helper()
	defer func() {
		if recover() == nil {
			t.Errorf("%s: no panic", what)
		}
	}()
	f()
}

func TestMisuse(t *testing.T) {
	raw, blobs := gather(testKeys, crypto.BlobData, []byte("hello"), []byte("world"))
	b := newBuilder(t, crypto.BlobData, 4096, nil)
	mustPanic(t, "Finish of nothing", func() { b.Finish() })
	mustPanic(t, "wrong sum", func() { b.Reserve(raw, Stored, 10, blobs[:1]) })
	mustPanic(t, "no blobs", func() { b.Reserve(nil, Stored, 0, nil) })
	mustPanic(t, "wrong stored length", func() { b.Reserve(raw[1:], Stored, 10, blobs) })
	mustPanic(t, "compressed is longer", func() { b.Reserve(make([]byte, 11), Zstd, 10, blobs) })
	mustPanic(t, "unknown codec", func() { b.Reserve(raw, 2, 10, blobs) })
	mustPanic(t, "too long", func() {
		b.Reserve(make([]byte, MaxRaw+1), Stored, MaxRaw+1, []Blob{{Length: MaxRaw + 1}})
	})
	mustPanic(t, "empty blob", func() { b.Reserve(raw, Stored, 10, append(slices.Clone(blobs), Blob{})) })

	slot, _ := b.Reserve(raw, Stored, 10, blobs)
	mustPanic(t, "Verify before Seal", func() { slot.Verify(NewCoder(LevelNone), nil) })
	mustPanic(t, "Seal of other length", func() { slot.Seal(raw[1:]) })
	slot.Seal(raw)
	mustPanic(t, "Seal twice", func() { slot.Seal(raw) })
	mustPanic(t, "Finish before Verify", func() { b.Finish() })
}

// TestPlantedFaults shows that verification catches what it is for: a codec, a
// seal, a name or a directory that is wrong never leaves the builder.
func TestPlantedFaults(t *testing.T) {
	honest := newEncoder(LevelFastest)
	flip := func(at int) func(dst, raw []byte) []byte {
		return func(dst, raw []byte) []byte {
			raw = slices.Clone(raw)
			raw[at] ^= 4
			return honest(dst, raw)
		}
	}
	codecs := map[string]func(dst, raw []byte) []byte{
		"first byte":   flip(0),
		"last byte":    flip(9999),
		"short":        func(dst, raw []byte) []byte { return honest(dst, raw[:len(raw)-1]) },
		"long":         func(dst, raw []byte) []byte { return honest(dst, append(slices.Clone(raw), 1)) },
		"two frames":   func(dst, raw []byte) []byte { return honest(honest(dst, raw[:5000]), raw[5000:]) },
		"cut frame":    func(dst, raw []byte) []byte { f := honest(dst, raw); return f[:len(f)-1] },
		"trailing":     func(dst, raw []byte) []byte { return append(honest(dst, raw), 0) },
		"no frame":     func(dst, raw []byte) []byte { return append(dst, make([]byte, 100)...) },
		"empty":        func(dst, raw []byte) []byte { return honest(dst, nil) },
		"blobs turned": func(dst, raw []byte) []byte { return honest(dst, append(slices.Clone(raw[5000:]), raw[:5000]...)) },
	}
	data := text(newRand(8), 10000)
	raw, blobs := gather(testKeys, crypto.BlobData, data[:5000], data[5000:])
	try := func(c *Coder, blobs []Blob, plant fault) error {
		b := newBuilder(t, crypto.BlobData, 1<<16, nil)
		b.plant = plant
		coded, codec := c.Encode(nil, raw)
		if codec != Zstd {
			t.Fatal("not compressed: the fault has no effect")
		}
		slot, _ := b.Reserve(coded, codec, len(raw), blobs)
		slot.Seal(coded)
		if _, err := slot.Verify(c, nil); err != nil {
			mustPanic(t, "Finish after failed Verify", func() { b.Finish() })
			return err
		}
		_, err := b.Finish()
		return err
	}
	if err := try(NewCoderFunc(honest), blobs, fault{}); err != nil {
		t.Fatal(err)
	}
	caught := func(what string, err error) {
		t.Helper()
		if !errors.Is(err, ErrVerify) {
			t.Errorf("%s: %v", what, err)
		}
	}
	for name, compress := range codecs {
		caught("codec: "+name, try(NewCoderFunc(compress), blobs, fault{}))
	}
	good := NewCoder(LevelFastest)
	turned := []Blob{blobs[1], blobs[0]}
	caught("names turned", try(good, turned, fault{}))
	other := slices.Clone(blobs)
	other[1].ID[31] ^= 1
	caught("name of another blob", try(good, other, fault{}))
	kind := slices.Clone(blobs)
	kind[0].ID = testKeys.BlobID(crypto.BlobTree, data[:5000])
	caught("name of another kind", try(good, kind, fault{}))
	for _, at := range []int{0, 100, -1, -17} {
		index := func(b []byte) int { return (at + len(b)) % len(b) }
		caught("seal", try(good, blobs, fault{sealed: func(_ uint32, b []byte) { b[index(b)] ^= 1 }}))
		caught("directory", try(good, blobs, fault{directory: func(b []byte) { b[index(b)] ^= 1 }}))
	}
	for at := 1; at <= footerSize+2+1+3+Overhead; at++ {
		caught("file", try(good, blobs, fault{file: func(b []byte) { b[len(b)-at] ^= 0x80 }}))
	}
	caught("header", try(good, blobs, fault{file: func(b []byte) { b[60] ^= 1 }}))
}

// TestVerifyReadsSealedBytes makes sure that Verify looks at the pack, not at what
// was to be sealed.
func TestVerifyReadsSealedBytes(t *testing.T) {
	b := newBuilder(t, crypto.BlobData, 4096, nil)
	raw, blobs := gather(testKeys, crypto.BlobData, []byte("some blob"))
	slot, _ := b.Reserve(raw, Stored, len(raw), blobs)
	slot.Seal(raw)
	b.buf[crypto.HeaderSize+3] ^= 1
	if _, err := slot.Verify(NewCoder(LevelNone), nil); !errors.Is(err, ErrVerify) || !errors.Is(err, crypto.ErrTampered) {
		t.Errorf("changed after sealing: %v", err)
	}
}
