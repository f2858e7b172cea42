package limit

import (
	"bytes"
	"context"
	"errors"
	"io"
	"sync"
	"testing"
	"time"
)

func TestNoLimit(t *testing.T) {
	for _, n := range []int64{0, -1} {
		l := New(n)
		if l != nil {
			t.Fatalf("New(%d) limits", n)
		}
		if err := l.Wait(context.Background(), 1<<40); err != nil {
			t.Error(err)
		}
	}
	r := bytes.NewReader(nil)
	if got := New(0).Reader(context.Background(), r); got != io.Reader(r) {
		t.Error("a reader without a limit is wrapped")
	}
}

// TestShared: two streams share one budget, and it is about what was asked.
func TestShared(t *testing.T) {
	// It may take longer, but not each time.
	took := shared(t)
	for tries := 20; took > 2*time.Second && tries > 0; tries-- {
		took = shared(t)
	}
	// Half a second's worth, a quarter of a second free.
	if took < 200*time.Millisecond || took > 2*time.Second {
		t.Errorf("half a second's bytes took %v", took)
	}
}

// shared returns how long two streams take with half a second's bytes.
func shared(t *testing.T) time.Duration {
	t.Helper()
	const perSecond, each = 1 << 20, 256 << 10
	l := New(perSecond)
	start := time.Now()
	var wg sync.WaitGroup
	for range 2 {
		wg.Go(func() {
			n, err := io.Copy(io.Discard, l.Reader(context.Background(), bytes.NewReader(make([]byte, each))))
			if n != each || err != nil {
				t.Errorf("copied %d, %v", n, err)
			}
		})
	}
	wg.Wait()
	return time.Since(start)
}

func TestCancelled(t *testing.T) {
	l := New(1)
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
	defer cancel()
	if err := l.Wait(ctx, 1<<20); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("wait: %v", err)
	}
	_, err := l.Reader(ctx, bytes.NewReader(make([]byte, 100))).Read(make([]byte, 100))
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("read: %v", err)
	}
}
