package restore

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"

	"vault/snapshot"
)

// tempPrefix begins the names of files that are not yet complete.
const tempPrefix = ".vault-restore-"

// outcome says which inode an entry has now.
type outcome struct {
	id    identity
	stamp string // of inodes made in this run
	known bool   // id is set
	made  bool   // this run made the inode
}

// entry restores one entry that is not a directory, and reports.
func (w *worker) entry(d *dir, n *snapshot.Node) {
	if w.cancelled() {
		return
	}
	var err error
	switch {
	case n.Type == snapshot.Socket:
		w.event(d, n.Name, n.Type, Skipped, 0)
	case w.opts.DryRun:
		_, err = w.place(d, n, keepGood)
	case n.Links >= 2:
		err = w.linked(d, n)
	case w.affords(d, n):
		_, err = w.place(d, n, keepGood)
	}
	if err != nil {
		w.failed(d, n.Name, n.Type, err)
	}
}

// affords counts a file's content. If it is too much, everything stops.
func (w *worker) affords(d *dir, n *snapshot.Node) bool {
	err := d.volume.size.content(n)
	if err != nil {
		w.stop(err)
	}
	return err == nil
}

// demand says whether what exists may stay.
type demand uint8

const (
	keepGood demand = iota // as the policy says
	renew                  // it is replaced, unless the policy leaves it alone
)

// place restores one entry under its name.
func (w *worker) place(d *dir, n *snapshot.Node, need demand) (outcome, error) {
	if err := checkName(n.Name); err != nil {
		return outcome{}, err
	}
	if d.absent {
		w.event(d, n.Name, n.Type, Created, n.Size)
		return outcome{}, nil
	}
	h, err := w.dirs.acquire(d)
	if err != nil {
		return outcome{}, fmt.Errorf("open parent: %w", err)
	}
	defer w.dirs.release(d)
	if d.made {
		return w.create(d, h, n, Created)
	}
	o, st, err := h.openPath(n.Name)
	if errors.Is(err, fs.ErrNotExist) {
		if w.opts.DryRun {
			w.event(d, n.Name, n.Type, Created, n.Size)
			return outcome{}, nil
		}
		return w.create(d, h, n, Created)
	}
	if err != nil {
		return outcome{}, fmt.Errorf("look up: %w", err)
	}
	defer o.close()
	return w.existing(d, h, n, o, st, need)
}

// existing restores an entry where o is.
func (w *worker) existing(d *dir, h handle, n *snapshot.Node, o object, st info, need demand) (outcome, error) {
	same := w.same(n, o, st)
	switch p := w.opts.Overwrite; {
	case p == Never, p == IfNewer && st.mtime.Compare(n.MTime) >= 0:
		w.event(d, n.Name, n.Type, Skipped, 0)
		return outcome{}, nil
	case same && need == keepGood && (p == IfChanged || n.Type != snapshot.File):
		if done, err := w.keep(d, h, n, o, st); done || err != nil {
			return outcome{id: st.id, known: true}, err
		}
	}
	if w.opts.DryRun {
		verb := Replaced
		if need == keepGood && w.updatable(n, st) {
			verb = Updated
		}
		w.event(d, n.Name, n.Type, verb, n.Size)
		return outcome{}, nil
	}
	w.unlockFile(h, n, st)
	if need == keepGood && w.updatable(n, st) {
		err := w.update(d, h, n, st)
		if err != errNotInPlace {
			return outcome{id: st.id, known: true}, err
		}
	}
	if st.typ == snapshot.Directory {
		w.unlockDir(d, h)
		if err := w.clearDir(d, h, n.Name); err != nil {
			return outcome{}, err
		}
	}
	return w.create(d, h, n, Replaced)
}

// same reports whether the content of what is there is taken for that of n.
func (w *worker) same(n *snapshot.Node, o object, st info) bool {
	if st.typ != n.Type {
		return false
	}
	switch n.Type {
	case snapshot.File:
		return st.size == n.Size && st.mtime == n.MTime
	case snapshot.Symlink:
		target, err := o.readLink()
		return err == nil && target == n.Target
	}
	return st.major == n.Major && st.minor == n.Minor
}

// trusted reports whether an existing inode may be written to: no other name
// leads to it, and nobody who should not own it can hold it open.
func (w *worker) trusted(n *snapshot.Node, st info) bool {
	uid, _ := w.owners.of(n)
	return st.links == 1 && (st.uid == w.uid || st.uid == uid)
}

// keep leaves the content alone and corrects metadata. It is false if the entry
// has to be replaced after all.
func (w *worker) keep(d *dir, h handle, n *snapshot.Node, o object, st info) (bool, error) {
	var verified uint64
	if w.opts.Verify && n.Type == snapshot.File && n.Size > 0 && !w.opts.DryRun {
		f, now, err := h.openFile(n.Name, readOnly)
		if err != nil || !now.id.same(st.id) {
			if err == nil {
				f.close()
			}
			return false, nil
		}
		err = w.transfer(f, d, n, opVerify)
		f.close()
		if errors.Is(err, errDiffers) {
			return false, nil
		}
		if err != nil {
			return false, err
		}
		verified = n.Size
	}
	m := metadata{dir: d, name: n.Name, node: n, have: st, list: true, check: true}
	trusted := w.trusted(n, st)
	changed := false
	if w.opts.DryRun || !trusted {
		changed = w.setMeta(o, m)
		if changed && !trusted {
			return false, nil
		}
	} else {
		if n.Flags&flagsLocking != 0 && w.setMeta(o, m) {
			w.unlockFile(h, n, st)
		}
		m.check = false
		changed = w.setMeta(o, m)
		if n.Flags&flagsSettable != 0 && n.Type == snapshot.File {
			if f, now, err := h.openFile(n.Name, readOnly); err == nil {
				if now.id.same(st.id) && w.setFlags(f.object(), d, n.Name, n.Flags) {
					changed = true
				}
				f.close()
			}
		}
	}
	verb := Unchanged
	if changed {
		verb = Corrected
	}
	w.kept.Add(verified)
	w.event(d, n.Name, n.Type, verb, n.Size)
	return true, nil
}

// create makes a new inode with n's content and metadata and gives it n's name.
func (w *worker) create(d *dir, h handle, n *snapshot.Node, verb Verb) (outcome, error) {
	name := n.Name
	if !d.made {
		name = tempName()
		w.unlockDir(d, h)
	}
	if n.Type == snapshot.File {
		return w.createFile(d, h, n, name, verb)
	}
	var err error
	if n.Type == snapshot.Symlink {
		err = h.symlink(n.Target, name)
	} else {
		err = h.mknod(name, n)
	}
	if err != nil {
		return outcome{}, fmt.Errorf("make %v: %w", n.Type, duplicate(d, err))
	}
	m := metadata{dir: d, name: n.Name, node: n, list: !d.made}
	o := h.named(name)
	if !d.made || n.Type != snapshot.Symlink || n.Links >= 2 || d.had.gid != w.gid {
		p, st, err := h.openPath(name)
		if err == nil && st.typ != n.Type {
			p.close()
			err = errMoved
		}
		if err != nil {
			return outcome{}, fmt.Errorf("open new %v: %w", n.Type, err)
		}
		defer p.close()
		o, m.have = p, st
	} else {
		m.have = info{uid: w.uid, gid: w.gid}
	}
	m.fresh = true
	w.setMeta(o, m)
	if err := w.publish(d, h, name, n.Name, verb); err != nil {
		return outcome{}, err
	}
	w.event(d, n.Name, n.Type, verb, 0)
	return made(n, m.have.id, o), nil
}

// createFile is create for regular files.
func (w *worker) createFile(d *dir, h handle, n *snapshot.Node, name string, verb Verb) (outcome, error) {
	f, name, how, err := w.newFile(d, h, n, name)
	if err != nil {
		return outcome{}, fmt.Errorf("make file: %w", duplicate(d, err))
	}
	defer f.close()
	m := metadata{dir: d, name: n.Name, node: n, list: !d.made, fresh: true, have: info{uid: w.uid, gid: w.gid}}
	if !d.made || d.had.gid != w.gid || n.Links >= 2 {
		m.have, err = f.stat()
	}
	if err == nil && d.inherits {
		// While the file is empty: btrfs marks a file that it was to compress and could
		// not, at any time after something was written.
		f.object().setFlags(0, flagsSettable&^flagsLocking&^n.Flags)
	}
	if err == nil {
		err = w.write(f, d, n, how)
	}
	if err == nil {
		w.setMeta(f.object(), m)
		err = w.publish(d, h, name, n.Name, verb)
	} else if n.Size < largeFile || !w.cancelled() {
		h.unlink(name)
	}
	if err != nil {
		return outcome{}, err
	}
	w.fileFlags(f, d, n)
	w.event(d, n.Name, n.Type, verb, untold(n))
	return made(n, m.have.id, f.object()), nil
}

// newFile makes the file for n's content. A large one that an earlier run has
// begun, in a directory of others, is taken up: its temporary name tells. It is
// as trustworthy as a file that is updated in place; see trusted.
func (w *worker) newFile(d *dir, h handle, n *snapshot.Node, name string) (f file, as string, how purpose, err error) {
	if d.made || n.Size < largeFile {
		f, err = h.create(name)
		return f, name, opWrite, err
	}
	partial := partialName(n)
	if f, err = h.create(partial); !errors.Is(err, fs.ErrExist) {
		return f, partial, opWrite, err
	}
	f, st, err := h.openFile(partial, readWrite)
	if err == nil {
		if st.links == 1 && st.uid == w.uid && st.mode == 0o600 && f.truncate(n.Size) == nil {
			return f, partial, opUpdate, nil
		}
		f.close()
	}
	f, err = h.create(name)
	return f, name, opWrite, err
}

// made is the outcome of making an inode, which matters if it gets more names.
func made(n *snapshot.Node, id identity, o object) outcome {
	if n.Links < 2 {
		return outcome{made: true}
	}
	return outcome{id: id, stamp: o.stamp(), known: true, made: true}
}

// publish gives what is complete its final name.
func (w *worker) publish(d *dir, h handle, name, final string, verb Verb) error {
	err := w.ctx.Err()
	if err == nil {
		if name == final {
			return nil
		}
		if verb == Created {
			err = h.renameNew(name, final)
		} else {
			err = h.rename(name, final)
		}
	}
	if err != nil {
		h.unlink(name)
		if errors.Is(err, context.Canceled) {
			return err
		}
		return fmt.Errorf("rename to the final name: %w", err)
	}
	return nil
}

// clearDir removes a directory that is in the way of something else.
func (w *worker) clearDir(d *dir, h handle, name string) error {
	err := h.rmdir(name)
	if err == nil || errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if isNotEmpty(err) && w.opts.Delete {
		w.deleteEntry(d, name)
		err = h.rmdir(name)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("a directory is in the way: %w", err)
	}
	return nil
}

// duplicate explains that a name exists where only this run makes names.
func duplicate(d *dir, err error) error {
	if d.made && errors.Is(err, fs.ErrExist) {
		return errDuplicate
	}
	return err
}

// partialName is the temporary name of a large file, the same in every run.
func partialName(n *snapshot.Node) string {
	content := contentDigest(n)
	sum := sha256.Sum256(append(content[:], n.Name...))
	return tempPrefix + hex.EncodeToString(sum[:12])
}

func tempName() string {
	var b [8]byte
	rand.Read(b[:]) // never fails
	return tempPrefix + hex.EncodeToString(b[:])
}
