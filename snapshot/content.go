package snapshot

import (
	"context"
	"fmt"
	"iter"

	"vault/internal/wire"
)

// Extent is an item and where in the file it begins.
type Extent struct {
	Item
	Offset uint64
}

// Items yields the items of a file's content, in order, and at the end checks
// that they add up to size. It ends after the first error. Content that stands
// in the node (Inline) has no items; its length is checked all the same.
func Items(ctx context.Context, src Source, c Content, size uint64) iter.Seq2[Item, error] {
	return func(yield func(Item, error) bool) {
		for x, err := range Range(ctx, src, c, size, 0, size) {
			if !yield(x.Item, err) {
				return
			}
		}
	}
}

// Range yields the items that hold the n bytes from off, or those of them that
// exist: the first and the last may reach beyond. Of a long list it reads only
// the pages that it needs, so only a range that ends with the file checks the
// file's size. It ends after the first error. Inline content has no items.
func Range(ctx context.Context, src Source, c Content, size, off, n uint64) iter.Seq2[Extent, error] {
	return func(yield func(Extent, error) bool) {
		it := itemReader{size: size, items: c.Items}
		err := it.open(ctx, src, c, off)
		end := off + min(n, size-min(off, size)) // cannot overflow
		for err == nil {
			var x Extent
			var more bool
			if x, more, err = it.next(off); err != nil || !more || x.Offset >= end {
				break
			}
			if !yield(x, nil) {
				return
			}
			if x.Offset+x.Length >= end && end < size {
				return
			}
		}
		if err != nil {
			yield(Extent{}, fmt.Errorf("read content: %w", err))
		}
	}
}

// itemReader reads the items of one content.
type itemReader struct {
	pages  *pageStack // nil for items that stand in the node
	items  []Item
	size   uint64
	run    itemRun
	inline bool
}

func (it *itemReader) open(ctx context.Context, src Source, c Content, off uint64) error {
	switch {
	case len(c.Inline) > 0:
		it.inline = true
		if uint64(len(c.Inline)) != it.size {
			return fmt.Errorf("%w: %d bytes in place of a file of %d", wire.ErrMalformed, len(c.Inline), it.size)
		}
	case it.size > MaxFileSize:
		return fmt.Errorf("%w: file of %d bytes", wire.ErrMalformed, it.size)
	case !c.List.IsZero():
		it.pages = &pageStack{ctx: ctx, src: src, leaves: ContentLeaf, skip: off}
		return it.pages.start(c.List, it.size)
	}
	return nil
}

// next returns the next item that does not end before or at off; false at the
// end of the content.
func (it *itemReader) next(off uint64) (Extent, bool, error) {
	for !it.inline {
		item, more, err := it.item(off)
		if err != nil {
			return Extent{}, false, err
		}
		if !more {
			break
		}
		if it.run.size > off {
			return Extent{Item: item, Offset: it.run.size - item.Length}, true, nil
		}
	}
	return Extent{}, false, nil
}

// item reads one item and adds it to the run.
func (it *itemReader) item(off uint64) (item Item, more bool, err error) {
	if it.pages == nil {
		if len(it.items) == 0 {
			if it.run.size != it.size {
				err = fmt.Errorf("%w: items of %d bytes in a file of %d", wire.ErrMalformed, it.run.size, it.size)
			}
			return Item{}, false, err
		}
		item, it.items = it.items[0], it.items[1:]
		if err := it.run.add(item); err != nil {
			return Item{}, false, fmt.Errorf("%w: %w", wire.ErrMalformed, err)
		}
		return item, true, nil
	}
	before := it.pages.skip
	f, err := it.pages.leaf()
	if f == nil || err != nil {
		return Item{}, false, err
	}
	if passed := before - it.pages.skip; passed > 0 {
		it.run = itemRun{size: it.run.size + passed}
	}
	item = readItem(&f.r)
	f.next++
	if err := it.run.add(item); err != nil {
		f.r.Fail("%v", err)
	}
	it.pages.took(f, item.Length)
	if err := it.pages.failed(f); err != nil {
		return Item{}, false, err
	}
	it.pages.skip -= min(it.pages.skip, item.Length)
	return item, true, nil
}
