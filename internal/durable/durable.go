// Package durable writes whole files so that they survive a power cut, and
// reaches them through held directories so that nobody can redirect it.
//
// A file appears under its name in one step, after its data is on the medium:
//
//	create temporary file in the same directory
//	write
//	fsync file
//	link or rename to the final name
//	fsync directory
//
// Only then does a function here report success. After a failed fsync the
// same descriptor is never tried again: the kernel has dropped the dirty
// pages, and a second fsync would lie. The temporary file is dropped and the
// call fails.
//
// On Linux the temporary file has no name (O_TMPFILE), so that a crash leaves
// nothing behind. File systems that cannot do that get a file whose name
// begins with [TempPrefix] and on which its creator holds flock(2) until it is
// done; [Dir.Sweep] removes those whose creator is gone.
//
// Caveats:
//
//   - A failure after the link or rename (of the directory's fsync) leaves the
//     new file in place, though perhaps not for long: callers treat the
//     outcome as open.
//   - Some network and user-space file systems cannot sync a directory
//     (EINVAL, ENOTSUP). That is taken as success, since there is nothing more
//     that a program could do.
//   - Elsewhere than on Linux files are always written under temporary names,
//     nothing removes them after a crash, and on Windows directories are not
//     synced.
package durable

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"
)

// TempPrefix begins the names of temporary files.
const TempPrefix = ".tmp-"

// ErrNotExclusive says that a file system has no way to create a file under a
// name only if that is free: neither hard links nor RENAME_NOREPLACE.
var ErrNotExclusive = fmt.Errorf("the file system cannot create exclusively: %w", errors.ErrUnsupported)

// WriteFile writes data to the file at path, replacing what is there in one
// step. When it returns nil the file is durable; when it fails the old file is
// whole. The directory must exist. A symbolic link at path is replaced, not
// followed. Perm is subject to the umask.
func WriteFile(path string, data []byte, perm fs.FileMode) error {
	return at(path, func(d *Dir, name string) error { return d.Replace(name, data, perm) })
}

// CreateFile is [WriteFile] for a file that must not exist yet: of any number
// of racing calls one wins and the others get fs.ErrExist.
func CreateFile(path string, data []byte, perm fs.FileMode) error {
	return at(path, func(d *Dir, name string) error { return d.Create(name, data, perm) })
}

// SyncDir makes the entries of the directory at path durable.
func SyncDir(path string) error {
	d, err := OpenDir(path)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}

// at runs f on the directory that holds path.
func at(path string, f func(d *Dir, name string) error) error {
	d, err := OpenDir(filepath.Dir(path))
	if err != nil {
		return err
	}
	defer d.Close()
	return f(d, filepath.Base(path))
}

// Step is one of the system's operations that a hook sees.
type Step string

// The steps of writing.
const (
	StepTemp      Step = "temp"      // make the temporary file, without a name where possible
	StepTempNamed Step = "tempnamed" // make it under a temporary name, where StepTemp is not supported
	StepWrite     Step = "write"     // write the data
	StepSync      Step = "fsync"     // of the file
	StepLink      Step = "link"      // give the file a name that must be free
	StepRenameNew Step = "renamenew" // the same by renaming
	StepRename    Step = "rename"    // give the file a name that may be in use
	StepRemove    Step = "remove"
	StepMkdir     Step = "mkdir"
	StepSyncDir   Step = "fsyncdir" // of a directory
)

// Hook sees each step of writing before it is done, with the path below the
// directory that was opened first ("." is that directory); an error from it is
// the step's failure, and the step is not done. Tests check the order of
// durability with it, make the disk fail, and play file systems that lack
// something by giving the errno that those would.
type Hook func(step Step, path string) error

// SetHook makes h see the steps in this directory and in those opened through
// it from now on. It must be called before the directory is shared.
func (d *Dir) SetHook(h Hook) { d.hook = h }

// step does one step on the entry name of d, or on d itself if name is "".
func (d *Dir) step(s Step, name string, do func() error) error {
	if d.hook != nil {
		if err := d.hook(s, d.join(name)); err != nil {
			return &fs.PathError{Op: string(s), Path: d.join(name), Err: err}
		}
	}
	if err := do(); err != nil {
		return &fs.PathError{Op: string(s), Path: d.join(name), Err: err}
	}
	return nil
}

// join returns the path of d's entry name below the first directory.
func (d *Dir) join(name string) string {
	switch {
	case name == "":
		return d.rel
	case d.rel == ".":
		return name
	}
	return d.rel + "/" + name
}

// Kind is what a directory entry is.
type Kind int

// The kinds of entry. Symbolic links, devices, pipes and sockets are Other.
const (
	Other Kind = iota
	File
	Directory
)

// Entry is one entry of a directory.
type Entry struct {
	Name string
	Kind Kind
}

// IsTemp reports whether a file of this name is a temporary one of ours.
func IsTemp(name string) bool { return strings.HasPrefix(name, TempPrefix) }

func tempName() string { return TempPrefix + strings.ToLower(rand.Text()) }

// element refuses names that are not a single path element. Only a bug of the
// caller gives one.
func element(name string) error {
	if name == "" || name == "." || name == ".." || strings.ContainsAny(name, "/\x00") {
		return fmt.Errorf("%q is no file name: %w", name, fs.ErrInvalid)
	}
	return nil
}
