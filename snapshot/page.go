package snapshot

import (
	"encoding/binary"
	"errors"
	"fmt"
	"iter"

	"vault/crypto"
	"vault/internal/wire"
)

// A page is one tree blob; part of the format:
//
//	| version u8 1 | kind u8 | level u8 | count uv | entry | entry | ...
//
//	kind 1, level 0    name | body
//	kind 2, level 1..  last name | page [32] | entries below uv
//	kind 3, level 0    item
//	kind 4, level 1..  page [32] | bytes below uv
const (
	pageVersion  = 1
	pageHeadSize = 3

	minDirEntry     = 2 + minBody
	idSize          = len(crypto.ID{})
	minDirInner     = 2 + idSize + 1
	minContentInner = idSize + 1
)

// PageKind says what a page holds. The numbers are part of the format.
type PageKind uint8

const (
	DirLeaf      PageKind = 1
	DirInner     PageKind = 2
	ContentLeaf  PageKind = 3
	ContentInner PageKind = 4
)

// Inner reports whether the entries of such a page are pages.
func (k PageKind) Inner() bool { return k == DirInner || k == ContentInner }

// leaf returns the kind of the leaves under such a page.
func (k PageKind) leaf() PageKind {
	if k.Inner() {
		return k - 1
	}
	return k
}

// at returns the kind of the pages on a level, for leaves of kind k.
func (k PageKind) at(level uint8) PageKind {
	if level > 0 {
		return k + 1
	}
	return k
}

// String returns the kind's name in words.
func (k PageKind) String() string {
	switch k {
	case DirLeaf:
		return "directory leaf"
	case DirInner:
		return "directory inner"
	case ContentLeaf:
		return "content leaf"
	case ContentInner:
		return "content inner"
	}
	return fmt.Sprintf("page kind %d", uint8(k))
}

// pageHead is what stands before a page's entries.
type pageHead struct {
	kind  PageKind
	level uint8
	count int
}

// readHead reads a page's head. The count is one that the page has room for.
func readHead(r *wire.Reader) pageHead {
	if v := r.U8(); r.Err() == nil && v != pageVersion {
		r.Fail("page version %d, known is %d", v, pageVersion)
	}
	h := pageHead{kind: PageKind(r.U8()), level: r.U8()}
	switch {
	case r.Err() != nil:
		return h
	case h.kind < DirLeaf || h.kind > ContentInner:
		r.Fail("unknown %v", h.kind)
	case h.level >= MaxLevels || h.kind.Inner() != (h.level > 0):
		r.Fail("%v page on level %d", h.kind, h.level)
	}
	min := [...]int{DirLeaf: minDirEntry, DirInner: minDirInner, ContentLeaf: minItem, ContentInner: minContentInner}
	if r.Err() == nil {
		h.count = r.Count(MaxEntries, min[h.kind])
	}
	if r.Err() == nil && h.count == 0 && h.kind != DirLeaf {
		r.Fail("%v page without entries", h.kind)
	}
	return h
}

// pageRef is an entry of an inner page.
type pageRef struct {
	last  []byte // greatest name below; directories only; aliases the page
	id    crypto.ID
	below uint64 // entries or bytes below, at least 1
}

func appendRef(b []byte, leaf PageKind, ref pageRef) []byte {
	if leaf == DirLeaf {
		b = wire.AppendBytes(b, ref.last)
	}
	b = append(b, ref.id[:]...)
	return wire.AppendUvarint(b, ref.below)
}

func readRef(r *wire.Reader, leaf PageKind) (ref pageRef) {
	if leaf == DirLeaf {
		ref.last = readName(r)
	}
	r.Copy(ref.id[:])
	ref.below = atLeast(r, 1, MaxFileSize)
	return ref
}

// readName reads the name of an entry and checks it. It aliases the page.
func readName(r *wire.Reader) []byte {
	b := r.Bytes(MaxName)
	if r.Err() == nil {
		if err := CheckName(stringOf(b)); err != nil {
			r.Fail("%v", err)
		}
	}
	return b
}

// readEntry reads an entry of a directory leaf into n, which aliases the page.
func readEntry(r *wire.Reader, n *Node) {
	n.Name = stringOf(readName(r))
	decodeBody(r, n)
}

// Ref is a blob that a page or a node names.
type Ref struct {
	Kind   crypto.BlobKind
	ID     crypto.ID
	Length uint64   // of a data blob, at least 1; 0 for pages
	Page   PageKind // the leaf kind of the list, for pages: DirLeaf or ContentLeaf
	Level  int      // of the page: its level if the parent tells, else -1 (a top page)
}

// Refs decodes one page strictly and yields every blob that it names, in order:
// pages below it, the top pages of directories and contents, data blobs and
// attribute values. It ends after the first error. Together with RefsOf it
// enumerates everything a backup needs, one page at a time, so that a caller
// may remember the pages it has seen and visit each once.
//
// What holds between pages - order, counts, last names - is checked by the
// readers of lists, not here.
func Refs(page []byte) iter.Seq2[Ref, error] {
	return func(yield func(Ref, error) bool) {
		if err := visitRefs(page, func(ref Ref) bool { return yield(ref, nil) }); err != nil && err != errStop {
			yield(Ref{}, fmt.Errorf("decode page: %w", err))
		}
	}
}

// RefsOf yields the blobs that a node itself names.
func RefsOf(n *Node) iter.Seq[Ref] {
	return func(yield func(Ref) bool) { nodeRefs(n, yield) }
}

var errStop = errors.New("stopped by the caller")

func visitRefs(page []byte, yield func(Ref) bool) error {
	r := wire.NewReader(page)
	h := readHead(r)
	var (
		n    Node
		run  itemRun
		sum  uint64
		prev string
	)
	for i := 0; i < h.count && r.Err() == nil; i++ {
		more := true
		switch h.kind {
		case DirLeaf:
			readEntry(r, &n)
			checkOrder(r, i, prev, n.Name)
			prev = n.Name
			more = r.Err() != nil || nodeRefs(&n, yield)
		case ContentLeaf:
			it := readItem(r)
			if err := run.add(it); err != nil {
				r.Fail("%v", err)
			}
			if r.Err() == nil && it.Kind == ItemData {
				more = yield(Ref{Kind: crypto.BlobData, ID: it.ID, Length: it.Length})
			}
		default:
			ref := readRef(r, h.kind.leaf())
			if h.kind == DirInner {
				checkOrder(r, i, prev, stringOf(ref.last))
				prev = stringOf(ref.last)
			}
			if ref.below > MaxFileSize-sum {
				r.Fail("more below than the largest list has")
			}
			sum += ref.below
			more = r.Err() != nil || yield(Ref{Kind: crypto.BlobTree, ID: ref.id, Page: h.kind.leaf(), Level: int(h.level) - 1})
		}
		if !more {
			return errStop
		}
	}
	return r.Done()
}

// checkOrder fails r unless name may follow prev as entry i of a list.
func checkOrder(r *wire.Reader, i int, prev, name string) {
	if i > 0 && r.Err() == nil && prev >= name {
		r.Fail("entry %q is not after %q", name, prev)
	}
}

func nodeRefs(n *Node, yield func(Ref) bool) bool {
	for i := range n.Xattrs {
		if x := &n.Xattrs[i]; x.Length > 0 && !yield(Ref{Kind: crypto.BlobData, ID: x.Blob, Length: x.Length}) {
			return false
		}
	}
	switch {
	case n.Type == Directory:
		return yield(Ref{Kind: crypto.BlobTree, ID: n.Tree, Page: DirLeaf, Level: -1})
	case n.Type != File:
		return true
	case !n.Content.List.IsZero():
		return yield(Ref{Kind: crypto.BlobTree, ID: n.Content.List, Page: ContentLeaf, Level: -1})
	}
	for _, it := range n.Content.Items {
		if it.Kind == ItemData && !yield(Ref{Kind: crypto.BlobData, ID: it.ID, Length: it.Length}) {
			return false
		}
	}
	return true
}

// nameOf returns the name at the start of an entry that this package encoded.
func nameOf(entry []byte) []byte {
	n, w := binary.Uvarint(entry)
	return entry[w : w+int(n)]
}
