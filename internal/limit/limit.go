// Package limit slows streams down to a number of bytes per second, which all
// who share a [Limiter] share.
//
// It is a token bucket of a quarter of a second, so that what is waited for is
// never long and short bursts are not held up.
package limit

import (
	"context"
	"io"

	"golang.org/x/time/rate"
)

// Limiter is a budget of bytes per second. A nil Limiter does not limit. It is
// safe for concurrent use.
type Limiter struct {
	bucket *rate.Limiter
	burst  int
}

// minBurst keeps small limits from cutting transfers into crumbs.
const minBurst = 4 << 10

// New returns a limiter of so many bytes per second; 0 or less means no limit,
// and gives nil.
func New(bytesPerSecond int64) *Limiter {
	if bytesPerSecond <= 0 {
		return nil
	}
	burst := int(max(min(bytesPerSecond/4, 1<<20), minBurst))
	return &Limiter{bucket: rate.NewLimiter(rate.Limit(bytesPerSecond), burst), burst: burst}
}

// Wait returns when n more bytes may pass, or with the context's error. N may
// be larger than the budget of a second.
func (l *Limiter) Wait(ctx context.Context, n int) error {
	if l == nil {
		return nil
	}
	for n > 0 {
		step := min(n, l.burst)
		if err := l.bucket.WaitN(ctx, step); err != nil {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			// The deadline would pass before our turn comes: that is for the
			// deadline to say.
			<-ctx.Done()
			return ctx.Err()
		}
		n -= step
	}
	return nil
}

// Reader returns r slowed down by l; reads fail once ctx is done.
func (l *Limiter) Reader(ctx context.Context, r io.Reader) io.Reader {
	if l == nil {
		return r
	}
	return &reader{l: l, ctx: ctx, r: r}
}

type reader struct {
	l   *Limiter
	ctx context.Context
	r   io.Reader
}

func (r *reader) Read(p []byte) (int, error) {
	n, err := r.r.Read(p[:min(len(p), r.l.burst)])
	if werr := r.l.Wait(r.ctx, n); werr != nil && err == nil {
		err = werr
	}
	return n, err
}
