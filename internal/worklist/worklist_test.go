package worklist

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
)

// TestEveryItemOnce walks a graph in which most nodes are reached in many ways.
func TestEveryItemOnce(t *testing.T) {
	const nodes = 5000
	for _, workers := range []int{1, 2, 7} {
		var l List[int]
		var mu sync.Mutex
		seen := map[int]bool{}
		add := func(n int) {
			mu.Lock()
			defer mu.Unlock()
			if n < nodes && !seen[n] {
				seen[n] = true
				l.Add(n)
			}
		}
		add(0)
		var worked atomic.Int64
		var funcs atomic.Int64
		err := l.Run(t.Context(), workers, func(context.Context) func(int) error {
			funcs.Add(1)
			return func(n int) error {
				worked.Add(1)
				for _, next := range []int{2*n + 1, 2*n + 2, n + 1, 0} {
					add(next)
				}
				return nil
			}
		})
		if err != nil || worked.Load() != nodes || len(seen) != nodes {
			t.Errorf("%d workers: %d of %d items, error %v", workers, worked.Load(), nodes, err)
		}
		if int(funcs.Load()) != workers {
			t.Errorf("%d functions for %d workers", funcs.Load(), workers)
		}
	}
}

// TestFirstErrorEnds has work that would never end by itself.
func TestFirstErrorEnds(t *testing.T) {
	wrong := errors.New("wrong")
	var l List[int]
	l.Add(0)
	err := l.Run(t.Context(), 3, func(ctx context.Context) func(int) error {
		return func(n int) error {
			l.Add(n + 1)
			l.Add(n + 1)
			if n == 100 {
				return wrong
			}
			return nil
		}
	})
	if !errors.Is(err, wrong) {
		t.Errorf("error %v", err)
	}
}

func TestEndOfContextEnds(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	var l List[int]
	l.Add(0)
	err := l.Run(ctx, 2, func(ctx context.Context) func(int) error {
		return func(n int) error {
			l.Add(n + 1)
			if n == 50 {
				cancel()
				<-ctx.Done()
			}
			return nil
		}
	})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
}

func TestNothingToDo(t *testing.T) {
	var l List[int]
	err := l.Run(t.Context(), 4, func(context.Context) func(int) error {
		return func(int) error { t.Error("worked on nothing"); return nil }
	})
	if err != nil {
		t.Error(err)
	}
}
