package snapshot

import (
	"context"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"strings"

	"vault/crypto"
)

// DirReader reads a directory entry by entry, in the order of names, with the
// memory of one page a level. It allocates nothing for an entry. It is for one
// goroutine.
type DirReader struct {
	pages pageStack
	top   crypto.ID
	node  Node
	began bool
	err   error
}

// NewDirReader returns a reader of the directory whose top page is top
// (Node.Tree). It reads nothing yet.
func NewDirReader(ctx context.Context, src Source, top crypto.ID) *DirReader {
	d := new(DirReader)
	d.reset(ctx, src, top)
	return d
}

// reset makes d read another directory, with the buffers it has.
func (d *DirReader) reset(ctx context.Context, src Source, top crypto.ID) {
	frames, prev := d.pages.frames, d.pages.prev
	*d = DirReader{top: top, node: Node{Xattrs: d.node.Xattrs[:0], Content: Content{Items: d.node.Content.Items[:0]}}}
	d.pages = pageStack{ctx: ctx, src: src, leaves: DirLeaf, frames: frames, prev: prev[:0]}
}

// SeekTo makes the first Next return the first entry whose name is name or
// greater; pages before it are not read. It must come before the first Next.
func (d *DirReader) SeekTo(name string) {
	if d.began {
		panic("snapshot: internal error: SeekTo after Next")
	}
	d.pages.skipTo = name
}

// Suspend gives back the memory of the pages; the next call of Next reads them
// again. The node last returned becomes invalid.
func (d *DirReader) Suspend() { d.pages.suspend() }

// Next returns the next entry, or io.EOF after the last. The node and all that
// it refers to are valid until the next call: Clone keeps it. Any other error
// is final; entries returned before it are right as far as they go.
func (d *DirReader) Next() (*Node, error) {
	if d.err != nil {
		return nil, d.err
	}
	n, err := d.next()
	if err != nil {
		if err != io.EOF {
			err = fmt.Errorf("read directory: %w", err)
		}
		d.err = err
		return nil, err
	}
	return n, nil
}

func (d *DirReader) next() (*Node, error) {
	if !d.began {
		d.began = true
		if err := d.pages.start(d.top, unbounded); err != nil {
			return nil, err
		}
	}
	for {
		f, err := d.pages.leaf()
		if err != nil {
			return nil, err
		}
		if f == nil {
			return nil, io.EOF
		}
		name := readName(&f.r)
		d.node.Name = stringOf(name)
		decodeBody(&f.r, &d.node)
		f.next++
		d.pages.took(f, 1)
		d.pages.inOrder(f, name)
		if err := d.pages.failed(f); err != nil {
			return nil, err
		}
		d.pages.prev = append(d.pages.prev[:0], name...)
		if d.node.Name >= d.pages.skipTo {
			return &d.node, nil
		}
	}
}

// ReadDir yields the entries of the directory whose top page is top, in the
// order of names. The nodes belong to the caller. It ends after the first
// error, before which entries may have been yielded.
func ReadDir(ctx context.Context, src Source, top crypto.ID) iter.Seq2[*Node, error] {
	return func(yield func(*Node, error) bool) {
		d := NewDirReader(ctx, src, top)
		var c cloner
		for {
			n, err := d.Next()
			switch {
			case err == io.EOF:
				return
			case err != nil:
				yield(nil, err)
				return
			case !yield(c.clone(n), nil):
				return
			}
		}
	}
}

// Lookup returns the entry called name of the directory whose top page is top.
// It reads one page a level. A directory without such an entry gives
// fs.ErrNotExist.
func Lookup(ctx context.Context, src Source, top crypto.ID, name string) (*Node, error) {
	d := NewDirReader(ctx, src, top)
	d.SeekTo(name)
	n, err := d.Next()
	if err == io.EOF || err == nil && n.Name != name {
		err = fs.ErrNotExist
	}
	if err != nil {
		return nil, fmt.Errorf("look up %q: %w", name, err)
	}
	return n.Clone(), nil
}

// cloner clones nodes one after another; those with the same user and group
// names share them.
type cloner struct{ user, group string }

func (c *cloner) clone(n *Node) *Node {
	if n.User != c.user {
		c.user = strings.Clone(n.User)
	}
	if n.Group != c.group {
		c.group = strings.Clone(n.Group)
	}
	user, group := n.User, n.Group
	n.User, n.Group = "", ""
	k := n.Clone()
	n.User, n.Group = user, group
	k.User, k.Group = c.user, c.group
	return k
}
