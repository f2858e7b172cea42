package chunk

import (
	"bytes"
	"crypto/hkdf"
	"crypto/sha256"

	"github.com/restic/chunker"
)

// Part of the format.
const (
	rabinInfo   = "vault/1/chunker/rabin"
	rabinStream = 255 * sha256.Size // all that HKDF gives; 1020 candidates, of which one in 27 is irreducible
)

// rabin is the Rabin fingerprint's polynomial and tables, in the state that every
// chunk starts with. It does not change after newRabin.
type rabin struct {
	start chunker.BaseChunker
}

// rabinState is the fingerprint inside one chunk.
type rabinState struct {
	cur   chunker.BaseChunker
	dirty bool // cur is not in its initial state
	set   bool // cur has been set
}

func newRabin(p Params, secret []byte) (*rabin, error) {
	pol, err := derivePolynomial(secret)
	if err != nil {
		return nil, err
	}
	return &rabin{start: *chunker.NewBase(pol,
		chunker.WithBaseBoundaries(uint(p.Min), uint(p.Max)),
		chunker.WithBaseAverageBits(int(p.Bits)),
	)}, nil
}

func derivePolynomial(secret []byte) (chunker.Pol, error) {
	stream, err := hkdf.Key(sha256.New, secret, nil, rabinInfo, rabinStream)
	if err != nil {
		return 0, err
	}
	return chunker.DerivePolynomial(bytes.NewReader(stream))
}

// reset forgets what has been seen of a chunk.
func (s *rabinState) reset(r *rabin) {
	if s.dirty || !s.set {
		s.cur = r.start
		s.dirty, s.set = false, true
	}
}

// next returns the length of the chunk that data starts with, or 0. It has been
// shown data[:seen] before.
func (s *rabinState) next(data []byte, seen int) int {
	s.dirty = true
	n := s.cur.NextSplitPoint(data[seen:])
	if n < 0 {
		return 0
	}
	s.dirty = false // a boundary makes it start over
	return seen + n
}
