package torture

import (
	"os"
	"path/filepath"
	"testing"
	"time"
)

// fill replaces what makes a source large: nothing of it was there before.
func (s *source) fill(size int) error {
	return os.WriteFile(filepath.Join(s.tree(), "a", "filler"), block(s.rng.Uint64(), size), 0o600)
}

// full backs up until there is no space left.
func (w *world) full(t *testing.T) {
	t.Helper()
	n := w.tally.full
	for range 40 {
		must(t, w.sources[0].fill(3<<20))
		w.attempt(w.sources[0], fate{}, "")
		w.report(t)
		if w.tally.full > n {
			return
		}
	}
	t.Fatal("the store does not get full")
}

// TestFullStore fills a store, and makes room again.
func TestFullStore(t *testing.T) {
	w := newWorld(t, mounted(t, "24m"), 1)
	w.small = true
	w.full(t)
	if n := len(w.all()); n < 3 {
		t.Fatalf("only %d backups fit", n)
	}
	w.quiet(t) // those that are there are as they were, and can be read
	w.attempt(w.sources[0], fate{}, "")
	if w.tally.full != 2 {
		t.Errorf("%d backups met a full store, want 2", w.tally.full)
	}
	w.room(t, 1)
	w.attempt(w.sources[0], fate{}, "")
	w.quiet(t)
	if w.tally.full != 2 {
		t.Error("a backup finds no space though prune --delete-only has made room")
	}
	w.collect(t)
	w.quiet(t)
}

// room forgets all but so many backups of a full store and prunes.
func (w *world) room(t *testing.T, keep int) {
	t.Helper()
	list := w.all()
	for _, k := range list[:max(0, len(list)-keep)] {
		ballast := w.stored(t, "ballast").objects
		o, err := w.run(fate{}, "forget", k.id)
		must(t, err)
		if o.code == 16 && ballast == 0 { // of a client that used it, and the prune after it was killed
			t.Skip("the store is full to the last block, and nothing keeps room for forgetting")
		}
		if o.code != 0 {
			t.Fatalf("forget in a full store: %v", o)
		}
		k.state = forgotten
	}
	for range 2 { // the first may only finish what was begun
		w.must(t, 0, "prune", "--delete-only", "--patience", "1s") // as in collect
	}
	w.quiet(t)
}

// TestFullStoreKilled kills processes while there is no space, or next to none.
func TestFullStoreKilled(t *testing.T) {
	want := number("TORTURE_KILLS", 250) / 5
	if testing.Short() {
		want = min(want, 10)
	}
	seed := uint64(number("TORTURE_SEED", int(time.Now().UnixNano()%1e6)))
	start := time.Now()
	w := newWorld(t, mounted(t, "24m"), seed)
	w.small = true
	for n := 0; n < want; {
		n = min(n+10, want)
		w.round(seed+uint64(n)<<20, n)
		w.quiet(t)
	}
	w.full(t)
	w.quiet(t)
	w.room(t, 0) // one that is kept may have a little in each pack: then deleting alone makes no room
	n := w.tally.full
	w.attempt(w.sources[0], fate{}, "")
	w.quiet(t)
	if w.tally.full != n {
		t.Error("a backup finds no space though prune --delete-only has made room")
	}
	w.collect(t)
	w.quiet(t)
	w.tell(seed, time.Since(start))
}
