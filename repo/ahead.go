package repo

import (
	"cmp"
	"slices"
)

// hint says that segments will be read soon, in about this order. Each is
// wanted once, however often it is hinted before it is read.
func (w *windows) hint(segments []hint) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		return
	}
	if len(w.hinted) > 1<<16 {
		clear(w.hinted) // of those that nobody came for
	}
	for _, h := range segments {
		if _, known := w.hinted[h.key]; known {
			continue
		}
		w.hinted[h.key] = struct{}{}
		w.seq++
		for first, end := h.span.windows(); first < end; first++ {
			key := windowKey{h.pack, first}
			x := w.at[key]
			if x == nil {
				x = w.add(key, h.packSize)
				w.queue = append(w.queue, x)
			}
			if x.wants == 0 {
				x.seq = w.seq
			}
			x.wants++
			w.settle(x)
		}
	}
	w.wake()
}

// hint is a segment that will be wanted.
type hint struct {
	span
	key segmentKey
}

// wake starts fetchers while there is something for them to do.
func (w *windows) wake() {
	for w.active < fetchers && !w.closed {
		run := w.nextRun()
		if run == nil {
			return
		}
		w.active++
		w.ahead.Go(func() { w.fetchAhead(run) })
	}
}

func (w *windows) fetchAhead(run []*window) {
	for run != nil {
		w.load(w.ctx, run[0].key.pack, run)
		w.mu.Lock()
		if run = nil; !w.closed {
			run = w.nextRun()
		}
		if run == nil {
			w.active--
		}
		w.mu.Unlock()
	}
}

// nextRun claims the first window of the queue and its neighbours there. A
// single window between two of them is read along; and where the pack is read
// from front to back, so are the windows that follow, which will be hinted next.
func (w *windows) nextRun() []*window {
	for len(w.queue) > 0 && (w.queue[0].state != windowQueued || w.queue[0].wants == 0) {
		if x := w.queue[0]; x.state == windowQueued {
			x.state = windowGone
			delete(w.at, x.key)
		}
		w.queue = w.queue[1:]
	}
	if len(w.queue) == 0 || !w.room() {
		return nil
	}
	head := w.queue[0]
	w.queue = w.queue[1:]
	w.start(head)
	length := w.follow(head.key)
	run := w.grow([]*window{head}, 1, length)
	run = w.grow(run, -1, 0)
	slices.SortFunc(run, func(a, b *window) int { return cmp.Compare(a.key.number, b.key.number) })
	w.ended(run, max(length, uint32(len(run))))
	return run
}

// grow adds the queued windows on one side of the first of run, and those that
// are not while there are fewer than fresh.
func (w *windows) grow(run []*window, step int64, fresh uint32) []*window {
	head := run[0].key
	for at := int64(head.number) + step; at >= 0 && len(run) < maxRun && w.trim(2*windowSize); at += step {
		key := windowKey{head.pack, uint32(at)}
		x := w.next(key, run[0].packSize, len(run) < int(fresh))
		if x == nil {
			beyond := w.at[windowKey{head.pack, uint32(at + step)}]
			if w.at[key] != nil || beyond == nil || beyond.state != windowQueued {
				break
			}
			x = w.add(key, run[0].packSize)
		}
		w.start(x)
		run = append(run, x)
	}
	return run
}

// took notes that a hinted segment is being read: its windows are wanted by one
// fewer, and hints that are much older will not be taken up any more.
func (w *windows) took(key segmentKey, first, end uint32) {
	if _, ok := w.hinted[key]; !ok {
		return
	}
	delete(w.hinted, key)
	for i := first; i < end; i++ {
		x := w.at[windowKey{key.pack, i}]
		if x == nil || x.wants == 0 {
			continue
		}
		x.wants--
		for e := w.wanted.Front(); e != nil; e = w.wanted.Front() {
			old := e.Value.(*window)
			if old.seq+staleAfter > x.seq {
				break
			}
			old.wants = 0
			w.settle(old)
		}
	}
}
