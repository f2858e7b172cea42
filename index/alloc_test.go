//go:build !race

package index

import (
	"math/rand/v2"
	"runtime"
	"testing"

	"vault/crypto"
)

// TestLookupAllocations: look-ups take no memory, hit or miss.
func TestLookupAllocations(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	s := benchSegment(rng, 10_000)
	x := New(s)
	hit, miss := s.name(77), crypto.ID{1}
	n := testing.AllocsPerRun(100, func() {
		found := 0
		for l := range x.Lookup(hit) {
			found += int(l.Length)
		}
		for range s.Lookup(miss) {
			found++
		}
		if found != 5000 || !x.Has(hit) || x.Has(miss) {
			t.Fatal("wrong answer")
		}
	})
	if n > 0 {
		t.Errorf("%v allocations", n)
	}
}

// TestHeap measures what an Index takes beside the bytes of its segments.
func TestHeap(t *testing.T) {
	s := benchSegment(rand.New(rand.NewPCG(2, 2)), 300_000)
	heap := func() uint64 {
		var m runtime.MemStats
		for range 3 { // what earlier tests have put into pools takes two to go
			runtime.GC()
		}
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	before := heap()
	x := New(s)
	per := float64(heap()-before) / float64(x.Len())
	t.Logf("%.3f bytes a row, HeapBytes says %.3f", per, float64(x.HeapBytes())/float64(x.Len()))
	if per > 1.5 || float64(x.HeapBytes()) < 0.9*per*float64(x.Len()) {
		t.Errorf("%.3f bytes a row", per)
	}
	runtime.KeepAlive(s)
}

// TestSharedHeap: an index that has a small segment more, or less, than a large one
// takes next to no memory beside it.
func TestSharedHeap(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 3))
	large, small, smaller := benchSegment(rng, 200_000), benchSegment(rng, 4000), benchSegment(rng, 2000)
	x := New(large, small)
	took := func(f func() *Index) (n uint64) {
		n = 1 << 60
		for range 5 { // the least: other goroutines of the test take memory, too
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			y := f()
			runtime.ReadMemStats(&after)
			n = min(n, after.TotalAlloc-before.TotalAlloc)
			runtime.KeepAlive(y)
		}
		return n
	}
	whole := took(func() *Index { return New(large, small) })
	for what, f := range map[string]func() *Index{
		"the same": func() *Index { return x.WithOnly(small, large) },
		"one more": func() *Index { return x.WithOnly(large, small, smaller) },
		"one less": func() *Index { return x.WithOnly(large) },
		"another":  func() *Index { return x.WithOnly(large, smaller) },
	} {
		if n := took(f); n > whole/10 {
			t.Errorf("%s: %d bytes, where a whole index takes %d", what, n, whole)
		}
	}
}
