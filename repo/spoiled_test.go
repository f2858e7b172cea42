package repo_test

import (
	"bytes"
	"errors"
	"slices"
	"testing"

	"vault/backend/mem"
	"vault/crypto"
	"vault/internal/repotest"
	"vault/pack"
	"vault/repo"
	"vault/snapshot"
)

// TestSpoiledSegment: a segment that is changed between sealing and verification
// stops the backup. Neither the pack that it is in nor anything else is stored, and
// nothing becomes visible, also where the lane that finds it is the last one to let
// go of the pack, so that nobody but itself hands the pack on.
func TestSpoiledSegment(t *testing.T) {
	for name, last := range map[string]bool{"the pack stays open": false, "the lane lets go last": true} {
		t.Run(name, func(t *testing.T) {
			ctx := t.Context()
			be := mem.New()
			r := repotest.Init(t, be)
			before := objects(t, be)
			w, err := r.Begin(ctx, repo.WriterOptions{})
			if err != nil {
				t.Fatal(err)
			}
			lane, other := w.Lane(), w.Lane()
			large := func(b byte) []byte { return bytes.Repeat([]byte{b, 1, 2}, 1000) } // a segment of its own
			if _, added, err := lane.Put(ctx, crypto.BlobData, large(1)); err != nil || !added {
				t.Fatal(added, err)
			}
			spoiled := 0
			if !repo.SpoilSealed(w, crypto.BlobData, func(sealed []byte) {
				spoiled++
				sealed[len(sealed)/2] ^= 1
				if last {
					repo.LetGo(w, crypto.BlobData)
				}
			}) {
				t.Fatal("no pack is open")
			}
			put := func() error { _, _, err := lane.Put(ctx, crypto.BlobData, large(2)); return err }
			if last { // the writer must have failed before the pack is handed on, not a moment later
				put = func() error { return repo.StoreSegment(lane, crypto.BlobData, large(2)) }
			}
			if err := put(); !errors.Is(err, pack.ErrVerify) {
				t.Errorf("put of what does not read back: %v", err)
			}
			if spoiled != 1 {
				t.Fatalf("%d segments were spoiled", spoiled)
			}
			if _, _, err := other.Put(ctx, crypto.BlobData, large(3)); !errors.Is(err, pack.ErrVerify) {
				t.Errorf("another lane goes on: %v", err)
			}
			if err := w.Flush(); !errors.Is(err, pack.ErrVerify) {
				t.Errorf("flush: %v", err)
			}
			if _, err := w.Commit(&snapshot.Backup{Host: "h"}); !errors.Is(err, pack.ErrVerify) {
				t.Errorf("commit: %v", err)
			}
			want := append(before, "sessions/"+w.ID().String())
			slices.Sort(want)
			if got := objects(t, be); !slices.Equal(got, want) {
				t.Errorf("stored: %q, want %q", got, want)
			}
			again := repotest.Open(t, be)
			if list, err := again.Backups(ctx); err != nil || len(list) > 0 {
				t.Errorf("%d backups, %v", len(list), err)
			}
			repotest.MustCheck(t, be)
		})
	}
}

// objects lists the names of all that is stored.
func objects(t *testing.T, be *mem.Backend) (names []string) {
	t.Helper()
	for info, err := range be.List(t.Context(), "") {
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, info.Name)
	}
	slices.Sort(names)
	return names
}
