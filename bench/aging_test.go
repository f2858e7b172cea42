package bench

import (
	"context"
	"fmt"
	"io"
	"iter"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"vault/backend"
	"vault/backend/local"
	"vault/crypto"
	"vault/internal/save"
	"vault/repo"
	"vault/repo/check"
	"vault/repo/gc"
	"vault/snapshot"
	"vault/snapshot/archive"
)

// How a repository ages that nobody ever prunes: thousands of backups of a small
// tree in which one file changes each time. What a client asks of the store, and
// what lies there, must not grow with the number of backups but for what each adds
// by itself.

// meter counts what is asked of a store.
type meter struct {
	backend.Backend
	gets, lists, writes, deletes, bytes atomic.Int64
}

func (m *meter) Get(ctx context.Context, name string, off, n int64) (io.ReadCloser, error) {
	m.gets.Add(1)
	r, err := m.Backend.Get(ctx, name, off, n)
	if err != nil {
		return nil, err
	}
	return &metered{r, m}, nil
}

func (m *meter) List(ctx context.Context, prefix string) iter.Seq2[backend.Info, error] {
	m.lists.Add(1)
	return m.Backend.List(ctx, prefix)
}

func (m *meter) Put(ctx context.Context, name string, b []byte) error {
	m.writes.Add(1)
	return m.Backend.Put(ctx, name, b)
}

func (m *meter) Create(ctx context.Context, name string, b []byte) error {
	m.writes.Add(1)
	return m.Backend.Create(ctx, name, b)
}

func (m *meter) Delete(ctx context.Context, name string) error {
	m.deletes.Add(1)
	return m.Backend.Delete(ctx, name)
}

type metered struct {
	io.ReadCloser
	m *meter
}

func (r *metered) Read(b []byte) (int, error) {
	n, err := r.ReadCloser.Read(b)
	r.m.bytes.Add(int64(n))
	return n, err
}

// cost is what one thing took.
type cost struct {
	gets, lists, writes, deletes, bytes int64
	took                                time.Duration
}

// of measures what f asks of the store.
func (m *meter) of(f func()) cost {
	was := [...]int64{m.gets.Load(), m.lists.Load(), m.writes.Load(), m.deletes.Load(), m.bytes.Load()}
	start := time.Now()
	f()
	took := time.Since(start)
	return cost{m.gets.Load() - was[0], m.lists.Load() - was[1], m.writes.Load() - was[2], m.deletes.Load() - was[3], m.bytes.Load() - was[4], took}
}

func (c cost) String() string {
	return fmt.Sprintf("%5d gets %7d KiB %5.0f ms", c.gets, c.bytes>>10, float64(c.took.Microseconds())/1000)
}

// aging is a repository that gets older.
type aging struct {
	t      *testing.T
	m      *meter
	tree   string
	caches string
	made   int
	worst  cost // of all backups
}

func newAging(t *testing.T) *aging {
	dir := quickDir(t)
	be, err := local.Open(filepath.Join(dir, "repository"))
	if err != nil {
		t.Fatal(err)
	}
	g := &aging{t: t, m: &meter{Backend: be}, tree: filepath.Join(dir, "tree"), caches: filepath.Join(dir, "cache")}
	for i := range 20 {
		g.write(fmt.Sprintf("d%d/file%d", i%4, i), strings.Repeat(fmt.Sprintf("line %d of a small file\n", i), 20+i*30))
	}
	if _, err := repo.Init(t.Context(), g.m, repo.InitOptions{Passphrase: []byte("aging"), Cost: crypto.TestKDFCost, Params: repo.DefaultParams()}); err != nil {
		t.Fatal(err)
	}

	return g
}

// quickDir is a directory where syncing costs nothing.
func quickDir(t *testing.T) string {
	base := "/dev/shm"
	if _, err := os.Stat(base); err != nil {
		base = ""
	}
	dir, err := os.MkdirTemp(base, "vault-aging-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

func (g *aging) write(name, content string) {
	path := filepath.Join(g.tree, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		g.t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		g.t.Fatal(err)
	}
}

// open is a client that has the repository's copies, or none.
func (g *aging) open(cached bool) *repo.Repo {
	env := repo.Env{Host: "h"}
	if cached {
		env.CacheDir, env.CacheObjects = g.caches, true
	}
	r, err := repo.Open(g.t.Context(), g.m, repo.OpenOptions{Passphrase: func() ([]byte, error) { return []byte("aging"), nil }, Env: env})
	if err != nil {
		g.t.Fatal(err)
	}
	return r
}

// backup makes one more.
func (g *aging) backup(r *repo.Repo) {
	g.made++
	g.write("d1/changing", strings.Repeat(fmt.Sprintf("number %d\n", g.made), 100))
	report, err := save.Run(g.t.Context(), r, save.Options{
		Volumes: []archive.Volume{{Name: "data", Source: archive.Path{Path: g.tree}}},
		Backup:  snapshot.Backup{Host: "h"},
	})
	if err != nil || report.Outcome != save.Committed {
		g.t.Fatalf("backup %d: %v, %+v", g.made, err, report)
	}
}

// grow makes backups until there are n.
func (g *aging) grow(n int) {
	r := g.open(true)
	for g.made < n {
		c := g.m.of(func() { g.backup(r) })
		g.worst.gets, g.worst.lists = max(g.worst.gets, c.gets), max(g.worst.lists, c.lists)
		g.worst.writes, g.worst.deletes = max(g.worst.writes, c.writes), max(g.worst.deletes, c.deletes)
	}
}

// objects counts what lies there, by directory, and sums up the bytes.
func (g *aging) objects() (count map[string]int, size int64) {
	count = map[string]int{}
	for info, err := range g.m.Backend.List(g.t.Context(), "") {
		if err != nil {
			g.t.Fatal(err)
		}
		dir, _, _ := strings.Cut(info.Name, "/")
		count[dir]++
		size += info.Size
	}
	return count, size
}

// TestAging prints how a repository ages: VAULT_AGING=10000 go test -run TestAging -v -timeout 0 ./bench
func TestAging(t *testing.T) {
	most := 600
	if n, err := strconv.Atoi(os.Getenv("VAULT_AGING")); err == nil {
		most = n
	} else if testing.Short() {
		most = 150
	}
	g := newAging(t)
	for _, n := range []int{10, 100, 300, 600, 1000, 3000, 10_000} {
		if n > most {
			break
		}
		g.grow(n - 2)
		count, size := g.objects()
		var next, nextCached, list, listCached cost
		for _, cached := range []bool{true, false} {
			g.open(cached).Refresh(t.Context()) // its cache is warm
			l := g.m.of(func() {
				if got, err := g.open(cached).Backups(t.Context()); err != nil || len(got) != g.made {
					t.Fatalf("%d backups, %v; want %d", len(got), err, g.made)
				}
			})
			b := g.m.of(func() { g.backup(g.open(cached)) })
			if cached {
				listCached, nextCached = l, b
			} else {
				list, next = l, b
			}
		}
		t.Logf("%5d backups: packs %d index %d commits %d sessions %d gc %d; %.1f MB", n, count["packs"], count["index"], count["commits"], count["sessions"], count["gc"], float64(size)/1e6)
		t.Logf("  list, copies at hand  %v", listCached)
		t.Logf("  list, without         %v", list)
		t.Logf("  next, copies at hand  %v", nextCached)
		t.Logf("  next, without         %v", next)
		g.bounded(n, count, size, map[string]cost{"list": listCached, "next": nextCached}, map[string]cost{"list": list, "next": next})
		t.Logf("  a backup so far at most: gets %d lists %d writes %d deletes %d", g.worst.gets, g.worst.lists, g.worst.writes, g.worst.deletes)
	}
	for p := range check.Run(t.Context(), g.open(false), check.Options{}) {
		t.Errorf("check: %+v", p)
	}

}

// bounded demands that only what a backup adds by itself grows: two packs and a
// commit. Requests of those who have no copies are one a commit.
func (g *aging) bounded(n int, count map[string]int, size int64, cached, uncached map[string]cost) {
	most := func(what string, got, want int64) {
		g.t.Helper()
		if got > want {
			g.t.Errorf("%d backups: %s: %d, want at most %d", n, what, got, want)
		}
	}
	unfolded := int64(gc.FoldAfter + 2)
	most("packs", int64(count["packs"]), 2*int64(n))
	most("commits", int64(count["commits"]), int64(n))
	most("index segments", int64(count["index"]), unfolded+1)
	most("sessions", int64(count["sessions"]), unfolded)
	most("gc records", int64(count["gc"]), 2)
	most("bytes", size, int64(n)*4000+20_000)
	for what, c := range cached {
		most(what+" with copies at hand: gets", c.gets, 12)
		most(what+" with copies at hand: lists", c.lists, 16)
		most(what+" with copies at hand: bytes read", c.bytes, 20_000+40*int64(n)) // 16 for each live commit in the newest done
	}
	for what, c := range uncached {
		most(what+" without: gets", c.gets, int64(n)+unfolded+12)
		most(what+" without: lists", c.lists, 16)
	}
	most("a backup that folds: gets", g.worst.gets, unfolded+20)
	most("a backup that folds: lists", g.worst.lists, 45)
	most("a backup that folds: writes", g.worst.writes, 10)
	most("a backup that folds: deletes", g.worst.deletes, 2*unfolded+10)
}
