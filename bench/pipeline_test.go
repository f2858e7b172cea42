package bench

import (
	"context"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"vault/backend/mem"
	"vault/crypto"
	"vault/internal/repotest"
	"vault/repo"
	"vault/snapshot"
	"vault/snapshot/archive"
	"vault/snapshot/restore"
)

// fresh returns a new repository with the parameters that users get.
func fresh(tb testing.TB) (*mem.Backend, *repo.Repo) {
	return withParams(tb, repo.DefaultParams())
}

func withParams(tb testing.TB, p repo.Params) (*mem.Backend, *repo.Repo) {
	be := mem.New()
	r, err := repo.Init(context.Background(), be, repo.InitOptions{Passphrase: repotest.Passphrase, Cost: crypto.TestKDFCost, Params: p})
	if err != nil {
		tb.Fatal(err)
	}
	return be, r
}

// backup backs a directory up and returns the backup.
func backup(tb testing.TB, r *repo.Repo, dir string, parent *snapshot.Backup) *snapshot.Backup {
	ctx := context.Background()
	w, err := r.Begin(ctx, repo.WriterOptions{})
	if err != nil {
		tb.Fatal(err)
	}
	v := archive.Volume{Name: "data", Source: archive.Path{Path: dir}}
	if parent != nil {
		pv := parent.Volumes[0]
		v.Parent = &archive.Parent{Root: pv.Root, ScanStarted: pv.ScanStarted, Trusted: w.Trusts(parent.ID)}
	}
	report, err := archive.Run(ctx, archive.Options{NewStore: func() archive.Store { return w.Lane() }, Reader: r, Hasher: r,
		Chunker: r.Chunker(), Thresholds: r.Params().Trees}, []archive.Volume{v})
	if err != nil {
		tb.Fatal(err)
	}
	b, err := w.Commit(&snapshot.Backup{Volumes: report.Volumes})
	if err != nil {
		tb.Fatal(err)
	}
	return b
}

// restoreTo restores a backup.
func restoreTo(tb testing.TB, r *repo.Repo, b *snapshot.Backup, target string) {
	tb.Helper()
	report, err := restore.Run(context.Background(), restore.Options{Source: r, Target: target}, []restore.Volume{{Volume: &b.Volumes[0], Dir: "data"}})
	if err != nil || report.ProblemCount > 0 {
		tb.Fatal(err, report.Problems)
	}
}

// corpora are directories, by name, with their bytes.
func corpora(tb testing.TB) map[string]func() (dir string, size int64) {
	file := func(fill func([]byte, *rand.Rand, int) []byte) func() (string, int64) {
		return func() (string, int64) {
			dir := tb.TempDir()
			data := fill(nil, rand.New(rand.NewPCG(7, 7)), 128<<20)
			if err := os.WriteFile(filepath.Join(dir, "file"), data, 0o644); err != nil {
				tb.Fatal(err)
			}
			return dir, int64(len(data))
		}
	}
	return map[string]func() (string, int64){
		"noise": file(Noise),
		"text":  file(Text),
		"small": func() (string, int64) {
			dir := tb.TempDir()
			n, err := SmallFiles(dir, 3, 5000)
			if err != nil {
				tb.Fatal(err)
			}
			return dir, n
		},
	}
}

func BenchmarkFirstBackup(b *testing.B) {
	for name, make := range corpora(b) {
		b.Run(name, func(b *testing.B) {
			dir, size := make()
			b.SetBytes(size)
			b.ReportAllocs()
			for b.Loop() {
				_, r := fresh(b)
				backup(b, r, dir, nil)
			}
		})
	}
}

func BenchmarkUnchangedBackup(b *testing.B) {
	dir, size := corpora(b)["small"]()
	_, r := fresh(b)
	parent := backup(b, r, dir, nil)
	parent.Volumes[0].ScanStarted.Sec += 3600 // or the files are too young to be trusted
	b.SetBytes(size)
	b.ReportAllocs()
	for b.Loop() {
		backup(b, r, dir, parent)
	}
}

func BenchmarkRestore(b *testing.B) {
	for name, make := range corpora(b) {
		b.Run(name, func(b *testing.B) {
			dir, size := make()
			be, r := fresh(b)
			saved := backup(b, r, dir, nil)
			r = repotest.Open(b, be)
			b.SetBytes(size)
			for b.Loop() {
				target := filepath.Join(b.TempDir(), "out")
				restoreTo(b, r, saved, target)
				b.StopTimer()
				os.RemoveAll(target)
				b.StartTimer()
			}
		})
	}
}

// TestPipeline keeps the benchmarks honest: what they measure restores.
func TestPipeline(t *testing.T) {
	dir := t.TempDir()
	if _, err := SmallFiles(dir, 3, 300); err != nil {
		t.Fatal(err)
	}
	be, r := fresh(t)
	first := backup(t, r, dir, nil)
	first.Volumes[0].ScanStarted.Sec += 3600
	second := backup(t, r, dir, first)
	if f := second.Volumes[0].Files; f.Unmodified != 300 || f.New+f.Changed != 0 {
		t.Errorf("files of the unchanged backup: %+v", f)
	}
	target := filepath.Join(t.TempDir(), "out")
	restoreTo(t, repotest.Open(t, be), second, target)
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		rel, _ := filepath.Rel(dir, path)
		want, _ := os.ReadFile(path)
		got, err := os.ReadFile(filepath.Join(target, "data", rel))
		if string(got) != string(want) {
			t.Errorf("%s differs", rel)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
	repotest.MustCheck(t, be)
}
