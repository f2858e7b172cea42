package repo_test

import (
	"context"
	"io"
	"strings"
	"sync"
	"testing"
	"time"

	"vault/backend"
	"vault/backend/mem"
	"vault/crypto"
	"vault/internal/repotest"
	"vault/repo"
)

// meeting holds back reads of index segments until so many are under way at
// once, or it is clear that they will not be.
type meeting struct {
	backend.Backend
	mu      sync.Mutex // guards what follows
	waiting int
	most    int
	enough  chan struct{}

	patience time.Duration
}

const together = 3

func (m *meeting) Get(ctx context.Context, name string, off, n int64) (io.ReadCloser, error) {
	if strings.HasPrefix(name, "index/") {
		m.mu.Lock()
		m.waiting++
		if m.most = max(m.most, m.waiting); m.waiting == together {
			close(m.enough)
			m.enough = make(chan struct{})
			m.waiting = 0
		}
		enough := m.enough
		full := m.waiting == 0
		m.mu.Unlock()
		if !full {
			select {
			case <-enough:
			case <-time.After(m.patience):
				m.mu.Lock()
				m.waiting--
				m.mu.Unlock()
			}
		}
	}
	return m.Backend.Get(ctx, name, off, n)
}

func (m *meeting) Close() error { return nil }

// TestIndexTogether: a new client of a distant store asks for the index segments
// of several commits at the same time.
func TestIndexTogether(t *testing.T) {
	be := mem.New()
	t.Cleanup(func() { repotest.MustCheck(t, be) })
	r := repotest.Init(t, be)
	for i := range 2 * together {
		repotest.MustBackup(t, r, repotest.MakeContent(uint64(i+1), 3))
	}
	m := &meeting{Backend: be, enough: make(chan struct{}), patience: time.Minute}
	far := repotest.OpenEnv(t, m, repo.Env{CacheObjects: true})
	if err := far.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	if m.most < together {
		t.Errorf("%d index segments were asked for at once, want %d", m.most, together)
	}
}

// TestReadAhead: where blobs are announced a few at a time, in the order of
// writing, a pack is fetched in few requests, ahead of what was announced.
func TestReadAhead(t *testing.T) {
	const blobs, size, lead = 2500, 3000, 50
	c, _, ids := distant(t, blobs, size)
	r := reopen(t, c)
	c.took()
	for i, id := range ids {
		if i%lead == 0 {
			r.Prefetch(t.Context(), crypto.BlobData, ids[i:min(i+lead, len(ids))]...)
		}
		if _, err := r.Get(t.Context(), crypto.BlobData, id, nil); err != nil {
			t.Fatal(err)
		}
	}
	n, read := c.took()
	windows := int(c.packBytes()/window) + len(c.sizes)
	t.Logf("%d requests of %d bytes for %d windows in %d packs", n, read, windows, len(c.sizes))
	if n > windows*3/4 || read > c.packBytes()+int64(len(c.sizes))*window {
		t.Errorf("%d requests of %d bytes for %d windows in %d packs of %d bytes", n, read, windows, len(c.sizes), c.packBytes())
	}
}
