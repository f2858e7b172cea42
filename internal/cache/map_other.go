//go:build !unix

package cache

import (
	"io"
	"os"
)

// mapping is a copy of a file in memory, where mapping is not implemented.
type mapping []byte

func newMapping(f *os.File, size int) (mapping, error) {
	b := make([]byte, size)
	_, err := io.ReadFull(io.NewSectionReader(f, 0, int64(size)), b)
	return b, err
}

func (m mapping) unmap() error { return nil }
