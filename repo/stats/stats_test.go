package stats_test

import (
	"testing"

	"vault/internal/repotest"
	"vault/repo/stats"
	"vault/snapshot"
)

func TestMeasure(t *testing.T) {
	be, r := repotest.New(t)
	t.Cleanup(func() { repotest.MustCheck(t, be) })
	content := repotest.MakeContent(1, 20)
	first := repotest.MustBackup(t, r, content)
	again := repotest.MustBackup(t, r, content)
	other := repotest.MustBackup(t, r, repotest.MakeContent(2, 20))
	r = repotest.Open(t, be)

	report, err := stats.Measure(t.Context(), r, []*snapshot.Backup{first, again, other})
	if err != nil {
		t.Fatal(err)
	}
	if s := report.Backups[1]; s.Blobs != 0 || s.Plain != 0 || s.Stored != 0 {
		t.Errorf("the same again takes %+v", s)
	}
	alone, err := stats.Measure(t.Context(), r, []*snapshot.Backup{again})
	if err != nil {
		t.Fatal(err)
	}
	if alone.Total != report.Backups[0] {
		t.Errorf("alone it takes %+v, want %+v", alone.Total, report.Backups[0])
	}
	var plain uint64
	for _, b := range content {
		plain += uint64(len(b))
	}
	if got := report.Backups[0]; got.Blobs == 0 || got.Plain < plain/2 || got.Plain > plain+10000 || got.Stored >= got.Plain {
		t.Errorf("the first takes %+v for %d bytes of files", got, plain)
	}
	if got := report.Total; got.Stored == 0 || got.Stored > report.Bytes || got.Stored < report.Bytes/2 {
		t.Errorf("%d bytes stored, but the packs have %d", got.Stored, report.Bytes)
	}
	empty, err := stats.Measure(t.Context(), r, nil)
	if err != nil || empty.Total != (stats.Sizes{}) || empty.Packs != report.Packs {
		t.Errorf("nothing takes %+v, %v", empty, err)
	}
}
