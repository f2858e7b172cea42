//go:build linux

package sqlite

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/unix"

	"vault/internal/app/source"
)

// Owner is who a file belongs to.
type Owner struct{ UID, GID uint32 }

// RestoreOptions say how a database is brought back.
type RestoreOptions struct {
	Path  string      // where it goes; "" is where it came from
	Owner *Owner      // nil is that of the file that is replaced, or else who restores
	Mode  fs.FileMode // 0 is that of the file that is replaced, or else 0600
	// Force replaces a database that somebody has locked.
	Force bool
}

// Restore writes a database in place of the one that is there, if any: it is checked,
// if sqlite3 is installed, given its owner and mode, and then takes the name, so that
// the file is the old one or the new one whatever happens. Logs and journals of the
// old one are removed just before: they would be taken for the new one's.
func (f File) Restore(ctx context.Context, in io.Reader, o RestoreOptions) error {
	path := o.Path
	if path == "" {
		path = f.Path
	}
	if err := f.restore(ctx, in, path, o); err != nil {
		return fmt.Errorf("restore database %s: %w", path, err)
	}
	return nil
}

func (f File) restore(ctx context.Context, in io.Reader, path string, o RestoreOptions) error {
	path, err := filepath.Abs(path)
	if err != nil {
		return err
	}
	if real, err := filepath.EvalSymlinks(path); err == nil {
		path = real // the link stays
	}
	if err := o.complete(path); err != nil {
		return err
	}
	private, err := source.MakePrivate(filepath.Dir(path), nil)
	if err != nil {
		return err
	}
	defer private.Remove()
	made := filepath.Join(private.Path, copyName)
	if err := write(ctx, made, in, o); err != nil {
		return err
	}
	if _, err := f.Runner.Argv([]string{program}); !errors.Is(err, source.ErrNoProgram) {
		run := f.Runner
		run.As, run.Dir = nil, private.Path
		if err := verify(ctx, run, copyName); err != nil {
			return err
		}
	}
	return replace(made, path)
}

// complete looks at the file that is to be replaced.
func (o *RestoreOptions) complete(path string) error {
	st, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return err
	case !st.Mode().IsRegular():
		return fmt.Errorf("what is there is no file but has the mode %v", st.Mode())
	default:
		if !o.Force {
			if err := unused(path); err != nil {
				return err
			}
		}
		if sys, ok := st.Sys().(*syscall.Stat_t); ok && o.Owner == nil {
			o.Owner = &Owner{sys.Uid, sys.Gid}
		}
		if o.Mode == 0 {
			o.Mode = st.Mode().Perm()
		}
	}
	if o.Mode == 0 {
		o.Mode = 0o600
	}
	return nil
}

// The bytes of a database on which its users hold locks; see os.h of SQLite.
const (
	lockBegin = 0x40000000
	lockBytes = 2 + 510
)

// unused returns ErrInUse if another process holds a lock on a database. One that
// uses the write-ahead log is locked as long as it is open, any other while it is
// read or written.
func unused(path string) error {
	file, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer file.Close()
	lock := unix.Flock_t{Type: unix.F_WRLCK, Whence: io.SeekStart, Start: lockBegin, Len: lockBytes}
	if err := unix.FcntlFlock(file.Fd(), unix.F_GETLK, &lock); err != nil {
		return fmt.Errorf("ask for locks: %w", err)
	}
	if lock.Type != unix.F_UNLCK {
		return fmt.Errorf("%w (process %d has it open)", ErrInUse, lock.Pid)
	}
	return nil
}

// write makes a file of what is restored, durable and with its owner and mode.
func write(ctx context.Context, path string, in io.Reader, o RestoreOptions) error {
	out, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	defer out.Close()
	if _, err := io.Copy(out, &until{ctx, in}); err != nil {
		return err
	}
	if err := checkMagic(out); err != nil {
		return err
	}
	if o.Owner != nil {
		st, err := out.Stat()
		if err != nil {
			return err
		}
		sys, ok := st.Sys().(*syscall.Stat_t)
		if !ok || sys.Uid != o.Owner.UID || sys.Gid != o.Owner.GID {
			if err := out.Chown(int(o.Owner.UID), int(o.Owner.GID)); err != nil {
				return err
			}
		}
	}
	if err := out.Chmod(o.Mode.Perm()); err != nil {
		return err
	}
	if err := out.Sync(); err != nil {
		return err
	}
	return out.Close()
}

// until is a reader that ends with a context.
type until struct {
	ctx context.Context
	in  io.Reader
}

func (u *until) Read(b []byte) (int, error) {
	if err := context.Cause(u.ctx); err != nil {
		return 0, err
	}
	return u.in.Read(b)
}

// replace puts a new database in the place of an old one.
func replace(made, path string) error {
	for _, suffix := range []string{"-wal", "-shm", "-journal"} {
		if err := os.Remove(path + suffix); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	if err := os.Rename(made, path); err != nil {
		return err
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	defer dir.Close()
	return dir.Sync()
}
