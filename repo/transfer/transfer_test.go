package transfer_test

import (
	"context"
	"testing"

	"vault/backend"
	"vault/backend/mem"
	"vault/internal/repotest"
	"vault/repo"
	"vault/repo/transfer"
	"vault/snapshot"
)

// store is a repository in memory that counts.
type store struct {
	be *mem.Backend
	r  *repo.Repo
}

func newStore(t *testing.T) store {
	t.Helper()
	be, r := repotest.New(t)
	t.Cleanup(func() { repotest.MustCheck(t, be) })
	return store{be, r}
}

func mustRun(t *testing.T, dst, src *repo.Repo, o transfer.Options) transfer.Report {
	t.Helper()
	report, err := run(t.Context(), dst, src, o)
	if err != nil {
		t.Fatal(err)
	}
	return report
}

// run copies everything unless o says what.
func run(ctx context.Context, dst, src *repo.Repo, o transfer.Options) (transfer.Report, error) {
	if o.Backups == nil {
		var err error
		if o.Backups, err = src.Backups(ctx); err != nil {
			return transfer.Report{}, err
		}
	}
	return transfer.Run(ctx, dst, src, o)
}

func TestCopy(t *testing.T) {
	src, dst := newStore(t), newStore(t)
	want := repotest.MakeContent(1, 40)
	b := repotest.MustBackup(t, src.r, want)
	report := mustRun(t, dst.r, src.r, transfer.Options{})
	if len(report.Copies) != 1 || report.Copies[0].Outcome != transfer.Copied {
		t.Fatalf("%+v", report)
	}
	list, err := dst.r.Backups(t.Context())
	if err != nil || len(list) != 1 {
		t.Fatalf("%v, %v", list, err)
	}
	if o := list[0].Origin; o == nil || o.Repo != src.r.ID() || o.ID != b.ID {
		t.Errorf("origin %+v", o)
	}
	if err := repotest.Restore(t.Context(), dst.r, list[0], want); err != nil {
		t.Error(err)
	}
	again := mustRun(t, dst.r, src.r, transfer.Options{})
	if again.Count(transfer.Present) != 1 || again.Total != (transfer.Bytes{}) {
		t.Errorf("again: %+v", again)
	}
	_ = backend.ErrTooLarge
	_ = snapshot.Complete
}
