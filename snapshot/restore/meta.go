package restore

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"vault/crypto"
	"vault/snapshot"
)

// metadata is what one object is to get.
type metadata struct {
	dir   *dir
	name  string // of the entry, or empty for the directory itself; for reports
	node  *snapshot.Node
	have  info // what the object has
	list  bool // it may have attributes that are not ours
	fresh bool // it was just made: have has no mode and no time
	check bool // only find out whether something would change
}

// setMeta gives an object owner, attributes, mode and time, in this order: a
// change of owner takes setuid bits and capabilities away, an ACL changes the
// mode. What cannot be set is reported, and is not an error. It returns whether
// anything changed.
func (w *worker) setMeta(o object, m metadata) (changed bool) {
	n := m.node
	own := w.setOwner(o, m)
	attrs := w.setXattrs(o, m, own)
	changed = own.changed || attrs.changed
	if n.Type != snapshot.Symlink {
		mode := n.Mode
		if !own.user {
			mode &^= 0o4000
		}
		if !own.group {
			mode &^= 0o2000
		}
		if attrs.lostACL {
			mode = mode&^0o070 | attrs.groupBits<<3
		}
		differs := m.fresh || m.have.mode != mode
		changed = changed || differs
		if !m.check && (differs || own.changed || attrs.changed) {
			if err := o.chmod(mode); err != nil {
				w.unset(m, "mode", err)
			}
		}
	}
	if m.fresh || m.have.mtime != n.MTime {
		changed = true
		if !m.check {
			if err := o.setTime(n.MTime); err != nil {
				w.unset(m, "time of modification", err)
			}
		}
	}
	return changed
}

// unset reports metadata that was not set: a notice if this user may not or
// this file system cannot, else a problem.
func (w *worker) unset(m metadata, what string, err error) {
	if m.check {
		return
	}
	if isDenied(err) {
		w.notice(m.dir, m.name, what, err)
		return
	}
	w.problem(m.dir.volume, m.dir.pathOf(m.name), fmt.Errorf("set %s: %w", what, err))
}

// ownership says how far an object has the owner it should have.
type ownership struct{ user, group, changed bool }

func (w *worker) setOwner(o object, m metadata) ownership {
	uid, gid := w.owners.of(m.node)
	own := ownership{user: m.have.uid == uid, group: m.have.gid == gid}
	if own.user && own.group {
		return own
	}
	if m.check {
		own.changed = w.uid == 0 || own.user && slices.Contains(w.groups, int(gid))
		return own
	}
	if own.user || !w.chownFails.Load() {
		err := o.chown(int(uid), int(gid))
		if err == nil {
			return ownership{user: true, group: true, changed: true}
		}
		if w.uid != 0 && errors.Is(err, fs.ErrPermission) && !own.user {
			w.chownFails.Store(true)
		}
		if !own.user {
			w.unset(m, fmt.Sprintf("owner %d", uid), err)
		}
	} else {
		w.unset(m, fmt.Sprintf("owner %d", uid), fs.ErrPermission)
	}
	if !own.group {
		if err := o.chown(-1, int(gid)); err == nil {
			own.group, own.changed = true, true
		} else {
			w.unset(m, fmt.Sprintf("group %d", gid), err)
		}
	}
	return own
}

// attributes says what became of the extended attributes.
type attributes struct {
	changed   bool
	lostACL   bool   // there is an ACL that could not be set
	groupBits uint32 // what the owning group may do by it, 0 to 7
}

const (
	aclAccess  = "system.posix_acl_access"
	aclDefault = "system.posix_acl_default"
	capability = "security.capability"
	xfsACL     = "trusted.SGI_ACL_" // begins the names of the same ACLs in the form of XFS
)

func (w *worker) setXattrs(o object, m metadata, own ownership) (a attributes) {
	var have []string
	if m.list {
		var err error
		if have, err = o.xattrs(); err != nil && !isUnknown(err) {
			w.unset(m, "extended attributes", err)
		}
	}
	want := m.node.Xattrs
	if len(have) == 0 && len(want) == 0 {
		return a
	}
	for _, name := range have {
		if !w.managed(name) || slices.ContainsFunc(want, func(x snapshot.Xattr) bool { return x.Name == name }) {
			continue
		}
		a.changed = true
		if !m.check {
			if err := o.removeXattr(name); err != nil && !isMissingAttr(err) {
				w.unset(m, "removal of extended attribute "+name, err)
			}
		}
	}
	for i := range want {
		x := &want[i]
		if w.opts.Xattr != nil && !w.opts.Xattr(x.Name) || strings.HasPrefix(x.Name, xfsACL) {
			continue
		}
		value, err := w.xattrValue(x)
		if err != nil {
			w.unset(m, "extended attribute "+x.Name, err)
			continue
		}
		if x.Name == aclAccess || x.Name == aclDefault {
			value = w.mapACL(value, m)
		}
		if slices.Contains(have, x.Name) {
			if now, err := o.xattr(x.Name); err == nil && bytes.Equal(now, value) {
				continue
			}
		}
		if x.Name == capability && !own.user {
			w.unset(m, "file capabilities, as the owner is not the right one", fs.ErrPermission)
			continue
		}
		if m.check {
			a.changed = true
			continue
		}
		if err := o.setXattr(x.Name, value); err != nil {
			if x.Name == aclAccess {
				a.lostACL, a.groupBits = true, groupRights(value)
			}
			w.unset(m, "extended attribute "+x.Name, err)
			continue
		}
		a.changed = true
	}
	return a
}

// managed reports whether an attribute that the backup does not have is to go.
// Labels that the system itself puts on files stay.
func (w *worker) managed(name string) bool {
	switch {
	case w.opts.Xattr != nil && !w.opts.Xattr(name):
		return false
	case name == aclAccess, name == aclDefault, name == capability:
		return true
	}
	return strings.HasPrefix(name, "user.") || w.uid == 0 && strings.HasPrefix(name, "trusted.") && !strings.HasPrefix(name, xfsACL)
}

func (w *worker) xattrValue(x *snapshot.Xattr) ([]byte, error) {
	if x.Length == 0 {
		return x.Value, nil
	}
	if x.Length > maxXattrValue {
		return nil, fmt.Errorf("value of %d bytes, limit %d", x.Length, maxXattrValue)
	}
	return w.get(crypto.BlobData, x.Blob, x.Length)
}

// setFlags sets inode flags, after everything else.
func (w *worker) setFlags(o object, d *dir, name string, flags uint32) bool {
	want := flags & flagsSettable
	if want == 0 || w.opts.DryRun {
		return false
	}
	changed, err := o.setFlags(want, want)
	if err != nil {
		w.unset(metadata{dir: d, name: name}, fmt.Sprintf("inode flags %#x", want), err)
		return false
	}
	return changed
}

// unlockDir takes from an existing directory the flags that keep its entries
// from being changed, if the backup has them too: then they are no objection to
// this restore. The directory gets them back when it is finished.
func (w *worker) unlockDir(d *dir, h handle) {
	if d.made || d.node == nil || d.node.Flags&flagsLocking == 0 || d.unlocked.Swap(true) {
		return
	}
	h.object().setFlags(0, d.node.Flags&flagsLocking)
}

// unlockFile is unlockDir for a file that is to be replaced, updated or
// corrected.
func (w *worker) unlockFile(h handle, n *snapshot.Node, st info) {
	if n.Type != snapshot.File || st.typ != snapshot.File || n.Flags&flagsLocking == 0 {
		return
	}
	f, now, err := h.openFile(n.Name, readOnly)
	if err != nil {
		return
	}
	defer f.close()
	if now.id.same(st.id) {
		f.object().setFlags(0, n.Flags&flagsLocking)
	}
}
