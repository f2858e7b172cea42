//go:build !linux || vault_portable

package durable

import (
	"errors"
	"io/fs"
	"os"
	"runtime"
	"slices"
	"strings"
)

// Dir is a held directory. Paths below it are resolved by [os.Root]: symbolic
// links may lead elsewhere below it, but not out. It is safe for concurrent
// use, except that nothing may run beside or after Close.
type Dir struct {
	root *os.Root
	rel  string // path below the first directory, "." for that itself
	hook Hook   // or nil
}

// OpenDir opens the directory at path. Symbolic links in path are followed:
// whoever names the place may use them.
func OpenDir(path string) (*Dir, error) {
	root, err := os.OpenRoot(path)
	if err != nil {
		return nil, err
	}
	return &Dir{root: root, rel: "."}, nil
}

// OpenDir opens the directory at the slash-separated path below d.
func (d *Dir) OpenDir(path string) (*Dir, error) {
	root, err := d.root.OpenRoot(path)
	if err != nil {
		return nil, err
	}
	return &Dir{root: root, rel: d.join(path), hook: d.hook}, nil
}

// Close releases the directory.
func (d *Dir) Close() error { return d.root.Close() }

// Mkdir makes the directory name in d, which is durable after d.Sync. One that
// exists is fs.ErrExist.
func (d *Dir) Mkdir(name string, perm fs.FileMode) error {
	if err := element(name); err != nil {
		return err
	}
	return d.step(StepMkdir, name, func() error { return bare(d.root.Mkdir(name, perm.Perm())) })
}

// Remove removes the file name from d. It is durable after d.Sync.
func (d *Dir) Remove(name string) error {
	if err := element(name); err != nil {
		return err
	}
	return d.step(StepRemove, name, func() error {
		if st, err := d.root.Lstat(name); err == nil && st.IsDir() {
			return errors.New("is a directory")
		}
		return bare(d.root.Remove(name))
	})
}

// Sync makes d's entries durable, where the system can.
func (d *Dir) Sync() error {
	return d.step(StepSyncDir, "", func() error {
		if runtime.GOOS == "windows" {
			return nil
		}
		f, err := d.root.Open(".")
		if err != nil {
			return bare(err)
		}
		defer f.Close()
		return bare(ignoreNoDirSync(f.Sync()))
	})
}

// Size returns the size in bytes of the regular file name in d; anything else
// of that name is fs.ErrInvalid.
func (d *Dir) Size(name string) (int64, error) {
	st, err := d.root.Lstat(name)
	if err != nil {
		return 0, err
	}
	if !st.Mode().IsRegular() {
		return 0, &fs.PathError{Op: "stat", Path: d.join(name), Err: fs.ErrInvalid}
	}
	return st.Size(), nil
}

// OpenFile opens the regular file at path below d for reading.
func (d *Dir) OpenFile(name string) (*FileReader, error) {
	st, err := d.root.Lstat(name)
	if err == nil && !st.Mode().IsRegular() {
		err = &fs.PathError{Op: "open", Path: d.join(name), Err: errors.New("not a regular file")}
	}
	if err != nil {
		return nil, err
	}
	f, err := d.root.Open(name)
	if err != nil {
		return nil, err
	}
	if st, err = f.Stat(); err != nil {
		f.Close()
		return nil, err
	}
	return &FileReader{File: f, size: st.Size()}, nil
}

// FileReader is an open file.
type FileReader struct {
	*os.File
	size int64
}

// Size returns the size in bytes that the file had when it was opened.
func (f *FileReader) Size() int64 { return f.size }

// maxReadings bounds how often one call reads a directory. It is at least two.
const maxReadings = 4

// Entries returns what the directory holds, temporary files and all, in byte
// order of names. The directory is read at least twice, until a reading meets
// nothing new, since one may miss an entry that is replaced meanwhile.
func (d *Dir) Entries() ([]Entry, error) {
	kinds := make(map[string]Kind)
	for i := range maxReadings {
		known := len(kinds)
		if err := d.read(kinds); err != nil {
			return nil, err
		}
		if i > 0 && len(kinds) == known {
			break
		}
	}
	list := make([]Entry, 0, len(kinds))
	for name, kind := range kinds {
		list = append(list, Entry{Name: name, Kind: kind})
	}
	slices.SortFunc(list, func(x, y Entry) int { return strings.Compare(x.Name, y.Name) })
	return list, nil
}

func (d *Dir) read(kinds map[string]Kind) error {
	f, err := d.root.Open(".")
	if err != nil {
		return err
	}
	defer f.Close()
	list, err := f.ReadDir(-1)
	if errors.Is(err, fs.ErrNotExist) {
		err = nil // the directory was removed: it is empty
	}
	for _, e := range list {
		switch t := e.Type(); {
		case t.IsRegular():
			kinds[e.Name()] = File
		case t.IsDir():
			kinds[e.Name()] = Directory
		default:
			kinds[e.Name()] = Other
		}
	}
	return err
}

// Sweep is not supported here: nothing tells whose temporary file is in use.
func (d *Dir) Sweep() (int, error) { return 0, errors.ErrUnsupported }

// Create stores data as the file name in d only if that does not exist, else
// it returns fs.ErrExist, and then what exists is durable as well. Perm is
// subject to the umask.
func (d *Dir) Create(name string, data []byte, perm fs.FileMode) error {
	err := d.store(name, data, perm, func(tmp string) error {
		return d.step(StepLink, name, func() error {
			err := d.root.Link(tmp, name)
			if errors.Is(err, errors.ErrUnsupported) {
				return ErrNotExclusive
			}
			if err == nil {
				_ = d.root.Remove(tmp)
			}
			return bare(err)
		})
	})
	if !errors.Is(err, fs.ErrExist) {
		return err
	}
	if st, serr := d.root.Lstat(name); serr == nil && !st.Mode().IsRegular() {
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
	return d.store(name, data, perm, func(tmp string) error {
		return d.step(StepRename, name, func() error { return bare(d.root.Rename(tmp, name)) })
	})
}

// store runs the whole discipline; publish gives the temporary file its name.
func (d *Dir) store(name string, data []byte, perm fs.FileMode, publish func(tmp string) error) error {
	if err := element(name); err != nil {
		return err
	}
	tmp := tempName()
	var f *os.File
	err := d.step(StepTempNamed, "", func() (err error) {
		f, err = d.root.OpenFile(tmp, os.O_WRONLY|os.O_CREATE|os.O_EXCL, perm.Perm())
		return bare(err)
	})
	if err != nil {
		return err
	}
	err = d.step(StepWrite, name, func() error {
		_, err := f.Write(data)
		return bare(err)
	})
	if err == nil {
		err = d.step(StepSync, name, func() error { return bare(f.Sync()) })
	}
	if cerr := f.Close(); err == nil && cerr != nil {
		err = cerr
	}
	if err == nil {
		err = publish(tmp)
	}
	if err != nil {
		_ = d.root.Remove(tmp)
		return err
	}
	return d.Sync()
}

// bare takes the path off an error, since step adds a better one.
func bare(err error) error {
	var p *fs.PathError
	if errors.As(err, &p) {
		return p.Err
	}
	var l *os.LinkError
	if errors.As(err, &l) {
		return l.Err
	}
	return err
}
