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

// TestNothingLeft: what a collection leaves, with two packs of its own that did not
// get full, is nothing to collect.
func TestNothingLeft(t *testing.T) {
	limits := gc.Limits{MaxRepack: -1, Small: 1000}
	for clean := range 12 {
		for dead := range 4 {
			var packs []gc.Pack
			for i := range clean + dead {
				packs = append(packs, gc.Pack{ID: pack.ID{byte(i + 1)}, Kind: 1, Size: 100, Live: 80})
				if i >= clean {
					packs[i].Dead = 10
				}
			}
			p := gc.Make(packs, limits)
			if len(p.Repack) != dead && len(p.Repack) != dead+clean {
				t.Errorf("%d without and %d with dead bytes: %d are repacked", clean, dead, len(p.Repack))
			}
			gone := map[pack.ID]bool{}
			for _, id := range p.Condemned() {
				gone[id] = true
			}
			var left []gc.Pack
			for _, k := range packs {
				if !gone[k.ID] {
					left = append(left, k)
				}
			}
			for i := range min(len(gone), 2) {
				left = append(left, gc.Pack{ID: pack.ID{0, byte(i + 1)}, Kind: 1, Size: 100, Live: 80})
			}
			if again := gc.Make(left, limits); len(again.Repack)+len(again.Delete) > 0 {
				t.Errorf("%d without and %d with dead bytes: %d packs are left, and the next collection moves %d", clean, dead, len(left), len(again.Repack))
			}
		}
	}
}
