package gc_test

import (
	"strings"
	"testing"

	"vault/backend"
	"vault/backend/mem"
	"vault/internal/repotest"
	"vault/pack"
	"vault/repo"
	"vault/repo/gc"
	"vault/snapshot"
)

// twice makes a repository in which every blob of a backup lies in two packs:
// two writers stored the same at once, and one of the backups is forgotten. It
// returns the packs that a collection would keep.
func twice(t *testing.T) (be *mem.Backend, b *snapshot.Backup, c repotest.Content, keeps []string) {
	be, r := repotest.New(t)
	c = repotest.MakeContent(7, 30)
	var saved []*snapshot.Backup
	var writers []*suspended
	for range 2 {
		writers = append(writers, suspend(t, be, c))
	}
	for _, s := range writers {
		b, err := s.resume()
		if err != nil {
			t.Fatal(err)
		}
		saved = append(saved, b)
	}
	mustForget(t, r, saved[1])
	o := thorough()
	o.DryRun = true
	going := map[pack.ID]bool{}
	report := mustRun(t, repotest.Open(t, be), o)
	for _, id := range report.Condemned() {
		going[id] = true
	}
	for _, name := range repotest.Objects(t, be) {
		if rest, ok := strings.CutPrefix(name, "packs/"); ok {
			if id, _ := pack.ParseID(rest[3:]); !going[id] {
				keeps = append(keeps, name)
			}
		}
	}
	if len(keeps) == 0 || len(going) == 0 {
		t.Fatalf("%d packs stay, %d go: want some of each", len(keeps), len(going))
	}
	return be, saved[0], c, keeps
}

// TestTheGoodCopyIsKept: of two copies of each blob, the one that the collection
// would keep is damaged, and it is the other one that a reader gets the blob from.
func TestTheGoodCopyIsKept(t *testing.T) {
	for _, tt := range []struct {
		name   string
		damage func(t *testing.T, be *mem.Backend, name string)
	}{
		{"every segment is damaged", func(t *testing.T, be *mem.Backend, name string) {
			b := mustRead(t, be, name)
			for i := 200; i < len(b); i += 50 {
				b[i] ^= 1
			}
			mustPut(t, be, name, b)
		}},
		{"one bit is", func(t *testing.T, be *mem.Backend, name string) {
			b := mustRead(t, be, name)
			b[300] ^= 1
			mustPut(t, be, name, b)
		}},
		{"the pack is short", func(t *testing.T, be *mem.Backend, name string) {
			mustPut(t, be, name, mustRead(t, be, name)[:150])
		}},
		{"the pack is gone", func(t *testing.T, be *mem.Backend, name string) {
			if err := be.Delete(t.Context(), name); err != nil {
				t.Fatal(err)
			}
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			be, b, c, keeps := twice(t)
			for _, name := range keeps {
				tt.damage(t, be, name)
			}
			mustRestore(t, be, b, c) // from the other copies
			mustRun(t, repotest.Open(t, be), thorough())
			mustRestore(t, be, b, c)
			mustRun(t, repotest.Open(t, be), thorough())
			mustRestore(t, be, b, c)
		})
	}
}

// TestAGoodCopyIsNotCopied: what is kept elsewhere is read, and not stored again.
func TestAGoodCopyIsNotCopied(t *testing.T) {
	be, b, c, _ := twice(t)
	t.Cleanup(func() { repotest.MustCheck(t, be) })
	report := mustRun(t, repotest.Open(t, be), atOnce()) // moves nothing by itself
	if len(report.Delete) == 0 || report.Rescued != (repo.Stats{}) {
		t.Errorf("deleted %d packs; rescued %+v although all that stays is good", len(report.Delete), report.Rescued)
	}
	mustRestore(t, be, b, c)
}

// TestBothCopiesDamaged: nothing good is left of a blob, and nothing goes.
func TestBothCopiesDamaged(t *testing.T) {
	be, _, _, _ := twice(t)
	for _, name := range repotest.Objects(t, be) {
		if strings.HasPrefix(name, "packs/") {
			b := mustRead(t, be, name)
			b[300] ^= 1
			mustPut(t, be, name, b)
		}
	}
	packs := count(t, be, "packs/")
	if _, err := gc.Run(t.Context(), repotest.Open(t, be), thorough()); err == nil {
		t.Error("a collection over lost blobs ended well")
	}
	if n := count(t, be, "packs/"); n != packs {
		t.Errorf("%d packs are left of %d", n, packs)
	}
}

func mustPut(t *testing.T, be *mem.Backend, name string, b []byte) {
	t.Helper()
	if err := be.Put(t.Context(), name, b); err != nil {
		t.Fatal(err)
	}
}

func mustRead(t *testing.T, be *mem.Backend, name string) []byte {
	t.Helper()
	b, err := backend.ReadAll(t.Context(), be, name, 1<<30)
	if err != nil {
		t.Fatal(err)
	}
	return b
}
