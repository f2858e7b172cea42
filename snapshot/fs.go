package snapshot

import (
	"cmp"
	"context"
	"errors"
	"io"
	"io/fs"
	"path"
	"slices"
	"strings"
	"sync"
	"time"
)

// FS returns the tree under root as a file system of package fs, for whatever
// wants one; programs that need byte-exact names use Lookup and Walk. It
// implements fs.ReadDirFS, fs.StatFS and fs.ReadLinkFS, and is safe for
// concurrent use if src is. Its files are io.ReaderAt and io.Seeker, and
// FileInfo.Sys is the *Node. ctx is that of all reads.
//
// Names that package fs refuses are shown as EscapeName says. Symbolic links
// are followed as long as they stay inside the tree; a link that is absolute or
// leads out does not exist for Open. What is neither file nor directory reads
// as empty. If root is no directory, "." is that file.
func FS(ctx context.Context, src Source, root *Node) fs.FS {
	return &treeFS{ctx: ctx, src: src, root: root}
}

// maxLinks is the number of symbolic links that one path may lead through.
const maxLinks = 40

var errLoop = errors.New("too many symbolic links")

type treeFS struct {
	ctx  context.Context
	src  Source
	root *Node
}

// find returns the node that a path leads to. Its last name is followed if it
// is a link, unless keep says to return the link itself.
func (t *treeFS) find(name string, keep linkRule) (*Node, error) {
	if !fs.ValidPath(name) {
		return nil, fs.ErrInvalid
	}
	var todo []string // names still to go, the next one last; byte-exact
	if name != "." {
		for _, shown := range strings.Split(name, "/") {
			n, ok := UnescapeName(shown)
			if !ok {
				return nil, fs.ErrNotExist
			}
			todo = append(todo, n)
		}
		slices.Reverse(todo)
	}
	at := []*Node{t.root} // the directories from the root to here
	links := 0
	for len(todo) > 0 {
		next := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		here := at[len(at)-1]
		switch {
		case !here.IsDir():
			return nil, fs.ErrNotExist
		case next == "" || next == ".": // in the target of a link
			continue
		case next == "..":
			if len(at) == 1 {
				return nil, fs.ErrNotExist // leads out of the tree
			}
			at = at[:len(at)-1]
			continue
		}
		n, err := Lookup(t.ctx, t.src, here.Tree, next)
		if err != nil {
			return nil, err
		}
		if n.Type != Symlink || keep == lastLink && len(todo) == 0 {
			at = append(at, n)
			continue
		}
		if links++; links > maxLinks {
			return nil, errLoop
		}
		if strings.HasPrefix(n.Target, "/") {
			return nil, fs.ErrNotExist
		}
		target := strings.Split(n.Target, "/")
		slices.Reverse(target)
		todo = append(todo, target...)
	}
	return at[len(at)-1], nil
}

// linkRule says what find does when the last name of a path is a link.
type linkRule int

const (
	followLinks linkRule = iota
	lastLink             // return the link
)

func (t *treeFS) info(op, name string, rule linkRule) (*nodeInfo, error) {
	n, err := t.find(name, rule)
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			err = fs.ErrNotExist
		}
		return nil, &fs.PathError{Op: op, Path: name, Err: err}
	}
	return &nodeInfo{name: path.Base(name), node: n}, nil
}

func (t *treeFS) Open(name string) (fs.File, error) {
	info, err := t.info("open", name, followLinks)
	if err != nil {
		return nil, err
	}
	if info.IsDir() {
		return &openDir{info: info, path: name, fs: t}, nil
	}
	return &openFile{info: info, path: name, r: NewReader(t.ctx, t.src, info.node)}, nil
}

func (t *treeFS) Stat(name string) (fs.FileInfo, error) {
	return asInfo(t.info("stat", name, followLinks))
}

func (t *treeFS) Lstat(name string) (fs.FileInfo, error) {
	return asInfo(t.info("lstat", name, lastLink))
}

// asInfo keeps a nil *nodeInfo from becoming a FileInfo that is not nil.
func asInfo(info *nodeInfo, err error) (fs.FileInfo, error) {
	if err != nil {
		return nil, err
	}
	return info, nil
}

func (t *treeFS) ReadLink(name string) (string, error) {
	info, err := t.info("readlink", name, lastLink)
	if err != nil {
		return "", err
	}
	if info.node.Type != Symlink {
		return "", &fs.PathError{Op: "readlink", Path: name, Err: fs.ErrInvalid}
	}
	return info.node.Target, nil
}

func (t *treeFS) ReadDir(name string) ([]fs.DirEntry, error) {
	f, err := t.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	d, ok := f.(*openDir)
	if !ok {
		return nil, &fs.PathError{Op: "readdir", Path: name, Err: errors.New("not a directory")}
	}
	list, err := d.ReadDir(-1)
	slices.SortFunc(list, func(a, b fs.DirEntry) int { return cmp.Compare(a.Name(), b.Name()) })
	return list, err
}

// nodeInfo is a node as a FileInfo and a DirEntry.
type nodeInfo struct {
	name string // as shown
	node *Node
}

func (i *nodeInfo) Name() string               { return i.name }
func (i *nodeInfo) Size() int64                { return int64(i.node.Size) }
func (i *nodeInfo) Mode() fs.FileMode          { return i.node.FileMode() }
func (i *nodeInfo) Type() fs.FileMode          { return i.node.FileMode().Type() }
func (i *nodeInfo) ModTime() time.Time         { return i.node.MTime.Std() }
func (i *nodeInfo) IsDir() bool                { return i.node.IsDir() }
func (i *nodeInfo) Sys() any                   { return i.node }
func (i *nodeInfo) Info() (fs.FileInfo, error) { return i, nil }
func (i *nodeInfo) String() string             { return fs.FormatFileInfo(i) }

// openDir is a directory being read. Entries come in the order of their
// byte-exact names.
type openDir struct {
	info *nodeInfo
	path string
	fs   *treeFS

	mu     sync.Mutex // guards what follows
	reader *DirReader
	closed bool
}

func (d *openDir) Stat() (fs.FileInfo, error) { return d.info, nil }

func (d *openDir) Read([]byte) (int, error) {
	return 0, &fs.PathError{Op: "read", Path: d.path, Err: errors.New("is a directory")}
}

func (d *openDir) Close() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.closed, d.reader = true, nil
	return nil
}

func (d *openDir) ReadDir(n int) ([]fs.DirEntry, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return nil, &fs.PathError{Op: "readdir", Path: d.path, Err: fs.ErrClosed}
	}
	if d.reader == nil {
		d.reader = NewDirReader(d.fs.ctx, d.fs.src, d.info.node.Tree)
	}
	var list []fs.DirEntry
	for n <= 0 || len(list) < n {
		node, err := d.reader.Next()
		if err == io.EOF {
			if n > 0 && len(list) == 0 {
				return nil, io.EOF
			}
			break
		}
		if err != nil {
			return list, &fs.PathError{Op: "readdir", Path: d.path, Err: err}
		}
		list = append(list, &nodeInfo{name: EscapeName(node.Name), node: node.Clone()})
	}
	return list, nil
}

// openFile is an open file.
type openFile struct {
	info *nodeInfo
	path string

	mu     sync.Mutex // guards what follows
	r      *Reader    // nil once closed
	offset int64
}

func (f *openFile) Stat() (fs.FileInfo, error) { return f.info, nil }

func (f *openFile) Close() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.r = nil
	return nil
}

func (f *openFile) Read(p []byte) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(p) == 0 {
		return 0, nil
	}
	n, err := f.readAt(p, f.offset)
	f.offset += int64(n)
	if n > 0 && err == io.EOF {
		err = nil
	}
	return n, err
}

func (f *openFile) ReadAt(p []byte, off int64) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.readAt(p, off)
}

// readAt reads at off; mu is held.
func (f *openFile) readAt(p []byte, off int64) (n int, err error) {
	switch {
	case f.r == nil:
		err = fs.ErrClosed
	case off < 0:
		err = fs.ErrInvalid
	default:
		n, err = f.r.ReadAt(p, off)
	}
	if err != nil && err != io.EOF {
		err = &fs.PathError{Op: "read", Path: f.path, Err: err}
	}
	return n, err
}

func (f *openFile) Seek(offset int64, whence int) (int64, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch whence {
	case io.SeekStart:
	case io.SeekCurrent:
		offset += f.offset
	case io.SeekEnd:
		offset += f.info.Size()
	default:
		offset = -1
	}
	if f.r == nil || offset < 0 {
		return 0, &fs.PathError{Op: "seek", Path: f.path, Err: fs.ErrInvalid}
	}
	f.offset = offset
	return offset, nil
}
