//go:build linux

package apptest

import (
	"testing"

	"vault/backend/mem"
	"vault/internal/repotest"
	"vault/internal/save"
	"vault/repo"
	"vault/snapshot"
	"vault/snapshot/archive"
)

// Repo is a repository in memory, which is checked when its test ends.
type Repo struct {
	*repo.Repo
	be *mem.Backend
}

// NewRepo makes a repository.
func NewRepo(t testing.TB) *Repo {
	t.Helper()
	be, r := repotest.New(t)
	t.Cleanup(func() { repotest.MustCheck(t, be) })
	return &Repo{Repo: r, be: be}
}

// Save takes a backup of sources, by the names of the volumes, compared with the one
// before, and returns what became of it.
func (r *Repo) Save(t testing.TB, volumes ...archive.Volume) save.Report {
	t.Helper()
	r.Repo = repotest.Open(t, r.be) // which knows what was saved before
	report, err := save.Run(t.Context(), r.Repo, save.Options{Volumes: volumes,
		Backup: snapshot.Backup{Host: "host", Group: "app", User: "tester", Program: "test"}})
	if err != nil {
		t.Fatalf("save: %v", err)
	}
	r.Repo = repotest.Open(t, r.be)
	return report
}

// MustSave saves one source, which must be complete, and returns its volume.
func (r *Repo) MustSave(t testing.TB, source archive.Source) *snapshot.Volume {
	t.Helper()
	report := r.Save(t, archive.Volume{Name: "v", Source: source})
	if report.Outcome != save.Committed || report.Backup.Volumes[0].State != snapshot.Complete {
		t.Fatalf("save: %v, %v: %+v", report.Outcome, report.Err, report.Backup.Volumes)
	}
	return &report.Backup.Volumes[0]
}
