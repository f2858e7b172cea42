package restore

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"vault/snapshot"
)

// withHole is a file of chunks of data, a hole, and as many chunks again. With
// paged, its items stand in pages of their own.
func (s *store) withHole(name string, chunks int, hole uint64, paged bool) ent {
	limits := snapshot.DefaultThresholds()
	if paged {
		limits.InlineItems = 1
	}
	w := snapshot.NewContentWriter(s, limits)
	add := func(it snapshot.Item) { must(w.Add(context.Background(), it)) }
	size := hole
	for half := range 2 {
		for i := range chunks {
			c := noise(testChunk, byte(1+half*chunks+i))
			add(s.item([]byte(c)))
			size += testChunk
		}
		if half == 0 {
			add(snapshot.Item{Kind: snapshot.ItemHole, Length: hole})
		}
	}
	e := s.fileOf(name, "")
	e.Size, e.Content = size, must1(w.Finish(context.Background()))
	return e
}

// TestHolesTakeNoSpace: holes are holes in new files and in those that had
// reserved space in their place, though such space reads as zeros as well.
func TestHolesTakeNoSpace(t *testing.T) {
	const chunks, hole = 20, 3 << 20
	for i, paged := range []bool{false, true} {
		for _, large := range []uint64{0, largeFile} {
			s := newStore()
			e := s.withHole("f", chunks, hole+large, paged)
			if list := !e.Content.List.IsZero(); list != paged {
				t.Fatalf("items in pages: %t, want %t", list, paged)
			}
			root := s.tree(dirOf("", e))
			target := filepath.Join(t.TempDir(), fmt.Sprint(i))
			f := filepath.Join(target, "v/f")
			for _, had := range []struct {
				name string
				make func(fd *os.File)
			}{
				{"nothing", nil},
				{"reserved space", func(fd *os.File) { must(unix.Fallocate(int(fd.Fd()), 0, 0, int64(e.Size))) }},
				{"reserved space beyond its end", func(fd *os.File) {
					must1(fd.WriteAt([]byte(noise(2*testChunk, 9)), 0))
					must(unix.Fallocate(int(fd.Fd()), unix.FALLOC_FL_KEEP_SIZE, 0, int64(e.Size)))
				}},
			} {
				os.Remove(f)
				if had.make != nil {
					fd := must1(os.Create(f))
					had.make(fd)
					must(fd.Close())
				}
				noProblems(t, restoreTo(t, s, root, target, func(o *Options) { o.Verify = true }))
				const data, slack = 2 * chunks * testChunk, 64 << 10
				if a := allocated(f); a < data || a > data+slack {
					t.Errorf("paged %t, %d bytes, over %s: %d bytes allocated for %d", paged, e.Size, had.name, a, data)
				}
			}
		}
	}
}
