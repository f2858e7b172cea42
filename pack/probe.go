package pack

import (
	"math"

	"github.com/klauspost/compress/s2"
)

// The probe looks at one line of 64 bytes in each KiB.
const (
	probeSmall  = 4 << 10 // below this, trying costs nothing worth saving
	probeRegion = 32 << 10
	probeLine   = 64
	probeStride = 1 << 10
)

// compressible reports whether compression is worth trying, at a small part of
// its cost. It looks for a skewed distribution of bytes, region by region, in a
// sample; and for repetitions with the match finder of s2, which does not write.
// It errs towards trying.
func compressible(raw []byte) bool {
	if len(raw) < probeSmall {
		return true
	}
	need := float64(len(raw)) / 50 // bytes that have to be saved
	for at := 0; at < len(raw); at += probeRegion {
		region := raw[at:min(at+probeRegion, len(raw))]
		need -= skew(region) * float64(len(region))
		if need <= 0 {
			return true
		}
	}
	size := s2.EstimateBlockSize(raw)
	return size >= 0 && size <= len(raw)-len(raw)/64
}

// skew estimates, from a sample, which part of region an order-0 entropy coder
// would save. It uses the collision entropy, -log2 of the chance that two sampled
// bytes are equal (Rényi, On measures of entropy and information, 1961): that is
// never above Shannon's, so the saving is not underestimated, it has hardly any
// bias on small samples, and it needs one logarithm only.
func skew(region []byte) float64 {
	var counts [256]uint32
	n := 0
	for i, at := 0, 0; at < len(region); i, at = i+1, at+probeStride {
		// The line moves within its stride, so that it does not always meet
		// the same part of records of a power of two.
		line := at + i*5%16*probeLine
		if line >= len(region) {
			line = at
		}
		for _, c := range region[line:min(line+probeLine, len(region))] {
			counts[c]++
			n++
		}
	}
	if n < 2 {
		return 0
	}
	var pairs uint64
	for _, c := range counts {
		pairs += uint64(c) * uint64(c)
	}
	pairs -= uint64(n)
	if pairs == 0 {
		return 0
	}
	chance := float64(pairs) / (float64(n) * float64(n-1))
	return max(0, 1+math.Log2(chance)/8)
}
