package chunk

import (
	"fmt"
	"io"
)

const (
	// readSize is the most that is asked of the reader at once: large enough
	// that calls do not count, small enough that what was read is still in the
	// second-level cache when it is examined.
	readSize = 512 << 10

	// minFill is what is gathered before boundaries are looked for again:
	// examining a piece costs 48 positions of warming up.
	minFill = 64 << 10

	// bufferSlack is how far the buffer exceeds the greatest chunk; the tail is
	// moved to the front about once in so many bytes or less often.
	bufferSlack = 1 << 20

	maxEmptyReads = 100
)

// A Splitter cuts one stream after another into chunks. It owns a buffer of
// about Params.Max + 1 MiB, of which it touches only what data has been read
// into. It is not safe for concurrent use.
type Splitter struct {
	c      *Chunker
	window windowScratch
	rabin  rabinState

	r          io.Reader
	err        error  // sticky result of the reader, io.EOF included
	buf        []byte // buf[start:end] is read and not yet returned
	start, end int
}

// NewSplitter returns a Splitter without a stream: its Next returns io.EOF until
// Reset is called.
func (c *Chunker) NewSplitter() *Splitter {
	s := &Splitter{c: c, buf: make([]byte, c.params.Max+bufferSlack)}
	s.Reset(nil)
	return s
}

// Reset starts over with the stream r, which may be nil for an empty one. The
// last chunk returned becomes invalid.
func (s *Splitter) Reset(r io.Reader) {
	s.r, s.err = r, nil
	s.start, s.end = 0, 0
	if r == nil {
		s.err = io.EOF
	}
	if s.c.rabin != nil {
		s.rabin.reset(s.c.rabin)
	}
}

// Next returns the next chunk, and io.EOF after the last one. The slice belongs
// to the Splitter and is valid until the next call to Next or Reset.
//
// Next reads ahead of the chunk it returns. When the reader fails, the chunks that
// are already known to be complete are returned first, then the reader's error as
// it is; data that is not a complete chunk is never returned with or before an
// error. The error stays until Reset.
func (s *Splitter) Next() ([]byte, error) {
	if s.start == s.end {
		s.start, s.end = 0, 0
	}
	tested := 0 // no boundary at this length of the chunk or less
	for {
		data := s.buf[s.start:min(s.end, s.start+s.c.params.Max)]
		if n := s.boundary(data, tested); n > 0 {
			return s.take(n), nil
		}
		tested = len(data)
		if s.err == io.EOF && len(data) > 0 {
			return s.take(len(data)), nil
		}
		if s.err != nil {
			s.start = s.end // an incomplete chunk, of no use any more
			return nil, s.err
		}
		s.fill()
	}
}

// boundary returns the length of the chunk that data starts with, or 0 if data
// must be longer to tell. len(data) is at most Max; lengths up to tested are
// known not to be boundaries.
func (s *Splitter) boundary(data []byte, tested int) int {
	p := &s.c.params
	if len(data) < p.Min || len(data) == tested {
		return 0
	}
	if s.c.rabin != nil {
		if tested < p.Min {
			tested = 0 // it was not shown to the fingerprint yet
		}
		return s.rabin.next(data, tested)
	}
	first := max(p.Min, tested+1)
	if i := s.c.window.find(data[first-windowSize:], &s.window); i >= 0 {
		return first + i
	}
	if len(data) == p.Max {
		return p.Max
	}
	return 0
}

// take removes the next n bytes from the buffer and returns them, capped so that
// appending to them cannot overwrite what follows.
func (s *Splitter) take(n int) []byte {
	b := s.buf[s.start : s.start+n : s.start+n]
	s.start += n
	return b
}

// fill reads until it has minFill more bytes or the reader ends. There is always
// room, since a chunk that reached Max is cut before more is read.
func (s *Splitter) fill() {
	empty := 0
	for got := 0; got < minFill && s.err == nil; {
		if len(s.buf)-s.end < readSize && s.start > 0 {
			s.end = copy(s.buf, s.buf[s.start:s.end])
			s.start = 0
		}
		room := s.buf[s.end:min(len(s.buf), s.end+readSize)]
		n, err := s.r.Read(room)
		if n < 0 || n > len(room) {
			n, err = 0, fmt.Errorf("reader returned %d bytes for a buffer of %d", n, len(room))
		}
		got += n
		s.end += n
		s.err = err
		if n > 0 {
			empty = 0
		} else if empty++; empty >= maxEmptyReads && err == nil {
			s.err = io.ErrNoProgress
		}
	}
}
