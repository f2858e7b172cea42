package crypto

import "math/bits"

// minPadded is the smallest size class. Part of the format.
const minPadded = 512

// PaddedSize returns the size class of n bytes: the smallest size >= n that an
// object of n bytes may have. Sizes are PADMÉ numbers of at least 512 (Nikitin
// et al., "Reducing Metadata Leakage from Encrypted Files and Communication
// with PURBs", PoPETs 2019): of an n with E+1 bits, all but the first
// floor(log2 E)+2 bits are zero. So a size reveals O(log log n) bits, at a cost
// of at most 6.25 % above 512 bytes and 3.2 % from 64 KiB on.
func PaddedSize(n int) int {
	if n <= minPadded {
		return minPadded
	}
	e := bits.Len(uint(n)) - 1
	z := e - bits.Len(uint(e))
	mask := 1<<z - 1
	padded := (n + mask) &^ mask
	if padded < n {
		panic("crypto: internal error: PaddedSize of an impossible size")
	}
	return padded
}
