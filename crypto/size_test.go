package crypto

import "testing"

func TestPaddedSizeValues(t *testing.T) {
	for _, tt := range []struct{ n, want int }{
		{-1, 512}, {0, 512}, {1, 512}, {512, 512},
		{513, 544}, {544, 544}, {545, 576}, {1000, 1024}, {1024, 1024},
		{1025, 1088}, {1088, 1088}, {2047, 2048}, {4097, 4352},
		{65535, 65536}, {65537, 67584}, // one more leading bit counts from 2^16
		{1_000_000, 1_015_808}, {16 << 20, 16 << 20}, {16<<20 + 1, 17_301_504}, {1<<30 - 1, 1 << 30}, {1 << 30, 1 << 30},
	} {
		if got := PaddedSize(tt.n); got != tt.want {
			t.Errorf("PaddedSize(%d) = %d, want %d", tt.n, got, tt.want)
		}
	}
}

// paddedByDefinition is section 1, word by word.
func paddedByDefinition(n int) int {
	if n <= 512 {
		return 512
	}
	log2 := func(v int) (l int) {
		for v > 1 {
			v /= 2
			l++
		}
		return l
	}
	e := log2(n)
	s := log2(e) + 1
	unit := 1
	for range e - s {
		unit *= 2
	}
	return (n + unit - 1) / unit * unit
}

func TestPaddedSizeProperties(t *testing.T) {
	last := 0
	check := func(n int) {
		p := PaddedSize(n)
		switch {
		case p != paddedByDefinition(n):
			t.Fatalf("PaddedSize(%d) = %d, by definition %d", n, p, paddedByDefinition(n))
		case p < n || p < last:
			t.Fatalf("PaddedSize(%d) = %d, below %d", n, p, max(n, last))
		case PaddedSize(p) != p:
			t.Fatalf("PaddedSize(%d) = %d is no size class", n, p)
		case n > 512 && (p-n)*16 > n, n >= 1<<16 && (p-n)*1000 > n*32:
			t.Fatalf("PaddedSize(%d) = %d costs too much", n, p)
		}
		last = p
	}
	for n := 0; n < 1<<17; n++ {
		check(n)
	}
	for n := 1 << 17; n < 1<<31; n += n/977 + 1 {
		check(n)
	}
	classes := 0
	for n := 0; n <= 1<<30; n = PaddedSize(n + 1) {
		classes++
	}
	if classes > 600 {
		t.Errorf("%d size classes up to 1 GiB", classes)
	}
}
