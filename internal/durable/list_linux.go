//go:build linux && !vault_portable

package durable

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io/fs"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// maxReadings bounds how often one call reads a directory. It is at least two.
const maxReadings = 4

// Entries returns what the directory holds, temporary files and all, in byte
// order of names. Every entry that was there before the call and was not
// removed is among them, also one that was replaced meanwhile: on tmpfs and
// btrfs a replaced entry gets a new place in the directory, where a reading
// that is under way does not meet it. Therefore the directory is read at least
// twice, until a reading meets nothing new, and what any of them met is
// returned; an entry may be gone by then. To be missed, an entry must be
// replaced during each reading. (The directory's time of change would tell
// less: on tmpfs, and before Linux 6.13 everywhere, several changes within a
// few milliseconds leave one time.)
func (d *Dir) Entries() ([]Entry, error) {
	var list []Entry
	for i := range maxReadings {
		known := len(list)
		var err error
		if list, err = d.read(list); err != nil {
			return nil, &fs.PathError{Op: "readdir", Path: d.rel, Err: err}
		}
		slices.SortStableFunc(list, func(x, y Entry) int { return strings.Compare(x.Name, y.Name) })
		list = slices.CompactFunc(list, func(x, y Entry) bool { return x.Name == y.Name })
		if i > 0 && len(list) == known {
			break
		}
	}
	return list, nil
}

// The layout of struct linux_dirent64 of getdents64(2):
//
//	| inode 8 | offset 8 | length of this record 2 | type 1 | name, NUL |
const (
	direntLength = 16
	direntType   = 18
	direntName   = 19
)

// read appends the directory's entries to list.
func (d *Dir) read(list []Entry) ([]Entry, error) {
	// A new description, since it holds the reading position.
	fd, err := retry(func() (int, error) {
		return unix.Openat(d.fd, ".", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	})
	if err == unix.ENOENT {
		return list, nil // the directory was removed: it is empty
	}
	if err != nil {
		return list, err
	}
	defer unix.Close(fd)
	buf := make([]byte, 32<<10)
	for {
		n, err := retry(func() (int, error) { return unix.Getdents(fd, buf) })
		if err == unix.ENOENT {
			return list, nil
		}
		if err != nil || n == 0 {
			return list, err
		}
		for rec := buf[:n]; len(rec) > direntName; {
			size := int(binary.NativeEndian.Uint16(rec[direntLength:]))
			if size <= direntName || size > len(rec) {
				return list, unix.EBADMSG
			}
			name := rec[direntName:size]
			if end := bytes.IndexByte(name, 0); end >= 0 {
				name = name[:end]
			}
			if s := string(name); s != "." && s != ".." && s != "" {
				list = append(list, Entry{Name: s, Kind: d.kind(s, rec[direntType])})
			}
			rec = rec[size:]
		}
	}
}

// kind translates a directory entry's type, which not all file systems give.
func (d *Dir) kind(name string, typ byte) Kind {
	if typ == unix.DT_UNKNOWN {
		st, err := d.stat(name)
		if err != nil {
			return File // or gone: whoever opens it will see
		}
		typ = byte(st.Mode & unix.S_IFMT >> 12) // as DT_* are defined
	}
	switch typ {
	case unix.DT_REG:
		return File
	case unix.DT_DIR:
		return Directory
	}
	return Other
}

// Sweep removes the temporary files in d whose creators are gone, and returns
// how many those were. A creator that is alive holds flock(2) on its file. On
// file systems whose locks do not reach other machines, a file in use there
// may be taken; its creator notices and starts anew.
func (d *Dir) Sweep() (int, error) {
	list, err := d.Entries()
	if err != nil {
		return 0, err
	}
	removed := 0
	for _, e := range list {
		if e.Kind != File || !IsTemp(e.Name) {
			continue
		}
		ok, err := d.sweep(e.Name)
		if err != nil {
			return removed, err
		}
		if ok {
			removed++
		}
	}
	return removed, nil
}

func (d *Dir) sweep(name string) (bool, error) {
	fd, err := d.open(name, unix.O_RDONLY|unix.O_NONBLOCK)
	if err != nil {
		// Gone, or another user's: not ours to remove.
		return false, nil
	}
	defer unix.Close(fd)
	if unix.Flock(fd, unix.LOCK_EX|unix.LOCK_NB) != nil {
		return false, nil // in use, or nobody can tell
	}
	switch err := d.Remove(name); {
	case err == nil:
		return true, nil
	case errors.Is(err, fs.ErrNotExist):
		return false, nil
	default:
		return false, err
	}
}
