package transfer_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"vault/backend/backendtest"
	"vault/internal/repotest"
	"vault/repo"
	"vault/repo/transfer"
	"vault/snapshot"
)

// noteFiles returns the files of notes in a cache.
func noteFiles(t *testing.T, cache string) []string {
	t.Helper()
	list, err := filepath.Glob(filepath.Join(cache, "*", "copies", "*", "index", "*"))
	if err != nil {
		t.Fatal(err)
	}
	return list
}

// cut is a copy of one large backup of which a part is stored, and how to go on.
type cut struct {
	src, dst store
	root     *entry
	cache    string
	all      transfer.Bytes // what a copy without an interruption moves
	first    transfer.Bytes // what the interrupted one did
}

// open opens the target with the cache, as a new process does.
func (c *cut) open(t *testing.T) *repo.Repo {
	t.Helper()
	return repotest.OpenEnv(t, c.dst.be, repo.Env{CacheDir: c.cache})
}

// interrupted makes one of so many files of 3000 bytes, of which two thirds are
// read: then either the context ends, or the target is gone from one moment to the
// next.
func interrupted(t *testing.T, files int, crash bool, o transfer.Options) *cut {
	t.Helper()
	c := &cut{src: newStore(t), dst: newStore(t), root: flat(newMaker(11), files), cache: t.TempDir()}
	save(t, c.src.r, snapshot.Backup{}, map[string]*entry{"data": c.root})
	c.all = mustRun(t, newStore(t).r, c.src.r, transfer.Options{}).Total
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	once := false
	o.Workers = 2
	o.Observe = func(e transfer.Event) {
		if e.Done.Read < int64(files)*2000 || once {
			return
		}
		if once = true; crash {
			c.dst.be.CrashAt(1, backendtest.Before)
		} else {
			cancel()
		}
	}
	report, err := run(ctx, c.open(t), c.src.open(t), o)
	if err == nil || outcomes(report) != "pending" || !crash && !errors.Is(err, context.Canceled) {
		t.Fatalf("%v, %s", err, outcomes(report))
	}
	c.dst.be.Revive()
	c.first = report.Total
	if len(noteFiles(t, c.cache)) == 0 {
		t.Fatal("nothing was noted")
	}
	return c
}

// finish copies the rest, and returns what that moved.
func (c *cut) finish(t *testing.T) transfer.Bytes {
	t.Helper()
	report := mustRun(t, c.open(t), c.src.open(t), transfer.Options{})
	if outcomes(report) != "copied" {
		t.Fatal(outcomes(report))
	}
	mustEqual(t, c.dst.r, &backups(t, c.dst.r)[0].Volumes[0], c.root)
	if left := noteFiles(t, c.cache); len(left) > 0 {
		t.Errorf("left in the cache: %q", left)
	}
	t.Logf("read %d, then %d; at once %d", c.first.Read, report.Total.Read, c.all.Read)
	return report.Total
}

// pages returns how much of what is read is not data.
func (c *cut) pages() int64 { return c.all.Read - int64(len(c.root.children))*3000 }

// TestGoesOn: what an interrupted copy has stored is not read again from the
// source either, pages of trees excepted.
func TestGoesOn(t *testing.T) {
	c := interrupted(t, 200, false, transfer.Options{Checkpoint: 50_000})
	collect(t, c.dst.be) // what a checkpoint holds stays
	if again := c.finish(t).Read; again > c.all.Read-c.first.Read+c.pages() {
		t.Errorf("read %d, then %d; at once %d, with %d of pages", c.first.Read, again, c.all.Read, c.pages())
	}
}

// TestGoesOnAfterACrash: the same for what the checkpoints hold. Two packs may be
// on their way into one, two be waiting for the next, two be uploaded and two open,
// and two batches be in the hands of the lanes: that is a third of what was read.
func TestGoesOnAfterACrash(t *testing.T) {
	c := interrupted(t, 900, true, transfer.Options{Checkpoint: 50_000})
	if again, lost := c.finish(t).Read, int64(2*50_000+8*64<<10); again > c.all.Read-c.first.Read+c.pages()+lost {
		t.Errorf("read %d, then %d; at once %d, with %d of pages", c.first.Read, again, c.all.Read, c.pages())
	}
}

// TestGoesOnTwice: an interruption of what goes on loses nothing of what was
// noted before, and other backups use it, too.
func TestGoesOnTwice(t *testing.T) {
	c := interrupted(t, 200, false, transfer.Options{Checkpoint: 50_000})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	second, err := run(ctx, c.open(t), c.src.open(t), transfer.Options{Checkpoint: 50_000, Observe: func(e transfer.Event) {
		if e.Done.Read > 100_000 {
			cancel()
		}
	}})
	if err == nil {
		t.Fatal("not interrupted")
	}
	again := c.finish(t).Read
	if sum := c.first.Read + second.Total.Read + again; sum > c.all.Read+2*c.pages() {
		t.Errorf("read %d, %d, and %d; at once %d, with %d of pages", c.first.Read, second.Total.Read, again, c.all.Read, c.pages())
	}

	c = interrupted(t, 200, false, transfer.Options{Checkpoint: 50_000})
	some := *c.root
	some.children = c.root.children[:100]
	save(t, c.src.r, snapshot.Backup{Time: snapshot.Time{Sec: -1}}, map[string]*entry{"data": &some})
	report := mustRun(t, c.open(t), c.src.open(t), transfer.Options{})
	if sum := c.first.Read + report.Total.Read; outcomes(report) != "copied copied" || sum > c.all.Read+3*c.pages() {
		t.Errorf("%s: read %d, then %d; at once %d, with %d of pages", outcomes(report), c.first.Read, report.Total.Read, c.all.Read, c.pages())
	}
	if left := noteFiles(t, c.cache); len(left) > 0 {
		t.Errorf("left in the cache: %q", left)
	}
}

// TestNotesOfWhatIsGone: a note counts only if the target has the blob. Here no
// checkpoint was made, and a collection has removed what was stored.
func TestNotesOfWhatIsGone(t *testing.T) {
	c := interrupted(t, 200, true, transfer.Options{Checkpoint: 1 << 30})
	collect(t, c.dst.be)
	if again := c.finish(t).Read; again < c.all.Read {
		t.Errorf("read %d of %d, and had nothing", again, c.all.Read)
	}
}

// TestCollectedWhileItGoesOn: notes that were good when a session began count no
// more when a collection has removed what they are about: one that gives the
// session up, or one between two backups.
func TestCollectedWhileItGoesOn(t *testing.T) {
	for name, hook := range map[string]func(o *transfer.Options, f func()){
		"in a session": func(o *transfer.Options, f func()) {
			o.Observe = func(e transfer.Event) {
				if e.Kind == transfer.EventProgress {
					f()
				}
			}
		},
		"between two": func(o *transfer.Options, f func()) { o.Committed = func(context.Context) { f() } },
	} {
		t.Run(name, func(t *testing.T) {
			c := interrupted(t, 200, false, transfer.Options{Checkpoint: 50_000})
			// The copy of the first supersedes the checkpoints of the second.
			save(t, c.src.r, snapshot.Backup{Time: snapshot.Time{Sec: -1}}, map[string]*entry{"data": flat(newMaker(12), 10)})
			var o transfer.Options
			once := false
			hook(&o, func() {
				if once {
					return
				}
				once = true
				save(t, c.dst.open(t), snapshot.Backup{}, map[string]*entry{"data": flat(newMaker(12), 1)})
				forgetAll(t, c.dst.open(t))
				collect(t, c.dst.be)
			})
			report := mustRun(t, c.open(t), c.src.open(t), o)
			if !once || outcomes(report) != "copied copied" || report.Total.Read < c.all.Read {
				t.Fatalf("%s, read %d of %d", outcomes(report), report.Total.Read, c.all.Read)
			}
			list := backups(t, c.dst.r)
			mustEqual(t, c.dst.r, &list[len(list)-1].Volumes[0], c.root)
		})
	}
}

// TestAlteredNotes: what is not as it was written is not believed, whatever it
// says, and neither is what is about other repositories.
func TestAlteredNotes(t *testing.T) {
	swap := func(b []byte) { // two names in the target, which has both
		for i := range 32 {
			b[32+32+i], b[32+96+i] = b[32+96+i], b[32+32+i]
		}
	}
	for name, alter := range map[string]func(t *testing.T, c *cut, files []string){
		"gone": func(t *testing.T, c *cut, _ []string) { c.cache = t.TempDir() },
		"swapped": func(t *testing.T, c *cut, files []string) {
			for _, f := range files {
				b, err := os.ReadFile(f)
				if err != nil {
					t.Fatal(err)
				}
				if len(b) < 32+128 {
					err = os.Remove(f) // it has one pair
				} else {
					swap(b)
					err = os.WriteFile(f, b, 0o600)
				}
				if err != nil {
					t.Fatal(err)
				}
			}
		},
		"cut": func(t *testing.T, c *cut, files []string) {
			for _, f := range files {
				if err := os.Truncate(f, 32+64); err != nil {
					t.Fatal(err)
				}
			}
		},
		"empty": func(t *testing.T, c *cut, files []string) {
			for _, f := range files {
				if err := os.Truncate(f, 0); err != nil {
					t.Fatal(err)
				}
			}
		},
		"of another pair of repositories": func(t *testing.T, c *cut, files []string) {
			other := interrupted(t, 200, false, transfer.Options{Checkpoint: 50_000})
			of := noteFiles(t, other.cache)
			for i, f := range files {
				b, err := os.ReadFile(of[i%len(of)])
				if err != nil || os.WriteFile(f, b, 0o600) != nil {
					t.Fatal(err)
				}
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := interrupted(t, 200, false, transfer.Options{Checkpoint: 50_000})
			alter(t, c, noteFiles(t, c.cache))
			if again := c.finish(t).Read; again < c.all.Read {
				t.Errorf("read %d of %d", again, c.all.Read)
			}
		})
	}
}

// TestOldNotes: notes of a backup that the source does not have any more go with
// the next copy.
func TestOldNotes(t *testing.T) {
	c := interrupted(t, 200, false, transfer.Options{Checkpoint: 50_000})
	forgetAll(t, c.src.open(t))
	c.root = flat(newMaker(13), 10)
	save(t, c.src.open(t), snapshot.Backup{Time: snapshot.Time{Sec: 1}}, map[string]*entry{"data": c.root})
	c.finish(t)
}
