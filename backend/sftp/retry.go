package sftp

import (
	"context"
	"io/fs"
	"math/rand/v2"
	"time"
)

// The pauses between attempts double from the first to the longest.
const (
	firstPause   = 200 * time.Millisecond
	longestPause = 10 * time.Second
)

// retry runs f with a connection, and again after temporary failures, waiting
// longer each time. It takes one of the turns that bound parallelism.
func (s *Store) retry(ctx context.Context, f func(ctx context.Context, c *conn) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if s.isClosed() {
		return fs.ErrClosed
	}
	select {
	case s.turns <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	defer func() { <-s.turns }()
	for n := 0; ; n++ {
		err := s.once(ctx, f)
		if err == nil || ctx.Err() != nil || !temporary(err) || n >= s.patience() {
			if err != nil && ctx.Err() != nil {
				err = ctx.Err()
			}
			return err
		}
		if perr := s.pause(ctx, n); perr != nil {
			if ctx.Err() == nil {
				return err // closed: the failure says more
			}
			return perr
		}
	}
}

func (s *Store) once(ctx context.Context, f func(ctx context.Context, c *conn) error) error {
	c, err := s.acquire(ctx)
	if err != nil {
		return err
	}
	defer s.release(c)
	return f(ctx, c)
}

// pause waits before attempt n+1: the time doubles, and half of it is chance,
// so that many clients of a server that comes back do not come all at once.
func (s *Store) pause(ctx context.Context, n int) error {
	d := min(firstPause<<min(n, 10), longestPause)
	t := time.NewTimer(d/2 + rand.N(d/2+1))
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-s.ctx.Done():
		return fs.ErrClosed
	}
}

// firstRetries is how often a server is tried that has never answered.
const firstRetries = 5

// patience returns how often an operation may be repeated.
func (s *Store) patience() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.ever {
		return min(s.cfg.Retries, firstRetries)
	}
	return s.cfg.Retries
}

func (s *Store) isClosed() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.closed
}
