package restore

import (
	"slices"
	"strings"

	"vault/snapshot"
)

// What a killed restore left is removed by a later one that completes the same
// directory. It must be proven that it was left: every restore holds a shared
// lock (flock) on each directory in which it may have a temporary name, and the
// kernel drops the locks of those that died. So where an exclusive lock can be
// had, nobody is at work. File systems without such locks keep what is left;
// Delete removes it there.

// maxLeftovers is how many of them are removed in one directory and run.
const maxLeftovers = 10000

// isTemporary reports whether a name is one that tempName or partialName gives.
func isTemporary(name string) bool {
	digits, ok := strings.CutPrefix(name, tempPrefix)
	return ok && (len(digits) == 16 || len(digits) == 24) && strings.Trim(digits, "0123456789abcdef") == ""
}

// noteLeftovers takes note of temporary names in a directory that existed. Those
// that the backup has as well are taken off the list by the walker.
func (d *dir) noteLeftovers(h handle) {
	h.eachName(func(name string) { // what cannot be listed stays
		if isTemporary(name) && len(d.leftovers) < maxLeftovers {
			if d.leftovers == nil {
				d.leftovers = map[string]struct{}{}
			}
			d.leftovers[name] = struct{}{}
		}
	})
}

// withLeftovers restores the single entry of d called name, which restore does, and
// removes leftovers.
func (w *worker) withLeftovers(d *dir, name string, restore func()) {
	if d.absent || d.made {
		restore()
		return
	}
	h, err := w.dirs.acquire(d)
	if err != nil {
		w.failed(d, name, snapshot.Directory, err)
		return
	}
	defer w.dirs.release(d)
	d.noteLeftovers(h)
	restore()
	delete(d.leftovers, name)
	w.removeLeftovers(d, h)
}

// removeLeftovers removes what d had from the beginning and nobody is at work on.
// All of this run's own work in d is done.
func (w *worker) removeLeftovers(d *dir, h handle) {
	if len(d.leftovers) == 0 || d.holey || w.cancelled() {
		return
	}
	if !w.opts.DryRun {
		defer h.lockShared() // an attempt at the other gives it up
		if !h.lockAlone() {
			return
		}
	}
	names := make([]string, 0, len(d.leftovers))
	for name := range d.leftovers {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		st, err := h.stat(name)
		if err != nil || st.typ == snapshot.Directory || st.uid != w.uid && w.uid != 0 {
			continue
		}
		if w.opts.DryRun || h.unlink(name) == nil {
			w.event(d, name, st.typ, Deleted, 0)
		}
	}
}
