package restore

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"vault/snapshot"
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

// BenchmarkLinks restores files of 100 bytes with two names each, in two trees: so
// all of them wait for their other name at once. It tells processor time, which other
// work on the machine changes little.
func BenchmarkLinks(b *testing.B) {
	for _, files := range []int{5000, 100_000} {
		b.Run(fmt.Sprint(files), func(b *testing.B) {
			s := newStore()
			var dirs []ent
			for i := range files / 100 {
				var kids []ent
				for j := range 100 {
					f := s.fileOf(fmt.Sprintf("file-%03d", j), fmt.Sprintf("%0100d", i*100+j))
					kids = append(kids, f.with(func(n *snapshot.Node) { n.Inode, n.Links = uint64(i*100+j+1), 2 }))
				}
				dirs = append(dirs, dirOf(fmt.Sprintf("dir-%03d", i), kids...))
			}
			below := dirOf("", dirs...)
			first, second := below, below
			first.Name, second.Name = "first", "second"
			root := s.tree(dirOf("", first, second))
			base := tempDir(b, benchDir())
			n, before := 0, cpuTime()
			for b.Loop() {
				n++
				rep, err := Run(context.Background(), Options{Source: s, Target: filepath.Join(base, fmt.Sprint(n))}, volumeOf(root, "v"))
				if err != nil || rep.HardLinks != uint64(files) || rep.ProblemCount+rep.NoticeKinds["link"] != 0 {
					b.Fatal(err, rep)
				}
			}
			b.ReportMetric((cpuTime()-before).Seconds()*1e6/float64(n)/float64(2*files), "us-of-processor/name")
		})
	}
}

func cpuTime() time.Duration {
	var u unix.Rusage
	must(unix.Getrusage(unix.RUSAGE_SELF, &u))
	return time.Duration(unix.TimevalToNsec(u.Utime) + unix.TimevalToNsec(u.Stime))
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
