package gc_test

import (
	"context"
	"strings"
	"sync"
	"testing"

	"vault/backend"
	"vault/backend/backendtest"
	"vault/backend/mem"
	"vault/crypto"
	"vault/internal/repotest"
	"vault/repo"
)

// classes is a store that keeps in mind what was stored as bulk.
type classes struct {
	backend.Backend
	mu   sync.Mutex // guards bulk
	bulk map[string]bool
}

func (c *classes) Put(ctx context.Context, name string, data []byte) error {
	c.mu.Lock()
	c.bulk[name] = backend.IsBulk(ctx)
	c.mu.Unlock()
	return c.Backend.Put(ctx, name, data)
}

func (c *classes) Create(ctx context.Context, name string, data []byte) error {
	c.mu.Lock()
	c.bulk[name] = backend.IsBulk(ctx)
	c.mu.Unlock()
	return c.Backend.Create(ctx, name, data)
}

// mustClass checks that of what was stored since the last call the packs of data
// were bulk, nothing else, and that there were packs of all the kinds.
func (c *classes) mustClass(t *testing.T, r *repo.Repo, all ...crypto.BlobKind) {
	t.Helper()
	x, err := r.Index(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	kinds := map[crypto.BlobKind]int{}
	for s := range x.Segments() {
		for p := range s.Packs() {
			bulk, stored := c.bulk[p.ID.Path()]
			if !stored {
				continue
			}
			kinds[p.Kind]++
			if bulk != (p.Kind == crypto.BlobData) {
				t.Errorf("pack of kind %s: stored as bulk: %v", p.Kind, bulk)
			}
		}
	}
	for name, bulk := range c.bulk {
		if bulk && !strings.HasPrefix(name, "packs/") {
			t.Errorf("%s is bulk", name)
		}
	}
	for _, k := range all {
		if kinds[k] == 0 {
			t.Errorf("no pack of kind %s among %v", k, kinds)
		}
	}
	clear(c.bulk)
}

// TestBulk: packs of data are stored as bulk by backups and collections, through
// whatever wraps the store, and nothing else is.
func TestBulk(t *testing.T) {
	store := &classes{Backend: mem.New(), bulk: map[string]bool{}}
	t.Cleanup(func() { repotest.MustCheck(t, store) })
	be := backendtest.NewFaulty(store)
	r := repotest.Init(t, be)
	for i := range 2 {
		c := repotest.MakeContent(1, 30)
		for name, b := range repotest.MakeContent(uint64(10+i), 10) {
			c[name] = b
		}
		b := repotest.MustBackup(t, r, c)
		if i == 0 {
			mustForget(t, r, b)
		}
	}
	store.mustClass(t, r, crypto.BlobData, crypto.BlobTree)
	mustRun(t, repotest.Open(t, be), thorough())
	store.mustClass(t, repotest.Open(t, be), crypto.BlobData)
}
