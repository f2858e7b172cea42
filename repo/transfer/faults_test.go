package transfer_test

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"sync"
	"testing"

	"vault/backend"
	"vault/backend/backendtest"
	"vault/backend/mem"
	"vault/crypto"
	"vault/internal/repotest"
	"vault/repo"
	"vault/repo/gc"
	"vault/repo/repair"
	"vault/repo/transfer"
	"vault/snapshot"
)

// hooked calls a function after something was stored.
type hooked struct {
	backend.Backend
	mu     sync.Mutex // guards what follows
	prefix string
	after  func()
}

func (h *hooked) Put(ctx context.Context, name string, data []byte) error {
	return h.did(name, h.Backend.Put(ctx, name, data))
}

func (h *hooked) Create(ctx context.Context, name string, data []byte) error {
	return h.did(name, h.Backend.Create(ctx, name, data))
}

func (h *hooked) did(name string, err error) error {
	h.mu.Lock()
	f := h.after
	if f == nil || err != nil || !strings.HasPrefix(name, h.prefix) {
		h.mu.Unlock()
		return err
	}
	h.after = nil
	h.mu.Unlock()
	f()
	return nil
}

// once makes the hook call f after the first object under the prefix.
func (h *hooked) once(prefix string, f func()) { h.prefix, h.after = prefix, f }

// collect removes what no backup needs, and gives up everybody's sessions.
func collect(t *testing.T, be backend.Backend) {
	t.Helper()
	_, err := gc.Run(context.Background(), repotest.Open(t, be), gc.Options{Dead: func(repo.Waiting) bool { return true }, Limits: gc.Limits{MaxRepack: -1}})
	if err != nil {
		t.Error(err)
	}
}

func forgetAll(t *testing.T, r *repo.Repo) {
	t.Helper()
	for _, b := range backups(t, r) {
		if err := r.Forget(context.Background(), b.ID, repo.Event{}); err != nil {
			t.Error(err)
		}
	}
}

// flat is a directory of n files of 3000 bytes.
func flat(m *maker, n int) *entry {
	d := m.dir("", 0, 0)
	for i := range n {
		m.inode++
		e := &entry{node: snapshot.Node{Name: string(rune('a'+i/26)) + string(rune('a'+i%26)), Type: snapshot.File, Mode: 0o644, Inode: m.inode}}
		m.add(e, 3000)
		d.children = append(d.children, e)
	}
	return d
}

// TestInterrupted: what was stored when the context ended is kept, and not stored
// again.
func TestInterrupted(t *testing.T) {
	src, dst, whole := newStore(t), newStore(t), newStore(t)
	root := flat(newMaker(1), 200)
	save(t, src.r, snapshot.Backup{Group: "g"}, map[string]*entry{"data": root})
	all := mustRun(t, whole.r, src.r, transfer.Options{})
	ctx, cancel := context.WithCancelCause(t.Context())
	stop := errors.New("stop")
	kept := false
	first, err := run(ctx, dst.open(t), src.open(t), transfer.Options{
		Checkpoint: 100_000, // batches are not larger
		Keeping:    func() { kept = true },
		Observe: func(e transfer.Event) {
			if e.Done.Read > 250_000 {
				cancel(stop)
			}
		},
	})
	if !errors.Is(err, stop) || !first.Kept || first.KeepErr != nil || !kept || outcomes(first) != "pending" {
		t.Fatalf("%v, %+v", err, first)
	}
	collect(t, dst.be) // what a checkpoint holds stays
	second := mustRun(t, dst.open(t), src.open(t), transfer.Options{})
	const pages = 2000 // they are cut otherwise in another repository
	t.Logf("added %d, then %d; at once %d", first.Total.Added, second.Total.Added, all.Total.Added)
	// Two batches are stored before the third is read.
	if twice := first.Total.Added + second.Total.Added - all.Total.Added; first.Total.Added < 150_000 || twice > pages {
		t.Errorf("added %d, then %d; at once %d", first.Total.Added, second.Total.Added, all.Total.Added)
	}
	mustEqual(t, dst.r, &backups(t, dst.r)[0].Volumes[0], root)
	collect(t, dst.be) // now the checkpoints have served
	roots, err := dst.open(t).Roots(t.Context())
	if err != nil || len(roots) != 1 {
		t.Errorf("%d roots, %v", len(roots), err)
	}
}

// TestCrash: after a crash anywhere the next run finishes the work, and stores
// again at most what no checkpoint held.
func TestCrash(t *testing.T) {
	src := newStore(t)
	m := newMaker(2)
	root := flat(m, 60)
	save(t, src.r, snapshot.Backup{}, map[string]*entry{"data": root})
	changed := *root
	changed.children = append(changed.children[:30:30], flat(m, 60).children[30:]...)
	save(t, src.r, snapshot.Backup{Time: snapshot.Time{Sec: 1}}, map[string]*entry{"data": &changed})
	o := transfer.Options{Checkpoint: 30_000, Workers: 1}
	probe := newStore(t)
	probe.reset()
	all := mustRun(t, probe.r, src.r, o)
	steps := probe.count()
	if steps < 25 { // how many checkpoints are made depends on how fast packs come
		t.Fatalf("%d operations", steps)
	}
	stride := 1
	if testing.Short() {
		stride = 7
	}
	for at := 1; at <= steps; at += stride {
		when := []backendtest.When{backendtest.Before, backendtest.After}[at%2]
		dst := newStore(t)
		r := dst.open(t)
		dst.be.CrashAt(at, when)
		first, err := run(t.Context(), r, src.r, o)
		if err == nil {
			continue // fewer operations than by the probe
		}
		dst.be.Revive()
		second := mustRun(t, dst.open(t), src.r, o)
		list := backups(t, dst.r)
		if len(list) != 2 {
			t.Fatalf("crash at %d: %d backups", at, len(list))
		}
		mustEqual(t, dst.r, &list[0].Volumes[0], root)
		mustEqual(t, dst.r, &list[1].Volumes[0], &changed)
		// Three packs, and two batches.
		if lost := first.Total.Added + second.Total.Added - all.Total.Added; lost > 2*o.Checkpoint+3*64<<10 {
			t.Errorf("crash at %d: %d bytes stored twice", at, lost)
		}
	}
}

// TestKilled: a collection that gives the session up makes the copy start over.
func TestKilled(t *testing.T) {
	src := newStore(t)
	be := &hooked{Backend: mem.New()}
	dst := repotest.Init(t, be)
	t.Cleanup(func() { repotest.MustCheck(t, be) })
	root := flat(newMaker(3), 100)
	save(t, src.r, snapshot.Backup{}, map[string]*entry{"data": root})
	be.once("packs/", func() { collect(t, be) })
	warned := 0
	report := mustRun(t, dst, src.r, transfer.Options{Warn: func(string, error) { warned++ }})
	if outcomes(report) != "copied" || warned != 1 {
		t.Errorf("%s, %d warnings", outcomes(report), warned)
	}
	mustEqual(t, dst, &backups(t, dst)[0].Volumes[0], root)
}

// TestCollectedBetween: what was seen to be stored before a checkpoint may be
// gone when a collection has given the session up behind it; so the copy starts
// over and looks everything up again.
func TestCollectedBetween(t *testing.T) {
	src := newStore(t)
	be := &hooked{Backend: mem.New()}
	dst := repotest.Init(t, be)
	t.Cleanup(func() { repotest.MustCheck(t, be) })
	m := newMaker(4)
	root := flat(m, 100)
	// The target has the first half itself, and is going to lose it.
	half := *root
	half.children = root.children[:50]
	save(t, dst, snapshot.Backup{Host: "another"}, map[string]*entry{"data": &half})
	save(t, src.r, snapshot.Backup{}, map[string]*entry{"data": root})
	be.once("commits/", func() {
		forgetAll(t, repotest.Open(t, be))
		collect(t, be)
	})
	report := mustRun(t, dst, src.r, transfer.Options{Checkpoint: 40_000, Workers: 1})
	if be.after != nil {
		t.Fatal("there was no checkpoint")
	}
	if outcomes(report) != "copied" {
		t.Fatal(outcomes(report))
	}
	mustEqual(t, dst, &backups(t, dst)[0].Volumes[0], root)
}

// TestCollectedBetweenBackups: the same between two backups of one run, where the
// first copy is forgotten at once.
func TestCollectedBetweenBackups(t *testing.T) {
	src := newStore(t)
	be := &hooked{Backend: mem.New()}
	dst := repotest.Init(t, be)
	t.Cleanup(func() { repotest.MustCheck(t, be) })
	m := newMaker(4)
	root := m.dir("", 20, 1)
	save(t, src.r, snapshot.Backup{}, map[string]*entry{"data": root})
	root.children = append(root.children, m.any("zz"))
	save(t, src.r, snapshot.Backup{Time: snapshot.Time{Sec: 1}}, map[string]*entry{"data": root})
	first := true
	report := mustRun(t, dst, src.r, transfer.Options{Committed: func(context.Context) {
		if first {
			first = false
			forgetAll(t, repotest.Open(t, be))
			collect(t, be)
		}
	}})
	if outcomes(report) != "copied copied" || report.Copies[1].Base != nil {
		t.Fatalf("%s, compared with %+v", outcomes(report), report.Copies[1].Base)
	}
	mustEqual(t, dst, &backups(t, dst)[0].Volumes[0], root)
}

// TestGone: a backup that is removed from the source while it is copied is no
// damage; the others are copied.
func TestGone(t *testing.T) {
	src, dst := newStore(t), newStore(t)
	m := newMaker(5)
	gone := save(t, src.r, snapshot.Backup{}, map[string]*entry{"data": flat(m, 200)})
	root := flat(m, 20)
	save(t, src.r, snapshot.Backup{Time: snapshot.Time{Sec: 1}}, map[string]*entry{"data": root})
	removed := false
	report := mustRun(t, dst.r, src.open(t), transfer.Options{Checkpoint: 50_000, Workers: 1, Observe: func(e transfer.Event) {
		if e.Kind == transfer.EventProgress && !removed {
			removed = true
			if err := src.r.Forget(t.Context(), gone.ID, repo.Event{}); err != nil {
				t.Error(err)
			}
			collect(t, src.be)
		}
	}})
	if outcomes(report) != "gone copied" || report.Copies[0].Err == nil {
		t.Fatalf("%s: %v", outcomes(report), report.Copies[0].Err)
	}
	mustEqual(t, dst.r, &backups(t, dst.r)[0].Volumes[0], root)
	if again := mustRun(t, dst.r, src.r, transfer.Options{}); outcomes(again) != "present" {
		t.Errorf("the next run: %s", outcomes(again))
	}
}

// TestBaseGone: the backup that others are compared with may be removed from the
// source meanwhile.
func TestBaseGone(t *testing.T) {
	src, dst := newStore(t), newStore(t)
	m := newMaker(6)
	root := m.dir("", 30, 2)
	old := save(t, src.r, snapshot.Backup{}, map[string]*entry{"data": root})
	mustRun(t, dst.r, src.r, transfer.Options{})
	root.children = flat(m, 30).children
	save(t, src.r, snapshot.Backup{Time: snapshot.Time{Sec: 1}}, map[string]*entry{"data": root})
	warned := 0
	report := mustRun(t, dst.open(t), src.open(t), transfer.Options{
		Warn: func(string, error) { warned++ },
		Observe: func(e transfer.Event) {
			if e.Kind == transfer.EventBegin {
				if err := src.r.Forget(t.Context(), old.ID, repo.Event{}); err != nil {
					t.Error(err)
				}
				collect(t, src.be)
			}
		}})
	if outcomes(report) != "present copied" || warned != 1 {
		t.Errorf("%s, %d warnings", outcomes(report), warned)
	}
	mustEqual(t, dst.r, &backups(t, dst.r)[1].Volumes[0], root)
}

// TestDamaged: a backup whose data or pages are damaged or missing is not copied,
// the others are, and nothing that is wrong arrives.
func TestDamaged(t *testing.T) {
	for name, spoil := range map[string]func([]byte) []byte{
		"altered": func(b []byte) []byte { b[len(b)/3] ^= 1; return b },
		"short":   func(b []byte) []byte { return b[:len(b)/2] },
		"missing": func([]byte) []byte { return nil },
	} {
		for _, kind := range []crypto.BlobKind{crypto.BlobData, crypto.BlobTree} {
			t.Run(name+" "+kind.String(), func(t *testing.T) {
				be := mem.New()
				src := repotest.Init(t, be)
				dst := newStore(t)
				m := newMaker(7)
				root := flat(m, 100)
				sound := flat(m, 10)
				save(t, src, snapshot.Backup{}, map[string]*entry{"data": root, "more": sound})
				packs := packsOf(t, src, kind)
				save(t, src, snapshot.Backup{Time: snapshot.Time{Sec: 1}}, map[string]*entry{"sound": sound, "other": flat(m, 30)})
				bad := packs[0]
				data, err := backend.ReadAll(t.Context(), be, bad, 1<<30)
				if err != nil {
					t.Fatal(err)
				}
				if data = spoil(bytes.Clone(data)); data == nil {
					err = be.Delete(t.Context(), bad)
				} else {
					err = be.Put(t.Context(), bad, data)
				}
				if err != nil {
					t.Fatal(err)
				}
				report := mustRun(t, dst.r, repotest.Open(t, be), transfer.Options{})
				if got := outcomes(report); !strings.HasPrefix(got, "damaged") {
					t.Fatal(got)
				}
				id := report.Copies[0].Backup.ID.Short()
				if err := report.Copies[0].Err; err == nil || !strings.Contains(err.Error(), id) || !strings.Contains(err.Error(), "volume") {
					t.Errorf("error %v", err)
				}
				if n := report.Count(transfer.Copied); len(backups(t, dst.r)) != n {
					t.Errorf("%d backups, %d copied", len(backups(t, dst.r)), n)
				}
			})
		}
	}
}

// packsOf returns the packs of one kind.
func packsOf(t *testing.T, r *repo.Repo, kind crypto.BlobKind) (list []string) {
	t.Helper()
	if err := r.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	ix, err := r.Index(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for s := range ix.Segments() {
		for p := range s.Packs() {
			if p.Kind == kind {
				list = append(list, p.ID.Path())
			}
		}
	}
	return list
}

// TestMalformed: pages that somebody with the key made wrong are errors of their
// backup.
func TestMalformed(t *testing.T) {
	for name, page := range map[string][]byte{
		"garbage":     []byte("no page at all"),
		"wrong kind":  {1, 3, 0, 1, 3, 1},
		"bad name":    {1, 1, 0, 1, 2, '.', '.', 4, 0, 0, 0, 0, 0, 0, 0, 0, 0},
		"lost child":  append([]byte{1, 1, 0, 1, 1, 'd', 1, 0, 0, 0, 0, 0, 0, 0, 0, 0}, make([]byte, 32)...),
		"lost object": append([]byte{1, 1, 0, 1, 1, 'f', 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xc8, 1, 2, 1, 1, 0xc8, 1}, make([]byte, 32)...),
	} {
		t.Run(name, func(t *testing.T) {
			src, dst := repotest.Init(t, mem.New()), newStore(t)
			w, err := src.Begin(t.Context(), repo.WriterOptions{})
			if err != nil {
				t.Fatal(err)
			}
			top, _, err := w.Lane().Put(t.Context(), crypto.BlobTree, page)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := w.Commit(&snapshot.Backup{Host: "h", Volumes: []snapshot.Volume{{Name: "v", Kind: snapshot.VolumePath, State: snapshot.Complete,
				Root: &snapshot.Node{Type: snapshot.Directory, Tree: top}}}}); err != nil {
				t.Fatal(err)
			}
			save(t, src, snapshot.Backup{Time: snapshot.Time{Sec: 1}}, map[string]*entry{"v": flat(newMaker(1), 3)})
			report := mustRun(t, dst.r, src, transfer.Options{})
			if got := outcomes(report); got != "damaged copied" {
				t.Errorf("%s: %v", got, report.Copies[0].Err)
			}
		})
	}
}

// TestStores: what is wrong with a store as a whole ends the transfer.
func TestStores(t *testing.T) {
	for name, err := range map[string]error{"full": backend.ErrNoSpace, "away": backend.ErrUnreachable} {
		src, dst := newStore(t), newStore(t)
		save(t, src.r, snapshot.Backup{}, map[string]*entry{"data": flat(newMaker(1), 50)})
		r := dst.open(t)
		dst.be.Inject(backendtest.Fault{At: 1, When: backendtest.Before, Err: err, Match: func(op backendtest.Op) bool { return strings.HasPrefix(op.Name, "packs/") }})
		report, got := run(t.Context(), r, src.r, transfer.Options{})
		if !errors.Is(got, err) || outcomes(report) != "pending" {
			t.Errorf("%s target: %v, %s", name, got, outcomes(report))
		}
		from := src.open(t)
		src.be.Inject(backendtest.Fault{At: 1, When: backendtest.Before, Err: backend.ErrUnreachable, Match: func(op backendtest.Op) bool { return strings.HasPrefix(op.Name, "packs/") }})
		if report, got = run(t.Context(), dst.r, from, transfer.Options{}); !errors.Is(got, backend.ErrUnreachable) || outcomes(report) != "pending" {
			t.Errorf("source away: %v, %s", got, outcomes(report))
		}
		if report := mustRun(t, dst.r, src.open(t), transfer.Options{}); outcomes(report) != "copied" {
			t.Errorf("after: %s", outcomes(report))
		}
	}
}

// TestLacking: a copy that has lost something in the target is not relied upon,
// and what is lost comes with the next one.
func TestLacking(t *testing.T) {
	src, dst := newStore(t), newStore(t)
	m := newMaker(9)
	root := flat(m, 60)
	save(t, src.r, snapshot.Backup{}, map[string]*entry{"data": root})
	mustRun(t, dst.r, src.r, transfer.Options{})
	if err := dst.be.Delete(t.Context(), packsOf(t, dst.r, crypto.BlobData)[0]); err != nil {
		t.Fatal(err)
	}
	if _, err := repair.Run(t.Context(), dst.open(t), repair.Options{}); err != nil {
		t.Fatal(err)
	}
	root.children = append(root.children, m.any("zz"))
	save(t, src.r, snapshot.Backup{Time: snapshot.Time{Sec: 1}}, map[string]*entry{"data": root})
	report := mustRun(t, dst.open(t), src.open(t), transfer.Options{})
	if outcomes(report) != "present copied" || report.Copies[1].Base != nil {
		t.Fatalf("%s, compared with %+v", outcomes(report), report.Copies[1].Base)
	}
	mustEqual(t, dst.r, &backups(t, dst.r)[1].Volumes[0], root)
	if _, err := repair.Run(t.Context(), dst.open(t), repair.Options{}); err != nil { // it is whole again
		t.Fatal(err)
	}
}
