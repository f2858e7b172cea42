package crypto

import "golang.org/x/sys/cpu"

// haveMixer says that mixBlocks may be called.
var haveMixer = cpu.X86.HasAVX512F

// mixBlocks sets dst to the compression function G of RFC 9106 (section 3.5) of
// two blocks, or to the exclusive or of that and what was there. Dst may be prev.
//
//go:noescape
func mixBlocks(dst, prev, ref *argon2Block, keep bool)
