package transfer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"math"

	"vault/crypto"
	"vault/snapshot"
)

var errCycle = errors.New("a directory that contains itself")

// walker walks through one volume of the source - beside an earlier backup of it
// and that one's copy, if there are - and tells the weaver what it meets.
type walker struct {
	ctx    context.Context
	v      *weaver
	src    snapshot.Source
	dst    snapshot.Source
	limits snapshot.Thresholds // of the target
}

// deep is the depth from which directories around the current one hold no
// pages in memory.
const deep = 32

// node takes over an entry. base are the entries of that name in an earlier
// backup and in its copy: both of the same type as n, or none. All are valid until
// suspend is called, which is before anything below n is read.
func (w *walker) node(n *snapshot.Node, base pair[snapshot.Node], depth int, suspend func()) error {
	s := step{kind: stepEntry, node: n.Clone()}
	w.xattrs(&s, n, base)
	switch n.Type {
	case snapshot.Directory:
		return w.directory(s, base, depth, suspend)
	case snapshot.File:
		return w.file(s, n, base)
	}
	return w.v.add(w.ctx, s)
}

// xattrs fills in the names of long values.
func (w *walker) xattrs(s *step, n *snapshot.Node, base pair[snapshot.Node]) {
	for i := range s.node.Xattrs {
		x := &s.node.Xattrs[i]
		if x.Length == 0 {
			continue
		}
		if base.src != nil {
			if b, c := attribute(base.src, x.Name), attribute(base.dst, x.Name); b != nil && c != nil && b.Length > 0 && b.Length == c.Length {
				w.v.learn(w.v.blobs, b.Blob, c.Blob)
			}
		}
		w.v.fill(s, &x.Blob, w.v.data(x.Blob, x.Length))
	}
}

func attribute(n *snapshot.Node, name string) *snapshot.Xattr {
	for i := range n.Xattrs {
		if n.Xattrs[i].Name == name {
			return &n.Xattrs[i]
		}
	}
	return nil
}

func (w *walker) directory(s step, base pair[snapshot.Node], depth int, suspend func()) error {
	top := s.node.Tree
	if base.src != nil && base.src.Tree == top {
		w.v.learn(w.v.trees, top, base.dst.Tree)
	}
	if p := w.v.trees.get(top); p != nil {
		w.v.fill(&s, &s.node.Tree, p)
		return w.v.add(w.ctx, s)
	}
	if depth >= snapshot.MaxDepth {
		return ofSource(fmt.Errorf("directories more than %d deep: %w", snapshot.MaxDepth, snapshot.ErrTooLarge))
	}
	s.kind, s.tree = stepEnter, &promise{batch: later}
	w.v.trees.put(top, s.tree)
	var below pair[crypto.ID]
	if base.src != nil {
		below = pair[crypto.ID]{&base.src.Tree, &base.dst.Tree}
		below.src, below.dst = copyOf(below.src), copyOf(below.dst)
	}
	if depth >= deep {
		suspend()
	}
	if err := w.v.add(w.ctx, s); err != nil {
		return err
	}
	if err := w.entries(top, below, depth+1); err != nil {
		return err
	}
	s.tree.batch = w.v.gathering.number
	return w.v.add(w.ctx, step{kind: stepLeave})
}

func copyOf[T any](p *T) *T { v := *p; return &v }

// entries takes over what is in a directory.
func (w *walker) entries(top crypto.ID, base pair[crypto.ID], depth int) error {
	now := snapshot.NewDirReader(w.ctx, w.src, top)
	earlier := w.twins(base)
	suspend := func() {
		now.Suspend()
		earlier.suspend()
	}
	for {
		n, err := now.Next()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return ofSource(err)
		}
		b, err := earlier.find(n)
		if err == nil {
			err = w.node(n, b, depth, suspend)
		}
		if err != nil {
			return err
		}
	}
}

// twins reads a directory of an earlier backup and the one of its copy side by
// side.
type twins struct {
	src, dst *snapshot.DirReader // nil: there are none
	s, d     *snapshot.Node      // read, and not passed yet
}

func (w *walker) twins(base pair[crypto.ID]) *twins {
	if base.src == nil {
		return &twins{}
	}
	return &twins{src: snapshot.NewDirReader(w.ctx, w.src, *base.src), dst: snapshot.NewDirReader(w.ctx, w.dst, *base.dst)}
}

// find returns the entries with the name and type of n; it must be called in the
// order of names.
func (t *twins) find(n *snapshot.Node) (p pair[snapshot.Node], err error) {
	if t.src == nil {
		return p, nil
	}
	for _, side := range []struct {
		r *snapshot.DirReader
		n **snapshot.Node
	}{{t.src, &t.s}, {t.dst, &t.d}} {
		for *side.n == nil || (*side.n).Name < n.Name {
			if *side.n, err = side.r.Next(); err == io.EOF {
				t.src = nil
				return p, nil
			}
			if err != nil {
				return p, &baseError{err}
			}
		}
	}
	if t.s.Name != n.Name || t.d.Name != n.Name || t.s.Type != n.Type || t.d.Type != n.Type {
		return p, nil
	}
	return pair[snapshot.Node]{t.s, t.d}, nil
}

func (t *twins) suspend() {
	if t.src == nil {
		return
	}
	if t.s != nil {
		t.s = t.s.Clone()
	}
	if t.d != nil {
		t.d = t.d.Clone()
	}
	t.src.Suspend()
	t.dst.Suspend()
}

// file takes over a file.
func (w *walker) file(s step, n *snapshot.Node, base pair[snapshot.Node]) error {
	c := &s.node.Content
	switch {
	case n.Size == 0:
		return w.v.add(w.ctx, s)
	case len(n.Content.Inline) > 0:
		if len(n.Content.Inline) > w.limits.InlineFile {
			if err := w.outline(c); err != nil {
				return err
			}
		}
		return w.v.add(w.ctx, s)
	case n.Size <= uint64(w.limits.InlineFile):
		if err := w.inline(c, n); err != nil {
			return err
		}
		return w.v.add(w.ctx, s)
	case base.src != nil && base.dst.Size == n.Size && sameContent(n, base.src):
		*c = base.dst.Clone().Content
		return w.v.add(w.ctx, s)
	case len(n.Content.Items) > 0 && len(n.Content.Items) <= w.limits.InlineItems:
		w.learnItems(base)
		for i := range c.Items {
			if it := &c.Items[i]; it.Kind == snapshot.ItemData {
				w.v.fill(&s, &it.ID, w.v.data(it.ID, it.Length))
			}
		}
		return w.v.add(w.ctx, s)
	}
	if p := w.v.lists.get(n.Content.List); p != nil && !n.Content.List.IsZero() {
		c.List = p.id
		return w.v.add(w.ctx, s)
	}
	return w.stream(s, n, base)
}

func sameContent(a, b *snapshot.Node) bool {
	if a.Size != b.Size || a.Content.List != b.Content.List || len(a.Content.Items) != len(b.Content.Items) || len(b.Content.Inline) > 0 {
		return false
	}
	for i := range a.Content.Items {
		if a.Content.Items[i] != b.Content.Items[i] {
			return false
		}
	}
	return true
}

// outline makes a blob of bytes that the target's thresholds do not want in the
// node.
func (w *walker) outline(c *snapshot.Content) error {
	it := snapshot.Item{Kind: snapshot.ItemZero, Length: uint64(len(c.Inline))}
	for _, b := range c.Inline {
		if b != 0 {
			it.Kind = snapshot.ItemData
			break
		}
	}
	if it.Kind == snapshot.ItemData {
		var err error
		if it.ID, err = w.v.Put(w.ctx, crypto.BlobData, c.Inline); err != nil {
			return err
		}
	}
	*c = snapshot.Content{Items: []snapshot.Item{it}}
	return nil
}

// inline puts the bytes of a small file into the node, where the target's
// thresholds want them.
func (w *walker) inline(c *snapshot.Content, n *snapshot.Node) error {
	var b []byte
	for it, err := range snapshot.Items(w.ctx, w.src, n.Content, n.Size) {
		var part []byte
		switch {
		case err != nil:
		case it.Kind == snapshot.ItemData:
			if part, err = w.src.Get(w.ctx, crypto.BlobData, it.ID, nil); err == nil && uint64(len(part)) != it.Length {
				err = fmt.Errorf("blob %s has %d bytes, not %d", it.ID, len(part), it.Length)
			}
		default:
			part = make([]byte, it.Length)
		}
		if err != nil {
			return ofSource(err)
		}
		b = append(b, part...)
	}
	*c = snapshot.Content{Inline: b}
	return nil
}

// learnItems learns names from a content and its copy, of which both have the
// same items.
func (w *walker) learnItems(base pair[snapshot.Node]) {
	if base.src == nil || len(base.src.Content.Items) != len(base.dst.Content.Items) {
		return
	}
	for i, it := range base.src.Content.Items {
		w.learnItem(it, base.dst.Content.Items[i])
	}
}

func (w *walker) learnItem(src, dst snapshot.Item) {
	if src.Kind == snapshot.ItemData && dst.Kind == snapshot.ItemData && src.Length == dst.Length {
		w.v.learn(w.v.blobs, src.ID, dst.ID)
	}
}

// itemsOfStep is how many items of a long content make a step.
const itemsOfStep = 256

// stream takes over a long content. Its earlier version is read along with it,
// some way ahead, so that names are known of what is there still, and has moved
// a little.
func (w *walker) stream(s step, n *snapshot.Node, base pair[snapshot.Node]) error {
	earlier := w.itemTwins(base)
	defer earlier.stop()
	s.kind, s.node.Content = stepFile, snapshot.Content{}
	if err := w.v.add(w.ctx, s); err != nil {
		return err
	}
	s = step{kind: stepItems}
	off := uint64(0)
	for it, err := range snapshot.Items(w.ctx, w.src, n.Content, n.Size) {
		if err != nil {
			return ofSource(err)
		}
		if err := earlier.learn(off + lookAhead); err != nil {
			return err
		}
		off += it.Length
		if s.items == nil {
			s.items = make([]snapshot.Item, 0, itemsOfStep)
		}
		s.items = append(s.items, it)
		if it.Kind == snapshot.ItemData {
			w.v.fill(&s, &s.items[len(s.items)-1].ID, w.v.data(it.ID, it.Length))
		}
		if len(s.items) == itemsOfStep {
			if err := w.v.add(w.ctx, s); err != nil {
				return err
			}
			s = step{kind: stepItems}
		}
	}
	if len(s.items) > 0 {
		if err := w.v.add(w.ctx, s); err != nil {
			return err
		}
	}
	return w.v.add(w.ctx, step{kind: stepEnd, list: n.Content.List})
}

// lookAhead is how far ahead of a content its earlier version is read, in bytes.
const lookAhead = 64 << 20

// itemTwins reads an earlier content and its copy side by side.
type itemTwins struct {
	w    *walker
	src  func() (snapshot.Item, error, bool)
	dst  func() (snapshot.Item, error, bool)
	off  uint64 // of what is read next; beyond everything at the end
	stop func()
}

func (w *walker) itemTwins(base pair[snapshot.Node]) *itemTwins {
	t := &itemTwins{w: w, off: math.MaxUint64, stop: func() {}}
	if base.src == nil || base.src.Size != base.dst.Size || len(base.src.Content.Inline) > 0 {
		return t
	}
	b := pair[snapshot.Node]{base.src.Clone(), base.dst.Clone()}
	var stopSrc, stopDst func()
	t.src, stopSrc = iter.Pull2(snapshot.Items(w.ctx, w.src, b.src.Content, b.src.Size))
	t.dst, stopDst = iter.Pull2(snapshot.Items(w.ctx, w.dst, b.dst.Content, b.dst.Size))
	t.off, t.stop = 0, func() { stopSrc(); stopDst() }
	return t
}

// learn reads up to the offset.
func (t *itemTwins) learn(upTo uint64) error {
	for t.off < upTo {
		a, aerr, more := t.src()
		b, berr, also := t.dst()
		if err := errors.Join(aerr, berr); err != nil {
			return &baseError{err}
		}
		if !more || !also || a.Kind != b.Kind || a.Length != b.Length {
			t.off = math.MaxUint64
			return nil
		}
		t.w.learnItem(a, b)
		t.off += a.Length
	}
	return nil
}
