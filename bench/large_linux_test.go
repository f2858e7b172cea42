package bench

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"iter"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"vault/crypto"
	"vault/internal/repotest"
	"vault/repo"
	"vault/snapshot"
	"vault/snapshot/archive"
)

// wide is a directory of n entries, and of one more if extra has a name.
type wide struct {
	n     int
	extra string
}

func (wide) Describe() (snapshot.VolumeKind, string) { return snapshot.VolumePath, "wide" }

func (w wide) Entries(context.Context) iter.Seq2[archive.Entry, error] {
	return func(yield func(archive.Entry, error) bool) {
		entry := func(name string) bool {
			return yield(archive.Entry{Path: name, Node: snapshot.Node{Type: snapshot.Symlink, Mode: 0o777, Target: "elsewhere/" + name, MTime: snapshot.Time{Sec: 1_800_000_000}}}, nil)
		}
		for i := range w.n {
			name := fmt.Sprintf("entry-%08d", i)
			if w.extra != "" && w.extra < name && (i == 0 || w.extra > fmt.Sprintf("entry-%08d", i-1)) && !entry(w.extra) {
				return
			}
			if !entry(name) {
				return
			}
		}
	}
}

// tally counts the pages that a backup stores anew.
type tally struct {
	archive.Store
	pages, bytes *atomic.Int64
}

func (c tally) Put(ctx context.Context, kind crypto.BlobKind, data []byte) (crypto.ID, bool, error) {
	id, added, err := c.Store.Put(ctx, kind, data)
	if added && kind == crypto.BlobTree {
		c.pages.Add(1)
		c.bytes.Add(int64(len(data)))
	}
	return id, added, err
}

// store backs a source up and returns the volume with what was new of its pages.
func store(t *testing.T, r *repo.Repo, src archive.Source) (v snapshot.Volume, pages, size int64) {
	t.Helper()
	w, err := r.Begin(t.Context(), repo.WriterOptions{})
	if err != nil {
		t.Fatal(err)
	}
	var count, sum atomic.Int64
	report, err := archive.Run(t.Context(), archive.Options{NewStore: func() archive.Store { return tally{w.Lane(), &count, &sum} }, Reader: r, Hasher: r,
		Chunker: r.Chunker(), Thresholds: r.Params().Trees}, []archive.Volume{{Name: "v", Source: src}})
	if err != nil {
		t.Fatal(err)
	}
	b, err := w.Commit(&snapshot.Backup{Volumes: report.Volumes})
	if err != nil {
		t.Fatal(err)
	}
	if b.Volumes[0].State != snapshot.Complete {
		t.Fatalf("%v: %v", b.Volumes[0].State, b.Volumes[0].Problems)
	}
	return b.Volumes[0], count.Load(), sum.Load()
}

// TestWideDirectory: a directory of a million entries is pages, of which one more
// entry writes a handful.
func TestWideDirectory(t *testing.T) {
	n := 1_000_000
	if testing.Short() {
		n = 100_000
	}
	be, r := fresh(t)
	t.Cleanup(func() { repotest.MustCheck(t, be) })
	first, pages, size := store(t, r, wide{n: n})
	t.Logf("%d entries: %d pages of %d bytes", n, pages, size)
	if pages < int64(n/2048) || pages > int64(n/64) {
		t.Errorf("%d pages for %d entries", pages, n)
	}
	more, changed, bytes := store(t, r, wide{n: n, extra: fmt.Sprintf("entry-%08d-more", n/3)})
	t.Logf("one entry more: %d pages of %d bytes", changed, bytes)
	if more.Root.Tree == first.Root.Tree || changed > 8 || bytes > size/100 {
		t.Errorf("one entry more writes %d pages of %d bytes", changed, bytes)
	}
}

const terabyte = 1 << 40

// sparse makes a file of a terabyte with 64 KiB of data in each of 32 places.
func sparse(t *testing.T, path string) {
	t.Helper()
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := f.Truncate(terabyte); err != nil {
		t.Skipf("no room for a file of a terabyte, be it a hole: %v", err)
	}
	for i := range int64(32) {
		data := bytes.Repeat([]byte{byte(i + 1)}, 64<<10)
		copy(data, fmt.Sprint("block", i))
		if _, err := f.WriteAt(data, i*(terabyte/32)+i*4096); err != nil {
			t.Fatal(err)
		}
	}
}

// TestSparseFile: a sparse file of a terabyte is its data and a few hundred bytes.
func TestSparseFile(t *testing.T) {
	dir := t.TempDir()
	sparse(t, filepath.Join(dir, "image"))
	be, r := fresh(t)
	t.Cleanup(func() { repotest.MustCheck(t, be) })
	v, pages, size := store(t, r, archive.Path{Path: dir})
	t.Logf("%d bytes of %d added, %d pages of %d bytes", v.BytesAdded, v.BytesProcessed, pages, size)
	if v.BytesProcessed < terabyte || v.BytesAdded > 4<<20 || pages > 4 || size > 16<<10 {
		t.Errorf("%d bytes added, %d pages of %d bytes", v.BytesAdded, pages, size)
	}
	list := snapshot.NewDirReader(t.Context(), r, v.Root.Tree)
	n, err := list.Next()
	if err != nil {
		t.Fatal(err)
	}
	var data, all uint64
	items := 0
	for it, err := range snapshot.Items(t.Context(), r, n.Content, n.Size) {
		if err != nil {
			t.Fatal(err)
		}
		items++
		all += it.Length
		if it.Kind == snapshot.ItemData {
			data += it.Length
		}
	}
	if all != terabyte || items > 128 || data > 4<<20 {
		t.Errorf("%d items of %d bytes, %d of them data", items, all, data)
	}
}

// peakLimit is what a process of the real program may have in memory at once.
const peakLimit = 200 << 20

// TestLargePeak runs the real program on a directory of very many entries
// (LARGE_ENTRIES) and a sparse file of a terabyte, and looks at its peak memory.
// It runs in a process of its own: the peak of a child counts from that of the
// process that forks it.
func TestLargePeak(t *testing.T) {
	if os.Getenv("LARGE_CHILD") == "" {
		if testing.Short() {
			t.Skip("campaign")
		}
		cmd := exec.Command(os.Args[0], "-test.run=^TestLargePeak$", "-test.v")
		cmd.Env = append(os.Environ(), "LARGE_CHILD=1")
		out, err := cmd.CombinedOutput()
		t.Logf("%s", out)
		if err != nil {
			t.Error(err)
		}
		return
	}
	n := 50_000
	if text := os.Getenv("LARGE_ENTRIES"); text != "" {
		n, _ = strconv.Atoi(text)
	}
	dir := t.TempDir()
	program := filepath.Join(dir, "vault")
	if out, err := exec.Command("go", "build", "-o", program, "vault/cmd/vault").CombinedOutput(); err != nil {
		t.Fatalf("build: %v: %s", err, out)
	}
	many, image := filepath.Join(dir, "many"), filepath.Join(dir, "image")
	for _, d := range []string{many, image} {
		if err := os.Mkdir(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for i := range n {
		if err := os.WriteFile(fmt.Sprintf("%s/entry-%08d", many, i), []byte(strconv.Itoa(i)), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	sparse(t, filepath.Join(image, "image"))
	run := func(args ...string) {
		t.Helper()
		cmd := exec.Command(program, args...)
		cmd.Env = append(os.Environ(), "VAULT_REPO="+dir+"/repo", "VAULT_PASSWORD=x", "VAULT_STATE_DIR="+dir+"/state", "VAULT_CACHE_DIR="+dir+"/cache", "GOMEMLIMIT=",
			"GOMAXPROCS=4") // what each core adds is no matter of size
		var said bytes.Buffer
		cmd.Stdout, cmd.Stderr = io.Discard, &said
		start := time.Now()
		if err := cmd.Run(); err != nil {
			t.Fatalf("%s: %v: %s", args, err, said.Bytes())
		}
		peak := cmd.ProcessState.SysUsage().(*syscall.Rusage).Maxrss << 10
		t.Logf("%-60s %6.1f s wall %6.1f s CPU %4d MB", strings.ReplaceAll(strings.Join(args, " "), dir+"/", ""), time.Since(start).Seconds(),
			(cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()).Seconds(), peak>>20)
		if peak > peakLimit {
			t.Errorf("%s: peak memory of %d bytes", args, peak)
		}
	}
	run("init", "--kdf-memory", "8", "--kdf-time", "1", "--kdf-threads", "1")
	run("backup", "many="+many, "image="+image)
	if err := os.WriteFile(many+"/entry-00000500-more", []byte("more"), 0o644); err != nil {
		t.Fatal(err)
	}
	run("backup", "many="+many, "image="+image)
	run("ls", "latest:many")
	run("restore", "latest", "--target", dir+"/out")
	run("check", "--read-data")
	var st syscall.Stat_t
	if err := syscall.Stat(dir+"/out/image/image", &st); err != nil || st.Size != terabyte || st.Blocks*512 > 64<<20 {
		t.Errorf("the sparse file was restored with %d bytes in %d blocks: %v", st.Size, st.Blocks, err)
	}
}
