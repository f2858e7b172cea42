package snapshot

import (
	"context"
	"encoding/binary"
	"fmt"

	"vault/crypto"
	"vault/internal/wire"
)

// reserve is the room before a page's first entry: head and longest count.
const reserve = pageHeadSize + 3

// pager cuts one list into pages (docs/format.md, section 9). Entries arrive
// encoded, in order; each level holds one open page, which before the first cut
// may still turn out to be the only one.
//
// The caller appends an entry to leaf().buf and calls added.
type pager struct {
	sink   Sink
	hash   Hasher // nil for contents
	th     Thresholds
	mask   uint64
	leaves PageKind // DirLeaf or ContentLeaf
	levels [MaxLevels]pagerLevel
}

// pagerLevel is the open page of one level.
type pagerLevel struct {
	buf   []byte // reserve, then the encoded entries of the open page
	end   int    // where the last accepted entry ends
	last  int    // where it begins
	count int    // entries in buf

	// Until the list is known to need several pages, bounds has the end of each
	// entry, for cutting in hindsight.
	cutting bool
	bounds  []int

	// The first page's entry for the parent is held back until there is a
	// second, because a level of one page has no parent.
	pages   int
	first   []byte
	firstID crypto.ID
}

func newPager(sink Sink, hash Hasher, th Thresholds, leaves PageKind) pager {
	if err := th.Validate(); err != nil {
		panic("snapshot: internal error: " + err.Error())
	}
	p := pager{sink: sink, hash: hash, th: th, mask: 1<<th.CutBits - 1, leaves: leaves}
	p.reset()
	return p
}

func (p *pager) leaf() *pagerLevel { return &p.levels[0] }

// reset forgets everything but the buffers.
func (p *pager) reset() {
	for i := range p.levels {
		if i == 0 || p.levels[i].buf != nil {
			p.levels[i].reset()
		}
	}
}

func (l *pagerLevel) reset() {
	if l.buf == nil {
		l.buf = make([]byte, reserve, 4096)
	}
	l.empty()
	l.bounds = l.bounds[:0]
	l.first = l.first[:0]
	l.cutting, l.pages = false, 0
}

// empty begins a new page.
func (l *pagerLevel) empty() {
	l.buf = l.buf[:reserve]
	l.end, l.last, l.count = reserve, reserve, 0
}

// pageLen returns the length of a page of count entries that take n bytes.
func pageLen(count, n int) int { return pageHeadSize + uvarintLen(count) + n }

func uvarintLen(n int) int {
	w := 1
	for n >>= 7; n > 0; n >>= 7 {
		w++
	}
	return w
}

// added accepts the entry that the caller appended to the buffer of a level,
// and stores the pages that it completes.
func (p *pager) added(ctx context.Context, level int) error {
	l := &p.levels[level]
	if pageLen(1, len(l.buf)-l.end) > MaxBlob {
		n := len(l.buf) - l.end
		l.buf = l.buf[:l.end]
		return fmt.Errorf("entry of %d bytes does not fit into a page of %d", n, MaxBlob)
	}
	if !l.cutting {
		l.last, l.end = l.end, len(l.buf)
		l.count++
		l.bounds = append(l.bounds, l.end)
		if l.count <= p.th.SinglePage && pageLen(l.count, l.end-reserve) <= p.th.PageBytes {
			return nil
		}
		return p.recut(ctx, level)
	}
	if l.count > 0 && pageLen(l.count+1, len(l.buf)-reserve) > p.th.PageBytes {
		next := len(l.buf) - l.end
		if err := p.put(ctx, level, reserve, l.end, l.last, l.count); err != nil {
			return err
		}
		copy(l.buf[reserve:], l.buf[l.end:])
		l.empty()
		l.buf = l.buf[:reserve+next]
	}
	l.last, l.end = l.end, len(l.buf)
	l.count++
	if !p.ends(level, l.count, l.buf[l.last:l.end]) {
		return nil
	}
	if err := p.put(ctx, level, reserve, l.end, l.last, l.count); err != nil {
		return err
	}
	l.empty()
	return nil
}

// recut cuts the entries gathered so far, now that they are more than one page
// may hold, and leaves the open page at the start of the buffer.
func (p *pager) recut(ctx context.Context, level int) error {
	l := &p.levels[level]
	l.cutting = true
	start, last, end, count := reserve, reserve, reserve, 0
	for _, e := range l.bounds {
		if count > 0 && pageLen(count+1, e-start) > p.th.PageBytes {
			if err := p.put(ctx, level, start, end, last, count); err != nil {
				return err
			}
			start, count = end, 0
		}
		last, end = end, e
		count++
		if p.ends(level, count, l.buf[last:end]) {
			if err := p.put(ctx, level, start, end, last, count); err != nil {
				return err
			}
			start, count = end, 0
		}
	}
	n := copy(l.buf[reserve:], l.buf[start:end])
	l.empty()
	l.buf = l.buf[:reserve+n]
	l.end, l.count = len(l.buf), count
	if count > 0 {
		l.last = reserve + last - start
	}
	return nil
}

// ends reports whether a page ends after an entry, the count-th in it.
func (p *pager) ends(level, count int, entry []byte) bool {
	if count == p.th.PageEntries {
		return true
	}
	if level > 0 && count == 1 {
		return false
	}
	var h uint64
	switch {
	case p.leaves == DirLeaf:
		h = p.hash.PageHash(uint8(level), stringOf(nameOf(entry)))
	case level > 0:
		h = binary.LittleEndian.Uint64(entry)
	case ItemKind(entry[0]) != ItemData:
		return false
	default:
		h = binary.LittleEndian.Uint64(entry[len(entry)-idSize:])
	}
	return h&p.mask == 0
}

// put stores buf[start:end] as a page of count entries, the last of which
// begins at last, and hands the page to the level above. It overwrites bytes
// before start, which belong to pages already stored.
func (p *pager) put(ctx context.Context, level, start, end, last, count int) error {
	l := &p.levels[level]
	id, err := p.putPage(ctx, level, start, end, count)
	if err != nil {
		return err
	}
	if level+1 == MaxLevels {
		return fmt.Errorf("list needs more than %d levels of pages", MaxLevels)
	}
	ref := pageRef{id: id, below: p.below(level, l.buf[start:end], count)}
	if p.leaves == DirLeaf {
		ref.last = nameOf(l.buf[last:end])
	}
	l.pages++
	if l.pages == 1 {
		l.first, l.firstID = appendRef(l.first[:0], p.leaves, ref), id
		return nil
	}
	up := &p.levels[level+1]
	if l.pages == 2 {
		if up.buf == nil {
			up.reset()
		}
		up.buf = append(up.buf, l.first...)
		if err := p.added(ctx, level+1); err != nil {
			return err
		}
	}
	up.buf = appendRef(up.buf, p.leaves, ref)
	return p.added(ctx, level+1)
}

func (p *pager) putPage(ctx context.Context, level, start, end, count int) (crypto.ID, error) {
	b := p.levels[level].buf
	start -= pageHeadSize + uvarintLen(count)
	head := append(b[start:start], pageVersion, byte(p.leaves.at(uint8(level))), byte(level))
	wire.AppendUvarint(head, uint64(count))
	id, err := p.sink.Put(ctx, crypto.BlobTree, b[start:end])
	if err != nil {
		return id, fmt.Errorf("put page: %w", err)
	}
	return id, nil
}

// below returns how many entries or bytes lie below a page.
func (p *pager) below(level int, entries []byte, count int) uint64 {
	if p.leaves == DirLeaf && level == 0 {
		return uint64(count)
	}
	var sum uint64
	r := wire.NewReader(entries)
	for range count {
		if level == 0 {
			sum += readItem(r).Length
		} else {
			sum += readRef(r, p.leaves).below
		}
	}
	if err := r.Done(); err != nil {
		panic("snapshot: internal error: page does not parse: " + err.Error())
	}
	return sum
}

// finish stores the open pages of all levels and returns the top page.
func (p *pager) finish(ctx context.Context) (crypto.ID, error) {
	for level := range p.levels {
		l := &p.levels[level]
		if !l.cutting {
			return p.putPage(ctx, level, reserve, l.end, l.count)
		}
		if l.count > 0 {
			if err := p.put(ctx, level, reserve, l.end, l.last, l.count); err != nil {
				return crypto.ID{}, err
			}
		}
		if l.pages == 1 {
			return l.firstID, nil
		}
	}
	panic("snapshot: internal error: no top page")
}
