package restore

import (
	"errors"
	"fmt"
	"io"
	"io/fs"

	"vault/snapshot"
)

const (
	batchEntries = 16       // entries that a worker takes at once
	maxDeferred  = 32 << 20 // bytes of symlinks that wait, in all directories
)

// tree restores a volume whose root is a directory. It makes the directories in
// the order of the tree and leaves everything else to the workers.
func (w *worker) tree(root *dir) {
	if w.ready(root) {
		w.walk(root)
	} else {
		w.done(root)
	}
	<-root.volume.done
}

func (w *worker) walk(root *dir) {
	tree := snapshot.NewWalker(w.ctx, w.opts.Source, root.node)
	stack := []*dir{root}
	var todo batch
	flush := func() {
		if len(todo.nodes) > 0 {
			todo.dir.pending.Add(1)
			w.lead.take(todo.bytes)
			w.batches <- todo
		}
		todo = batch{}
	}
	leave := func(depth int) {
		for len(stack) > depth {
			flush()
			w.leave(stack[len(stack)-1])
			stack = stack[:len(stack)-1]
		}
	}
	w.announceTrees(root, "")
	_, err := tree.Next() // the root
	for err == nil && !w.cancelled() {
		n, err := tree.Next()
		if err == io.EOF {
			break
		}
		depth := tree.Depth()
		if err == nil {
			if err := root.volume.size.entry(); err != nil {
				w.stop(err)
				break
			}
		}
		if err != nil { // the rest of one directory is lost
			leave(depth + 1)
			d := stack[depth]
			d.holey = true
			w.fatal(err)
			w.problem(d.volume, d.pathOf(""), err)
			leave(depth)
			continue
		}
		leave(depth)
		d := stack[depth-1]
		delete(d.extras, n.Name)
		delete(d.leftovers, n.Name)
		selected := w.selected(d, n)
		if n.Type == snapshot.Directory {
			c, enter := w.descend(d, n, selected)
			stack = append(stack, c)
			w.passed(d, n)
			if enter {
				w.announceTrees(c, "")
			} else {
				tree.SkipDir()
			}
			continue
		}
		if !selected || !w.ready(d) {
			continue
		}
		if n.Type == snapshot.Symlink {
			d.deferSymlink(w.run, n)
			continue
		}
		w.announce(d, n)
		if todo.dir != d || len(todo.nodes) == batchEntries {
			flush()
			todo = batch{dir: d, nodes: make([]*snapshot.Node, 0, batchEntries)}
		}
		todo.nodes = append(todo.nodes, n)
		todo.bytes += footprint(n)
	}
	leave(0)
}

func (r *run) selected(d *dir, n *snapshot.Node) bool {
	return r.opts.Select == nil || r.opts.Select(d.volume.name, d.pathOf(n.Name), n)
}

// descend prepares a subdirectory; false means that nothing in it is wanted.
func (w *worker) descend(d *dir, n *snapshot.Node, selected bool) (*dir, bool) {
	c := d.below(n)
	if err := checkName(n.Name); err != nil {
		w.failed(d, n.Name, n.Type, err)
		c.ready, c.failed = true, true
		return c, false
	}
	if selected {
		return c, w.ready(c)
	}
	if d.failed || w.opts.Descend != nil && !w.opts.Descend(d.volume.name, d.pathOf(n.Name), n) {
		return c, false
	}
	return c, true
}

// deferSymlink keeps a symlink until the rest of d is done.
func (d *dir) deferSymlink(r *run, n *snapshot.Node) {
	size := int64(512 + len(n.Name) + len(n.Target))
	if d.rescan {
		return
	}
	if r.deferred.Add(size) > maxDeferred {
		r.deferred.Add(-size)
		d.rescan = true
		return
	}
	d.symlinks = append(d.symlinks, n)
}

// ready makes d and what is missing above it. It is false if that is not
// possible, which is reported once.
func (w *worker) ready(d *dir) bool {
	var chain []*dir
	for ; !d.ready; d = d.parent {
		chain = append(chain, d)
	}
	for i := len(chain) - 1; i >= 0; i-- {
		parent := d
		d = chain[i]
		d.ready = true
		if parent.failed {
			d.failed = true
			continue
		}
		if err := w.enter(d); err != nil {
			d.failed = true
			w.failed(d, "", snapshot.Directory, err)
		}
	}
	return !d.failed
}

// enter makes or opens d, whose parent is ready.
func (w *worker) enter(d *dir) error {
	if d.parent.absent {
		d.absent = true
		return nil
	}
	ph, err := w.dirs.acquire(d.parent)
	if err != nil {
		return fmt.Errorf("open parent: %w", err)
	}
	defer w.dirs.release(d.parent)
	for range 3 {
		made := false
		if !w.opts.DryRun && d.name != "." {
			err = ph.mkdir(d.name)
			if errors.Is(err, fs.ErrPermission) {
				w.unlockDir(d.parent, ph)
				err = ph.mkdir(d.name)
			}
			if err != nil && !errors.Is(err, fs.ErrExist) {
				return fmt.Errorf("make directory: %w", err)
			}
			made = err == nil
		}
		h, st, err := w.openDir(ph, d, made)
		switch {
		case err == nil:
			return w.entered(d, h, st, made)
		case errors.Is(err, fs.ErrNotExist) && w.opts.DryRun:
			d.absent = true
			return nil
		case isNotDir(err):
			if err := w.clear(d, ph); err != nil {
				return err
			}
			if w.opts.DryRun {
				d.absent = true
				return nil
			}
		case !errors.Is(err, fs.ErrNotExist):
			return fmt.Errorf("open directory: %w", err)
		}
	}
	return errMoved
}

// openDir opens a directory below ph. One of our own that we shut ourselves out
// of is opened up first; it gets its mode back in the end.
func (w *worker) openDir(ph handle, d *dir, made bool) (handle, info, error) {
	h, st, err := ph.openDir(d.name)
	if made || w.uid == 0 || w.opts.DryRun || w.opts.Overwrite == Never || d.node == nil {
		return h, st, err
	}
	if err == nil && st.mode&0o700 == 0o700 || err != nil && !errors.Is(err, fs.ErrPermission) {
		return h, st, err
	}
	if err != nil {
		if st, err2 := ph.stat(d.name); err2 != nil || st.typ != snapshot.Directory || st.uid != w.uid {
			return h, st, err
		}
	} else {
		if st.uid != w.uid {
			return h, st, nil
		}
		h.close()
	}
	if err := ph.chmodDir(d.name, st.mode|0o700); err != nil {
		return noHandle, st, err
	}
	return ph.openDir(d.name)
}

// entered takes note of an open directory.
func (w *worker) entered(d *dir, h handle, st info, made bool) error {
	switch {
	case made && (st.uid != w.uid || st.mode&0o077 != 0):
		made = false // it was exchanged for another: enter it as one of others
	case w.isHome(st):
		h.close()
		return errHome
	case !made && d.parent.made && d.name != ".":
		h.close()
		return errDuplicate
	}
	d.had, d.made, d.stamp = st, made, h.object().stamp()
	if d.verb != Replaced {
		d.verb = Unchanged
		if made {
			d.verb = Created
		}
	}
	if made && !d.parent.made { // only others' directories have default ACLs
		h.object().dropACLs()
		if d.parent.inherits {
			h.object().setFlags(0, flagsSettable)
		}
	}
	if !made && !w.opts.DryRun {
		d.inherits = h.object().anyFlags()
	}
	if w.opts.Delete && !made && d.node != nil {
		names, err := h.names()
		if err != nil {
			h.close()
			return fmt.Errorf("list directory: %w", err)
		}
		d.extras = make(map[string]struct{}, len(names))
		for _, name := range names {
			d.extras[name] = struct{}{}
		}
	} else if !made && d.node != nil {
		d.noteLeftovers(h)
	}
	w.dirs.add(d, h)
	w.dirs.release(d)
	return nil
}

// clear removes what is in the way of a directory, if the policy allows.
func (w *worker) clear(d *dir, ph handle) error {
	st, err := ph.stat(d.name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if st.typ == snapshot.Directory {
		return nil // it is one now
	}
	if d.parent.made {
		return errDuplicate
	}
	if d.node == nil || w.opts.Overwrite == Never || w.opts.Overwrite == IfNewer && st.mtime.Compare(d.node.MTime) >= 0 {
		return fmt.Errorf("a %v is in the way of the directory", st.typ)
	}
	d.verb = Replaced
	if w.opts.DryRun {
		return nil
	}
	w.unlockDir(d.parent, ph)
	if err := ph.unlink(d.name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove the %v in the way: %w", st.typ, err)
	}
	return nil
}

// leave ends the walker's part in a directory: it has been listed.
func (w *worker) leave(d *dir) {
	if d.ready && !d.failed && !d.holey && !w.cancelled() && len(d.extras) > 0 {
		w.deleteExtras(d)
	}
	d.extras = nil
	w.done(d)
}

// done ends one part of the work on a directory, and the directory with the
// last part, and so on upwards.
func (w *worker) done(d *dir) {
	for d.pending.Add(-1) == 0 {
		if d.ready && !d.failed {
			w.finish(d)
		}
		if d.isRoot() {
			close(d.volume.done)
			return
		}
		d = d.parent
	}
}

// finish completes a directory whose entries are done: symlinks, metadata,
// flags.
func (w *worker) finish(d *dir) {
	defer w.dirs.drop(d)
	defer d.finished.Store(true)
	defer func() { d.node.Xattrs = nil }() // d may be remembered for long
	w.makeSymlinks(d)
	if w.cancelled() {
		return
	}
	if d.absent {
		if d.verb != Replaced {
			d.verb = Created
		}
		w.event(d, "", snapshot.Directory, d.verb, 0)
		return
	}
	h, err := w.dirs.acquire(d)
	if err != nil {
		w.failed(d, "", snapshot.Directory, err)
		return
	}
	defer w.dirs.release(d)
	w.removeLeftovers(d, h)
	if d.verb != Unchanged || w.opts.Overwrite != Never {
		o := h.object()
		have, err := h.info()
		if err != nil {
			w.failed(d, "", snapshot.Directory, err)
			return
		}
		changed := w.setMeta(o, metadata{dir: d, node: d.node, have: have, list: !d.made, check: w.opts.DryRun})
		if w.setFlags(o, d, "", d.node.Flags) && !d.unlocked.Load() || changed {
			if d.verb == Unchanged {
				d.verb = Corrected
			}
		}
	}
	w.event(d, "", snapshot.Directory, d.verb, 0)
}

func (w *worker) makeSymlinks(d *dir) {
	for _, n := range d.symlinks {
		w.deferred.Add(-int64(512 + len(n.Name) + len(n.Target)))
		if !d.rescan {
			w.entry(d, n)
		}
	}
	d.symlinks = nil
	if !d.rescan {
		return
	}
	list := snapshot.NewDirReader(w.ctx, w.opts.Source, d.node.Tree)
	for !w.cancelled() {
		n, err := list.Next()
		if err == io.EOF {
			return
		}
		if err != nil {
			w.fatal(err)
			w.problem(d.volume, d.pathOf(""), err)
			return
		}
		if n.Type == snapshot.Symlink && w.selected(d, n) {
			w.entry(d, n.Clone())
		}
	}
}
