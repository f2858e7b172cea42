package repo_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"vault/backend"
	"vault/backend/local"
	"vault/backend/mem"
	"vault/crypto"
	"vault/internal/repotest"
	"vault/repo"
	"vault/snapshot"
)

// meddled is a store with which somebody meddles: before each operation, and
// right after a record was created.
type meddled struct {
	*mem.Backend
	mu      sync.Mutex // held while meddle is called
	meddle  func(name string)
	created func(name string)
}

func (m *meddled) before(name string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.meddle != nil {
		m.meddle(name)
	}
}

func (m *meddled) Put(ctx context.Context, name string, data []byte) error {
	m.before(name)
	return m.Backend.Put(ctx, name, data)
}

func (m *meddled) Create(ctx context.Context, name string, data []byte) error {
	m.before(name)
	err := m.Backend.Create(ctx, name, data)
	m.mu.Lock()
	defer m.mu.Unlock()
	if err == nil && m.created != nil {
		m.created(name)
	}
	return err
}

func (m *meddled) Get(ctx context.Context, name string, off, n int64) (io.ReadCloser, error) {
	m.before(name)
	return m.Backend.Get(ctx, name, off, n)
}

func (m *meddled) List(ctx context.Context, prefix string) iter.Seq2[backend.Info, error] {
	return func(yield func(backend.Info, error) bool) {
		m.before(prefix)
		m.Backend.List(ctx, prefix)(yield)
	}
}

// empty removes everything below a prefix.
func empty(t *testing.T, be *mem.Backend, prefix string) {
	t.Helper()
	for _, name := range repotest.Objects(t, be) {
		if strings.HasPrefix(name, prefix) {
			if err := be.Delete(context.Background(), name); err != nil {
				t.Error(err)
			}
		}
	}
}

// TestVanished empties a repository, or a part of it, before each operation of a
// backup. Unless that was after its commit, the backup is not acknowledged, or it
// restores all the same: what was emptied had nothing of it yet.
func TestVanished(t *testing.T) {
	c := repotest.MakeContent(1, 12)
	for far, prefixes := range map[bool][]string{
		false: {"", "config", "keys/", "packs/", "index/", "commits/", "gc/"},
		true:  {"", "packs/"},
	} {
		for _, prefix := range prefixes {
			refused, late := 0, false
			for at := 1; !late; at++ {
				m := &meddled{Backend: mem.New()}
				repotest.Init(t, m.Backend)
				if prefix == "gc/" { // there is a done
					start(t, m.Backend, repotest.MakeContent(2, 3)).mustCommit(t)
					prune(t, m.Backend)
				}
				r := repotest.OpenEnv(t, m, repo.Env{CacheObjects: far})
				w, err := r.Begin(t.Context(), keeping())
				if err != nil {
					t.Fatal(err)
				}
				n, own := 0, "commits/"+w.ID().String()
				m.meddle = func(string) {
					if n++; n == at {
						empty(t, m.Backend, prefix)
					}
				}
				m.created = func(name string) { late = late || name == own && n < at }
				b := &running{w: w, content: c}
				var saved *snapshot.Backup
				if err = b.store(r); err == nil {
					saved, err = b.commit()
				}
				switch {
				case late: // somebody was too late for the commit: it is acknowledged, or not
				case err == nil:
					if err := repotest.Restore(t.Context(), repotest.Open(t, m.Backend), saved, c); err != nil {
						t.Errorf("%q emptied before operation %d, distant: %v: acknowledged, but: %v", prefix, at, far, err)
					}
				case !errors.Is(err, repo.ErrVanished) || repo.StateOf(err) != repo.Damaged:
					t.Errorf("%q emptied before operation %d, distant: %v: %v", prefix, at, far, err)
				default:
					refused++
				}
				r.Close()
			}
			if refused == 0 {
				t.Errorf("%q: never noticed", prefix)
			}
		}
	}
}

// TestKilledAndCollected: a collection gives a session up, and another one removes the
// record of that between the writer's attempt to commit and its look at what was there.
func TestKilledAndCollected(t *testing.T) {
	m := &meddled{Backend: mem.New()}
	repotest.Init(t, m.Backend)
	t.Cleanup(func() { repotest.MustCheck(t, m.Backend) })
	b := start(t, m, repotest.MakeContent(1, 12))
	name, asked := "commits/"+b.w.ID().String(), 0
	m.meddle = func(object string) {
		if object != name {
			return
		}
		var err error
		switch asked++; asked {
		case 1: // it is to be created
			err = m.Backend.Create(t.Context(), name, []byte("given up"))
		case 2: // it is to be read
			err = m.Backend.Delete(t.Context(), name)
		}
		if err != nil {
			t.Error(err)
		}
	}
	if _, err := b.commit(); !errors.Is(err, repo.ErrKilled) {
		t.Errorf("commit of a session that was given up: %v", err)
	}
	if n := objectsIn(t, m.Backend, name); asked < 2 || n > 0 {
		t.Errorf("asked %d times, %d commits", asked, n)
	}
}

// TestReplacedRepository: somebody makes another repository in the place.
func TestReplacedRepository(t *testing.T) {
	be, _ := repotest.New(t)
	b := start(t, be, repotest.MakeContent(1, 12))
	empty(t, be, "")
	repotest.Init(t, be)
	if _, err := b.commit(); !errors.Is(err, repo.ErrVanished) {
		t.Errorf("the commit in another repository: %v", err)
	}
}

// TestKeyRemovedMeanwhile: a slot that somebody else has removed says nothing.
func TestKeyRemovedMeanwhile(t *testing.T) {
	be, r := repotest.New(t)
	t.Cleanup(func() { repotest.MustCheck(t, be) })
	b := start(t, be, repotest.MakeContent(1, 12))
	if _, err := r.ChangePassphrase(t.Context(), repotest.Passphrase, repo.NewKey{Passphrase: repotest.Passphrase, Cost: crypto.TestKDFCost}); err != nil {
		t.Fatal(err)
	}
	b.mustCommit(t)
}

// TestMovedMeanwhile: between the commit and its acknowledgement a collection
// closes, whose index has the place of the session's own segments.
func TestMovedMeanwhile(t *testing.T) {
	for name, planned := range map[string]bool{"planned later": false, "planned before": true} {
		t.Run(name, func(t *testing.T) {
			m := &meddled{Backend: mem.New()}
			repotest.Init(t, m.Backend)
			t.Cleanup(func() { repotest.MustCheck(t, m.Backend) })
			if planned { // by who then died
				c, err := repotest.Open(t, m.Backend).Collection(t.Context())
				if err == nil {
					err = c.Propose(t.Context(), nil, nil)
				}
				if err != nil {
					t.Fatal(err)
				}
			}
			b := start(t, m, repotest.MakeContent(1, 12))
			var before []string
			m.created = func(name string) {
				if name == "commits/"+b.w.ID().String() {
					before = repotest.Objects(t, m.Backend)
					prune(t, m.Backend)
				}
			}
			saved := b.mustCommit(t)
			after := repotest.Objects(t, m.Backend)
			if !slices.ContainsFunc(before, func(name string) bool { return strings.HasPrefix(name, "index/") && !slices.Contains(after, name) }) {
				t.Error("the collection has moved no segment")
			}
			if err := repotest.Restore(t.Context(), repotest.Open(t, m.Backend), saved, b.content); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestVanishedIsNoticedSoon: a backup of many hours does not go on to its end.
func TestVanishedIsNoticedSoon(t *testing.T) {
	be, _ := repotest.New(t)
	beat := make(chan time.Time)
	r := repotest.OpenEnv(t, be, repo.Env{After: func(time.Duration) <-chan time.Time { return beat }})
	w, err := r.Begin(t.Context(), repo.WriterOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Abort()
	empty(t, be, "")
	beat <- time.Time{}
	for deadline := time.Now().Add(2 * time.Minute); ; time.Sleep(time.Millisecond) {
		if err := w.Flush(); errors.Is(err, repo.ErrVanished) {
			return
		} else if err != nil || time.Now().After(deadline) {
			t.Fatalf("the writer lives on, or has met something else: %v", err)
		}
	}
}

// BenchmarkAcknowledge measures what it costs to look for a pack in a directory.
func BenchmarkAcknowledge(b *testing.B) {
	be, err := local.Open(b.TempDir())
	if err != nil {
		b.Fatal(err)
	}
	const packs = 1000
	for i := range packs {
		if err := be.Put(b.Context(), fmt.Sprintf("packs/%02x/%064x", i%256, i), make([]byte, 100)); err != nil {
			b.Fatal(err)
		}
	}
	for b.Loop() {
		for i := range packs {
			if err := backend.ReadRange(b.Context(), be, fmt.Sprintf("packs/%02x/%064x", i%256, i), 99, make([]byte, 1)); err != nil {
				b.Fatal(err)
			}
		}
	}
	b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N)/packs, "us/pack")
}

// TestInitialisedMeanwhile: a place is looked at while somebody initialises it, and that
// ends between the look for the config and the listing that tells why there is none.
func TestInitialisedMeanwhile(t *testing.T) {
	made, _ := repotest.New(t)
	m := &meddled{Backend: mem.New()}
	m.meddle = func(name string) {
		if name != "" {
			return
		}
		for _, name := range repotest.Objects(t, made) {
			data, err := backend.ReadAll(t.Context(), made, name, 1<<20)
			if err == nil {
				err = m.Backend.Put(t.Context(), name, data)
			}
			if err != nil {
				t.Error(err)
			}
		}
	}
	if s := repo.Probe(t.Context(), m); s.State != repo.Sealed {
		t.Errorf("%v: %v", s.State, s.Err)
	}
}
