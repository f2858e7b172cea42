// Package local keeps a repository in a directory of a mounted file system:
// an object is a file, the slashes of its name are sub-directories.
//
// Files appear whole and durable (see vault/internal/durable): data, fsync,
// link or rename, fsync of the directory, and of the parents of new ones.
// Everything happens below a directory descriptor that is held from the first
// use on, and no symbolic link below the repository's directory is followed,
// so that a planted or swapped one redirects nothing. The repository's own path
// may lead through links; it is resolved once.
//
// Caveats:
//
//   - Files are made with mode 0600 and directories with 0700, for one user. A
//     repository that several users share needs them to be the same uid, or a
//     directory with default ACLs, which take the place of the modes.
//   - Since the directory is held, a file system that is mounted over it or
//     unmounted lazily while the backend is open is not noticed.
//   - Sub-directories are never removed, so that a writer that has just made
//     sure of one can rely on it.
//   - On a network file system Create is as exclusive as the server makes it.
//     One that cannot create exclusively at all makes Create fail with
//     errors.ErrUnsupported.
package local

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"sync"

	"vault/backend"
	"vault/internal/durable"
)

const (
	fileMode fs.FileMode = 0o600
	dirMode  fs.FileMode = 0o700
)

// Store is a [backend.Backend] in a directory. Use [Open].
type Store struct {
	path string       // absolute
	hook durable.Hook // nil but in tests

	mu     sync.Mutex      // guards what follows
	root   *durable.Dir    // nil while the place does not exist
	users  int             // how many operations use root now
	closed bool            // root is closed when users is 0
	synced map[string]bool // directories whose entries in their parents this process knows to be durable
}

var _ backend.Backend = (*Store)(nil)

// Open returns the store in the directory dir and makes nothing. If dir does
// not exist but its parent does, the store is empty and is looked for anew at
// every operation; the first Put or Create makes the directory. Anything else
// that keeps dir from being opened is backend.ErrUnreachable.
func Open(dir string) (*Store, error) { return open(dir, nil) }

func open(dir string, hook durable.Hook) (*Store, error) {
	if dir == "" {
		return nil, &backend.Error{Op: "open", Err: errors.New("no directory given")}
	}
	abs, err := filepath.Abs(dir)
	if err != nil {
		return nil, &backend.Error{Op: "open", Place: dir, Kind: backend.ErrUnreachable, Err: err}
	}
	s := &Store{path: abs, hook: hook, synced: make(map[string]bool)}
	if err := s.openRoot(); err != nil && err != errMissing {
		return nil, s.failed("open", "", err)
	}
	return s, nil
}

// errMissing says that the place does not exist while its parent does.
var errMissing = errors.New("no such directory")

// openRoot opens the repository's directory. S.mu is held or s not yet shared.
func (s *Store) openRoot() error {
	err := s.openDir()
	if err == nil {
		return nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return unreachable(err, "")
	}
	switch info, lerr := os.Lstat(s.path); {
	case lerr == nil && info.Mode()&fs.ModeSymlink != 0:
		return unreachable(errors.New("a symbolic link that leads nowhere"), "is what it leads to mounted?")
	case lerr == nil: // somebody has made it since
		if err := s.openDir(); err != nil {
			return unreachable(err, "")
		}
		return nil
	}
	parent, perr := os.Stat(filepath.Dir(s.path))
	switch {
	case perr != nil:
		return unreachable(perr, "is it mounted?")
	case !parent.IsDir():
		return unreachable(err, "")
	}
	return errMissing
}

func (s *Store) openDir() error {
	root, err := durable.OpenDir(s.path)
	if err != nil {
		return err
	}
	root.SetHook(s.hook)
	s.root = root
	return nil
}

// acquire returns the root for one operation, which must release it. It
// returns errMissing if there is none.
func (s *Store) acquire() (*durable.Dir, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, fs.ErrClosed
	}
	if s.root == nil {
		if err := s.openRoot(); err != nil {
			return nil, err
		}
	}
	s.users++
	return s.root, nil
}

func (s *Store) release() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.users--; s.users == 0 && s.closed {
		s.root.Close()
	}
}

// Directory implements [backend.Local].
func (s *Store) Directory() string { return s.path }

// Close implements [backend.Backend]. Operations under way may finish.
func (s *Store) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return s.failed("close", "", fs.ErrClosed)
	}
	s.closed = true
	if s.root != nil && s.users == 0 {
		return s.root.Close()
	}
	return nil
}

// Put implements [backend.Backend].
func (s *Store) Put(ctx context.Context, name string, data []byte) error {
	return s.write(ctx, "put", name, func(d *durable.Dir, base string) error {
		return d.Replace(base, data, fileMode)
	})
}

// Create implements [backend.Backend]. When it answers fs.ErrExist, what
// exists is durable.
func (s *Store) Create(ctx context.Context, name string, data []byte) error {
	return s.write(ctx, "create", name, func(d *durable.Dir, base string) error {
		return d.Create(base, data, fileMode)
	})
}

// Get implements [backend.Backend].
func (s *Store) Get(ctx context.Context, name string, off, n int64) (io.ReadCloser, error) {
	if err := s.begin(ctx, "get", name); err != nil {
		return nil, err
	}
	root, err := s.acquire()
	if err != nil {
		return nil, s.failed("get", name, err)
	}
	defer s.release()
	f, err := root.OpenFile(name)
	if err != nil {
		return nil, s.failed("get", name, err)
	}
	switch size := f.Size(); {
	case off < 0:
		err = fs.ErrInvalid
	case off > size || n > size-off:
		err = io.ErrUnexpectedEOF
	case n < 0:
		n = size - off
	}
	if err != nil {
		f.Close()
		return nil, s.failed("get", name, err)
	}
	return &reader{ctx: ctx, s: s, name: name, f: f, off: off, left: n}, nil
}

// Delete implements [backend.Backend]. It does not wait for the deletion to
// be durable.
func (s *Store) Delete(ctx context.Context, name string) error {
	if err := s.begin(ctx, "delete", name); err != nil {
		return err
	}
	root, err := s.acquire()
	if err != nil {
		return s.failed("delete", name, err)
	}
	defer s.release()
	dir, base := path.Split(name)
	d := root
	if dir != "" {
		if d, err = root.OpenDir(strings.TrimSuffix(dir, "/")); err != nil {
			return s.failed("delete", name, err)
		}
		defer d.Close()
	}
	if err := d.Remove(base); err != nil {
		return s.failed("delete", name, err)
	}
	return nil
}

// begin checks what every operation on an object checks first.
func (s *Store) begin(ctx context.Context, op, name string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := backend.Check(name); err != nil {
		return s.failed(op, name, err)
	}
	return nil
}

// reader reads one version of an object.
type reader struct {
	ctx       context.Context
	s         *Store
	name      string
	f         *durable.FileReader // nil once closed
	off, left int64
}

// Remaining tells backend.ReadAll how much to allocate.
func (r *reader) Remaining() int64 { return r.left }

func (r *reader) Read(p []byte) (int, error) {
	if r.f == nil {
		return 0, r.s.failed("read", r.name, fs.ErrClosed)
	}
	if err := r.ctx.Err(); err != nil {
		return 0, err
	}
	if len(p) == 0 {
		return 0, nil
	}
	if r.left == 0 {
		return 0, io.EOF
	}
	n, err := r.f.ReadAt(p[:min(int64(len(p)), r.left)], r.off)
	r.off += int64(n)
	r.left -= int64(n)
	if err == io.EOF { // left is not 0, or ReadAt had filled p: somebody cut the file
		err = io.ErrUnexpectedEOF
	}
	if err != nil {
		err = r.s.failed("read", r.name, err)
	}
	return n, err
}

func (r *reader) Close() error {
	if r.f == nil {
		return nil
	}
	f := r.f
	r.f = nil
	return f.Close()
}
