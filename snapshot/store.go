package snapshot

import (
	"context"
	"fmt"

	"vault/crypto"
)

// Sink stores the pages of trees as they are built.
type Sink interface {
	// Put stores a blob unless it is known, and returns its name. It does not
	// retain data.
	Put(ctx context.Context, kind crypto.BlobKind, data []byte) (crypto.ID, error)
}

// Source fetches blobs.
type Source interface {
	// Get appends the blob to dst[:0], which may be nil, and returns the result
	// as append does: its memory belongs to the caller. The blob's name has
	// been checked. Safe for concurrent use where the caller's readers are used
	// concurrently.
	Get(ctx context.Context, kind crypto.BlobKind, id crypto.ID, dst []byte) ([]byte, error)
}

// Hasher decides where directories are cut; crypto.Keys is one.
type Hasher interface {
	// PageHash returns the first 8 bytes, little endian, of the keyed hash of a
	// level and a name. It does not retain name.
	PageHash(level uint8, name string) uint64
}

// Thresholds are the constants of a repository that decide the form of its
// trees (docs/format.md, section 6, "trees"). All writers of a repository must
// use the same, or equal content would give different trees.
type Thresholds struct {
	SinglePage  int    // entries up to which a list is one page
	CutBits     uint8  // a page has about 2^CutBits entries
	PageEntries int    // entries at most in a page of several
	PageBytes   int    // bytes at most in a page, but for an entry longer than that
	InlineFile  int    // bytes up to which a file's content stands in its node
	InlineItems int    // items up to which a content stands in its node
	InlineXattr int    // bytes up to which an attribute's value stands in its node
	HoleBytes   uint64 // bytes from which a hole of the source is kept as one
}

// DefaultThresholds returns those of a new repository.
func DefaultThresholds() Thresholds {
	return Thresholds{SinglePage: 512, CutBits: 8, PageEntries: 2048, PageBytes: 1 << 20,
		InlineFile: 128, InlineItems: maxItems, InlineXattr: maxXattr, HoleBytes: 64 << 10}
}

// minPageBytes leaves room for two entries of an inner page, so that each level
// is shorter than the one below.
const minPageBytes = 16 << 10

// Validate returns an error for thresholds with which trees cannot be built or
// would not be readable.
func (t Thresholds) Validate() error {
	for _, c := range []struct {
		what      string
		v, lo, hi int
	}{
		{"single page entries", t.SinglePage, 1, MaxEntries},
		{"cut bits", int(t.CutBits), 1, 32},
		{"entries at most", t.PageEntries, 2, MaxEntries},
		{"page bytes", t.PageBytes, minPageBytes, MaxBlob},
		{"inline file bytes", t.InlineFile, 0, maxInline},
		{"inline items", t.InlineItems, 1, maxItems},
		{"inline xattr bytes", t.InlineXattr, maxXattr, maxXattr},
	} {
		if c.v < c.lo || c.v > c.hi {
			return fmt.Errorf("tree threshold %s is %d, must be %d to %d", c.what, c.v, c.lo, c.hi)
		}
	}
	return nil
}
