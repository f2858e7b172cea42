package repo

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"vault/crypto"
	"vault/snapshot"
)

// announce announces the session.
func (w *Writer) announce(ctx context.Context) error {
	for range 10 {
		if w.o.DryRun {
			now, err := w.clock(ctx)
			if err != nil {
				return err
			}
			if w.sid, err = crypto.NewSessionID(now, w.r.env.Rand); err != nil {
				return err
			}
			w.gc, err = w.r.listGC(ctx)
			w.session.Generation = w.gc.newest
			return err
		}
		a, err := w.r.announce(ctx, w.clock)
		if err == nil {
			w.sid, w.session, w.gc = a.sid, a.session, a.gc
		}
		if !errors.Is(err, errMoved) {
			return err
		}
	}
	return errors.New("begin backup: garbage collections keep starting; try again")
}

// announced is a session that was announced, and what gc/ held around that.
type announced struct {
	sid     crypto.SessionID
	session session
	gc      gcState
}

// errMoved says that a collection began while a session was announced.
var errMoved = errors.New("a collection has begun")

// announce creates a session record under a generation that does not move
// meanwhile (protocol: list, create, list again). If it does, it takes the
// session back and returns errMoved. The clock, which may ask the store as
// well, is asked at the same time as gc/.
func (r *Repo) announce(ctx context.Context, clock func(context.Context) (time.Time, error)) (a announced, err error) {
	var now time.Time
	var clockErr error
	var wg sync.WaitGroup
	wg.Go(func() { now, clockErr = clock(ctx) })
	a.gc, err = r.listGC(ctx)
	if wg.Wait(); err != nil || clockErr != nil {
		return a, errors.Join(err, clockErr)
	}
	if a.sid, err = crypto.NewSessionID(now, r.env.Rand); err != nil {
		return a, err
	}
	a.session = session{
		Generation: a.gc.newest, Started: snapshot.TimeOf(now),
		Host: r.env.Host, PID: uint64(r.env.PID), Program: r.env.Agent,
	}
	if _, err = r.create(ctx, crypto.KindSession, a.sid, sessionName(a.sid), a.session.encode()); err != nil {
		return a, err
	}
	after, err := r.listGC(ctx)
	if err != nil {
		return a, err
	}
	if after.newest != a.gc.newest {
		r.settle(ctx, a.sid)
		return a, errMoved
	}
	a.gc = after // a done may have landed
	return a, nil
}

// maxAhead is how far in the future the newest commit may lie before its
// clock is taken for wrong rather than followed.
const maxAhead = 24 * time.Hour

// clock returns the time for a new id: now, or just after the newest commit,
// so that ids follow each other even when a clock steps back.
func (w *Writer) clock(ctx context.Context) (time.Time, error) {
	now := w.r.env.Now()
	var last string
	for info, err := range w.r.be.List(ctx, commitsDir) {
		if err != nil {
			return now, fmt.Errorf("list %s: %w", commitsDir, err)
		}
		if OwnName(info.Name) {
			last = info.Name
		}
	}
	if last == "" {
		return now, nil
	}
	newest, err := crypto.ParseSessionID(last[len(commitsDir):])
	if err != nil {
		return now, err
	}
	next := newest.Time().Add(time.Millisecond)
	if next.Sub(now) > maxAhead {
		w.r.env.Warn(last, fmt.Errorf("its id is %s ahead of this machine's clock: one of the clocks is wrong", next.Sub(now).Round(time.Hour)))
		return now, nil
	}
	if next.After(now) {
		return next, nil
	}
	return now, nil
}

// settle removes the session record of a session that stored nothing. Best
// effort: a collector settles what is left.
func (w *Writer) settle(ctx context.Context) {
	if !w.o.DryRun {
		w.r.settle(ctx, w.sid)
	}
}

func (r *Repo) settle(ctx context.Context, sid crypto.SessionID) {
	r.be.Delete(context.WithoutCancel(ctx), sessionName(sid))
}
