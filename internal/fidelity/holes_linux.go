package fidelity

import (
	"encoding/binary"
	"errors"
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"
)

// holes returns the holes of a file that are not shorter than least.
//
// What SEEK_HOLE finds depends on the page cache: space that is reserved but not
// written (an unwritten extent) is a hole until somebody reads it. So FIEMAP is
// asked, to which reserved space is data, where the file system has it.
func holes(fd int, size, least int64) ([]Extent, error) {
	if size == 0 {
		return nil, nil
	}
	out, err := mappedHoles(fd, size, least)
	if errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.ENOTTY) {
		return soughtHoles(fd, size, least)
	}
	return out, err
}

// The request of FS_IOC_FIEMAP (linux/fiemap.h):
//
//	| start 8 | length 8 | flags 4 | mapped 4 | count 4 | reserved 4 | extents |
//
// and an extent:
//
//	| logical 8 | physical 8 | length 8 | reserved 16 | flags 4 | reserved 12 |
const (
	fiemap       = 0xC020660B
	fiemapSync   = 1 // flag: write what is dirty first
	fiemapHead   = 32
	fiemapExtent = 56
	fiemapCount  = 512
)

func mappedHoles(fd int, size, least int64) (out []Extent, err error) {
	buf := make([]byte, fiemapHead+fiemapCount*fiemapExtent)
	le := binary.NativeEndian
	off := int64(0) // up to here all is known
	for next := int64(0); next < size; {
		clear(buf)
		le.PutUint64(buf, uint64(next))
		le.PutUint64(buf[8:], uint64(size-next))
		le.PutUint32(buf[16:], fiemapSync)
		le.PutUint32(buf[24:], fiemapCount)
		if _, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), fiemap, uintptr(unsafe.Pointer(&buf[0]))); errno != 0 {
			return nil, fmt.Errorf("map extents: %w", errno)
		}
		n := int(le.Uint32(buf[20:]))
		for i := range n {
			e := buf[fiemapHead+i*fiemapExtent:]
			logical, length := int64(le.Uint64(e)), int64(le.Uint64(e[16:]))
			out = appendHole(out, off, min(logical, size), least)
			off = max(off, logical+length)
		}
		if n < fiemapCount {
			break
		}
		next = off
	}
	return appendHole(out, off, size, least), nil
}

func soughtHoles(fd int, size, least int64) (out []Extent, err error) {
	for off := int64(0); off < size; {
		data, err := unix.Seek(fd, off, unix.SEEK_DATA)
		if errors.Is(err, unix.ENXIO) {
			data, err = size, nil
		}
		if err != nil {
			return nil, err
		}
		out = appendHole(out, off, min(data, size), least)
		if data >= size {
			break
		}
		if off, err = unix.Seek(fd, data, unix.SEEK_HOLE); err != nil {
			return nil, err
		}
	}
	return out, nil
}

func appendHole(list []Extent, from, to, least int64) []Extent {
	if to > from && to-from >= least {
		list = append(list, Extent{from, to - from})
	}
	return list
}
