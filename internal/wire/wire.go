// Package wire holds the encodings from which every stored structure is built:
// fixed-width little-endian integers, minimal LEB128 integers, and strings that
// carry their length (docs/format.md, section 1).
//
// The Append functions write, a Reader reads. Every value has exactly one
// encoding: the Reader refuses any other, so what it accepts re-encodes to the
// same bytes. It trusts nothing: each length and count is checked against a
// limit given by the caller and against the bytes that are there, before
// anything is allocated.
//
// The package knows encodings and no structures; sorted lists, unknown bits and
// zero padding are checked by those who know what they mean.
package wire

import "encoding/binary"

// maxUvarintLen is the length of the longest encoding of a uint64.
const maxUvarintLen = 10

// AppendUvarint appends v as unsigned LEB128 ("uv"): seven bits a byte, least
// significant first, the high bit set on all bytes but the last.
func AppendUvarint(b []byte, v uint64) []byte {
	return binary.AppendUvarint(b, v)
}

// AppendVarint appends v as zigzag LEB128 ("sv"): 0, -1, 1, -2 ... become
// 0, 1, 2, 3 ...
func AppendVarint(b []byte, v int64) []byte {
	return binary.AppendUvarint(b, uint64(v)<<1^uint64(v>>63))
}

// AppendBytes appends the length of v as a uvarint, then v itself.
func AppendBytes(b, v []byte) []byte {
	b = binary.AppendUvarint(b, uint64(len(v)))
	return append(b, v...)
}

// AppendString is AppendBytes for a string.
func AppendString(b []byte, s string) []byte {
	b = binary.AppendUvarint(b, uint64(len(s)))
	return append(b, s...)
}

// AppendU16 appends v in two bytes, little endian.
func AppendU16(b []byte, v uint16) []byte { return binary.LittleEndian.AppendUint16(b, v) }

// AppendU32 appends v in four bytes, little endian.
func AppendU32(b []byte, v uint32) []byte { return binary.LittleEndian.AppendUint32(b, v) }

// AppendU64 appends v in eight bytes, little endian.
func AppendU64(b []byte, v uint64) []byte { return binary.LittleEndian.AppendUint64(b, v) }
