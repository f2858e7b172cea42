package bench

import (
	"bytes"
	"context"
	"crypto/rand"
	"fmt"
	"io/fs"
	mathrand "math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"text/tabwriter"
	"time"

	"vault/crypto"
	"vault/index"
	"vault/internal/repotest"
	"vault/pack"
	"vault/repo"
	"vault/snapshot"
)

// table gathers the rows that TestTable prints.
type table struct{ w *tabwriter.Writer }

// row adds a line; size is bytes an operation, items things in it (or 0), share
// the fraction of the limit (or 0).
func (t table) row(stage, corpus string, r testing.BenchmarkResult, size, items int64, share float64) {
	rate, count, of := "", "", ""
	seconds := r.T.Seconds() / float64(max(r.N, 1))
	if size > 0 {
		rate = fmt.Sprintf("%.0f", float64(size)/seconds/1e6)
	}
	if items > 0 {
		count = fmt.Sprintf("%.3f", float64(items)/seconds/1e6)
	}
	if share > 0 {
		of = fmt.Sprintf("%.2f", share)
	}
	fmt.Fprintf(t.w, "%s\t%s\t%s\t%s\t%d\t%s\t\n", stage, corpus, rate, count, r.AllocsPerOp(), of)
}

// bench runs f as a benchmark.
func bench(f func()) testing.BenchmarkResult {
	return testing.Benchmark(func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			f()
		}
	})
}

// holes writes a file of which one sixteenth is data.
func holes(dir string, _ float64) error {
	path := filepath.Join(dir, "holes")
	if err := os.WriteFile(path, nil, 0o644); err != nil {
		return err
	}
	rng := mathrand.New(mathrand.NewPCG(9, 9))
	return overwrite(path, func(f *os.File) error {
		for i := range int64(128) {
			if _, err := f.WriteAt(Text(nil, rng, 64<<10), i<<20); err != nil {
				return err
			}
		}
		return f.Truncate(128 << 20)
	})
}

// TestTable measures every stage and the whole pipeline on all corpora and writes
// one table to the file that BENCH_TABLE names: `make bench`.
func TestTable(t *testing.T) {
	path := os.Getenv("BENCH_TABLE")
	if path == "" {
		t.Skip("make bench")
	}
	var out bytes.Buffer
	tb := table{tabwriter.NewWriter(&out, 0, 0, 2, ' ', tabwriter.AlignRight)}
	fmt.Fprint(tb.w, "stage\tcorpus\tMB/s\tM items/s\tallocs/op\tof limit\t\n")
	list := []Corpus{{Name: "holes", Make: holes}}
	for _, c := range Corpora {
		if c.Name != "source" {
			list = append(list, c)
		}
	}
	for _, c := range list {
		tb.corpus(t, c, 0.05)
	}
	tb.trees(t)
	tb.index(t)
	tb.w.Flush()
	out.WriteString("\nOf limit: of a stage, its part of the CPU time that all stages from split to verify take (pack does seal and verify\n" +
		"again, where they lie in a pack). Of a first backup, that time over its own CPU time, user and system; of the next day's,\n" +
		"which has no parent and reads everything, that of split and name; of a restore, that of verify, which opens, decodes and\n" +
		"names as it does; of an unchanged backup, that of a walk with lstat. It is above 1 where the engine does less than the\n" +
		"stages: holes are not read, what occurs twice is stored once, entries need fewer calls than a walk of the standard\n" +
		"library. Blank where a row is a stage by itself.\n")
	if err := os.WriteFile(path, out.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
}

// corpus measures the stages on the bytes of a corpus, then whole backups of it.
func (tb table) corpus(t *testing.T, c Corpus, scale float64) {
	dir := t.TempDir()
	if err := c.Make(dir, scale); err != nil {
		t.Fatal(err)
	}
	var files [][]byte
	var size int64
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		data, err := os.ReadFile(path)
		files, size = append(files, data), size+int64(len(data))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	s := newStages(t)
	s.load(t, files)
	var limit float64
	var spent, times []float64
	var results []testing.BenchmarkResult
	names := []string{"split", "name", "compress", "seal", "verify"}
	for _, f := range []func(){func() { s.split(t, files, nil) }, s.name, s.compress, s.seal, func() { s.verify(t) }} {
		r := bench(func() {
			began := cpu(t)
			f()
			spent = append(spent, (cpu(t) - began).Seconds())
		})
		results = append(results, r)
		took := slices.Min(spent)
		times, spent = append(times, took), spent[:0]
		limit += took
	}
	for i, r := range results {
		tb.row(names[i], c.Name, r, size, 0, times[i]/limit)
	}
	r := bench(func() {
		began := cpu(t)
		s.pack(t)
		spent = append(spent, (cpu(t) - began).Seconds())
	})
	tb.row("pack", c.Name, r, size, 0, slices.Min(spent)/limit)
	items := int64(0)
	if len(files) > 1 {
		items = int64(len(files))
	}
	r, took := whole(t, "", dir)
	tb.row("first backup", c.Name, r, size, items, limit/took)
	r, took = restored(t, dir)
	tb.row("restore", c.Name, r, size, items, times[len(times)-1]/took)
	if c.Change == nil {
		return
	}
	next := t.TempDir()
	if err := c.Make(next, scale); err != nil {
		t.Fatal(err)
	}
	if err := c.Change(next, scale); err != nil {
		t.Fatal(err)
	}
	r, took = whole(t, dir, next)
	tb.row("next day", c.Name, r, size, items, (times[0]+times[1])/took)
}

// whole benchmarks the backup of a directory, after that of another one if it
// has a name, and returns the CPU seconds of one.
func whole(t *testing.T, before, dir string) (r testing.BenchmarkResult, seconds float64) {
	r = testing.Benchmark(func(b *testing.B) {
		b.ReportAllocs()
		var sum time.Duration
		for range b.N {
			b.StopTimer()
			_, rep := fresh(t)
			if before != "" {
				backup(t, rep, before, nil)
			}
			began := cpu(t)
			b.StartTimer()
			backup(t, rep, dir, nil)
			sum += cpu(t) - began
		}
		seconds = sum.Seconds() / float64(b.N)
	})
	return r, seconds
}

// restored benchmarks the restore of a directory's backup, and returns the CPU seconds
// of one. Opening the repository has no part in it.
func restored(t *testing.T, dir string) (r testing.BenchmarkResult, seconds float64) {
	be, rep := fresh(t)
	saved := backup(t, rep, dir, nil)
	target := filepath.Join(t.TempDir(), "out")
	r = testing.Benchmark(func(b *testing.B) {
		b.ReportAllocs()
		var sum time.Duration
		for range b.N {
			b.StopTimer()
			rep = repotest.Open(t, be) // nothing is at hand
			if err := rep.Refresh(t.Context()); err != nil {
				t.Fatal(err)
			}
			began := cpu(t)
			b.StartTimer()
			restoreTo(t, rep, saved, target)
			b.StopTimer()
			sum += cpu(t) - began
			if err := os.RemoveAll(target); err != nil {
				t.Fatal(err)
			}
		}
		seconds = sum.Seconds() / float64(b.N)
	})
	return r, seconds
}

// pack lays the coded segments out in packs, seals and verifies them.
func (s *stages) pack(tb testing.TB) {
	size := repo.DefaultParams().PackSize
	if s.packBuf == nil {
		s.packBuf = make([]byte, size)
	}
	var b *pack.Builder
	finish := func() {
		if b != nil {
			if _, err := b.Finish(); err != nil {
				tb.Fatal(err)
			}
		}
		b = nil
	}
	for _, g := range s.segments {
		blobs := make([]pack.Blob, len(g.chunks))
		for i, c := range g.chunks {
			blobs[i] = pack.Blob{ID: s.keys.BlobID(crypto.BlobData, c), Length: uint32(len(c))}
		}
		for {
			if b == nil {
				var err error
				if b, err = pack.NewBuilder(s.keys, crypto.SessionID{3}, crypto.BlobData, size, s.packBuf, rand.Reader); err != nil {
					tb.Fatal(err)
				}
			}
			slot, ok := b.Reserve(g.coded, g.codec, len(g.raw), blobs)
			if !ok {
				finish()
				continue
			}
			slot.Seal(g.coded)
			if _, err := slot.Verify(s.coder, s.decoded); err != nil {
				tb.Fatal(err)
			}
			break
		}
	}
	finish()
}

// trees measures pages, and the backup of a tree that has not changed beside a mere
// walk over it.
func (tb table) trees(t *testing.T) {
	const entries = 50_000
	_, r := fresh(t)
	pages := &pageStore{hash: r, pages: map[crypto.ID][]byte{}}
	var top crypto.ID
	node := snapshot.Node{Type: snapshot.Symlink, Mode: 0o777, Target: "elsewhere", MTime: snapshot.Time{Sec: 1_800_000_000}}
	names := make([]string, entries)
	for i := range names {
		names[i] = fmt.Sprintf("entry-%08d", i)
	}
	w := snapshot.NewDirWriter(pages, r, r.Params().Trees)
	tb.row("tree encode", "50,000 entries", bench(func() {
		for _, node.Name = range names {
			if err := w.Add(context.Background(), &node); err != nil {
				t.Fatal(err)
			}
		}
		var err error
		if top, err = w.Finish(context.Background()); err != nil {
			t.Fatal(err)
		}
	}), 0, entries, 0)
	tb.row("tree decode", "50,000 entries", bench(func() {
		d := snapshot.NewDirReader(context.Background(), pages, top)
		for range names {
			if _, err := d.Next(); err != nil {
				t.Fatal(err)
			}
		}
	}), 0, entries, 0)
	dir := t.TempDir()
	size, err := SmallFiles(dir, 3, 5000)
	if err != nil {
		t.Fatal(err)
	}
	first := backup(t, r, dir, nil)
	first.Volumes[0].ScanStarted.Sec += 3600
	var walks, backups []float64
	timed := func(to *[]float64, f func()) testing.BenchmarkResult {
		return bench(func() {
			began := cpu(t)
			f()
			*to = append(*to, (cpu(t) - began).Seconds())
		})
	}
	tb.row("walk with lstat", "small", timed(&walks, func() { walk(t, dir) }), 0, 5000, 0)
	result := timed(&backups, func() { backup(t, r, dir, first) })
	tb.row("unchanged backup", "small", result, size, 5000, slices.Min(walks)/slices.Min(backups))
}

// walk lists a tree and asks for the attributes of each file, as the standard library
// does: what finding out that nothing has changed cannot do without.
func walk(tb testing.TB, dir string) {
	err := filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err == nil {
			_, err = d.Info()
		}
		return err
	})
	if err != nil {
		tb.Fatal(err)
	}
}

// pageStore keeps pages in memory.
type pageStore struct {
	hash interface {
		BlobID(crypto.BlobKind, []byte) crypto.ID
	}
	pages map[crypto.ID][]byte
}

func (s *pageStore) Put(_ context.Context, kind crypto.BlobKind, data []byte) (crypto.ID, error) {
	id := s.hash.BlobID(kind, data)
	if s.pages[id] == nil {
		s.pages[id] = bytes.Clone(data)
	}
	return id, nil
}

func (s *pageStore) Get(_ context.Context, _ crypto.BlobKind, id crypto.ID, dst []byte) ([]byte, error) {
	return append(dst[:0], s.pages[id]...), nil
}

// index measures the making of a segment and look-ups among a million blobs.
func (tb table) index(t *testing.T) {
	rng := mathrand.NewChaCha8([32]byte{1})
	const rows = 100_000
	tb.row("index add", "100,000 blobs", bench(func() { indexSegment(t, rng, rows) }), 0, rows, 0)
	var list []*index.Segment
	var known, unknown []crypto.ID
	for range 10 {
		s, err := index.NewSegment(indexSegment(t, rng, rows))
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, s)
		for id := range s.All() {
			known, unknown = append(known, id), append(unknown, randomID(rng))
		}
	}
	mathrand.New(rng).Shuffle(len(known), func(i, j int) { known[i], known[j] = known[j], known[i] })
	x := index.New(list...)
	for _, l := range []struct {
		name string
		ids  []crypto.ID
	}{{"new", unknown}, {"known", known}} {
		i := 0
		tb.row("look up", l.name+", of a million", bench(func() { x.Has(l.ids[i%len(l.ids)]); i++ }), 0, 1, 0)
	}
}
