// Package chunk decides where a piece of data ends.
//
// A Splitter cuts a stream into chunks at positions that depend only on the 64
// bytes before each position and on a secret, so that an insertion or deletion
// changes the chunks around it and no others. Two algorithms are part of the
// repository format:
//
//   - AESWindow, the default: the cut decision is a pseudorandom function
//     (AES-128) of the last 64 bytes. What is seen of the chunk lengths does
//     not give the key away, unlike with rolling hashes.
//   - Rabin: the Rabin fingerprint of the last 64 bytes by a secret irreducible
//     polynomial, as computed by github.com/restic/chunker.
//
// # The boundary rule
//
// Let b_0, b_1, ... be the bytes of a stream from the start of a chunk. The
// chunk is b_0..b_i for the least i such that
//
//   - i+1 >= Min and the low Bits bits of V_i are zero, or
//   - i+1 = Max, or
//   - b_i is the last byte of the stream.
//
// An empty stream has no chunks. The next chunk starts at b_{i+1}, with nothing
// remembered.
//
// For AESWindow, with k the 16-byte key and all 16-byte strings read as 128-bit
// little-endian numbers,
//
//	V_i = E_i xor (V_{i-16} >> 32),   E_i = AES-128_k(b_{i-15} .. b_i),
//
// where >> shifts towards the low end and fills with zeros. Four steps back a
// value is shifted out entirely, so this is
//
//	V_i = E_i xor (E_{i-16} >> 32) xor (E_{i-32} >> 64) xor (E_{i-48} >> 96),
//
// a function of b_{i-63}..b_i alone, which is how V_i is defined. Only i >= Min-1
// is ever tested and Min is at least 64, so the window never reaches before the
// start of the chunk, and evaluation starts at b_{Min-64}. k is the 16-byte output
// of HKDF-SHA256 (RFC 5869) with the secret as input key, no salt and the info
// string "vault/1/chunker/aes-window".
//
// For Rabin, V_i is the polynomial over GF(2) with the bits of b_{i-63}..b_i as
// coefficients (the first byte's high bit is the highest power) modulo P, and the
// low bits are the lowest powers. P is an irreducible polynomial of degree 53:
// the 8160 bytes of output (the most there are) of HKDF-SHA256 with the secret, no
// salt and the info string "vault/1/chunker/rabin" are read as little-endian 64-bit
// numbers; of each, bits 54 to 63 are cleared and bits 53 and 0 set; the first
// that is irreducible is P.
//
// # Caveats
//
// Whoever can choose the plaintext and sees chunk lengths can still recognise
// chosen files by them; only hiding the lengths helps against that. The Rabin
// fingerprint of 64 zero bytes is zero, so Rabin cuts runs of zeros at the minimum,
// and its polynomial can be recovered from observed chunk lengths. Input of period
// up to 64 has few distinct windows, so it is usually cut at Max by AESWindow.
package chunk

import (
	"errors"
	"fmt"
)

// MaxChunk is the greatest permitted chunk size in bytes. Part of the format.
const MaxChunk = 8 << 20

// Limits of Params. Part of the format.
const (
	windowSize = 64 // bytes that a cut decision depends on
	minBits    = 8
	maxBits    = 24
)

// ErrParams is wrapped by the errors that Validate, ParseAlgorithm and New
// return for parameters outside the format.
var ErrParams = errors.New("invalid chunker parameters")

// Algorithm identifies how boundaries are chosen. The values are part of the
// format.
type Algorithm uint8

const (
	AESWindow Algorithm = 1 // AES-128 over a 64-byte window
	Rabin     Algorithm = 2 // Rabin fingerprint of a 64-byte window
)

// String returns the name that ParseAlgorithm accepts.
func (a Algorithm) String() string {
	switch a {
	case AESWindow:
		return "aes-window"
	case Rabin:
		return "rabin"
	}
	return fmt.Sprintf("algorithm(%d)", uint8(a))
}

// ParseAlgorithm returns the algorithm of that name: "aes-window" or "rabin".
func ParseAlgorithm(name string) (Algorithm, error) {
	for _, a := range []Algorithm{AESWindow, Rabin} {
		if name == a.String() {
			return a, nil
		}
	}
	return 0, fmt.Errorf("%w: unknown algorithm %q (want aes-window or rabin)", ErrParams, name)
}

// Params says how data is cut. Equal parameters and secrets give equal chunks.
type Params struct {
	Algorithm Algorithm
	Min       int   // least chunk size in bytes, except for the last chunk of a stream
	Max       int   // greatest chunk size in bytes
	Bits      uint8 // a boundary is expected every 1<<Bits bytes after Min
}

// DefaultParams returns the parameters of a new repository. On data without long
// repetitions the mean chunk is close to Min + 1<<Bits bytes, 320 KiB. Why these:
// docs/decisions/001-chunk-sizes.md.
func DefaultParams() Params {
	return Params{Algorithm: AESWindow, Min: 256 << 10, Max: 2 << 20, Bits: 16}
}

// Validate reports whether p is within the format's limits: a known algorithm,
// 64 <= Min < Max <= MaxChunk, 8 <= Bits <= 24.
func (p Params) Validate() error {
	switch {
	case p.Algorithm != AESWindow && p.Algorithm != Rabin:
		return fmt.Errorf("%w: unknown algorithm %d", ErrParams, uint8(p.Algorithm))
	case p.Min < windowSize:
		return fmt.Errorf("%w: minimum %d is less than %d", ErrParams, p.Min, windowSize)
	case p.Max > MaxChunk:
		return fmt.Errorf("%w: maximum %d is more than %d", ErrParams, p.Max, MaxChunk)
	case p.Min >= p.Max:
		return fmt.Errorf("%w: minimum %d is not less than maximum %d", ErrParams, p.Min, p.Max)
	case p.Bits < minBits || p.Bits > maxBits:
		return fmt.Errorf("%w: %d bits, want %d to %d", ErrParams, p.Bits, minBits, maxBits)
	}
	return nil
}

// A Chunker holds parameters and the key or polynomial derived from a secret.
// It does not change and is safe for concurrent use.
type Chunker struct {
	params Params
	window *window // AESWindow only
	rabin  *rabin  // Rabin only
}

// New derives a Chunker from a secret. The same parameters and secret always
// give the same boundaries.
func New(p Params, secret [32]byte) (*Chunker, error) {
	if err := p.Validate(); err != nil {
		return nil, err
	}
	c := &Chunker{params: p}
	var err error
	if p.Algorithm == Rabin {
		c.rabin, err = newRabin(p, secret[:])
	} else {
		c.window, err = newWindow(p.Bits, secret[:])
	}
	if err != nil {
		return nil, fmt.Errorf("derive %v chunker: %w", p.Algorithm, err)
	}
	return c, nil
}

// Params returns the parameters that c was made with.
func (c *Chunker) Params() Params { return c.params }
