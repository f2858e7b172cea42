// Package compare tells how two saved trees differ.
//
// Both are read side by side, directory by directory in the order of names.
// Content is compared by the names of its blobs and never read, and a directory
// whose page is the same in both is not entered: comparing costs what is
// different, not what is there. Inode numbers and change times do not count,
// since a restored tree has others.
package compare

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"slices"

	"vault/snapshot"
)

// Kind says what became of an entry.
type Kind uint8

const (
	Added    Kind = 1
	Removed  Kind = 2
	Changed  Kind = 3 // of its content, its target, its type or its device number
	Metadata Kind = 4 // of its owner, mode, times, attributes or flags only
)

// String returns the kind's name.
func (k Kind) String() string {
	switch k {
	case Added:
		return "added"
	case Removed:
		return "removed"
	case Changed:
		return "changed"
	case Metadata:
		return "metadata"
	}
	return fmt.Sprintf("kind %d", uint8(k))
}

// Change is one difference. The nodes are valid during the call only.
type Change struct {
	Path     string // below the roots; "" for the roots themselves
	Kind     Kind
	Old, New *snapshot.Node // nil where there is none
	What     []string       // what differs: content, type, mode, owner, mtime, xattrs, flags ...
}

// Report counts differences. Bytes are those of files.
type Report struct {
	Added, Removed, Changed, Metadata uint64
	BytesAdded, BytesRemoved          uint64 // a changed file counts in both
}

// Add takes account of one change.
func (r *Report) Add(c Change) {
	switch c.Kind {
	case Added:
		r.Added++
	case Removed:
		r.Removed++
	case Changed:
		r.Changed++
	case Metadata:
		r.Metadata++
		return
	}
	if c.New != nil {
		r.BytesAdded += c.New.Size
	}
	if c.Old != nil {
		r.BytesRemoved += c.Old.Size
	}
}

// Diff calls f for each difference between two trees, a directory before its
// entries, in the order of names. Either may be nil: then all of the other is
// added or removed. It stops at the first error, of reading or of f.
func Diff(ctx context.Context, src snapshot.Source, old, now *snapshot.Node, f func(Change) error) error {
	d := &differ{ctx: ctx, src: src, f: f}
	return d.node("", old, now)
}

type differ struct {
	ctx context.Context
	src snapshot.Source
	f   func(Change) error
}

// node compares two entries of one name, and what lies below them.
func (d *differ) node(path string, old, now *snapshot.Node) error {
	switch {
	case old == nil && now == nil:
		return nil
	case old == nil:
		return d.whole(path, now, func(n *snapshot.Node) Change { return Change{Kind: Added, New: n} })
	case now == nil:
		return d.whole(path, old, func(n *snapshot.Node) Change { return Change{Kind: Removed, Old: n} })
	case old.Type != now.Type && (old.IsDir() || now.IsDir()):
		if err := d.node(path, old, nil); err != nil {
			return err
		}
		return d.node(path, nil, now)
	}
	if c := compare(old, now); c.Kind != 0 {
		c.Path = path
		if err := d.f(c); err != nil {
			return err
		}
	}
	if !now.IsDir() || old.Tree == now.Tree {
		return nil
	}
	return d.directory(path, old, now)
}

// whole reports everything in a tree.
func (d *differ) whole(path string, root *snapshot.Node, change func(*snapshot.Node) Change) error {
	return snapshot.Walk(d.ctx, d.src, root, func(p string, n *snapshot.Node) error {
		c := change(n)
		c.Path = join(path, p)
		return d.f(c)
	})
}

// directory merges the entries of two directories.
func (d *differ) directory(path string, old, now *snapshot.Node) error {
	a, b := &entries{r: snapshot.NewDirReader(d.ctx, d.src, old.Tree)}, &entries{r: snapshot.NewDirReader(d.ctx, d.src, now.Tree)}
	for {
		x, err := a.peek()
		if err != nil {
			return err
		}
		y, err := b.peek()
		switch {
		case err != nil:
			return err
		case x == nil && y == nil:
			return nil
		case y == nil || x != nil && x.Name < y.Name:
			y = nil
		case x == nil || y.Name < x.Name:
			x = nil
		}
		name := ""
		if x != nil {
			name, a.node = x.Name, nil
		}
		if y != nil {
			name, b.node = y.Name, nil
		}
		if err := d.node(join(path, name), x, y); err != nil {
			return err
		}
	}
}

// entries is a reader with one entry read ahead.
type entries struct {
	r    *snapshot.DirReader
	node *snapshot.Node
	done bool
}

// peek returns the next entry without taking it; nil at the end.
func (e *entries) peek() (*snapshot.Node, error) {
	if e.node == nil && !e.done {
		n, err := e.r.Next()
		switch {
		case err == io.EOF:
			e.done = true
		case err != nil:
			return nil, err
		default:
			e.node = n.Clone()
		}
	}
	return e.node, nil
}

func join(dir, name string) string {
	switch {
	case dir == "":
		return name
	case name == "":
		return dir
	}
	return dir + "/" + name
}

// compare returns how two entries differ by themselves; Kind 0 if they do not.
func compare(old, now *snapshot.Node) Change {
	c := Change{Old: old, New: now}
	note := func(kind Kind, what string, differ bool) {
		if differ {
			c.What = append(c.What, what)
			if c.Kind == 0 || kind < c.Kind {
				c.Kind = kind
			}
		}
	}
	note(Changed, "type", old.Type != now.Type)
	note(Changed, "content", old.Type == now.Type && !sameContent(old, now))
	note(Changed, "target", old.Target != now.Target)
	note(Changed, "device", old.Major != now.Major || old.Minor != now.Minor)
	note(Metadata, "mode", old.Mode != now.Mode)
	note(Metadata, "owner", old.UID != now.UID || old.GID != now.GID || old.User != now.User || old.Group != now.Group)
	note(Metadata, "mtime", old.MTime != now.MTime)
	note(Metadata, "xattrs", !slices.EqualFunc(old.Xattrs, now.Xattrs, func(a, b snapshot.Xattr) bool {
		return a.Name == b.Name && a.Length == b.Length && a.Blob == b.Blob && bytes.Equal(a.Value, b.Value)
	}))
	note(Metadata, "flags", old.Flags != now.Flags)
	return c
}

func sameContent(a, b *snapshot.Node) bool {
	return a.Size == b.Size && bytes.Equal(a.Content.Inline, b.Content.Inline) &&
		a.Content.List == b.Content.List && slices.Equal(a.Content.Items, b.Content.Items)
}
