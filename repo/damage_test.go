package repo_test

import (
	"context"
	"errors"
	"path"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"vault/backend"
	"vault/backend/mem"
	"vault/crypto"
	"vault/internal/repotest"
	"vault/repo"
	"vault/snapshot"
)

// reference is a small repository whose every byte the tests damage.
type reference struct {
	be       *mem.Backend
	objects  map[string][]byte
	backups  []*snapshot.Backup
	contents []repotest.Content
}

func newReference(t *testing.T) *reference {
	be, r := repotest.New(t)
	ref := &reference{be: be, objects: map[string][]byte{}}
	for seed := range uint64(2) {
		c := repotest.Content{
			"file-000": []byte(strings.Repeat("some text that compresses ", 8+int(seed))),
			"file-001": []byte("inline"),
			"file-002": repotest.MakeContent(seed, 1)["file-000"][:1],
		}
		c["file-002"] = append(c["file-002"], strings.Repeat(string(rune('a'+seed)), 200)...)
		ref.backups = append(ref.backups, repotest.MustBackup(t, r, c))
		ref.contents = append(ref.contents, c)
	}
	ref.grow(t, be, r)
	kinds := map[string]int{}
	for _, name := range repotest.Objects(t, be) {
		kind, _, _ := strings.Cut(name, "/")
		kinds[kind+path.Ext(name)]++
		b, err := backend.ReadAll(t.Context(), be, name, 1<<20)
		if err != nil {
			t.Fatal(err)
		}
		ref.objects[name] = b
	}
	for _, kind := range []string{"config", "keys", "packs", "index", "sessions", "commits", "events", "gc.plan", "gc.done"} {
		if kinds[kind] == 0 {
			t.Fatalf("the reference repository has no %s", kind)
		}
	}
	t.Logf("objects by kind: %v", kinds)
	return ref
}

// grow adds what backups alone do not have: a second key, events, a generation
// that dropped a backup, and a checkpoint of a backup that was interrupted.
func (ref *reference) grow(t *testing.T, be *mem.Backend, r *repo.Repo) {
	t.Helper()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	_, err := r.AddKey(t.Context(), repotest.Passphrase, repo.NewKey{Passphrase: []byte("another"), Cost: crypto.TestKDFCost})
	must(err)
	gone := repotest.MustBackup(t, r, repotest.Content{"gone": []byte(strings.Repeat("gone ", 50))})
	must(r.Forget(t.Context(), gone.ID, repo.Event{Host: "h"}))
	prune(t, be)
	must(r.Refresh(t.Context()))
	must(r.Tag(t.Context(), ref.backups[0].ID, repo.Event{Tags: []repo.TagChange{{Key: "k", Value: "v"}}}))
	must(r.Note(t.Context(), ref.backups[1].ID, repo.Event{Key: "k", Value: []byte("v")}))
	b := start(t, be, repotest.Content{"kept": []byte(strings.Repeat("kept ", 40))})
	b.w.Abort()
	must(r.Refresh(t.Context()))
	if roots, err := r.Roots(t.Context()); err != nil || len(roots) != len(ref.backups)+1 {
		t.Fatalf("%d roots, want the backups and a checkpoint: %v", len(roots), err)
	}
}

// with returns a store in which some objects have other bytes; nil bytes mean
// that the object is missing.
func (ref *reference) with(changes map[string][]byte) backend.Backend {
	be := mem.New()
	for name, b := range ref.objects {
		if c, changed := changes[name]; changed {
			b = c
		}
		if b != nil {
			be.Put(context.Background(), name, b)
		}
	}
	return be
}

// judge uses a damaged store in every way there is. It wants no panic, no
// wrong bytes, no false finding about the key; and that the damage is found, by
// whoever meets it first, and one of the damaged objects named.
func (ref *reference) judge(t *testing.T, what string, be backend.Backend, names ...string) {
	r, err := repo.Open(context.Background(), be, repo.OpenOptions{Passphrase: repotest.Pass})
	if err != nil {
		if s := repo.StateOf(err); s != repo.Damaged && s != repo.Unsupported {
			t.Errorf("%s: state %s: %v", what, s, err)
		}
		for _, name := range names {
			if strings.Contains(err.Error(), strings.TrimRight(name, "0123456789abcdef")) {
				return
			}
		}
		t.Errorf("%s: the error names no damaged object: %v", what, err)
		return
	}
	list, err := r.Backups(context.Background())
	if err != nil && repo.StateOf(err) != repo.Damaged && repo.StateOf(err) != repo.Unsupported {
		t.Errorf("%s: backups: %v", what, err)
	}
	for _, b := range list {
		for i, known := range ref.backups {
			if known.ID != b.ID {
				continue
			}
			if err := repotest.Restore(context.Background(), r, b, ref.contents[i]); errors.Is(err, repotest.ErrWrongBytes) {
				t.Errorf("%s: %v", what, err)
			}
		}
	}
	found := repotest.Problems(context.Background(), r)
	for _, p := range found {
		for _, name := range names {
			if p.Object == name || strings.Contains(p.Err.Error(), name) {
				return
			}
		}
	}
	t.Errorf("%s: check does not find it; it finds %v", what, found)
}

// each runs f for every object on all processors, and counts.
func (ref *reference) each(t *testing.T, f func(name string, original []byte) int) {
	var total atomic.Int64
	var wg sync.WaitGroup
	limit := make(chan struct{}, 4)
	for name, b := range ref.objects {
		wg.Go(func() {
			limit <- struct{}{}
			defer func() { <-limit }()
			total.Add(int64(f(name, b)))
		})
	}
	wg.Wait()
	t.Logf("%d damaged repositories, %d objects", total.Load(), len(ref.objects))
}

// TestEveryBitFlip flips every bit of every object, one at a time.
func TestEveryBitFlip(t *testing.T) {
	ref := newReference(t)
	step := 1
	if testing.Short() {
		step = 37
	}
	ref.each(t, func(name string, original []byte) (n int) {
		for bit := 0; bit < len(original)*8 && !t.Failed(); bit += step {
			b := append([]byte{}, original...)
			b[bit/8] ^= 1 << (bit % 8)
			ref.judge(t, name+" with a flipped bit", ref.with(map[string][]byte{name: b}), name)
			n++
		}
		return n
	})
}

// TestEveryTruncation cuts every object to every length, and lengthens it.
func TestEveryTruncation(t *testing.T) {
	ref := newReference(t)
	ref.each(t, func(name string, original []byte) (n int) {
		for length := 0; length < len(original) && !t.Failed(); length++ {
			ref.judge(t, name+" cut short", ref.with(map[string][]byte{name: append([]byte{}, original[:length]...)}), name)
			n++
		}
		ref.judge(t, name+" with a byte more", ref.with(map[string][]byte{name: append(append([]byte{}, original...), 0)}), name)
		return n + 1
	})
}

// TestEverySwap exchanges the bytes of every pair of objects of one kind, and
// puts those of each object in place of those of every other.
func TestEverySwap(t *testing.T) {
	ref := newReference(t)
	ref.each(t, func(name string, original []byte) (n int) {
		for other, b := range ref.objects {
			if other == name || t.Failed() {
				continue
			}
			ref.judge(t, name+" swapped with "+other, ref.with(map[string][]byte{name: b, other: original}), name, other)
			ref.judge(t, name+" replaced by "+other, ref.with(map[string][]byte{name: b}), name)
			n += 2
		}
		return n
	})
}

// TestEveryMissing removes every object. A session that is gone was settled, a key
// slot removed; a commit or event that is gone cannot be told from one that never
// was. A plan that was carried out may be missing (TestMissingPlan). Without its
// done a generation has not ended: what is found then is what it moved.
func TestEveryMissing(t *testing.T) {
	ref := newReference(t)
	ref.each(t, func(name string, _ []byte) int {
		names := []string{name}
		switch kind, _, _ := strings.Cut(name, "/"); {
		case kind == "sessions", kind == "commits", kind == "events", kind == "keys", path.Ext(name) == ".plan":
			return 0
		case path.Ext(name) == ".done":
			names = append(names, "index/")
		}
		ref.judge(t, name+" missing", ref.with(map[string][]byte{name: nil}), names...)
		return 1
	})
}
