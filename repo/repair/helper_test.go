package repair_test

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"testing"

	"vault/backend"
	"vault/backend/backendtest"
	"vault/backend/mem"
	"vault/crypto"
	"vault/internal/repotest"
	"vault/repo"
	"vault/repo/gc"
	"vault/repo/repair"
	"vault/snapshot"
)

// quick takes every session without a commit for dead.
func quick() repair.Options {
	return repair.Options{Workers: 2, Dead: func(repo.Waiting) bool { return true }}
}

// deep reads everything.
func deep() repair.Options {
	o := quick()
	o.ReadData = true
	return o
}

func collect() gc.Options {
	return gc.Options{Workers: 2, Dead: func(repo.Waiting) bool { return true }, Limits: gc.Limits{MaxRepack: -1}}
}

func mustRepair(t *testing.T, be backend.Backend, o repair.Options) repair.Report {
	t.Helper()
	report, err := repair.Run(t.Context(), repotest.Open(t, be), o)
	if err != nil {
		t.Fatal(err)
	}
	return report
}

// mustBeDone wants a further run to find nothing to do, and to do nothing.
func mustBeDone(t *testing.T, be backend.Backend, o repair.Options) {
	t.Helper()
	before := strings.Join(repotest.Objects(t, be), " ")
	report := mustRepair(t, be, o)
	if !report.Nothing || report.Generations > 0 || len(report.Noted) > 0 || report.Deleted > 0 {
		t.Errorf("a second run found something to do: %+v", report)
	}
	if after := strings.Join(repotest.Objects(t, be), " "); after != before {
		t.Error("a second run changed something")
	}
}

func mustCollect(t *testing.T, be backend.Backend) {
	t.Helper()
	if _, err := gc.Run(t.Context(), repotest.Open(t, be), collect()); err != nil {
		t.Fatal(err)
	}
}

// saved is a backup and what it holds.
type saved struct {
	b *snapshot.Backup
	c repotest.Content
}

// history makes a repository that has seen something: backups that share much,
// one of them collected, one forgotten, and what a crashed writer left.
func history(t *testing.T) (be *mem.Backend, list []saved) {
	t.Helper()
	be, r := repotest.New(t)
	backup := func(seed uint64) saved {
		c := repotest.MakeContent(1, 24)
		for name, b := range repotest.MakeContent(100+seed, 8) {
			c[name] = b
		}
		return saved{repotest.MustBackup(t, r, c), c}
	}
	for seed := range uint64(3) {
		list = append(list, backup(seed))
	}
	mustForget(t, be, list[1].b)
	mustCollect(t, be)
	list = append(list[:1], list[2:]...)
	r = repotest.Open(t, be)
	for seed := range uint64(3) {
		list = append(list, backup(10+seed))
	}
	mustForget(t, be, list[2].b)
	f := backendtest.NewFaulty(be)
	f.Inject(backendtest.Fault{At: 1, Crash: true, Match: func(op backendtest.Op) bool {
		return strings.HasPrefix(op.Name, "commits/") && op.Kind == backendtest.Create
	}})
	if _, err := repotest.Backup(t.Context(), repotest.Open(t, f), repotest.MakeContent(77, 8)); err == nil {
		t.Fatal("no crash")
	}
	return be, list
}

func mustForget(t *testing.T, be backend.Backend, b *snapshot.Backup) {
	t.Helper()
	if err := repotest.Open(t, be).Forget(t.Context(), b.ID, repo.Event{}); err != nil {
		t.Fatal(err)
	}
}

func mustRestore(t *testing.T, be backend.Backend, s saved) {
	t.Helper()
	if err := restore(t, be, s); err != nil {
		t.Fatal(err)
	}
}

func restore(t *testing.T, be backend.Backend, s saved) error {
	r := repotest.Open(t, be)
	list, err := r.Backups(t.Context())
	if err != nil {
		return err
	}
	for _, b := range list {
		if b.ID == s.b.ID {
			return repotest.Restore(t.Context(), r, b, s.c)
		}
	}
	return fmt.Errorf("backup %s is not listed", s.b.ID)
}

// restorable returns the files that come out right, as "backup/file", of
// backups that are listed or forgotten.
func restorable(t *testing.T, be backend.Backend, list []saved) map[string]bool {
	t.Helper()
	files := map[string]bool{}
	r, err := repo.Open(context.Background(), be, repo.OpenOptions{Passphrase: repotest.Pass})
	if err != nil {
		return files
	}
	roots, err := r.Roots(context.Background())
	if err != nil {
		return files
	}
	there := map[crypto.SessionID]bool{}
	for _, b := range roots {
		there[b.ID] = true
	}
	for _, s := range list {
		if !there[s.b.ID] {
			continue
		}
		reader := snapshot.NewDirReader(context.Background(), r, s.b.Volumes[0].Root.Tree)
		for {
			n, err := reader.Next()
			if err != nil {
				break
			}
			if got, err := content(r, n); err == nil {
				if !bytes.Equal(got, s.c[n.Name]) {
					t.Errorf("wrong bytes in %s", n.Name)
				}
				files[s.b.ID.String()+"/"+n.Name] = true
			}
		}
	}
	return files
}

func content(r *repo.Repo, n *snapshot.Node) ([]byte, error) {
	got := bytes.Clone(n.Content.Inline)
	for item, err := range snapshot.Items(context.Background(), r, n.Content, n.Size) {
		if err != nil {
			return nil, err
		}
		part, err := r.Get(context.Background(), crypto.BlobData, item.ID, nil)
		if err != nil {
			return nil, err
		}
		got = append(got, part...)
	}
	return got, nil
}

// wantAll fails for every file that was there before and is not now.
func wantAll(t *testing.T, what string, before, after map[string]bool) {
	t.Helper()
	for name := range before {
		if !after[name] {
			t.Errorf("%s: %s does not restore any more", what, name)
		}
	}
}

func objects(t *testing.T, be backend.Backend, prefix string) (names []string) {
	t.Helper()
	for _, name := range repotest.Objects(t, be) {
		if strings.HasPrefix(name, prefix) {
			names = append(names, name)
		}
	}
	return names
}

func read(t *testing.T, be backend.Backend, name string) []byte {
	t.Helper()
	b, err := backend.ReadAll(t.Context(), be, name, 1<<30)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// flip changes one bit of an object, at a place given in thousandths of it.
func flip(t *testing.T, be backend.Backend, name string, at int) {
	t.Helper()
	b := read(t, be, name)
	b[(len(b)-1)*at/1000] ^= 4
	put(t, be, name, b)
}

// flipAll does it to every object below a directory.
func flipAll(t *testing.T, be backend.Backend, dir string, at int) {
	t.Helper()
	for _, name := range objects(t, be, dir) {
		flip(t, be, name, at)
	}
}

func put(t *testing.T, be backend.Backend, name string, b []byte) {
	t.Helper()
	if err := be.Put(t.Context(), name, b); err != nil {
		t.Fatal(err)
	}
}

func remove(t *testing.T, be backend.Backend, name string) {
	t.Helper()
	if err := be.Delete(t.Context(), name); err != nil {
		t.Fatal(err)
	}
}

func gcRun(t *testing.T, be backend.Backend) (gc.Report, error) {
	return gc.Run(t.Context(), repotest.Open(t, be), collect())
}
