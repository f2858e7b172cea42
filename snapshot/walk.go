package snapshot

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"

	"vault/crypto"
)

// ErrTooLarge reports a tree beyond Walker.MaxEntries, or deeper than MaxDepth.
var ErrTooLarge = errors.New("tree is larger than allowed")

// walkBudget bounds the pages that a Walker holds for the directories above the
// current one; beyond it they are given up and read again on the way back.
const walkBudget = 64 << 20

// Walker visits a tree depth first: a directory before its entries, entries in
// the order of their names' bytes. It does not recurse, and its memory does not
// grow with the number of entries; it grows with depth by a few hundred bytes
// and the name, a level.
//
// It is for one goroutine.
type Walker struct {
	// MaxEntries, if not 0, is the number of nodes, root included, beyond which
	// Next fails with ErrTooLarge and the walk is over: the guard against trees that name one directory many times.
	MaxEntries uint64

	ctx     context.Context
	src     Source
	dirs    []walkDir
	path    []byte
	current *Node // the node last returned; its entries come next, unless skipped
	enter   bool
	visited uint64
	held    int // bytes of buffers in dirs
	cold    int // dirs before this one are suspended
	spare   *DirReader
	clones  cloner
}

// walkDir is a directory that is being visited.
type walkDir struct {
	reader  *DirReader
	pathLen int // length of its own path
	held    int
}

// NewWalker returns a Walker that begins with root itself, whose path is empty.
func NewWalker(ctx context.Context, src Source, root *Node) *Walker {
	return &Walker{ctx: ctx, src: src, current: root}
}

// Next returns the next node, which belongs to the caller, or io.EOF after the
// last. After another error - a page that is missing or wrong - it has given up
// the rest of one directory, which Path names, and may be called again for what
// follows.
func (w *Walker) Next() (*Node, error) {
	if w.visited == 0 {
		w.visited++
		w.enter = w.current.IsDir()
		return w.current, nil
	}
	if w.enter {
		w.enter = false
		if err := w.push(w.current.Tree); err != nil {
			return nil, err
		}
	}
	for len(w.dirs) > 0 {
		d := &w.dirs[len(w.dirs)-1]
		w.path = w.path[:d.pathLen]
		n, err := d.reader.Next()
		w.account(d)
		if err == io.EOF {
			w.pop()
			continue
		}
		if err != nil {
			w.pop()
			return nil, fmt.Errorf("walk %q: %w", w.path, err)
		}
		if w.MaxEntries > 0 && w.visited >= w.MaxEntries {
			w.dirs = nil
			return nil, fmt.Errorf("walk: more than %d entries: %w", w.MaxEntries, ErrTooLarge)
		}
		if len(w.path) > 0 {
			w.path = append(w.path, '/')
		}
		w.path = append(w.path, n.Name...)
		w.current, w.enter = w.clones.clone(n), n.IsDir()
		w.visited++
		return w.current, nil
	}
	return nil, io.EOF
}

// Path returns the path of the node last returned: the names from below the
// root, joined by '/', byte-exact; "" for the root.
func (w *Walker) Path() string { return string(w.path) }

// Depth returns the number of directories around the node last returned.
func (w *Walker) Depth() int { return len(w.dirs) }

// SkipDir passes over the entries of the directory last returned.
func (w *Walker) SkipDir() { w.enter = false }

// SkipRest passes over what is left of the directory that holds the node last
// returned, and over its entries.
func (w *Walker) SkipRest() {
	w.enter = false
	if len(w.dirs) > 0 {
		w.pop()
	}
}

func (w *Walker) push(tree crypto.ID) error {
	if len(w.dirs) >= MaxDepth {
		return fmt.Errorf("walk: directories more than %d deep: %w", MaxDepth, ErrTooLarge)
	}
	r := w.spare
	if r == nil {
		r = new(DirReader)
	}
	w.spare = nil
	r.reset(w.ctx, w.src, tree)
	w.dirs = append(w.dirs, walkDir{reader: r, pathLen: len(w.path)})
	return nil
}

func (w *Walker) pop() {
	last := len(w.dirs) - 1
	w.held -= w.dirs[last].held
	w.spare = w.dirs[last].reader
	w.dirs[last] = walkDir{}
	w.dirs = w.dirs[:last]
}

// account keeps the buffers within the budget: d, the current directory, has
// just been read.
func (w *Walker) account(d *walkDir) {
	h := d.reader.pages.held()
	w.held += h - d.held
	d.held = h
	w.cold = min(w.cold, len(w.dirs)-1)
	for w.held > walkBudget && w.cold < len(w.dirs)-1 {
		c := &w.dirs[w.cold]
		c.reader.pages.suspend()
		w.held -= c.held
		c.held = 0
		w.cold++
	}
}

// Walk calls fn for root and everything below it, in the order of Walker. The
// nodes belong to fn. It stops at the first error, of a page or of fn, and
// returns it, except that fs.SkipDir from fn skips a directory's entries - or,
// for a node that is none, the rest of its directory - and fs.SkipAll ends the
// walk, as in fs.WalkDir.
func Walk(ctx context.Context, src Source, root *Node, fn func(path string, n *Node) error) error {
	w := NewWalker(ctx, src, root)
	for {
		n, err := w.Next()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		switch err := fn(w.Path(), n); {
		case err == fs.SkipAll:
			return nil
		case err == fs.SkipDir && n.IsDir():
			w.SkipDir()
		case err == fs.SkipDir:
			w.SkipRest()
		case err != nil:
			return err
		}
	}
}
