//go:build !linux

package restore

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"time"

	"vault/snapshot"
)

// This file is the simple path for systems other than Linux, over os.Root.

// handle is an open directory.
type handle struct{ root *os.Root }

var noHandle = handle{}

var errIsNotDir = errors.New("not a directory")

// identity tells files apart.
type identity struct{ fi fs.FileInfo }

func (id identity) same(other identity) bool {
	return id.fi != nil && other.fi != nil && os.SameFile(id.fi, other.fi)
}

// numbers returns the identity as numbers, if it is made of them.
func (id identity) numbers() (device, inode uint64, ok bool) { return 0, 0, false }

func identityOf(uint64, uint64) identity { return identity{} }

func (id identity) sameDevice(identity) bool { return true }

// info is what is known about an entry. Owners and numbers of links are not.
type info struct {
	typ          snapshot.Type
	mode         uint32
	uid, gid     uint32
	size         uint64
	mtime        snapshot.Time
	links        uint64
	major, minor uint32
	id           identity
}

func (st *info) node(name string) *snapshot.Node {
	return &snapshot.Node{Name: name, Type: st.typ, Mode: st.mode, UID: st.uid, GID: st.gid, MTime: st.mtime, Size: st.size}
}

func newInfo(fi fs.FileInfo) info {
	uid, gid := ownIDs()
	in := info{mode: uint32(fi.Mode().Perm()), uid: uid, gid: gid, size: uint64(fi.Size()), mtime: snapshot.TimeOf(fi.ModTime()),
		links: 1, id: identity{fi}}
	if fi.Mode()&fs.ModeSetuid != 0 {
		in.mode |= 0o4000
	}
	if fi.Mode()&fs.ModeSetgid != 0 {
		in.mode |= 0o2000
	}
	if fi.Mode()&fs.ModeSticky != 0 {
		in.mode |= 0o1000
	}
	switch fi.Mode().Type() {
	case fs.ModeDir:
		in.typ = snapshot.Directory
	case 0:
		in.typ = snapshot.File
	case fs.ModeSymlink:
		in.typ = snapshot.Symlink
	case fs.ModeNamedPipe:
		in.typ = snapshot.FIFO
	case fs.ModeSocket:
		in.typ = snapshot.Socket
	case fs.ModeDevice | fs.ModeCharDevice:
		in.typ = snapshot.CharDevice
	case fs.ModeDevice:
		in.typ = snapshot.BlockDevice
	}
	return in
}

func openTarget(path string) (handle, info, error) {
	root, err := os.OpenRoot(path)
	if err != nil {
		return noHandle, info{}, err
	}
	h := handle{root}
	st, err := h.info()
	return h, st, err
}

func (h handle) isOpen() bool        { return h.root != nil }
func (h handle) close()              { h.root.Close() }
func (h handle) object() object      { return object{root: h.root, name: "."} }
func (h handle) info() (info, error) { return h.stat(".") }

func (h handle) openDir(name string) (handle, info, error) {
	st, err := h.stat(name)
	if err != nil {
		return noHandle, st, err
	}
	if st.typ != snapshot.Directory {
		return noHandle, st, errIsNotDir
	}
	root, err := h.root.OpenRoot(name)
	if err != nil {
		return noHandle, st, err
	}
	c := handle{root}
	now, err := c.info()
	if err == nil && !now.id.same(st.id) {
		err = errMoved
	}
	if err != nil {
		c.close()
		return noHandle, st, err
	}
	return c, now, nil
}

func (h handle) mkdir(name string) error           { return h.root.Mkdir(name, 0o700) }
func (h handle) rename(from, to string) error      { return h.root.Rename(from, to) }
func (h handle) unlink(name string) error          { return h.root.Remove(name) }
func (h handle) rmdir(name string) error           { return h.root.Remove(name) }
func (h handle) symlink(target, name string) error { return h.root.Symlink(target, name) }

func (h handle) chmodDir(name string, mode uint32) error {
	return h.root.Chmod(name, fs.FileMode(mode).Perm())
}

func (h handle) renameNew(from, to string) error {
	if _, err := h.root.Lstat(to); err == nil {
		return fs.ErrExist
	}
	return h.rename(from, to)
}

func (h handle) stat(name string) (info, error) {
	fi, err := h.root.Lstat(name)
	if err != nil {
		return info{}, err
	}
	return newInfo(fi), nil
}

func (h handle) create(name string) (file, error) {
	f, err := h.root.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	return file{f, h.root, name}, err
}

func (h handle) openFile(name string, how access) (file, info, error) {
	st, err := h.stat(name)
	if err != nil {
		return file{}, st, err
	}
	if st.typ != snapshot.File {
		return file{}, st, errNotFile
	}
	flags := os.O_RDONLY
	if how == readWrite {
		flags = os.O_RDWR
	}
	o, err := h.root.OpenFile(name, flags, 0)
	if err != nil {
		return file{}, st, err
	}
	f := file{o, h.root, name}
	now, err := f.stat()
	if err == nil && !now.id.same(st.id) {
		err = errMoved
	}
	if err != nil {
		f.close()
	}
	return f, now, err
}

func (h handle) openPath(name string) (object, info, error) {
	st, err := h.stat(name)
	return object{root: h.root, name: name}, st, err
}

func (h handle) named(name string) object                  { return object{root: h.root, name: name} }
func (h handle) mknod(name string, n *snapshot.Node) error { return errUnsupported }
func (h handle) link(o object, name string) error          { return errUnsupported }

func (h handle) names() ([]string, error) {
	f, err := h.root.Open(".")
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return f.Readdirnames(-1)
}

// eachName calls f for every name in the directory.
func (h handle) eachName(f func(name string)) error {
	names, err := h.names()
	for _, name := range names {
		f(name)
	}
	return err
}

// Without locks nobody knows who else is at work.
func (h handle) lockShared()     {}
func (h handle) lockAlone() bool { return false }

// file is an open regular file.
type file struct {
	f    *os.File
	root *os.Root
	name string
}

func (f file) close()                     { f.f.Close() }
func (f file) object() object             { return object{root: f.root, name: f.name} }
func (f file) truncate(size uint64) error { return f.f.Truncate(int64(size)) }

func (f file) stat() (info, error) {
	fi, err := f.f.Stat()
	if err != nil {
		return info{}, err
	}
	return newInfo(fi), nil
}

func (f file) writeAt(b []byte, off uint64) error {
	_, err := f.f.WriteAt(b, int64(off))
	return err
}

func (f file) readAt(b []byte, off uint64) error {
	n, err := f.f.ReadAt(b, int64(off))
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	if n == len(b) {
		return nil
	}
	return err
}

func (f file) allocate(off, n uint64) error { return nil }
func (f file) punch(off, n uint64) error    { return errUnsupported }
func (f file) allHole(off, n uint64) bool   { return false }
func (f file) anyHole(off, n uint64) bool   { return false }

// object is something whose metadata is set, by its name in a root.
type object struct {
	root *os.Root
	name string
}

func (o object) close() {}

func (o object) chown(uid, gid int) error { return o.root.Lchown(o.name, uid, gid) }

func (o object) chmod(mode uint32) error {
	n := snapshot.Node{Type: snapshot.File, Mode: mode}
	return o.root.Chmod(o.name, n.FileMode())
}

func (o object) setTime(t snapshot.Time) error {
	fi, err := o.root.Lstat(o.name)
	if err != nil {
		return err
	}
	if fi.Mode()&fs.ModeSymlink != 0 {
		return nil // there is no call that would not follow it
	}
	return o.root.Chtimes(o.name, time.Time{}, t.Std())
}

func (o object) setXattr(string, []byte) error             { return errUnsupported }
func (o object) removeXattr(string) error                  { return errUnsupported }
func (o object) xattr(string) ([]byte, error)              { return nil, errUnsupported }
func (o object) xattrs() ([]string, error)                 { return nil, nil }
func (o object) dropACLs()                                 {}
func (o object) anyFlags() bool                            { return false }
func (o object) setFlags(flags, mask uint32) (bool, error) { return false, errUnsupported }
func (o object) readLink() (string, error)                 { return o.root.Readlink(o.name) }

const (
	maxXattrValue = 64 << 10
	flagNoCOW     = 0
	flagsLocking  = 0
	flagsSettable = 0x60 // append only, no dump
)

func isNotDir(err error) bool      { return err == errIsNotDir }
func isNotEmpty(err error) bool    { return err != nil }
func isUnknown(err error) bool     { return err == errUnsupported }
func isMissingAttr(err error) bool { return false }

func isDenied(err error) bool {
	return errors.Is(err, fs.ErrPermission) || errors.Is(err, errors.ErrUnsupported) || err == errUnsupported
}

// ownIDs returns -1, -1 as unsigned numbers where there are no owners.
func ownIDs() (uid, gid uint32) { return uint32(os.Geteuid()), uint32(os.Getegid()) }

func descriptorLimit() int { return 64 }

// stamp is nothing here: os.SameFile has to do.
func (o object) stamp() string { return "" }
