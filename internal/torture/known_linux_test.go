package torture

import (
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// overtaken is a known issue: a prune that is about to drop a forgotten backup
// which another prune has just deleted - its commit, or the event that both want
// to create - ends with 1, instead of looking again. It does no harm, and the next
// prune works. Exit code 11 is for what cannot be settled by looking again.
func overtaken(o outcome) bool {
	return o.code == 1 && strings.Contains(o.err, "prune: drop ") &&
		(strings.Contains(o.err, "no such backup") || strings.Contains(o.err, "a collection has dropped it") ||
			strings.Contains(o.err, "it exists, and reading it"))
}

// TestPrunesTogether starts three prunes at once. TORTURE_KNOWN=1 demands that the
// known issue is gone.
func TestPrunesTogether(t *testing.T) {
	dir := disk(t)
	p := newProgram(filepath.Join(dir, "repo"), filepath.Join(dir, "state"))
	p.init(t)
	file := filepath.Join(dir, "file")
	known := 0
	for round := range uint64(5) {
		for i := range uint64(4) {
			must(t, os.WriteFile(file, block(10*round+i, 20_000), 0o600))
			p.must(t, 0, "backup", "v="+file)
		}
		p.must(t, 0, "forget", "--keep-last", "1")
		var wg sync.WaitGroup
		outcomes := make([]outcome, 3)
		for i := range outcomes {
			wg.Go(func() {
				o, err := p.run(fate{}, "prune")
				if err != nil {
					t.Error(err)
				}
				outcomes[i] = o
			})
		}
		wg.Wait()
		for _, o := range outcomes {
			switch {
			case o.code == 0, o.code == 11:
			case overtaken(o) && os.Getenv("TORTURE_KNOWN") == "":
				known++
			default:
				t.Errorf("prune: %v", o)
			}
		}
	}
	if known > 0 {
		t.Logf("%d prunes of 15 met the known issue", known)
	}
	p.must(t, 0, "check", "--read-data")
}
