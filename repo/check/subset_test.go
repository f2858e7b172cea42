package check

import (
	"math/rand/v2"
	"testing"

	"vault/pack"
)

func TestParseSubset(t *testing.T) {
	for text, want := range map[string]Subset{
		"1/7": {Bucket: 1, Buckets: 7}, "7/7": {Bucket: 7, Buckets: 7}, "1/1": {Bucket: 1, Buckets: 1},
		"5%": {Share: 0.05}, "0.5%": {Share: 0.005}, "100%": {Share: 1}, "1G": {Bytes: 1 << 30}, "12": {Bytes: 12},
		"0/7": {}, "8/7": {}, "/": {}, "1/": {}, "-1/7": {}, "0%": {}, "101%": {}, "NaN%": {}, "%": {}, "": {}, "0": {}, "x": {},
	} {
		got, err := ParseSubset(text)
		if (err != nil) != (want == Subset{}) || got != want && err == nil {
			t.Errorf("ParseSubset(%q) = %+v, %v, want %+v", text, got, err, want)
		}
	}
}

// packs of 10 bytes each, with names that are spread as hashes are.
func packs(n int) map[pack.ID]int64 {
	chance := rand.New(rand.NewPCG(1, 2))
	list := map[pack.ID]int64{}
	for len(list) < n {
		var id pack.ID
		for i := range id {
			id[i] = byte(chance.Uint32())
		}
		list[id] = 10
	}
	return list
}

// TestBuckets: every pack is in exactly one of them.
func TestBuckets(t *testing.T) {
	seen := map[pack.ID]int{}
	all := packs(1000)
	for n := uint64(1); n <= 7; n++ {
		read, err := Subset{Bucket: n, Buckets: 7}.Choose(t.Context(), nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		size := 0
		for id := range all {
			if read(id, 10) {
				seen[id]++
				size++
			}
		}
		if size < 80 || size > 220 {
			t.Errorf("bucket %d of 7 has %d of 1000 packs", n, size)
		}
	}
	for id := range all {
		if seen[id] != 1 {
			t.Errorf("pack %s is in %d buckets", id, seen[id])
		}
	}
}

func TestDraw(t *testing.T) {
	all := packs(100)
	chance := rand.New(rand.NewPCG(3, 4))
	for want, n := range map[int64]int{0: 1, 1: 1, 10: 1, 11: 2, 500: 50, 1000: 100, 9999: 100} {
		if got := len(draw(all, want, chance)); got != n {
			t.Errorf("%d bytes: %d packs, want %d", want, got, n)
		}
	}
	if got := len(draw(nil, 10, chance)); got != 0 {
		t.Errorf("of nothing: %d packs", got)
	}
	seen := map[pack.ID]bool{}
	for range 100 {
		for id := range draw(all, 100, chance) {
			seen[id] = true
		}
	}
	if len(seen) < 99 {
		t.Errorf("1000 draws met only %d of 100 packs", len(seen))
	}
}
