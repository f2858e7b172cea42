//go:build linux

package run

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// ErrBusy says that another process is at work on the application.
var ErrBusy = errors.New("another process is at work on this application")

// lockPoll is how often a queue looks whether it is its turn.
const lockPoll = 100 * time.Millisecond

// lockApp takes the lock of an application, which the kernel gives back when the
// process ends, however it does. With wait it stands in the queue, of which waiting
// is told once.
func lockApp(ctx context.Context, dir, app string, wait bool, waiting func()) (unlock func(), err error) {
	place := filepath.Join(dir, "apps")
	if err := os.MkdirAll(place, 0o700); err != nil {
		return nil, fmt.Errorf("lock %s: %w", app, err)
	}
	f, err := os.OpenFile(filepath.Join(place, app+".lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock %s: %w", app, err)
	}
	told := false
	for {
		err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		switch {
		case err == nil:
			return func() { f.Close() }, nil
		case !errors.Is(err, unix.EWOULDBLOCK) && !errors.Is(err, unix.EINTR):
			f.Close()
			return nil, fmt.Errorf("lock %s: %w", app, err)
		case !wait:
			f.Close()
			return nil, fmt.Errorf("%s: %w", app, ErrBusy)
		}
		if !told && waiting != nil {
			told = true
			waiting()
		}
		select {
		case <-ctx.Done():
			f.Close()
			return nil, context.Cause(ctx)
		case <-time.After(lockPoll):
		}
	}
}
