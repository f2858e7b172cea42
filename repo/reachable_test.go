package repo_test

import (
	"slices"
	"strings"
	"testing"

	"vault/internal/repotest"
	"vault/repo"
)

func reachable(t *testing.T, r *repo.Repo) (names []string) {
	t.Helper()
	for name, err := range r.Reachable(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, name)
	}
	return names
}

// TestReachableIsEnough deletes everything that is not reachable: the backups
// that are not forgotten restore from the rest.
func TestReachableIsEnough(t *testing.T) {
	be, r := repotest.New(t)
	a, b, c := repotest.MakeContent(1, 10), repotest.MakeContent(2, 10), repotest.MakeContent(3, 10)
	first := repotest.MustBackup(t, r, a)
	gone := repotest.MustBackup(t, r, b)
	prune(t, be)
	second := repotest.MustBackup(t, r, c)
	if err := r.Forget(t.Context(), gone.ID, repo.Event{}); err != nil {
		t.Fatal(err)
	}
	if err := r.Forget(t.Context(), first.ID, repo.Event{}); err != nil {
		t.Fatal(err)
	}
	if err := r.Unforget(t.Context(), first.ID, repo.Event{}); err != nil {
		t.Fatal(err)
	}
	if _, err := repotest.Open(t, be).Begin(t.Context(), repo.WriterOptions{}); err != nil { // a session that stays
		t.Fatal(err)
	}
	names := reachable(t, repotest.Open(t, be))
	if slices.Contains(names, "commits/"+gone.ID.String()) {
		t.Error("a forgotten backup is reachable")
	}
	left := 0
	for _, name := range repotest.Objects(t, be) {
		if !slices.Contains(names, name) {
			left++
			if strings.HasPrefix(name, "packs/") || strings.HasPrefix(name, "index/") {
				t.Errorf("%s counts, and is not reachable", name)
			}
			if err := be.Delete(t.Context(), name); err != nil {
				t.Fatal(err)
			}
		}
	}
	if left < 3 { // commit and events of what is forgotten, the session
		t.Errorf("only %d objects are not needed", left)
	}
	slices.Sort(names)
	if len(slices.Compact(slices.Clone(names))) != len(names) {
		t.Error("a name appears twice")
	}
	r = repotest.Open(t, be)
	if err := repotest.Restore(t.Context(), r, first, a); err != nil {
		t.Error(err)
	}
	if err := repotest.Restore(t.Context(), r, second, c); err != nil {
		t.Error(err)
	}
}

// TestReachableEndsEarly stops at the first name.
func TestReachableEndsEarly(t *testing.T) {
	_, r := repotest.New(t)
	for range r.Reachable(t.Context()) {
		break
	}
}
