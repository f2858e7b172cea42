// Package worklist does work that finds more work, with several goroutines:
// walks of graphs, above all, of which nobody knows the size beforehand.
//
// The newest item is done first, so that a walk goes deep before it goes wide
// and the list stays as short as the graph is deep. Which items were there
// before is the caller's to remember.
package worklist

import (
	"context"
	"sync"
)

// List is what is still to be done. Its zero value is empty. It is safe for
// concurrent use.
type List[T any] struct {
	mu      sync.Mutex // guards what follows
	wake    sync.Cond  // when there is more to do, or nothing any more
	items   []T
	working int
}

// Add puts an item on the list: before Run, or from the work on another.
func (l *List[T]) Add(item T) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.items = append(l.items, item)
	if l.wake.L != nil {
		l.wake.Signal()
	}
}

// Run does what is on the list and what that adds to it, and returns when
// nothing is left. Each of the workers asks worker once for the function that it
// calls with one item after the other, so that the function may keep buffers. The
// first error ends the run, as does the end of ctx; items may be left then. ctx
// is that of the caller: the functions see the end of the run in their own
// context, which worker is given.
func (l *List[T]) Run(ctx context.Context, workers int, worker func(context.Context) func(T) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	l.mu.Lock()
	l.wake.L = &l.mu
	l.mu.Unlock()
	var wg sync.WaitGroup
	for range workers {
		wg.Go(func() {
			work := worker(ctx)
			for {
				item, ok := l.next(ctx)
				if !ok {
					return
				}
				if err := work(item); err != nil {
					cancel(err)
				}
				l.done()
			}
		})
	}
	wg.Wait()
	return context.Cause(ctx)
}

// next waits for an item; it reports false when nothing will come any more.
func (l *List[T]) next(ctx context.Context) (item T, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for len(l.items) == 0 && l.working > 0 {
		l.wake.Wait()
	}
	if len(l.items) == 0 || ctx.Err() != nil {
		return item, false
	}
	last := len(l.items) - 1
	item, l.items[last] = l.items[last], item
	l.items = l.items[:last]
	l.working++
	return item, true
}

func (l *List[T]) done() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.working--; l.working == 0 {
		l.wake.Broadcast()
	}
}
