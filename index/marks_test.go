package index

import (
	"math/rand/v2"
	"reflect"
	"sync"
	"sync/atomic"
	"testing"

	"vault/crypto"
	"vault/pack"
)

// TestMarks marks half of the blobs from several goroutines: each is marked in
// one row, by one call, and no other is.
func TestMarks(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	m := model{}
	x := New()
	for range 12 {
		p := randomPack(rng, 3, 40, m.ids())
		m.add(p)
		x = x.With(segment(t, encode(t, p)))
	}
	marks := x.NewMarks()
	type key struct {
		kind crypto.BlobKind
		id   crypto.ID
	}
	all := map[key]bool{} // to be marked?
	for row := range marks.Rows() {
		if row.Marked {
			t.Fatal("marked from the start")
		}
		all[key{row.Kind, row.ID}] = row.ID[0]%2 == 0
	}
	var firsts atomic.Int64
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for k, wanted := range all {
				if !wanted {
					continue
				}
				known, first := marks.Mark(k.kind, k.id)
				if !known {
					t.Errorf("%v is not known", k.id)
				}
				if first {
					firsts.Add(1)
				}
			}
		})
	}
	wg.Wait()
	wanted, marked := 0, 0
	for k, want := range all {
		if want {
			wanted++
		}
		if marks.Marked(k.kind, k.id) != want {
			t.Errorf("%v: marked %v, want %v", k.id, !want, want)
		}
	}
	for row := range marks.Rows() {
		if row.Marked {
			marked++
		}
	}
	if int(firsts.Load()) != wanted || marked != wanted {
		t.Errorf("%d first marks, %d rows marked, want %d", firsts.Load(), marked, wanted)
	}
	if known, first := marks.Mark(crypto.BlobData, crypto.ID{1, 2, 3}); known || first {
		t.Error("a stranger is known")
	}
	for row := range marks.Rows() {
		other := crypto.BlobData + crypto.BlobTree - row.Kind
		if _, both := all[key{other, row.ID}]; !both {
			if known, _ := marks.Mark(other, row.ID); known {
				t.Error("known as another kind")
			}
			break
		}
	}
}

// TestRowsIn yields the rows of some packs, as going through all of them would.
func TestRowsIn(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 6))
	m := model{}
	x := New()
	for range 12 {
		p := randomPack(rng, 3, 40, m.ids())
		m.add(p)
		x = x.With(segment(t, encode(t, p)))
	}
	marks := x.NewMarks()
	for row := range marks.Rows() {
		if row.ID[1]%3 == 0 {
			marks.Mark(row.Kind, row.ID)
		}
	}
	for _, share := range []byte{0, 1, 64, 128, 255} {
		wanted := func(id pack.ID) bool { return id[0] < share }
		var want, got []Row
		for row := range marks.Rows() {
			if wanted(row.Pack) {
				want = append(want, row)
			}
		}
		for row := range marks.RowsIn(wanted) {
			got = append(got, row)
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("packs below %d: %d rows, want %d", share, len(got), len(want))
		}
	}
}
