//go:build linux && !vault_portable

package durable

import (
	"errors"
	"io"
	"io/fs"
	"strings"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// Dir is a held directory. Paths below it are resolved from its descriptor
// and never through symbolic links. It is safe for concurrent use, except
// that nothing may run beside or after Close.
type Dir struct {
	fd   int
	rel  string // path below the first directory, "." for that itself
	hook Hook   // or nil

	// named says that this file system has no unnamed temporary files. All
	// directories opened through the first share it.
	named *atomic.Bool
}

// noOpenat2 says that the kernel (before 5.6) or a seccomp filter does not let
// us use openat2(2).
var noOpenat2 atomic.Bool

// OpenDir opens the directory at path. Symbolic links in path are followed:
// whoever names the place may use them.
func OpenDir(path string) (*Dir, error) {
	fd, err := retry(func() (int, error) {
		return unix.Open(path, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	})
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: path, Err: err}
	}
	return &Dir{fd: fd, rel: ".", named: new(atomic.Bool)}, nil
}

// OpenDir opens the directory at the slash-separated path below d.
func (d *Dir) OpenDir(path string) (*Dir, error) {
	fd, err := d.open(path, unix.O_RDONLY|unix.O_DIRECTORY)
	if err != nil {
		return nil, err
	}
	return &Dir{fd: fd, rel: d.join(path), hook: d.hook, named: d.named}, nil
}

// Close releases the directory.
func (d *Dir) Close() error { return unix.Close(d.fd) }

// Mkdir makes the directory name in d, which is durable after d.Sync. One that
// exists is fs.ErrExist.
func (d *Dir) Mkdir(name string, perm fs.FileMode) error {
	if err := element(name); err != nil {
		return err
	}
	return d.step(StepMkdir, name, func() error {
		return unix.Mkdirat(d.fd, name, uint32(perm.Perm()))
	})
}

// Remove removes the file name from d. It is durable after d.Sync.
func (d *Dir) Remove(name string) error {
	if err := element(name); err != nil {
		return err
	}
	return d.step(StepRemove, name, func() error { return unix.Unlinkat(d.fd, name, 0) })
}

// Sync makes d's entries durable.
func (d *Dir) Sync() error {
	return d.step(StepSyncDir, "", func() error {
		err := unix.Fsync(d.fd)
		if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOTSUP) {
			return nil // see the package comment
		}
		return err
	})
}

// Size returns the size in bytes of the regular file name in d; anything else
// of that name is fs.ErrInvalid.
func (d *Dir) Size(name string) (int64, error) {
	st, err := d.stat(name)
	if err == nil && st.Mode&unix.S_IFMT != unix.S_IFREG {
		err = fs.ErrInvalid
	}
	if err != nil {
		return 0, &fs.PathError{Op: "stat", Path: d.join(name), Err: err}
	}
	return st.Size, nil
}

func (d *Dir) stat(name string) (st unix.Stat_t, err error) {
	_, err = retry(func() (int, error) {
		return 0, unix.Fstatat(d.fd, name, &st, unix.AT_SYMLINK_NOFOLLOW)
	})
	return st, err
}

// OpenFile opens the regular file at path below d for reading.
func (d *Dir) OpenFile(path string) (*FileReader, error) {
	// Without O_NONBLOCK a planted pipe would hang us before it is refused.
	fd, err := d.open(path, unix.O_RDONLY|unix.O_NONBLOCK|unix.O_NOCTTY)
	if err != nil {
		return nil, err
	}
	var st unix.Stat_t
	if err = unix.Fstat(fd, &st); err == nil && st.Mode&unix.S_IFMT != unix.S_IFREG {
		err = errors.New("not a regular file")
	}
	if err != nil {
		unix.Close(fd)
		return nil, &fs.PathError{Op: "open", Path: d.join(path), Err: err}
	}
	return &FileReader{fd: fd, size: st.Size}, nil
}

// FileReader is an open file. It keeps out of the runtime's poller, which
// regular files have no use for: a read costs open, fstat, pread and close.
type FileReader struct {
	fd   int
	size int64
}

// Size returns the size in bytes that the file had when it was opened.
func (f *FileReader) Size() int64 { return f.size }

// ReadAt implements io.ReaderAt.
func (f *FileReader) ReadAt(p []byte, off int64) (n int, err error) {
	if off < 0 {
		return 0, fs.ErrInvalid
	}
	for n < len(p) {
		m, err := retry(func() (int, error) { return unix.Pread(f.fd, p[n:], off+int64(n)) })
		if err != nil {
			return n, &fs.PathError{Op: "read", Path: "file", Err: err}
		}
		if m == 0 {
			return n, io.EOF
		}
		n += m
	}
	return n, nil
}

// Close releases the file. It must not run beside a read, and runs once.
func (f *FileReader) Close() error { return unix.Close(f.fd) }

// open opens path below d, following no symbolic link anywhere in it.
func (d *Dir) open(path string, flags int) (int, error) {
	flags |= unix.O_CLOEXEC | unix.O_NOFOLLOW
	fd, err := -1, error(unix.ENOSYS)
	if !noOpenat2.Load() {
		how := unix.OpenHow{
			Flags:   uint64(flags) | unix.O_LARGEFILE,
			Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_SYMLINKS,
		}
		fd, err = retry(func() (int, error) { return unix.Openat2(d.fd, path, &how) })
	}
	if err == unix.ENOSYS || err == unix.EPERM {
		if fd, err = d.walk(path, flags); err == nil {
			noOpenat2.Store(true)
		}
	}
	if err != nil {
		return -1, &fs.PathError{Op: "open", Path: d.join(path), Err: err}
	}
	return fd, nil
}

// walk is open for kernels without openat2: one directory at a time.
func (d *Dir) walk(path string, flags int) (int, error) {
	at := d.fd
	for {
		elem, rest, more := strings.Cut(path, "/")
		if elem == "" || elem == ".." {
			closeBut(at, d.fd)
			return -1, unix.EXDEV // as openat2 answers
		}
		how := flags
		if more {
			how = unix.O_PATH | unix.O_DIRECTORY | unix.O_NOFOLLOW | unix.O_CLOEXEC
		}
		fd, err := retry(func() (int, error) { return unix.Openat(at, elem, how, 0) })
		closeBut(at, d.fd)
		if err != nil || !more {
			return fd, err
		}
		at, path = fd, rest
	}
}

func closeBut(fd, keep int) {
	if fd != keep {
		unix.Close(fd)
	}
}

// retry repeats calls that a signal interrupted before they had any effect.
func retry(f func() (int, error)) (int, error) {
	for {
		n, err := f()
		if err != unix.EINTR {
			return n, err
		}
	}
}
