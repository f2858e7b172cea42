package archive

import (
	"bytes"
	"slices"

	"vault/crypto"
	"vault/snapshot"
)

// racySeconds is how long before its parent's scan a file must have changed last to
// be trusted. Part of docs/format.md's rules for writers.
const racySeconds = 2

// unchanged reports whether an entry is the parent's, so that what a stat does not
// tell can be taken over.
func (s *scan) unchanged(st *stat, dev *device, old *snapshot.Node) bool {
	return old.CTime == st.ctime && old.MTime == st.mtime && old.Inode == st.ino &&
		old.Type == st.kind() && old.Device == dev.number &&
		(old.Type != snapshot.File || old.Size == st.size) &&
		old.CTime.Compare(s.safe) <= 0
}

// take puts an unchanged entry into its directory. Its old node is the parent's
// reader's: it is copied only if it must wait.
func (s *scan) take(f *frame, st *stat, old *snapshot.Node) error {
	n := old
	if !s.current(st, old) {
		c := *old
		c.Major, c.Minor = 0, 0
		st.fill(&c, s.names)
		n = &c
	}
	e := &s.direct
	*e = slot{frame: f, node: n, old: old, status: Unmodified, done: true, same: s.parent.Trusted && n == old}
	if n != old {
		e.status = Changed
	}
	if n.Type == snapshot.File {
		s.looked.Add(n.Size)
	}
	e.gap, f.gap = f.gap, false
	if !f.waiting() {
		return s.place(f, e)
	}
	w := *e
	w.node = n.Clone()
	w.old = w.node
	s.pushDone(f, &w)
	s.hold(&w)
	return nil
}

// current reports whether the fields that a stat tells are those of old, which is
// unchanged in the others.
func (s *scan) current(st *stat, old *snapshot.Node) bool {
	if old.Mode != st.mode&0o7777 || old.UID != s.names.ids.user(st.uid) || old.GID != s.names.ids.group(st.gid) || old.Links != st.links() ||
		old.User != s.names.user(st.uid) || old.Group != s.names.group(st.gid) {
		return false
	}
	if old.Type != snapshot.CharDevice && old.Type != snapshot.BlockDevice {
		return true
	}
	var n snapshot.Node
	st.fill(&n, s.names)
	return n.Major == old.Major && n.Minor == old.Minor
}

// equal reports whether two nodes are the same in everything that is stored.
func equal(a, b *snapshot.Node) bool {
	return a.Name == b.Name && a.Type == b.Type && a.Mode == b.Mode && a.UID == b.UID && a.GID == b.GID &&
		a.User == b.User && a.Group == b.Group && a.MTime == b.MTime && a.CTime == b.CTime &&
		a.Inode == b.Inode && a.Device == b.Device && a.Links == b.Links && a.Flags == b.Flags &&
		a.Tree == b.Tree && a.Size == b.Size && a.Target == b.Target && a.Major == b.Major && a.Minor == b.Minor &&
		equalContent(&a.Content, &b.Content) &&
		slices.EqualFunc(a.Xattrs, b.Xattrs, func(x, y snapshot.Xattr) bool {
			return x.Name == y.Name && bytes.Equal(x.Value, y.Value) && x.Blob == y.Blob && x.Length == y.Length
		})
}

func equalContent(a, b *snapshot.Content) bool {
	return a.List == b.List && bytes.Equal(a.Inline, b.Inline) && slices.Equal(a.Items, b.Items)
}

// known reports whether everything that a node refers to is there, directories
// apart. A parent that is trusted is not asked.
func (s *scan) known(n *snapshot.Node) (bool, error) {
	if s.parent.Trusted {
		return true, nil
	}
	for ref := range snapshot.RefsOf(n) {
		if ref.Page == snapshot.DirLeaf {
			continue
		}
		if ok, err := s.knownRef(ref, 0); !ok || err != nil {
			return false, err
		}
	}
	return true, nil
}

// knownRef looks up a blob and, for a page of items, everything below it.
func (s *scan) knownRef(ref snapshot.Ref, depth int) (bool, error) {
	if !s.own.sink.store.Has(ref.Kind, ref.ID) {
		return false, nil
	}
	if ref.Kind != crypto.BlobTree {
		return true, nil
	}
	page, err := s.o.Reader.Get(s.ctx, crypto.BlobTree, ref.ID, nil)
	if cause := s.ctx.Err(); cause != nil {
		return false, cause
	}
	if err != nil || depth >= snapshot.MaxLevels {
		return false, nil // what cannot be read is read from the source
	}
	for below, err := range snapshot.Refs(page) {
		if err != nil {
			return false, nil
		}
		if ok, err := s.knownRef(below, depth+1); !ok || err != nil {
			return false, err
		}
	}
	return true, nil
}

// maxLinks bounds the files that are remembered because more links to them are to
// come.
const maxLinks = 1 << 17

// inode identifies a file of a source.
type inode struct{ dev, ino uint64 }

// A link is a file with several names.
type link struct {
	key     inode
	st      stat
	node    *snapshot.Node // as read; nil while it is being read
	seen    uint64         // names met
	waiting []waiter
}

// A waiter is a further name of a file that is being read.
type waiter struct {
	slot *slot
	st   stat
	dev  *device
	name string
}

// file stores a file that must be read, or that was read under another name.
func (s *scan) file(f *frame, name string, st *stat, dev *device, old *snapshot.Node) error {
	e := &slot{frame: f, node: s.node(name, st), old: s.keep(old)}
	s.push(f, e)
	t := task{slot: e, dir: f.dir, name: name, st: *st, dev: dev}
	if st.nlink < 2 {
		return s.read(t)
	}
	key := inode{st.dev, st.ino}
	l := s.links[key]
	switch {
	case l == nil && len(s.links) >= maxLinks:
	case l == nil:
		t.link = &link{key: key, seen: 1}
		s.links[key] = t.link
	case l.node == nil: // being read
		l.seen++
		l.waiting = append(l.waiting, waiter{slot: e, st: *st, dev: dev, name: name})
		return nil
	case l.st.same(st):
		l.seen++
		s.further(l, e)
		s.forget(l, st.nlink)
		return s.drain(f)
	default: // it changed since, or is another file by now
		*l = link{key: key, seen: 1}
		t.link = l
	}
	return s.read(t)
}

// forget drops a file of which all names were met.
func (s *scan) forget(l *link, names uint64) {
	if l.seen >= names {
		delete(s.links, l.key)
	}
}

// further makes an entry a further link to a file.
func (s *scan) further(l *link, e *slot) {
	name := e.node.Name
	*e.node = *l.node
	e.node.Name = name
	e.done, e.again = true, true
	s.hold(e)
	s.compare(e)
}

// resolve finishes the links that wait for a file that was read.
func (s *scan) resolve(t *task) error {
	l := t.link
	if l == nil {
		return nil
	}
	waiting := l.waiting
	l.waiting = nil
	if t.gone {
		delete(s.links, l.key)
	} else {
		l.st, l.node = t.st, t.node
		s.forget(l, t.st.nlink)
	}
	for _, w := range waiting {
		if !t.gone && l.st.same(&w.st) {
			s.further(l, w.slot)
			if err := s.drain(w.slot.frame); err != nil {
				return err
			}
			continue
		}
		if err := s.reread(w); err != nil {
			return err
		}
	}
	return nil
}

// reread has a further link read on its own, because the file changed meanwhile or
// its first name is gone. Its directory may be closed by now.
func (s *scan) reread(w waiter) error {
	e := w.slot
	d := e.frame.dir
	if d == nil {
		var err error
		if d, err = s.findDir(e.frame); err != nil {
			e.done = true
			s.problem(s.vol, e.path(), err)
			e.node = nil
			return s.drain(e.frame)
		}
		defer s.dirs.release(d)
	}
	d.refs++
	s.batch.add(task{slot: e, node: e.node, dir: d, fd: d.fd, name: w.name, st: w.st, dev: w.dev})
	return nil
}
