package repair_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"testing"

	"vault/backend/mem"
	"vault/internal/repotest"
	"vault/repo"
	"vault/repo/repair"
	"vault/snapshot"
)

// twins is a history in which, besides, two writers have stored the same content
// at once, so that many blobs lie in two packs. It returns the backups that are not
// forgotten.
func twins(t *testing.T) (be *mem.Backend, list []saved) {
	t.Helper()
	be, list = history(t)
	for seed := range uint64(2) {
		c := repotest.MakeContent(300+seed, 16)
		var ws []*repo.Writer
		var roots []*snapshot.Node
		for range 2 {
			r := repotest.Open(t, be)
			w, err := r.Begin(t.Context(), repo.WriterOptions{})
			if err != nil {
				t.Fatal(err)
			}
			root, err := repotest.Put(t.Context(), r, w.Lane(), c)
			if err != nil {
				t.Fatal(err)
			}
			ws, roots = append(ws, w), append(roots, root)
		}
		for i, w := range ws {
			b, err := w.Commit(&snapshot.Backup{Host: "h", Volumes: []snapshot.Volume{{
				Name: "data", Kind: snapshot.VolumePath, State: snapshot.Complete, Root: roots[i],
			}}})
			if err != nil {
				t.Fatal(err)
			}
			list = append(list, saved{b, c})
		}
	}
	mustForget(t, be, list[len(list)-1].b)
	gone, err := repotest.Open(t, be).Forgotten(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	list = slices.DeleteFunc(list, func(s saved) bool {
		return slices.ContainsFunc(gone, func(b *snapshot.Backup) bool { return b.ID == s.b.ID })
	})
	return be, list
}

// TestCollectionOfDamage: whatever is damaged, a collection refuses, or what of
// backups that are not forgotten could be restored before it can be restored after
// it; and so it is for a repair of what the collection has left, and for the next
// collection. VAULT_DAMAGE=n tries n seeds.
func TestCollectionOfDamage(t *testing.T) {
	origin, list := twins(t)
	seeds := 60
	if testing.Short() {
		seeds = 25
	}
	if n, err := strconv.Atoi(os.Getenv("VAULT_DAMAGE")); err == nil {
		seeds = n
	}
	refused := 0
	for seed := range uint64(seeds) {
		be := repotest.Copy(t, origin)
		rng := rand.New(rand.NewPCG(seed, 2))
		dirs := [][]string{{"packs/"}, {"packs/"}, {"packs/", "index/"}, {"packs/", "index/", "commits/", "events/", "sessions/"}}[rng.IntN(4)]
		what := fmt.Sprintf("seed %d: %q", seed, harm(t, be, rng, dirs...))
		before := restorable(t, be, list)
		if _, err := gcRun(t, be); err != nil {
			refused++
			wantAll(t, what+", refused", before, restorable(t, be, list))
		} else {
			wantAll(t, what+", collected", before, restorable(t, be, list))
		}
		o := quick()
		o.ReadData, o.DropUnreadable = true, true
		if _, err := repair.Run(t.Context(), repotest.Open(t, be), o); repo.StateOf(err) == repo.Unsupported {
			continue // a header that says that a newer program made it
		} else if err != nil {
			t.Fatalf("%s: repair: %v", what, err)
		}
		wantAll(t, what+", repaired", before, restorable(t, be, list))
		mustBeDone(t, be, o)
		if t.Failed() {
			t.Fatal(what)
		}
		mustCollect(t, be)
		wantAll(t, what+", repaired and collected", before, restorable(t, be, list))
		if t.Failed() {
			return
		}
	}
	t.Logf("%d of %d collections refused", refused, seeds)
}
