package repo

import (
	"context"
	"fmt"

	"vault/crypto"
)

// Sweep deletes what the newest done says may go, and the records that it has
// made meaningless. It can be interrupted and repeated by anyone; deleting
// what is gone already does nothing.
func (r *Repo) Sweep(ctx context.Context) (deleted int, err error) {
	g, err := r.listGC(ctx)
	if err != nil || g.done == 0 {
		return 0, err
	}
	payload, _, err := r.fetch(ctx, crypto.KindDone, doneName(g.done))
	if err != nil {
		return 0, err
	}
	d, err := decodeDone(payload)
	if err != nil {
		return 0, damaged(doneName(g.done), err)
	}
	s := sweeper{r: r, d: d}
	for _, step := range []func(context.Context) error{s.data, s.commits, s.events, s.sessions, s.records} {
		if err := step(ctx); err != nil {
			return s.deleted, err
		}
	}
	return s.deleted, nil
}

type sweeper struct {
	r       *Repo
	d       done
	deleted int
}

func (s *sweeper) delete(ctx context.Context, name string) error {
	err := s.r.be.Delete(ctx, name)
	if isMissing(err) {
		return nil
	}
	if err == nil {
		s.deleted++
	}
	return err
}

func (s *sweeper) data(ctx context.Context) error {
	for _, id := range s.d.DeletePacks {
		if err := s.delete(ctx, id.Path()); err != nil {
			return err
		}
	}
	for _, name := range s.d.DeleteSegments {
		if err := s.delete(ctx, indexName(name)); err != nil {
			return err
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

// sessions deletes those that began before this generation: all are settled.
// One that cannot be read goes if it has committed or was killed; else it stays for
// the next generation to settle.
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
