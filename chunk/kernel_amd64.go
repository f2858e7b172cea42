package chunk

import "golang.org/x/sys/cpu"

// haveKernel says that scanBlocks may be called: it uses AES-NI in the encoding
// that came with AVX.
var haveKernel = cpu.X86.HasAES && cpu.X86.HasAVX
