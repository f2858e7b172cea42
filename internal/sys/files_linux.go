package sys

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// Supported reports whether the calls on files work here.
const Supported = true

// Stat_t is what a stat call fills.
type Stat_t = unix.Stat_t

// Flags, types and numbers, as in the headers of the system.
const (
	AT_FDCWD            = unix.AT_FDCWD
	AT_SYMLINK_NOFOLLOW = unix.AT_SYMLINK_NOFOLLOW
	O_RDONLY            = unix.O_RDONLY
	O_DIRECTORY         = unix.O_DIRECTORY
	O_NOFOLLOW          = unix.O_NOFOLLOW
	O_CLOEXEC           = unix.O_CLOEXEC
	O_NONBLOCK          = unix.O_NONBLOCK
	O_NOCTTY            = unix.O_NOCTTY
	O_NOATIME           = unix.O_NOATIME
	O_PATH              = unix.O_PATH
	SEEK_DATA           = unix.SEEK_DATA
	SEEK_HOLE           = unix.SEEK_HOLE
	S_IFMT              = unix.S_IFMT
	S_IFDIR             = unix.S_IFDIR
	S_IFREG             = unix.S_IFREG
	S_IFLNK             = unix.S_IFLNK
	S_IFIFO             = unix.S_IFIFO
	S_IFSOCK            = unix.S_IFSOCK
	S_IFCHR             = unix.S_IFCHR
	S_IFBLK             = unix.S_IFBLK
	EACCES              = unix.EACCES
	EINTR               = unix.EINTR
	EINVAL              = unix.EINVAL
	EIO                 = unix.EIO
	ELOOP               = unix.ELOOP
	ENODATA             = unix.ENODATA
	ENOENT              = unix.ENOENT
	ENOSYS              = unix.ENOSYS
	ENOTDIR             = unix.ENOTDIR
	ENOTSUP             = unix.ENOTSUP
	ENOTTY              = unix.ENOTTY
	ENXIO               = unix.ENXIO
	EPERM               = unix.EPERM
	ESTALE              = unix.ESTALE
)

// Close closes a descriptor.
func Close(fd int) error { return unix.Close(fd) }

// Openat is openat(2).
func Openat(dir int, name string, flags int, mode uint32) (int, error) {
	return unix.Openat(dir, name, flags, mode)
}

// Fstat is fstat(2).
func Fstat(fd int, st *Stat_t) error { return unix.Fstat(fd, st) }

// Fstatat is fstatat(2).
func Fstatat(dir int, name string, st *Stat_t, flags int) error {
	return unix.Fstatat(dir, name, st, flags)
}

// Getdents is getdents64(2).
func Getdents(fd int, buf []byte) (int, error) { return unix.Getdents(fd, buf) }

// Read is read(2).
func Read(fd int, b []byte) (int, error) { return unix.Read(fd, b) }

// Pread is pread(2).
func Pread(fd int, b []byte, off int64) (int, error) { return unix.Pread(fd, b, off) }

// Seek is lseek(2).
func Seek(fd int, off int64, whence int) (int64, error) { return unix.Seek(fd, off, whence) }

// Readlinkat is readlinkat(2).
func Readlinkat(dir int, name string, buf []byte) (int, error) {
	return unix.Readlinkat(dir, name, buf)
}

// Flistxattr is flistxattr(2).
func Flistxattr(fd int, b []byte) (int, error) { return unix.Flistxattr(fd, b) }

// Llistxattr is llistxattr(2).
func Llistxattr(path string, b []byte) (int, error) { return unix.Llistxattr(path, b) }

// Fgetxattr is fgetxattr(2).
func Fgetxattr(fd int, name string, b []byte) (int, error) { return unix.Fgetxattr(fd, name, b) }

// Lgetxattr is lgetxattr(2).
func Lgetxattr(path, name string, b []byte) (int, error) { return unix.Lgetxattr(path, name, b) }

// Major returns the major number of a device.
func Major(dev uint64) uint32 { return unix.Major(dev) }

// Minor returns the minor number of a device.
func Minor(dev uint64) uint32 { return unix.Minor(dev) }

// FileFlags is ioctl(2) with FS_IOC_GETFLAGS. The file systems write 32 bits,
// whatever the type in the request's number says.
func FileFlags(fd int) (flags uint32, err error) {
	var v uint32
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), unix.FS_IOC_GETFLAGS, uintptr(unsafe.Pointer(&v)))
	if errno != 0 {
		return 0, errno
	}
	return v, nil
}

// GrowPipe asks for room in a pipe.
func GrowPipe(fd uintptr, size int) { unix.FcntlInt(fd, unix.F_SETPIPE_SZ, size) }
