package restore

import (
	"errors"
	"strings"
	"sync"
	"sync/atomic"

	"vault/snapshot"
)

var (
	errMoved       = errors.New("directory was moved or replaced while it was being restored")
	errDuplicate   = errors.New("two entries have the same name")
	errNotFile     = errors.New("not a regular file")
	errUnsupported = errors.New("not supported by this system")
)

// dir is a directory of the target, or one that will be there when the first
// selected entry in it is met. A child holds its parent, never the other way
// round, so finished ones are forgotten.
type dir struct {
	parent *dir
	name   string
	volume *volume
	node   *snapshot.Node // its metadata; nil for those on the way to a volume
	path   string         // below the volume's root, while that is short
	solo   bool           // holds the volume's root, which is no directory

	// Set when it is made or opened, before its entries are.
	ready  bool
	failed bool // it cannot be made, or dry run: nothing below is done
	absent bool // dry run: it would be made
	made   bool // this run made it: nothing of others is in it
	had    info // what it was when it was made or opened
	stamp  string
	// unchecked says that it is on the way to one found again by its path: that
	// one is looked at.
	unchecked bool
	verb      Verb                // of the directory itself
	holey     bool                // its listing could not be read to the end
	extras    map[string]struct{} // for Delete: what it had and the backup has not yet named
	// leftovers are temporary names that it had and the backup has not yet named.
	leftovers map[string]struct{}

	// announced counts the subdirectories that the source was told of and the
	// walker has not come to; for more, it looks from the name more on.
	announced int
	more      string

	// symlinks wait until everything else is done. If there are too many,
	// the listing is read again instead.
	symlinks []*snapshot.Node
	rescan   bool

	// inherits says that what is made in it gets inode flags of its.
	inherits bool
	// unlocked says that this run took flags from it that it gets back in the end.
	unlocked atomic.Bool

	pending  atomic.Int64 // its walker, its subdirectories, its batches
	finished atomic.Bool

	// Guarded by dirCache.mu.
	h          handle
	uses       int
	prev, next *dir // in the list of open and unused directories
}

const maxPathKept = 4096

// newDir returns a directory with its walker pending.
func newDir(parent *dir, name string, v *volume, n *snapshot.Node) *dir {
	d := &dir{parent: parent, name: name, volume: v, node: n, h: noHandle}
	d.pending.Store(1)
	return d
}

// below returns a subdirectory of d in the volume.
func (d *dir) below(n *snapshot.Node) *dir {
	c := newDir(d, n.Name, d.volume, n)
	d.pending.Add(1)
	if len(d.path)+len(n.Name) < maxPathKept {
		c.path = d.pathOf(n.Name)
	}
	return c
}

// isRoot reports whether d is the root of its volume.
func (d *dir) isRoot() bool { return d.parent == nil || d.parent.node == nil }

// pathOf returns the path of d's entry with this name, or of d if it is empty.
func (d *dir) pathOf(name string) string {
	if d.solo {
		return ""
	}
	var parts []string
	if name != "" {
		parts = append(parts, name)
	}
	for ; !d.isRoot() && d.node != nil; d = d.parent {
		if d.path != "" {
			parts = append(parts, d.path)
			break
		}
		parts = append(parts, d.name)
	}
	switch len(parts) {
	case 0:
		return ""
	case 1:
		return parts[0]
	}
	for i, j := 0, len(parts)-1; i < j; i, j = i+1, j-1 {
		parts[i], parts[j] = parts[j], parts[i]
	}
	return strings.Join(parts, "/")
}

// dirCache bounds the number of open directories. Those not in use are closed,
// the longest unused first, and opened again, from the nearest open ancestor
// down, when they are needed; each must then be the same inode as before.
type dirCache struct {
	mu    sync.Mutex // guards what follows, and the last fields of every dir
	limit int
	open  int
	idle  dir // head of a ring, least recently used first
}

func newDirCache(limit int) *dirCache {
	c := &dirCache{limit: limit}
	c.idle.prev, c.idle.next = &c.idle, &c.idle
	return c
}

// add registers an open directory, in use once.
func (c *dirCache) add(d *dir, h handle) {
	c.mu.Lock()
	defer c.mu.Unlock()
	d.h, d.uses = h, 1
	d.lock()
	c.open++
	c.shrink()
}

// lock tells other restores that temporary names in d may be in use. On the way
// to a volume there are none.
func (d *dir) lock() {
	if !d.made && (d.node != nil || d.solo) {
		d.h.lockShared()
	}
}

// acquire returns d's descriptor and keeps it open until release.
func (c *dirCache) acquire(d *dir) (handle, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !d.h.isOpen() {
		if err := c.reopen(d); err != nil {
			return noHandle, err
		}
	}
	c.pin(d)
	return d.h, nil
}

func (c *dirCache) pin(d *dir) {
	if d.uses == 0 && d.prev != nil {
		d.prev.next, d.next.prev = d.next, d.prev
		d.prev, d.next = nil, nil
	}
	d.uses++
}

func (c *dirCache) unpin(d *dir) {
	if d.uses--; d.uses > 0 || !d.h.isOpen() {
		return
	}
	d.prev, d.next = c.idle.prev, &c.idle
	d.prev.next, d.next.prev = d, d
}

// reopen opens d and what is missing above it.
func (c *dirCache) reopen(d *dir) error {
	var chain []*dir
	for ; !d.h.isOpen(); d = d.parent {
		if d.parent == nil {
			return errMoved
		}
		chain = append(chain, d)
	}
	for i := len(chain) - 1; i >= 0; i-- {
		child := chain[i]
		h, st, err := d.h.openDir(child.name)
		if err != nil {
			return err
		}
		if !child.unchecked && (!st.id.same(child.had.id) || h.object().stamp() != child.stamp) {
			h.close()
			return errMoved
		}
		child.h = h
		child.lock()
		c.open++
		c.pin(child)
		c.shrink()
		c.unpin(child)
		d = child
	}
	return nil
}

func (c *dirCache) release(d *dir) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.unpin(d)
	c.shrink()
}

// shrink closes idle directories while there are too many open.
func (c *dirCache) shrink() {
	for c.open > c.limit && c.idle.next != &c.idle {
		c.closeIdle(c.idle.next)
	}
}

func (c *dirCache) closeIdle(d *dir) {
	d.prev.next, d.next.prev = d.next, d.prev
	d.prev, d.next = nil, nil
	d.h.close()
	d.h = noHandle
	c.open--
}

// drop closes d unless it is in use. It can be acquired again.
func (c *dirCache) drop(d *dir) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if d.h.isOpen() && d.uses == 0 {
		c.closeIdle(d)
	}
}

// close closes all idle directories.
func (c *dirCache) close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for c.idle.next != &c.idle {
		c.closeIdle(c.idle.next)
	}
}
