package repo_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"vault/backend/local"
	"vault/crypto"
	"vault/internal/repotest"
	"vault/repo"
	"vault/repo/gc"
	"vault/snapshot"
	"vault/snapshot/archive"
)

// freeze made testdata/repo-v1, from fixed seeds but for session ids, which have a
// time and chance in them. It stays as a record of what is in there, and for the
// next format: the frozen repository itself is never made anew.
func freeze(t *testing.T, dir string) {
	f := &freezer{t: t, tree: filepath.Join(t.TempDir(), "tree"), rng: rand.New(rand.NewPCG(1, 1))}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	be, err := local.Open(filepath.Join(dir, "repository"))
	if err != nil {
		t.Fatal(err)
	}
	defer be.Close()
	f.r = repotest.Init(t, be)
	if _, err := f.r.AddKey(t.Context(), repotest.Passphrase, repo.NewKey{Passphrase: secondPassphrase, Cost: crypto.TestKDFCost, Label: "second"}); err != nil {
		t.Fatal(err)
	}
	f.firstDay()
	first := f.save("first", nil)
	dropped := f.saveContent("dropped", repotest.MakeContent(21, 8))
	f.secondDay()
	second := f.save("first", first)
	if err := f.r.Tag(t.Context(), second.ID, repo.Event{Time: second.Time, Tags: []repo.TagChange{{Key: "kept", Value: "for ever"}}}); err != nil {
		t.Fatal(err)
	}
	// A collection: of the dropped backup stay its events, and the record of what was done.
	f.forget(dropped)
	if _, err := gc.Run(t.Context(), f.r, gc.Options{Workers: 1, Limits: gc.Limits{MaxRepack: -1}}); err != nil {
		t.Fatal(err)
	}
	f.r = repotest.Open(t, be)
	f.thirdDay()
	f.save("first", second)
	f.forget(f.saveContent("later", repotest.MakeContent(22, 7)))
	// A backup whose process has gone leaves a session and its checkpoints.
	start(t, be, repotest.MakeContent(23, 20))
	f.expect(dir)
}

type freezer struct {
	t    *testing.T
	r    *repo.Repo
	tree string
	rng  *rand.Rand
	days int
}

// when is the time of everything of a day.
func (f *freezer) when() time.Time {
	return time.Date(2026, 1, 1+f.days, 12, 0, 0, 123456789, time.UTC)
}

func (f *freezer) file(name string, mode os.FileMode, data []byte) {
	path := filepath.Join(f.tree, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		f.t.Fatal(err)
	}
	if err := os.WriteFile(path, data, 0o644); err != nil {
		f.t.Fatal(err)
	}
	if err := os.Chmod(path, mode); err != nil {
		f.t.Fatal(err)
	}
}

// bytes are n bytes, half of which compress.
func (f *freezer) bytes(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		if b[i] = byte(f.rng.Uint32()); i >= n/2 {
			b[i] &= 7
		}
	}
	return b
}

func (f *freezer) must(err error) {
	f.t.Helper()
	if err != nil {
		f.t.Fatal(err)
	}
}

func (f *freezer) firstDay() {
	f.file("empty", 0o600, nil)
	f.file("script", 0o755, []byte("#!/bin/sh\n"))
	f.file("read-only", 0o444, f.bytes(777))
	f.file("name \xff that is no UTF-8\n", 0o644, f.bytes(10))
	f.file("große Datei", 0o640, f.bytes(700<<10))
	for i := range 120 {
		f.file(fmt.Sprintf("many/entry-%03d", i), 0o644, f.bytes(1+f.rng.IntN(600)))
	}
	f.must(os.MkdirAll(filepath.Join(f.tree, "deep/er/and/deeper"), 0o750))
	f.must(os.Mkdir(filepath.Join(f.tree, "nothing inside"), 0o700))
	f.must(os.Symlink("../many/entry-001", filepath.Join(f.tree, "deep/link")))
	f.must(os.Symlink("nowhere", filepath.Join(f.tree, "dangling")))
	f.must(os.Link(filepath.Join(f.tree, "read-only"), filepath.Join(f.tree, "deep/er/other name")))
	f.file("holes", 0o644, nil)
	h, err := os.OpenFile(filepath.Join(f.tree, "holes"), os.O_WRONLY, 0)
	f.must(err)
	_, err = h.WriteAt(f.bytes(5000), 1<<20)
	f.must(err)
	f.must(h.Truncate(3 << 20))
	f.must(h.Close())
}

func (f *freezer) secondDay() {
	f.days++
	for i := 0; i < 120; i += 9 {
		f.file(fmt.Sprintf("many/entry-%03d", i), 0o600, f.bytes(400))
	}
	f.must(os.Remove(filepath.Join(f.tree, "many/entry-050")))
	f.file("new/file", 0o644, f.bytes(90<<10))
}

func (f *freezer) thirdDay() {
	f.days++
	f.must(os.RemoveAll(filepath.Join(f.tree, "new")))
	f.file("script", 0o755, []byte("#!/bin/sh\nexit 0\n"))
}

// save backs the tree and a stream up.
func (f *freezer) save(group string, parent *snapshot.Backup) *snapshot.Backup {
	f.must(filepath.WalkDir(f.tree, func(path string, _ os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		at := unix.NsecToTimespec(f.when().UnixNano())
		return unix.UtimesNanoAt(unix.AT_FDCWD, path, []unix.Timespec{at, at}, unix.AT_SYMLINK_NOFOLLOW)
	}))
	w, err := f.r.Begin(f.t.Context(), repo.WriterOptions{})
	f.must(err)
	tree := archive.Volume{Name: "tree", Source: archive.Path{Path: f.tree}}
	if parent != nil {
		for _, v := range parent.Volumes {
			if v.Name == "tree" {
				tree.Parent = &archive.Parent{Root: v.Root, ScanStarted: v.ScanStarted, Trusted: w.Trusts(parent.ID)}
			}
		}
	}
	dump := strings.Repeat(fmt.Sprintf("INSERT INTO days VALUES (%d);\n", f.days), 3000)
	report, err := archive.Run(f.t.Context(), archive.Options{NewStore: func() archive.Store { return w.Lane() }, Reader: f.r, Hasher: f.r,
		Chunker: f.r.Chunker(), Thresholds: f.r.Params().Trees, Workers: 1},
		[]archive.Volume{tree, {Name: "dump", Source: archive.Stream{Reader: strings.NewReader(dump), Label: "database"}}})
	f.must(err)
	return f.commit(w, group, report.Volumes)
}

// saveContent backs up files that are in no tree.
func (f *freezer) saveContent(group string, c repotest.Content) *snapshot.Backup {
	w, err := f.r.Begin(f.t.Context(), repo.WriterOptions{})
	f.must(err)
	root, err := repotest.Put(f.t.Context(), f.r, w.Lane(), c)
	f.must(err)
	return f.commit(w, group, []snapshot.Volume{{Name: "content", Kind: snapshot.VolumePath, State: snapshot.Complete, Root: root}})
}

func (f *freezer) commit(w *repo.Writer, group string, volumes []snapshot.Volume) *snapshot.Backup {
	now := snapshot.Time{Sec: f.when().Unix()}
	b, err := w.Commit(&snapshot.Backup{Time: now, Started: now, Finished: now, Host: "frost", User: "winter", Group: group,
		Tags: []snapshot.Tag{{Key: "day", Value: fmt.Sprint(f.days)}}, Volumes: volumes})
	f.must(err)
	return b
}

func (f *freezer) forget(b *snapshot.Backup) {
	f.must(f.r.Forget(f.t.Context(), b.ID, repo.Event{Time: b.Time, Host: "frost", User: "winter"}))
}

// expect writes what restores give, in which the tree as it is now must be.
func (f *freezer) expect(dir string) {
	content := frozenContent(f.t, f.r)
	var now strings.Builder
	describeTree(f.t, &now, filepath.Dir(f.tree), "tree")
	if !strings.Contains(content, now.String()) {
		f.t.Errorf("the restored tree is not the one that was saved:\n%s\n%s", content, now.String())
	}
	f.must(os.WriteFile(filepath.Join(dir, "expected.txt"), []byte(content), 0o644))
}
