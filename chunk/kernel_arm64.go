package chunk

import "golang.org/x/sys/cpu"

// kernels has what this processor can run: scanBlocks uses AESE and AESMC.
var kernels = available(kernel{"aes-arm64", 1, scanBlocks, cpu.ARM64.HasAES})

//go:noescape
func scanBlocks(keys *roundKeys, state *kernelState, p *byte, groups int, mask uint32) int
