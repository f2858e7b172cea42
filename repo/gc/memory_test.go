package gc_test

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"

	"vault/backend"
	"vault/backend/local"
	"vault/crypto"
	"vault/internal/repotest"
	"vault/repo"
	"vault/repo/gc"
	"vault/snapshot"
)

// gauge is a store that looks now and then how much the heap holds.
type gauge struct {
	backend.Backend
	calls atomic.Int64
	most  atomic.Uint64
}

func (g *gauge) look() {
	if g.calls.Add(1)%200 != 0 {
		return
	}
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	for {
		was := g.most.Load()
		if m.HeapAlloc <= was || g.most.CompareAndSwap(was, m.HeapAlloc) {
			return
		}
	}
}

func (g *gauge) Put(ctx context.Context, name string, b []byte) error {
	g.look()
	return g.Backend.Put(ctx, name, b)
}

func (g *gauge) Get(ctx context.Context, name string, off, n int64) (io.ReadCloser, error) {
	g.look()
	return g.Backend.Get(ctx, name, off, n)
}

func (g *gauge) Create(ctx context.Context, name string, b []byte) error {
	g.calls.Store(199) // the moments at which a step begins
	g.look()
	return g.Backend.Create(ctx, name, b)
}

// manyBlobs makes a repository of n data blobs, about 250 a pack, of which every
// other one belongs to a backup that stays; the rest is forgotten.
func manyBlobs(t testing.TB, n int) (be backend.Backend, kept *snapshot.Backup) {
	dir, err := os.MkdirTemp(inMemory(1<<30), "vault-gc-") // nothing waits for a disk there
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if be, err = local.Open(dir); err != nil {
		t.Fatal(err)
	}
	p := repo.DefaultParams()
	p.PackSize, p.SegmentSize, p.Compression = 64<<10, 8<<10, 0
	p.Sharing = repo.SingleWriter
	r, err := repo.Init(t.Context(), be, repo.InitOptions{Passphrase: repotest.Passphrase, Cost: crypto.TestKDFCost, Params: p})
	if err != nil {
		t.Fatal(err)
	}
	all := storeMany(t, r, n, 1)
	kept = storeMany(t, r, n, 2)
	if err := r.Forget(t.Context(), all.ID, repo.Event{}); err != nil {
		t.Fatal(err)
	}
	return be, kept
}

// inMemory returns a directory in memory with so much room, or "" if there is none.
func inMemory(room uint64) string {
	const dir = "/dev/shm"
	if out, err := exec.Command("df", "--output=avail", "-B1", dir).Output(); err == nil {
		f := strings.Fields(string(out))
		if n, err := strconv.ParseUint(f[len(f)-1], 10, 64); err == nil && n >= room {
			return dir
		}
	}
	return ""
}

// storeMany makes a backup of every step-th of n files.
func storeMany(t testing.TB, r *repo.Repo, n, step int) *snapshot.Backup {
	w, err := r.Begin(t.Context(), repo.WriterOptions{})
	if err != nil {
		t.Fatal(err)
	}
	must := func(err error) {
		if err != nil {
			t.Fatal(err)
		}
	}
	l := w.Lane()
	dir := snapshot.NewDirWriter(laneSink{l}, r, r.Params().Trees)
	data := make([]byte, 200)
	for i := 0; i < n; i += step {
		binary.LittleEndian.PutUint64(data, uint64(i))
		id, _, err := l.Put(t.Context(), crypto.BlobData, data)
		must(err)
		must(dir.Add(t.Context(), &snapshot.Node{
			Name: fmt.Sprintf("%08d", i), Type: snapshot.File, Mode: 0o600, Size: uint64(len(data)),
			Content: snapshot.Content{Items: []snapshot.Item{{Kind: snapshot.ItemData, Length: uint64(len(data)), ID: id}}},
		}))
	}
	top, err := dir.Finish(t.Context())
	must(err)
	b, err := w.Commit(&snapshot.Backup{Host: "h", Volumes: []snapshot.Volume{{
		Name: "data", Kind: snapshot.VolumePath, State: snapshot.Complete, Root: &snapshot.Node{Type: snapshot.Directory, Mode: 0o700, Tree: top},
	}}})
	must(err)
	return b
}

type laneSink struct{ *repo.Lane }

// Put implements snapshot.Sink.
func (l laneSink) Put(ctx context.Context, kind crypto.BlobKind, data []byte) (crypto.ID, error) {
	id, _, err := l.Lane.Put(ctx, kind, data)
	return id, err
}

// heapOf returns what a collection of that repository holds at most, beyond what
// there was, in bytes.
func heapOf(t testing.TB, be backend.Backend) int64 {
	t.Helper()
	runtime.GC()
	var before runtime.MemStats
	runtime.ReadMemStats(&before)
	g := &gauge{Backend: be}
	o := thorough()
	o.Workers = 1
	report, err := gc.Run(t.Context(), repotest.Open(t, g), o)
	if err != nil {
		t.Fatal(err)
	}
	if report.Rescued.Blobs == 0 || len(report.Repack) == 0 {
		t.Fatalf("nothing was moved: %+v", report.Rescued)
	}
	return int64(g.most.Load()) - int64(before.HeapAlloc)
}

// TestMemoryOfACollection: what a collection holds is bounded - batches, packs,
// segments of the index that are being written - but for a few bytes a blob: the
// index's filter, bits, and what is known of each pack. Half of all blobs are moved.
func TestMemoryOfACollection(t *testing.T) {
	if testing.Short() {
		t.Skip("hundreds of thousands of blobs")
	}
	const (
		blobs = 8 << 16
		fixed = 32 << 20 // a collection that held what it moves would need as much again
		each  = 8
	)
	be, b := manyBlobs(t, blobs)
	heap := heapOf(t, be)
	if err := readNames(t, be, b, blobs/2); err != nil {
		t.Error(err)
	}
	t.Logf("%d KiB for %d blobs", heap>>10, blobs)
	if heap > fixed+each*blobs {
		t.Errorf("%d KiB of heap for %d blobs, want at most %d KiB", heap>>10, blobs, (fixed+each*blobs)>>10)
	}
}

// readNames opens the repository anew and reads the names and all the blobs of a backup.
func readNames(t testing.TB, be backend.Backend, b *snapshot.Backup, want int) error {
	r := repotest.Open(t, be)
	n := 0
	var buf []byte
	for node, err := range snapshot.ReadDir(t.Context(), r, b.Volumes[0].Root.Tree) {
		if err != nil {
			return err
		}
		if buf, err = r.Get(t.Context(), crypto.BlobData, node.Content.Items[0].ID, buf); err != nil {
			return err
		}
		n++
	}
	if n != want {
		return fmt.Errorf("%d files, want %d", n, want)
	}
	return nil
}

// BenchmarkMemory is the same with two million blobs.
func BenchmarkMemory(b *testing.B) {
	const n = 2_000_000
	for b.Loop() {
		be, _ := manyBlobs(b, n)
		b.ReportMetric(float64(heapOf(b, be))/n, "heap-B/blob")
	}
}
