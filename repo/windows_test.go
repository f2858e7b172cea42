package repo_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"vault/backend"
	"vault/backend/mem"
	"vault/crypto"
	"vault/internal/repotest"
	"vault/repo"
	"vault/snapshot"
)

const window = 256 << 10

// counted counts what is read of packs.
type counted struct {
	backend.Backend
	mu       sync.Mutex
	requests int
	bytes    int64
	sizes    map[string]int64
	wrong    []string
	fail     atomic.Bool
}

func (c *counted) Get(ctx context.Context, name string, off, n int64) (io.ReadCloser, error) {
	if c.fail.Load() {
		return nil, errors.New("the line is down")
	}
	if strings.HasPrefix(name, "packs/") {
		c.mu.Lock()
		c.requests++
		c.bytes += n
		end := off + n
		if off%window != 0 || end%window != 0 && end != c.sizes[name] {
			c.wrong = append(c.wrong, fmt.Sprintf("%s: %d bytes at %d", name, n, off))
		}
		c.mu.Unlock()
	}
	return c.Backend.Get(ctx, name, off, n)
}

// Close leaves the repository to the next client.
func (c *counted) Close() error { return nil }

func (c *counted) took() (requests int, bytes int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	requests, bytes = c.requests, c.bytes
	c.requests, c.bytes = 0, 0
	return requests, bytes
}

// distant makes a repository of full-sized packs with n blobs of size bytes,
// and opens it as a client of a distant store does, without a cache.
func distant(t *testing.T, n, size int) (*counted, *repo.Repo, []crypto.ID) {
	t.Helper()
	be := mem.New()
	t.Cleanup(func() { repotest.MustCheck(t, be) })
	p := repo.DefaultParams()
	p.PackSize = 2 << 20
	r, err := repo.Init(t.Context(), be, repo.InitOptions{Passphrase: repotest.Passphrase, Cost: crypto.TestKDFCost, Params: p})
	if err != nil {
		t.Fatal(err)
	}
	w, err := r.Begin(t.Context(), repo.WriterOptions{})
	if err != nil {
		t.Fatal(err)
	}
	lane := w.Lane()
	rng := rand.NewChaCha8([32]byte{1})
	ids := make([]crypto.ID, n)
	data := make([]byte, size)
	for i := range ids {
		rng.Read(data)
		if ids[i], _, err = lane.Put(t.Context(), crypto.BlobData, data); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := w.Commit(&snapshot.Backup{Host: "h", Volumes: []snapshot.Volume{{Name: "v", Kind: snapshot.VolumePath, State: snapshot.Failed}}}); err != nil {
		t.Fatal(err)
	}
	c := &counted{Backend: be, sizes: map[string]int64{}}
	for info, err := range be.List(t.Context(), "packs/") {
		if err != nil {
			t.Fatal(err)
		}
		c.sizes[info.Name] = info.Size
	}
	d := repotest.OpenEnv(t, c, repo.Env{CacheObjects: true})
	t.Cleanup(func() { d.Close() })
	t.Cleanup(func() {
		for _, w := range c.wrong {
			t.Errorf("not a range of windows: %s", w)
		}
	})
	return c, d, ids
}

func (c *counted) packBytes() (n int64) {
	for _, size := range c.sizes {
		n += size
	}
	return n
}

// TestWindows: reading all of many small blobs takes requests by the number of
// windows, not of blobs, in whatever way it is asked for.
func TestWindows(t *testing.T) {
	const blobs, size = 2500, 3000
	c, r, ids := distant(t, blobs, size)
	check := func(what string, most int, amount float64) {
		t.Helper()
		n, bytes := c.took()
		t.Logf("%s: %d requests, %d bytes; packs have %d bytes in %d windows", what, n, bytes, c.packBytes(), (c.packBytes()+window-1)/window)
		if n > most || float64(bytes) > amount*float64(c.packBytes()) {
			t.Errorf("%s: %d requests of %d bytes, want at most %d", what, n, bytes, most)
		}
	}
	windows := int(c.packBytes()/window) + len(c.sizes)

	for _, id := range ids {
		if b, err := r.Get(t.Context(), crypto.BlobData, id, nil); err != nil || len(b) != size {
			t.Fatal(len(b), err)
		}
	}
	check("in the order of writing", windows/2, 1)

	r = reopen(t, c)
	r.Prefetch(t.Context(), crypto.BlobData, ids...)
	for _, id := range ids {
		if _, err := r.Get(t.Context(), crypto.BlobData, id, nil); err != nil {
			t.Fatal(err)
		}
	}
	check("announced", windows, 1.1)

	r = reopen(t, c)
	shuffled := append([]crypto.ID(nil), ids...)
	rand.Shuffle(len(shuffled), func(i, j int) { shuffled[i], shuffled[j] = shuffled[j], shuffled[i] })
	seen := make([]atomic.Int32, len(ids))
	err := r.GetMany(t.Context(), 3, crypto.BlobData, shuffled, func(worker, i int, data []byte, err error) error {
		if err != nil || worker < 0 || worker > 2 || r.BlobID(crypto.BlobData, data) != shuffled[i] {
			t.Errorf("worker %d, blob %d: %d bytes, %v", worker, i, len(data), err)
		}
		seen[i].Add(1)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for i := range seen {
		if seen[i].Load() != 1 {
			t.Fatalf("blob %d was passed on %d times", i, seen[i].Load())
		}
	}
	check("many", windows, 1.1)
}

func reopen(t *testing.T, c *counted) *repo.Repo {
	t.Helper()
	r := repotest.OpenEnv(t, struct{ backend.Backend }{c}, repo.Env{CacheObjects: true})
	if err := r.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close() })
	return r
}

// TestWindowsRandom: single blobs cost single windows, and what is announced in
// vain keeps nothing from going on.
func TestWindowsRandom(t *testing.T) {
	n := 150
	if testing.Short() {
		n = 40
	}
	c, r, ids := distant(t, n, 300<<10)
	for range 20 {
		if _, err := r.Get(t.Context(), crypto.BlobData, ids[rand.IntN(len(ids))], nil); err != nil {
			t.Fatal(err)
		}
	}
	if n, size := c.took(); n > 60 || size > 60*3*window {
		t.Errorf("20 blobs took %d requests and %d bytes", n, size)
	}
	// More is announced than is kept, and half of it is not taken up.
	r = reopen(t, c)
	r.Prefetch(t.Context(), crypto.BlobData, ids...)
	var wg sync.WaitGroup
	for worker := range 4 {
		wg.Go(func() {
			for i := worker; i < len(ids); i += 8 {
				if _, err := r.Get(t.Context(), crypto.BlobData, ids[len(ids)-1-i], nil); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
}

// TestWindowsFail: failures reach those who ask, and nobody else later.
func TestWindowsFail(t *testing.T) {
	c, _, ids := distant(t, 100, 100<<10)
	r := reopen(t, c)
	c.fail.Store(true)
	r.Prefetch(t.Context(), crypto.BlobData, ids...)
	if _, err := r.Get(t.Context(), crypto.BlobData, ids[0], nil); err == nil || !strings.Contains(err.Error(), "line is down") {
		t.Errorf("got %v", err)
	}
	errs := 0
	err := r.GetMany(t.Context(), 2, crypto.BlobData, ids[:10], func(_, _ int, _ []byte, err error) error {
		if err != nil {
			errs++
			return fmt.Errorf("stop: %w", err)
		}
		return nil
	})
	if err == nil || errs == 0 {
		t.Errorf("GetMany gave %v, %d errors", err, errs)
	}
	c.fail.Store(false)
	for _, id := range ids {
		if _, err := r.Get(t.Context(), crypto.BlobData, id, nil); err != nil {
			t.Fatal(err)
		}
	}
	stopped, cancel := context.WithCancel(t.Context())
	cancel()
	r = reopen(t, c)
	if _, err := r.Get(stopped, crypto.BlobData, ids[0], nil); !errors.Is(err, context.Canceled) {
		t.Errorf("stopped: %v", err)
	}
	if _, err := r.Get(t.Context(), crypto.BlobData, ids[0], nil); err != nil {
		t.Errorf("after another reader was stopped: %v", err)
	}
	if _, err := r.Get(t.Context(), crypto.BlobData, crypto.ID{1}, nil); err == nil || errors.Is(err, fs.ErrNotExist) {
		t.Errorf("unknown blob: %v", err)
	}
}
