package sftp

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"

	"golang.org/x/sync/errgroup"

	"vault/backend"
)

// look finds out whether the repository's directory is there. It returns nil
// also if it is not but may be made; present says which.
func (s *Store) look(ctx context.Context, c *conn) error {
	_, err := s.present(ctx, c)
	return err
}

// present reports whether the repository's directory is there; false means
// that it never was, as far as this store knows, and its parent is.
func (s *Store) present(ctx context.Context, c *conn) (bool, error) {
	s.mu.Lock()
	seen := s.seen // before we look: others may make it meanwhile
	s.mu.Unlock()
	info, err := stat(ctx, c, s.root)
	switch {
	case err == nil && info.IsDir():
		s.found()
		return true, nil
	case err == nil:
		return false, &marked{kind: backend.ErrUnreachable, err: fmt.Errorf("%s is not a directory", s.root)}
	case !errors.Is(err, fs.ErrNotExist):
		return false, unreachable(err)
	}
	if seen {
		return false, gone(err)
	}
	if info, err := lstat(ctx, c, s.root); err == nil {
		if info.Mode()&fs.ModeSymlink == 0 {
			return s.present(ctx, c) // somebody has just made it
		}
		return false, &marked{kind: backend.ErrUnreachable, err: fmt.Errorf("%s is a symbolic link that leads nowhere", s.root), hint: "is what it leads to mounted on the server?"}
	} else if !errors.Is(err, fs.ErrNotExist) {
		return false, unreachable(err)
	}
	parent, err := stat(ctx, c, path.Dir(s.root))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return false, &marked{kind: backend.ErrUnreachable, err: fmt.Errorf("%s: no such directory", path.Dir(s.root)), hint: "is the path right, and is it mounted on the server?"}
	case err != nil:
		return false, unreachable(err)
	case !parent.IsDir():
		return false, &marked{kind: backend.ErrUnreachable, err: fmt.Errorf("%s is not a directory", path.Dir(s.root))}
	}
	return false, nil
}

// found notes that the repository's directory is there.
func (s *Store) found() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.seen = true
}

// gone says that the ground beneath the repository is no longer there.
func gone(err error) error {
	return &marked{kind: backend.ErrUnreachable, err: fmt.Errorf("the repository's directory: %w", err), hint: "was it removed or unmounted on the server?"}
}

// missing decides what "no such file" means: the object is missing if the
// place is there, or is one where nothing has been made yet.
func (s *Store) missing(ctx context.Context, c *conn, err error) error {
	if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if lerr := s.look(ctx, c); lerr != nil {
		return lerr
	}
	return err
}

func stat(ctx context.Context, c *conn, name string) (os.FileInfo, error) {
	return call(ctx, c, func() (os.FileInfo, error) { return c.client.Stat(name) })
}

func lstat(ctx context.Context, c *conn, name string) (os.FileInfo, error) {
	return call(ctx, c, func() (os.FileInfo, error) { return c.client.Lstat(name) })
}

// shard makes the sub-directory rel with its parents where they are missing.
// Their entries may not be durable yet, see entryDurable.
func (s *Store) shard(ctx context.Context, c *conn, rel string) error {
	if rel == "" {
		return s.makeRoot(ctx, c)
	}
	err := mkdir(ctx, c, s.dir(rel))
	if errors.Is(err, fs.ErrNotExist) {
		if err := s.shard(ctx, c, parentOf(rel)); err != nil {
			return err
		}
		err = mkdir(ctx, c, s.dir(rel))
	}
	if errors.Is(err, fs.ErrNotExist) {
		return gone(err)
	}
	return s.explain(ctx, c, err)
}

// makeRoot makes the repository's directory, the last component of its path only.
func (s *Store) makeRoot(ctx context.Context, c *conn) error {
	there, err := s.present(ctx, c)
	if err != nil || there {
		return err
	}
	if err := mkdir(ctx, c, s.root); err != nil {
		return unreachableBut(s.explain(ctx, c, err))
	}
	return s.look(ctx, c)
}

// unreachableBut is unreachable, except that a full disk stays one.
func unreachableBut(err error) error {
	if err == nil || temporary(err) || errors.Is(err, backend.ErrNoSpace) {
		return err
	}
	var m *marked
	if errors.As(err, &m) && m.kind == backend.ErrNoSpace {
		return err
	}
	return unreachable(err)
}

// mkdir makes a directory for its owner only. One that exists is fine.
func mkdir(ctx context.Context, c *conn, dir string) error {
	err := do(ctx, c, func() error { return c.client.Mkdir(dir) })
	if err == nil {
		// A server that knows no modes has its own ideas of access.
		if err := do(ctx, c, func() error { return c.client.Chmod(dir, 0o700) }); temporary(err) || isContext(err) {
			return err
		}
		return nil
	}
	if temporary(err) || isContext(err) || errors.Is(err, fs.ErrNotExist) {
		return err
	}
	switch info, serr := stat(ctx, c, dir); {
	case serr == nil && info.IsDir():
		return nil
	case temporary(serr):
		return serr // why it failed is not known
	}
	return err
}

func parentOf(rel string) string {
	if dir := path.Dir(rel); dir != "." {
		return dir
	}
	return ""
}

// doubtful returns the sub-directories from rel upwards whose entries in their
// parents this store does not know to be durable; "" is the repository's. It is
// empty if the server cannot make anything durable.
func (s *Store) doubtful(c *conn, rel string) []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var list []string
	for c.has.fsync && !s.synced[rel] {
		list = append(list, rel)
		if rel == "" {
			break
		}
		rel = parentOf(rel)
	}
	return list
}

// sure notes that the entries of these sub-directories are durable.
func (s *Store) sure(rels []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, rel := range rels {
		s.synced[rel] = true
	}
}

// above returns the directory on the server that holds the entry of the
// sub-directory rel.
func (s *Store) above(rel string) string {
	if rel == "" {
		return path.Dir(s.root)
	}
	return s.dir(parentOf(rel))
}

// dirSynced returns the failure to sync a directory, if it is one: a file system
// that cannot (EINVAL, ENOSYS) leaves nothing more to do.
func dirSynced(err error) error {
	if isBadMessage(err) || isUnsupported(err) {
		return nil
	}
	return err
}

// entrySynced is dirSynced for what is above rel. A parent of the repository that
// we may not read, or that is outside of a chroot, is left to whoever set up the place.
func entrySynced(rel string, err error) error {
	if rel == "" && errors.Is(err, fs.ErrPermission) {
		return nil
	}
	return dirSynced(err)
}

// entryDurable makes the entry of the sub-directory rel durable, and those of
// its parents: another process may have made one and not have come to syncing
// it, so that each is synced once by every process that relies on it.
func (s *Store) entryDurable(ctx context.Context, c *conn, rel string) error {
	list := s.doubtful(c, rel)
	g, ctx := errgroup.WithContext(ctx)
	for _, rel := range list {
		g.Go(func() error { return entrySynced(rel, syncDir(ctx, c, s.above(rel))) })
	}
	if err := g.Wait(); err != nil {
		return err
	}
	s.sure(list)
	return nil
}

// syncDir makes the entries of a directory durable.
func syncDir(ctx context.Context, c *conn, dir string) error {
	if !c.has.fsync {
		return nil
	}
	handle, err := c.open(ctx, dir)
	if err != nil {
		return err
	}
	defer c.closeLater(handle)
	return dirSynced(c.sync(ctx, handle))
}
