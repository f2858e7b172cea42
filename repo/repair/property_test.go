package repair_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"vault/backend"
	"vault/backend/backendtest"
	"vault/internal/repotest"
	"vault/repo"
	"vault/repo/repair"
)

// stride is how many operations apart the tests fail or crash.
func stride() int {
	if testing.Short() {
		return 5
	}
	return 1
}

// harm damages a few objects at random, and says what it did. Keys and config
// are out of a repair's reach.
func harm(t *testing.T, be backend.Backend, rng *rand.Rand, prefixes ...string) (done []string) {
	var names []string
	for _, name := range repotest.Objects(t, be) {
		for _, prefix := range prefixes {
			if strings.HasPrefix(name, prefix) {
				names = append(names, name)
			}
		}
	}
	rng.Shuffle(len(names), func(i, j int) { names[i], names[j] = names[j], names[i] })
	for _, name := range names[:1+rng.IntN(min(6, len(names)))] {
		how := rng.IntN(5)
		done = append(done, fmt.Sprintf("%s damaged by %d", name, how))
		b := read(t, be, name)
		switch how {
		case 0:
			remove(t, be, name)
			continue
		case 1:
			b = b[:rng.IntN(len(b))]
		case 2:
			b = append(b, 0)
		case 3:
			at := rng.IntN(len(b))
			clear(b[at:min(at+512, len(b))])
		default:
			b[rng.IntN(len(b))] ^= 1 << rng.IntN(8)
		}
		put(t, be, name, b)
	}
	return done
}

// TestRandomDamage: whatever is damaged, every file of every backup that could
// be restored before a repair can be restored after it; a second run finds
// nothing to do; collections run again once unreadable records are dropped, and
// keep what there was.
func TestRandomDamage(t *testing.T) {
	origin, list := history(t)
	seeds := uint64(60)
	if testing.Short() {
		seeds = 20
	}
	for seed := range seeds {
		be := repotest.Copy(t, origin)
		rng := rand.New(rand.NewPCG(seed, 1))
		done := harm(t, be, rng, "packs/", "index/", "commits/", "events/", "sessions/")
		what := fmt.Sprintf("seed %d: %q", seed, done)
		before := restorable(t, be, list)
		o := quick()
		o.ReadData = seed%2 == 0
		if _, err := repair.Run(t.Context(), repotest.Open(t, be), o); repo.StateOf(err) == repo.Unsupported {
			wantAll(t, what+", refused", before, restorable(t, be, list))
			continue // a header that says that a newer program made it
		} else if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		after := restorable(t, be, list)
		wantAll(t, what, before, after)
		mustBeDone(t, be, o)

		o.DropUnreadable, o.ReadData = true, true
		mustRepair(t, be, o)
		wantAll(t, what+", dropped", after, restorable(t, be, list))
		mustBeDone(t, be, o)
		forgotten := list[2].b.ID.String()
		for name := range after {
			if strings.HasPrefix(name, forgotten) {
				delete(after, name)
			}
		}
		mustCollect(t, be)
		wantAll(t, what+", collected", after, restorable(t, be, list))
		if t.Failed() {
			return
		}
	}
}

// TestCrashOfARepair stops a repair dead at every operation, before and after
// its effect: nothing that restored is lost, and another run finishes it.
func TestCrashOfARepair(t *testing.T) {
	origin, list := history(t)
	rng := rand.New(rand.NewPCG(3, 3))
	harm(t, origin, rng, "index/")
	harm(t, origin, rng, "packs/")
	harm(t, origin, rng, "packs/", "events/")
	before := restorable(t, origin, list)
	o := deep()
	o.DropUnreadable = true
	clean := repotest.Copy(t, origin)
	mustRepair(t, clean, o)
	want := restorable(t, clean, list)
	for _, when := range []backendtest.When{backendtest.Before, backendtest.After} {
		for n, last := 1, false; !last; n += stride() {
			be := repotest.Copy(t, origin)
			f := backendtest.NewFaulty(be)
			r := repotest.Open(t, f)
			f.Inject(backendtest.Fault{At: n, Match: backendtest.Op.Writes, When: when, Crash: true})
			_, err := repair.Run(t.Context(), r, o)
			last = err == nil
			if err != nil && !errors.Is(err, backendtest.ErrCrashed) {
				t.Fatal(err)
			}
			what := fmt.Sprintf("operation %d", n)
			wantAll(t, what, before, restorable(t, be, list))
			more := repotest.MakeContent(99, 5)
			b := repotest.MustBackup(t, repotest.Open(t, be), more) // upon the ruins
			mustRepair(t, be, o)
			wantAll(t, what+", finished", want, restorable(t, be, list))
			mustRestore(t, be, saved{b, more})
			mustBeDone(t, be, o)
			mustCollect(t, be)
			mustRestore(t, be, saved{b, more})
			if t.Failed() || n > 200 {
				t.Fatalf("%s of a repair", what)
			}
			if last {
				t.Logf("%d operations", n-1)
			}
		}
	}
}

// TestHiccups: an error of the storage is no damage. The repair fails, or its
// outcome is that of one undisturbed.
func TestHiccups(t *testing.T) {
	for _, dir := range []string{"index/", "packs/"} {
		origin, list := history(t)
		flipAll(t, origin, dir, 1000) // of packs the footers
		want := map[string]bool{}
		for _, s := range list {
			for name := range s.c {
				want[s.b.ID.String()+"/"+name] = true
			}
		}
		for n := 1; ; n += stride() {
			be := repotest.Copy(t, origin)
			f := backendtest.NewFaulty(be)
			r := repotest.Open(t, f)
			f.FailAt(n, backendtest.Before, errors.New("the network hiccups"))
			report, err := repair.Run(t.Context(), r, quick())
			if err == nil && len(report.Lost.Places)+len(report.Noted) > 0 {
				t.Fatalf("operation %d: lost %+v", n, report.Lost)
			}
			if err != nil {
				mustRepair(t, be, quick())
			}
			wantAll(t, fmt.Sprintf("operation %d", n), want, restorable(t, be, list))
			repotest.MustCheck(t, be)
			if f.Count() < n {
				break
			}
			if t.Failed() || n > 1000 {
				t.Fatalf("operation %d", n)
			}
		}
	}
}

// TestStorageThatCannotBeAsked: a pack that always gives an error is not taken
// for damaged, be it the directory or the data that is wanted.
func TestStorageThatCannotBeAsked(t *testing.T) {
	origin, _ := history(t)
	flipAll(t, origin, "index/", 500)
	flipped := repotest.Copy(t, origin)
	flipAll(t, flipped, "packs/", 400)
	sick := errors.New("the disk is sick")
	for _, be := range []backend.Backend{origin, flipped} {
		for _, name := range objects(t, be, "packs/") {
			be := repotest.Copy(t, be)
			f := backendtest.NewFaulty(be)
			for range 100 {
				f.Inject(backendtest.Fault{At: 1, Err: sick, Match: func(op backendtest.Op) bool { return op.Kind == backendtest.Get && op.Name == name }})
			}
			before := strings.Join(repotest.Objects(t, be), " ")
			if _, err := repair.Run(t.Context(), repotest.Open(t, f), deep()); !errors.Is(err, sick) {
				t.Errorf("error %v", err)
			}
			if after := strings.Join(repotest.Objects(t, be), " "); after != before {
				t.Error("something was changed")
			}
		}
	}
}

// TestStorageThatFailsLater is the same while blobs are rescued.
func TestStorageThatFailsLater(t *testing.T) {
	origin, list := history(t)
	want := restorable(t, origin, list)
	flipAll(t, origin, "packs/", 1000)
	sick := errors.New("the disk is sick")
	failed := 0
	for _, name := range objects(t, origin, "packs/")[:6] {
		for after := 1; after < 16; after += 2 * stride() {
			be := repotest.Copy(t, origin)
			f := backendtest.NewFaulty(be)
			for range 100 {
				f.Inject(backendtest.Fault{At: after, Err: sick, Match: func(op backendtest.Op) bool { return op.Kind == backendtest.Get && op.Name == name }})
			}
			report, err := repair.Run(t.Context(), repotest.Open(t, f), quick())
			if err != nil && !errors.Is(err, sick) || len(report.Lost.Places)+len(report.Noted) > 0 {
				t.Errorf("%v, lost %+v", err, report.Lost)
			}
			if err != nil {
				failed++
				mustRepair(t, be, quick())
			}
			wantAll(t, name, want, restorable(t, be, list))
		}
	}
	if failed == 0 {
		t.Error("nothing failed")
	}
}

// TestLostGeneration: without the explicit choice nothing is changed; with it a
// new generation is made of what there is.
func TestLostGeneration(t *testing.T) {
	origin, list := history(t)
	dones, plans := objects(t, origin, "gc/"), ""
	plans = strings.Replace(dones[0], ".done", ".plan", 1)
	for _, c := range []struct {
		what string
		harm func(be backend.Backend)
		lost bool
	}{
		{"damaged done", func(be backend.Backend) { flip(t, be, dones[0], 500) }, true},
		{"missing done", func(be backend.Backend) { remove(t, be, dones[0]) }, true},
		{"missing done and plan", func(be backend.Backend) { remove(t, be, dones[0]); remove(t, be, plans) }, true},
		{"damaged done and plan", func(be backend.Backend) { flip(t, be, dones[0], 500); flip(t, be, plans, 500) }, true},
		{"damaged plan that is closed", func(be backend.Backend) { flip(t, be, plans, 500) }, false},
		{"damaged plan that is open", func(be backend.Backend) { put(t, be, "gc/0000000002.plan", []byte("rubbish")) }, true},
	} {
		be := repotest.Copy(t, origin)
		c.harm(be)
		if c.lost {
			before := strings.Join(repotest.Objects(t, be), " ")
			f, err := repair.Survey(t.Context(), repotest.Open(t, be), quick())
			if err != nil || !errors.Is(f.Generation, repo.ErrGeneration) {
				t.Errorf("%s: survey: %+v, %v", c.what, f, err)
			}
			if _, err := repair.Run(t.Context(), repotest.Open(t, be), quick()); !errors.Is(err, repo.ErrGeneration) {
				t.Errorf("%s: run: %v", c.what, err)
			}
			if after := strings.Join(repotest.Objects(t, be), " "); after != before {
				t.Errorf("%s: something was changed", c.what)
			}
		}
		o := quick()
		o.RebuildGeneration = true
		report := mustRepair(t, be, o)
		if len(report.Lost.Places) > 0 {
			t.Errorf("%s: lost %+v", c.what, report.Lost)
		}
		for i, s := range list {
			if i != 2 {
				mustRestore(t, be, s)
			}
		}
		if c.lost && len(objects(t, be, "gc/0000000001")) > 0 {
			t.Errorf("%s: the new generation is not later than what commits have seen", c.what)
		}
		if all, err := repotest.Open(t, be).Backups(t.Context()); err != nil || len(all) != len(list)-1 {
			t.Errorf("%s: %d backups, %v", c.what, len(all), err)
		}
		repotest.MustCheck(t, be)
		mustBeDone(t, be, o)
		mustCollect(t, be)
		repotest.MustCheck(t, be)
	}
}

// TestPlanWithoutItsPredecessor: a plan alone tells that the done before it is
// lost, or its own.
func TestPlanWithoutItsPredecessor(t *testing.T) {
	be, r := repotest.New(t)
	var list []saved
	for seed := range uint64(2) {
		c := repotest.MakeContent(seed, 6)
		list = append(list, saved{repotest.MustBackup(t, r, c), c})
	}
	mustCollect(t, be)
	mustForget(t, be, list[0].b)
	mustCollect(t, be)
	remove(t, be, "gc/0000000002.done")
	if _, err := repair.Run(t.Context(), repotest.Open(t, be), quick()); !errors.Is(err, repo.ErrGeneration) {
		t.Errorf("error %v", err)
	}
	o := quick()
	o.RebuildGeneration = true
	mustRepair(t, be, o)
	mustRestore(t, be, list[1])
	repotest.MustCheck(t, be)
}

// TestRebuildAfterEveryCrashOfACollection: a collection stops anywhere, then its
// newest record is damaged. What was dropped stays dropped; the rest restores.
func TestRebuildAfterEveryCrashOfACollection(t *testing.T) {
	origin, list := history(t)
	live := append(append([]saved{}, list[:2]...), list[3:]...)
	want := restorable(t, origin, live)
	for n := 1; ; n += stride() {
		be := repotest.Copy(t, origin)
		f := backendtest.NewFaulty(be)
		f.Inject(backendtest.Fault{At: n, Crash: true, Match: backendtest.Op.Writes, When: backendtest.After})
		_, err := gcRun(t, f)
		records := objects(t, be, "gc/")
		flip(t, be, records[len(records)-1], 500)
		if n%2 == 0 {
			put(t, be, strings.Replace(records[len(records)-1], ".plan", ".done", 1), nil)
		}
		o := quick()
		o.RebuildGeneration = true
		report := mustRepair(t, be, o)
		for _, id := range report.Lost.Backups {
			if id != list[2].b.ID {
				t.Errorf("operation %d: lost %+v", n, report.Lost)
			}
		}
		wantAll(t, fmt.Sprintf("operation %d", n), want, restorable(t, be, live))
		mustBeDone(t, be, o)
		mustCollect(t, be)
		wantAll(t, fmt.Sprintf("operation %d, collected", n), want, restorable(t, be, live))
		repotest.MustCheck(t, be)
		if err == nil {
			t.Logf("%d operations", n-1)
			return
		}
		if t.Failed() || n > 200 {
			t.Fatalf("operation %d", n)
		}
	}
}
