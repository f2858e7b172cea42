package snapshot

import (
	"context"
	"fmt"
	"slices"

	"vault/crypto"
	"vault/internal/wire"
)

// DirWriter stores a directory as pages. Its memory is one page a level,
// however many entries there are, and none is allocated for an entry. It is for
// one goroutine; after Finish, Reset or an error it is ready for the next
// directory.
type DirWriter struct {
	pages pager
	last  []byte // name of the last entry
	count uint64
}

// NewDirWriter returns a writer for one directory after another. Thresholds
// that do not Validate are a bug of the caller: it panics.
func NewDirWriter(sink Sink, hash Hasher, th Thresholds) *DirWriter {
	return &DirWriter{pages: newPager(sink, hash, th, DirLeaf)}
}

// Add appends an entry, whose name must be greater (as bytes) than that of the
// entry before. It does not retain n. A refused entry - a name that may not be,
// a node that cannot be encoded - leaves the directory as it was; after an
// error of the sink only Reset helps.
func (w *DirWriter) Add(ctx context.Context, n *Node) error {
	if err := CheckName(n.Name); err != nil {
		return badNode("%v", err)
	}
	if w.count > 0 && string(w.last) >= n.Name {
		return badNode("entry %q is not after %q", n.Name, w.last)
	}
	l := w.pages.leaf()
	b, err := AppendBody(wire.AppendString(l.buf, n.Name), n)
	if err != nil {
		return fmt.Errorf("entry %q: %w", n.Name, err)
	}
	l.buf = b
	if err := w.pages.added(ctx, 0); err != nil {
		return fmt.Errorf("entry %q: %w", n.Name, err)
	}
	w.last = append(w.last[:0], n.Name...)
	w.count++
	return nil
}

// Count returns the number of entries added since the last Finish or Reset.
func (w *DirWriter) Count() uint64 { return w.count }

// Finish stores what is left and returns the directory's top page, for
// Node.Tree.
func (w *DirWriter) Finish(ctx context.Context) (crypto.ID, error) {
	id, err := w.pages.finish(ctx)
	w.Reset()
	if err != nil {
		return crypto.ID{}, fmt.Errorf("finish directory: %w", err)
	}
	return id, nil
}

// Reset forgets the entries since the last Finish.
func (w *DirWriter) Reset() {
	w.pages.reset()
	w.last, w.count = w.last[:0], 0
}

// ContentWriter gathers the items of a file. Few become Content.Items, many are
// stored as pages with the memory of one page a level. It is for one goroutine;
// after Finish or Reset it is ready for the next file.
type ContentWriter struct {
	pages pager
	items []Item // all items, while they are few enough
	spill bool   // they were not: they went into pages
	open  Item   // a zero or hole item that the next one may extend; length 0 if none
	size  uint64
}

// NewContentWriter returns a writer for one file after another. Thresholds that
// do not Validate are a bug of the caller: it panics.
func NewContentWriter(sink Sink, th Thresholds) *ContentWriter {
	return &ContentWriter{pages: newPager(sink, nil, th, ContentLeaf)}
}

// Add appends an item. Zero items that follow one another become one, and so do
// holes. An error of the sink leaves only Reset.
func (w *ContentWriter) Add(ctx context.Context, it Item) error {
	run := itemRun{size: w.size}
	if err := run.add(it); err != nil {
		return fmt.Errorf("add item: %w", err)
	}
	w.size = run.size
	if it.Kind == ItemData {
		if err := w.close(ctx); err != nil {
			return err
		}
		return w.add(ctx, it)
	}
	if w.open.Length > 0 && w.open.Kind == it.Kind {
		w.open.Length += it.Length
		return nil
	}
	if err := w.close(ctx); err != nil {
		return err
	}
	w.open = Item{Kind: it.Kind, Length: it.Length}
	return nil
}

// close adds the open zero or hole item.
func (w *ContentWriter) close(ctx context.Context) error {
	if w.open.Length == 0 {
		return nil
	}
	it := w.open
	w.open = Item{}
	return w.add(ctx, it)
}

// add takes an item that no other will be merged with.
func (w *ContentWriter) add(ctx context.Context, it Item) error {
	if !w.spill && len(w.items) < w.pages.th.InlineItems {
		w.items = append(w.items, it)
		return nil
	}
	if !w.spill {
		w.spill = true
		for _, it := range w.items {
			if err := w.page(ctx, it); err != nil {
				return err
			}
		}
	}
	return w.page(ctx, it)
}

func (w *ContentWriter) page(ctx context.Context, it Item) error {
	l := w.pages.leaf()
	l.buf = appendItem(l.buf, it)
	return w.pages.added(ctx, 0)
}

// Size returns the bytes of the items added since the last Finish or Reset.
func (w *ContentWriter) Size() uint64 { return w.size }

// Finish stores what is left and returns the content, which the caller owns. A
// file without items has the empty Content. The size is that of Size before.
func (w *ContentWriter) Finish(ctx context.Context) (Content, error) {
	defer w.Reset()
	if err := w.close(ctx); err != nil {
		return Content{}, fmt.Errorf("finish content: %w", err)
	}
	if !w.spill {
		if len(w.items) == 0 {
			return Content{}, nil
		}
		return Content{Items: slices.Clone(w.items)}, nil
	}
	id, err := w.pages.finish(ctx)
	if err != nil {
		return Content{}, fmt.Errorf("finish content: %w", err)
	}
	return Content{List: id}, nil
}

// Reset forgets the items since the last Finish.
func (w *ContentWriter) Reset() {
	w.pages.reset()
	w.items, w.spill, w.open, w.size = w.items[:0], false, Item{}, 0
}
