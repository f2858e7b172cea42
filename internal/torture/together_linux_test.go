package torture

import (
	"os"
	"path/filepath"
	"sync"
	"testing"
)

// TestPrunesTogether starts three prunes at once: one that wants to drop a backup
// which another has just deleted looks again. Torture found that it failed.
func TestPrunesTogether(t *testing.T) {
	dir := disk(t)
	p := newProgram(filepath.Join(dir, "repo"), filepath.Join(dir, "state"))
	p.init(t)
	file := filepath.Join(dir, "file")
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
			if o.code != 0 && o.code != 11 {
				t.Errorf("prune: %v", o)
			}
		}
	}
	p.must(t, 0, "check", "--read-data")
}
