// Package pack reads and writes pack files. A pack gathers blobs into solid
// segments - compressed and sealed together - and ends in a sealed directory, so
// that it is readable without an index:
//
//	header | segment* | padding | directory | footer
//
// The format is section 7 of docs/format.md. A Builder assembles one pack in one
// buffer; ReadDirectory and OpenSegment take one apart; a Coder compresses and
// decompresses segments.
//
// The package does no input or output and has no policy: when to open a pack,
// which blobs share a segment and where the file goes is decided above.
//
// What it promises: nothing leaves a Builder that did not decode to the named
// blobs from its sealed bytes, and hostile bytes give errors, never a panic and
// never an allocation that the bytes do not justify. What it does not: the
// padding is covered by the name of the pack only, so a reader that does not hash
// the whole file does not notice a change in it (it is never used for anything).
package pack

import (
	"encoding/hex"
	"fmt"

	"vault/crypto"
)

// Limits, part of the format (section 13).
const (
	MaxSize      = 1 << 30  // bytes of a pack
	MaxRaw       = 16 << 20 // plain bytes of a segment, so of a blob
	MaxDirectory = 64 << 20 // plain bytes of a directory
	MaxSegments  = 1 << 16  // segments of a pack
)

const (
	// Overhead is what sealing adds to the coded bytes of a segment.
	Overhead = crypto.Overhead
	// footerSize is the length of the sealed footer: offset u64, length u32,
	// zero u32 and the tag.
	footerSize = 8 + 4 + 4 + Overhead
)

// ID is the name of a pack: the plain BLAKE3 of the whole file, so that a host
// without any key can check it.
type ID [32]byte

// String returns the name as 64 hex digits.
func (id ID) String() string { return hex.EncodeToString(id[:]) }

// Path returns the name of the object that holds the pack, "packs/ab/ab...".
func (id ID) Path() string {
	s := id.String()
	return "packs/" + s[:2] + "/" + s
}

// ParseID is the inverse of ID.String. It accepts lower-case digits only.
func ParseID(s string) (ID, error) {
	var id ID
	b, err := hex.DecodeString(s)
	if err != nil || len(b) != len(id) {
		return ID{}, fmt.Errorf("pack name %q is not 64 hex digits", s)
	}
	copy(id[:], b)
	if id.String() != s {
		return ID{}, fmt.Errorf("pack name %q is not in lower case", s)
	}
	return id, nil
}

// Blob is one blob of a segment: its keyed name and its length, 1..MaxRaw bytes.
type Blob struct {
	ID     crypto.ID
	Length uint32
}

// SegmentInfo says where a segment lies, how it is coded and what it holds.
type SegmentInfo struct {
	Offset  uint32 // of the sealed segment in the pack
	Stored  uint32 // its sealed length
	Raw     uint32 // length of its blobs together, 1..MaxRaw
	Ordinal uint32 // its place among the segments of the pack, from 0
	Codec   Codec
	Blobs   []Blob // in the order in which they lie; may be nil where only the segment matters
}

// Directory is the table of contents of a pack. Its segments lie in order of
// their ordinals, behind each other.
type Directory struct {
	Kind     crypto.BlobKind // of all blobs of the pack
	Segments []SegmentInfo
}

// Blobs returns the number of blobs in all segments.
func (d Directory) Blobs() int {
	n := 0
	for i := range d.Segments {
		n += len(d.Segments[i].Blobs)
	}
	return n
}
