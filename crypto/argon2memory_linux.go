package crypto

import (
	"syscall"
	"unsafe"
)

// argon2Memory returns n zero blocks, and what gives them back: memory of its own,
// outside the heap, in large pages if the system has some, so that it is neither
// faulted in by 4 KiB nor kept for the rest of the process. What a derivation
// leaves in it is gone at once.
func argon2Memory(n int) (blocks []argon2Block, release func()) {
	raw, err := syscall.Mmap(-1, 0, n*int(unsafe.Sizeof(argon2Block{})), syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_ANON|syscall.MAP_PRIVATE)
	if err != nil {
		return make([]argon2Block, n), func() {}
	}
	_ = syscall.Madvise(raw, syscall.MADV_HUGEPAGE) // only a hint
	return unsafe.Slice((*argon2Block)(unsafe.Pointer(unsafe.SliceData(raw))), n), func() { _ = syscall.Munmap(raw) }
}
