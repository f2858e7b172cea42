package restore

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"

	"vault/snapshot"
)

type lateFlags struct {
	location
	id    identity
	flags uint32
}

// linked restores an entry that has other names.
func (w *worker) linked(d *dir, n *snapshot.Node) error {
	ls := &d.volume.links
	digest := contentDigest(n)
	l, fresh, err := ls.take(linkKey{n.Device, n.Inode}, digest, n.Size)
	defer w.letGo(d.volume, l)
	if err != nil {
		w.notice(d, n.Name, "hard link, written as a file of its own", err)
	}
	if (fresh || l.digest != digest) && !w.affords(d, n) {
		return nil
	}
	if l.digest != digest { // the file changed between two names of it
		_, err := w.place(d, n, keepGood)
		return err
	}
	l.mu.Lock() // the one who holds it writes the file and waits for no other link
	defer l.mu.Unlock()
	l.seen++
	l.done = l.seen >= n.Links
	if !l.out.known {
		out, err := w.place(d, n, keepGood)
		if err == nil {
			l.take(out, location{d, n.Name})
		}
		return err
	}
	if l.out.made {
		return w.linkOrCopy(l, d, n)
	}
	return w.joinExisting(l, d, n)
}

func (l *link) take(out outcome, at location) {
	l.out, l.at = out, at
	if !out.made && out.known {
		l.remember(at)
	}
}

// remember keeps a name that was found in place, unless there are too many.
func (l *link) remember(at location) {
	if l.more = l.more || len(l.earlier) == namesKept; !l.more {
		l.earlier = append(l.earlier, at)
	}
}

// letGo ends the use of a link. If one has to be forgotten for it, its other names
// are written again, so that they count again.
func (w *worker) letGo(v *volume, l *link) {
	old, err := v.links.letGo(l, w.makeSpill)
	if old == nil {
		return
	}
	v.size.repeat(old.size)
	if old.out.known {
		w.notice(old.at.dir, old.at.name, "hard link, later names become files of their own", err)
	}
}

// spillFile is makeSpill, but for tests.
func (w *worker) spillFile(root *dir) (file, error) {
	h, err := w.dirs.acquire(root)
	if err != nil {
		return file{}, err
	}
	defer w.dirs.release(root)
	w.unlockDir(root, h)
	name := tempName()
	f, err := h.create(name)
	if err != nil {
		return f, err
	}
	if err := h.unlink(name); err != nil {
		f.close()
		return f, err
	}
	return f, nil
}

// joinExisting restores another name of a file that was found in place.
func (w *worker) joinExisting(l *link, d *dir, n *snapshot.Node) error {
	h, err := w.dirs.acquire(d)
	if err != nil {
		return fmt.Errorf("open parent: %w", err)
	}
	st, err := h.stat(n.Name)
	w.dirs.release(d)
	if err == nil && st.id.same(l.out.id) {
		l.remember(location{d, n.Name})
		w.event(d, n.Name, hardLink, Unchanged, 0)
		return nil
	}
	out, err := w.place(d, n, renew)
	if err != nil || !out.made {
		return err
	}
	if l.more {
		w.notice(d, n.Name, "hard link, written as a file of its own", errManyNames)
		return nil
	}
	earlier := l.earlier
	l.earlier = nil
	l.take(out, location{d, n.Name})
	for _, at := range earlier {
		if err := w.relink(l, at); err != nil {
			w.failed(at.dir, at.name, n.Type, fmt.Errorf("link to %q: %w", d.pathOf(n.Name), err))
		}
	}
	return nil
}

// relink makes a name that was found in place one more name of l. If its
// directory is complete already, that keeps its time.
func (w *worker) relink(l *link, at location) error {
	h, err := w.dirs.acquire(at.dir)
	if err != nil {
		return err
	}
	defer w.dirs.release(at.dir)
	if at.dir.finished.Load() {
		if st, err := h.info(); err == nil {
			defer h.object().setTime(st.mtime)
		}
	}
	_, err = w.link(l, at.dir, h, at.name)
	return err
}

// linkOrCopy gives the inode of l the name of n. Where that is not possible, n
// becomes a file of its own.
func (w *worker) linkOrCopy(l *link, d *dir, n *snapshot.Node) error {
	if err := checkName(n.Name); err != nil {
		return err
	}
	h, err := w.dirs.acquire(d)
	if err != nil {
		return fmt.Errorf("open parent: %w", err)
	}
	defer w.dirs.release(d)
	if !d.made {
		st, err := h.stat(n.Name)
		switch {
		case errors.Is(err, fs.ErrNotExist):
		case err != nil:
			return fmt.Errorf("look up: %w", err)
		case st.id.same(l.out.id):
			w.event(d, n.Name, hardLink, Unchanged, 0)
			return nil
		case w.opts.Overwrite == Never, w.opts.Overwrite == IfNewer && st.mtime.Compare(n.MTime) >= 0:
			w.event(d, n.Name, n.Type, Skipped, 0)
			return nil
		case st.typ == snapshot.Directory:
			if err := w.clearDir(d, h, n.Name); err != nil {
				return err
			}
		}
	}
	verb, err := w.link(l, d, h, n.Name)
	if err == nil {
		w.event(d, n.Name, hardLink, verb, 0)
		return nil
	}
	if d.made && errors.Is(err, fs.ErrExist) {
		return errDuplicate
	}
	w.notice(d, n.Name, "hard link, written as a file of its own", err)
	_, err = w.place(d, n, renew)
	return err
}

// link makes name, in d, a name of l's inode. The inode is opened where this
// run put it and is linked through that descriptor, if it is still the same.
func (w *worker) link(l *link, d *dir, h handle, name string) (Verb, error) {
	from, err := w.dirs.acquire(l.at.dir)
	if err != nil {
		return Failed, err
	}
	defer w.dirs.release(l.at.dir)
	o, st, err := from.openPath(l.at.name)
	if err != nil {
		return Failed, err
	}
	defer o.close()
	if !l.out.made || !st.id.same(l.out.id) || o.stamp() != l.out.stamp {
		return Failed, errMoved
	}
	if d.made {
		return Created, h.link(o, name)
	}
	w.unlockDir(d, h)
	temp := tempName()
	if err := h.link(o, temp); err != nil {
		return Failed, err
	}
	verb := Created
	err = h.renameNew(temp, name)
	if errors.Is(err, fs.ErrExist) {
		verb = Replaced
		err = h.rename(temp, name)
	}
	// Renaming onto another name of the same inode leaves both.
	if h.unlink(temp) == nil && err == nil {
		verb = Unchanged
	}
	return verb, err
}

// fileFlags sets the inode flags of a new file. Immutable files take no more
// links, so those with several names get them in the end.
func (w *worker) fileFlags(f file, d *dir, n *snapshot.Node) {
	if n.Flags&flagsSettable == 0 {
		return
	}
	if n.Links < 2 || n.Flags&flagsLocking == 0 {
		w.setFlags(f.object(), d, n.Name, n.Flags)
		return
	}
	st, err := f.stat()
	if err != nil {
		return
	}
	if !d.volume.links.later(lateFlags{location{d, n.Name}, st.id, n.Flags}) {
		w.notice(d, n.Name, "inode flags", errManyLate)
	}
}

// finishLinks ends a volume.
func (w *worker) finishLinks(v *volume) {
	v.links.far.close()
	for _, late := range v.links.flags {
		if w.cancelled() {
			return
		}
		h, err := w.dirs.acquire(late.dir)
		if err != nil {
			w.notice(late.dir, late.name, "inode flags", err)
			continue
		}
		f, st, err := h.openFile(late.name, readOnly)
		switch {
		case err != nil:
			w.notice(late.dir, late.name, "inode flags", err)
		case st.id.same(late.id):
			w.setFlags(f.object(), late.dir, late.name, late.flags)
			f.close()
		default:
			f.close()
		}
		w.dirs.release(late.dir)
	}
}

// contentDigest tells contents apart without holding them.
func contentDigest(n *snapshot.Node) (sum [sha256.Size]byte) {
	h := sha256.New()
	put := func(v uint64) {
		var b [8]byte
		binary.LittleEndian.PutUint64(b[:], v)
		h.Write(b[:])
	}
	put(uint64(n.Type))
	put(n.Size)
	put(uint64(n.Major))
	put(uint64(n.Minor))
	put(uint64(len(n.Content.Inline)))
	h.Write(n.Content.Inline)
	for _, it := range n.Content.Items {
		put(uint64(it.Kind))
		put(it.Length)
		h.Write(it.ID[:])
	}
	h.Write(n.Content.List[:])
	h.Write([]byte(n.Target))
	h.Sum(sum[:0])
	return sum
}
