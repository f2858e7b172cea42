package repo

import (
	"fmt"
	"time"

	"vault/chunk"
	"vault/crypto"
	"vault/internal/wire"
	"vault/pack"
	"vault/snapshot"
)

// Params are what is decided once, when a repository is initialised, and
// sealed in its config (docs/format.md section 6).
type Params struct {
	Created time.Time // to the nanosecond
	Program string    // what initialised it

	Chunker     chunk.Params
	PackSize    int        // bytes a full pack has
	SegmentSize int        // plain bytes gathered into one segment
	Compression pack.Level // what a writer uses when not told otherwise
	Trees       snapshot.Thresholds

	Sharing Sharing
	Host    string // the one host that may use the repository, or ""

	chunkerSecret [32]byte // another repository's; zero: derived from the master key
}

// features returns the mandatory features that the parameters need.
func (p Params) features() uint64 {
	if p.chunkerSecret != [32]byte{} {
		return crypto.FeatureChunkerSecret
	}
	return 0
}

// Sharing says whether several writers may use a repository at once.
type Sharing uint8

const (
	Shared       Sharing = 1 // the store's create-if-absent was seen to work
	SingleWriter Sharing = 2 // it was not; the administrator promised one writer
)

// String names the mode as status prints it.
func (s Sharing) String() string {
	switch s {
	case Shared:
		return "shared"
	case SingleWriter:
		return "single-writer"
	}
	return fmt.Sprintf("sharing(%d)", uint8(s))
}

// Limits on parameters, beyond those of the packages they belong to.
const (
	minPackSize    = 64 << 10
	maxPackSize    = 1 << 30
	minSegmentSize = 4 << 10
	maxSegmentSize = 16 << 20
)

// DefaultParams returns what init uses unless told otherwise.
func DefaultParams() Params {
	return Params{
		Chunker:     chunk.DefaultParams(),
		PackSize:    16 << 20,
		SegmentSize: 512 << 10,
		Compression: pack.LevelFastest,
		Trees:       snapshot.DefaultThresholds(),
		Sharing:     Shared,
	}
}

// Validate reports what is wrong with the parameters, if anything.
func (p Params) Validate() error {
	if err := p.Chunker.Validate(); err != nil {
		return err
	}
	if p.PackSize < minPackSize || p.PackSize > maxPackSize {
		return fmt.Errorf("pack size of %d bytes is outside %d..%d", p.PackSize, minPackSize, maxPackSize)
	}
	if p.SegmentSize < minSegmentSize || p.SegmentSize > maxSegmentSize {
		return fmt.Errorf("segment size of %d bytes is outside %d..%d", p.SegmentSize, minSegmentSize, maxSegmentSize)
	}
	if p.Compression > pack.LevelBest {
		return fmt.Errorf("unknown compression level %d", p.Compression)
	}
	if p.Sharing != Shared && p.Sharing != SingleWriter {
		return fmt.Errorf("unknown sharing mode %d", p.Sharing)
	}
	return p.Trees.Validate()
}

func appendTime(b []byte, t snapshot.Time) []byte {
	return wire.AppendUvarint(wire.AppendVarint(b, t.Sec), uint64(t.Nsec))
}

func readTime(r *wire.Reader) snapshot.Time {
	return snapshot.Time{Sec: r.Varint(), Nsec: uint32(r.Uvarint(999_999_999))}
}

func (p Params) encode() []byte {
	b := []byte{1}
	b = appendTime(b, snapshot.TimeOf(p.Created))
	b = wire.AppendString(b, p.Program)
	b = append(b, uint8(p.Chunker.Algorithm))
	b = wire.AppendUvarint(b, uint64(p.Chunker.Min))
	b = wire.AppendUvarint(b, uint64(p.Chunker.Max))
	b = append(b, p.Chunker.Bits)
	b = wire.AppendUvarint(b, uint64(p.PackSize))
	b = wire.AppendUvarint(b, uint64(p.SegmentSize))
	b = append(b, uint8(p.Compression))
	b = appendThresholds(b, p.Trees)
	b = append(b, uint8(p.Sharing))
	b = wire.AppendString(b, p.Host)
	if p.features()&crypto.FeatureChunkerSecret != 0 {
		b = append(b, p.chunkerSecret[:]...)
	}
	return b
}

// decodeParams reads the payload of a config whose head has these mandatory
// features.
func decodeParams(b []byte, features uint64) (Params, error) {
	r := wire.NewReader(b)
	if v := r.U8(); v != 1 {
		r.Fail("config payload version %d", v)
	}
	var p Params
	p.Created = readTime(r).Std()
	p.Program = r.String(64)
	p.Chunker.Algorithm = chunk.Algorithm(r.U8())
	p.Chunker.Min = int(r.Uvarint(chunk.MaxChunk))
	p.Chunker.Max = int(r.Uvarint(chunk.MaxChunk))
	p.Chunker.Bits = r.U8()
	p.PackSize = int(r.Uvarint(maxPackSize))
	p.SegmentSize = int(r.Uvarint(maxSegmentSize))
	p.Compression = pack.Level(r.U8())
	p.Trees = readThresholds(r)
	p.Sharing = Sharing(r.U8())
	p.Host = r.String(256)
	if features&crypto.FeatureChunkerSecret != 0 {
		if r.Copy(p.chunkerSecret[:]); p.chunkerSecret == [32]byte{} {
			r.Fail("the chunker secret is zero")
		}
	}
	if err := r.Done(); err != nil {
		return Params{}, err
	}
	return p, p.Validate()
}

func appendThresholds(b []byte, t snapshot.Thresholds) []byte {
	b = wire.AppendUvarint(b, uint64(t.SinglePage))
	b = append(b, t.CutBits)
	for _, n := range []int{t.PageEntries, t.PageBytes, t.InlineFile, t.InlineItems, t.InlineXattr} {
		b = wire.AppendUvarint(b, uint64(n))
	}
	return wire.AppendUvarint(b, t.HoleBytes)
}

func readThresholds(r *wire.Reader) (t snapshot.Thresholds) {
	const most = 1 << 31 // Validate knows the real limits
	t.SinglePage = int(r.Uvarint(most))
	t.CutBits = r.U8()
	for _, n := range []*int{&t.PageEntries, &t.PageBytes, &t.InlineFile, &t.InlineItems, &t.InlineXattr} {
		*n = int(r.Uvarint(most))
	}
	t.HoleBytes = r.Uvarint(most)
	return t
}
