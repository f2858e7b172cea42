package restore

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"
)

// BenchmarkSmallFiles restores 20,000 files of 2 KiB in 200 directories.
func BenchmarkSmallFiles(b *testing.B) {
	s := newStore()
	var dirs []ent
	for i := range 200 {
		var kids []ent
		for j := range 100 {
			kids = append(kids, s.fileOf(fmt.Sprintf("file-%03d", j), noise(2000, byte(i))+noise(48, byte(j))))
		}
		dirs = append(dirs, dirOf(fmt.Sprintf("dir-%03d", i), kids...))
	}
	root := s.tree(dirOf("", dirs...))
	base := tempDir(b, benchDir())
	b.ReportAllocs()
	n := 0
	for b.Loop() {
		n++
		rep, err := Run(context.Background(), Options{Source: s, Target: filepath.Join(base, fmt.Sprint(n))}, volumeOf(root, "v"))
		if err != nil || rep.Files != 20000 || rep.ProblemCount != 0 {
			b.Fatal(err, rep)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(n)/20000, "ns/file")
}

// BenchmarkLargeFile restores one of 512 MiB.
func BenchmarkLargeFile(b *testing.B) {
	s := newStore()
	f := s.fileOf("f", noise(512<<20, 1))
	root := s.tree(dirOf("", f))
	base := tempDir(b, benchDir())
	b.SetBytes(512 << 20)
	for b.Loop() {
		os.RemoveAll(filepath.Join(base, "v"))
		rep, err := Run(context.Background(), Options{Source: s, Target: base}, volumeOf(root, "v"))
		if err != nil || rep.ProblemCount != 0 {
			b.Fatal(err, rep)
		}
	}
}

func benchDir() string {
	if dir := os.Getenv("RESTORE_BENCH_DIR"); dir != "" {
		return dir
	}
	return os.TempDir()
}
