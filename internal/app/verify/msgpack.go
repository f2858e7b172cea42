package verify

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// Bounds of a metadata file of decomposedfs.
const (
	maxMetadata   = 16 << 20
	maxAttributes = 1 << 16
)

var errMetadata = errors.New("not a map of texts in msgpack")

// decodeMap decodes one map from str or bin to str or bin in msgpack, which is all that
// decomposedfs writes: | map header | key | value | ... |. Anything else, keys that come
// twice, and bytes after the map are errors. What it allocates is bounded by len(b).
func decodeMap(b []byte) (map[string]string, error) {
	n, b, err := header(b, 0x80, 0x0f, 0, 0xde, 0xdf)
	if err != nil {
		return nil, err
	}
	if n > maxAttributes || n > len(b)/2 {
		return nil, fmt.Errorf("%w: %d entries in %d bytes", errMetadata, n, len(b))
	}
	m := make(map[string]string, n)
	for range n {
		var key, value string
		if key, b, err = text(b); err != nil {
			return nil, err
		}
		if value, b, err = text(b); err != nil {
			return nil, err
		}
		if _, twice := m[key]; twice {
			return nil, fmt.Errorf("%w: %q comes twice", errMetadata, key)
		}
		m[key] = value
	}
	if len(b) > 0 {
		return nil, fmt.Errorf("%w: %d bytes too many", errMetadata, len(b))
	}
	return m, nil
}

// header reads a length: in the low bits of a byte whose others are fix, or in the
// one, two or four bytes after the markers m8, m16 and m32. A marker of 0 is none.
func header(b []byte, fix, mask, m8, m16, m32 byte) (n int, rest []byte, err error) {
	if len(b) == 0 {
		return 0, nil, fmt.Errorf("%w: it ends early", errMetadata)
	}
	tag, b := b[0], b[1:]
	switch {
	case fix != 0 && tag&^mask == fix:
		return int(tag & mask), b, nil
	case tag == m8 && m8 != 0 && len(b) >= 1:
		return int(b[0]), b[1:], nil
	case tag == m16 && len(b) >= 2:
		return int(binary.BigEndian.Uint16(b)), b[2:], nil
	case tag == m32 && len(b) >= 4:
		return int(binary.BigEndian.Uint32(b)), b[4:], nil
	}
	return 0, nil, fmt.Errorf("%w: byte %#02x", errMetadata, tag)
}

// text reads a str or bin.
func text(b []byte) (string, []byte, error) {
	n, rest, err := header(b, 0xa0, 0x1f, 0xd9, 0xda, 0xdb)
	if err != nil {
		n, rest, err = header(b, 0, 0, 0xc4, 0xc5, 0xc6)
	}
	if err != nil {
		return "", nil, err
	}
	if n > len(rest) {
		return "", nil, fmt.Errorf("%w: a text of %d bytes, %d are left", errMetadata, n, len(rest))
	}
	return string(rest[:n]), rest[n:], nil
}
