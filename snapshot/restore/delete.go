package restore

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"vault/snapshot"
)

var errHome = errors.New("this is the repository that is read from")

var errMount = errors.New("another file system is mounted here")

// locateHome finds out what the directory of the repository is.
func (r *run) locateHome() {
	if r.opts.Repository == "" {
		return
	}
	if h, st, err := openTarget(r.opts.Repository); err == nil {
		h.close()
		r.home = &st.id
	}
}

// isHome reports whether an entry is the directory of the repository. That Delete
// would remove it, while it is read, is the last thing that anybody wants.
func (r *run) isHome(st info) bool {
	return r.home != nil && st.typ == snapshot.Directory && st.id.same(*r.home)
}

// deleteExtras removes what d had and the backup does not have, as far as it is
// selected.
func (w *worker) deleteExtras(d *dir) {
	names := make([]string, 0, len(d.extras))
	for name := range d.extras {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		w.deleteEntry(d, name)
	}
}

// deleteEntry removes an entry and what is below it; false if anything is left.
// It holds no descriptor while it goes deeper.
func (w *worker) deleteEntry(d *dir, name string) (gone bool) {
	if w.cancelled() {
		return false
	}
	if _, ok := w.places[d.placeOf(name)]; ok {
		return false // a volume goes there
	}
	h, err := w.dirs.acquire(d)
	if err != nil {
		w.problem(d.volume, d.pathOf(name), fmt.Errorf("delete: %w", err))
		return false
	}
	st, err := h.stat(name)
	if errors.Is(err, fs.ErrNotExist) {
		w.dirs.release(d)
		return true
	}
	if err == nil && w.isHome(st) {
		w.dirs.release(d)
		w.event(d, name, st.typ, Skipped, 0)
		return false
	}
	var child *dir
	selected := false
	if err == nil {
		n := st.node(name)
		selected = w.selected(d, n)
		if selected && !w.opts.DryRun {
			w.unlockDir(d, h)
		}
		if st.typ == snapshot.Directory {
			if selected || w.opts.Descend == nil || w.opts.Descend(d.volume.name, d.pathOf(name), n) {
				child, err = w.openExtra(d, h, st, n)
			}
		} else if selected && !w.opts.DryRun {
			err = h.unlink(name)
		}
	}
	w.dirs.release(d)
	if err == nil && st.typ == snapshot.Directory {
		if child == nil || !w.emptyExtra(child) || !selected {
			return false
		}
		if !w.opts.DryRun {
			err = w.removeDir(d, name)
		}
	}
	if err != nil {
		w.failed(d, name, st.typ, fmt.Errorf("delete: %w", err))
		return false
	}
	if selected {
		w.event(d, name, st.typ, Deleted, 0)
	}
	return selected
}

func (w *worker) openExtra(d *dir, h handle, st info, n *snapshot.Node) (*dir, error) {
	ch, now, err := h.openDir(n.Name)
	if err != nil {
		return nil, err
	}
	if !now.id.same(st.id) {
		ch.close()
		return nil, errMoved
	}
	if !now.id.sameDevice(d.had.id) {
		ch.close()
		return nil, errMount
	}
	c := newDir(d, n.Name, d.volume, n)
	c.had, c.ready, c.stamp = now, true, ch.object().stamp()
	w.dirs.add(c, ch)
	w.dirs.release(c)
	return c, nil
}

// emptyExtra removes what is in d; false if anything is left.
func (w *worker) emptyExtra(d *dir) bool {
	defer w.dirs.drop(d)
	h, err := w.dirs.acquire(d)
	if err != nil {
		w.problem(d.volume, d.pathOf(""), fmt.Errorf("delete: %w", err))
		return false
	}
	names, err := h.names()
	w.dirs.release(d)
	if err != nil {
		w.problem(d.volume, d.pathOf(""), fmt.Errorf("delete: %w", err))
		return false
	}
	slices.Sort(names)
	all := true
	for _, name := range names {
		if !w.deleteEntry(d, name) {
			all = false
		}
	}
	return all
}

func (w *worker) removeDir(d *dir, name string) error {
	h, err := w.dirs.acquire(d)
	if err != nil {
		return err
	}
	defer w.dirs.release(d)
	if err := h.rmdir(name); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// placeOf returns the path of d's entry below the target.
func (d *dir) placeOf(name string) string {
	parts := []string{name}
	for ; d != nil; d = d.parent {
		if d.name != "" && d.name != "." {
			parts = append(parts, d.name)
		}
	}
	slices.Reverse(parts)
	return strings.Join(parts, "/")
}
