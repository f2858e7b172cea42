package bench

import (
	"context"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"vault/backend"
	"vault/internal/repotest"
	"vault/repo"
	"vault/repo/check"
	"vault/snapshot/restore"
)

// requests counts what is asked of packs.
type requests struct {
	backend.Backend
	n, bytes atomic.Int64
}

func (r *requests) Get(ctx context.Context, name string, off, n int64) (io.ReadCloser, error) {
	if strings.HasPrefix(name, "packs/") {
		r.n.Add(1)
		r.bytes.Add(n)
	}
	return r.Backend.Get(ctx, name, off, n)
}

// TestRequests: what a client of a distant store asks for is counted in windows
// of packs, whatever is in them: restoring thousands of small files and a large
// one takes no request a blob, nor a file, and reads little twice.
func TestRequests(t *testing.T) {
	const window = 256 << 10
	dir := t.TempDir()
	if _, err := SmallFiles(dir, 3, 2000); err != nil {
		t.Fatal(err)
	}
	large := Noise(nil, rand.New(rand.NewPCG(7, 7)), 24<<20)
	if err := os.WriteFile(filepath.Join(dir, "large"), large, 0o644); err != nil {
		t.Fatal(err)
	}
	be, r := fresh(t)
	t.Cleanup(func() { repotest.MustCheck(t, be) })
	b := backup(t, r, dir, nil)
	var size, packs int64
	for info, err := range be.List(t.Context(), "packs/") {
		if err != nil {
			t.Fatal(err)
		}
		size += info.Size
		packs++
	}
	for _, c := range []struct{ name, cache string }{{"without a cache", ""}, {"with a cache", t.TempDir()}} {
		counted := &requests{Backend: be}
		far := repotest.OpenEnv(t, struct{ backend.Backend }{counted}, repo.Env{CacheDir: c.cache, CacheObjects: true})
		target := t.TempDir()
		report, err := restore.Run(t.Context(), restore.Options{Source: far, Target: target}, []restore.Volume{{Volume: &b.Volumes[0], Dir: "data"}})
		if err != nil || report.ProblemCount > 0 {
			t.Fatal(err, report.Problems)
		}
		if got, err := os.ReadFile(filepath.Join(target, "data", "large")); err != nil || string(got) != string(large) {
			t.Fatal("wrong bytes:", err)
		}
		t.Logf("%s: %d requests of %d bytes to restore %d files out of %d packs of %d bytes in %d windows",
			c.name, counted.n.Load(), counted.bytes.Load(), report.Files, packs, size, size/window)
		if n := counted.n.Load(); n > size/window+2*packs {
			t.Errorf("%s: %d requests for %d windows", c.name, n, size/window)
		}
		if n := counted.bytes.Load(); n > size+size/4 {
			t.Errorf("%s: %d bytes were read of %d", c.name, n, size)
		}
		counted.n.Store(0)
		for p := range check.Run(t.Context(), far, check.Options{}) {
			t.Errorf("check: %+v", p)
		}
		t.Logf("%s: %d requests to check %d packs", c.name, counted.n.Load(), packs)
		if n := counted.n.Load(); n > 4*packs+size/window/4 {
			t.Errorf("%s: %d requests to check %d packs", c.name, n, packs)
		}
	}
}
