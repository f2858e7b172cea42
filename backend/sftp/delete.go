package sftp

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"time"

	"vault/backend"
	"vault/internal/durable"
)

// Delete implements [backend.Backend]. It does not wait for the deletion to
// be durable.
func (s *Store) Delete(ctx context.Context, name string) error {
	if err := s.begin(ctx, "delete", name); err != nil {
		return err
	}
	asked := false // in an attempt whose answer was lost
	err := s.retry(ctx, func(ctx context.Context, c *conn) error {
		// The library would go on to remove an empty directory of this name.
		info, err := lstat(ctx, c, s.file(name))
		if err == nil && !info.Mode().IsRegular() {
			err = errors.New("not a regular file")
			if info.IsDir() { // names are of objects
				err = fs.ErrNotExist
			}
		}
		if err == nil {
			asked = true
			err = do(ctx, c, func() error { return c.client.Remove(s.file(name)) })
		}
		if asked && errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		return s.missing(ctx, c, err)
	})
	if err != nil {
		return s.failed("delete", name, err)
	}
	return nil
}

// sweepAge is how old, by the server's clock, another process's temporary file
// must be to be taken for left over. Taking one in use harms nobody: its
// writer finds it missing when it wants to give it its name, and begins anew.
const sweepAge = 48 * time.Hour

// cleanTimeout bounds the attempt to remove one's own temporary file at once.
const cleanTimeout = 10 * time.Second

// sweepLater removes a temporary file of an operation that was given up, in
// the background, and leaves it to Sweep if that fails.
func (s *Store) sweepLater(temp string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.temps[temp] = true
	for _, c := range s.conns {
		if c.dead() {
			continue
		}
		c.users++
		go func() {
			defer s.release(c)
			ctx, cancel := context.WithTimeout(context.Background(), cleanTimeout)
			defer cancel()
			s.clean(ctx, c, temp)
		}()
		return
	}
}

// remember leaves a temporary file, which may not be there yet, to Sweep.
func (s *Store) remember(temp string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.temps[temp] = true
}

// clean removes one temporary file of this store and reports whether it did.
func (s *Store) clean(ctx context.Context, c *conn, temp string) (bool, error) {
	err := do(ctx, c, func() error { return c.client.Remove(temp) })
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return false, err
	}
	s.mu.Lock()
	delete(s.temps, temp)
	s.mu.Unlock()
	return err == nil, nil
}

// Sweep removes temporary files that were left by processes which were killed
// while they wrote, and by operations of this store that were given up, and
// returns how many. Files of others are taken only when they are two days old
// by the server's own clock.
func (s *Store) Sweep(ctx context.Context) (removed int, err error) {
	s.mu.Lock()
	var own []string
	for t := range s.temps {
		own = append(own, t)
	}
	s.mu.Unlock()
	for _, t := range own {
		err := s.retry(ctx, func(ctx context.Context, c *conn) error {
			ok, err := s.clean(ctx, c, t)
			if ok {
				removed++
			}
			return err
		})
		if err != nil {
			return removed, s.failed("sweep", "", err)
		}
	}
	now, err := s.serverTime(ctx)
	if err != nil || now.IsZero() {
		if err != nil {
			err = s.failed("sweep", "", err)
		}
		return removed, err
	}
	n, err := s.sweep(ctx, "", now.Add(-sweepAge))
	if removed += n; err != nil {
		err = s.failed("sweep", "", err)
	}
	return removed, err
}

// serverTime returns the time that the server gives new files; zero if there
// is no place yet.
func (s *Store) serverTime(ctx context.Context) (now time.Time, err error) {
	err = s.retry(ctx, func(ctx context.Context, c *conn) error {
		now = time.Time{}
		if there, err := s.present(ctx, c); err != nil || !there {
			return err
		}
		u := &upload{s: s}
		g, err := u.open(ctx, c)
		if err != nil {
			if u.temp != "" {
				s.remember(u.temp) // the answer was lost
			}
			return err
		}
		info, err := c.fstat(ctx, g.file)
		g.close()
		if u.drop(ctx, c); u.temp != "" {
			s.sweepLater(u.temp)
		}
		if err != nil {
			return err
		}
		now = info.ModTime()
		return nil
	})
	return now, err
}

// sweep removes what is older than limit in the sub-directory rel and below.
func (s *Store) sweep(ctx context.Context, rel string, limit time.Time) (removed int, err error) {
	list, err := s.entries(ctx, rel)
	if err != nil {
		return 0, err
	}
	prefix := ""
	if rel != "" {
		prefix = rel + "/"
	}
	for _, e := range list {
		name := prefix + e.Name()
		switch {
		case e.IsDir() && backend.Check(name) == nil:
			n, err := s.sweep(ctx, name, limit)
			if removed += n; err != nil {
				return removed, err
			}
		case e.Mode().IsRegular() && s.leftOver(e, limit):
			err := s.retry(ctx, func(ctx context.Context, c *conn) error {
				return do(ctx, c, func() error { return c.client.Remove(s.file(name)) })
			})
			switch {
			case err == nil:
				removed++
			case errors.Is(err, fs.ErrNotExist), errors.Is(err, fs.ErrPermission):
				// Gone, or another user's: not ours to remove.
			default:
				return removed, fmt.Errorf("remove %s: %w", name, err)
			}
		}
	}
	return removed, nil
}

// leftOver reports whether a file is a temporary one that nobody will come
// back to: named as ours are, old, and not of this store, which knows its own.
func (s *Store) leftOver(e os.FileInfo, limit time.Time) bool {
	return durable.IsTemp(e.Name()) && !strings.HasPrefix(e.Name(), durable.TempPrefix+s.id+"-") && e.ModTime().Before(limit)
}
