package fidelity

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// Extent is a range of a file.
type Extent struct{ Off, Len int64 }

// Entry is everything about one entry of a tree that two trees can share.
type Entry struct {
	Type     uint32 // S_IFMT
	Mode     uint32 // 07777
	UID, GID uint32
	Size     int64 // of files
	MTime    unix.Timespec
	Rdev     uint64 // of devices
	Target   string // of symlinks
	Links    uint64 // of what is no directory
	First    string // the first path of the same inode, if it has several
	Flags    uint32 // those of Flags
	Xattrs   map[string]string
	Content  [sha256.Size]byte // of files
	Holes    []Extent          // of files, those not too short
	noFlags  bool              // they could not be asked for
	dev, ino uint64
	ReadErr  error // content or entries could not be read
}

// Tree is a scanned tree by path; the root is ".".
type Tree map[string]*Entry

// ScanOptions say how to look.
type ScanOptions struct {
	MinHole int64 // holes shorter than this are data
	// Prune leaves out paths and what is below them.
	Prune func(path string) bool
}

// Scan looks at a tree. Files are synced first, so that holes are told from data
// that is not yet written.
func Scan(dir string, o ScanOptions) (Tree, error) {
	d, err := openDir(unix.AT_FDCWD, dir)
	if err != nil {
		return nil, fmt.Errorf("scan %s: %w", dir, err)
	}
	defer unix.Close(d)
	if err := unix.Syncfs(d); err != nil {
		return nil, fmt.Errorf("scan %s: sync: %w", dir, err)
	}
	s := &scanner{o: o, tree: Tree{}, first: map[[2]uint64]string{}}
	root, err := s.entry(d, ".", ".")
	if err != nil {
		return nil, fmt.Errorf("scan %s: %w", dir, err)
	}
	s.tree["."] = root
	if err := s.dir(d, ""); err != nil {
		return nil, fmt.Errorf("scan %s: %w", dir, err)
	}
	return s.tree, nil
}

type scanner struct {
	o     ScanOptions
	tree  Tree
	first map[[2]uint64]string
}

func list(d int) ([]string, error) {
	dup, err := unix.Openat(d, ".", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	f := os.NewFile(uintptr(dup), "directory")
	defer f.Close()
	names, err := f.Readdirnames(-1)
	slices.Sort(names)
	return names, err
}

func (s *scanner) dir(d int, path string) error {
	names, err := list(d)
	if err != nil {
		return fmt.Errorf("list %q: %w", path, err)
	}
	for _, name := range names {
		p := strings.TrimPrefix(path+"/"+name, "/")
		if s.o.Prune != nil && s.o.Prune(p) {
			continue
		}
		e, err := s.entry(d, name, p)
		if err != nil {
			return err
		}
		s.tree[p] = e
		if e.Type != unix.S_IFDIR {
			continue
		}
		sub, err := unix.Openat(d, name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
		if err != nil {
			e.ReadErr = err
			continue
		}
		err = s.dir(sub, p)
		unix.Close(sub)
		if err != nil {
			return err
		}
	}
	return nil
}

func (s *scanner) entry(d int, name, path string) (*Entry, error) {
	var st unix.Stat_t
	if err := unix.Fstatat(d, name, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return nil, fmt.Errorf("stat %q: %w", path, err)
	}
	e := &Entry{Type: st.Mode & unix.S_IFMT, Mode: st.Mode & 0o7777, UID: st.Uid, GID: st.Gid, MTime: st.Mtim, dev: uint64(st.Dev), ino: st.Ino}
	if e.Type != unix.S_IFDIR {
		e.Links = uint64(st.Nlink)
		if e.Links > 1 {
			key := [2]uint64{e.dev, e.ino}
			if _, ok := s.first[key]; !ok {
				s.first[key] = path
			}
			e.First = s.first[key]
		}
	}
	var err error
	switch e.Type {
	case unix.S_IFLNK:
		buf := make([]byte, 65536)
		var n int
		if n, err = unix.Readlinkat(d, name, buf); err == nil {
			e.Target = string(buf[:n])
		}
	case unix.S_IFCHR, unix.S_IFBLK:
		e.Rdev = uint64(st.Rdev)
	case unix.S_IFREG:
		e.Size = st.Size
	}
	if err != nil {
		return nil, fmt.Errorf("read link %q: %w", path, err)
	}
	if e.Xattrs, err = xattrs(at(d, name)); err != nil {
		return nil, fmt.Errorf("attributes of %q: %w", path, err)
	}
	if e.Type == unix.S_IFREG || e.Type == unix.S_IFDIR {
		e.ReadErr = s.open(d, name, e)
	}
	return e, nil
}

// open adds what takes an open descriptor.
func (s *scanner) open(d int, name string, e *Entry) error {
	fd, err := unix.Openat(d, name, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	flags, err := unix.IoctlGetUint32(fd, unix.FS_IOC_GETFLAGS)
	e.noFlags = err != nil
	if err == nil {
		for _, f := range Flags {
			e.Flags |= flags & f.Bit
		}
	}
	if e.Type == unix.S_IFREG {
		if e.Holes, err = holes(fd, e.Size, s.o.MinHole); err != nil {
			return err
		}
		return content(fd, e)
	}
	return nil
}

// content fills in the digest. It is one of the bytes, in which a
// run of zeros counts by its length, so that huge holes cost nothing and a hole
// equals zeros.
func content(fd int, e *Entry) error {
	h := sha256.New()
	var zeros int64
	flush := func() {
		if zeros > 0 {
			fmt.Fprintf(h, "zeros %d;", zeros)
			zeros = 0
		}
	}
	const block = 4096
	buf := make([]byte, 256*block)
	var empty [block]byte
	for off := int64(0); off < e.Size; {
		data, err := unix.Seek(fd, off, unix.SEEK_DATA)
		if errors.Is(err, unix.ENXIO) {
			data, err = e.Size, nil
		}
		if err != nil {
			return err
		}
		data = min(data, e.Size)
		zeros += data - off
		end := e.Size
		if data < e.Size {
			if end, err = unix.Seek(fd, data, unix.SEEK_HOLE); err != nil {
				return err
			}
			end = min(end, e.Size)
		}
		for off = data; off < end; {
			n, err := unix.Pread(fd, buf[:min(int64(len(buf)), end-off)], off)
			if err != nil {
				return err
			}
			if n == 0 {
				return io.ErrUnexpectedEOF
			}
			for b := range slices.Chunk(buf[:n], block) {
				if string(b) == string(empty[:len(b)]) {
					zeros += int64(len(b))
					continue
				}
				flush()
				h.Write([]byte("data;"))
				h.Write(b)
			}
			off += int64(n)
		}
	}
	flush()
	h.Sum(e.Content[:0])
	return nil
}

func xattrs(path string) (map[string]string, error) {
	buf := make([]byte, 1<<16)
	n, err := unix.Llistxattr(path, buf)
	if errors.Is(err, unix.ENOTSUP) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	out := map[string]string{}
	for _, name := range strings.Split(strings.TrimSuffix(string(buf[:n]), "\x00"), "\x00") {
		if name == "" || strings.HasPrefix(name, "trusted.SGI_ACL_") { // an ACL once more, as XFS stores it
			continue
		}
		value := make([]byte, 1<<16)
		k, err := unix.Lgetxattr(path, name, value)
		if err != nil {
			return nil, fmt.Errorf("%q: %w", name, err)
		}
		out[name] = string(value[:k])
	}
	return out, nil
}

// Compare returns the differences of two trees, in the order of paths. Inode
// flags are compared where both sides have been asked for them.
func Compare(want, got Tree) []string {
	var out []string
	paths := map[string]bool{}
	for p := range want {
		paths[p] = true
	}
	for p := range got {
		paths[p] = true
	}
	for _, p := range slices.Sorted(maps.Keys(paths)) {
		a, b := want[p], got[p]
		switch {
		case a == nil:
			out = append(out, fmt.Sprintf("%q: should not be there", p))
		case b == nil:
			out = append(out, fmt.Sprintf("%q: missing", p))
		default:
			for _, d := range a.diff(b) {
				out = append(out, fmt.Sprintf("%q: %s", p, d))
			}
		}
	}
	return out
}

// diff says in what b is not a.
func (a *Entry) diff(b *Entry) (out []string) {
	note := func(differs bool, what string, x, y any) {
		if differs {
			out = append(out, fmt.Sprintf("%s is %v, want %v", what, y, x))
		}
	}
	note(a.Type != b.Type, "type", fmt.Sprintf("%o", a.Type), fmt.Sprintf("%o", b.Type))
	note(a.Mode != b.Mode, "mode", fmt.Sprintf("%04o", a.Mode), fmt.Sprintf("%04o", b.Mode))
	note(a.UID != b.UID, "uid", a.UID, b.UID)
	note(a.GID != b.GID, "gid", a.GID, b.GID)
	note(a.Size != b.Size, "size", a.Size, b.Size)
	note(a.MTime != b.MTime, "mtime", a.MTime, b.MTime)
	note(a.Rdev != b.Rdev, "device", a.Rdev, b.Rdev)
	note(a.Target != b.Target, "target", fmt.Sprintf("%.60q", a.Target), fmt.Sprintf("%.60q", b.Target))
	note(a.Links != b.Links, "link count", a.Links, b.Links)
	note(a.First != b.First, "hard link", fmt.Sprintf("to %q", a.First), fmt.Sprintf("to %q", b.First))
	note(!a.noFlags && !b.noFlags && a.Flags != b.Flags, "flags", fmt.Sprintf("%#x", a.Flags), fmt.Sprintf("%#x", b.Flags))
	note(a.Content != b.Content, "content", fmt.Sprintf("%.6x", a.Content), fmt.Sprintf("%.6x", b.Content))
	note(!slices.Equal(a.Holes, b.Holes), "holes", brief(a.Holes), brief(b.Holes))
	note((a.ReadErr == nil) != (b.ReadErr == nil), "reading", a.ReadErr, b.ReadErr)
	names := slices.Collect(maps.Keys(a.Xattrs))
	for name := range b.Xattrs {
		if _, ok := a.Xattrs[name]; !ok {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	for _, name := range names {
		x, inA := a.Xattrs[name]
		y, inB := b.Xattrs[name]
		switch {
		case !inB:
			out = append(out, fmt.Sprintf("attribute %.40q is missing", name))
		case !inA:
			out = append(out, fmt.Sprintf("attribute %.40q should not be there", name))
		default:
			note(x != y, fmt.Sprintf("attribute %.40q", name), fmt.Sprintf("%.40x", x), fmt.Sprintf("%.40x", y))
		}
	}
	return out
}

func brief(list []Extent) string {
	s := fmt.Sprint(list[:min(len(list), 8)])
	if len(list) > 8 {
		s += fmt.Sprintf(" and %d more", len(list)-8)
	}
	return s
}
