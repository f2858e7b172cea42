package save

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"vault/backend"
	"vault/crypto"
	"vault/snapshot"
	"vault/snapshot/archive"
)

// ErrStalled says that the repository took nothing, and gave nothing, for longer
// than Options.Patience. It comes with backend.ErrUnreachable.
var ErrStalled = errors.New("the repository did not answer")

// errStopped is what a writer is told that nobody waits for any more.
var errStopped = errors.New("the reading was given up")

// around hands the reading to Options.Around. What Around brings to rest must not wait
// for a store: the reading that it is handed returns when its context ends or
// the patience does, even if a blob still waits to be stored, and it returns when
// everything is read and not only when everything is stored. What is left of it
// ends here.
func (s *session) around(ctx context.Context) error {
	var late <-chan error
	err := s.o.Around(ctx, func(ctx context.Context) error {
		ctx, give := context.WithCancelCause(ctx)
		defer give(nil)
		done := make(chan error, 1)
		go func() { done <- s.capture(ctx) }()
		if s.o.Patience > 0 {
			watch := time.NewTicker(max(s.o.Patience/stallTicks, time.Millisecond))
			defer watch.Stop()
			if m, ok := s.r.Backend().(backend.Mover); ok {
				s.gauge.moved = m.Moved
			}
			go s.gauge.watch(ctx, watch.C, func() { give(fmt.Errorf("%w for %v: %w", ErrStalled, s.o.Patience, backend.ErrUnreachable)) })
		}
		select {
		case err := <-done:
			return err
		case <-ctx.Done():
			late = done
			s.silence()
			return context.Cause(ctx)
		}
	})
	if late != nil {
		if ctx.Err() == nil { // there will be no checkpoint
			s.quit(errStopped)
		}
		<-late
	}
	return err
}

// stallTicks is how often the store is looked at within the patience.
const stallTicks = 8

// gauge counts what the store is asked while the sources are read. It is safe for
// concurrent use.
type gauge struct {
	asked, answered atomic.Int64
	moved           func() int64 // bytes to and from the store; may be nil
}

// watch calls stalled once when at stallTicks ticks in a row something was asked and
// nothing had been answered since the first of them. It returns then, or when ctx ends.
//
// A pack on its way over a slow line is no stall: bytes move at most ticks then. That they
// move at some says nothing, as each new attempt to reach a dead store fills buffers.
func (g *gauge) watch(ctx context.Context, ticks <-chan time.Time, stalled func()) {
	idle, moving, last, bytes := 0, 0, int64(-1), int64(0)
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticks:
		}
		answered := g.answered.Load()
		if answered != last || g.asked.Load() == answered {
			idle, moving, last = 0, 0, answered
			continue
		}
		if g.moved != nil {
			if n := g.moved(); n != bytes {
				bytes, moving = n, moving+1
			}
		}
		if idle++; idle < stallTicks {
			continue
		}
		if moving < stallTicks/2 {
			stalled()
			return
		}
		idle, moving = 0, 0
	}
}

// gaugedStore is a lane whose waiting is counted.
type gaugedStore struct {
	archive.Store
	g *gauge
}

func (s gaugedStore) Put(ctx context.Context, kind crypto.BlobKind, data []byte) (crypto.ID, bool, error) {
	s.g.asked.Add(1)
	defer s.g.answered.Add(1)
	return s.Store.Put(ctx, kind, data)
}

// gaugedSource is the trees of parents; waiting for them is counted as well.
type gaugedSource struct {
	snapshot.Source
	g *gauge
}

func (s gaugedSource) Get(ctx context.Context, kind crypto.BlobKind, id crypto.ID, buf []byte) ([]byte, error) {
	s.g.asked.Add(1)
	defer s.g.answered.Add(1)
	return s.Source.Get(ctx, kind, id, buf)
}
