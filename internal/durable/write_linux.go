//go:build linux && !vault_portable

package durable

import (
	"errors"
	"fmt"
	"io/fs"
	"strconv"

	"golang.org/x/sys/unix"
)

// attempts bounds how often a write starts anew, with a new temporary file,
// after a signal interrupted its fsync or a sweeper took its file.
const attempts = 4

// maxWrite bounds one write(2); the kernel stops a little below 2 GiB.
const maxWrite = 1 << 30

// Create stores data as the file name in d only if that does not exist, else
// it returns fs.ErrExist, and then what exists is durable as well. Perm is
// subject to the umask.
func (d *Dir) Create(name string, data []byte, perm fs.FileMode) error {
	err := d.store(name, data, perm, (*temp).publishNew)
	if !errors.Is(err, fs.ErrExist) {
		return err
	}
	// Whoever was first may not have come to syncing the directory yet, but
	// our caller will act on the file's existence. Something else than a file
	// is no file that exists.
	if st, serr := d.stat(name); serr == nil && st.Mode&unix.S_IFMT != unix.S_IFREG {
		return &fs.PathError{Op: "create", Path: d.join(name), Err: errors.New("something that is not a regular file is in the way")}
	}
	if serr := d.Sync(); serr != nil {
		return serr
	}
	return err
}

// Replace stores data as the file name in d, replacing one that exists in one
// step. Perm is subject to the umask.
func (d *Dir) Replace(name string, data []byte, perm fs.FileMode) error {
	return d.store(name, data, perm, (*temp).publish)
}

// store runs the whole discipline; publish gives the temporary file its name.
func (d *Dir) store(name string, data []byte, perm fs.FileMode, publish func(*temp, string) error) error {
	if err := element(name); err != nil {
		return err
	}
	var err error
	for range attempts {
		err = d.storeOnce(name, data, perm, publish)
		if !errors.Is(err, unix.EINTR) && !errors.Is(err, errAgain) {
			return err
		}
	}
	return err
}

func (d *Dir) storeOnce(name string, data []byte, perm fs.FileMode, publish func(*temp, string) error) error {
	t, err := d.newTemp(perm)
	defer t.drop()
	if err != nil {
		return err
	}
	if err := d.step(StepWrite, name, func() error { return writeAll(t.fd, data) }); err != nil {
		return err
	}
	if err := d.step(StepSync, name, func() error { return unix.Fsync(t.fd) }); err != nil {
		return err
	}
	if err := publish(t, name); err != nil {
		return err
	}
	return d.Sync()
}

// temp is a temporary file that is open for writing.
type temp struct {
	d    *Dir
	fd   int
	name string // its name in d, or "" while it has none
}

// newTemp makes a temporary file without a name where possible.
func (d *Dir) newTemp(perm fs.FileMode) (*temp, error) {
	t := &temp{d: d, fd: -1}
	if !d.named.Load() {
		err := d.step(StepTemp, "", func() (err error) {
			t.fd, err = retry(func() (int, error) {
				return unix.Openat(d.fd, ".", unix.O_TMPFILE|unix.O_WRONLY|unix.O_CLOEXEC, uint32(perm.Perm()))
			})
			return err
		})
		if !isAny(err, unix.EOPNOTSUPP, unix.EISDIR, unix.EINVAL) {
			return t, err
		}
		d.named.Store(true)
	}
	return t, d.step(StepTempNamed, "", func() error { return t.openNamed(perm) })
}

// openNamed makes the file under a temporary name, and locks it against
// sweepers. One that comes between open and flock shows in the link count or
// in the lock.
func (t *temp) openNamed(perm fs.FileMode) (err error) {
	for range attempts {
		name := tempName()
		t.fd, err = retry(func() (int, error) {
			return unix.Openat(t.d.fd, name, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW|unix.O_CLOEXEC, uint32(perm.Perm()))
		})
		if err != nil {
			return err
		}
		t.name = name
		var st unix.Stat_t
		if err = t.lock(); err == nil {
			err = unix.Fstat(t.fd, &st)
		}
		if err == nil && st.Nlink > 0 {
			return nil
		}
		t.drop()
		if err == nil {
			err = errAgain
		}
	}
	return err
}

// errAgain says that the temporary file was lost without any harm done: a
// sweeper of another process took it, or the kernel cannot name it.
var errAgain = errors.New("temporary file was lost")

// lock marks the file as in use. File systems without flock get none: there a
// sweeper cannot lock either, and leaves the file alone.
func (t *temp) lock() error {
	_, err := retry(func() (int, error) { return 0, unix.Flock(t.fd, unix.LOCK_EX|unix.LOCK_NB) })
	if err == unix.EWOULDBLOCK || err == nil {
		return err
	}
	return nil
}

// drop closes the file and removes its temporary name, if it has one.
func (t *temp) drop() {
	if t.name != "" {
		_ = unix.Unlinkat(t.d.fd, t.name, 0) // what stays is for a sweeper
		t.name = ""
	}
	if t.fd >= 0 {
		unix.Close(t.fd)
		t.fd = -1
	}
}

// publishNew gives the file its name if that is free, else fs.ErrExist.
func (t *temp) publishNew(name string) error {
	if t.name == "" {
		return t.d.step(StepLink, name, func() error { return t.link(name) })
	}
	// Renaming needs one step and leaves no second name behind, but many
	// network file systems refuse the flag; some refuse links.
	err := t.d.step(StepRenameNew, name, func() error {
		err := unix.Renameat2(t.d.fd, t.name, t.d.fd, name, unix.RENAME_NOREPLACE)
		return t.renamed(err)
	})
	if !isAny(err, unix.EINVAL, unix.ENOSYS, unix.EOPNOTSUPP) {
		return err
	}
	err = t.d.step(StepLink, name, func() error {
		err := unix.Linkat(t.d.fd, t.name, t.d.fd, name, 0)
		if err == nil {
			_ = unix.Unlinkat(t.d.fd, t.name, 0) // what stays is for a sweeper
		}
		return t.renamed(err)
	})
	if isAny(err, unix.EPERM, unix.ENOSYS, unix.EOPNOTSUPP) {
		return fmt.Errorf("%w (%w)", ErrNotExclusive, err)
	}
	return err
}

// publish gives the file its name, replacing what has it.
func (t *temp) publish(name string) error {
	if t.name == "" {
		err := t.d.step(StepLink, name, func() error { return t.link(name) })
		if !errors.Is(err, fs.ErrExist) {
			return err
		}
		_ = t.lock() // nobody else has it open
		tmp := tempName()
		if err := t.d.step(StepLink, tmp, func() error { return t.link(tmp) }); err != nil {
			return err
		}
		t.name = tmp
	}
	return t.d.step(StepRename, name, func() error {
		return t.renamed(unix.Renameat(t.d.fd, t.name, t.d.fd, name))
	})
}

// link gives the unnamed file the name, which must be free.
func (t *temp) link(name string) error {
	err := unix.Linkat(unix.AT_FDCWD, "/proc/self/fd/"+strconv.Itoa(t.fd), t.d.fd, name, unix.AT_SYMLINK_FOLLOW)
	if err != unix.ENOENT {
		return err
	}
	// Perhaps /proc is not mounted. The other way needs privileges on kernels
	// before 6.10. If that is what fails, names must do from now on.
	err = unix.Linkat(t.fd, "", t.d.fd, name, unix.AT_EMPTY_PATH)
	if err == unix.ENOENT {
		t.d.named.Store(true)
		return errAgain
	}
	return err
}

// renamed takes the result of giving the file another name for its temporary
// one. "No such file" about the temporary name itself becomes errAgain.
func (t *temp) renamed(err error) error {
	switch err {
	case nil:
		t.name = ""
	case unix.ENOENT:
		if _, serr := t.d.stat(t.name); serr == unix.ENOENT {
			t.name = ""
			return errAgain
		}
	}
	return err
}

// isAny reports whether err is one of the errnos.
func isAny(err error, errnos ...unix.Errno) bool {
	for _, errno := range errnos {
		if errors.Is(err, errno) {
			return true
		}
	}
	return false
}

func writeAll(fd int, data []byte) error {
	for len(data) > 0 {
		n, err := retry(func() (int, error) { return unix.Write(fd, data[:min(len(data), maxWrite)]) })
		if err != nil {
			return err
		}
		data = data[n:]
	}
	return nil
}
