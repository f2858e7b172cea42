package gc_test

import (
	"testing"

	"vault/pack"
	"vault/repo/gc"
)

// TestUnusedInBytes: a bound in bytes counts instead of the share.
func TestUnusedInBytes(t *testing.T) {
	packs := []gc.Pack{
		{ID: pack.ID{1}, Kind: 1, Size: 100, Live: 50, Dead: 50},
		{ID: pack.ID{2}, Kind: 1, Size: 100, Live: 70, Dead: 30},
		{ID: pack.ID{3}, Kind: 1, Size: 100, Live: 90, Dead: 10},
	}
	for bound, want := range map[int64]int{1: 3, 9: 3, 10: 2, 39: 2, 40: 1, 89: 1, 90: 0, 1000: 0} {
		p := gc.Make(packs, gc.Limits{MaxUnused: 0.5, MaxUnusedBytes: bound, MaxRepack: -1})
		if len(p.Repack) != want || p.UnusedBytes > bound {
			t.Errorf("at most %d unused bytes: %d packs repacked, %d stay; want %d packs", bound, len(p.Repack), p.UnusedBytes, want)
		}
	}
}
