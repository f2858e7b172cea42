package archive

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"

	"vault/internal/match"
	"vault/internal/sys"
	"vault/snapshot"
)

// Excludes say what of a volume of paths is left out. The root of the volume is
// stored whatever they say, and so are marker files, which keep telling their
// story when they are restored. It is decided for every entry anew, whatever the
// parent holds: changed excludes take effect everywhere at once. Excludes are not
// changed, and may serve several volumes.
type Excludes struct {
	// Patterns, as in match.Set, whose base is the root of the volume. Those that
	// match a name whatever it is are applied before the entry is looked at, so that
	// what they match cannot fail or hang.
	Files, Command []*match.List

	// IgnoreFiles are names of files that hold patterns of the gitignore dialect for
	// the directory in which they lie, and everything below it. Of two that lie in
	// one directory, that of the later name is the stronger.
	IgnoreFiles []string

	// Markers make a directory that has one of them empty but for it.
	Markers []match.Marker

	LargerThan uint64 // bytes from which on, exclusively, a file is left out; 0 is no limit
}

// maxIgnoreFile bounds the ignore file of a directory. Git's own limit is 100 MB.
const maxIgnoreFile = 1 << 20

// set returns the patterns for a volume whose root has a path.
func (x *Excludes) set(root string) match.Set {
	s := match.Set{Files: x.Files, Command: x.Command}
	if filepath.IsAbs(root) {
		s.Path = root
	}
	return s
}

// unseen reports whether an entry is left out by its name, whatever it is.
func unseen(patterns *match.Dir, name string) bool {
	if d, _ := patterns.Match(name, match.File); d != match.Ignore {
		return false
	}
	d, _ := patterns.Match(name, match.Directory)
	return d == match.Ignore
}

// excluded reports whether an entry is left out that is not unseen.
func (s *scan) excluded(f *frame, name string, st *stat, kind snapshot.Type) bool {
	if f.patterns != nil {
		as := match.File
		if kind == snapshot.Directory {
			as = match.Directory
		}
		if d, _ := f.patterns.Match(name, as); d == match.Ignore {
			return true
		}
		if limit := s.excludes.LargerThan; limit > 0 && kind == snapshot.File && st.size > limit {
			return true
		}
	}
	return s.o.Select != nil && kind != 0 && !s.o.Select(f.path(name), s.node(name, st))
}

// exclude counts an entry that is left out. What lies in it is not looked at.
func (s *scan) exclude(f *frame, name string, old *snapshot.Node) {
	f.gap = f.gap || old != nil
	s.leftOut++
	if f.way != nil {
		s.found++
		s.notice(f.path(name), "it is excluded, though it or something below it is listed")
	}
	if s.seen.items {
		s.seen.emit(Event{Kind: EventExcluded, Path: f.path(name)})
	}
}

// choose sets what of a listed directory is left out.
func (s *scan) choose(f *frame) {
	if s.excludes == nil {
		return
	}
	s.mark(f)
	var ignore []*match.List
	for _, name := range s.excludes.IgnoreFiles {
		if l := s.ignoreFile(f, name); l != nil {
			ignore = append(ignore, l)
		}
	}
	if f.up == nil {
		f.patterns = s.patterns.Root(ignore...)
	} else {
		f.patterns = f.up.patterns.Enter(f.name, ignore...)
	}
}

// mark drops everything but the markers from the listing of a directory that has
// any.
func (s *scan) mark(f *frame) {
	if f.way != nil {
		return // not this directory is asked for, but what is below it
	}
	var markers []string
	for _, m := range s.excludes.Markers {
		if f.list.has(m.Name) && s.marks(f, m) {
			markers = append(markers, m.Name)
		}
	}
	if len(markers) == 0 {
		return
	}
	s.leftOut += uint64(f.list.keep(func(name string) bool {
		kept := slices.Contains(markers, name)
		if !kept && s.seen.items {
			s.seen.emit(Event{Kind: EventExcluded, Path: f.path(name)})
		}
		return kept
	}))
}

func (s *scan) marks(f *frame, m match.Marker) bool {
	n, needed := m.NeedsContent()
	if !needed {
		return true
	}
	head, err := s.head(f, m.Name, n)
	if err != nil && !vanished(err) && !errors.Is(err, errNotRegular) {
		s.notice(f.path(m.Name), fmt.Sprintf("the directory may be excluded by this file, but it cannot be read: %v", err))
	}
	return err == nil && m.Marks(head)
}

// ignoreFile reads an ignore file of a directory, if it has one that can be read.
func (s *scan) ignoreFile(f *frame, name string) *match.List {
	if f.way != nil || !f.list.has(name) {
		return nil
	}
	data, err := s.head(f, name, maxIgnoreFile+1)
	if err == nil && len(data) > maxIgnoreFile {
		err = fmt.Errorf("it is larger than %d bytes", maxIgnoreFile)
	}
	var l *match.List
	if err == nil {
		l, err = match.ParseFile(match.Gitignore, data, match.Options{Source: f.path(name)})
	}
	if err != nil && !vanished(err) {
		s.notice(f.path(name), fmt.Sprintf("the ignore file is not used, nothing is excluded by it: %v", err))
		return nil
	}
	return l
}

var errNotRegular = errors.New("not a regular file")

// head returns the first n bytes of a regular file in the directory f, fewer if it
// has fewer. Nothing else is opened: some devices notice.
func (s *scan) head(f *frame, name string, n int) ([]byte, error) {
	var st stat
	if err := st.lstat(f.dir.fd, name, &s.stat); err != nil {
		return nil, err
	}
	if st.kind() != snapshot.File {
		return nil, errNotRegular
	}
	fd, err := openat(f.dir.fd, name, openFile, s.mayHide(st.uid))
	if err != nil {
		return nil, err
	}
	defer sys.Close(fd)
	if err := st.fstat(fd, &s.stat); err != nil {
		return nil, err
	}
	if st.kind() != snapshot.File {
		return nil, errNotRegular
	}
	b := make([]byte, 0, min(uint64(n), st.size+1))
	for len(b) < n {
		if len(b) == cap(b) {
			b = slices.Grow(b, min(n-len(b), len(b)+512))
		}
		k, err := sys.Read(fd, b[len(b):min(cap(b), n)])
		switch {
		case err == sys.EINTR:
		case err != nil:
			return nil, err
		case k <= 0:
			return b, nil
		default:
			b = b[:len(b)+k]
		}
	}
	return b, nil
}
