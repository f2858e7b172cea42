package snapshot

import (
	"bytes"
	"context"
	"fmt"

	"vault/crypto"
	"vault/internal/wire"
)

// pageStack walks down and along the pages of one list and checks what pages
// claim about one another. The level falls with every page descended into, so
// there are at most MaxLevels open pages and no cycles, whatever the pages say.
type pageStack struct {
	ctx    context.Context
	src    Source
	leaves PageKind
	frames []pageFrame // [:open] are the pages from the top to the current one; the others keep their buffers
	open   int
	prev   []byte // the greatest name so far; directories only

	// Pages wholly before the sought place are passed over unread.
	skip   uint64 // contents: bytes still to pass over
	skipTo string // directories: pages whose last name is less
}

// pageFrame is an open page and how far it has been read.
type pageFrame struct {
	id   crypto.ID
	buf  []byte // nil while suspended
	r    wire.Reader
	base int // offset in the page at which r began
	head pageHead
	next int    // entries read
	sum  uint64 // entries or bytes below the entries read
	want uint64 // what sum must come to; unbounded for the top page of a directory
	last []byte // the name the page must end with; none for the top page
}

const unbounded = 1<<64 - 1

// start begins at a top page, under which there are want entries or bytes.
func (s *pageStack) start(top crypto.ID, want uint64) error {
	s.open = 0
	if err := s.push(pageRef{id: top, below: want}); err != nil {
		return err
	}
	f := s.top()
	if f.head.kind.leaf() != s.leaves {
		return fmt.Errorf("page %v: %w: %v page where a %v page must be", f.id, wire.ErrMalformed, f.head.kind, s.leaves)
	}
	if f.head.level > 0 && f.head.count < 2 {
		return fmt.Errorf("page %v: %w: top page with one page below", f.id, wire.ErrMalformed)
	}
	return nil
}

func (s *pageStack) top() *pageFrame { return &s.frames[s.open-1] }

// push opens the page that ref names, as a child of the current one if any.
func (s *pageStack) push(ref pageRef) error {
	if len(s.frames) == s.open {
		s.frames = append(s.frames, pageFrame{})
	}
	f := &s.frames[s.open]
	*f = pageFrame{id: ref.id, buf: f.buf, want: ref.below, last: append(f.last[:0], ref.last...)}
	if err := s.fetch(f); err != nil {
		return err
	}
	f.r = *wire.NewReader(f.buf)
	f.head = readHead(&f.r)
	if s.open > 0 && f.r.Err() == nil {
		parent := s.top().head
		switch {
		case f.head.level != parent.level-1 || f.head.kind != s.leaves.at(f.head.level):
			f.r.Fail("%v page on level %d, its parent is on level %d", f.head.kind, f.head.level, parent.level)
		case f.head.kind == DirLeaf && uint64(f.head.count) != f.want:
			f.r.Fail("%d entries, the parent says %d", f.head.count, f.want)
		}
	}
	s.open++
	return s.failed(f)
}

// fetch reads the page of f into its buffer.
func (s *pageStack) fetch(f *pageFrame) error {
	b, err := s.src.Get(s.ctx, crypto.BlobTree, f.id, f.buf[:0])
	if err == nil && len(b) > MaxBlob {
		err = fmt.Errorf("%w: page of %d bytes, limit %d", wire.ErrMalformed, len(b), MaxBlob)
	}
	if err != nil {
		return fmt.Errorf("get page %v: %w", f.id, err)
	}
	f.buf = b
	return nil
}

// failed returns the error of reading f, if there is one.
func (s *pageStack) failed(f *pageFrame) error {
	if err := f.r.Err(); err != nil {
		return fmt.Errorf("page %v: %w", f.id, err)
	}
	return nil
}

// leaf returns the leaf with the next entry to read, or nil at the list's end.
// The caller reads one entry and calls took.
func (s *pageStack) leaf() (*pageFrame, error) {
	for s.open > 0 {
		f := s.top()
		if err := s.resume(f); err != nil {
			return nil, err
		}
		if f.next == f.head.count {
			if err := s.pop(f); err != nil {
				return nil, err
			}
			continue
		}
		if f.head.level == 0 {
			return f, nil
		}
		ref := readRef(&f.r, s.leaves)
		f.next++
		if s.leaves == DirLeaf {
			s.inOrder(f, ref.last)
		}
		s.took(f, ref.below)
		if err := s.failed(f); err != nil {
			return nil, err
		}
		if s.passes(ref) {
			continue
		}
		if err := s.push(ref); err != nil {
			return nil, err
		}
	}
	return nil, nil
}

// passes reports whether everything below ref lies before the sought place.
func (s *pageStack) passes(ref pageRef) bool {
	if s.leaves == DirLeaf {
		if string(ref.last) >= s.skipTo {
			return false
		}
		s.prev = append(s.prev[:0], ref.last...)
		return true
	}
	if ref.below > s.skip {
		return false
	}
	s.skip -= ref.below
	return true
}

// inOrder fails f unless name is greater than all names so far.
func (s *pageStack) inOrder(f *pageFrame, name []byte) {
	if f.r.Err() == nil && bytes.Compare(s.prev, name) >= 0 {
		f.r.Fail("entry %q is not after %q", name, s.prev)
	}
}

// took accounts for n entries or bytes of f.
func (s *pageStack) took(f *pageFrame, n uint64) {
	if n > f.want-f.sum || n > MaxFileSize-f.sum {
		f.r.Fail("entries hold more than the %d that the parent says", f.want)
		return
	}
	f.sum += n
}

// pop closes a page that has been read to its end.
func (s *pageStack) pop(f *pageFrame) error {
	switch {
	case f.r.Done() != nil:
	case f.want != unbounded && f.sum != f.want:
		f.r.Fail("entries hold %d, the parent says %d", f.sum, f.want)
	case len(f.last) > 0 && !bytes.Equal(f.last, s.prev):
		f.r.Fail("last entry is %q, the parent says %q", s.prev, f.last)
	}
	if err := s.failed(f); err != nil {
		return err
	}
	s.open--
	return nil
}

// suspend gives up the buffers; resume fetches them again when they are needed.
func (s *pageStack) suspend() {
	for i := range s.frames {
		f := &s.frames[i]
		if i < s.open && f.buf != nil {
			f.base += f.r.Offset()
		}
		f.buf, f.r = nil, wire.Reader{}
	}
}

func (s *pageStack) resume(f *pageFrame) error {
	if f.buf != nil {
		return nil
	}
	if err := s.fetch(f); err != nil {
		return err
	}
	if len(f.buf) < f.base {
		return fmt.Errorf("page %v: %w: shorter than before", f.id, wire.ErrMalformed)
	}
	f.r = *wire.NewReader(f.buf[f.base:])
	return nil
}

// held returns the bytes of all buffers.
func (s *pageStack) held() int {
	n := 0
	for i := range s.frames {
		n += cap(s.frames[i].buf)
	}
	return n
}
