package chunk

import "golang.org/x/sys/cpu"

// haveKernel says that scanBlocks may be called: it uses AES-NI in the encoding
// that came with AVX.
var haveKernel = cpu.X86.HasAES && cpu.X86.HasAVX

// scanBlocks evaluates 16 positions a group, the first block being the 16 bytes
// at p, and returns the index of the first group from the fourth on that has a
// position with V & mask zero, or -1 if none has. It reads 16*groups + 15 bytes.
// state must be zero, and holds V of the last group evaluated afterwards.
//
//go:noescape
func scanBlocks(keys *roundKeys, state *[16][16]byte, p *byte, groups int, mask uint32) int
