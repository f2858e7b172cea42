package restore

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"strconv"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"

	"vault/snapshot"
)

// This file is everything that Linux does for a restore: thin calls, each on an
// open descriptor and at most one name in it.

// handle is an open directory.
type handle struct{ fd int }

var noHandle = handle{-1}

// identity tells inodes apart.
type identity struct{ dev, ino uint64 }

func (id identity) same(other identity) bool { return id == other }

// numbers returns the identity as numbers, if it is made of them.
func (id identity) numbers() (device, inode uint64, ok bool) { return id.dev, id.ino, true }

func identityOf(device, inode uint64) identity { return identity{device, inode} }

// sameDevice reports whether both are on one file system.
func (id identity) sameDevice(other identity) bool { return id.dev == other.dev }

// info is what is known about an entry.
type info struct {
	typ          snapshot.Type
	mode         uint32 // 07777
	uid, gid     uint32
	size         uint64
	mtime        snapshot.Time
	links        uint64
	major, minor uint32
	id           identity
}

// node returns what is known in the form that Options.Select takes.
func (st *info) node(name string) *snapshot.Node {
	return &snapshot.Node{Name: name, Type: st.typ, Mode: st.mode, UID: st.uid, GID: st.gid, MTime: st.mtime, Size: st.size}
}

func newInfo(st *unix.Stat_t) info {
	in := info{mode: uint32(st.Mode) & 0o7777, uid: st.Uid, gid: st.Gid, size: uint64(st.Size), links: uint64(st.Nlink),
		mtime: snapshot.Time{Sec: int64(st.Mtim.Sec), Nsec: uint32(st.Mtim.Nsec)},
		id:    identity{uint64(st.Dev), uint64(st.Ino)}}
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFDIR:
		in.typ = snapshot.Directory
	case unix.S_IFREG:
		in.typ = snapshot.File
	case unix.S_IFLNK:
		in.typ = snapshot.Symlink
	case unix.S_IFIFO:
		in.typ = snapshot.FIFO
	case unix.S_IFSOCK:
		in.typ = snapshot.Socket
	case unix.S_IFCHR:
		in.typ = snapshot.CharDevice
	case unix.S_IFBLK:
		in.typ = snapshot.BlockDevice
	}
	if in.typ == snapshot.CharDevice || in.typ == snapshot.BlockDevice {
		in.major, in.minor = unix.Major(uint64(st.Rdev)), unix.Minor(uint64(st.Rdev))
	}
	return in
}

func fstat(fd int) (info, error) {
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return info{}, err
	}
	return newInfo(&st), nil
}

func openat(dir int, name string, flags int, mode uint32) (int, error) {
	for {
		fd, err := unix.Openat(dir, name, flags|unix.O_CLOEXEC|unix.O_NOFOLLOW, mode)
		if err != unix.EINTR {
			return fd, err
		}
	}
}

// openTarget opens the caller's own directory; symlinks in its path are
// followed.
func openTarget(path string) (handle, info, error) {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return noHandle, info{}, &fs.PathError{Op: "open", Path: path, Err: err}
	}
	st, err := fstat(fd)
	if err != nil {
		unix.Close(fd)
		return noHandle, info{}, err
	}
	return handle{fd}, st, nil
}

func (h handle) isOpen() bool        { return h.fd >= 0 }
func (h handle) close()              { unix.Close(h.fd) }
func (h handle) info() (info, error) { return fstat(h.fd) }

// object is the directory itself, for its metadata.
func (h handle) object() object { return object{fd: h.fd} }

// openDir opens a subdirectory; what is not a directory is errNotDir.
func (h handle) openDir(name string) (handle, info, error) {
	fd, err := openat(h.fd, name, unix.O_RDONLY|unix.O_DIRECTORY, 0)
	if err != nil {
		return noHandle, info{}, err
	}
	st, err := fstat(fd)
	if err != nil {
		unix.Close(fd)
		return noHandle, info{}, err
	}
	return handle{fd}, st, nil
}

func (h handle) mkdir(name string) error           { return unix.Mkdirat(h.fd, name, 0o700) }
func (h handle) rename(from, to string) error      { return unix.Renameat(h.fd, from, h.fd, to) }
func (h handle) unlink(name string) error          { return unix.Unlinkat(h.fd, name, 0) }
func (h handle) rmdir(name string) error           { return unix.Unlinkat(h.fd, name, unix.AT_REMOVEDIR) }
func (h handle) symlink(target, name string) error { return unix.Symlinkat(target, h.fd, name) }
func (h handle) chmodDir(name string, mode uint32) error {
	return unix.Fchmodat(h.fd, name, mode, unix.AT_SYMLINK_NOFOLLOW)
}

// renameNew renames unless the new name exists.
func (h handle) renameNew(from, to string) error {
	err := unix.Renameat2(h.fd, from, h.fd, to, unix.RENAME_NOREPLACE)
	if err == unix.EINVAL || err == unix.ENOSYS {
		return h.rename(from, to)
	}
	return err
}

func (h handle) stat(name string) (info, error) {
	var st unix.Stat_t
	if err := unix.Fstatat(h.fd, name, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return info{}, err
	}
	return newInfo(&st), nil
}

// create makes a file exclusively, with mode 0600.
func (h handle) create(name string) (file, error) {
	fd, err := openat(h.fd, name, unix.O_RDWR|unix.O_CREAT|unix.O_EXCL, 0o600)
	return file{fd}, err
}

// openFile opens an existing regular file to read, or to read and write.
func (h handle) openFile(name string, how access) (file, info, error) {
	flags := unix.O_RDONLY
	if how == readWrite {
		flags = unix.O_RDWR
	}
	fd, err := openat(h.fd, name, flags|unix.O_NONBLOCK|unix.O_NOCTTY, 0)
	if err != nil {
		return file{-1}, info{}, err
	}
	st, err := fstat(fd)
	if err == nil && st.typ != snapshot.File {
		err = errNotFile
	}
	if err != nil {
		unix.Close(fd)
		return file{-1}, info{}, err
	}
	return file{fd}, st, nil
}

// openPath opens whatever has this name, without touching it.
func (h handle) openPath(name string) (object, info, error) {
	fd, err := openat(h.fd, name, unix.O_PATH, 0)
	if err != nil {
		return object{fd: -1}, info{}, err
	}
	st, err := fstat(fd)
	if err != nil {
		unix.Close(fd)
		return object{fd: -1}, info{}, err
	}
	return object{fd: fd, path: true}, st, nil
}

// named is an entry by its name, in a directory where nobody else writes.
func (h handle) named(name string) object { return object{fd: h.fd, name: name} }

func (h handle) mknod(name string, n *snapshot.Node) error {
	mode := uint32(0o600)
	switch n.Type {
	case snapshot.FIFO:
		mode |= unix.S_IFIFO
	case snapshot.CharDevice:
		mode |= unix.S_IFCHR
	case snapshot.BlockDevice:
		mode |= unix.S_IFBLK
	default:
		return errUnsupported
	}
	dev := unix.Mkdev(n.Major, n.Minor)
	if unix.Major(dev) != n.Major || unix.Minor(dev) != n.Minor || uint64(int(dev)) != dev {
		return errUnsupported
	}
	return unix.Mknodat(h.fd, name, mode, int(dev))
}

// link gives the inode o one more name.
func (h handle) link(o object, name string) error {
	return unix.Linkat(unix.AT_FDCWD, o.proc(), h.fd, name, unix.AT_SYMLINK_FOLLOW)
}

// names lists the directory.
func (h handle) names() (names []string, err error) {
	err = h.eachName(func(name string) { names = append(names, name) })
	return names, err
}

// eachName calls f for every name in the directory.
func (h handle) eachName(f func(name string)) error {
	if _, err := unix.Seek(h.fd, 0, io.SeekStart); err != nil {
		return err
	}
	var names []string
	buf := make([]byte, 32<<10)
	for {
		n, err := unix.ReadDirent(h.fd, buf)
		if err == unix.EINTR {
			continue
		}
		if err != nil || n == 0 {
			return err
		}
		_, _, names = unix.ParseDirent(buf[:n], -1, names[:0])
		for _, name := range names {
			f(name)
		}
	}
}

// lockShared tells other restores that this one is at work in the directory. What
// cannot be locked is not; nobody waits.
func (h handle) lockShared() { unix.Flock(h.fd, unix.LOCK_SH|unix.LOCK_NB) }

// lockAlone turns that into a lock which is had only if nobody else is at work.
func (h handle) lockAlone() bool { return unix.Flock(h.fd, unix.LOCK_EX|unix.LOCK_NB) == nil }

// file is an open regular file.
type file struct{ fd int }

func (f file) close()                     { unix.Close(f.fd) }
func (f file) object() object             { return object{fd: f.fd} }
func (f file) stat() (info, error)        { return fstat(f.fd) }
func (f file) truncate(size uint64) error { return unix.Ftruncate(f.fd, int64(size)) }

func (f file) writeAt(b []byte, off uint64) error {
	for len(b) > 0 {
		n, err := unix.Pwrite(f.fd, b, int64(off))
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return err
		}
		if n <= 0 {
			return io.ErrShortWrite
		}
		b, off = b[n:], off+uint64(n)
	}
	return nil
}

// readAt fills b.
func (f file) readAt(b []byte, off uint64) error {
	for len(b) > 0 {
		n, err := unix.Pread(f.fd, b, int64(off))
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return err
		}
		if n <= 0 {
			return io.ErrUnexpectedEOF
		}
		b, off = b[n:], off+uint64(n)
	}
	return nil
}

// allocate reserves space, so that a full disk is noticed early and the range
// lies together. A file system that cannot is no error.
func (f file) allocate(off, n uint64) error {
	for {
		err := unix.Fallocate(f.fd, 0, int64(off), int64(n))
		switch err {
		case unix.EINTR:
			continue
		case unix.ENOSPC, unix.EDQUOT, unix.EFBIG, unix.EIO:
			return err
		}
		return nil
	}
}

// punch makes a range within the file a hole.
func (f file) punch(off, n uint64) error {
	for {
		err := unix.Fallocate(f.fd, unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, int64(off), int64(n))
		if err != unix.EINTR {
			return err
		}
	}
}

// allHole reports whether nothing but a hole is in a range within the file.
func (f file) allHole(off, n uint64) bool {
	at, err := unix.Seek(f.fd, int64(off), unix.SEEK_DATA)
	return err == unix.ENXIO || err == nil && uint64(at) >= off+n
}

// anyHole reports whether there may be a hole in a range within the file.
func (f file) anyHole(off, n uint64) bool {
	at, err := unix.Seek(f.fd, int64(off), unix.SEEK_HOLE)
	return err != nil || uint64(at) < off+n
}

// object is something whose metadata is set: an open file or directory; or one
// opened only as a path, whatever its type; or a name in a directory.
type object struct {
	fd   int
	path bool   // opened with O_PATH
	name string // if not empty, this entry of the directory fd
}

func (o object) close() { unix.Close(o.fd) }

// proc names the object for calls that know no descriptors. It is a link of the
// kernel to the open inode, not a path that is walked again.
func (o object) proc() string {
	s := "/proc/self/fd/" + strconv.Itoa(o.fd)
	if o.name != "" {
		s += "/" + o.name
	}
	return s
}

// chown sets owner and group; -1 leaves one as it is.
func (o object) chown(uid, gid int) error {
	switch {
	case o.name != "":
		return unix.Fchownat(o.fd, o.name, uid, gid, unix.AT_SYMLINK_NOFOLLOW)
	case o.path:
		return unix.Fchownat(o.fd, "", uid, gid, unix.AT_EMPTY_PATH)
	}
	return unix.Fchown(o.fd, uid, gid)
}

// chmod is not for symlinks and names.
func (o object) chmod(mode uint32) error {
	if o.path {
		return unix.Chmod(o.proc(), mode)
	}
	return unix.Fchmod(o.fd, mode)
}

func (o object) setTime(t snapshot.Time) error {
	m, err := unix.TimeToTimespec(t.Std())
	if err != nil {
		return err
	}
	ts := [2]unix.Timespec{{Nsec: unix.UTIME_OMIT}, m}
	switch {
	case o.name != "":
		return unix.UtimesNanoAt(o.fd, o.name, ts[:], unix.AT_SYMLINK_NOFOLLOW)
	case o.path:
		err := unix.UtimesNanoAt(o.fd, "", ts[:], unix.AT_EMPTY_PATH)
		if err == unix.EINVAL || err == unix.ENOENT { // before Linux 5.8
			return unix.UtimesNanoAt(unix.AT_FDCWD, o.proc(), ts[:], 0)
		}
		return err
	}
	// futimens(3): utimensat(2) without a path.
	_, _, errno := unix.Syscall6(unix.SYS_UTIMENSAT, uintptr(o.fd), 0, uintptr(unsafe.Pointer(&ts[0])), 0, 0, 0)
	if errno != 0 {
		return errno
	}
	return nil
}

func (o object) setXattr(name string, value []byte) error {
	switch {
	case o.name != "":
		return unix.Lsetxattr(o.proc(), name, value, 0)
	case o.path:
		return unix.Setxattr(o.proc(), name, value, 0)
	}
	return unix.Fsetxattr(o.fd, name, value, 0)
}

func (o object) removeXattr(name string) error {
	switch {
	case o.name != "":
		return unix.Lremovexattr(o.proc(), name)
	case o.path:
		return unix.Removexattr(o.proc(), name)
	}
	return unix.Fremovexattr(o.fd, name)
}

// xattr returns the value of an attribute.
func (o object) xattr(name string) ([]byte, error) {
	return grow(func(b []byte) (int, error) {
		switch {
		case o.name != "":
			return unix.Lgetxattr(o.proc(), name, b)
		case o.path:
			return unix.Getxattr(o.proc(), name, b)
		}
		return unix.Fgetxattr(o.fd, name, b)
	})
}

// xattrs lists the names of the attributes.
func (o object) xattrs() ([]string, error) {
	b, err := grow(func(b []byte) (int, error) {
		switch {
		case o.name != "":
			return unix.Llistxattr(o.proc(), b)
		case o.path:
			return unix.Listxattr(o.proc(), b)
		}
		return unix.Flistxattr(o.fd, b)
	})
	if err != nil || len(b) == 0 {
		return nil, err
	}
	return strings.Split(strings.TrimSuffix(string(b), "\x00"), "\x00"), nil
}

// grow calls get with more and more room.
func grow(get func([]byte) (int, error)) ([]byte, error) {
	for size := 256; ; size *= 4 {
		b := make([]byte, size)
		n, err := get(b)
		if err == nil {
			return b[:n], nil
		}
		if err != unix.ERANGE || size > 1<<20 {
			return nil, err
		}
	}
}

// maxXattrValue is the longest value that the kernel takes (XATTR_SIZE_MAX).
const maxXattrValue = 64 << 10

// The inode flags that are restored, by the bits of FS_IOC_SETFLAGS
// (ioctl_iflags(2), linux/fs.h).
const (
	flagNoCOW     = 0x00800000
	flagsLocking  = 0x00000010 | 0x00000020 // immutable, append only
	flagsSettable = 0x00000001 |            // secure deletion
		0x00000002 | // undelete
		0x00000004 | // compress
		0x00000008 | // synchronous
		0x00000010 | // immutable
		0x00000020 | // append only
		0x00000040 | // no dump
		0x00000080 | // no access times
		0x00000400 | // do not compress
		0x00004000 | // journal data
		0x00008000 | // no tail packing
		0x00010000 | // synchronous directory
		0x00020000 | // top of a hierarchy
		flagNoCOW |
		0x02000000 | // direct access to persistent memory
		0x20000000 // inherit the project
)

// setFlags sets those of the settable inode flags that are in the mask. The
// object is an open file or directory.
func (o object) setFlags(flags, mask uint32) (changed bool, err error) {
	have, err := unix.IoctlGetUint32(o.fd, unix.FS_IOC_GETFLAGS)
	if err != nil {
		return false, err
	}
	want := have&^mask | flags&mask
	if want == have {
		return false, nil
	}
	return true, unix.IoctlSetPointerInt(o.fd, unix.FS_IOC_SETFLAGS, int(want))
}

// anyFlags reports whether an open directory has any settable inode flag.
func (o object) anyFlags() bool {
	have, err := unix.IoctlGetUint32(o.fd, unix.FS_IOC_GETFLAGS)
	return err == nil && have&flagsSettable != 0
}

// readLink returns the target of a symlink opened as a path.
func (o object) readLink() (string, error) {
	b := make([]byte, snapshot.MaxTarget+1)
	n, err := unix.Readlinkat(o.fd, "", b)
	return string(b[:max(n, 0)]), err
}

func isNotDir(err error) bool   { return err == unix.ENOTDIR || err == unix.ELOOP }
func isNotEmpty(err error) bool { return err == unix.ENOTEMPTY || err == unix.EEXIST }
func isDirError(err error) bool { return err == unix.EISDIR || err == unix.EPERM }

// isDenied reports whether an error means that this user may not, or this file
// system cannot, keep some metadata.
func isDenied(err error) bool {
	return errors.Is(err, fs.ErrPermission) || err == unix.EOPNOTSUPP || err == unix.EINVAL || err == unix.ENOTTY || err == unix.ENOSYS || err == errUnsupported
}

// isUnknown reports whether an error means that the file system does not know
// this kind of metadata.
func isUnknown(err error) bool {
	return err == unix.EOPNOTSUPP || err == unix.ENOSYS || err == unix.ENOTTY
}

func isMissingAttr(err error) bool { return err == unix.ENODATA }

func ownIDs() (uid, gid uint32) { return uint32(os.Geteuid()), uint32(os.Getegid()) }

// descriptorLimit returns how many directories may be held open.
func descriptorLimit() int {
	var lim unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &lim); err != nil {
		return 128
	}
	return int(min(max(uint64(lim.Cur)/4, 16), 512))
}

// dropACLs takes away what a new directory inherited.
func (o object) dropACLs() {
	o.removeXattr(aclDefault)
	o.removeXattr(aclAccess)
}

// stamp tells an inode from a later one with the same number, which file
// systems give out again at once. It holds the generation that file handles
// have, else the time of birth.
func (o object) stamp() string {
	if fh, _, err := unix.NameToHandleAt(o.fd, "", unix.AT_EMPTY_PATH); err == nil {
		return string(fh.Bytes())
	}
	var st unix.Statx_t
	if err := unix.Statx(o.fd, "", unix.AT_EMPTY_PATH, unix.STATX_BTIME, &st); err != nil || st.Mask&unix.STATX_BTIME == 0 {
		return ""
	}
	return strconv.FormatInt(st.Btime.Sec, 10) + "." + strconv.Itoa(int(st.Btime.Nsec))
}
