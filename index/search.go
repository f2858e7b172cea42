package index

import (
	"bytes"
	"encoding/binary"
	"math/bits"

	"vault/crypto"
)

const (
	// interpolations is how often find guesses from the distribution of names
	// before it halves. Names are uniform, so a few guesses suffice; where they
	// are not - a crafted segment - halving bounds the search.
	interpolations = 6
	// scan is the number of rows that are gone through one by one.
	scan = 8
)

// find returns the first row whose name is not below id, or Len. It is an
// interpolation search (Perl, Itai, Avni, 1978), followed by a binary one.
func (s *Segment) find(id *crypto.ID) int {
	key := binary.BigEndian.Uint64(id[:])
	// Rows below lo are below id, rows from hi on are not. The prefixes of
	// the rows around are bounds of those between.
	lo, hi := 0, s.n
	below, above := uint64(0), ^uint64(0)
	for guess := 0; hi-lo > scan && below < above; guess++ {
		mid := lo + (hi-lo)/2
		if guess < interpolations {
			mid = interpolate(lo, hi, below, above, key, guess)
		}
		p := s.prefix(mid)
		if p < key || p == key && bytes.Compare(s.nameRef(mid)[:], id[:]) < 0 {
			lo, below = mid+1, p
		} else {
			hi, above = mid, p
		}
	}
	for lo < hi {
		mid := lo + (hi-lo)/2
		if bytes.Compare(s.nameRef(mid)[:], id[:]) < 0 {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	return lo
}

// interpolate returns a row in lo..hi-1 near which key is to be expected, if
// names between below and above are uniform. Guesses alternate to either side of
// the expected place by about its standard error, so that the range shrinks from
// both ends.
func interpolate(lo, hi int, below, above, key uint64, guess int) int {
	if key <= below {
		return lo
	}
	if key >= above {
		return hi - 1
	}
	n := uint64(hi - lo)
	// floor((key-below) * n / (above-below)): the divisor exceeds the high word,
	// as key < above and n < 2^32.
	high, low := bits.Mul64(key-below, n)
	expected, _ := bits.Div64(high, low, above-below)
	// A power of two near the deviation, sqrt(n p (1-p)), will do.
	margin := uint64(1) << (bits.Len64(expected*(n-expected)/n) / 2)
	if guess%2 == 0 {
		if expected < margin {
			return lo
		}
		return lo + int(expected-margin)
	}
	return lo + int(min(expected+margin, n-1))
}
