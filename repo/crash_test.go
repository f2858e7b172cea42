package repo_test

import (
	"errors"
	"testing"

	"vault/backend/backendtest"
	"vault/backend/mem"
	"vault/crypto"
	"vault/internal/repotest"
	"vault/repo"
	"vault/snapshot"
)

// TestCrashAfterEveryOperation runs init and two backups, stopping dead at
// operation n, before or after its effect, for every n. Whatever is left must
// open (or still count as uninitialised), check clean, hold every backup that
// was acknowledged, and take a further one.
func TestCrashAfterEveryOperation(t *testing.T) {
	first, second := repotest.MakeContent(1, 12), repotest.MakeContent(2, 12)
	for _, when := range []backendtest.When{backendtest.Before, backendtest.After} {
		for n := 1; ; n++ {
			store := mem.New()
			f := backendtest.NewFaulty(store)
			f.CrashAt(n, when)
			acked, contents := session(t, f, first, second)
			afterCrash(t, n, store, acked, contents)
			if !f.Crashed() {
				t.Logf("%d operations, crashed at each, %v their effect", n-1, when)
				break
			}
			if n > 500 {
				t.Fatal("the work does not end")
			}
		}
	}
}

// session is what the crashing process does.
func session(t *testing.T, f *backendtest.Faulty, contents ...repotest.Content) (acked []*snapshot.Backup, of []repotest.Content) {
	r, err := repo.Init(t.Context(), f, repo.InitOptions{Passphrase: repotest.Passphrase, Cost: crypto.TestKDFCost, Params: repotest.Params()})
	if err != nil {
		return nil, nil
	}
	for _, c := range contents {
		b, err := repotest.Backup(t.Context(), r, c)
		if err != nil {
			if !errors.Is(err, backendtest.ErrCrashed) {
				t.Errorf("backup failed with something else: %v", err)
			}
			return acked, of
		}
		acked, of = append(acked, b), append(of, c)
	}
	return acked, of
}

func afterCrash(t *testing.T, n int, store *mem.Backend, acked []*snapshot.Backup, contents []repotest.Content) {
	t.Helper()
	switch status := repo.Probe(t.Context(), store); status.State {
	case repo.Uninitialised:
		if len(acked) > 0 {
			t.Fatalf("operation %d: an acknowledged backup, and no repository", n)
		}
		repotest.Init(t, store)
	case repo.Sealed:
	default:
		t.Fatalf("operation %d: state %s: %v", n, status.State, status.Err)
	}
	r := repotest.Open(t, store)
	list, err := r.Backups(t.Context())
	if err != nil {
		t.Fatalf("operation %d: %v", n, err)
	}
	if len(list) < len(acked) || len(list) > len(acked)+1 {
		t.Fatalf("operation %d: %d backups visible, %d acknowledged", n, len(list), len(acked))
	}
	for i, b := range acked {
		if list[i].ID != b.ID {
			t.Errorf("operation %d: backup %d has another id", n, i)
		}
		if err := repotest.Restore(t.Context(), r, list[i], contents[i]); err != nil {
			t.Errorf("operation %d: acknowledged backup %d: %v", n, i, err)
		}
	}
	more := repotest.MakeContent(9, 8)
	if err := repotest.Restore(t.Context(), r, repotest.MustBackup(t, r, more), more); err != nil {
		t.Errorf("operation %d: the next backup: %v", n, err)
	}
	repotest.MustCheck(t, store) // also that a visible but unacknowledged backup is whole
}

// TestFailureOfEveryOperation fails one operation at a time, applied or not,
// and goes on: an error, or a backup that restores.
func TestFailureOfEveryOperation(t *testing.T) {
	kept, next := repotest.MakeContent(1, 12), repotest.MakeContent(2, 12)
	for _, when := range []backendtest.When{backendtest.Before, backendtest.After} {
		for n := 1; ; n++ {
			store, r := repotest.New(t)
			old := repotest.MustBackup(t, r, kept)
			f := backendtest.NewFaulty(store)
			f.FailAt(n, when, errors.New("the network hiccups"))
			r, err := repo.Open(t.Context(), f, repo.OpenOptions{Passphrase: repotest.Pass})
			if err == nil {
				var b *snapshot.Backup
				if b, err = repotest.Backup(t.Context(), r, next); err == nil {
					if err := repotest.Restore(t.Context(), repotest.Open(t, store), b, next); err != nil {
						t.Errorf("operation %d: %v", n, err)
					}
				}
			}
			if err := repotest.Restore(t.Context(), repotest.Open(t, store), old, kept); err != nil {
				t.Errorf("operation %d: the old backup: %v", n, err)
			}
			repotest.MustCheck(t, store)
			if f.Count() < n {
				break
			}
		}
	}
}
