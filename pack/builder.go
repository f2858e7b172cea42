package pack

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"sync/atomic"

	"vault/crypto"
	"vault/internal/wire"
)

// ErrVerify is wrapped by the errors of Slot.Verify and Builder.Finish: what was
// sealed does not read back as what was given. The pack must not be used; its
// blobs may go into another one.
var ErrVerify = errors.New("pack does not read back as it was written")

// Builder assembles one pack in one buffer.
//
// Reserve, which is cheap and holds a lock, gives each segment its place; sealing
// and verifying happen outside the lock, so several goroutines may fill one pack:
//
//	slot, ok := b.Reserve(coded, codec, raw, blobs)
//	slot.Seal(coded)
//	scratch, err = slot.Verify(coder, scratch)
//
// When Reserve refuses a segment and all slots are verified, Finish completes the
// file. Reserve counts the directory and the padding in, so a pack is larger than
// its target only if one segment alone is.
type Builder struct {
	keys   *crypto.Keys
	kind   crypto.BlobKind
	target int
	object *crypto.Object

	mu        sync.Mutex // guards what follows; the bytes of a slot belong to its user
	buf       []byte
	used      int // bytes of header and segments
	directory int // bytes of the entries of the plain directory
	slots     []*Slot
	finished  bool

	plant fault
}

// fault lets tests spoil what the package itself has made.
type fault struct {
	sealed    func(ordinal uint32, region []byte) // a segment, after sealing
	directory func(plain []byte)                  // before sealing
	file      func(file []byte)                   // complete, before it is read back
}

// Slot is the place of one segment in a Builder. Seal, then Verify, once each and
// by one goroutine at a time.
type Slot struct {
	b      *Builder
	info   SegmentInfo
	region []byte
	state  atomic.Uint32
}

const (
	slotReserved = iota
	slotSealed
	slotVerified
)

// Finished is a complete pack. Bytes lie in the Builder's buffer: they are valid
// until that is given to another Builder. Header is a copy.
type Finished struct {
	ID        ID
	Bytes     []byte
	Header    []byte
	Directory Directory
}

// NewBuilder starts a pack of one kind of blobs, of target bytes where that is a
// size class, else the largest class below it. It uses the memory of buf, and new
// memory if buf's capacity is below target.
func NewBuilder(keys *crypto.Keys, session crypto.SessionID, kind crypto.BlobKind, target int, buf []byte, rand io.Reader) (*Builder, error) {
	if target < 1 || target > MaxSize {
		return nil, fmt.Errorf("start pack: target of %d bytes is not in 1..%d", target, MaxSize)
	}
	if kind != crypto.BlobData && kind != crypto.BlobTree {
		panic(fmt.Sprintf("pack: internal error: builder of kind %d", kind))
	}
	object, err := keys.NewObject(crypto.KindPack, session, rand)
	if err != nil {
		return nil, fmt.Errorf("start pack: %w", err)
	}
	header := object.Header()
	if need := max(target, len(header)); cap(buf) < need {
		buf = make([]byte, need)
	}
	b := &Builder{keys: keys, kind: kind, target: target, object: object, buf: buf[:cap(buf)]}
	b.used = copy(b.buf, header)
	return b, nil
}

// Empty reports whether nothing has been reserved.
func (b *Builder) Empty() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.slots) == 0
}

// Size returns the size that the pack would have if it were finished now.
func (b *Builder) Size() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return crypto.PaddedSize(fileSize(b.used, b.directory, len(b.slots)))
}

// Free returns about how many coded bytes still fit into the target, so that a
// writer with several open packs can choose the one that a segment fills best.
func (b *Builder) Free() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return max(0, b.target-fileSize(b.used, b.directory, len(b.slots)+1)-Overhead)
}

// fileSize returns the length of a pack without padding.
func fileSize(used, directory, segments int) int {
	return used + directorySize(directory, segments) + Overhead + footerSize
}

// directorySize returns the length of a plain directory.
func directorySize(entries, segments int) int {
	return 2 + uvarintLen(uint64(segments)) + entries
}

// Reserve gives a segment its ordinal and its place. coded is what Coder.Encode
// made of raw plain bytes, of which blobs tells the contents; blobs is copied.
// False means that the segment does not fit: finish this pack and take another.
// The first segment always fits.
//
// A segment that no pack may hold - the lengths of its blobs do not add up to raw,
// raw is above MaxRaw, so many blobs that the directory would exceed MaxDirectory -
// is a bug of the caller and panics.
func (b *Builder) Reserve(coded []byte, codec Codec, raw int, blobs []Blob) (*Slot, bool) {
	info := newInfo(coded, codec, raw, blobs)
	entry := entrySize(&info)
	if directorySize(entry, 1) > MaxDirectory {
		panic(fmt.Sprintf("pack: internal error: segment of %d blobs", len(blobs)))
	}

	b.mu.Lock()
	defer b.mu.Unlock()
	if b.finished {
		panic("pack: internal error: Reserve after Finish")
	}
	n := len(b.slots)
	size := crypto.PaddedSize(fileSize(b.used+int(info.Stored), b.directory+entry, n+1))
	if n > 0 && (size > b.target || n == MaxSegments || directorySize(b.directory+entry, n+1) > MaxDirectory) {
		return nil, false
	}
	if size > len(b.buf) { // the first segment: no slot refers to the buffer yet
		grown := make([]byte, size)
		copy(grown, b.buf[:b.used])
		b.buf = grown
	}
	end := b.used + int(info.Stored)
	info.Ordinal, info.Offset = uint32(n), uint32(b.used)
	info.Blobs = slices.Clone(blobs)
	s := &Slot{b: b, info: info, region: b.buf[b.used:end:end]}
	b.used = end
	b.directory += entry
	b.slots = append(b.slots, s)
	return s, true
}

// newInfo describes a segment to be, and insists on its legality.
func newInfo(coded []byte, codec Codec, raw int, blobs []Blob) SegmentInfo {
	if raw > MaxRaw || len(coded) > MaxRaw || len(blobs) == 0 {
		panic(fmt.Sprintf("pack: internal error: segment of %d blobs, %d bytes raw, %d coded", len(blobs), raw, len(coded)))
	}
	info := SegmentInfo{Stored: uint32(len(coded) + Overhead), Raw: uint32(raw), Codec: codec, Blobs: blobs}
	if err := info.Check(); err != nil {
		panic("pack: internal error: segment: " + err.Error())
	}
	sum := 0
	for _, blob := range blobs {
		if blob.Length == 0 {
			panic("pack: internal error: empty blob")
		}
		sum += int(blob.Length)
	}
	if sum != raw {
		panic(fmt.Sprintf("pack: internal error: blobs of %d bytes in a segment of %d", sum, raw))
	}
	return info
}

// Info returns where the segment lies. Its blobs must not be changed.
func (s *Slot) Info() SegmentInfo { return s.info }

// Seal encrypts the bytes given to Reserve into the pack. A slot is sealed once:
// nothing else may ever be sealed under its nonce.
func (s *Slot) Seal(coded []byte) {
	if len(coded)+Overhead != len(s.region) {
		panic(fmt.Sprintf("pack: internal error: sealing %d bytes into a slot of %d", len(coded), len(s.region)))
	}
	if !s.state.CompareAndSwap(slotReserved, slotSealed) {
		panic("pack: internal error: slot sealed twice")
	}
	sealed := s.b.object.Seal(s.region[:0], crypto.NonceSegment, uint64(s.info.Ordinal), nil, coded)
	if len(sealed) != len(s.region) || &sealed[0] != &s.region[0] {
		panic("pack: internal error: sealed segment is not in its place")
	}
	if s.b.plant.sealed != nil {
		s.b.plant.sealed(s.info.Ordinal, s.region)
	}
}

// Verify opens the segment from its sealed bytes, decodes it and checks the name
// of every blob. It works in scratch and returns it, grown if its capacity was
// below DecodeBound of the raw length. An error wraps ErrVerify and says that
// codec, seal, memory or names are at fault.
func (s *Slot) Verify(c *Coder, scratch []byte) ([]byte, error) {
	if s.state.Load() == slotReserved {
		panic("pack: internal error: Verify before Seal")
	}
	plain, err := OpenSegment(s.b.object, c, s.info, s.region, scratch)
	if err != nil {
		return scratch, fmt.Errorf("verify segment %d: %w: %w", s.info.Ordinal, ErrVerify, err)
	}
	rest := plain
	for i, blob := range s.info.Blobs {
		if s.b.keys.BlobID(s.b.kind, rest[:blob.Length]) != blob.ID {
			return plain, fmt.Errorf("verify segment %d: blob %d of %d bytes is not %v: %w", s.info.Ordinal, i, blob.Length, blob.ID, ErrVerify)
		}
		rest = rest[blob.Length:]
	}
	s.state.Store(slotVerified)
	return plain, nil
}

// Finish pads the pack to its size class, adds directory and footer, reads both
// back from the bytes, and names the file. An error wraps ErrVerify. It is a bug of
// the caller, and panics, if the pack is empty or a slot is not verified.
func (b *Builder) Finish() (Finished, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.finished || len(b.slots) == 0 {
		panic("pack: internal error: Finish of a pack that is finished or empty")
	}
	b.finished = true
	d := Directory{Kind: b.kind, Segments: make([]SegmentInfo, len(b.slots))}
	for i, s := range b.slots {
		if s.state.Load() != slotVerified {
			panic(fmt.Sprintf("pack: internal error: Finish with segment %d not verified", i))
		}
		d.Segments[i] = s.info
	}
	file, err := b.complete(d)
	if err != nil {
		return Finished{}, fmt.Errorf("finish pack: %w", err)
	}
	return Finished{ID: crypto.FileHash(file), Bytes: file, Header: slices.Clone(b.object.Header()), Directory: d}, nil
}

// complete writes what follows the segments and reads it back.
func (b *Builder) complete(d Directory) ([]byte, error) {
	plain := d.Encode()
	if len(plain) != directorySize(b.directory, len(b.slots)) {
		panic(fmt.Sprintf("pack: internal error: directory of %d bytes, %d expected", len(plain), directorySize(b.directory, len(b.slots))))
	}
	size := crypto.PaddedSize(fileSize(b.used, b.directory, len(b.slots)))
	length := len(plain) + Overhead
	offset := size - footerSize - length
	if b.plant.directory != nil {
		b.plant.directory(plain)
	}

	file := b.object.Padding(b.buf[:b.used:size], offset-b.used)
	file = b.object.Seal(file, crypto.NonceDirectory, 0, nil, plain)
	footer := wire.AppendU64(nil, uint64(offset))
	footer = wire.AppendU32(footer, uint32(length))
	footer = wire.AppendU32(footer, 0)
	file = b.object.Seal(file, crypto.NonceFooter, 0, nil, footer)
	if len(file) != size || &file[0] != &b.buf[0] {
		panic("pack: internal error: finished pack is not in its place")
	}
	if b.plant.file != nil {
		b.plant.file(file)
	}

	back, _, err := ReadDirectory(b.keys, int64(size), func(off int64, dst []byte) error {
		copy(dst, file[off:])
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrVerify, err)
	}
	if !back.equal(d) {
		return nil, fmt.Errorf("directory differs: %w", ErrVerify)
	}
	return file, nil
}
