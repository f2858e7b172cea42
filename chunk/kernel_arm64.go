package chunk

import "golang.org/x/sys/cpu"

// haveKernel says that scanBlocks may be called: it uses AESE and AESMC.
var haveKernel = cpu.ARM64.HasAES
