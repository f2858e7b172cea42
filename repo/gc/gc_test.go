package gc_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"strings"
	"testing"
	"time"

	"vault/backend"
	"vault/backend/backendtest"
	"vault/backend/mem"
	"vault/internal/repotest"
	"vault/repo"
	"vault/repo/gc"
	"vault/snapshot"
)

// at once takes every session without a commit for dead.
func atOnce() gc.Options {
	return gc.Options{Dead: func(repo.Waiting) bool { return true }}
}

// thorough leaves no dead byte.
func thorough() gc.Options {
	o := atOnce()
	o.Limits = gc.Limits{MaxRepack: -1}
	return o
}

func mustRun(t *testing.T, r *repo.Repo, o gc.Options) gc.Report {
	t.Helper()
	report, err := gc.Run(t.Context(), r, o)
	if err != nil {
		t.Fatal(err)
	}
	return report
}

func mustForget(t *testing.T, r *repo.Repo, b *snapshot.Backup) {
	t.Helper()
	if err := r.Forget(t.Context(), b.ID, repo.Event{}); err != nil {
		t.Fatal(err)
	}
}

func mustRestore(t *testing.T, be backend.Backend, b *snapshot.Backup, c repotest.Content) {
	t.Helper()
	r := repotest.Open(t, be)
	list, err := r.Backups(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range list {
		if v.ID == b.ID {
			if err := repotest.Restore(context.Background(), r, v, c); err != nil {
				t.Fatal(err)
			}
			return
		}
	}
	t.Fatalf("backup %s is not there", b.ID)
}

func count(t *testing.T, be backend.Backend, prefix string) (n int) {
	t.Helper()
	for _, name := range repotest.Objects(t, be) {
		if strings.HasPrefix(name, prefix) {
			n++
		}
	}
	return n
}

// bytesIn sums up the packs.
func bytesIn(t *testing.T, be backend.Backend) (n int64) {
	t.Helper()
	for info, err := range be.List(t.Context(), "packs/") {
		if err != nil {
			t.Fatal(err)
		}
		n += info.Size
	}
	return n
}

// three makes a repository with three backups that share much.
func three(t *testing.T) (be *mem.Backend, backups []*snapshot.Backup, contents []repotest.Content) {
	be, r := repotest.New(t)
	for i := range 3 {
		c := repotest.MakeContent(1, 30)
		for name, b := range repotest.MakeContent(uint64(10+i), 10) {
			c[name] = b
		}
		backups = append(backups, repotest.MustBackup(t, r, c))
		contents = append(contents, c)
	}
	return be, backups, contents
}

func TestForgottenIsReclaimedTheRestStays(t *testing.T) {
	be, backups, contents := three(t)
	t.Cleanup(func() { repotest.MustCheck(t, be) })
	r := repotest.Open(t, be)
	mustForget(t, r, backups[1])
	before := bytesIn(t, be)
	report := mustRun(t, r, thorough())
	if len(report.Dropped) != 1 || report.Dropped[0] != backups[1].ID {
		t.Errorf("dropped %v", report.Dropped)
	}
	after := bytesIn(t, be)
	if after >= before {
		t.Errorf("%d bytes in packs, before %d", after, before)
	}
	mustRestore(t, be, backups[0], contents[0])
	mustRestore(t, be, backups[2], contents[2])
	if n := count(t, be, "events/"); n != 0 {
		t.Errorf("%d events left", n)
	}
	if n := count(t, be, "commits/"); n != 2 {
		t.Errorf("%d commits, want 2", n)
	}
	if n := count(t, be, "index/"); n != 1 {
		t.Errorf("%d index segments, want 1", n)
	}
	if n := count(t, be, "gc/"); n != 2 {
		t.Errorf("%d gc records, want a plan and a done", n)
	}
	if err := r.Unforget(t.Context(), backups[1].ID, repo.Event{}); !errors.Is(err, repo.ErrNoBackup) {
		t.Errorf("unforget after the collection: %v", err)
	}
	// Nothing dead is left: a fresh repository with the same two backups is as large.
	fresh, fr := repotest.New(t)
	repotest.MustBackup(t, fr, contents[0])
	repotest.MustBackup(t, fr, contents[2])
	if want := bytesIn(t, fresh); after > want+want/5 {
		t.Errorf("%d bytes in packs, %d in a fresh repository", after, want)
	}
	if report := mustRun(t, repotest.Open(t, be), thorough()); !report.Nothing {
		t.Errorf("a second collection found something to do: %+v", report)
	}
}

func TestForgetUnforget(t *testing.T) {
	be, backups, contents := three(t)
	t.Cleanup(func() { repotest.MustCheck(t, be) })
	r := repotest.Open(t, be)
	for range 3 {
		mustForget(t, r, backups[0])
		mustForget(t, r, backups[0]) // twice is once
		if list, _ := r.Backups(t.Context()); len(list) != 2 {
			t.Fatalf("%d backups after forgetting one of 3", len(list))
		}
		if err := r.Unforget(t.Context(), backups[0].ID, repo.Event{}); err != nil {
			t.Fatal(err)
		}
	}
	if n := count(t, be, "events/"); n != 6 {
		t.Errorf("%d events, want 6", n)
	}
	mustRun(t, r, thorough())
	for i := range backups {
		mustRestore(t, be, backups[i], contents[i])
	}
}

func TestDryRunChangesNothing(t *testing.T) {
	be, backups, _ := three(t)
	r := repotest.Open(t, be)
	mustForget(t, r, backups[0])
	before := repotest.Objects(t, be)
	o := thorough()
	o.DryRun = true
	report := mustRun(t, r, o)
	if len(report.Dropped) != 1 || report.FreedSize <= 0 {
		t.Errorf("report %+v", report)
	}
	if after := repotest.Objects(t, be); strings.Join(before, " ") != strings.Join(after, " ") {
		t.Error("a dry run changed something")
	}
}

func TestDeleteOnly(t *testing.T) {
	be, backups, contents := three(t)
	t.Cleanup(func() { repotest.MustCheck(t, be) })
	r := repotest.Open(t, be)
	mustForget(t, r, backups[1])
	o := atOnce()
	o.Limits = gc.Limits{MaxRepack: 0}
	f := backendtest.NewFaulty(be)
	full := repotest.Open(t, f)
	f.Inject(backendtest.Fault{At: 1, Match: func(op backendtest.Op) bool {
		return strings.HasPrefix(op.Name, "packs/") && op.Writes() && op.Kind != backendtest.Delete
	}, Err: backend.ErrNoSpace})
	if report := mustRun(t, full, o); report.Rescued.Packs != 0 {
		t.Errorf("it stored %d packs", report.Rescued.Packs)
	}
	mustRestore(t, be, backups[0], contents[0])
	mustRestore(t, be, backups[2], contents[2])
}

// TestOrphansOfACrash: what an interrupted backup left goes, what is committed stays.
func TestOrphansOfACrash(t *testing.T) {
	be, backups, contents := three(t)
	t.Cleanup(func() { repotest.MustCheck(t, be) })
	packs := count(t, be, "packs/")
	f := backendtest.NewFaulty(be)
	crashing := repotest.Open(t, f)
	f.Inject(backendtest.Fault{At: 1, Match: func(op backendtest.Op) bool {
		return strings.HasPrefix(op.Name, "commits/") && op.Kind == backendtest.Create
	}, Crash: true})
	if _, err := repotest.Backup(t.Context(), crashing, repotest.MakeContent(77, 30)); err == nil {
		t.Fatal("no crash")
	}
	if count(t, be, "packs/") == packs {
		t.Fatal("the crashed backup stored nothing")
	}
	report := mustRun(t, repotest.Open(t, be), atOnce())
	if len(report.Unnamed) == 0 {
		t.Error("no unnamed packs found")
	}
	if n := count(t, be, "packs/"); n != packs {
		t.Errorf("%d packs, want %d", n, packs)
	}
	if n := count(t, be, "sessions/"); n != 0 {
		t.Errorf("%d sessions left", n)
	}
	for i := range backups {
		mustRestore(t, be, backups[i], contents[i])
	}
}

// suspended is a backup that has stored its blobs and then stops for a while.
type suspended struct {
	w    *repo.Writer
	root *snapshot.Node
	c    repotest.Content
}

func suspend(t *testing.T, be backend.Backend, c repotest.Content) *suspended {
	t.Helper()
	r := repotest.Open(t, be)
	w, err := r.Begin(context.Background(), repo.WriterOptions{})
	if err != nil {
		t.Fatal(err)
	}
	root, err := repotest.Put(context.Background(), r, w.Lane(), c)
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	return &suspended{w, root, c}
}

func (s *suspended) resume() (*snapshot.Backup, error) {
	return s.w.Commit(&snapshot.Backup{Volumes: []snapshot.Volume{{Name: "data", Kind: snapshot.VolumePath, State: snapshot.Complete, Root: s.root}}})
}

// gone reports whether a session was given up: it met the killed record, or
// that was swept up already and the commit is void.
func gone(err error) bool { return errors.Is(err, repo.ErrKilled) || errors.Is(err, repo.ErrVoid) }

// TestWriterSuspendedForDays is restic#3126: a writer sleeps, its session is
// given up, its packs and those it built upon are collected, and it wakes up.
func TestWriterSuspendedForDays(t *testing.T) {
	be, backups, contents := three(t)
	t.Cleanup(func() { repotest.MustCheck(t, be) })
	s := suspend(t, be, contents[1]) // refers only to what backup 1 stored
	r := repotest.Open(t, be)
	mustForget(t, r, backups[1])
	mustRun(t, r, thorough())
	if _, err := s.resume(); !gone(err) {
		t.Errorf("the commit of a killed session: %v", err)
	}
	if list, _ := repotest.Open(t, be).Backups(t.Context()); len(list) != 2 {
		t.Errorf("%d backups, want 2", len(list))
	}
	mustRestore(t, be, backups[0], contents[0])
}

// TestWriterCommitsWhileCollected: a writer that deduplicated against a backup
// being collected commits in time; what it needs is rescued.
func TestWriterCommitsWhileCollected(t *testing.T) {
	be, backups, contents := three(t)
	t.Cleanup(func() { repotest.MustCheck(t, be) })
	s := suspend(t, be, contents[1])
	r := repotest.Open(t, be)
	mustForget(t, r, backups[1])
	var b *snapshot.Backup
	o := thorough()
	o.Dead = nil
	o.Wait = func(w []repo.Waiting) { // the plan is made; the writer finishes
		if b == nil {
			var err error
			if b, err = s.resume(); err != nil {
				t.Error(err)
			}
		}
	}
	o.Sleep = func(context.Context, time.Duration) error { return nil }
	mustRun(t, r, o)
	if b == nil {
		t.Fatal("the collection did not wait")
	}
	mustRestore(t, be, b, contents[1])
	mustRestore(t, be, backups[0], contents[0])
}

// TestPatience: a session is given up when its counter stands still for long
// enough by the collector's own clock, whatever the clocks say that it started.
func TestPatience(t *testing.T) {
	be, _, contents := three(t)
	t.Cleanup(func() { repotest.MustCheck(t, be) })
	s := suspend(t, be, contents[0])
	now := time.Unix(0, 0)
	waited := 0
	o := gc.Options{Patience: 10 * time.Minute, Now: func() time.Time { return now }, Limits: gc.Limits{MaxRepack: -1},
		Sleep: func(context.Context, time.Duration) error { now = now.Add(time.Minute); waited++; return nil }}
	r := repotest.Open(t, be)
	mustForget(t, r, mustList(t, r)[0])
	mustRun(t, r, o)
	if waited != 10 {
		t.Errorf("waited %d minutes, want 10", waited)
	}
	if _, err := s.resume(); !gone(err) {
		t.Errorf("commit: %v", err)
	}
}

func mustList(t *testing.T, r *repo.Repo) []*snapshot.Backup {
	t.Helper()
	list, err := r.Backups(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return list
}

func TestRefusesDamage(t *testing.T) {
	be, _, _ := three(t)
	for _, name := range repotest.Objects(t, be) {
		if strings.HasPrefix(name, "commits/") {
			if err := be.Put(t.Context(), name, []byte("rubbish")); err != nil {
				t.Fatal(err)
			}
			break
		}
	}
	before := repotest.Objects(t, be)
	if _, err := gc.Run(t.Context(), repotest.Open(t, be), thorough()); repo.StateOf(err) != repo.Damaged {
		t.Errorf("error %v", err)
	}
	if after := repotest.Objects(t, be); strings.Join(before, " ") != strings.Join(after, " ") {
		t.Error("it changed something")
	}
}

func TestRefusesStrangers(t *testing.T) {
	be, _, _ := three(t)
	if err := be.Put(t.Context(), "commits/from-the-future", nil); err != nil {
		t.Fatal(err)
	}
	if _, err := gc.Run(t.Context(), repotest.Open(t, be), thorough()); !errors.Is(err, repo.ErrStrangers) {
		t.Errorf("error %v", err)
	}
}

// TestCrashOfACollection stops a collection dead at every operation, before
// and after its effect; then nothing is lost, and anyone can finish it.
func TestCrashOfACollection(t *testing.T) {
	be, backups, contents := three(t)
	mustForget(t, repotest.Open(t, be), backups[1])
	clean := repotest.Copy(t, be)
	mustRun(t, repotest.Open(t, clean), thorough())
	want := bytesIn(t, clean)
	for _, when := range []backendtest.When{backendtest.Before, backendtest.After} {
		for n := 1; ; n++ {
			store := repotest.Copy(t, be)
			f := backendtest.NewFaulty(store)
			r := repotest.Open(t, f)
			f.CrashAt(n, when)
			_, err := gc.Run(t.Context(), r, thorough())
			if err == nil {
				t.Logf("%d operations", n-1)
				break
			}
			mustRestore(t, store, backups[0], contents[0])
			mustRestore(t, store, backups[2], contents[2])
			repotest.MustCheck(t, store)
			// a backup on top of the ruins, then a second collector
			more := repotest.MakeContent(99, 5)
			b := repotest.MustBackup(t, repotest.Open(t, store), more)
			mustRun(t, repotest.Open(t, store), thorough())
			mustRun(t, repotest.Open(t, store), thorough())
			mustRestore(t, store, b, more)
			mustForget(t, repotest.Open(t, store), b)
			mustRun(t, repotest.Open(t, store), thorough())
			if got := bytesIn(t, store); got > want+want/5 {
				t.Fatalf("operation %d: %d bytes in packs, %d after an undisturbed collection", n, got, want)
			}
			mustRestore(t, store, backups[0], contents[0])
			repotest.MustCheck(t, store)
			if n > 300 {
				t.Fatal("the collection does not end")
			}
		}
	}
}

// TestObjectsStayBounded: many backups with a collection now and then.
func TestObjectsStayBounded(t *testing.T) {
	be, r := repotest.New(t)
	t.Cleanup(func() { repotest.MustCheck(t, be) })
	var kept *snapshot.Backup
	var content repotest.Content
	for i := range 60 {
		content = repotest.MakeContent(uint64(i%7), 6)
		b := repotest.MustBackup(t, r, content)
		if kept != nil {
			mustForget(t, r, kept)
		}
		kept = b
		if i%10 == 9 {
			mustRun(t, r, thorough())
		}
	}
	mustRestore(t, be, kept, content)
	if n := len(repotest.Objects(t, be)); n > 20 {
		t.Errorf("%d objects: %q", n, repotest.Objects(t, be))
	}
}

// TestInterruptedBackupIsKept: a checkpoint keeps what an interrupted backup has
// stored through collections, until a later backup has committed; that finds it.
func TestInterruptedBackupIsKept(t *testing.T) {
	be, r := repotest.New(t)
	t.Cleanup(func() { repotest.MustCheck(t, be) })
	mustForget(t, r, repotest.MustBackup(t, r, repotest.MakeContent(50, 10)))
	c := repotest.MakeContent(51, 40)
	half := repotest.Content{}
	for i := range 20 {
		name := fmt.Sprintf("file-%03d", i)
		half[name] = c[name]
	}
	s := suspend(t, be, half)
	if kept, err := s.w.Checkpoint(&snapshot.Backup{Host: "h"}); err != nil || !kept {
		t.Fatalf("checkpoint: %v, %v", kept, err)
	}
	if list := mustList(t, repotest.Open(t, be)); len(list) != 0 {
		t.Errorf("a checkpoint is listed as a backup: %v", list)
	}
	for range 2 {
		mustRun(t, repotest.Open(t, be), thorough())
	}
	repotest.MustCheck(t, be)

	r = repotest.Open(t, be)
	w, err := r.Begin(t.Context(), repo.WriterOptions{})
	if err != nil {
		t.Fatal(err)
	}
	root, err := repotest.Put(t.Context(), r, w.Lane(), c)
	if err != nil {
		t.Fatal(err)
	}
	if got, most := w.Stats().Raw, size(c)-size(half)/2; got > most {
		t.Errorf("the next backup stored %d bytes anew, at most %d were missing", got, most)
	}
	b, err := w.Commit(&snapshot.Backup{Host: "h", Volumes: []snapshot.Volume{{Name: "data", Kind: snapshot.VolumePath, State: snapshot.Complete, Root: root}}})
	if err != nil {
		t.Fatal(err)
	}
	mustRestore(t, be, b, c)
	var planned gc.Report
	o := thorough()
	o.Planned = func(r gc.Report) { planned = r }
	report := mustRun(t, repotest.Open(t, be), o)
	for name, r := range map[string]gc.Report{"planned": planned, "done": report} {
		if len(r.Dropped) != 0 || len(r.Served) != 1 {
			t.Errorf("%s: %d backups and %d checkpoints dropped, want the checkpoint alone", name, len(r.Dropped), len(r.Served))
		}
	}
	if n := count(t, be, "commits/"); n != 1 {
		t.Errorf("%d commits, want the backup alone", n)
	}
	mustRestore(t, be, b, c)
}

func size(c repotest.Content) (n int64) {
	for _, b := range c {
		n += int64(len(b))
	}
	return n
}

// TestFoldKeepsARepositoryThatNobodyPrunesSmall is kopia#5057 in small.
func TestFoldKeepsARepositoryThatNobodyPrunesSmall(t *testing.T) {
	be, r := repotest.New(t)
	t.Cleanup(func() { repotest.MustCheck(t, be) })
	var backups []*snapshot.Backup
	var contents []repotest.Content
	folds := 0
	for i := range 200 {
		c := repotest.MakeContent(uint64(i), 3)
		backups, contents = append(backups, repotest.MustBackup(t, r, c)), append(contents, c)
		folded, err := gc.Fold(t.Context(), r, atOnce())
		if err != nil {
			t.Fatal(err)
		}
		if folded {
			folds++
		}
	}
	if folds != 3 {
		t.Errorf("%d folds, want 3", folds)
	}
	if n := count(t, be, "index/"); n > gc.FoldAfter+2 {
		t.Errorf("%d index segments", n)
	}
	if n := count(t, be, "sessions/"); n > gc.FoldAfter+2 {
		t.Errorf("%d sessions", n)
	}
	for i := range backups {
		mustRestore(t, be, backups[i], contents[i])
	}
}

// TestFoldWaitsForNobody: beside a writer at work there is no fold; what the
// writer has seen stays.
func TestFoldWaitsForNobody(t *testing.T) {
	be, r := repotest.New(t)
	t.Cleanup(func() { repotest.MustCheck(t, be) })
	for i := range gc.FoldAfter + 1 {
		mustForget(t, r, repotest.MustBackup(t, r, repotest.MakeContent(uint64(i%3), 3)))
	}
	s := suspend(t, be, repotest.MakeContent(1, 3))
	if folded, err := gc.Fold(t.Context(), repotest.Open(t, be), gc.Options{}); folded || err != nil {
		t.Errorf("folded beside a writer: %v, %v", folded, err)
	}
	b, err := s.resume()
	if err != nil {
		t.Fatal(err)
	}
	if folded, err := gc.Fold(t.Context(), repotest.Open(t, be), gc.Options{}); !folded || err != nil {
		t.Errorf("no fold: %v, %v", folded, err)
	}
	mustRestore(t, be, b, s.c)
}

// onList does something once, when a prefix is about to be listed.
type onList struct {
	backend.Backend
	prefix string
	do     func()
}

func (s *onList) List(ctx context.Context, prefix string) iter.Seq2[backend.Info, error] {
	if prefix != s.prefix {
		return s.Backend.List(ctx, prefix)
	}
	if do := s.do; do != nil {
		s.do = nil
		do()
	}
	return s.Backend.List(ctx, prefix)
}

// TestVoidCommitBetweenTwoListings: after a reader has listed gc/ and before it
// lists commits/, a collection closes, its clean-up removes the killed record,
// and the commit of that session lands. It is void; by the older done it would
// count.
func TestVoidCommitBetweenTwoListings(t *testing.T) {
	be, backups, contents := three(t)
	t.Cleanup(func() { repotest.MustCheck(t, be) })
	s := suspend(t, be, contents[1])
	mustForget(t, repotest.Open(t, be), backups[1])
	store := &onList{Backend: be}
	r := repotest.Open(t, store)
	mustList(t, r) // from now on it holds what the collection will remove
	store.prefix, store.do = "commits/", func() {
		mustRun(t, repotest.Open(t, be), thorough())
		if _, err := s.resume(); !errors.Is(err, repo.ErrVoid) {
			t.Errorf("the commit landed with %v, want it void", err)
		}
	}
	list := mustList(t, r)
	if store.do != nil {
		t.Fatal("nothing happened between the listings")
	}
	for _, b := range list {
		if b.ID != backups[0].ID && b.ID != backups[2].ID {
			t.Errorf("a void commit counts: %s", b.ID)
		}
	}
}
