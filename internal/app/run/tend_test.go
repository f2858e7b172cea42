//go:build linux

package run

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"vault/backend"
	"vault/backend/mem"
	"vault/internal/app/config"
	"vault/internal/repotest"
)

// lockable is a store that counts the requests to extend a lock.
type lockable struct {
	backend.Backend
	asked atomic.Int64
	fail  error
}

func (s *lockable) ExtendLock(context.Context, string) error {
	s.asked.Add(1)
	return s.fail
}

// TestExtendWhenDue: locks are extended after a part of their time, where they are
// configured anew, where the clock was set back, and where nobody knows.
func TestExtendWhenDue(t *testing.T) {
	be := &lockable{Backend: mem.New()}
	r := repotest.Init(t, be)
	repotest.MustBackup(t, r, repotest.MakeContent(1, 1))
	now := time.Date(2026, 5, 1, 3, 0, 0, 0, time.UTC)
	store := Store{}
	o := Options{StateDir: t.TempDir(), Now: func() time.Time { return now },
		Store: func(config.Destination) (Store, error) { return store, nil }}
	file := filepath.Join(o.StateDir, "locks", r.ID().String()+".json")
	extend := func() int {
		t.Helper()
		be.asked.Store(0)
		n, err := o.extend(t.Context(), "web", r, config.Destination{Repo: "main"})
		if err != nil {
			t.Fatal(err)
		}
		if int(be.asked.Load()) != n {
			t.Errorf("%d objects told, %d asked for", n, be.asked.Load())
		}
		return n
	}
	month := Store{Lock: "compliance:30d", LockFor: 30 * 24 * time.Hour}
	hours := Store{Lock: "governance:8h", LockFor: 8 * time.Hour}
	for _, c := range []struct {
		what   string
		store  Store
		pass   time.Duration
		before func() error
		due    bool
	}{
		{what: "no lock", due: false},
		{what: "never done", store: month, due: true},
		{what: "just done", store: month, due: false},
		{what: "later the same day", store: month, pass: 19 * time.Hour, due: false},
		{what: "the next run of a day", store: month, pass: 4 * time.Hour, due: true},
		{what: "another lock", store: hours, due: true},
		{what: "within an eighth of it", store: hours, pass: 59 * time.Minute, due: false},
		{what: "an eighth of it", store: hours, pass: time.Minute, due: true},
		{what: "a clock that was ahead", store: hours, pass: -48 * time.Hour, due: true},
		{what: "the clock set right", store: hours, due: false},
		{what: "a damaged file", store: hours, before: func() error { return os.WriteFile(file, []byte("{"), 0o600) }, due: true},
		{what: "a huge file", store: hours, before: func() error { return os.Truncate(file, maxExtended+1) }, due: true},
		{what: "after that", store: hours, due: false},
		{what: "no lock any more", pass: 999 * time.Hour, due: false},
	} {
		store, now = c.store, now.Add(c.pass)
		if c.before != nil {
			if err := c.before(); err != nil {
				t.Fatal(err)
			}
		}
		if n := extend(); n > 0 != c.due {
			t.Errorf("%s: %d objects", c.what, n)
		}
	}

	// What failed is due again.
	store, be.fail = month, errors.New("refused")
	if n, err := o.extend(t.Context(), "web", r, config.Destination{Repo: "main"}); !errors.Is(err, be.fail) {
		t.Errorf("%d objects, %v", n, err)
	}
	be.fail = nil
	if extend() == 0 {
		t.Error("not extended after a failure")
	}
	repotest.MustCheck(t, be)
}
