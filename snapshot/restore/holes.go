package restore

import (
	"bytes"
	"fmt"

	"vault/snapshot"
)

// stores reports whether an item becomes data of the file, rather than a hole.
func (w *worker) stores(it snapshot.Item) bool {
	return it.Kind == snapshot.ItemData || it.Kind == snapshot.ItemZero && !w.opts.Sparse
}

// setSize lengthens a file of end bytes. What the file system has reserved for
// appending (xfs does) would lie within the file then, in place of holes, so it is
// given back first. A file that has its size before its data has no such space.
func (w *worker) setSize(f file, end, size uint64) error {
	err := f.truncate(end)
	if err == nil {
		err = f.truncate(size)
	}
	if err != nil {
		return fmt.Errorf("set size: %w", err)
	}
	return nil
}

// preallocate reserves space for the runs of data.
func (w *worker) preallocate(f file, pieces []piece) error {
	for i := 0; i < len(pieces); {
		start, n := pieces[i].off, uint64(0)
		for ; i < len(pieces) && w.stores(pieces[i].item); i++ {
			n += pieces[i].item.Length
		}
		if n == 0 {
			i++
			continue
		}
		if err := f.allocate(start, n); err != nil {
			return err
		}
	}
	return nil
}

// zero handles holes and runs of zeros.
func (w *worker) zero(f file, p piece, how purpose) error {
	if how == opWrite {
		if !w.stores(p.item) {
			return nil
		}
		// A run can be as long as a file: a full disk is noticed first.
		if err := f.allocate(p.off, p.item.Length); err != nil {
			return fmt.Errorf("reserve space: %w", err)
		}
		return w.eachZero(p, func(off, n uint64) error { return w.writeZeros(f, off, n) })
	}
	// What looks like a hole may still be reserved space, so all of it is punched.
	if how == opUpdate && !w.stores(p.item) && f.punch(p.off, p.item.Length) == nil {
		return nil
	}
	switch hole := f.allHole(p.off, p.item.Length); {
	case hole && how == opVerify:
		w.verified.Add(p.item.Length)
		return nil
	case hole && !w.stores(p.item):
		return nil
	case hole:
		return w.zero(f, p, opWrite)
	}
	err := w.eachZero(p, func(off, n uint64) error {
		have, err := w.read(f, off, n)
		if err != nil || bytes.Equal(have, zeros[:n]) {
			return err
		}
		if how == opVerify {
			return fmt.Errorf("zeros at %d: %w", off, errDiffers)
		}
		for at := uint64(0); at < n; at += blockBytes {
			k := min(blockBytes, n-at)
			if bytes.Equal(have[at:at+k], zeros[:k]) {
				continue
			}
			if err := w.writeZeros(f, off+at, k); err != nil {
				return err
			}
		}
		return nil
	})
	if err == nil && how == opVerify {
		w.verified.Add(p.item.Length)
	}
	return err
}

// eachZero calls fn for parts of a run of zeros.
func (w *worker) eachZero(p piece, fn func(off, n uint64) error) error {
	for done := uint64(0); done < p.item.Length; {
		if err := w.ctx.Err(); err != nil {
			return err
		}
		n := min(p.item.Length-done, zeroBytes)
		if err := fn(p.off+done, n); err != nil {
			return err
		}
		done += n
	}
	return nil
}

func (w *worker) writeZeros(f file, off, n uint64) error {
	if err := f.writeAt(zeros[:n], off); err != nil {
		return fmt.Errorf("write zeros: %w", err)
	}
	w.written.Add(n)
	return nil
}
