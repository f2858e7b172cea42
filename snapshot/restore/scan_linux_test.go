package restore

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"testing"

	"github.com/zeebo/blake3"
	"golang.org/x/sys/unix"

	"vault/crypto"
	"vault/snapshot"
)

// scan saves a directory of this machine, in the simplest way there is.
func (s *store) scan(path string) ent {
	var st unix.Stat_t
	must(unix.Lstat(path, &st))
	in := newInfo(&st)
	n := snapshot.Node{Name: filepath.Base(path), Type: in.typ, Mode: in.mode, UID: in.uid, GID: in.gid, MTime: in.mtime, Inode: in.id.ino,
		Major: in.major, Minor: in.minor}
	if in.links >= 2 && in.typ != snapshot.Directory {
		n.Links = in.links
	}
	for _, name := range listXattrs(path) {
		b := make([]byte, 64<<10)
		b = b[:must1(unix.Lgetxattr(path, name, b))]
		x := snapshot.Xattr{Name: name, Value: b}
		if len(b) > 1024 {
			x = snapshot.Xattr{Name: name, Length: uint64(len(b)), Blob: must1(s.Put(context.Background(), crypto.BlobData, b))}
		}
		n.Xattrs = append(n.Xattrs, x)
	}
	e := ent{Node: n}
	switch in.typ {
	case snapshot.Directory:
		for _, de := range must1(os.ReadDir(path)) {
			e.kids = append(e.kids, s.scan(filepath.Join(path, de.Name())))
		}
		e.Flags = inodeFlags(path)
	case snapshot.Symlink:
		e.Target = must1(os.Readlink(path))
	case snapshot.File:
		e.Size = in.size
		e.Content = s.content(path, in.size)
		e.Flags = inodeFlags(path)
	}
	return e
}

func (s *store) content(path string, size uint64) snapshot.Content {
	f := must1(os.Open(path))
	defer f.Close()
	if size > 0 && size <= 128 {
		return snapshot.Content{Inline: must1(os.ReadFile(path))}
	}
	w := snapshot.NewContentWriter(s, snapshot.DefaultThresholds())
	for off := int64(0); off < int64(size); {
		data, err := unix.Seek(int(f.Fd()), off, unix.SEEK_DATA)
		if err == unix.ENXIO {
			data = int64(size)
		}
		if data > off {
			must(w.Add(context.Background(), snapshot.Item{Kind: snapshot.ItemHole, Length: uint64(data - off)}))
			off = data
			continue
		}
		hole := must1(unix.Seek(int(f.Fd()), off, unix.SEEK_HOLE))
		b := make([]byte, min(testChunk, hole-off))
		must1(f.ReadAt(b, off))
		must(w.Add(context.Background(), s.item(b)))
		off += int64(len(b))
	}
	return must1(w.Finish(context.Background()))
}

func listXattrs(path string) []string {
	b := make([]byte, 64<<10)
	n, err := unix.Llistxattr(path, b)
	if err != nil || n == 0 {
		return nil
	}
	names := strings.Split(strings.TrimSuffix(string(b[:n]), "\x00"), "\x00")
	sort.Strings(names)
	return names
}

func inodeFlags(path string) uint32 {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err != nil {
		return 0
	}
	defer unix.Close(fd)
	v, _ := unix.IoctlGetUint32(fd, unix.FS_IOC_GETFLAGS)
	return v
}

// describe returns everything that a restore should bring back, a line an
// entry, by path. It shares no code with what is tested.
func describe(t testing.TB, root string) map[string]string {
	t.Helper()
	out := make(map[string]string)
	groups := make(map[uint64]string)
	err := filepath.WalkDir(root, func(path string, de os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		var st unix.Stat_t
		if err := unix.Lstat(path, &st); err != nil {
			return err
		}
		rel, _ := filepath.Rel(root, path)
		var b strings.Builder
		fmt.Fprintf(&b, "mode %o owner %d:%d mtime %d.%09d", st.Mode, st.Uid, st.Gid, st.Mtim.Sec, st.Mtim.Nsec)
		switch st.Mode & unix.S_IFMT {
		case unix.S_IFREG:
			data, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			fmt.Fprintf(&b, " size %d sha %x flags %x", st.Size, blake3.Sum256(data), inodeFlags(path)&0xfb)
		case unix.S_IFDIR:
			fmt.Fprintf(&b, " flags %x", inodeFlags(path)&0xfb)
		case unix.S_IFLNK:
			target, _ := os.Readlink(path)
			fmt.Fprintf(&b, " -> %q", target)
		case unix.S_IFCHR, unix.S_IFBLK:
			fmt.Fprintf(&b, " rdev %x", st.Rdev)
		}
		if st.Mode&unix.S_IFMT != unix.S_IFDIR && st.Nlink > 1 {
			first, ok := groups[st.Ino]
			if !ok {
				first = rel
				groups[st.Ino] = rel
			}
			fmt.Fprintf(&b, " links %d as %q", st.Nlink, first)
		}
		for _, name := range listXattrs(path) {
			v := make([]byte, 64<<10)
			n, err := unix.Lgetxattr(path, name, v)
			if err != nil {
				return err
			}
			fmt.Fprintf(&b, " %s=%x", name, blake3.Sum256(v[:n]))
		}
		out[rel] = b.String()
		return nil
	})
	if err != nil {
		t.Fatalf("describe %s: %v", root, err)
	}
	return out
}

// equalTrees compares two descriptions, but for the entries to skip.
func equalTrees(t *testing.T, want, got map[string]string, skip ...string) {
	t.Helper()
	for _, s := range skip {
		delete(want, s)
		delete(got, s)
	}
	for path, w := range want {
		if g, ok := got[path]; !ok {
			t.Errorf("%q is missing", path)
		} else if g != w {
			t.Errorf("%q:\n got %s\nwant %s", path, g, w)
		}
	}
	for path := range got {
		if _, ok := want[path]; !ok {
			t.Errorf("%q should not be there", path)
		}
	}
}

// allocated returns the bytes that a file takes.
func allocated(path string) int64 {
	var st unix.Stat_t
	must(unix.Lstat(path, &st))
	return st.Blocks * 512
}

// noise returns n bytes that are never zero and do not repeat.
func noise(n int, seed byte) string {
	b := make([]byte, n)
	r := rand.NewChaCha8([32]byte{seed})
	r.Read(b)
	for i, c := range b {
		b[i] = c | 1
	}
	return string(b)
}
