package archive

import (
	"errors"
	"fmt"

	"vault/internal/sys"
	"vault/snapshot"
)

// keepOpen is how many directories on the way down to the one being scanned stay
// open, besides the root.
const keepOpen = 64

var errMoved = errors.New("directory was moved while it was read: the rest of it is missing")

// enter opens a directory and makes it the one being scanned. What cannot be
// entered is finished at once. The peek is one into it, or nil.
func (s *scan) enter(e *slot, p *peek) error {
	up, name := e.frame, e.node.Name
	p = s.enterPeek(up, p)
	if up.closed {
		e.node, e.done = nil, true
		return s.drain(up)
	}
	f := &frame{up: up, slot: e, name: name, depth: up.depth + 1}
	if up.way != nil {
		if b := up.way.child(name); !b.whole() {
			f.way = b
		}
	}
	if p != nil {
		return s.opened(e, p.fd, f, p)
	}
	fd, err := s.openFrame(up.dir.fd, f, s.mayHide(e.node.UID))
	switch {
	case err == nil:
		return s.opened(e, fd, f, nil)
	case vanished(err):
		s.notice(e.path(), noticeVanished)
		e.node = nil
	case errors.Is(err, sys.ELOOP), errors.Is(err, sys.ENOTDIR):
		s.problem(s.vol, e.path(), errReplaced)
		e.node = nil
	default:
		s.problem(s.vol, e.path(), fmt.Errorf("open directory: %w", err))
		if err := s.hollow(e); err != nil {
			return err
		}
	}
	e.done = true
	return s.drain(up)
}

// hollow makes e a directory without entries.
func (s *scan) hollow(e *slot) error {
	w := s.newWriter()
	id, err := w.Finish(s.ctx)
	if err != nil {
		return err
	}
	s.writers = append(s.writers, w)
	e.node.Tree = id
	s.compare(e)
	return nil
}

// opened begins the scan of an open directory. It takes over fd, and the peek that has
// opened it, if one did.
func (s *scan) opened(e *slot, fd int, f *frame, p *peek) error {
	f.dir = s.dirs.add(fd)
	var st stat
	var err error
	if p == nil {
		err = st.fstat(fd, &s.stat)
	} else {
		p.fd, st = -1, p.st
		f.at = append(f.at, p)
	}
	if err != nil {
		s.problem(s.vol, f.where(), fmt.Errorf("stat: %w", err))
	} else {
		dev := s.device(st.dev)
		st.fill(e.node, s.names)
		e.node.Device = dev.number
		f.dev, f.ino = st.dev, st.ino
		if err := s.attributes(e, f, &st, dev); err != nil {
			return err
		}
	}
	if f.base = e.node.Device; f.up != nil && f.up.way == nil {
		f.base = f.up.base
	}
	if s.o.Reader != nil && e.old != nil && e.old.Type == snapshot.Directory {
		f.old.top = e.old.Tree
		f.old.reader = snapshot.NewDirReader(s.ctx, s.o.Reader, e.old.Tree)
	}
	switch {
	case f.depth > snapshot.MaxDepth-2:
		s.problem(s.vol, f.where(), errors.New("directories are nested too deeply: this one is stored as empty"))
	case s.oneFS && f.way == nil && e.node.Device != f.base:
	default:
		if err := s.listDir(f, p); err != nil {
			s.problem(s.vol, f.where(), fmt.Errorf("list directory: %w", err))
		}
		for _, name := range f.list.bad {
			s.problem(s.vol, f.path(name), errors.New("name cannot be stored"))
		}
		if p != nil && p.chosen {
			f.patterns = p.patterns
		} else {
			s.choose(f)
		}
	}
	s.top = f
	s.park(f)
	return nil
}

// listDir lists a directory, or says what of it is listed by the user.
func (s *scan) listDir(f *frame, p *peek) error {
	if p != nil && p.listed {
		f.list, p.list = p.list, listing{}
		return nil
	}
	if k := len(s.lists); k > 0 {
		f.list, s.lists = s.lists[k-1], s.lists[:k-1]
	}
	if f.way != nil {
		return f.list.set(f.way.names)
	}
	return f.list.read(f.dir.fd, s.dirents)
}

// attributes sets the attributes and flags of a directory.
func (s *scan) attributes(e *slot, f *frame, st *stat, dev *device) error {
	n := e.node
	if e.old != nil && s.unchanged(st, dev, e.old) {
		ok, err := s.known(e.old)
		if err != nil {
			return err
		}
		if ok {
			n.Xattrs, n.Flags = e.old.Xattrs, e.old.Flags
			return nil
		}
	}
	target := attrTarget{fd: f.dir.fd}
	if f.bare {
		target = targetAt(f.dir.fd, ".")
	}
	if err := s.own.attrs.read(s.ctx, target, dev, n, &s.own.sink, s.o.Thresholds.InlineXattr); err != nil {
		if stops(err) {
			return err
		}
		if f.bare {
			s.notice(f.where(), err.Error()) // it was not asked for
		} else {
			s.problem(s.vol, f.where(), err)
		}
	}
	if !f.bare {
		n.Flags = flags(f.dir.fd, dev, snapshot.Directory)
	}
	return nil
}

// park closes the directory that is keepOpen levels above f.
func (s *scan) park(f *frame) {
	g := f
	for range keepOpen {
		if g = g.up; g == nil {
			return
		}
	}
	if g.up != nil && g.dir != nil {
		s.dirs.release(g.dir)
		g.dir = nil
	}
}

// leave ends the scan of a directory and goes back to the one above.
func (s *scan) leave(f *frame) error {
	s.dropLooks(f)
	more, err := f.old.rest()
	f.gap = f.gap || more || f.closed
	if err != nil {
		if err := s.lostParent(f, err); err != nil {
			return err
		}
	}
	f.old.reader, f.old.node = nil, nil
	up := f.up
	if up != nil && up.dir == nil && !up.closed {
		if up.dir = s.above(f, up); up.dir == nil {
			if up.dir, err = s.findDir(up); err != nil {
				up.closed = true
				s.problem(s.vol, up.where(), err)
			}
		}
	}
	if f.dir != nil && up != nil { // the root's is kept for findDir
		s.dirs.release(f.dir)
		f.dir = nil
	}
	if cap(f.list.text) <= 1<<20 && len(s.lists) < keepOpen {
		s.lists = append(s.lists, f.list)
	}
	f.list = listing{}
	f.scanned = true
	s.top = up
	return s.drain(f)
}

// above opens the directory above an open one, if it is still the one it was.
func (s *scan) above(f, up *frame) *dir {
	if f.dir == nil {
		return nil
	}
	fd, err := openat(f.dir.fd, "..", openDir, s.mayHide(up.slot.node.UID))
	if err != nil {
		return nil
	}
	if !s.is(fd, up) {
		sys.Close(fd)
		return nil
	}
	return s.dirs.add(fd)
}

func (s *scan) is(fd int, f *frame) bool {
	var st stat
	return st.fstat(fd, &s.stat) == nil && st.dev == f.dev && st.ino == f.ino
}

// findDir opens a directory again, from the nearest one above it that is open.
func (s *scan) findDir(f *frame) (*dir, error) {
	var down []*frame
	for f.dir == nil && f.up != nil {
		down = append(down, f)
		f = f.up
	}
	if f.dir == nil {
		return nil, errMoved
	}
	fd := f.dir.fd
	for i := len(down) - 1; i >= 0; i-- {
		next, err := s.openFrame(fd, down[i], s.mayHide(0))
		if fd != f.dir.fd {
			sys.Close(fd)
		}
		if err != nil || !s.is(next, down[i]) {
			if err == nil {
				sys.Close(next)
			}
			return nil, errMoved
		}
		fd = next
	}
	return s.dirs.add(fd), nil
}
