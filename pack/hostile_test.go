package pack

import (
	"bytes"
	"errors"
	"runtime"
	"slices"
	"testing"

	"vault/crypto"
	"vault/internal/wire"
)

// forge seals a pack of size bytes with any directory and footer: what someone who
// has the keys can do.
func forge(t testing.TB, size int, segments, directory, footer []byte) []byte {
	t.Helper()
	o, err := testKeys.NewObject(crypto.KindPack, crypto.SessionID{1}, newRand(1))
	if err != nil {
		t.Fatal(err)
	}
	file := append(slices.Clone(o.Header()), segments...)
	n := size - len(file) - len(directory) - Overhead - footerSize
	if n < 0 {
		t.Fatalf("forged pack of %d bytes lacks %d", size, -n)
	}
	file = o.Padding(file, n)
	file = o.Seal(file, crypto.NonceDirectory, 0, nil, directory)
	return o.Seal(file, crypto.NonceFooter, 0, nil, footer)
}

func footer(offset uint64, length, zero uint32) []byte {
	return wire.AppendU32(wire.AppendU32(wire.AppendU64(nil, offset), length), zero)
}

// entry encodes the segment part of a directory entry.
func entry(b []byte, stored, raw uint64, codec byte, blobs uint64) []byte {
	b = wire.AppendUvarint(wire.AppendUvarint(b, stored), raw)
	return wire.AppendUvarint(append(b, codec), blobs)
}

func blobEntry(b []byte, length uint64) []byte {
	return wire.AppendUvarint(append(b, make([]byte, 32)...), length)
}

func goodDirectory() []byte { return blobEntry(entry([]byte{1, 1, 1}, 26, 10, 0, 1), 10) }

func TestHostileFooter(t *testing.T) {
	d := goodDirectory()
	n := uint32(len(d) + Overhead)
	at := uint64(512 - footerSize - int(n))
	tests := map[string]struct {
		footer []byte
		ok     bool
	}{
		"honest":           {footer(at, n, 0), true},
		"reserved":         {footer(at, n, 1), false},
		"one before":       {footer(at-1, n+1, 0), false},
		"one behind":       {footer(at+1, n-1, 0), false},
		"short":            {footer(at, n-1, 0), false},
		"long":             {footer(at, n+1, 0), false},
		"in the header":    {footer(1, 512-footerSize-1, 0), false},
		"at zero":          {footer(0, 512-footerSize, 0), false},
		"behind the end":   {footer(1<<20, n, 0), false},
		"wraps":            {footer(1<<64-1, n, 0), false},
		"wraps to the end": {footer(uint64(512-footerSize)-uint64(n)+1<<63, n, 0), false},
		"empty":            {footer(512-footerSize, 0, 0), false},
		"huge":             {footer(at, 1<<32-1, 0), false},
	}
	for name, tt := range tests {
		file := forge(t, 512, make([]byte, 26), d, tt.footer)
		_, _, err := ReadDirectory(testKeys, 512, readFrom(file))
		if (err == nil) != tt.ok {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestHostileDirectory(t *testing.T) {
	many := func(n int) []byte {
		b := wire.AppendUvarint([]byte{1, 1}, uint64(n))
		for range n {
			b = entry(b, 17, 1, 0, 1)
		}
		for range n {
			b = blobEntry(b, 1)
		}
		return b
	}
	tests := []struct {
		name string
		b    []byte
		ok   bool
	}{
		{"honest", goodDirectory(), true},
		{"empty", nil, false},
		{"version", append([]byte{2}, goodDirectory()[1:]...), false},
		{"kind 0", append([]byte{1, 0}, goodDirectory()[2:]...), false},
		{"kind 3", append([]byte{1, 3}, goodDirectory()[2:]...), false},
		{"no segments", []byte{1, 1, 0}, false},
		{"10^9 segments", wire.AppendUvarint([]byte{1, 1}, 1e9), false},
		{"65536 segments, no bytes", wire.AppendUvarint([]byte{1, 1}, MaxSegments), false},
		{"most segments", many(MaxSegments), true},
		{"one segment too many", many(MaxSegments + 1), false},
		{"10^9 blobs", entry([]byte{1, 1, 1}, MaxRaw+16, MaxRaw, 0, 1e9), false},
		{"16 million blobs, no bytes", entry([]byte{1, 1, 1}, MaxRaw+16, MaxRaw, 0, MaxRaw), false},
		{"no blobs", entry([]byte{1, 1, 1}, 26, 10, 0, 0), false},
		{"trailing", append(goodDirectory(), 0), false},
		{"raw 0", entry([]byte{1, 1, 1}, 16, 0, 0, 0), false},
		{"raw above the limit", blobEntry(entry([]byte{1, 1, 1}, MaxRaw+17, MaxRaw+1, 0, 1), MaxRaw+1), false},
		{"largest", blobEntry(entry([]byte{1, 1, 1}, MaxRaw+16, MaxRaw, 0, 1), MaxRaw), true},
		{"stored too short", blobEntry(entry([]byte{1, 1, 1}, 25, 10, 0, 1), 10), false},
		{"stored too long", blobEntry(entry([]byte{1, 1, 1}, 27, 10, 0, 1), 10), false},
		{"compressed", blobEntry(entry([]byte{1, 1, 1}, 25, 10, 1, 1), 10), true},
		{"compressed to nothing", blobEntry(entry([]byte{1, 1, 1}, 16, 10, 1, 1), 10), false},
		{"compressed without saving", blobEntry(entry([]byte{1, 1, 1}, 26, 10, 1, 1), 10), false},
		{"codec 2", blobEntry(entry([]byte{1, 1, 1}, 26, 10, 2, 1), 10), false},
		{"blob too short", blobEntry(entry([]byte{1, 1, 1}, 26, 10, 0, 1), 9), false},
		{"blob too long", blobEntry(entry([]byte{1, 1, 1}, 26, 10, 0, 1), 11), false},
		{"empty blob", blobEntry(blobEntry(entry([]byte{1, 1, 1}, 26, 10, 0, 2), 10), 0), false},
		{"two blobs", blobEntry(blobEntry(entry([]byte{1, 1, 1}, 26, 10, 0, 2), 9), 1), true},
		{"not minimal", append([]byte{1, 1, 0x81, 0}, goodDirectory()[3:]...), false},
	}
	for _, tt := range tests {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		d, err := decodeDirectory(tt.b, crypto.HeaderSize, MaxSize)
		runtime.ReadMemStats(&after)
		if (err == nil) != tt.ok {
			t.Errorf("%s: %v", tt.name, err)
		}
		if err == nil && !bytes.Equal(d.Encode(), tt.b) {
			t.Errorf("%s: does not encode to the same bytes", tt.name)
		}
		if err != nil && !errors.Is(err, crypto.ErrDamaged) && !errors.Is(err, crypto.ErrUnsupported) {
			t.Errorf("%s: %v", tt.name, err)
		}
		if used := after.TotalAlloc - before.TotalAlloc; used > uint64(64*len(tt.b)+1<<16) {
			t.Errorf("%s: %d bytes allocated for %d", tt.name, used, len(tt.b))
		}
	}
	b := goodDirectory()
	if _, err := decodeDirectory(b, crypto.HeaderSize, crypto.HeaderSize+25); err == nil {
		t.Error("a segment reaches into the directory: no error")
	}
	if _, err := decodeDirectory(b, crypto.HeaderSize, crypto.HeaderSize+26); err != nil {
		t.Error(err)
	}
}

func TestTooMuchPadding(t *testing.T) {
	d := goodDirectory()
	n := len(d) + Overhead
	for size, ok := range map[int]bool{512: true, 544: false, 1 << 20: false} {
		file := forge(t, size, make([]byte, 26), d, footer(uint64(size-footerSize-n), uint32(n), 0))
		if _, _, err := ReadDirectory(testKeys, int64(size), readFrom(file)); (err == nil) != ok {
			t.Errorf("padded to %d: %v", size, err)
		}
	}
}

func TestReadErrors(t *testing.T) {
	b := newBuilder(t, crypto.BlobData, 1<<20, nil)
	rng := newRand(3)
	var data [][]byte
	for range 3000 {
		data = append(data, noise(rng, 100))
	}
	add(t, b, NewCoder(LevelNone), data...)
	file := finish(t, b).Bytes
	broken := errors.New("broken")
	for fail := range 4 {
		calls := 0
		_, _, err := ReadDirectory(testKeys, int64(len(file)), func(off int64, dst []byte) error {
			if calls++; calls == fail+1 {
				return broken
			}
			return readFrom(file)(off, dst)
		})
		if wantErr := fail < 3; errors.Is(err, broken) != wantErr {
			t.Errorf("read %d fails: %v", fail, err)
		}
		if calls > 3 {
			t.Errorf("%d reads", calls)
		}
	}
	foreign := crypto.NewKeys(crypto.MasterKey{1, 2, 3}, crypto.RepoID{99}, crypto.AESGCM)
	if _, _, err := ReadDirectory(foreign, int64(len(file)), readFrom(file)); !errors.Is(err, crypto.ErrForeign) {
		t.Errorf("other repository: %v", err)
	}
}

// TestSwappedSegments: a segment opens in its own pack, under its own number only.
func TestSwappedSegments(t *testing.T) {
	rng := newRand(4)
	data := [][]byte{noise(rng, 500), noise(rng, 500)}
	open := func() (Finished, *crypto.Object) {
		b, err := NewBuilder(testKeys, crypto.SessionID{}, crypto.BlobData, 4096, nil, rng)
		if err != nil {
			t.Fatal(err)
		}
		add(t, b, NewCoder(LevelNone), data[0])
		add(t, b, NewCoder(LevelNone), data[1])
		f := finish(t, b)
		_, o, err := ReadDirectory(testKeys, int64(len(f.Bytes)), readFrom(f.Bytes))
		if err != nil {
			t.Fatal(err)
		}
		return f, o
	}
	f, o := open()
	g, _ := open()
	if f.ID == g.ID {
		t.Fatal("two packs have one name")
	}
	c := NewCoder(LevelNone)
	s := f.Directory.Segments
	bytesOf := func(f Finished, i int) []byte { return f.Bytes[s[i].Offset:][:s[i].Stored] }
	if _, err := OpenSegment(o, c, s[0], bytesOf(f, 0), nil); err != nil {
		t.Error(err)
	}
	for what, sealed := range map[string][]byte{"other number": bytesOf(f, 1), "other pack": bytesOf(g, 0), "short": bytesOf(f, 0)[1:], "nothing": nil} {
		if _, err := OpenSegment(o, c, s[0], sealed, nil); err == nil {
			t.Errorf("%s: no error", what)
		}
	}
}

func FuzzDecodeDirectory(f *testing.F) {
	f.Add(goodDirectory(), uint32(1<<20))
	f.Add(blobEntry(blobEntry(entry([]byte{1, 2, 1}, 26, 10, 0, 2), 9), 1), uint32(200))
	f.Add(wire.AppendUvarint([]byte{1, 1}, 1e9), uint32(MaxSize))
	f.Fuzz(func(t *testing.T, b []byte, end uint32) {
		end %= MaxSize + 1
		d, err := decodeDirectory(b, crypto.HeaderSize, end)
		if err != nil {
			return
		}
		if !bytes.Equal(d.Encode(), b) {
			t.Fatal("does not encode to the same bytes")
		}
		at := crypto.HeaderSize
		for i, s := range d.Segments {
			sum := 0
			for _, blob := range s.Blobs {
				sum += int(blob.Length)
			}
			if int(s.Offset) != at || int(s.Ordinal) != i || sum != int(s.Raw) || s.Raw > MaxRaw {
				t.Fatalf("segment %d: %+v", i, s)
			}
			at += int(s.Stored)
		}
		if at > int(end) {
			t.Fatalf("segments end at %d, beyond %d", at, end)
		}
	})
}

// FuzzReadDirectory seals hostile directories and footers, so that what lies behind
// the authentication is reached, or changes a byte of the file.
func FuzzReadDirectory(f *testing.F) {
	d := goodDirectory()
	f.Add(d, uint64(512-footerSize-len(d)-Overhead), uint32(len(d)+Overhead), uint32(0), uint16(0), byte(0))
	f.Add(d, uint64(512-footerSize-len(d)-Overhead), uint32(len(d)+Overhead), uint32(0), uint16(7), byte(1))
	f.Fuzz(func(t *testing.T, d []byte, offset uint64, length, zero uint32, at uint16, change byte) {
		size := crypto.PaddedSize(crypto.HeaderSize + 26 + len(d) + Overhead + footerSize)
		file := forge(t, size, make([]byte, 26), d, footer(offset, length, zero))
		file[int(at)%len(file)] ^= change
		got, _, err := ReadDirectory(testKeys, int64(size), readFrom(file))
		if err == nil && !bytes.Equal(got.Encode(), d) {
			t.Fatal("another directory than the one sealed")
		}
	})
}
