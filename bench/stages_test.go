package bench

import (
	"bytes"
	"crypto/rand"
	"testing"

	"vault/chunk"
	"vault/crypto"
	"vault/pack"
	"vault/repo"
)

// stages are the primitives of a backup on given bytes, each as the engine calls
// it and with nothing between: what bounds the pipeline.
type stages struct {
	keys     *crypto.Keys
	object   *crypto.Object
	splitter *chunk.Splitter
	coder    *pack.Coder

	segments []segment
	opened   []byte
	decoded  []byte
	packBuf  []byte // made when first used
}

// segment is what is compressed and sealed together, with the results of each stage.
type segment struct {
	raw    []byte
	chunks [][]byte
	names  []crypto.ID // of chunks
	buf    []byte      // for coded
	coded  []byte
	codec  pack.Codec
	sealed []byte
}

func newStages(tb testing.TB) *stages {
	p := repo.DefaultParams()
	s := &stages{keys: crypto.NewKeys(crypto.MasterKey{1}, crypto.RepoID{2}, crypto.PreferredAEAD()), coder: pack.NewCoder(p.Compression)}
	c, err := chunk.New(p.Chunker, s.keys.ChunkerSecret())
	if err != nil {
		tb.Fatal(err)
	}
	if s.object, err = s.keys.NewObject(crypto.KindPack, crypto.SessionID{3}, rand.Reader); err != nil {
		tb.Fatal(err)
	}
	s.splitter = c.NewSplitter()
	return s
}

// load takes files apart, and prepares what the stages after the first work on.
func (s *stages) load(tb testing.TB, files [][]byte) {
	size := repo.DefaultParams().SegmentSize
	s.segments = nil
	var at segment
	flush := func() {
		if len(at.raw) == 0 {
			return
		}
		at.names = make([]crypto.ID, len(at.chunks))
		at.buf = make([]byte, pack.EncodeBound(len(at.raw)))
		at.sealed = make([]byte, 0, len(at.buf)+crypto.Overhead)
		s.segments = append(s.segments, at)
		at = segment{}
	}
	s.split(tb, files, func(c []byte) {
		if len(at.raw)+len(c) > size {
			flush()
		}
		if cap(at.raw)-len(at.raw) < len(c) {
			at.raw = append(make([]byte, 0, max(size, len(c))), at.raw...)
		}
		at.raw = append(at.raw, c...)
		at.chunks = append(at.chunks, at.raw[len(at.raw)-len(c):])
	})
	flush()
	longest := 0
	for _, g := range s.segments {
		longest = max(longest, len(g.raw))
	}
	s.opened = make([]byte, 0, pack.EncodeBound(longest))
	s.decoded = make([]byte, pack.DecodeBound(longest))
	s.name()
	s.compress()
	s.seal()
}

func (s *stages) split(tb testing.TB, files [][]byte, each func([]byte)) {
	var r bytes.Reader
	for _, f := range files {
		r.Reset(f)
		s.splitter.Reset(&r)
		for n := 0; n < len(f); {
			c, err := s.splitter.Next()
			if err != nil {
				tb.Fatal(err)
			}
			n += len(c)
			if each != nil {
				each(c)
			}
		}
	}
}

func (s *stages) name() {
	for _, g := range s.segments {
		for j, c := range g.chunks {
			g.names[j] = s.keys.BlobID(crypto.BlobData, c)
		}
	}
}

func (s *stages) compress() {
	for i := range s.segments {
		g := &s.segments[i]
		g.coded, g.codec = s.coder.Encode(g.buf, g.raw)
	}
}

// seal uses the same ordinals in each round: what it seals is never stored.
func (s *stages) seal() {
	for i := range s.segments {
		g := &s.segments[i]
		g.sealed = s.object.Seal(g.sealed[:0], crypto.NonceSegment, uint64(i), nil, g.coded)
	}
}

// verify opens and decodes what was sealed, and names every blob in it again.
func (s *stages) verify(tb testing.TB) {
	for i, g := range s.segments {
		opened, err := s.object.Open(s.opened[:0], crypto.NonceSegment, uint64(i), nil, g.sealed)
		if err != nil {
			tb.Fatal(err)
		}
		plain, err := s.coder.Decode(s.decoded, g.codec, opened, len(g.raw))
		if err != nil {
			tb.Fatal(err)
		}
		for j, c := range g.chunks {
			if s.keys.BlobID(crypto.BlobData, plain[:len(c)]) != g.names[j] {
				tb.Fatalf("blob %d of segment %d has another name", j, i)
			}
			plain = plain[len(c):]
		}
		if len(plain) > 0 {
			tb.Fatalf("segment %d: %d bytes too many", i, len(plain))
		}
	}
}
