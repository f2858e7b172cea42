package repo_test

import (
	"testing"

	"vault/internal/repotest"
	"vault/repo"
)

func TestForgottenLists(t *testing.T) {
	be, r := repotest.New(t)
	t.Cleanup(func() { repotest.MustCheck(t, be) })
	first := repotest.MustBackup(t, r, repotest.MakeContent(1, 3))
	repotest.MustBackup(t, r, repotest.MakeContent(2, 3))
	ids := func() (list []string) {
		t.Helper()
		backups, err := r.Forgotten(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, b := range backups {
			list = append(list, b.ID.String())
		}
		return list
	}
	if list := ids(); len(list) != 0 {
		t.Errorf("nothing was forgotten, but %v is listed", list)
	}
	if err := r.Forget(t.Context(), first.ID, repo.Event{}); err != nil {
		t.Fatal(err)
	}
	if list := ids(); len(list) != 1 || list[0] != first.ID.String() {
		t.Errorf("forgotten: %v, want %s", list, first.ID)
	}
	if err := r.Unforget(t.Context(), first.ID, repo.Event{}); err != nil {
		t.Fatal(err)
	}
	if list := ids(); len(list) != 0 {
		t.Errorf("it was brought back, but %v is listed", list)
	}
	if err := r.Forget(t.Context(), first.ID, repo.Event{}); err != nil {
		t.Fatal(err)
	}
	if ok, err := r.Collect(t.Context(), first.ID, repo.Event{}); !ok || err != nil {
		t.Fatal(ok, err)
	}
	if list := ids(); len(list) != 0 {
		t.Errorf("a collection has begun to drop it, but %v is listed", list)
	}
}
