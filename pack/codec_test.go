package pack

import (
	"bytes"
	"errors"
	"testing"

	"github.com/klauspost/compress/zstd"

	"vault/crypto"
)

func TestEncodeDecides(t *testing.T) {
	rng := newRand(1)
	join := func(parts ...[]byte) []byte { return bytes.Join(parts, nil) }
	base64 := func(n int) []byte {
		b := noise(rng, n)
		for i := range b {
			b[i] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"[b[i]&63]
		}
		return b
	}
	again := noise(rng, 100_000)
	tests := []struct {
		name  string
		raw   []byte
		codec Codec
	}{
		{"one byte", []byte{1}, Stored},
		{"small noise", noise(rng, 100), Stored},
		{"small text", text(rng, 500), Zstd},
		{"noise", noise(rng, 512<<10), Stored},
		{"noise, not a whole region", noise(rng, 100_003), Stored},
		{"text", text(rng, 512<<10), Zstd},
		{"zeros", make([]byte, 1<<20), Zstd},
		{"base64, no repetitions", base64(512 << 10), Zstd},
		{"noise, then a little text", join(noise(rng, 480<<10), text(rng, 32<<10)), Zstd},
		{"text at the start", join(text(rng, 32<<10), noise(rng, 480<<10)), Zstd},
		{"noise with base64 inside", join(noise(rng, 128<<10), base64(128<<10), noise(rng, 200<<10)), Zstd},
		{"noise that repeats", join(again, noise(rng, 200_000), again), Zstd},
		{"hardly any text", join(noise(rng, 512<<10), text(rng, 2<<10)), Stored},
	}
	for _, tt := range tests {
		for level := LevelFastest; level <= LevelBest; level++ {
			c := NewCoder(level)
			out, codec := c.Encode(nil, tt.raw)
			if codec != tt.codec {
				t.Errorf("%s, %v: %v, %d of %d bytes", tt.name, level, codec, len(out), len(tt.raw))
			}
			if codec == Zstd && len(out) > len(tt.raw)-len(tt.raw)/50 {
				t.Errorf("%s, %v: saves too little: %d of %d bytes", tt.name, level, len(out), len(tt.raw))
			}
			back, err := c.Decode(nil, codec, out, len(tt.raw))
			if err != nil || !bytes.Equal(back, tt.raw) {
				t.Errorf("%s, %v: decodes to something else: %v", tt.name, level, err)
			}
		}
	}
	if out, codec := NewCoder(LevelNone).Encode(nil, make([]byte, 1000)); codec != Stored || len(out) != 1000 {
		t.Error("level none compresses")
	}
}

// TestProbeLosesLittle compares with compressing always.
func TestProbeLosesLittle(t *testing.T) {
	rng := newRand(2)
	encode := newEncoder(LevelFastest)
	var all, chosen, total int
	for share := range 33 { // of 16 KiB parts in 512 KiB
		var raw []byte
		for part := range 32 {
			if (part*7+share)%32 < share {
				raw = append(raw, text(rng, 16<<10)...)
			} else {
				raw = append(raw, noise(rng, 16<<10)...)
			}
		}
		out, _ := NewCoder(LevelFastest).Encode(nil, raw)
		chosen += len(out)
		all += min(len(encode(nil, raw)), len(raw))
		total += len(raw)
	}
	t.Logf("%d bytes: compressed always %d, after the probe %d", total, all, chosen)
	if chosen > all+all/200 {
		t.Errorf("the probe loses %d of %d bytes", chosen-all, all)
	}
}

func TestHostileFrames(t *testing.T) {
	rng := newRand(3)
	raw := text(rng, 10_000)
	encode := newEncoder(LevelFastest)
	frame := encode(nil, raw)
	with := func(opts ...zstd.EOption) *zstd.Encoder {
		e, err := zstd.NewWriter(nil, opts...)
		if err != nil {
			t.Fatal(err)
		}
		return e
	}
	// A streaming encoder does not know the size in advance.
	var unsized bytes.Buffer
	e, _ := zstd.NewWriter(&unsized)
	e.Write(raw)
	e.Flush()
	e.Close()
	wide := with(zstd.WithWindowSize(32<<20), zstd.WithSingleSegment(false)).EncodeAll(bytes.Repeat(raw, 2000), nil)

	tests := []struct {
		name string
		in   []byte
		raw  int
		ok   bool
	}{
		{"honest", frame, len(raw), true},
		{"size unknown", unsized.Bytes(), len(raw), true},
		{"size unknown, one byte more", unsized.Bytes(), len(raw) - 1, false},
		{"size unknown, one byte less", unsized.Bytes(), len(raw) + 1, false},
		{"with checksum", with().EncodeAll(raw, nil), len(raw), true},
		{"wrong checksum", append(with().EncodeAll(raw, nil)[:5], make([]byte, 4)...), len(raw), false},
		{"shorter", frame, len(raw) + 1, false},
		{"longer", frame, len(raw) - 1, false},
		{"empty", nil, 1, false},
		{"empty frame", encode(nil, nil), 1, false},
		{"raw 0", encode(nil, nil), 0, false},
		{"raw negative", frame, -1, false},
		{"raw above the limit", frame, MaxRaw + 1, false},
		{"bomb", encode(nil, make([]byte, MaxRaw)), 1000, false},
		{"two frames", encode(encode(nil, raw[:5000]), raw[5000:]), len(raw), false},
		{"frame and empty frame", encode(encode(nil, raw), nil), len(raw), false},
		{"skippable before", append([]byte{0x50, 0x2a, 0x4d, 0x18, 1, 0, 0, 0, 9}, frame...), len(raw), false},
		{"skippable behind", append(bytes.Clone(frame), 0x50, 0x2a, 0x4d, 0x18, 1, 0, 0, 0, 9), len(raw), false},
		{"trailing zero", append(bytes.Clone(frame), 0), len(raw), false},
		{"dictionary", with(zstd.WithEncoderDictRaw(5, raw[:1000])).EncodeAll(raw, nil), len(raw), false},
		{"window above the limit", wide, MaxRaw, false},
		{"no frame", raw, len(raw), false},
	}
	c := NewCoder(LevelNone)
	for _, tt := range tests {
		dst := bytes.Repeat([]byte{0xee}, 30_000)
		out, err := c.Decode(dst[:0:DecodeBound(max(0, min(tt.raw, 20_000)))], Zstd, tt.in, tt.raw)
		if (err == nil) != tt.ok {
			t.Errorf("%s: %d bytes, %v", tt.name, len(out), err)
		}
		if err == nil && !bytes.Equal(out, raw) {
			t.Errorf("%s: wrong bytes", tt.name)
		}
		if err != nil && !errors.Is(err, crypto.ErrDamaged) {
			t.Errorf("%s: %v", tt.name, err)
		}
		if tt.raw > 0 && tt.raw < 20_000 && dst[DecodeBound(tt.raw)] != 0xee {
			t.Errorf("%s: written beyond the bound", tt.name)
		}
	}
	for n := range frame {
		if _, err := c.Decode(nil, Zstd, frame[:n], len(raw)); err == nil {
			t.Errorf("cut to %d bytes: no error", n)
		}
	}
	if _, err := c.Decode(nil, Codec(2), frame, len(raw)); err == nil {
		t.Error("unknown codec: no error")
	}
	if _, err := c.Decode(nil, Stored, raw, len(raw)-1); err == nil {
		t.Error("stored with another length: no error")
	}
}

func FuzzDecode(f *testing.F) {
	rng := newRand(4)
	encode := newEncoder(LevelDefault)
	raw := text(rng, 3000)
	f.Add(encode(nil, raw), 3000)
	f.Add(encode(nil, make([]byte, 1<<20)), 1<<20)
	f.Add(encode(encode(nil, raw), raw), 6000)
	c := NewCoder(LevelNone)
	var buf []byte
	f.Fuzz(func(t *testing.T, in []byte, n int) {
		n = min(n, 1<<20)
		out, err := c.Decode(buf, Zstd, in, n)
		if err != nil {
			return
		}
		if len(out) != n {
			t.Fatalf("%d bytes, want %d", len(out), n)
		}
		buf = out
	})
}
