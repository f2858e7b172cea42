package s3

import (
	"context"
	"math/rand/v2"
	"time"
)

// firstTries is how often the network is tried before the store has ever
// answered.
const firstTries = 3

// retry makes one request again and again until it succeeds, fails for good,
// or has been tried often enough. It returns the last error as it came.
func (s *Store) retry(ctx context.Context, request func(context.Context) error) error {
	for try := 1; ; try++ {
		err := request(ctx)
		if err == nil || !s.again(ctx, try, err) {
			return err
		}
		ctx = cautious(ctx, err)
	}
}

// cautious returns the context for what is tried after err. A store that
// refuses an upload need not read it: it answers and breaks the connection off,
// and the answer may be lost with the connection. So a request whose connection
// broke waits, the next time, for the store to say that it wants the data.
func cautious(ctx context.Context, err error) context.Context {
	if judge(err).network {
		return context.WithValue(ctx, expectKey{}, true)
	}
	return ctx
}

// expectKey marks the context of a request that waits for "100 Continue".
type expectKey struct{}

// again decides whether a request that failed for the try-th time is to be
// made once more, and if so returns after the pause before that.
func (s *Store) again(ctx context.Context, try int, err error) bool {
	v := judge(err)
	limit := s.cfg.Retry.Tries
	if v.network && !s.wire.answered.Load() {
		limit = min(limit, firstTries)
	}
	return ctx.Err() == nil && v.temporary && try < limit && s.cfg.Retry.pause(ctx, try)
}

// pause waits before the next of the requests of which try have been made. It
// reports whether the context let it.
func (r Retry) pause(ctx context.Context, try int) bool {
	d := r.Base
	for range try - 1 {
		if d *= 2; d >= r.Max {
			break
		}
	}
	if d = min(d, r.Max); d > 1 {
		d -= rand.N(d / 2)
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
