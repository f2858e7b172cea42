package repo

import (
	"context"
	"errors"
	"fmt"
	"time"

	"vault/crypto"
	"vault/snapshot"
)

// Sessions of other clients: waiting for them, or taking their right to commit.

// Waiting is a session that a collection waits for.
type Waiting struct {
	ID      crypto.SessionID
	Host    string
	PID     uint64
	Started snapshot.Time
}

// Settle sees to it that every session that began before this generation has
// committed or never will: it waits while impatient says no, which is asked
// about each session again and again, with the count of its signs of life.
// Killing a session is always safe: its client has to upload again.
func (c *Collection) Settle(ctx context.Context, impatient func(Waiting, uint64) bool, pause func(context.Context) error) error {
	for {
		open, err := c.unsettled(ctx)
		if err != nil {
			return err
		}
		waiting := false
		for _, sid := range sorted(open, crypto.SessionID.Compare) {
			s := open[sid]
			if !impatient(Waiting{ID: sid, Host: s.Host, PID: s.PID, Started: s.Started}, s.Counter) {
				waiting = true
				continue
			}
			if err := c.kill(ctx, sid, s); err != nil {
				return err
			}
		}
		if !waiting {
			return nil
		}
		if err := pause(ctx); err != nil {
			return err
		}
	}
}

// Unsettled reports the sessions of earlier generations that have not committed.
func (c *Collection) Unsettled(ctx context.Context) ([]Waiting, error) {
	open, err := c.unsettled(ctx)
	var list []Waiting
	for _, sid := range sorted(open, crypto.SessionID.Compare) {
		s := open[sid]
		list = append(list, Waiting{ID: sid, Host: s.Host, PID: s.PID, Started: s.Started})
	}
	return list, err
}

func (c *Collection) unsettled(ctx context.Context) (map[crypto.SessionID]session, error) {
	sessions, err := c.r.listIDs(ctx, sessionsDir)
	if err != nil {
		return nil, err
	}
	commits, err := c.r.listIDs(ctx, commitsDir)
	if err != nil {
		return nil, err
	}
	open := map[crypto.SessionID]session{}
	for _, sid := range sorted(sessions, crypto.SessionID.Compare) {
		if _, ok := commits[sid]; ok {
			continue
		}
		s, err := c.r.readSession(ctx, sid)
		if isMissing(err) {
			continue // given up by its owner
		}
		if StateOf(err) == Damaged {
			// It may be of this very generation: then the killed record has to
			// stand until the next one makes the commit void.
			open[sid] = session{Generation: c.n}
			continue
		}
		if err != nil {
			return nil, err
		}
		if s.Generation < c.n {
			open[sid] = s
		}
	}
	return open, nil
}

func (r *Repo) listIDs(ctx context.Context, dir string) (map[crypto.SessionID]struct{}, error) {
	ids := map[crypto.SessionID]struct{}{}
	for info, err := range r.be.List(ctx, dir) {
		if err != nil {
			return nil, fmt.Errorf("list %s: %w", dir, err)
		}
		if sid, err := crypto.ParseSessionID(info.Name[len(dir):]); err == nil {
			ids[sid] = struct{}{}
		}
	}
	return ids, nil
}

func (r *Repo) readSession(ctx context.Context, sid crypto.SessionID) (session, error) {
	payload, _, err := r.fetch(ctx, crypto.KindSession, sessionName(sid))
	if err != nil {
		return session{}, err
	}
	s, err := decodeSession(payload)
	if err != nil {
		return session{}, damaged(sessionName(sid), err)
	}
	return s, nil
}

// kill takes the session's right to commit. Losing to its commit is fine.
func (c *Collection) kill(ctx context.Context, sid crypto.SessionID, s session) error {
	payload, err := snapshot.EncodeCommit(&snapshot.Commit{Kind: snapshot.CommitKilled, Generation: s.Generation})
	if err != nil {
		return err
	}
	err = c.r.withRoom(ctx, func() error {
		_, err := c.r.create(ctx, crypto.KindCommit, sid, commitName(sid), payload)
		return err
	})
	if errors.Is(err, errTaken) {
		return nil
	}
	return err
}

// Patience says how long to wait for the sessions of other clients.
type Patience struct {
	For   time.Duration                              // without a sign of life
	Dead  func(Waiting) bool                         // whose client is known to be gone; may be nil
	Wait  func([]Waiting)                            // called before each pause; may be nil
	Now   func() time.Time                           // default: the Repo's clock
	Sleep func(context.Context, time.Duration) error // default: the Repo's timer
}

// SettleWith is Settle with patience: a session is given up when its counter
// has not moved for that long by this process's own clock.
func (c *Collection) SettleWith(ctx context.Context, p Patience) error {
	if p.Now == nil {
		p.Now = c.r.env.Now
	}
	if p.Sleep == nil {
		p.Sleep = c.r.sleep
	}
	type observed struct {
		counter uint64
		since   time.Time
	}
	seen := map[crypto.SessionID]observed{}
	var waiting []Waiting
	impatient := func(w Waiting, counter uint64) bool {
		now := p.Now()
		s, ok := seen[w.ID]
		if !ok || s.counter != counter {
			s = observed{counter, now}
			seen[w.ID] = s
		}
		if p.Dead != nil && p.Dead(w) || now.Sub(s.since) >= p.For {
			return true
		}
		waiting = append(waiting, w)
		return false
	}
	return c.Settle(ctx, impatient, func(ctx context.Context) error {
		if p.Wait != nil {
			p.Wait(waiting)
		}
		waiting = waiting[:0]
		return p.Sleep(ctx, min(p.For/10+time.Millisecond, 15*time.Second))
	})
}

func (r *Repo) sleep(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-r.env.After(d):
		return nil
	}
}
