package archive

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"vault/crypto"
	"vault/snapshot"
)

// nameOnly is a store that names blobs and keeps those of trees.
type nameOnly struct{ *memory }

func (s nameOnly) Put(ctx context.Context, kind crypto.BlobKind, data []byte) (crypto.ID, bool, error) {
	if kind == crypto.BlobTree {
		return s.memory.Put(ctx, kind, data)
	}
	return s.BlobID(kind, data), true, nil
}

// smallFiles makes n files of about 3 KB, 100 in a directory.
func smallFiles(t testing.TB, n int) string {
	dir := fastDir(t)
	data := noise(1, 8000)
	for i := range n {
		d := filepath.Join(dir, fmt.Sprintf("%03d", i/100))
		if i%100 == 0 {
			mkdir(t, d)
		}
		write(t, filepath.Join(d, fmt.Sprintf("file-%05d.txt", i)), append(data[:i*7%6000], byte(i), byte(i>>8)))
	}
	return dir
}

func benchmarkFiles(b *testing.B, unchanged bool) {
	const files = 20_000
	dir := smallFiles(b, files)
	m := newMemory()
	o := options(b, m)
	o.Chunker = defaultChunker(b, m)
	o.NewStore = func() Store { return nameOnly{m} }
	o.Workers = 0
	v := Volume{Name: "v", Source: Path{dir}}
	if unchanged {
		first, _ := archiveDir(b, o, dir, nil)
		v.Parent = trusted(first)
	}
	b.ReportAllocs()
	for b.Loop() {
		r := archive(b, o, v)
		if r.Volumes[0].Files.Total() != files {
			b.Fatal(r.Volumes[0].Files)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/files, "ns/file")
}

func BenchmarkSmallFilesFirst(b *testing.B)     { benchmarkFiles(b, false) }
func BenchmarkSmallFilesUnchanged(b *testing.B) { benchmarkFiles(b, true) }

func BenchmarkLargeFile(b *testing.B) {
	dir := fastDir(b)
	const size = 512 << 20
	path := filepath.Join(dir, "large")
	f, err := os.Create(path)
	if err != nil {
		b.Fatal(err)
	}
	for i := range size >> 20 {
		f.Write(noise(byte(i), 1<<20))
	}
	f.Close()
	m := newMemory()
	o := options(b, m)
	o.Chunker = defaultChunker(b, m)
	o.NewStore = func() Store { return nameOnly{m} }
	o.Workers = 0
	b.SetBytes(size)
	for b.Loop() {
		archive(b, o, Volume{Name: "v", Source: Path{path}})
	}
}

// TestOnce is for counting system calls: run it with ARCHIVE_TEST_DIR under strace.
func TestOnce(t *testing.T) {
	dir := os.Getenv("ARCHIVE_TEST_DIR")
	if dir == "" {
		t.Skip("ARCHIVE_TEST_DIR is not set")
	}
	m := newMemory()
	o := options(t, m)
	o.Chunker = defaultChunker(t, m)
	o.NewStore = func() Store { return nameOnly{m} }
	began := time.Now()
	v, _ := archiveDir(t, o, dir, nil)
	t.Logf("first: %v, %+v", time.Since(began), v.Files)
	if os.Getenv("ARCHIVE_TEST_AGAIN") == "" {
		return
	}
	began = time.Now()
	v2, _ := archiveDir(t, o, dir, &Parent{Root: v.Root, ScanStarted: snapshot.TimeOf(time.Now().Add(time.Hour)), Trusted: true})
	t.Logf("unchanged: %v, %+v", time.Since(began), v2.Files)
}
