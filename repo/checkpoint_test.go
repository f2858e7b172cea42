package repo_test

import (
	"context"
	"errors"
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

// keeping makes a checkpoint after every pack.
func keeping() repo.WriterOptions {
	return repo.WriterOptions{Uploads: 1, Checkpoints: &repo.Checkpoints{Host: "h", Bytes: 1}}
}

// running is a backup that has stored everything but is not committed.
type running struct {
	w       *repo.Writer
	root    *snapshot.Node
	content repotest.Content
}

func start(t *testing.T, be backend.Backend, c repotest.Content) *running {
	t.Helper()
	r := repotest.Open(t, be)
	w, err := r.Begin(context.Background(), keeping())
	if err != nil {
		t.Fatal(err)
	}
	b := &running{w: w, content: c}
	if err := b.store(r); err != nil {
		t.Fatal(err)
	}
	return b
}

func (b *running) store(r *repo.Repo) (err error) {
	if b.root, err = repotest.Put(context.Background(), r, b.w.Lane(), b.content); err != nil {
		return err
	}
	return b.w.Flush()
}

func (b *running) commit() (*snapshot.Backup, error) {
	return b.w.Commit(&snapshot.Backup{Host: "h", Volumes: []snapshot.Volume{{Name: "data", Kind: snapshot.VolumePath, State: snapshot.Complete, Root: b.root}}})
}

func (b *running) mustCommit(t *testing.T) *snapshot.Backup {
	t.Helper()
	saved, err := b.commit()
	if err != nil {
		t.Fatal(err)
	}
	return saved
}

func prune(t *testing.T, be backend.Backend) {
	t.Helper()
	_, err := gc.Run(t.Context(), repotest.Open(t, be), gc.Options{Workers: 1, Limits: gc.Limits{MaxRepack: -1}, Dead: func(repo.Waiting) bool { return true }})
	if err != nil {
		t.Fatal(err)
	}
}

func objectsIn(t *testing.T, be backend.Backend, dir string) (n int) {
	t.Helper()
	for _, name := range repotest.Objects(t, be) {
		if strings.HasPrefix(name, dir) {
			n++
		}
	}
	return n
}

// restores demands that the backup restores now and after collections, and that
// these leave nothing but it.
func restores(t *testing.T, be *mem.Backend, b *snapshot.Backup, c repotest.Content) {
	t.Helper()
	for range 3 {
		if err := repotest.Restore(t.Context(), repotest.Open(t, be), b, c); err != nil {
			t.Error(err)
		}
		repotest.MustCheck(t, be)
		prune(t, be)
	}
	if commits, sessions := objectsIn(t, be, "commits/"), objectsIn(t, be, "sessions/"); commits != 1 || sessions != 0 {
		t.Errorf("%d commits and %d sessions are left of one backup", commits, sessions)
	}
}

func size(c repotest.Content) (n int64) {
	for _, b := range c {
		n += int64(len(b))
	}
	return n
}

// most is what may be stored again: a checkpoint is due after an eighth of what
// was stored before.
func most(c repotest.Content) int64 { return size(c) / 7 }

// slowCommits is a store in which commit records take until they are let.
type slowCommits struct {
	backend.Backend
	let chan struct{}
}

func (s slowCommits) Create(ctx context.Context, name string, data []byte) error {
	if strings.HasPrefix(name, "commits/") {
		select {
		case <-s.let:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return s.Backend.Create(ctx, name, data)
}

// TestPacksBesideACheckpoint: packs go on being stored while a checkpoint is made, and
// not for ever.
func TestPacksBesideACheckpoint(t *testing.T) {
	be, _ := repotest.New(t)
	slow := slowCommits{be, make(chan struct{})}
	r := repotest.Open(t, slow)
	size := int64(repotest.Params().PackSize)
	w, err := r.Begin(t.Context(), repo.WriterOptions{Uploads: 1, Checkpoints: &repo.Checkpoints{Host: "h", Bytes: size}})
	if err != nil {
		t.Fatal(err)
	}
	b := &running{w: w, content: repotest.MakeContent(1, 900)}
	stored := make(chan error, 1)
	go func() { stored <- b.store(r) }()
	for deadline := time.Now().Add(2 * time.Minute); objectsIn(t, be, "packs/") < 3; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%d packs are stored beside a checkpoint", objectsIn(t, be, "packs/"))
		}
	}
	time.Sleep(20 * time.Millisecond) // for what must not come
	if n := objectsIn(t, be, "packs/"); n > 6 {
		t.Errorf("%d packs are at stake beside a checkpoint", n)
	}
	close(slow.let)
	if err := <-stored; err != nil {
		t.Fatal(err)
	}
	if n := objectsIn(t, be, "packs/"); n < 8 {
		t.Fatalf("only %d packs: this test tells nothing", n)
	}
	saved := b.mustCommit(t)
	restores(t, be, saved, b.content)
	repotest.MustCheck(t, be)
}

// TestKilledBackupIsNotStoredAgain: a process is killed and leaves no more than
// its checkpoints; collections pass; the next run stores nothing again.
func TestKilledBackupIsNotStoredAgain(t *testing.T) {
	for _, prunes := range []int{0, 1, 3} {
		be, _ := repotest.New(t)
		c := repotest.MakeContent(1, 40)
		start(t, be, c)
		if objectsIn(t, be, "commits/") == 0 {
			t.Fatal("there is no checkpoint")
		}
		if list, err := repotest.Open(t, be).Backups(t.Context()); err != nil || len(list) != 0 {
			t.Errorf("checkpoints are listed as backups: %v, %v", list, err)
		}
		for range prunes {
			prune(t, be)
		}
		second := start(t, be, c)
		if s := second.w.Stats(); s.Raw > most(c) {
			t.Errorf("after %d collections the next run stored %d bytes again, of %d", prunes, s.Raw, size(c))
		}
		restores(t, be, second.mustCommit(t), c)
	}
}

// TestCommitSupersedesItsCheckpoints: their ids are later than the backup's.
func TestCommitSupersedesItsCheckpoints(t *testing.T) {
	be, _ := repotest.New(t)
	c := repotest.MakeContent(2, 40)
	b := start(t, be, c)
	saved := b.mustCommit(t)
	if n := objectsIn(t, be, "commits/"); n < 2 {
		t.Fatalf("%d commits: there was no checkpoint", n)
	}
	if len(saved.Index) > 1 {
		t.Errorf("the commit names %d index segments: those of checkpoints, too", len(saved.Index))
	}
	restores(t, be, saved, c)
}

// TestNextBackupOfAnotherGroupSupersedesNothing keeps what belongs to others.
func TestNextBackupOfAnotherGroupSupersedesNothing(t *testing.T) {
	be, _ := repotest.New(t)
	c := repotest.MakeContent(3, 40)
	start(t, be, c)
	other := start(t, be, repotest.MakeContent(4, 5))
	if _, err := other.w.Commit(&snapshot.Backup{Host: "other", Volumes: []snapshot.Volume{{Name: "data", Kind: snapshot.VolumePath, State: snapshot.Complete, Root: other.root}}}); err != nil {
		t.Fatal(err)
	}
	prune(t, be)
	next := start(t, be, c)
	if s := next.w.Stats(); s.Raw > most(c) {
		t.Errorf("%d bytes stored again", s.Raw)
	}
	next.mustCommit(t)
	repotest.MustCheck(t, be)
}

// TestCheckpointOfUnknownOutcome: the commit of a checkpoint is answered by
// nothing but errors, and it is there, or not. The backup's commit may rely
// neither on that nor on its segments.
func TestCheckpointOfUnknownOutcome(t *testing.T) {
	for _, when := range []backendtest.When{backendtest.Before, backendtest.After} {
		be, _ := repotest.New(t)
		f := backendtest.NewFaulty(be)
		commits := func(op backendtest.Op) bool {
			return op.Kind == backendtest.Create && strings.HasPrefix(op.Name, "commits/")
		}
		storing := true
		reads := func(op backendtest.Op) bool {
			return storing && op.Kind == backendtest.Get && strings.HasPrefix(op.Name, "commits/")
		}
		for n := range 3 { // as often as a create is tried
			f.Inject(backendtest.Fault{At: n + 1, Match: commits, When: when})
		}
		f.Inject(backendtest.Fault{At: 1, Match: reads})
		c := repotest.MakeContent(5, 40)
		warned := 0
		r := repotest.OpenEnv(t, f, repo.Env{Warn: func(string, error) { warned++ }})
		w, err := r.Begin(t.Context(), keeping())
		if err != nil {
			t.Fatal(err)
		}
		b := &running{w: w, content: c}
		if err := b.store(r); err != nil {
			t.Fatal(err)
		}
		storing = false
		if warned == 0 {
			t.Errorf("fault %v: nobody was told", when)
		}
		restores(t, be, b.mustCommit(t), c)
	}
}

// TestCheckpointNamesNothingThatGoes: a plan has the packs of a running backup
// for orphans. A checkpoint that named them would be visible and broken.
func TestCheckpointNamesNothingThatGoes(t *testing.T) {
	be, _ := repotest.New(t)
	t.Cleanup(func() { repotest.MustCheck(t, be) })
	c := repotest.MakeContent(6, 40)
	r := repotest.Open(t, be)
	o := keeping()
	o.Checkpoints.Bytes = 1 << 40 // none by itself
	w, err := r.Begin(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	b := &running{w: w, content: c}
	if err := b.store(r); err != nil {
		t.Fatal(err)
	}
	collection, err := repotest.Open(t, be).Collection(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := collection.Propose(t.Context(), nil, nil); err != nil {
		t.Fatal(err)
	}
	prune(t, be) // adopts the plan, kills the session
	if _, err := b.commit(); !errors.Is(err, repo.ErrKilled) && !errors.Is(err, repo.ErrVoid) {
		t.Errorf("commit of a session that was given up: %v", err)
	}
	if n := objectsIn(t, be, "commits/"); n > 1 {
		t.Errorf("%d commits: a checkpoint names packs that were deleted", n)
	}
	again := start(t, be, c)
	if again.w.Stats().Raw == 0 {
		t.Error("packs that were deleted are taken for stored")
	}
	restores(t, be, again.mustCommit(t), c)
}

// TestLostSessionIsKept: a collection gives up a session whose packs came after
// its plan. They are whole, so the run that starts over stores nothing again.
func TestLostSessionIsKept(t *testing.T) {
	be, _ := repotest.New(t)
	c := repotest.MakeContent(7, 40)
	r := repotest.Open(t, be)
	o := keeping()
	o.Checkpoints.Bytes = 1 << 40
	w, err := r.Begin(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	prune(t, be)
	b := &running{w: w, content: c}
	if err := b.store(r); err != nil {
		t.Fatal(err)
	}
	if _, err := b.commit(); !errors.Is(err, repo.ErrKilled) && !errors.Is(err, repo.ErrVoid) {
		t.Fatalf("commit of a session that was given up: %v", err)
	}
	prune(t, be)
	again := start(t, be, c)
	if s := again.w.Stats(); s.Raw != 0 {
		t.Errorf("%d bytes stored again", s.Raw)
	}
	restores(t, be, again.mustCommit(t), c)
}

// TestLostSessionEndsEarly: the next checkpoint tells that the session was given
// up, so that the rest is not uploaded in vain; and keeps what is there.
func TestLostSessionEndsEarly(t *testing.T) {
	be, _ := repotest.New(t)
	r := repotest.Open(t, be)
	w, err := r.Begin(t.Context(), keeping())
	if err != nil {
		t.Fatal(err)
	}
	prune(t, be)
	c := repotest.MakeContent(8, 40)
	b := &running{w: w, content: c}
	if err := b.store(r); !errors.Is(err, repo.ErrVoid) && !errors.Is(err, repo.ErrKilled) {
		t.Errorf("storing on behalf of a session that was given up: %v", err)
	}
	w.Abort()
	again := start(t, be, c)
	if got := again.w.Stats().Raw; got == 0 {
		t.Log("everything had been kept")
	}
	restores(t, be, again.mustCommit(t), c)
}

// TestCrashBesideCheckpoints kills the process at every operation of a backup
// with checkpoints, before and after its effect; the next one must succeed and
// restore.
func TestCrashBesideCheckpoints(t *testing.T) {
	c := repotest.MakeContent(9, 12)
	base, _ := repotest.New(t)
	for _, when := range []backendtest.When{backendtest.Before, backendtest.After} {
		for n := 1; ; n++ {
			be := repotest.Copy(t, base)
			f := backendtest.NewFaulty(be)
			r := repotest.Open(t, f)
			f.CrashAt(n, when)
			var acked *snapshot.Backup
			if w, err := r.Begin(t.Context(), keeping()); err == nil {
				b := &running{w: w, content: c}
				if err := b.store(r); err != nil {
					w.Abort()
				} else if saved, err := b.commit(); err == nil {
					acked = saved
				}
			}
			again := start(t, be, c)
			restoresBeside(t, be, again.mustCommit(t), c)
			if acked != nil {
				restoresBeside(t, be, acked, c)
			}
			if t.Failed() {
				t.Fatalf("crash %v operation %d", when, n)
			}
			if !f.Crashed() {
				break
			}
		}
	}
}

// restoresBeside is restores beside other backups.
func restoresBeside(t *testing.T, be *mem.Backend, b *snapshot.Backup, c repotest.Content) {
	t.Helper()
	prune(t, be)
	if err := repotest.Restore(t.Context(), repotest.Open(t, be), b, c); err != nil {
		t.Error(err)
	}
	repotest.MustCheck(t, be)
	if n := objectsIn(t, be, "sessions/"); n != 0 {
		t.Errorf("%d sessions are left", n)
	}
}

// TestMissingPlan: the plan of a generation that is closed is gone, which check does
// not report since nothing depends on it. The done says what may go, its index has
// no entry of that, commits that were dropped are void by it, and the number of the
// generation is the done's. Only a session that began before would ask the plan which
// of its packs are going, to keep the others for the next one: it keeps none then.
func TestMissingPlan(t *testing.T) {
	be, r := repotest.New(t)
	t.Cleanup(func() { repotest.MustCheck(t, be) })
	old, c := repotest.MakeContent(7, 40), repotest.MakeContent(8, 40)
	gone := repotest.MustBackup(t, r, repotest.MakeContent(9, 10))
	kept := start(t, be, old).mustCommit(t)
	suspended := start(t, be, c)
	if err := r.Forget(t.Context(), gone.ID, repo.Event{}); err != nil {
		t.Fatal(err)
	}
	prune(t, be)
	plans := 0
	for _, name := range repotest.Objects(t, be) {
		if strings.HasSuffix(name, ".plan") {
			plans++
			if err := be.Delete(t.Context(), name); err != nil {
				t.Fatal(err)
			}
		}
	}
	if plans == 0 {
		t.Fatal("there is no plan")
	}
	repotest.MustCheck(t, be)
	if _, err := suspended.commit(); !errors.Is(err, repo.ErrKilled) && !errors.Is(err, repo.ErrVoid) {
		t.Errorf("the session of an earlier generation: %v", err)
	}
	again := start(t, be, c).mustCommit(t)
	prune(t, be)
	for b, want := range map[*snapshot.Backup]repotest.Content{kept: old, again: c} {
		if err := repotest.Restore(t.Context(), repotest.Open(t, be), b, want); err != nil {
			t.Error(err)
		}
	}
}
