package index

import (
	"encoding/binary"
	"math/bits"

	"vault/crypto"
)

// filter is a Bloom filter in blocks of one cache line (Putze, Sanders, Singler,
// Cache-, Hash- and Space-Efficient Bloom Filters, 2007). Names are uniform
// already, so their bits are used without hashing: the first 8 bytes choose the
// block, in the order of names, the next 8 the bits in it. About 1 % of the
// names that were not added are taken for known.
type filter []block

type block [8]uint64

const (
	filterBits   = 10 // a name
	filterProbes = 6
	blockBits    = 512
)

// newFilter returns an empty filter for n names.
func newFilter(n int) filter { return make(filter, (n*filterBits+blockBits-1)/blockBits) }

// add adds the name that begins with these 16 bytes.
func (f filter) add(name []byte) {
	b, h := f.block(name)
	for range filterProbes {
		b[h>>6&7] |= 1 << (h & 63)
		h >>= 9
	}
}

// has reports whether the name may have been added.
func (f filter) has(id *crypto.ID) bool {
	if len(f) == 0 {
		return false
	}
	b, h := f.block(id[:])
	for range filterProbes {
		if b[h>>6&7]&(1<<(h&63)) == 0 {
			return false
		}
		h >>= 9
	}
	return true
}

func (f filter) block(name []byte) (*block, uint64) {
	i, _ := bits.Mul64(binary.BigEndian.Uint64(name), uint64(len(f)))
	return &f[i], binary.LittleEndian.Uint64(name[8:])
}
