//go:build linux

package source

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// privatePrefix begins the names of private directories.
const privatePrefix = ".vault-private-"

// Private is a directory of mode 0700 for what has to touch the disk for a while: the
// copy of a database, a file with a password. It is locked as long as it is in use.
// One whose process was killed is removed by whoever makes the next in the same
// place.
type Private struct {
	Path string
	dir  *os.File // holds the lock
}

// MakePrivate makes a private directory in a place, the usual one for temporary
// files if that is empty, and removes what killed processes have left there. It
// belongs to an account if one is given.
func MakePrivate(place string, owner *Account) (*Private, error) {
	if place == "" {
		place = os.TempDir()
	}
	place, err := filepath.Abs(place)
	if err != nil {
		return nil, fmt.Errorf("make a private directory: %w", err)
	}
	sweep(place)
	for {
		p, err := makePrivate(place, owner)
		if err != nil {
			return nil, fmt.Errorf("make a private directory in %s: %w", place, err)
		}
		if p != nil {
			return p, nil
		}
	}
}

// makePrivate returns nil if somebody swept the new directory away.
func makePrivate(place string, owner *Account) (*Private, error) {
	path, err := os.MkdirTemp(place, privatePrefix)
	if err != nil {
		return nil, err
	}
	dir, err := lockDir(path)
	switch {
	case errors.Is(err, unix.EWOULDBLOCK), errors.Is(err, os.ErrNotExist):
		return nil, nil
	case err != nil:
		os.Remove(path)
		return nil, err
	}
	var st unix.Stat_t
	if err := unix.Fstat(int(dir.Fd()), &st); err == nil && st.Nlink == 0 {
		dir.Close()
		return nil, nil
	}
	p := &Private{Path: path, dir: dir}
	if c := owner.Credential(); c != nil {
		if err := dir.Chown(int(c.Uid), int(c.Gid)); err != nil {
			p.Remove()
			return nil, err
		}
	}
	return p, nil
}

// lockDir opens a directory and locks it without waiting.
func lockDir(path string) (*os.File, error) {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: path, Err: err}
	}
	if err := unix.Flock(fd, unix.LOCK_EX|unix.LOCK_NB); err != nil {
		unix.Close(fd)
		return nil, &os.PathError{Op: "lock", Path: path, Err: err}
	}
	return os.NewFile(uintptr(fd), path), nil
}

// Remove removes the directory with everything in it.
func (p *Private) Remove() error {
	err := os.RemoveAll(p.Path)
	p.dir.Close()
	return err
}

// File writes a file of mode 0600 into the directory, for the account if one is
// given, and returns its path.
func (p *Private) File(name string, data []byte, owner *Account) (string, error) {
	path := filepath.Join(p.Path, name)
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return "", err
	}
	if _, err = f.Write(data); err == nil {
		if c := owner.Credential(); c != nil {
			err = f.Chown(int(c.Uid), int(c.Gid))
		}
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return "", fmt.Errorf("write %s: %w", path, err)
	}
	return path, nil
}

// sweep removes the private directories in a place that nobody uses. What it may not
// remove stays.
func sweep(place string) {
	entries, err := os.ReadDir(place)
	if err != nil {
		return
	}
	for _, e := range entries {
		if !e.IsDir() || !strings.HasPrefix(e.Name(), privatePrefix) {
			continue
		}
		path := filepath.Join(place, e.Name())
		if dir, err := lockDir(path); err == nil {
			os.RemoveAll(path)
			dir.Close()
		}
	}
}
