package repair_test

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"slices"
	"strings"
	"testing"
	"time"

	"vault/backend"
	"vault/backend/backendtest"
	"vault/crypto"
	"vault/internal/repotest"
	"vault/repo"
	"vault/repo/repair"
	"vault/snapshot"
)

// TestSoundRepository: there is nothing to do, and nothing is done.
func TestSoundRepository(t *testing.T) {
	be, list := history(t)
	f, err := repair.Survey(t.Context(), repotest.Open(t, be), deep())
	if err != nil || len(f.Index)+len(f.Packs)+len(f.Commits)+len(f.Undescribed)+len(f.Lost.Places)+len(f.Unnoted) > 0 || f.Rescuable.Blobs > 0 {
		t.Errorf("found %+v, %v", f, err)
	}
	mustBeDone(t, be, deep())
	mustRestore(t, be, list[0])
}

// TestIndexIsRebuilt damages, then removes, every index segment, one at a time
// and all at once.
func TestIndexIsRebuilt(t *testing.T) {
	origin, list := history(t)
	segments := objects(t, origin, "index/")
	cases := [][]string{segments}
	for _, name := range segments {
		cases = append(cases, []string{name})
	}
	for _, names := range cases {
		for _, how := range []string{"flipped", "missing"} {
			be := repotest.Copy(t, origin)
			for _, name := range names {
				if how == "missing" {
					remove(t, be, name)
				} else {
					flip(t, be, name, 700)
				}
			}
			report := mustRepair(t, be, quick())
			for _, d := range report.Found.Index {
				if !slices.Contains(names, d.Object) || errors.Is(d.Err, fs.ErrNotExist) != (how == "missing") {
					t.Errorf("%s: found %+v", how, d)
				}
			}
			if len(report.Found.Commits) > 0 || len(names) > 1 && len(report.Found.Index) < len(names)-1 { // one is of the crashed writer
				t.Errorf("%s: found %+v", how, report.Found)
			}
			for i, s := range list {
				if i != 2 { // forgotten
					mustRestore(t, be, s)
				}
			}
			if n := len(report.Found.Lost.Places) + len(report.Lost.Places); n > 0 {
				t.Errorf("%d segments %s: %d places lost", len(names), how, n)
			}
			repotest.MustCheck(t, be)
			mustBeDone(t, be, deep())
			mustCollect(t, be)
			repotest.MustCheck(t, be)
		}
	}
}

// TestDamagedDirectoryLosesNothing: what is in the pack can still be read by the
// index; it moves.
func TestDamagedDirectoryLosesNothing(t *testing.T) {
	be, list := history(t)
	flipAll(t, be, "packs/", 1000) // the footers
	report := mustRepair(t, be, quick())
	if report.Rescued.Blobs == 0 || len(report.Lost.Places) > 0 {
		t.Errorf("report %+v", report)
	}
	for i, s := range list {
		if i != 2 {
			mustRestore(t, be, s)
		}
	}
	repotest.MustCheck(t, be)
	mustBeDone(t, be, deep())
}

// TestLostContentIsNamedAndHeals: damage of data in a pack is found when the
// data is read; what is lost is named; collections run; the next backup stores
// it again; then the old backups are whole, and the notes say so.
func TestLostContentIsNamedAndHeals(t *testing.T) {
	be, list := history(t)
	before := restorable(t, be, list)
	flipAll(t, be, "packs/", 400)
	after := restorable(t, be, list)
	if len(after) == len(before) {
		t.Fatal("the damage hit nothing")
	}
	report := mustRepair(t, be, deep())
	wantAll(t, "repair", after, restorable(t, be, list))
	named := map[string]bool{}
	directories := false
	for _, p := range report.Lost.Places {
		directories = directories || p.Directory
		for _, id := range p.Backups {
			named[id.String()+"/"+p.Path] = true
		}
		if p.Volume != "data" || len(p.Blobs) == 0 || len(p.Backups) == 0 {
			t.Errorf("place %+v", p)
		}
	}
	for name := range before {
		if !after[name] && !named[name] && !directories {
			t.Errorf("%s is lost, and the report does not say so", name)
		}
		if after[name] && named[name] {
			t.Errorf("%s is not lost, the report says it is", name)
		}
	}
	mustBeDone(t, be, deep())
	mustCollect(t, be)
	wantAll(t, "collection", after, restorable(t, be, list[3:]))

	whole := list[len(list)-1]
	r := repotest.Open(t, be)
	w, err := r.Begin(t.Context(), repo.WriterOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for _, id := range report.Lost.Backups {
		if w.Trusts(id) {
			t.Errorf("a writer trusts backup %s", id)
		}
	}
	w.Abort()
	repotest.MustBackup(t, r, whole.c)
	mustRestore(t, be, whole)
	report = mustRepair(t, be, deep())
	if !slices.Contains(report.Noted, whole.b.ID) {
		t.Errorf("no note that the backup is whole: %+v", report.Noted)
	}
	w, err = repotest.Open(t, be).Begin(t.Context(), repo.WriterOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Abort()
	if !w.Trusts(whole.b.ID) {
		t.Error("a writer does not trust the backup that is whole again")
	}
	mustBeDone(t, be, deep())
}

// TestMissingPacks: whatever packs are gone, the index is right afterwards.
func TestMissingPacks(t *testing.T) {
	origin, list := history(t)
	for _, name := range objects(t, origin, "packs/") {
		be := repotest.Copy(t, origin)
		remove(t, be, name)
		before := restorable(t, be, list)
		report := mustRepair(t, be, quick())
		wantAll(t, name, before, restorable(t, be, list))
		for _, p := range repotest.Problems(t.Context(), repotest.Open(t, be)) {
			if p.Backup.IsZero() || !slices.Contains(report.Lost.Backups, p.Backup) {
				t.Errorf("without %s: %+v", name, p)
			}
		}
		mustBeDone(t, be, quick())
		mustCollect(t, be)
	}
}

// TestUnreadableCommit: it stays, and counts again should its record come back;
// with the explicit choice it goes, and collections run.
func TestUnreadableCommit(t *testing.T) {
	origin, list := history(t)
	for i, s := range slices.Concat(list, list) {
		name := "commits/" + s.b.ID.String()
		be := repotest.Copy(t, origin)
		record := read(t, be, name)
		flip(t, be, name, 900)
		if i < len(list) { // so that a generation is closed
			flipAll(t, be, "index/", 500)
		} else {
			flip(t, be, packsOf(t, be, crypto.BlobTree)[0], 1000)
		}
		report := mustRepair(t, be, quick())
		if len(report.Found.Commits) != 1 || report.Found.Commits[0].Object != name {
			t.Errorf("found %+v", report.Found.Commits)
		}
		mustBeDone(t, be, quick())
		healed := repotest.Copy(t, be)
		put(t, healed, name, record)
		if s.b.ID != list[2].b.ID {
			mustRestore(t, healed, s)
		}
		mustCollect(t, healed)
		repotest.MustCheck(t, healed)

		o := quick()
		o.DropUnreadable = true
		report = mustRepair(t, be, o)
		if !slices.Equal(report.Removed, []string{name}) {
			t.Errorf("removed %v", report.Removed)
		}
		mustBeDone(t, be, o)
		mustCollect(t, be)
		repotest.MustCheck(t, be)
	}
}

// TestUnreadableCommitAlone has nothing to do with any pack: there is nothing
// to do about it, and the cleaning up goes past it.
func TestUnreadableCommitAlone(t *testing.T) {
	be, _ := history(t)
	c := repotest.Content{"file-000": bytes.Repeat([]byte("text "), 400)}
	repotest.MustBackup(t, repotest.Open(t, be), c)
	mustCollect(t, be) // no leftovers, and a done
	b := repotest.MustBackup(t, repotest.Open(t, be), c)
	flip(t, be, "commits/"+b.ID.String(), 500)
	mustBeDone(t, be, quick())
}

// TestUnreadablePage: pages of trees are always read, and where one cannot be
// read its pack goes.
func TestUnreadablePage(t *testing.T) {
	be, list := history(t)
	names := packsOf(t, be, crypto.BlobTree)
	for _, name := range names {
		flip(t, be, name, 300)
	}
	before := restorable(t, be, list)
	report := mustRepair(t, be, quick())
	if len(report.Found.Packs) == 0 || len(report.Lost.Trees) == 0 {
		t.Errorf("found %+v", report.Found)
	}
	wantAll(t, "repair", before, restorable(t, be, list))
	mustBeDone(t, be, quick())
	mustCollect(t, be)
	wantAll(t, "collection", before, restorable(t, be, slices.Concat(list[:2], list[3:])))
}

// packsOf returns the packs of a kind that the index describes.
func packsOf(t *testing.T, be backend.Backend, kind crypto.BlobKind) (names []string) {
	t.Helper()
	ix, err := repotest.Open(t, be).Index(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for s := range ix.Segments() {
		for p := range s.Packs() {
			if p.Kind == kind && !slices.Contains(names, p.ID.Path()) {
				names = append(names, p.ID.Path())
			}
		}
	}
	return names
}

// TestUnreadableEvent: where a lost event may have brought a backup back, it is
// brought back; a lost forget makes the backup visible.
func TestUnreadableEvent(t *testing.T) {
	be, list := history(t)
	r := repotest.Open(t, be)
	if err := r.Unforget(t.Context(), list[2].b.ID, repo.Event{}); err != nil {
		t.Fatal(err)
	}
	mustForget(t, be, list[3].b)
	for _, name := range []string{"events/" + list[2].b.ID.String() + "/00000002", "events/" + list[3].b.ID.String() + "/00000001"} {
		flip(t, be, name, 800)
	}
	mustBeDone(t, be, quick()) // not by default
	o := quick()
	o.DropUnreadable = true
	if report := mustRepair(t, be, o); len(report.Removed) != 2 {
		t.Errorf("removed %v", report.Removed)
	}
	for _, s := range list {
		mustRestore(t, be, s)
	}
	mustBeDone(t, be, o)
	mustCollect(t, be)
	for _, s := range list {
		mustRestore(t, be, s)
	}
	repotest.MustCheck(t, be)
}

// TestUnreadableSession: its writer is given up like any that is silent.
func TestUnreadableSession(t *testing.T) {
	be, list := history(t)
	s := suspend(t, be, list[0].c)
	flip(t, be, "sessions/"+s.w.ID().String(), 500)
	report := mustRepair(t, be, quick())
	if len(report.Found.Sessions) != 1 {
		t.Errorf("sessions %+v", report.Found.Sessions)
	}
	if _, err := s.resume(); !errors.Is(err, repo.ErrKilled) {
		t.Errorf("the commit of the session: %v", err)
	}
	mustBeDone(t, be, quick())
	mustCollect(t, be)
	if n := objects(t, be, "sessions/"); len(n) > 0 {
		t.Errorf("sessions left: %v", n)
	}
	mustRestore(t, be, list[0])
	repotest.MustCheck(t, be)
}

// suspended is a backup that has stored its blobs and then stops for a while.
type suspended struct {
	w    *repo.Writer
	root *snapshot.Node
}

func suspend(t *testing.T, be backend.Backend, c repotest.Content) *suspended {
	t.Helper()
	r := repotest.Open(t, be)
	w, err := r.Begin(context.Background(), repo.WriterOptions{})
	if err != nil {
		t.Fatal(err)
	}
	root, err := repotest.Put(context.Background(), r, w.Lane(), c)
	if err == nil {
		err = w.Flush()
	}
	if err != nil {
		t.Fatal(err)
	}
	return &suspended{w, root}
}

func (s *suspended) resume() (*snapshot.Backup, error) {
	return s.w.Commit(&snapshot.Backup{Host: "h", Volumes: []snapshot.Volume{{Name: "data", Kind: snapshot.VolumePath, State: snapshot.Complete, Root: s.root}}})
}

// TestLiveWriters: a writer that is at work beside a repair commits in time, or
// is given up; what it has stored is not harmed.
func TestLiveWriters(t *testing.T) {
	for _, when := range []string{"in time", "too late"} {
		be, list := history(t)
		c := repotest.MakeContent(5, 12)
		s := suspend(t, be, c)
		flipAll(t, be, "index/", 600)
		var b *snapshot.Backup
		var err error
		now := time.Unix(0, 0)
		o := repair.Options{Workers: 2, Patience: time.Hour, Now: func() time.Time { return now },
			Sleep: func(context.Context, time.Duration) error { now = now.Add(time.Minute); return nil }}
		o.Wait = func([]repo.Waiting) {
			if b == nil && when == "in time" {
				if b, err = s.resume(); err != nil {
					t.Error(err)
				}
			}
		}
		mustRepair(t, be, o)
		if when == "in time" {
			mustRestore(t, be, saved{b, c})
		} else if _, err := s.resume(); !errors.Is(err, repo.ErrKilled) && !errors.Is(err, repo.ErrVoid) {
			t.Errorf("commit: %v", err)
		}
		mustRestore(t, be, list[0])
		repotest.MustCheck(t, be)
		mustCollect(t, be)
		repotest.MustCheck(t, be)
	}
}

// TestSurveyWritesNothing, whatever it finds.
func TestSurveyWritesNothing(t *testing.T) {
	be, _ := history(t)
	flipAll(t, be, "index/", 500)
	flip(t, be, objects(t, be, "packs/")[0], 1000)
	flip(t, be, objects(t, be, "commits/")[0], 900)
	f := backendtest.NewFaulty(be)
	o := deep()
	o.DropUnreadable, o.DryRun = true, true
	report, err := repair.Run(t.Context(), repotest.Open(t, f), o)
	if err != nil || len(report.Found.Index) < 2 || len(report.Found.Commits) != 1 || len(report.Found.Undescribed) == 0 {
		t.Errorf("found %+v, %v", report.Found, err)
	}
	for _, op := range f.Ops() {
		if op.Writes() {
			t.Errorf("%s", op)
		}
	}
}

// TestInterruptedCollection: an unfinished plan is carried out, rescue included.
func TestInterruptedCollection(t *testing.T) {
	origin, list := history(t)
	for n := 1; ; n += stride() {
		be := repotest.Copy(t, origin)
		f := backendtest.NewFaulty(be)
		f.Inject(backendtest.Fault{At: n, Crash: true, Match: backendtest.Op.Writes, When: backendtest.After})
		_, err := gcRun(t, f)
		if err == nil {
			break
		}
		flipAll(t, be, "packs/", 300)
		for _, name := range objects(t, be, "index/")[:1] {
			flip(t, be, name, 300)
		}
		live := slices.Concat(list[:2], list[3:])
		before := restorable(t, be, live)
		mustRepair(t, be, deep())
		wantAll(t, "repair", before, restorable(t, be, live))
		mustBeDone(t, be, deep())
		mustCollect(t, be)
		wantAll(t, "collection", before, restorable(t, be, live))
		if n > 100 {
			t.Fatal("the collection does not end")
		}
	}
}

// TestNotes hold what Run writes.
func TestNotes(t *testing.T) {
	be, list := history(t)
	for _, name := range objects(t, be, "packs/") {
		remove(t, be, name)
	}
	report := mustRepair(t, be, quick())
	events, err := repotest.Open(t, be).Events(t.Context(), list[0].b.ID)
	if err != nil || len(events) != 1 || events[0].Kind != repo.EventNote || events[0].Key != repo.NoteLost {
		t.Fatalf("events %+v, %v", events, err)
	}
	count, places, err := repair.ParseNote(events[0].Value)
	if err != nil || count != 1 || len(places) != 1 || places[0].Volume != "data" || places[0].Path != "" {
		t.Errorf("note: %d %+v %v", count, places, err)
	}
	if len(report.Lost.Backups) != len(list) || !report.Lost.Places[0].Directory {
		t.Errorf("lost %+v", report.Lost)
	}
	if strings.Contains(string(events[0].Value), "/") {
		t.Errorf("value %q", events[0].Value)
	}
}

func FuzzParseNote(f *testing.F) {
	for _, seed := range []string{"", "1\x00", "2\x00data\x00a/b\x00", "1\x00a", "x\x00", "01\x00a\x00b\x00", "0\x00"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		count, places, err := repair.ParseNote(b)
		if err == nil && (count < len(places) || len(b) > 0 && count == 0) {
			t.Errorf("%q: %d, %d places", b, count, len(places))
		}
	})
}

// TestGivenUpPacksAreOnlyCopiedFrom: a collection has closed and its client
// sleeps before its deletions. What it will delete must not come back into the
// index, whatever has to be rebuilt meanwhile.
func TestGivenUpPacksAreOnlyCopiedFrom(t *testing.T) {
	for _, what := range []string{"index", "generation"} {
		be, list := history(t)
		f := backendtest.NewFaulty(be)
		f.Inject(backendtest.Fault{At: 1, Crash: true, Match: func(op backendtest.Op) bool { return op.Kind == backendtest.Delete }})
		if _, err := gcRun(t, f); err == nil {
			t.Fatal("the collection deleted nothing")
		}
		swept := repotest.Copy(t, be)
		if _, err := repotest.Open(t, swept).Sweep(t.Context()); err != nil {
			t.Fatal(err)
		}
		stay := objects(t, swept, "packs/")
		doomed := slices.DeleteFunc(objects(t, be, "packs/"), func(name string) bool { return slices.Contains(stay, name) })
		if len(doomed) == 0 {
			t.Fatal("no pack is to be deleted")
		}
		o := quick()
		flipAll(t, be, "index/", 500)
		if what == "generation" {
			o.RebuildGeneration = true
			flip(t, be, "gc/0000000002.done", 500)
		}
		remove(t, be, stay[0]) // blobs of it may be in what is to be deleted
		live := slices.Concat(list[:2], list[3:])
		mustRepair(t, be, o)
		before := restorable(t, be, live)
		for _, name := range doomed {
			if err := be.Delete(t.Context(), name); err != nil && !errors.Is(err, fs.ErrNotExist) {
				t.Fatal(err)
			}
		}
		wantAll(t, "the sleeper's deletions", before, restorable(t, be, live))
		for _, p := range repotest.Problems(t.Context(), repotest.Open(t, be)) {
			if p.Backup.IsZero() {
				t.Errorf("%s: %+v", what, p)
			}
		}
	}
}

// TestMissingCommit: one that is gone stays listed, so that it counts should it
// come back, until it is given up.
func TestMissingCommit(t *testing.T) {
	be, list := history(t)
	name := "commits/" + list[0].b.ID.String()
	record := read(t, be, name)
	remove(t, be, name)
	flipAll(t, be, "index/", 500)
	report := mustRepair(t, be, quick())
	if !slices.Equal(report.Found.MissingCommits, []crypto.SessionID{list[0].b.ID}) {
		t.Errorf("missing %v", report.Found.MissingCommits)
	}
	mustBeDone(t, be, quick())
	healed := repotest.Copy(t, be)
	put(t, healed, name, record)
	mustRestore(t, healed, list[0])
	o := quick()
	o.DropUnreadable = true
	mustRepair(t, be, o)
	mustBeDone(t, be, o)
	put(t, be, name, record)
	if err := restore(t, be, list[0]); err == nil {
		t.Error("it was given up, and counts again")
	}
}
