package source

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"

	"vault/snapshot"
)

// Opener is an archive.Opener: a source of one stream of bytes.
type Opener interface {
	Describe() (kind snapshot.VolumeKind, source string)
	Open(ctx context.Context) (io.ReadCloser, error)
}

// The default markers of the programs' ends.
const (
	TailPostgres        = "-- PostgreSQL database dump complete"
	TailPostgresGlobals = "-- PostgreSQL database cluster dump complete"
	TailMySQL           = "-- Dump completed"

	// TailBytes is how much of the end of a stream is searched for a marker: it need
	// not be the last line.
	TailBytes = 4096
)

// Reasons why a stream is not what it should be.
var (
	ErrTooSmall = errors.New("smaller than it must be")
	ErrNoTail   = errors.New("it does not end as it must: it stopped early")
	ErrNoHead   = errors.New("it does not begin as it must")
)

// Expect says how a stream must look to be good. Zero fields expect nothing.
type Expect struct {
	MinSize uint64 // bytes
	Head    string // what it begins with
	Tail    string // what stands somewhere in its last TailBytes bytes; at most as long
}

// Checked returns a source that fails, when it is closed at the end of its stream, if
// the stream was not as expected. So the volume fails before anything is committed.
// A failure of the source itself takes precedence.
func Checked(o Opener, e Expect) Opener {
	if e == (Expect{}) {
		return o
	}
	return checked{o, e}
}

type checked struct {
	Opener
	expect Expect
}

// Open implements Opener.
func (c checked) Open(ctx context.Context) (io.ReadCloser, error) {
	if len(c.expect.Tail) > TailBytes {
		return nil, fmt.Errorf("the text expected at the end has %d bytes, limit %d", len(c.expect.Tail), TailBytes)
	}
	in, err := c.Opener.Open(ctx)
	if err != nil {
		return nil, err
	}
	return &checkedStream{in: in, Check: Check{expect: c.expect}}, nil
}

type checkedStream struct {
	Check
	in   io.ReadCloser
	over bool
}

func (s *checkedStream) Read(b []byte) (int, error) {
	n, err := s.in.Read(b)
	s.Write(b[:n])
	s.over = s.over || err == io.EOF
	return n, err
}

func (s *checkedStream) Close() error {
	if err := s.in.Close(); err != nil || !s.over {
		return err
	}
	return s.Verdict()
}

// Check looks at a stream that is written to it, and then tells whether it was as
// expected.
type Check struct {
	expect Expect
	size   uint64
	head   []byte
	last   []byte
}

// NewCheck returns a Check.
func NewCheck(e Expect) *Check { return &Check{expect: e} }

// Write takes the next bytes of the stream. It never fails.
func (c *Check) Write(b []byte) (int, error) {
	c.size += uint64(len(b))
	if room := len(c.expect.Head) - len(c.head); room > 0 {
		c.head = append(c.head, b[:min(room, len(b))]...)
	}
	if c.expect.Tail != "" {
		c.last = append(c.last, b[max(0, len(b)-TailBytes):]...)
		if over := len(c.last) - TailBytes; over > 0 {
			c.last = c.last[:copy(c.last, c.last[over:])]
		}
	}
	return len(b), nil
}

// Verdict returns nil if what was written was as expected.
func (c *Check) Verdict() error {
	e := c.expect
	switch {
	case string(c.head) != e.Head:
		return fmt.Errorf("%w: %q was expected, %q found", ErrNoHead, e.Head, c.head)
	case e.Tail != "" && !bytes.Contains(c.last, []byte(e.Tail)):
		return fmt.Errorf("%w: %q is missing in the last %d of its %d bytes", ErrNoTail, e.Tail, TailBytes, c.size)
	case c.size < e.MinSize:
		return fmt.Errorf("%w: %d bytes, at least %d are expected", ErrTooSmall, c.size, e.MinSize)
	}
	return nil
}
