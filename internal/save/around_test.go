package save

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"
	"time"

	"vault/backend"
	"vault/internal/repotest"
	"vault/repo"
	"vault/snapshot/archive"
)

// held is a store that takes no packs and gives none while it is held.
type held struct {
	backend.Backend
	mu   sync.Mutex
	gate chan struct{} // nil while packs are taken; closed to let them go on
}

func (h *held) hold() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.gate = make(chan struct{})
}

func (h *held) let() {
	h.mu.Lock()
	defer h.mu.Unlock()
	close(h.gate)
	h.gate = nil
}

// pass waits until the store is held no more.
func (h *held) pass(ctx context.Context, name string) error {
	h.mu.Lock()
	gate := h.gate
	h.mu.Unlock()
	if gate != nil && strings.HasPrefix(name, "packs/") {
		select {
		case <-gate:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

func (h *held) Put(ctx context.Context, name string, data []byte) error {
	if err := h.pass(ctx, name); err != nil {
		return err
	}
	return h.Backend.Put(ctx, name, data)
}

func (h *held) Get(ctx context.Context, name string, off, n int64) (io.ReadCloser, error) {
	if err := h.pass(ctx, name); err != nil {
		return nil, err
	}
	return h.Backend.Get(ctx, name, off, n)
}

// heldPlace has more to save than may wait in memory for a store that takes nothing.
func heldPlace(t *testing.T) (*place, *held) {
	p := newPlace(t)
	h := &held{Backend: p.be}
	p.r = repotest.Open(t, h)
	p.write("big", 1, 64*repotest.Params().PackSize)
	return p, h
}

// TestStalled: a store that does not answer ends the reading, not only when the driver
// has lost its patience; nothing is committed, and the next backup is whole.
func TestStalled(t *testing.T) {
	p, h := heldPlace(t)
	o := p.options()
	o.Patience = 200 * time.Millisecond
	back := false
	o.Around = func(ctx context.Context, read func(context.Context) error) error {
		h.hold()
		err := read(ctx)
		if !errors.Is(err, ErrStalled) {
			t.Errorf("the reading ended with %v", err)
		}
		back = true
		return err
	}
	report, err := Run(context.Background(), p.r, o)
	if !errors.Is(err, ErrStalled) || repo.StateOf(err) != repo.Unreachable || report.Outcome != 0 || !back {
		t.Errorf("%v, %+v", err, report)
	}
	h.let()
	if n := p.backups(); n != 0 {
		t.Errorf("%d backups are visible", n)
	}
	o.Around = func(ctx context.Context, read func(context.Context) error) error { return read(ctx) }
	o.Patience = time.Hour
	report = p.run(o)
	p.same(&report.Backup, "big")
}

// TestStopsAtOnce: when its context ends, the reading returns although the store still
// takes nothing; what the store takes later is kept.
func TestStopsAtOnce(t *testing.T) {
	p, h := heldPlace(t)
	ctx, cancel := context.WithCancelCause(context.Background())
	stop := errors.New("SIGTERM")
	o := p.options()
	o.Prewarm = true
	o.Around = func(ctx context.Context, read func(context.Context) error) error {
		p.write("more", 2, 64*repotest.Params().PackSize)
		h.hold()
		cancel(stop)
		err := read(ctx)
		if !errors.Is(err, stop) {
			t.Errorf("the reading ended with %v", err)
		}
		h.let()
		return err
	}
	if report, err := Run(ctx, p.r, o); err != nil || report.Outcome != Interrupted || !report.Kept {
		t.Errorf("%v, %+v", err, report)
	}
	if n := p.backups(); n != 0 {
		t.Errorf("%d backups are visible", n)
	}
}

// TestReadsAfterPrewarm: what the pass before has seen is not asked for again, whether
// it was stored then or long before.
func TestReadsAfterPrewarm(t *testing.T) {
	p, h := heldPlace(t)
	for i := range 300 {
		p.write(fmt.Sprintf("dir%d/sub/%d", i%7, i), uint64(i), 10)
	}
	o := p.options()
	o.Prewarm = true
	o.Around = func(ctx context.Context, read func(context.Context) error) error {
		h.hold()
		p.write("dir3/new", 3, 1000)
		err := read(ctx)
		h.let()
		return err
	}
	for range 2 {
		p.r = repotest.Open(t, h)
		report := p.run(o)
		if report.Outcome != Committed || !report.Backup.Complete() {
			t.Errorf("%+v", report)
		}
		p.same(&report.Backup, "dir3/new")
		p.write("dir5/new", 5, 1000)
	}
}

// TestReadsOn: the reading returns when everything is read; that the store has taken
// nothing of it yet holds up the commit, not what is at rest.
func TestReadsOn(t *testing.T) {
	p, h := heldPlace(t)
	p.write("big", 1, 1000)
	o := p.options()
	o.Around = func(ctx context.Context, read func(context.Context) error) error {
		h.hold()
		err := read(ctx)
		h.let()
		return err
	}
	report := p.run(o)
	if v := report.Backup.Volumes[0]; report.Outcome != Committed || v.BytesStored == 0 {
		t.Errorf("%v, %d bytes stored", report.Outcome, v.BytesStored)
	}
	p.same(&report.Backup, "big")
}

// moves returns a count of bytes that grows at each nth call.
func moves(n int) func() int64 {
	calls := 0
	return func() int64 { calls++; return int64(calls / n) }
}

func TestGauge(t *testing.T) {
	for name, tc := range map[string]struct {
		between func(g *gauge) // two ticks
		moved   func() int64
		want    bool
	}{
		"nothing is asked":             {func(*gauge) {}, nil, false},
		"asked, and no answer":         {func(g *gauge) { g.asked.Store(3); g.answered.Store(2) }, nil, true},
		"asked, and answers come":      {func(g *gauge) { g.asked.Add(1); g.answered.Add(1); g.asked.CompareAndSwap(1, 2) }, nil, false},
		"everything was answered":      {func(g *gauge) { g.asked.Store(5); g.answered.Store(5) }, nil, false},
		"one waits, others get theirs": {func(g *gauge) { g.asked.CompareAndSwap(0, 1); g.asked.Add(1); g.answered.Add(1) }, nil, false},
		"a pack on a slow line":        {func(g *gauge) { g.asked.Store(1) }, moves(1), false},
		"attempts that fill buffers":   {func(g *gauge) { g.asked.Store(1) }, moves(stallTicks / 2), true},
	} {
		t.Run(name, func(t *testing.T) {
			g := gauge{moved: tc.moved}
			ctx, cancel := context.WithCancel(t.Context())
			ticks, stalled, ended := make(chan time.Time), false, make(chan struct{})
			go func() {
				defer close(ended)
				g.watch(ctx, ticks, func() { stalled = true })
			}()
			for range 3 * stallTicks {
				tc.between(&g)
				select {
				case ticks <- time.Time{}:
				case <-ended:
				}
			}
			cancel()
			<-ended
			if stalled != tc.want {
				t.Errorf("stalled is %v", stalled)
			}
		})
	}
	// Not before its time.
	var g gauge
	g.asked.Store(1)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	ticks, stalled := make(chan time.Time), make(chan struct{})
	go g.watch(ctx, ticks, func() { close(stalled) })
	for range stallTicks {
		ticks <- time.Time{}
	}
	select {
	case <-stalled:
		t.Error("stalled one tick too early")
	default:
	}
	ticks <- time.Time{}
	<-stalled
}

// keys is a source that is read whole each time.
type keys struct{ archive.Path }

func (keys) Prewarm() bool { return false }

func TestTwice(t *testing.T) {
	for _, tc := range []struct {
		source archive.Source
		want   bool
	}{{archive.Path{Path: "/"}, true}, {archive.Command{Shell: "true"}, false}, {keys{}, false}, {counted{}, false}} {
		if got := twice(tc.source); got != tc.want {
			t.Errorf("%T: %v", tc.source, got)
		}
	}
}
