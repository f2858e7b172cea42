package redis

import (
	"encoding/binary"
	"errors"
	"hash/crc64"
)

// A value as DUMP gives it, which is also a file of NethServer's redis-dump:
//
//	| value in the encoding of RDB files | version u16 | CRC-64 of all before u64 |
//
// Numbers are little endian; the CRC is that of Jones (rdb.c, crc64.c of Redis).
const footer = 2 + 8

// jones is his polynomial 0xad93d23594c935a9 with its bits in reverse, as package
// crc64 wants it.
var jones = crc64.MakeTable(0x95ac9329ac4bc9b5)

// ErrDamaged says that a value is not what DUMP gave.
var ErrDamaged = errors.New("the value is damaged: its checksum is wrong")

// checkValue returns the version of RDB that a value is written in, or ErrDamaged. A
// checksum of zero means that the server had it switched off.
func checkValue(b []byte) (version uint16, err error) {
	if len(b) <= footer {
		return 0, ErrDamaged
	}
	body, sum := b[:len(b)-8], binary.LittleEndian.Uint64(b[len(b)-8:])
	// Package crc64 begins and ends with all bits turned round, Redis does not.
	if sum != 0 && ^crc64.Update(^uint64(0), jones, body) != sum {
		return 0, ErrDamaged
	}
	return binary.LittleEndian.Uint16(body[len(body)-2:]), nil
}
