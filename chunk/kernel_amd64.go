package chunk

import "github.com/klauspost/cpuid/v2"

// kernels has what this processor and its system can run, the fastest first.
// scanBlocks uses AES-NI in the encoding that came with AVX; VAES came to some
// processors without AVX-512, which golang.org/x/sys/cpu cannot tell.
var kernels = available(
	kernel{"vaes-512", 4, scanBlocks512, cpuid.CPU.Supports(cpuid.VAES, cpuid.AVX512F, cpuid.AVX512BW)},
	kernel{"vaes-256", 2, scanBlocks256, cpuid.CPU.Supports(cpuid.VAES, cpuid.AVX2)},
	kernel{"aes-ni", 1, scanBlocks, cpuid.CPU.Supports(cpuid.AESNI, cpuid.AVX)},
)

//go:noescape
func scanBlocks(keys *roundKeys, state *kernelState, p *byte, groups int, mask uint32) int

//go:noescape
func scanBlocks256(keys *roundKeys, state *kernelState, p *byte, groups int, mask uint32) int

//go:noescape
func scanBlocks512(keys *roundKeys, state *kernelState, p *byte, groups int, mask uint32) int
