package archive

import (
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"

	"vault/internal/sys"
	"vault/snapshot"
)

// List is a Source of paths that somebody has listed: a tree that begins at Base and
// has nothing but these, with everything below those
// that are directories, and the directories on the way to them. So it is restored
// as it lies, below any target, and the next list is compared with it. Base is the
// root of the file system, if nothing else is given.
//
// A directory on the way need not be readable. If it is a symbolic link it is
// followed, and stored as the directory that it leads to. Its own ignore files and
// markers do not count. A path that does not exist is a problem; if none does the
// volume fails.
type List struct {
	Base  string   // absolute; "" for "/"
	Paths []string // absolute, Base or below it; sorted or not
}

// base returns where the tree begins, clean.
func (l List) base() string {
	if l.Base == "" {
		return "/"
	}
	return path.Clean(l.Base)
}

// Describe implements Source.
func (l List) Describe() (snapshot.VolumeKind, string) { return snapshot.VolumePath, l.base() }

// A branch is the listed paths that begin with one directory.
type branch struct {
	paths []string // clean, in the order of ComparePaths
	at    int      // where what follows the directory begins in each
}

// newBranch returns the branch of a directory. Paths is not kept.
func newBranch(base string, paths []string) (*branch, error) {
	b := &branch{paths: make([]string, len(paths)), at: len(base) + 1}
	if base == "/" {
		b.at = 1
	}
	for i, p := range paths {
		if !path.IsAbs(p) || strings.IndexByte(p, 0) >= 0 {
			return nil, fmt.Errorf("%w: the listed path %q is not absolute, or has a NUL byte", errOptions, p)
		}
		b.paths[i] = path.Clean(p)
		if base != "/" && b.paths[i] != base && !strings.HasPrefix(b.paths[i], base+"/") {
			return nil, fmt.Errorf("%w: the listed path %q is not below %q", errOptions, p, base)
		}
	}
	slices.SortFunc(b.paths, ComparePaths)
	b.paths = slices.Compact(b.paths)
	return b, nil
}

// ComparePaths orders paths by their components, so that what is below a
// directory lies together right after it.
func ComparePaths(a, b string) int {
	n := min(len(a), len(b))
	for i := range n {
		if a[i] != b[i] {
			switch {
			case a[i] == '/':
				return -1
			case b[i] == '/':
				return 1
			}
			return int(a[i]) - int(b[i])
		}
	}
	return len(a) - len(b)
}

// whole reports whether the directory itself is listed.
func (b *branch) whole() bool { return len(b.paths[0]) <= b.at }

// below reports whether anything in it is.
func (b *branch) below() bool { return len(b.paths) > 1 || !b.whole() }

// component returns the name in the directory on the way to path i.
func (b *branch) component(i int) string {
	name, _, _ := strings.Cut(b.paths[i][min(b.at, len(b.paths[i])):], "/")
	return name
}

// names yields the names in the directory, in order, each once.
func (b *branch) names(yield func(string) bool) {
	last := ""
	for i := range b.paths {
		if name := b.component(i); name != last {
			if last = name; !yield(name) {
				return
			}
		}
	}
}

// child returns the branch of a name that there is.
func (b *branch) child(name string) *branch {
	find := func(beyond int) int {
		lo, hi := 0, len(b.paths)
		for lo < hi {
			if mid := (lo + hi) / 2; strings.Compare(b.component(mid), name) < beyond {
				lo = mid + 1
			} else {
				hi = mid
			}
		}
		return lo
	}
	return &branch{paths: b.paths[find(0):find(1)], at: b.at + len(name) + 1}
}

// list reads a volume of listed paths.
func (r *run) list(src List, v *Volume, vol *snapshot.Volume) error {
	if len(src.Paths) == 0 {
		r.problem(vol, ".", errors.New("no path is listed"))
		return nil
	}
	base := src.base()
	if !path.IsAbs(base) {
		return fmt.Errorf("%w: the base %q of a list is not absolute", errOptions, src.Base)
	}
	b, err := newBranch(base, src.Paths)
	if err != nil {
		return err
	}
	if b.whole() {
		return r.path(base, nil, v, vol)
	}
	return r.path(base, b, v, vol)
}

var (
	errNotThere     = errors.New("listed, but there is no such file or directory")
	errNotDirectory = errors.New("paths below it are listed, but it is not a directory")
)

// look takes the stat of an entry of a directory on the way to listed paths.
func (s *scan) look(f *frame, name string, st *stat) error {
	b := f.way.child(name)
	err := st.lstat(f.dir.fd, name, &s.stat)
	if err == nil && !b.whole() && st.kind() == snapshot.Symlink {
		err = st.follow(f.dir.fd, name, &s.stat)
	}
	switch {
	case vanished(err):
		return errNotThere
	case err != nil:
		return fmt.Errorf("stat: %w", err)
	case st.kind() != snapshot.Directory && b.below():
		if !b.whole() {
			return errNotDirectory
		}
		s.problem(s.vol, f.path(name), errNotDirectory)
	}
	if b.whole() {
		s.found++
	}
	return nil
}

// openFrame opens the directory of a frame in the one above it.
func (s *scan) openFrame(up int, f *frame, noatime bool) (int, error) {
	if f.way == nil {
		return openat(up, f.name, openDir, noatime)
	}
	fd, err := openat(up, f.name, openDir&^sys.O_NOFOLLOW, noatime)
	if errors.Is(err, sys.EACCES) {
		f.bare = true
		return openat(up, f.name, sys.O_PATH|sys.O_DIRECTORY|sys.O_CLOEXEC, false)
	}
	return fd, err
}
