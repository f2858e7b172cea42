package repo_test

import (
	"flag"
	"os"
	"testing"

	"vault/backend/local"
	"vault/internal/repotest"
	"vault/repo"
)

var update = flag.Bool("update", false, "make the repository in testdata anew")

const referenceDir = "../testdata/repository"

// TestReferenceRepository: a repository on disk that an earlier build made opens,
// checks clean and restores. It can be made anew with -update; the frozen one of
// TestFrozenRepository never is.
func TestReferenceRepository(t *testing.T) {
	contents := []repotest.Content{repotest.MakeContent(1, 6), repotest.MakeContent(2, 6)}
	if *update {
		if err := os.RemoveAll(referenceDir); err != nil {
			t.Fatal(err)
		}
		be, err := local.Open(referenceDir)
		if err != nil {
			t.Fatal(err)
		}
		r := repotest.Init(t, be)
		for _, c := range contents {
			repotest.MustBackup(t, r, c)
		}
		r.Close()
	}
	be, err := local.Open(referenceDir)
	if err != nil {
		t.Fatal(err)
	}
	defer be.Close()
	if status := repo.Probe(t.Context(), be); status.State != repo.Sealed {
		t.Fatalf("state %s: %v", status.State, status.Err)
	}
	r := repotest.Open(t, be)
	list, err := r.Backups(t.Context())
	if err != nil || len(list) != len(contents) {
		t.Fatalf("%d backups, %v", len(list), err)
	}
	for i, b := range list {
		if err := repotest.Restore(t.Context(), r, b, contents[i]); err != nil {
			t.Error(err)
		}
	}
	repotest.MustCheck(t, be)
}
