package local

import (
	"context"
	"errors"
	"io/fs"
	"path"
	"path/filepath"
	"strings"

	"vault/backend"
	"vault/internal/durable"
)

// write runs store on the directory that name belongs to, which it makes if
// need be.
func (s *Store) write(ctx context.Context, op, name string, store func(d *durable.Dir, base string) error) error {
	if err := s.begin(ctx, op, name); err != nil {
		return err
	}
	root, err := s.acquire()
	if err == errMissing {
		root, err = s.makeRoot()
	}
	if err != nil {
		return s.failed(op, name, gone(err))
	}
	defer s.release()
	dir, base := path.Split(name)
	d, err := s.shard(root, strings.TrimSuffix(dir, "/"))
	if err != nil {
		return s.failed(op, name, gone(err))
	}
	if d != root {
		defer d.Close()
	}
	if err := store(d, base); err != nil {
		return s.failed(op, name, gone(err))
	}
	return nil
}

// gone turns "no such file" into backend.ErrUnreachable: when we write, what
// is missing is not the object but the ground beneath it.
func gone(err error) error {
	var m *marked
	if errors.Is(err, fs.ErrNotExist) && !errors.As(err, &m) {
		return unreachable(err, "was the repository's directory removed or unmounted?")
	}
	return err
}

// makeRoot makes the repository's directory, the last component of its path
// only, and acquires it.
func (s *Store) makeRoot() (*durable.Dir, error) {
	parent, err := durable.OpenDir(filepath.Dir(s.path))
	if err != nil {
		return nil, err
	}
	defer parent.Close()
	parent.SetHook(s.hook)
	if err := parent.Mkdir(filepath.Base(s.path), dirMode); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, err
	}
	if err := parent.Sync(); err != nil {
		return nil, err
	}
	root, err := s.acquire()
	if err == errMissing {
		err = unreachable(err, "was it removed again?")
	}
	if err == nil {
		s.markSynced("")
	}
	return root, err
}

// shard opens the directory dir of the repository and makes it if it is
// missing. When it returns, dir's entry and those of its parents are durable:
// another process may have made one and not have come to syncing it, so that
// each is synced once by every process that relies on it. The result is root
// itself for "", else the caller closes it.
func (s *Store) shard(root *durable.Dir, dir string) (*durable.Dir, error) {
	if dir == "" {
		return root, s.syncRoot()
	}
	d, err := root.OpenDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return s.makeShard(root, dir)
	}
	if err != nil || s.isSynced(dir) {
		return d, err
	}
	if err := s.syncEntry(root, dir); err != nil {
		d.Close()
		return nil, err
	}
	return d, nil
}

// makeShard makes dir below its parent, for which it calls upon shard.
func (s *Store) makeShard(root *durable.Dir, dir string) (*durable.Dir, error) {
	above, base := path.Split(dir)
	parent, err := s.shard(root, strings.TrimSuffix(above, "/"))
	if err != nil {
		return nil, err
	}
	if parent != root {
		defer parent.Close()
	}
	if err := parent.Mkdir(base, dirMode); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, err
	}
	if err := parent.Sync(); err != nil {
		return nil, err
	}
	s.markSynced(dir)
	return parent.OpenDir(base)
}

// syncEntry makes the entry of dir, which exists, durable in its parent.
func (s *Store) syncEntry(root *durable.Dir, dir string) error {
	above, _ := path.Split(dir)
	parent, err := s.shard(root, strings.TrimSuffix(above, "/"))
	if err != nil {
		return err
	}
	if parent != root {
		defer parent.Close()
	}
	if err := parent.Sync(); err != nil {
		return err
	}
	s.markSynced(dir)
	return nil
}

// syncRoot makes the entry of the repository's directory durable in its
// parent. A parent that we may not read is left to whoever made the directory:
// it was not us, or makeRoot had synced it.
func (s *Store) syncRoot() error {
	if s.isSynced("") {
		return nil
	}
	parent, err := durable.OpenDir(filepath.Dir(s.path))
	switch {
	case errors.Is(err, fs.ErrPermission):
	case err != nil:
		return err
	default:
		defer parent.Close()
		parent.SetHook(s.hook)
		if err := parent.Sync(); err != nil {
			return err
		}
	}
	s.markSynced("")
	return nil
}

func (s *Store) isSynced(dir string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.synced[dir]
}

func (s *Store) markSynced(dir string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.synced[dir] = true
}

// Sweep removes temporary files that processes left which were killed while
// they wrote, and returns how many. On Linux there are such files only where
// the file system has no unnamed ones, and in the instant of replacing an
// object. Elsewhere it is errors.ErrUnsupported.
func (s *Store) Sweep(ctx context.Context) (removed int, err error) {
	root, err := s.acquire()
	switch {
	case err == errMissing:
		return 0, nil
	case err != nil:
		return 0, s.failed("sweep", "", err)
	}
	defer s.release()
	err = s.eachDir(ctx, root, "", func(d *durable.Dir) error {
		n, err := d.Sweep()
		removed += n
		return err
	})
	if err != nil && ctx.Err() == nil {
		err = s.failed("sweep", "", err)
	}
	return removed, err
}

// eachDir calls f for d, whose prefix is given, and the directories below it
// that may hold objects.
func (s *Store) eachDir(ctx context.Context, d *durable.Dir, prefix string, f func(*durable.Dir) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := f(d); err != nil {
		return err
	}
	list, err := d.Entries()
	if err != nil {
		return err
	}
	for _, e := range list {
		if e.Kind != durable.Directory || backend.Check(prefix+e.Name) != nil {
			continue
		}
		sub, err := d.OpenDir(e.Name)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		err = s.eachDir(ctx, sub, prefix+e.Name+"/", f)
		sub.Close()
		if err != nil {
			return err
		}
	}
	return nil
}
