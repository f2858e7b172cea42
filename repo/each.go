package repo

import (
	"context"
	"sync"
	"sync/atomic"
)

// got is what reading one record gave.
type got[T any] struct {
	value T
	err   error
}

// each reads what keys name, atOnce at a time, and returns what came of each. An
// error that is of the store, not of one record, ends the reading: it stands for
// whatever was not read.
func each[K, T any](ctx context.Context, atOnce int, keys []K, read func(context.Context, K) (T, error)) []got[T] {
	results := make([]got[T], len(keys))
	var next atomic.Int64
	var stopped atomic.Pointer[error]
	work := func() {
		for i := int(next.Add(1)) - 1; i < len(keys); i = int(next.Add(1)) - 1 {
			if err := stopped.Load(); err != nil {
				results[i].err = *err
				continue
			}
			var err error
			results[i].value, err = read(ctx, keys[i])
			if results[i].err = err; err != nil && !isMissing(err) && StateOf(err) != Damaged {
				stopped.Store(&err)
			}
		}
	}
	if atOnce <= 1 {
		work()
		return results
	}
	var wg sync.WaitGroup
	for range min(atOnce, len(keys)) {
		wg.Go(work)
	}
	wg.Wait()
	return results
}
