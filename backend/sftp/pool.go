package sftp

import (
	"context"
	"io/fs"
	"slices"
)

// dialing is an attempt to connect that several operations may wait for.
type dialing struct {
	done chan struct{} // closed when err is set
	err  error
}

// maxRefused is after how many failures to make a further connection the store
// makes do with those it has.
const maxRefused = 3

// acquire returns a connection for one operation, which must release it: the
// one that fewest others use. It waits for a connection only if there is none;
// a further one for busy times is made in the background.
func (s *Store) acquire(ctx context.Context) (*conn, error) {
	for {
		s.mu.Lock()
		if s.closed {
			s.mu.Unlock()
			return nil, fs.ErrClosed
		}
		s.conns = slices.DeleteFunc(s.conns, (*conn).dead)
		var best *conn
		for _, c := range s.conns {
			if best == nil || c.users < best.users {
				best = c
			}
		}
		more := best == nil || best.users > 0 && len(s.conns) < s.cfg.Connections && s.refused < maxRefused
		if more && s.dialing == nil {
			s.dialing = &dialing{done: make(chan struct{})}
			go s.connect(s.dialing)
		}
		if best != nil {
			best.users++
			s.mu.Unlock()
			return best, nil
		}
		d := s.dialing
		s.mu.Unlock()
		select {
		case <-d.done:
			if d.err != nil {
				return nil, d.err
			}
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// connect makes a connection for whoever wants it.
func (s *Store) connect(d *dialing) {
	c, err := s.newConn()
	s.mu.Lock()
	defer s.mu.Unlock()
	defer close(d.done)
	s.dialing = nil
	switch {
	case err == nil && s.closed:
		go c.hangUp()
		d.err = fs.ErrClosed
	case err == nil:
		s.conns = append(s.conns, c)
		s.ever = true
	default:
		if len(s.conns) > 0 {
			s.refused++
		}
		d.err = err
		if s.closed {
			d.err = fs.ErrClosed
		}
	}
}

func (s *Store) newConn() (*conn, error) {
	l, err := s.dial.dial(s.ctx, s.cfg.Timeout)
	if err != nil {
		return nil, s.soften(err)
	}
	c, err := newConn(s.ctx, l, s.cfg.Timeout, &s.flow)
	if err != nil {
		return nil, s.soften(err)
	}
	s.warnAbout(c.has)
	return c, nil
}

// soften makes failures temporary which are final only for a server that has
// never answered: after that, "connection refused" means that it restarts.
func (s *Store) soften(err error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if d, ok := err.(*dialError); ok && s.ever && d.mayPass {
		return &lost{err}
	}
	return err
}

// warnAbout tells what the server lacks.
func (s *Store) warnAbout(has features) {
	for _, f := range []struct {
		has  bool
		text string
	}{
		{has.hardlink, "the server cannot make hard links (hardlink@openssh.com): the repository cannot be shared by several writers"},
		{has.posixRename, "the server cannot replace files in one step (posix-rename@openssh.com): replacing an object will fail"},
		{has.fsync, "the server cannot be told to write to disk (fsync@openssh.com): a power cut there may take the latest backups"},
		{has.statvfs, "the server does not tell how full its disk is (statvfs@openssh.com): a full disk will look like any failure"},
	} {
		if !f.has {
			s.warn(f.text)
		}
	}
}

// release ends one operation's use of a connection.
func (s *Store) release(c *conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if c.users--; c.users == 0 && s.closed {
		go c.hangUp()
	}
}
