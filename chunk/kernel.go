package chunk

import (
	"crypto/aes"
	"encoding/binary"
	"sync"
)

const (
	group      = 16                                     // positions that a kernel does at once
	warmUp     = (windowSize - aes.BlockSize) / group   // groups before V is that of whole windows
	oneGroupIn = (warmUp+1)*group + (aes.BlockSize - 1) // bytes read to test one group
)

// A kernel evaluates the AESWindow rule by the processor's AES instructions.
type kernel struct {
	name  string
	lanes int // positions in a register: says where in state a position is
	scan  scanFunc
	runs  bool // the processor has the instructions, and its system saves the registers
}

// kernelState has V of the 16 positions of a group, in the order of a kernel.
type kernelState [group][aes.BlockSize]byte

// A scanFunc evaluates 16 positions a group, the first block being the 16 bytes
// at p, and returns the index of the first group from the fourth on that has a
// position with V & mask zero, or -1 if none has. It reads 16*groups + 15 bytes.
// state holds V of the group before p, zero if there is none, and that of the last
// group evaluated afterwards.
type scanFunc func(keys *roundKeys, state *kernelState, p *byte, groups int, mask uint32) int

// slot is where state has V of position i of a group.
func (k *kernel) slot(i int) int {
	apart := group / k.lanes
	return i%apart*k.lanes + i/apart
}

// available returns pointers to those of the kernels that can run.
func available(all ...kernel) (list []*kernel) {
	for i := range all {
		if all[i].runs {
			list = append(list, &all[i])
		}
	}
	return list
}

// bestKernel returns the first kernel that can run and does what the portable path
// does, tried once in a process; nil if there is none. A wrong one would cut data
// at other places than other machines do, and nobody would see more than a
// repository that grows.
var bestKernel = sync.OnceValue(func() *kernel { return firstThatAgrees(kernels) })

func firstThatAgrees(list []*kernel) *kernel {
	for _, k := range list {
		if k.agrees() {
			return k
		}
	}
	return nil
}

// agrees compares k with the portable path on 2 KiB, in a fraction of a
// millisecond: all of V, of every position, and then the boundaries.
func (k *kernel) agrees() bool {
	data := make([]byte, 2<<10)
	x := uint32(1)
	for i := range data {
		x = x*1664525 + 1013904223
		data[i] = byte(x >> 24)
	}
	w, err := windowOf(8, data[:aes.BlockSize])
	if err != nil {
		return false
	}
	w.kernel = k
	var s windowScratch
	var want [group][2]uint64 // V as two halves
	for at := 0; at+group+aes.BlockSize <= len(data); at += group {
		if k.scan(&w.keys, &s.state, &data[at], 1, w.mask) != -1 {
			return false // one group only warms up
		}
		for i := range want {
			w.block.Encrypt(s.e[:], data[at+i:at+i+aes.BlockSize])
			v := &want[i]
			v[0] = binary.LittleEndian.Uint64(s.e[:]) ^ (v[0]>>32 | v[1]<<32)
			v[1] = binary.LittleEndian.Uint64(s.e[8:]) ^ v[1]>>32
			got := s.state[k.slot(i)][:]
			if binary.LittleEndian.Uint64(got) != v[0] || binary.LittleEndian.Uint64(got[8:]) != v[1] {
				return false
			}
		}
	}
	for {
		n := w.findPortable(data, &s)
		if w.findKernel(data, &s) != n {
			return false
		}
		if n < 0 {
			return true
		}
		data = data[n+1:]
	}
}

// findKernel is find by w.kernel.
func (w *window) findKernel(b []byte, s *windowScratch) int {
	k := w.kernel
	count := len(b) - (windowSize - 1)
	whole := 0 // tested positions that come in whole groups
	if count >= group {
		whole = count &^ (group - 1)
		clear(s.state[:])
		if g := k.scan(&w.keys, &s.state, &b[0], warmUp+whole/group, w.mask); g >= 0 {
			return (g-warmUp)*group + k.firstHit(&s.state, w.mask)
		}
	}
	if whole >= count {
		return -1
	}
	// The others go through a copy that may be read beyond them.
	clear(s.rest[copy(s.rest[:], b[whole:]):])
	clear(s.state[:])
	if k.scan(&w.keys, &s.state, &s.rest[0], warmUp+1, w.mask) >= 0 {
		if i := whole + k.firstHit(&s.state, w.mask); i < count {
			return i
		}
	}
	return -1
}

// firstHit returns the first position of a group that is a boundary.
func (k *kernel) firstHit(state *kernelState, mask uint32) int {
	for i := range group {
		if binary.LittleEndian.Uint32(state[k.slot(i)][:])&mask == 0 {
			return i
		}
	}
	panic("chunk: internal error: no boundary in a group that has one")
}
