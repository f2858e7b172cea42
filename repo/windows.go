package repo

import (
	"container/list"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"

	"vault/backend"
	"vault/pack"
)

// Distant stores are read in windows, whole multiples of windowSize of a pack,
// for two reasons: who sees the requests would learn from exact ones how long
// blobs are, which packs hide; and a request costs a round trip, and often
// money, so that those for neighbours are made one.
const (
	windowSize   = 256 << 10
	maxRun       = 16       // windows that one request asks for ahead of need
	windowMemory = 32 << 20 // bytes of windows that are kept, wanted ones first
	fetchers     = 8        // requests ahead of need at once
	staleAfter   = 1 << 12  // hints after which one that was not taken up is given up
	maxRuns      = 64       // packs whose sequential reading is remembered
)

// windows reads packs in windows, keeps those that will be needed, and fetches
// ahead what it is told of. Its memory is about windowMemory, and what the
// segments being read need beyond that.
//
// A window that is loading is loaded by one goroutine, which waits for nothing
// but the store; so nobody waits in a circle.
type windows struct {
	be     backend.Backend
	ctx    context.Context // of fetching ahead
	cancel context.CancelFunc
	ahead  sync.WaitGroup

	mu     sync.Mutex // guards what follows
	at     map[windowKey]*window
	bytes  int       // of windows that are loading or loaded
	queue  []*window // hinted and not loaded, in the order of the hints
	wanted list.List // loaded and hinted, in the order of the hints: *window
	idle   list.List // loaded and not needed by anyone known, least recently used first: *window
	hinted map[segmentKey]struct{}
	runs   map[pack.ID]sequence
	seq    uint64 // counts hints
	active int    // fetchers at work
	closed bool
	free   [][]byte
}

type windowKey struct {
	pack   pack.ID
	number uint32
}

type windowState uint8

const (
	windowQueued windowState = iota
	windowLoading
	windowLoaded
	windowGone // failed or dropped: no longer in the table
)

type window struct {
	key      windowKey
	packSize uint32
	size     int
	seq      uint64 // of its first hint
	state    windowState
	wants    int // hinted segments that have not been read
	users    int // readers that wait for it or copy from it
	data     []byte
	err      error
	done     chan struct{} // closed when it is loaded or has failed
	place    *list.Element // in wanted or idle
}

// sequence is how a pack is being read: where the last request ended and how
// much it asked for.
type sequence struct{ next, run uint32 }

// span is a part of a pack.
type span struct {
	pack        pack.ID
	packSize    uint32
	off, length uint32
}

func (s span) windows() (first, end uint32) {
	return s.off / windowSize, (s.off + s.length + windowSize - 1) / windowSize
}

func newWindows(be backend.Backend) *windows {
	w := &windows{be: be, at: map[windowKey]*window{}, hinted: map[segmentKey]struct{}{}, runs: map[pack.ID]sequence{}}
	w.ctx, w.cancel = context.WithCancel(context.Background())
	return w
}

// close ends the fetching ahead.
func (w *windows) close() {
	w.mu.Lock()
	w.closed = true
	w.mu.Unlock()
	w.cancel()
	w.ahead.Wait()
}

// read fills dst with the part of a pack that s names. The hint of that key is
// taken up.
func (w *windows) read(ctx context.Context, s span, key segmentKey, dst []byte) error {
	if uint64(s.off)+uint64(s.length) > uint64(s.packSize) {
		return fmt.Errorf("%w: %d bytes at %d of a pack of %d", io.ErrUnexpectedEOF, s.length, s.off, s.packSize)
	}
	needed, claimed := w.claim(s, key)
	defer w.release(needed)
	for rest := claimed; len(rest) > 0; {
		n := 1
		for n < len(rest) && rest[n].key.number == rest[n-1].key.number+1 {
			n++
		}
		w.load(ctx, s.pack, rest[:n])
		rest = rest[n:]
	}
	for _, x := range needed {
		select {
		case <-x.done:
		case <-ctx.Done():
			return ctx.Err()
		}
		data, start := x.data, int64(x.key.number)*windowSize
		switch {
		case x.err == nil:
		case isShort(x.err):
			// The pack is not as long as it should be, but this part may be there.
			return backend.ReadRange(ctx, w.be, s.pack.Path(), int64(s.off), dst)
		case slices.Contains(claimed, x):
			return x.err
		default: // another reader's failure - it may have been stopped - is not ours
			data = make([]byte, x.size)
			if err := backend.ReadRange(ctx, w.be, s.pack.Path(), start, data); err != nil {
				return err
			}
		}
		from, to := max(start, int64(s.off)), min(start+int64(x.size), int64(s.off)+int64(s.length))
		copy(dst[from-int64(s.off):to-int64(s.off)], data[from-start:])
	}
	return nil
}

// claim returns the windows of s, each with one user more, and those of them -
// and behind them - that the caller has to load.
func (w *windows) claim(s span, hinted segmentKey) (needed, claimed []*window) {
	w.mu.Lock()
	defer w.mu.Unlock()
	first, end := s.windows()
	w.took(hinted, first, end)
	missing := false
	for i := first; i < end; i++ {
		key := windowKey{s.pack, i}
		x := w.at[key]
		if x == nil {
			x = w.add(key, s.packSize)
		}
		x.users++
		w.settle(x)
		needed = append(needed, x)
		if x.state == windowQueued {
			w.start(x)
			claimed, missing = append(claimed, x), true
		}
	}
	if missing {
		claimed = w.extend(s, end, claimed)
	}
	w.trim(0)
	return needed, claimed
}

// extend claims windows behind the last one of a request: those that are known
// to be wanted, and - where a pack is read from front to back - twice as many as
// the time before.
func (w *windows) extend(s span, end uint32, claimed []*window) []*window {
	if claimed[len(claimed)-1].key.number+1 != end {
		return claimed
	}
	start := claimed[0].key.number
	run := w.follow(windowKey{s.pack, start})
	for i := end; i-start < maxRun && w.room(); i++ {
		x := w.next(windowKey{s.pack, i}, s.packSize, i-start < run)
		if x == nil {
			break
		}
		w.start(x)
		claimed = append(claimed, x)
	}
	w.ended(claimed, run)
	return claimed
}

// follow returns how many windows a request that begins at a window should ask
// for: one, or twice as many as the one that ended before it.
func (w *windows) follow(at windowKey) uint32 {
	if q, ok := w.runs[at.pack]; ok && q.next == at.number {
		return min(2*q.run, maxRun)
	}
	return 1
}

// ended notes where a request ends, for follow.
func (w *windows) ended(claimed []*window, run uint32) {
	last := claimed[len(claimed)-1].key
	if len(w.runs) >= maxRuns {
		clear(w.runs)
	}
	w.runs[last.pack] = sequence{next: last.number + 1, run: run}
}

// next returns the window of a key if it is queued - or made on the spot if that
// is called for and it lies in the pack - and nil otherwise.
func (w *windows) next(key windowKey, packSize uint32, fresh bool) *window {
	x := w.at[key]
	if x == nil && fresh && int64(key.number)*windowSize < int64(packSize) {
		x = w.add(key, packSize)
	}
	if x == nil || x.state != windowQueued {
		return nil
	}
	return x
}

func (w *windows) room() bool { return w.bytes+windowSize <= windowMemory || w.trim(windowSize) }

// add makes a window, which is not loaded.
func (w *windows) add(key windowKey, packSize uint32) *window {
	size := min(windowSize, int64(packSize)-int64(key.number)*windowSize)
	x := &window{key: key, packSize: packSize, size: int(size), seq: w.seq}
	w.at[key] = x
	return x
}

// start takes a window over for loading.
func (w *windows) start(x *window) {
	x.state, x.done = windowLoading, make(chan struct{})
	w.bytes += x.size
	if n := len(w.free); n > 0 {
		x.data, w.free = w.free[n-1][:x.size], w.free[:n-1]
		return
	}
	x.data = make([]byte, x.size, windowSize)
}

// load reads windows that follow each other with one request. Each can be used
// as soon as it has arrived.
func (w *windows) load(ctx context.Context, id pack.ID, run []*window) {
	size := int64(0)
	for _, x := range run {
		size += int64(x.size)
	}
	r, err := w.be.Get(ctx, id.Path(), int64(run[0].key.number)*windowSize, size)
	if err == nil {
		defer r.Close()
	}
	for _, x := range run {
		if err == nil {
			if _, err = io.ReadFull(r, x.data); err != nil {
				if errors.Is(err, io.EOF) {
					err = io.ErrUnexpectedEOF
				}
				err = fmt.Errorf("read %s: %d bytes at %d: %w", id.Path(), x.size, int64(x.key.number)*windowSize, err)
			}
		}
		w.arrived(x, err)
	}
}

func (w *windows) arrived(x *window, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	x.err = err
	close(x.done)
	if err != nil {
		w.drop(x)
		return
	}
	x.state = windowLoaded
	w.settle(x)
}

// release gives windows back.
func (w *windows) release(needed []*window) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, x := range needed {
		x.users--
		if x.state == windowGone {
			w.recycle(x)
		} else {
			w.settle(x)
		}
	}
	w.trim(0)
	w.wake()
}

// settle puts a window into the list where it belongs.
func (w *windows) settle(x *window) {
	if x.place != nil {
		w.wanted.Remove(x.place)
		w.idle.Remove(x.place)
		x.place = nil
	}
	switch {
	case x.state != windowLoaded:
	case x.wants > 0:
		e := w.wanted.Back() // mostly the right place, or near to it
		for e != nil && e.Value.(*window).seq > x.seq {
			e = e.Prev()
		}
		if e == nil {
			x.place = w.wanted.PushFront(x)
		} else {
			x.place = w.wanted.InsertAfter(x, e)
		}
	case x.users == 0:
		x.place = w.idle.PushBack(x)
	}
}

// trim drops idle windows until n more bytes fit, and reports whether they do.
func (w *windows) trim(n int) bool {
	for w.bytes+n > windowMemory {
		e := w.idle.Front()
		if e == nil {
			return false
		}
		w.drop(e.Value.(*window))
	}
	return true
}

// drop forgets a window.
func (w *windows) drop(x *window) {
	delete(w.at, x.key)
	w.bytes -= x.size
	x.state = windowGone
	w.settle(x)
	w.recycle(x)
}

// recycle keeps the memory of a window that nobody reads any more.
func (w *windows) recycle(x *window) {
	if x.users == 0 && x.data != nil && len(w.free) < maxRun {
		w.free = append(w.free, x.data[:cap(x.data)])
		x.data = nil
	}
}
