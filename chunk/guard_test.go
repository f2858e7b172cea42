//go:build linux

package chunk

import (
	"testing"

	"golang.org/x/sys/unix"
)

// A page that may not be read follows, and one precedes, the data: the kernel
// must stay inside.
func TestKernelStaysInside(t *testing.T) {
	page := unix.Getpagesize()
	mem, err := unix.Mmap(-1, 0, 3*page, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON)
	if err != nil {
		t.Skip(err)
	}
	defer unix.Munmap(mem)
	for _, guard := range [][]byte{mem[:page], mem[2*page:]} {
		if err := unix.Mprotect(guard, unix.PROT_NONE); err != nil {
			t.Skip(err)
		}
	}
	data := mem[page : 2*page]
	copy(data, lcgBytes(1, page))
	w := mustNew(t, Params{AESWindow, 64, 65, 8}, testSecret).window
	each(t, func(t *testing.T, k *kernel) {
		for n := range 300 {
			sameHits(t, k, w, data[page-n:])
			sameHits(t, k, w, data[:n])
		}
	})
}
