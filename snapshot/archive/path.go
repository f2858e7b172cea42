package archive

import (
	"errors"
	"fmt"

	"vault/internal/sys"
	"vault/snapshot"
)

// path reads a volume of a path, or of what is listed below it.
func (r *run) path(root string, way *branch, v *Volume, vol *snapshot.Volume) error {
	if !scans {
		if way != nil {
			return fmt.Errorf("%w: a list of paths is not read %w", errOptions, errPortable)
		}
		return r.portable(root, v, vol)
	}
	parent := v.Parent
	if parent != nil && (parent.Root == nil || r.o.Reader == nil) {
		parent = nil
	}
	s := newScan(r, parent, vol)
	if x := v.Excludes; x != nil {
		s.excludes, s.patterns = x, x.set(root)
	}
	defer func() { r.excluded = s.leftOut }()
	var st stat
	if err := st.lstat(sys.AT_FDCWD, root, &s.stat); err != nil {
		r.problem(vol, ".", fmt.Errorf("stat %s: %w", root, err))
		return nil
	}
	if s.home.is(&st) {
		r.problem(vol, ".", errHome)
		return nil
	}
	e := &slot{node: s.node("", &st)}
	if parent != nil {
		e.old = parent.Root.Clone()
		e.old.Name = ""
	}
	s.root = e
	dev := s.device(st.dev)
	err := error(nil)
	switch e.node.Type {
	case snapshot.Directory:
		err = s.rootDir(e, root, way)
	case snapshot.File:
		err = s.rootFile(e, root, &st, dev)
	case snapshot.Socket, 0:
		r.problem(vol, ".", errors.New("neither a file nor a directory, nor anything else that can be stored"))
		e.node = nil
	default:
		if e.node.Type == snapshot.Symlink {
			r.notice(".", "the volume is a symbolic link and is stored as such; end the path with a slash to mean what it points to")
		}
		if err = s.other(nil, root, &st, dev, e.old); err != nil && !stops(err) {
			r.problem(vol, ".", fmt.Errorf("read link: %w", err))
			s.root.node, err = nil, nil
		}
	}
	if err != nil {
		return err
	}
	if s.root.node == nil || way != nil && s.found == 0 {
		return nil
	}
	s.count(s.root)
	vol.Root = s.root.node
	return nil
}

func (s *scan) rootDir(e *slot, path string, way *branch) error {
	f := &frame{slot: e, name: path, way: way}
	defer s.halt()
	fd, err := s.openFrame(sys.AT_FDCWD, f, s.mayHide(e.node.UID))
	if err != nil {
		s.problem(s.vol, ".", fmt.Errorf("open directory %s: %w", path, err))
		e.node = nil
		return nil
	}
	// The device of the root is what was opened.
	var st stat
	if err := st.fstat(fd, &s.stat); err == nil {
		clear(s.devices)
		s.device(st.dev)
	}
	if err := s.opened(e, fd, f, nil); err != nil {
		return err
	}
	if err := s.loop(); err != nil {
		return err
	}
	s.dirs.release(f.dir)
	return nil
}

func (s *scan) rootFile(e *slot, path string, st *stat, dev *device) error {
	if e.old != nil && s.unchanged(st, dev, e.old) {
		if ok, err := s.known(e.old); err != nil {
			return err
		} else if ok {
			n := *e.old
			st.fill(&n, s.names)
			e.node = &n
			s.looked.Add(n.Size)
			s.compare(e)
			return nil
		}
	}
	if err := s.read(task{slot: e, fd: sys.AT_FDCWD, name: path, st: *st, dev: dev}); err != nil {
		return err
	}
	return s.loop()
}
