package pack

import (
	"fmt"
	"math/bits"
	"slices"

	"vault/crypto"
	"vault/internal/wire"
)

// The encoding of a directory, part of the format:
//
//	u8 1 | u8 kind | list<65536 of segment | blobs
//	segment: uv stored | uv raw | u8 codec | uv number of blobs
//	blob:    name [32] | uv length
const (
	directoryVersion = 1
	minSegmentEntry  = 4      // a segment takes at least this many bytes,
	minBlobEntry     = 32 + 1 // and a blob this many
)

// Encode returns the directory as it is before sealing. Offsets and ordinals are
// not in it: they follow from the order.
func (d Directory) Encode() []byte {
	size := 2 + uvarintLen(uint64(len(d.Segments)))
	for i := range d.Segments {
		size += entrySize(&d.Segments[i])
	}
	b := make([]byte, 0, size)
	b = append(b, directoryVersion, byte(d.Kind))
	b = wire.AppendUvarint(b, uint64(len(d.Segments)))
	for i := range d.Segments {
		s := &d.Segments[i]
		b = wire.AppendUvarint(b, uint64(s.Stored))
		b = wire.AppendUvarint(b, uint64(s.Raw))
		b = append(b, byte(s.Codec))
		b = wire.AppendUvarint(b, uint64(len(s.Blobs)))
	}
	for i := range d.Segments {
		for _, blob := range d.Segments[i].Blobs {
			b = append(b, blob.ID[:]...)
			b = wire.AppendUvarint(b, uint64(blob.Length))
		}
	}
	return b
}

// entrySize returns what a segment and its blobs add to an encoded directory.
func entrySize(s *SegmentInfo) int {
	n := uvarintLen(uint64(s.Stored)) + uvarintLen(uint64(s.Raw)) + 1 + uvarintLen(uint64(len(s.Blobs)))
	for _, b := range s.Blobs {
		n += len(b.ID) + uvarintLen(uint64(b.Length))
	}
	return n
}

func uvarintLen(v uint64) int { return (bits.Len64(v|1) + 6) / 7 }

// end returns the offset at which the last segment ends.
func (d Directory) end() int {
	if len(d.Segments) == 0 {
		return crypto.HeaderSize
	}
	last := d.Segments[len(d.Segments)-1]
	return int(last.Offset) + int(last.Stored)
}

// equal reports whether two directories say the same.
func (d Directory) equal(e Directory) bool {
	return d.Kind == e.Kind && slices.EqualFunc(d.Segments, e.Segments, func(a, b SegmentInfo) bool {
		return a.Offset == b.Offset && a.Stored == b.Stored && a.Raw == b.Raw &&
			a.Ordinal == b.Ordinal && a.Codec == b.Codec && slices.Equal(a.Blobs, b.Blobs)
	})
}

// decodeDirectory decodes a plain directory. The first segment begins at start;
// none may reach beyond end.
func decodeDirectory(b []byte, start, end uint32) (Directory, error) {
	r := wire.NewReader(b)
	if v := r.U8(); v != directoryVersion {
		if err := r.Err(); err != nil {
			return Directory{}, fmt.Errorf("pack directory: %w: %w", crypto.ErrDamaged, err)
		}
		return Directory{}, fmt.Errorf("pack directory: version %d: %w", v, crypto.ErrUnsupported)
	}
	d := Directory{Kind: crypto.BlobKind(r.U8())}
	if d.Kind != crypto.BlobData && d.Kind != crypto.BlobTree {
		r.Fail("unknown kind of blobs %d", d.Kind)
	}
	counts, total := decodeSegments(r, &d, start, end)
	if r.Err() == nil && total > uint64(r.Len()/minBlobEntry) {
		r.Fail("%d blobs, only %d bytes left", total, r.Len())
	}
	if r.Err() == nil {
		decodeBlobs(r, &d, counts, int(total))
	}
	if err := r.Done(); err != nil {
		return Directory{}, fmt.Errorf("pack directory: %w: %w", crypto.ErrDamaged, err)
	}
	return d, nil
}

// decodeSegments reads the list of segments and returns their numbers of blobs,
// which the bytes have yet to justify.
func decodeSegments(r *wire.Reader, d *Directory, start, end uint32) (counts []uint32, total uint64) {
	n := r.Count(MaxSegments, minSegmentEntry)
	if n == 0 {
		r.Fail("no segments")
		return nil, 0
	}
	d.Segments = make([]SegmentInfo, n)
	counts = make([]uint32, n)
	at := uint64(start)
	for i := range d.Segments {
		s := &d.Segments[i]
		s.Ordinal, s.Offset = uint32(i), uint32(at)
		s.Stored = uint32(r.Uvarint(MaxRaw + Overhead))
		s.Raw = uint32(r.Uvarint(MaxRaw))
		s.Codec = Codec(r.U8())
		counts[i] = uint32(r.Uvarint(MaxRaw))
		if r.Err() != nil {
			return nil, 0
		}
		if err := s.Check(); err != nil {
			r.Fail("segment %d: %v", i, err)
		}
		if counts[i] == 0 || counts[i] > s.Raw {
			r.Fail("segment %d: %d blobs in %d bytes", i, counts[i], s.Raw)
		}
		at += uint64(s.Stored)
		total += uint64(counts[i])
		if at > uint64(end) {
			r.Fail("segment %d ends at %d, beyond the last at %d", i, at, end)
		}
	}
	return counts, total
}

// decodeBlobs reads the blobs of all segments, total of them.
func decodeBlobs(r *wire.Reader, d *Directory, counts []uint32, total int) {
	blobs := make([]Blob, total)
	for i := range d.Segments {
		s := &d.Segments[i]
		n := int(counts[i])
		s.Blobs, blobs = blobs[:n:n], blobs[n:]
		left := s.Raw
		for j := range s.Blobs {
			r.Copy(s.Blobs[j].ID[:])
			s.Blobs[j].Length = uint32(r.Uvarint(uint64(left)))
			if r.Err() == nil && s.Blobs[j].Length == 0 {
				r.Fail("segment %d: blob %d is empty", i, j)
			}
			if r.Err() != nil {
				return
			}
			left -= s.Blobs[j].Length
		}
		if left != 0 {
			r.Fail("segment %d: blobs are %d bytes short of %d", i, left, s.Raw)
			return
		}
	}
}

// Check verifies the numbers of a segment against each other, except its place. A segment is kept
// as it is unless compression saves something, so stored never exceeds raw by
// more than the seal.
func (s *SegmentInfo) Check() error {
	switch {
	case s.Raw == 0 || s.Raw > MaxRaw:
		return fmt.Errorf("raw length %d is not in 1..%d", s.Raw, MaxRaw)
	case s.Codec == Stored && s.Stored != s.Raw+Overhead:
		return fmt.Errorf("stored length %d does not fit raw length %d", s.Stored, s.Raw)
	case s.Codec == Zstd && (s.Stored <= Overhead || s.Stored >= s.Raw+Overhead):
		return fmt.Errorf("compressed length %d does not fit raw length %d", s.Stored, s.Raw)
	case s.Codec != Stored && s.Codec != Zstd:
		return fmt.Errorf("unknown codec %d", s.Codec)
	}
	return nil
}
