//go:build unix

package cache

import (
	"os"

	"golang.org/x/sys/unix"
)

// mapping is a file in memory, read only.
type mapping []byte

func newMapping(f *os.File, size int) (mapping, error) {
	return unix.Mmap(int(f.Fd()), 0, size, unix.PROT_READ, unix.MAP_SHARED)
}

func (m mapping) unmap() error { return unix.Munmap(m) }
