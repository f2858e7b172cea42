//go:build !linux

package sys

import "syscall"

// Supported reports whether the calls on files work here.
const Supported = false

// Stat_t is what a stat call would fill.
type Stat_t struct {
	Dev, Ino, Nlink, Rdev uint64
	Size, Blocks          int64
	Mode, Uid, Gid        uint32
	Mtim, Ctim            struct{ Sec, Nsec int64 }
}

// Flags and types, distinct and otherwise meaningless: nothing takes them.
const (
	AT_FDCWD            = -100
	AT_SYMLINK_NOFOLLOW = 1 << iota
	O_RDONLY
	O_DIRECTORY
	O_NOFOLLOW
	O_CLOEXEC
	O_NONBLOCK
	O_NOCTTY
	O_NOATIME
	O_PATH

	SEEK_DATA = 3
	SEEK_HOLE = 4

	S_IFMT   = 0xf000
	S_IFDIR  = 0x4000
	S_IFREG  = 0x8000
	S_IFLNK  = 0xa000
	S_IFIFO  = 0x1000
	S_IFSOCK = 0xc000
	S_IFCHR  = 0x2000
	S_IFBLK  = 0x6000

	EACCES  = syscall.EACCES
	EINTR   = syscall.EINTR
	EINVAL  = syscall.EINVAL
	EIO     = syscall.EIO
	ELOOP   = syscall.ELOOP
	ENODATA = syscall.Errno(1 << 30) // some systems have none
	ENOENT  = syscall.ENOENT
	ENOSYS  = syscall.ENOSYS
	ENOTDIR = syscall.ENOTDIR
	ENOTSUP = syscall.ENOTSUP
	ENOTTY  = syscall.ENOTTY
	ENXIO   = syscall.ENXIO
	EPERM   = syscall.EPERM
	ESTALE  = syscall.ESTALE
)

// Close fails: there are no descriptors of these calls.
func Close(int) error { return ErrUnsupported }

// Openat fails.
func Openat(int, string, int, uint32) (int, error) { return -1, ErrUnsupported }

// Fstat fails.
func Fstat(int, *Stat_t) error { return ErrUnsupported }

// Fstatat fails.
func Fstatat(int, string, *Stat_t, int) error { return ErrUnsupported }

// Getdents fails.
func Getdents(int, []byte) (int, error) { return 0, ErrUnsupported }

// Read fails.
func Read(int, []byte) (int, error) { return 0, ErrUnsupported }

// Pread fails.
func Pread(int, []byte, int64) (int, error) { return 0, ErrUnsupported }

// Seek fails.
func Seek(int, int64, int) (int64, error) { return 0, ErrUnsupported }

// Readlinkat fails.
func Readlinkat(int, string, []byte) (int, error) { return 0, ErrUnsupported }

// Flistxattr fails.
func Flistxattr(int, []byte) (int, error) { return 0, ErrUnsupported }

// Llistxattr fails.
func Llistxattr(string, []byte) (int, error) { return 0, ErrUnsupported }

// Fgetxattr fails.
func Fgetxattr(int, string, []byte) (int, error) { return 0, ErrUnsupported }

// Lgetxattr fails.
func Lgetxattr(string, string, []byte) (int, error) { return 0, ErrUnsupported }

// Major returns 0: devices are not read here.
func Major(uint64) uint32 { return 0 }

// Minor returns 0.
func Minor(uint64) uint32 { return 0 }

// FileFlags fails.
func FileFlags(int) (uint32, error) { return 0, ErrUnsupported }

// GrowPipe does nothing.
func GrowPipe(uintptr, int) {}
