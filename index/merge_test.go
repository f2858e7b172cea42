package index

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"testing"

	"vault/crypto"
	"vault/pack"
)

func merge(t testing.TB, segments []*Segment, keep func(pack.ID) bool, maxRows int) (out []*Segment, payloads [][]byte) {
	t.Helper()
	for payload, err := range Merge(segments, keep, maxRows) {
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, segment(t, payload))
		payloads = append(payloads, payload)
	}
	return out, payloads
}

func all(pack.ID) bool { return true }

func TestMergeAgainstModel(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	for round := range 12 {
		var packs []testPack
		var segments []*Segment
		everything := model{}
		for range round {
			var some []testPack
			for range 1 + rng.IntN(5) {
				p := randomPack(rng, 3, 40, everything.ids())
				everything.add(p)
				some = append(some, p)
			}
			packs = append(packs, some...)
			segments = append(segments, segment(t, encode(t, some...)))
		}
		if len(packs) > 1 { // packs that two segments name
			segments = append(segments, segment(t, encode(t, packs[0], packs[len(packs)-1])))
		}
		dropped := map[pack.ID]bool{}
		kept := model{}
		for _, p := range packs {
			if rng.IntN(4) == 0 {
				dropped[p.id] = true
			} else {
				kept.add(p)
			}
		}
		asked := map[pack.ID]int{}
		keep := func(id pack.ID) bool { asked[id]++; return !dropped[id] }
		maxRows := 1 + rng.IntN(1+everything.rows())
		out, payloads := merge(t, segments, keep, maxRows)
		checkModel(t, rng, New(out...), kept)

		var last pack.ID
		n := 0
		for _, s := range out {
			if s.Len() > maxRows && s.NumPacks() > 1 {
				t.Errorf("%d rows of %d packs in an output of at most %d", s.Len(), s.NumPacks(), maxRows)
			}
			for p := range s.Packs() {
				if n++; n > 1 && bytes.Compare(p.ID[:], last[:]) <= 0 {
					t.Error("packs are out of order over the outputs")
				}
				last = p.ID
			}
		}
		if n+len(dropped) != len(packs) || len(asked) != len(packs) {
			t.Errorf("%d of %d packs kept, %d dropped, %d asked for", n, len(packs), len(dropped), len(asked))
		}
		for id, times := range asked {
			if times != 1 {
				t.Errorf("pack %v was asked for %d times", id, times)
			}
		}
		rng.Shuffle(len(segments), func(i, j int) { segments[i], segments[j] = segments[j], segments[i] })
		if _, again := merge(t, segments, keep, maxRows); !bytes.Equal(bytes.Join(again, nil), bytes.Join(payloads, nil)) {
			t.Error("the result depends on the order of segments")
		}
		if _, twice := merge(t, out, all, maxRows); !bytes.Equal(bytes.Join(twice, nil), bytes.Join(payloads, nil)) {
			t.Error("merging the result changes it")
		}
	}
}

// TestMergeOne: merging everything into one gives what a Builder makes.
func TestMergeOne(t *testing.T) {
	rng := rand.New(rand.NewPCG(2, 2))
	var packs []testPack
	var segments []*Segment
	for range 9 {
		p := randomPack(rng, 5, 50, nil)
		packs = append(packs, p)
		segments = append(segments, segment(t, encode(t, p)))
	}
	_, payloads := merge(t, segments, all, MaxRows)
	if len(payloads) != 1 || !bytes.Equal(payloads[0], encode(t, packs...)) {
		t.Error("differs from the segment of all packs")
	}
	for range Merge(segments, all, 1) {
		break // must not panic
	}
}

func TestMergeContradictions(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 3))
	p := randomPack(rng, 3, 10, nil)
	for name, change := range map[string]func(q *testPack){
		"size":   func(q *testPack) { q.size = crypto.PaddedSize(q.size * 2) },
		"header": func(q *testPack) { q.header = bytes.Clone(q.header); q.header[50]++ },
		"kind":   func(q *testPack) { q.dir.Kind = 3 - q.dir.Kind },
		"fewer":  func(q *testPack) { q.dir.Segments = q.dir.Segments[:len(q.dir.Segments)-1] },
	} {
		for len(p.dir.Segments) < 2 {
			p = randomPack(rng, 3, 10, nil)
		}
		q := p
		change(&q)
		segments := []*Segment{segment(t, encode(t, p)), segment(t, encode(t, q))}
		var err error
		for _, err = range Merge(segments, all, 100) {
		}
		if !errors.Is(err, crypto.ErrDamaged) {
			t.Errorf("%s: %v", name, err)
		}
	}
	payload := encode(t, p)
	payload[len(payload)-len(p.header)-1] = 0xff // the last row's length
	s, err := TrustSegment(payload)
	if err != nil {
		t.Fatal(err)
	}
	for _, err = range Merge([]*Segment{s}, all, 100) {
	}
	if !errors.Is(err, crypto.ErrDamaged) {
		t.Errorf("unsound input: %v", err)
	}
}
