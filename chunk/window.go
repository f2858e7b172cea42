package chunk

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/binary"
)

const windowInfo = "vault/1/chunker/aes-window" // part of the format

// zeroBlock is the number of positions that are skipped at once in runs of zeros.
const zeroBlock = 4 << 10

// A window evaluates the AESWindow rule. It does not change after newWindow.
type window struct {
	block    cipher.Block
	keys     roundKeys // for the kernel
	kernel   *kernel   // uses the processor's AES instructions; nil for the portable path
	mask     uint32    // the bits of V that are zero at a boundary
	zeroCuts bool      // 64 zero bytes are a boundary
}

// windowScratch is what find needs to write to: one for each Splitter. It exists
// because arguments of cipher.Block, and of a kernel, escape to the heap.
type windowScratch struct {
	e     [aes.BlockSize]byte
	state kernelState      // what a kernel keeps from group to group
	rest  [oneGroupIn]byte // the end of the input, for a kernel
}

func newWindow(bits uint8, secret []byte) (*window, error) {
	key, err := hkdf.Key(sha256.New, secret, nil, windowInfo, aes.BlockSize)
	if err != nil {
		return nil, err
	}
	w, err := windowOf(bits, key)
	if err != nil {
		return nil, err
	}
	w.kernel = bestKernel()
	return w, nil
}

// windowOf returns the window of a 16-byte AES key that uses no kernel.
func windowOf(bits uint8, key []byte) (*window, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	w := &window{block: block, mask: 1<<bits - 1}
	w.keys.expand(key)
	var s windowScratch
	w.zeroCuts = w.findPortable(make([]byte, windowSize), &s) == 0
	return w, nil
}

// find tests every 64-byte window of b in turn and returns the number of windows
// before the first that is a boundary, or -1 if none is.
//
// Runs of zeros, which disk images are full of, are stepped over.
func (w *window) find(b []byte, s *windowScratch) int {
	if w.zeroCuts {
		return w.findAny(b, s)
	}
	count := len(b) - (windowSize - 1)
	zerosAt := func(i int) bool {
		const n = zeroBlock + windowSize - 1
		return len(b)-i >= n && IsZero(b[i:i+n])
	}
	for i := 0; i < count; {
		j := i
		for j < count && !zerosAt(j) {
			j = min(j+zeroBlock, count)
		}
		if j > i {
			if n := w.findAny(b[i:j+windowSize-1], s); n >= 0 {
				return i + n
			}
		}
		for i = j; zerosAt(i); {
			i += zeroBlock
		}
	}
	return -1
}

// findAny is find without regard to zeros.
func (w *window) findAny(b []byte, s *windowScratch) int {
	if w.kernel != nil {
		return w.findKernel(b, s)
	}
	return w.findPortable(b, s)
}

// findPortable is find by crypto/aes. It keeps the last 16 values of V, each as
// two 64-bit halves; after three rounds of these nothing of their initial zeros
// is left in the bits that are tested.
func (w *window) findPortable(b []byte, s *windowScratch) int {
	var lo, hi [16]uint64
	e := s.e[:]
	for i := 0; i+aes.BlockSize <= len(b); i++ {
		w.block.Encrypt(e, b[i:i+aes.BlockSize])
		j := i % 16
		l := binary.LittleEndian.Uint64(e) ^ (lo[j]>>32 | hi[j]<<32)
		h := binary.LittleEndian.Uint64(e[8:]) ^ hi[j]>>32
		lo[j], hi[j] = l, h
		if i >= windowSize-aes.BlockSize && uint32(l)&w.mask == 0 {
			return i - (windowSize - aes.BlockSize)
		}
	}
	return -1
}
