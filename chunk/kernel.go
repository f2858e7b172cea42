//go:build amd64 || arm64

package chunk

import (
	"crypto/aes"
	"encoding/binary"
)

const (
	group      = 16                                     // positions that scanBlocks does at once
	warmUp     = (windowSize - aes.BlockSize) / group   // groups before V is that of whole windows
	oneGroupIn = (warmUp+1)*group + (aes.BlockSize - 1) // bytes read to test one group
)

// scanBlocks evaluates 16 positions a group, the first block being the 16 bytes
// at p, and returns the index of the first group from the fourth on that has a
// position with V & mask zero, or -1 if none has. It reads 16*groups + 15 bytes.
// state must be zero, and holds V of the last group evaluated afterwards.
//
//go:noescape
func scanBlocks(keys *roundKeys, state *[16][16]byte, p *byte, groups int, mask uint32) int

// findKernel is find by the processor's AES instructions.
func (w *window) findKernel(b []byte) int {
	var state [16][16]byte
	count := len(b) - (windowSize - 1)
	whole := 0 // tested positions that come in whole groups
	if count >= group {
		whole = count &^ (group - 1)
		if g := scanBlocks(&w.keys, &state, &b[0], warmUp+whole/group, w.mask); g >= 0 {
			return (g-warmUp)*group + firstHit(&state, w.mask)
		}
	}
	if whole >= count {
		return -1
	}
	// The others go through a copy that may be read beyond them.
	var rest [oneGroupIn]byte
	copy(rest[:], b[whole:])
	clear(state[:])
	if scanBlocks(&w.keys, &state, &rest[0], warmUp+1, w.mask) >= 0 {
		if i := whole + firstHit(&state, w.mask); i < count {
			return i
		}
	}
	return -1
}

// firstHit returns the first slot that is a boundary.
func firstHit(state *[16][16]byte, mask uint32) int {
	for i := range state {
		if binary.LittleEndian.Uint32(state[i][:])&mask == 0 {
			return i
		}
	}
	panic("chunk: internal error: no boundary in a group that has one")
}
