package repo

import (
	"context"
	"errors"
	"fmt"

	"vault/backend"
	"vault/crypto"
	"vault/pack"
)

// Swept counts what a sweep met.
type Swept struct {
	Deleted int // objects that are gone now
	Held    int // objects that the store does not let go yet: a later sweep, or a later collection, removes them
}

// Sweep deletes what the newest done says may go, and the records that it has
// made meaningless. It can be interrupted and repeated by anyone; deleting
// what is gone already does nothing.
func (r *Repo) Sweep(ctx context.Context) (Swept, error) { return r.sweep(ctx, nil) }

// Sweep is [Repo.Sweep] for a client that has listed what is stored: it asks for
// nothing to be deleted twice.
func (c *Collection) Sweep(ctx context.Context) (Swept, error) { return c.r.sweep(ctx, c.packs) }

// sweep deletes; of packs only those that are stored, if that is known.
func (r *Repo) sweep(ctx context.Context, stored map[pack.ID]int64) (Swept, error) {
	g, err := r.listGC(ctx)
	if err != nil || g.done == 0 {
		return Swept{}, err
	}
	payload, _, err := r.fetch(ctx, crypto.KindDone, doneName(g.done))
	if err != nil {
		return Swept{}, err
	}
	d, err := decodeDone(payload)
	if err != nil {
		return Swept{}, damaged(doneName(g.done), err)
	}
	s := sweeper{r: r, d: d, stored: stored}
	for _, step := range []func(context.Context) error{s.packs, s.segments, s.sessions, s.commits, s.events, s.records} {
		if err := step(ctx); err != nil {
			return s.Swept, err
		}
	}
	return s.Swept, nil
}

type sweeper struct {
	Swept
	r      *Repo
	d      done
	stored map[pack.ID]int64 // packs that were listed, or nil
}

func (s *sweeper) delete(ctx context.Context, name string) error {
	switch err := s.r.be.Delete(ctx, name); {
	case err == nil:
		s.Deleted++
	case errors.Is(err, backend.ErrLocked):
		s.Held++
	case !isMissing(err):
		return err
	}
	return nil
}

func (s *sweeper) packs(ctx context.Context) error {
	for _, id := range s.d.DeletePacks {
		if _, ok := s.stored[id]; !ok && s.stored != nil {
			continue
		}
		if err := s.delete(ctx, id.Path()); err != nil {
			return err
		}
	}
	return nil
}

// segments deletes index segments, of those that are stored: commits that landed
// meanwhile may have brought more of them than were there before.
func (s *sweeper) segments(ctx context.Context) error {
	if len(s.d.DeleteSegments) == 0 {
		return nil
	}
	names, err := ahead(ctx, s.r.be, indexDir).wait()
	if err != nil {
		return fmt.Errorf("list %s: %w", indexDir, err)
	}
	stored := make(map[string]struct{}, len(names))
	for _, name := range names {
		stored[name] = struct{}{}
	}
	for _, id := range s.d.DeleteSegments {
		if _, ok := stored[indexName(id)]; !ok {
			continue
		}
		if err := s.delete(ctx, indexName(id)); err != nil {
			return err
		}
	}
	return nil
}

// sessions deletes those that began before this generation: all are settled.
// One that cannot be read goes if it has committed or was killed, which is why this
// comes before killed records are deleted; else it stays for the next generation to
// settle.
func (s *sweeper) sessions(ctx context.Context) error {
	ids, err := s.r.listIDs(ctx, sessionsDir)
	if err != nil {
		return err
	}
	commits, err := s.r.listIDs(ctx, commitsDir)
	if err != nil {
		return err
	}
	for _, sid := range sorted(ids, crypto.SessionID.Compare) {
		session, err := s.r.readSession(ctx, sid)
		if isMissing(err) {
			continue
		}
		_, committed := commits[sid]
		switch {
		case err != nil && StateOf(err) != Damaged:
			return err
		case err != nil && !committed:
			continue
		}
		if err != nil || session.Generation < s.d.N {
			if err := s.delete(ctx, sessionName(sid)); err != nil {
				return err
			}
		}
	}
	return nil
}

// commits deletes those that can never count again: dropped, void or killed,
// of sessions that began before this generation.
func (s *sweeper) commits(ctx context.Context) error {
	ids, err := s.r.listIDs(ctx, commitsDir)
	if err != nil {
		return err
	}
	for _, sid := range sorted(ids, crypto.SessionID.Compare) {
		if s.d.lists(sid) {
			continue
		}
		k, err := s.r.readCommit(ctx, sid)
		if isMissing(err) || StateOf(err) == Damaged {
			continue // damaged: whether it counts is not known, so it stays
		}
		if err != nil {
			return err
		}
		if k.Generation < s.d.N {
			if err := s.delete(ctx, commitName(sid)); err != nil {
				return err
			}
		}
	}
	return nil
}

// events deletes those of commits that are gone.
func (s *sweeper) events(ctx context.Context) error {
	var names []string
	for info, err := range s.r.be.List(ctx, eventsDir) {
		if err != nil {
			return fmt.Errorf("list %s: %w", eventsDir, err)
		}
		if OwnName(info.Name) {
			names = append(names, info.Name)
		}
	}
	ids, err := s.r.listIDs(ctx, commitsDir) // after the events: a commit comes before its events
	if err != nil {
		return err
	}
	for _, name := range names {
		sid, _, _ := parseEvent(name)
		if _, ok := ids[sid]; !ok {
			if err := s.delete(ctx, name); err != nil {
				return err
			}
		}
	}
	return nil
}

// records deletes those of older generations.
func (s *sweeper) records(ctx context.Context) error {
	var old []string
	for info, err := range s.r.be.List(ctx, gcDir) {
		if err != nil {
			return fmt.Errorf("list %s: %w", gcDir, err)
		}
		if n, _, ok := parseGC(info.Name); ok && n < s.d.N {
			old = append(old, info.Name)
		}
	}
	for _, name := range old {
		if err := s.delete(ctx, name); err != nil {
			return err
		}
	}
	return nil
}
