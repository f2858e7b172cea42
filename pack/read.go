package pack

import (
	"fmt"

	"vault/crypto"
	"vault/internal/wire"
)

// tailSize is how much of the end of a pack is read at once: enough for the
// directory of most packs.
const tailSize = 64 << 10

// minSize is the length of a pack with an empty directory, before padding.
const minSize = crypto.HeaderSize + 3 + Overhead + footerSize

// ReadDirectory reads and checks the directory of a pack of size bytes. read fills
// dst from the offset off; it is asked for the header, the end of the file, and
// the rest of a long directory, or once for a whole small pack. The object opens
// the segments; it is bound to this pack's header.
//
// Segments in the result lie one behind the other within the file, and the lengths
// of their blobs add up. Memory is allocated for bytes that were read and
// authenticated, not for what they claim. Errors wrap those of read, or
// crypto.ErrDamaged, ErrTampered, ErrUnsupported or ErrForeign.
func ReadDirectory(keys *crypto.Keys, size int64, read func(off int64, dst []byte) error) (Directory, *crypto.Object, error) {
	if size < minSize || size > MaxSize || crypto.PaddedSize(int(size)) != int(size) {
		return Directory{}, nil, fmt.Errorf("read pack: %d bytes is no size of a pack: %w", size, crypto.ErrDamaged)
	}
	tail := make([]byte, min(size, tailSize))
	tailAt := size - int64(len(tail))
	if err := read(tailAt, tail); err != nil {
		return Directory{}, nil, fmt.Errorf("read end of pack: %w", err)
	}
	header := tail
	if tailAt > 0 {
		header = make([]byte, crypto.HeaderSize)
		if err := read(0, header); err != nil {
			return Directory{}, nil, fmt.Errorf("read pack header: %w", err)
		}
	}
	object, err := keys.OpenObject(crypto.KindPack, header[:crypto.HeaderSize])
	if err != nil {
		return Directory{}, nil, fmt.Errorf("open pack header: %w", err)
	}
	offset, length, err := openFooter(object, size, tail[len(tail)-footerSize:])
	if err != nil {
		return Directory{}, nil, err
	}

	var sealed []byte
	if offset >= tailAt {
		sealed = tail[offset-tailAt:][:length]
	} else {
		sealed = make([]byte, length)
		missing := tailAt - offset
		if err := read(offset, sealed[:missing]); err != nil {
			return Directory{}, nil, fmt.Errorf("read pack directory: %w", err)
		}
		copy(sealed[missing:], tail)
	}
	plain, err := object.Open(nil, crypto.NonceDirectory, 0, nil, sealed)
	if err != nil {
		return Directory{}, nil, fmt.Errorf("open pack directory: %w", err)
	}
	d, err := decodeDirectory(plain, crypto.HeaderSize, uint32(offset))
	if err != nil {
		return Directory{}, nil, err
	}
	if n := d.end() + int(length) + footerSize; crypto.PaddedSize(n) != int(size) {
		return Directory{}, nil, fmt.Errorf("read pack: %d bytes are padded to %d: %w", n, size, crypto.ErrDamaged)
	}
	return d, object, nil
}

// openFooter returns where the sealed directory lies: behind the header, within
// the limits, and up to the footer.
func openFooter(object *crypto.Object, size int64, sealed []byte) (offset, length int64, err error) {
	plain, err := object.Open(nil, crypto.NonceFooter, 0, nil, sealed)
	if err != nil {
		return 0, 0, fmt.Errorf("open pack footer: %w", err)
	}
	r := wire.NewReader(plain)
	at, n, zero := r.U64(), r.U32(), r.U32()
	if err := r.Done(); err != nil {
		return 0, 0, fmt.Errorf("pack footer: %w: %w", crypto.ErrDamaged, err)
	}
	end := uint64(size - footerSize)
	if zero != 0 || n > MaxDirectory+Overhead || at < crypto.HeaderSize || at > end || uint64(n) != end-at {
		return 0, 0, fmt.Errorf("pack footer: directory of %d bytes at %d in a pack of %d: %w", n, at, size, crypto.ErrDamaged)
	}
	return int64(at), int64(n), nil
}

// OpenSegment opens and decodes a segment: sealed are its stored bytes, object is
// what ReadDirectory gave, or keys.OpenObject for the header that an index holds.
// Of s, Stored, Raw, Ordinal and Codec are used. The result lies in the memory of
// dst, whose former content is overwritten (in new memory if its capacity is below
// DecodeBound(s.Raw)); it must not overlap sealed.
//
// The blobs in the result are not checked: a caller must compare the name of each
// blob that it uses. Errors wrap crypto.ErrTampered, ErrDamaged or ErrUnsupported.
func OpenSegment(object *crypto.Object, c *Coder, s SegmentInfo, sealed, dst []byte) ([]byte, error) {
	if err := s.Check(); err != nil {
		return nil, fmt.Errorf("open segment %d: %w: %w", s.Ordinal, crypto.ErrDamaged, err)
	}
	if len(sealed) != int(s.Stored) {
		return nil, fmt.Errorf("open segment %d: %d bytes, want %d: %w", s.Ordinal, len(sealed), s.Stored, crypto.ErrDamaged)
	}
	if s.Codec == Stored {
		plain, err := object.Open(dst[:0], crypto.NonceSegment, uint64(s.Ordinal), nil, sealed)
		if err != nil {
			return nil, fmt.Errorf("open segment %d: %w", s.Ordinal, err)
		}
		return plain, nil
	}
	frame, err := object.Open(c.frame[:0], crypto.NonceSegment, uint64(s.Ordinal), nil, sealed)
	if err != nil {
		return nil, fmt.Errorf("open segment %d: %w", s.Ordinal, err)
	}
	c.frame = frame
	plain, err := c.Decode(dst, s.Codec, frame, int(s.Raw))
	if err != nil {
		return nil, fmt.Errorf("open segment %d: %w", s.Ordinal, err)
	}
	return plain, nil
}
