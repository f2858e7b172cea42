package sim

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"maps"
	"strings"
	"testing"

	"vault/backend"
	"vault/crypto"
	"vault/pack"
	"vault/repo"
	"vault/repo/check"
	"vault/repo/gc"
	"vault/snapshot"
	"vault/snapshot/archive"
)

// The smallest tests of what the simulation has found in the engine. One whose
// issue is in Known is skipped.

func skipIfKnown(t *testing.T, name string) {
	t.Helper()
	for _, i := range Known {
		if i.Name == name && number("SIM_KNOWN", 0) == 0 {
			t.Skipf("known issue: %s", name)
		}
	}
}

// between is a backend that lets something happen before its n-th call that
// matches.
type between struct {
	*plain
	match func(k kind, name string) bool
	n     int
	do    func()
}

func (b *between) before(k kind, name string) {
	if b.do == nil || !b.match(k, name) {
		return
	}
	if b.n--; b.n == 0 {
		do := b.do
		b.do = nil
		do()
	}
}

func (b *between) Create(ctx context.Context, name string, data []byte) error {
	b.before(opCreate, name)
	return b.plain.Create(ctx, name, data)
}

func (b *between) List(ctx context.Context, prefix string) iter.Seq2[backend.Info, error] {
	return func(yield func(backend.Info, error) bool) {
		b.before(opList, prefix)
		b.plain.List(ctx, prefix)(yield)
	}
}

// two returns two clients of a repository that starts as one of the bases.
func two(t *testing.T, start int) (objects map[string][]byte, hooked *between, a, b *repo.Repo) {
	t.Helper()
	objects = maps.Clone(bases()[start].objects)
	hooked = &between{plain: &plain{objects: objects}}
	for i, be := range []backend.Backend{&plain{objects: objects}, hooked} {
		r, err := repo.Open(t.Context(), be, repo.OpenOptions{Passphrase: pass, Env: repo.Env{
			Now: epochNow, Rand: crypto.Reproducible{Reader: newStream(1, i, 0)},
		}})
		if err != nil {
			t.Fatal(err)
		}
		if i == 0 {
			a = r
		} else {
			b = r
		}
	}
	return objects, hooked, a, b
}

func collect(t *testing.T, r *repo.Repo) gc.Report {
	t.Helper()
	report, err := gc.Run(t.Context(), r, gc.Options{Workers: 1, Limits: gc.Limits{MaxRepack: -1}, Dead: func(repo.Waiting) bool { return true }})
	if err != nil {
		t.Fatal(err)
	}
	return report
}

func forgottenIn(start int) crypto.SessionID {
	for id, s := range bases()[start].truth {
		if !s.kept {
			return id
		}
	}
	panic("sim: nothing is forgotten there")
}

// A client reads that a backup is forgotten. Before its unforget event is
// created, a collection drops the backup and deletes commit and events - the
// event's name is free again, and the client is told that it was brought back.
func TestUnforgetAfterTheEventsWereSwept(t *testing.T) {
	skipIfKnown(t, "unforget after the events were swept")
	_, hooked, a, b := two(t, 2)
	id := forgottenIn(2)
	hooked.match, hooked.n = func(k kind, name string) bool { return k == opCreate && strings.HasPrefix(name, "events/") }, 1
	hooked.do = func() { collect(t, a) }
	err := b.Unforget(t.Context(), id, repo.Event{})
	if !errors.Is(err, repo.ErrCollected) && !errors.Is(err, repo.ErrNoBackup) {
		t.Errorf("unforget of a backup that has been collected: %v", err)
	}
}

// A client reads gc/, then a whole collection happens, then it reads commits/.
// The old index, from its cache, does not know what the collection has kept of
// the dropped backup's blobs: a view that never was.
func TestTornView(t *testing.T) {
	skipIfKnown(t, "torn view")
	_, hooked, a, b := two(t, 2)
	if _, err := b.Backups(t.Context()); err != nil { // fills the cache
		t.Fatal(err)
	}
	hooked.match, hooked.n = func(k kind, name string) bool { return k == opList && name == "commits/" }, 2
	hooked.do = func() { collect(t, a) }
	if _, err := gc.Run(t.Context(), b, gc.Options{Workers: 1, Dead: func(repo.Waiting) bool { return true }}); err != nil && !errors.Is(err, repo.ErrRaced) {
		t.Errorf("a collection beside another: %v", err)
	}
}

// A check has read the index, then a collection drops a forgotten backup with
// its packs.
func TestCheckBesideACollection(t *testing.T) {
	skipIfKnown(t, "check beside a collection")
	for n, dir := range []string{"packs/", "sessions/", "gc/"} {
		_, hooked, a, b := two(t, 2)
		hooked.match, hooked.n = func(k kind, name string) bool { return k == opList && name == dir }, 1+n/2
		hooked.do = func() { collect(t, a) }
		for p := range check.Run(t.Context(), b, check.Options{Workers: 1, Read: func(pack.ID, uint32) bool { return true }}) {
			t.Errorf("before list %s: %+v", dir, p)
		}
	}
}

// A writer that stored nothing leaves its session when it crashes.
func TestAnAbortedSessionIsReclaimed(t *testing.T) {
	skipIfKnown(t, "an aborted session stays")
	objects, _, a, b := two(t, 3)
	collect(t, a)
	if _, err := b.Begin(t.Context(), repo.WriterOptions{}); err != nil { // and nothing more
		t.Fatal(err)
	}
	report := collect(t, a)
	for name := range objects {
		if strings.HasPrefix(name, "sessions/") {
			t.Errorf("%s stays; nothing to do: %v", name, report.Nothing)
		}
	}
}

// A writer crashes between its index segment and its commit, and the packs of
// the segment have come and gone.
func TestAnOrphanedIndexSegmentIsReclaimed(t *testing.T) {
	skipIfKnown(t, "an orphaned index segment stays")
	objects, _, a, _ := two(t, 3)
	var name string
	var data []byte
	for name, data = range objects {
		if strings.HasPrefix(name, "index/") {
			break
		}
	}
	data = append([]byte(nil), data...)
	collect(t, a)
	orphan := fmt.Sprintf("index/%064x", 1)
	objects[orphan] = data // as a late put of a segment that was deleted
	report := collect(t, a)
	if _, there := objects[orphan]; there {
		t.Errorf("%s (once %s) stays; nothing to do: %v", orphan, name, report.Nothing)
	}
}

// Two writers store the same tree at once, so that each has its own copies. One
// keeps them with a checkpoint, the other commits. A collection takes the
// checkpoint's copies for spare and deletes their packs, but the index keeps the
// checkpoint's segment, which names them. The next collection takes the copies
// that are gone for the ones to keep, and deletes the others.
func TestCheckpointBesideABackup(t *testing.T) {
	skipIfKnown(t, checkpointIssue)
	for turn := range 2 {
		objects, _, a, b := two(t, 2)
		var ws []*repo.Writer
		var vols [][]snapshot.Volume
		for _, r := range []*repo.Repo{a, b} {
			w, err := r.Begin(t.Context(), repo.WriterOptions{Uploads: 1})
			if err != nil {
				t.Fatal(err)
			}
			ws = append(ws, w)
		}
		for i, r := range []*repo.Repo{a, b} {
			report, err := archiveTree(t.Context(), r, func() archive.Store { return ws[i].Lane() }, 7, nil, false, epochNow)
			if err != nil {
				t.Fatal(err)
			}
			vols = append(vols, report.Volumes)
		}
		keeper := turn % 2
		if _, err := ws[keeper].Checkpoint(&snapshot.Backup{Host: "h", Group: "other"}); err != nil {
			t.Fatal(err)
		}
		saved, err := ws[1-keeper].Commit(&snapshot.Backup{Host: "h", Volumes: vols[1-keeper]})
		if err != nil {
			t.Fatal(err)
		}
		for range 3 {
			r, err := repo.Open(t.Context(), &plain{objects: objects}, repo.OpenOptions{Passphrase: pass})
			if err != nil {
				t.Fatal(err)
			}
			collect(t, r)
		}
		r, err := repo.Open(t.Context(), &plain{objects: objects}, repo.OpenOptions{Passphrase: pass})
		if err != nil {
			t.Fatal(err)
		}
		if err := readBack(t.Context(), r, saved, trees()[7]); err != nil {
			t.Errorf("turn %d: the backup: %v", turn, err)
		}
		for p := range check.Run(t.Context(), r, check.Options{Workers: 1, Read: check.All}) {
			t.Errorf("turn %d: check: %+v", turn, p)
		}
	}
}
