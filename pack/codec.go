package pack

import (
	"errors"
	"fmt"
	"slices"

	"github.com/klauspost/compress/zstd"

	"vault/crypto"
)

// Codec says how the plain bytes of a segment are coded; part of the format.
type Codec uint8

const (
	Stored Codec = 0 // as they are
	Zstd   Codec = 1 // one frame of zstd, RFC 8878, without dictionary
)

// String returns "stored" or "zstd".
func (c Codec) String() string {
	switch c {
	case Stored:
		return "stored"
	case Zstd:
		return "zstd"
	}
	return fmt.Sprintf("codec %d", uint8(c))
}

// Level is how much effort goes into compression; part of the config.
type Level uint8

const (
	LevelNone Level = iota
	LevelFastest
	LevelDefault
	LevelBetter
	LevelBest
)

var levelNames = [...]string{"none", "fastest", "default", "better", "best"}

// String returns the name that ParseLevel accepts.
func (l Level) String() string {
	if int(l) < len(levelNames) {
		return levelNames[l]
	}
	return fmt.Sprintf("level %d", uint8(l))
}

// ParseLevel returns the level of that name.
func ParseLevel(s string) (Level, error) {
	if i := slices.Index(levelNames[:], s); i >= 0 {
		return Level(i), nil
	}
	return 0, fmt.Errorf("unknown compression level %q: want none, fastest, default, better or best", s)
}

const (
	// window is the reach of the encoder, which also bounds its memory.
	window = 4 << 20
	// maxWindow is the largest window that a reader accepts.
	maxWindow = MaxRaw
	// overAlloc is the room behind the output with which the decoder can use
	// its fast loops.
	overAlloc = 16
)

// EncodeBound returns the capacity of dst with which Coder.Encode of n bytes does
// not allocate: what zstd makes of n bytes at worst.
func EncodeBound(n int) int { return n + n>>15 + 64 }

// DecodeBound returns the capacity of dst with which Coder.Decode, OpenSegment
// and Slot.Verify of a segment of raw bytes do not allocate.
func DecodeBound(raw int) int { return raw + overAlloc }

// Coder compresses and decompresses segments. It keeps its tables and buffers
// from call to call and is for one goroutine at a time. Encoder and decoder are
// made when first used, so a Coder that only reads costs no encoder.
type Coder struct {
	level    Level
	compress func(dst, raw []byte) []byte
	dec      *zstd.Decoder
	frame    []byte // scratch of OpenSegment: an opened, still compressed segment
}

// NewCoder returns a Coder that compresses with the given level.
func NewCoder(level Level) *Coder {
	if int(level) >= len(levelNames) {
		panic("pack: internal error: " + level.String())
	}
	return &Coder{level: level}
}

// NewCoderFunc returns a Coder that compresses with a function instead, which
// appends one frame to dst. It is meant for other encoders, and for tests that
// plant a fault in one.
func NewCoderFunc(compress func(dst, raw []byte) []byte) *Coder {
	return &Coder{level: LevelDefault, compress: compress}
}

// Level returns the level that the Coder was made with.
func (c *Coder) Level() Level { return c.level }

func newEncoder(level Level) func(dst, raw []byte) []byte {
	speed := map[Level]zstd.EncoderLevel{
		LevelFastest: zstd.SpeedFastest,
		LevelDefault: zstd.SpeedDefault,
		LevelBetter:  zstd.SpeedBetterCompression,
		LevelBest:    zstd.SpeedBestCompression,
	}[level]
	enc, err := zstd.NewWriter(nil,
		zstd.WithEncoderLevel(speed),
		zstd.WithEncoderConcurrency(1),
		zstd.WithEncoderCRC(false), // sealed, and every blob is checked by name
		zstd.WithLowerEncoderMem(true),
		zstd.WithAllLitEntropyCompression(true), // skewed bytes without matches, such as base64
		zstd.WithWindowSize(window))
	if err != nil {
		panic("pack: internal error: zstd encoder: " + err.Error())
	}
	return func(dst, raw []byte) []byte { return enc.EncodeAll(raw, dst) }
}

func newDecoder() *zstd.Decoder {
	dec, err := zstd.NewReader(nil,
		zstd.WithDecoderConcurrency(1),
		zstd.WithDecoderLowmem(true),
		zstd.WithDecoderMaxMemory(MaxRaw+overAlloc),
		zstd.WithDecoderMaxWindow(maxWindow),
		zstd.WithDecodeAllCapLimit(true))
	if err != nil {
		panic("pack: internal error: zstd decoder: " + err.Error())
	}
	return dec
}

// Encode codes the plain bytes of a segment. The result is either raw itself,
// with Stored - nothing is copied - or a frame in the memory of dst, whose former
// content is overwritten (in new memory if dst's capacity is below
// EncodeBound(len(raw))), with Zstd. Bytes are stored as they are unless
// compression saves at least 1/50 of them.
func (c *Coder) Encode(dst, raw []byte) (out []byte, codec Codec) {
	if c.level == LevelNone || !compressible(raw) {
		return raw, Stored
	}
	if c.compress == nil {
		c.compress = newEncoder(c.level)
	}
	if bound := EncodeBound(len(raw)); cap(dst) < bound {
		dst = make([]byte, 0, bound)
	}
	out = c.compress(dst[:0], raw)
	if len(out) > len(raw)-len(raw)/50-1 {
		return raw, Stored
	}
	return out, Zstd
}

// Decode returns the plain bytes of a segment, exactly raw of them, in the memory
// of dst, whose former content is overwritten (in new memory if dst's capacity is
// below DecodeBound(raw)). in and dst must not overlap. Whatever is not one frame
// of raw bytes is an error that wraps crypto.ErrDamaged; no more memory than
// DecodeBound(raw) is ever allocated for the output.
func (c *Coder) Decode(dst []byte, codec Codec, in []byte, raw int) ([]byte, error) {
	if raw < 1 || raw > MaxRaw {
		return nil, fmt.Errorf("decode segment: raw length %d is not in 1..%d: %w", raw, MaxRaw, crypto.ErrDamaged)
	}
	switch codec {
	case Stored:
		if len(in) != raw {
			return nil, fmt.Errorf("decode segment: %d bytes, want %d: %w", len(in), raw, crypto.ErrDamaged)
		}
		return append(dst[:0], in...), nil
	case Zstd:
		out, err := c.decompress(dst, in, raw)
		if err != nil {
			return nil, fmt.Errorf("decode segment: %w: %w", crypto.ErrDamaged, err)
		}
		return out, nil
	}
	return nil, fmt.Errorf("decode segment: %v: %w", codec, crypto.ErrUnsupported)
}

func (c *Coder) decompress(dst, in []byte, raw int) ([]byte, error) {
	if err := checkFrame(in, raw); err != nil {
		return nil, err
	}
	if c.dec == nil {
		c.dec = newDecoder()
	}
	bound := DecodeBound(raw)
	if cap(dst) < bound {
		dst = make([]byte, 0, bound)
	}
	out, err := c.dec.DecodeAll(in, dst[:0:bound])
	if err != nil {
		return nil, fmt.Errorf("zstd: %w", err)
	}
	if len(out) != raw {
		return nil, fmt.Errorf("zstd: frame of %d bytes, want %d", len(out), raw)
	}
	return out, nil
}

// checkFrame verifies that in is exactly one frame (RFC 8878, section 3.1.1),
// with nothing behind it, of raw bytes if it says its size, without a dictionary.
// The decoder would accept several frames, and skip over others.
func checkFrame(in []byte, raw int) error {
	var h zstd.Header
	if err := h.Decode(in); err != nil {
		return fmt.Errorf("zstd: frame header: %w", err)
	}
	switch {
	case h.Skippable:
		return errors.New("zstd: skippable frame")
	case h.DictionaryID != 0:
		return fmt.Errorf("zstd: frame wants dictionary %d", h.DictionaryID)
	case h.HasFCS && h.FrameContentSize != uint64(raw):
		return fmt.Errorf("zstd: frame of %d bytes, want %d", h.FrameContentSize, raw)
	case !h.SingleSegment && h.WindowSize > maxWindow:
		return fmt.Errorf("zstd: window of %d bytes, limit %d", h.WindowSize, maxWindow)
	}
	at := h.HeaderSize
	for last := false; !last; {
		if len(in)-at < 3 {
			return errors.New("zstd: frame is cut short")
		}
		block := uint32(in[at]) | uint32(in[at+1])<<8 | uint32(in[at+2])<<16
		last = block&1 != 0
		size := int(block >> 3)
		if block>>1&3 == 1 { // one byte, repeated
			size = 1
		}
		at += 3 + size
		if at > len(in) {
			return errors.New("zstd: frame is cut short")
		}
	}
	if h.HasCheckSum {
		at += 4
	}
	if at != len(in) {
		return fmt.Errorf("zstd: frame ends at %d of %d bytes", at, len(in))
	}
	return nil
}
