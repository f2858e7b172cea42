package local

import (
	"errors"
	"io/fs"
	"path/filepath"
	"sync"
	"testing"
)

// TestRacingFirstCreates: several clients make the place at the same moment;
// nobody takes a directory that another has just made for something else.
func TestRacingFirstCreates(t *testing.T) {
	for range 200 {
		dir := filepath.Join(t.TempDir(), "repo")
		var wg sync.WaitGroup
		var mu sync.Mutex
		won := 0
		for range 8 {
			s, err := Open(dir)
			if err != nil {
				t.Fatal(err)
			}
			wg.Go(func() {
				defer s.Close()
				err := s.Create(t.Context(), "config", []byte("x"))
				if err != nil && !errors.Is(err, fs.ErrExist) {
					t.Error(err)
				}
				if err == nil {
					mu.Lock()
					won++
					mu.Unlock()
				}
			})
		}
		wg.Wait()
		if won != 1 {
			t.Fatalf("%d winners", won)
		}
	}
}
