package local

import (
	"context"
	"errors"
	"io/fs"
	"syscall"

	"vault/backend"
)

// unreachable marks err, which says why the place cannot be asked.
func unreachable(err error, hint string) error {
	kind, known := classify(err)
	if kind == nil || !errors.Is(kind, backend.ErrUnreachable) {
		kind = backend.ErrUnreachable
	}
	if hint == "" {
		hint = known
	}
	return &marked{kind: kind, err: err, hint: hint}
}

// marked carries a kind and a hint from where they are known to failed.
type marked struct {
	kind error
	err  error
	hint string
}

func (m *marked) Error() string { return m.err.Error() }
func (m *marked) Unwrap() error { return m.err }

// failed describes the failure of one operation.
func (s *Store) failed(op, name string, err error) error {
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	e := &backend.Error{Op: op, Place: s.path, Name: name, Err: err}
	var m *marked
	switch {
	case errors.As(err, &m):
		// The cause may match fs.ErrNotExist, which callers would take for a
		// missing object: keep its text only.
		e.Kind, e.Hint, e.Err = m.kind, m.hint, opaque(m.err)
	case err == errMissing:
		e.Kind = fs.ErrNotExist
	default:
		e.Kind, e.Hint = classify(err)
	}
	return e
}

// opaque returns err, or an error with its text alone if it matches one that
// has a meaning of its own to callers of a backend.
func opaque(err error) error {
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrExist) || err == errMissing {
		return errors.New(err.Error())
	}
	return err
}

// classify returns the kind of failure that an errno stands for, and advice.
func classify(err error) (kind error, hint string) {
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fs.ErrNotExist, ""
	case errors.Is(err, fs.ErrExist):
		return fs.ErrExist, ""
	}
	var errno syscall.Errno
	if !errors.As(err, &errno) {
		return nil, ""
	}
	switch errno {
	case syscall.ENOSPC, syscall.EDQUOT:
		return backend.ErrNoSpace, "free some space, or raise the quota"
	case syscall.EROFS:
		return backend.ErrPermission, "the file system is mounted read-only"
	case syscall.EACCES, syscall.EPERM:
		return backend.ErrPermission, "check the owner and mode of the repository's files"
	case syscall.EIO:
		return backend.ErrUnreachable, "the disk or file system reports errors; see the kernel's log"
	case syscall.ESTALE, syscall.ENOTCONN, syscall.ENODEV, syscall.ENXIO:
		return backend.ErrUnreachable, "is it still mounted? the mount is stale or its device is gone"
	case syscall.ETIMEDOUT, syscall.EHOSTDOWN, syscall.EHOSTUNREACH, syscall.ENETDOWN, syscall.ENETUNREACH,
		syscall.ECONNREFUSED, syscall.ECONNRESET, syscall.ECONNABORTED:
		return backend.ErrUnreachable, "the network file system's server does not answer"
	case syscall.EMFILE, syscall.ENFILE:
		return nil, "too many open files; raise the limit (ulimit -n)"
	case syscall.ELOOP:
		return nil, "symbolic links inside a repository are not followed"
	}
	return classifySystem(errno)
}
