package repo_test

import (
	"testing"

	"vault/backend/mem"
	"vault/crypto"
	"vault/index"
	"vault/internal/repotest"
	"vault/repo"
	"vault/snapshot"
)

// TestRefreshWithoutChange: reading the state again without a change builds no
// index anew, a writer begins with the one that is there, and one that is held
// stays as it is whatever is added.
func TestRefreshWithoutChange(t *testing.T) {
	ctx := t.Context()
	be := mem.New()
	r := repotest.Init(t, be)
	refresh := func() *index.Index {
		t.Helper()
		x, err := repo.RefreshedIndex(ctx, r)
		if err != nil {
			t.Fatal(err)
		}
		return x
	}
	put := func(data string) {
		t.Helper()
		w, err := r.Begin(ctx, repo.WriterOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if _, _, err := w.Lane().Put(ctx, crypto.BlobData, []byte(data)); err != nil {
			t.Fatal(err)
		}
		if err := w.Flush(); err != nil {
			t.Fatal(err)
		}
		if kept, err := w.Checkpoint(&snapshot.Backup{Host: "h"}); err != nil || !kept {
			t.Fatal(kept, err)
		}
	}
	put("one")
	one := refresh()
	if again := refresh(); again != one || one.Len() != 1 {
		t.Errorf("%d rows, then %d: the index was built anew", one.Len(), again.Len())
	}
	w, err := r.Begin(ctx, repo.WriterOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for _, x := range repo.Indexes(w) {
		if x != one {
			t.Error("a writer has an index of its own before it has stored anything")
		}
	}
	w.Abort()
	put("two")
	if two := refresh(); two == one || one.Len() != 1 || two.Len() != 2 {
		t.Errorf("%d rows, then %d", one.Len(), two.Len())
	}
	repotest.MustCheck(t, be)
}
