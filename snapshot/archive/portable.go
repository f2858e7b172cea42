package archive

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"vault/internal/sys"
	"vault/snapshot"
)

// errPortable is what cannot be done where trees are read through package os.
var errPortable = fmt.Errorf("not on this system: %w", errors.ErrUnsupported)

const noticePortable = "on this system everything is stored as yours, without hard links, extended attributes and inode flags"

// portable reads a path on a system whose calls the scanner does not know: through
// package os, as a Tree. What it cannot do it refuses or says.
func (r *run) portable(root string, v *Volume, vol *snapshot.Volume) error {
	follow := os.IsPathSeparator(root[len(root)-1]) && strings.Trim(root, `/\`) != ""
	stat := os.Lstat
	if follow {
		stat = os.Stat
	}
	fi, err := stat(root)
	switch {
	case err != nil:
		r.problem(vol, ".", fmt.Errorf("stat: %w", err))
		return nil
	case r.oneFS:
		return fmt.Errorf("%w: file systems cannot be told apart %w", errOptions, errPortable)
	case v.Excludes != nil && len(v.Excludes.IgnoreFiles)+len(v.Excludes.Markers) > 0:
		return fmt.Errorf("%w: ignore files and markers in directories are not looked for %w", errOptions, errPortable)
	case !fi.IsDir() && !fi.Mode().IsRegular():
		r.problem(vol, ".", errors.New("neither a file nor a directory"))
		return nil
	}
	if r.home.same(fi) {
		r.problem(vol, ".", errHome)
		return nil
	}
	d := &disk{root: root, run: r, info: fi, problem: func(path string, err error) { r.problem(vol, path, err) }}
	if v.Parent != nil {
		d.safe = v.Parent.ScanStarted
		d.safe.Sec -= racySeconds
	}
	r.notice(".", noticePortable)
	if err := r.tree(d, v, vol); err != nil {
		return err
	}
	for _, path := range d.moved {
		r.notice(path, "changed while it was read")
	}
	if n := vol.Root; n != nil && n.Type == snapshot.Directory {
		n.Mode, n.MTime = modeOf(fi), snapshot.TimeOf(fi.ModTime())
		n.CTime = n.MTime
	}
	return nil
}

// disk is a Tree over package os.
type disk struct {
	root    string
	run     *run
	info    fs.FileInfo
	safe    snapshot.Time // files that changed after this are read again
	problem func(path string, err error)

	mu    sync.Mutex // guards moved
	moved []string   // files that changed while they were read
}

// Describe implements Source.
func (d *disk) Describe() (snapshot.VolumeKind, string) { return snapshot.VolumePath, d.root }

// Entries implements Tree.
func (d *disk) Entries(context.Context) iter.Seq2[Entry, error] {
	return func(yield func(Entry, error) bool) {
		if !d.info.IsDir() {
			yield(d.entry("", d.info), nil)
			return
		}
		d.below("", yield)
	}
}

// below yields what is in a directory.
func (d *disk) below(dir string, yield func(Entry, error) bool) bool {
	at := dir
	if at == "" {
		at = "."
	}
	list, err := os.ReadDir(d.path(dir)) // sorted by name, as bytes
	if err != nil {
		d.problem(at, fmt.Errorf("read directory: %w", err))
	}
	for _, item := range list {
		p := item.Name()
		if dir != "" {
			p = dir + "/" + p
		}
		if err := snapshot.CheckName(item.Name()); err != nil {
			d.problem(at, err)
			continue
		}
		fi, err := item.Info()
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			d.problem(p, fmt.Errorf("stat: %w", err))
			continue
		}
		if d.run.home.same(fi) {
			d.run.notice(p, noticeHome)
			continue
		}
		e := d.entry(p, fi)
		switch e.Node.Type {
		case 0, snapshot.Socket, snapshot.BlockDevice, snapshot.CharDevice:
			d.problem(p, fmt.Errorf("%v cannot be stored %w", fi.Mode().Type(), errPortable))
			continue
		case snapshot.Symlink:
			target, err := os.Readlink(d.path(p))
			if err != nil {
				d.problem(p, err)
				continue
			}
			e.Node.Target = target
		}
		if !yield(e, nil) || fi.IsDir() && !d.below(p, yield) {
			return false
		}
	}
	return true
}

func (d *disk) path(p string) string { return filepath.Join(d.root, filepath.FromSlash(p)) }

func (d *disk) entry(p string, fi fs.FileInfo) Entry {
	n := snapshot.Node{Type: typeOf(fi.Mode()), Mode: modeOf(fi), MTime: snapshot.TimeOf(fi.ModTime()),
		UID: uint32(max(os.Getuid(), 0)), GID: uint32(max(os.Getgid(), 0))}
	n.CTime = n.MTime
	e := Entry{Path: p, Node: n}
	if n.Type != snapshot.File {
		return e
	}
	e.Node.Size = uint64(fi.Size())
	e.Unchanged = func(old *snapshot.Node) bool {
		return old.Size == uint64(fi.Size()) && old.MTime == n.MTime && old.MTime.Compare(d.safe) <= 0
	}
	e.Open = func(_ context.Context, n *snapshot.Node) (io.ReadCloser, error) {
		f, err := os.Open(d.path(p))
		if err != nil {
			return nil, err
		}
		now, err := f.Stat()
		if err == nil && !os.SameFile(fi, now) {
			err = errReplaced
		}
		if err != nil {
			f.Close()
			return nil, err
		}
		n.Size, n.MTime = uint64(now.Size()), snapshot.TimeOf(now.ModTime())
		n.CTime = n.MTime
		return &diskFile{File: f, d: d, path: p, info: now}, nil
	}
	return e
}

// diskFile is an open file, which notices that it changes.
type diskFile struct {
	*os.File
	d    *disk
	path string
	info fs.FileInfo
}

func (f *diskFile) Close() error {
	now, err := f.Stat()
	if err == nil && (now.Size() != f.info.Size() || !now.ModTime().Equal(f.info.ModTime())) {
		f.d.mu.Lock()
		f.d.moved = append(f.d.moved, f.path)
		f.d.mu.Unlock()
	}
	return errors.Join(err, f.File.Close())
}

func typeOf(m fs.FileMode) snapshot.Type {
	switch {
	case m.IsRegular():
		return snapshot.File
	case m.IsDir():
		return snapshot.Directory
	case m&fs.ModeSymlink != 0:
		return snapshot.Symlink
	case m&fs.ModeNamedPipe != 0:
		return snapshot.FIFO
	case m&fs.ModeSocket != 0:
		return snapshot.Socket
	case m&fs.ModeCharDevice != 0:
		return snapshot.CharDevice
	case m&fs.ModeDevice != 0:
		return snapshot.BlockDevice
	}
	return 0
}

func modeOf(fi fs.FileInfo) uint32 {
	mode := uint32(fi.Mode().Perm())
	for bit, is := range map[uint32]fs.FileMode{0o4000: fs.ModeSetuid, 0o2000: fs.ModeSetgid, 0o1000: fs.ModeSticky} {
		if fi.Mode()&is != 0 {
			mode |= bit
		}
	}
	return mode
}

// scans reports whether trees are read by the scanner; tests change it.
var scans = sys.Supported
