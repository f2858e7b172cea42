// Package gc decides what may go from a repository, then removes it.
//
// Deciding is pure ([Make]); what follows is the protocol of package repo's
// Collection, which is safe beside any number of writers, readers and other
// collectors, and can be interrupted anywhere and finished by anyone. Nothing
// here depends on a lock or on a clock being right: clocks only decide when to
// stop waiting for a writer that shows no sign of life, and then that writer
// has to upload again.
package gc

import (
	"context"
	"errors"
	"math"
	"runtime"
	"slices"
	"time"

	"vault/crypto"
	"vault/index"
	"vault/pack"
	"vault/repo"
	"vault/snapshot"
)

// Options of a collection.
type Options struct {
	Limits  Limits
	DryRun  bool
	Workers int // default: the number of CPUs, at most 8

	// Patience is how long an unfinished session of another client may show no
	// sign of life before it is given up. Default 10 minutes.
	Patience time.Duration
	// Dead tells of a session whose client is known to be gone - same host,
	// no such process - so that nobody waits for it. May be nil.
	Dead func(repo.Waiting) bool
	// Wait is called before each pause with what is being waited for. May be nil.
	Wait func([]repo.Waiting)
	// Planned is called with the plan before anything is changed, also in a dry
	// run; not for a plan that another client has made. May be nil.
	Planned func(Report)

	Now   func() time.Time                           // default time.Now
	Sleep func(context.Context, time.Duration) error // default: really
}

// Report is what a collection did, or would do.
type Report struct {
	Plan
	Adopted      bool               // another client's unfinished plan was carried out
	Nothing      bool               // there was nothing to do
	Dropped      []crypto.SessionID // forgotten backups
	Served       []crypto.SessionID // checkpoints whose backup is complete
	Unnamed      []pack.ID          // stored packs that nothing named
	PacksTotal   int                // packs that were stored
	UnnamedBytes int64              // of the files of Unnamed
	Rescued      repo.Stats
	Spared       int // condemned packs that stay: there was no room to move what lives in them
	Deleted      int // objects deleted
	Held         int // objects that may go, and that the store does not let go yet

	// FreedSize is how many bytes the packs get less. Of a plan it is exact unless
	// packs are repacked, since what stays of them is compressed anew; afterwards it
	// is what has happened: packs deleted less packs stored.
	FreedSize int64
}

func (o Options) withDefaults() Options {
	if o.Workers <= 0 {
		o.Workers = min(runtime.GOMAXPROCS(0), 8)
	}
	if o.Patience <= 0 {
		o.Patience = 10 * time.Minute
	}
	if o.Dead == nil {
		o.Dead = func(repo.Waiting) bool { return false }
	}
	if o.Planned == nil {
		o.Planned = func(Report) {}
	}
	if o.Wait == nil {
		o.Wait = func([]repo.Waiting) {}
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Sleep == nil {
		o.Sleep = sleep
	}
	return o
}

func sleep(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}

// Run carries a collection out, from planning - or from where another client
// left off - to the last deletion.
func Run(ctx context.Context, r *repo.Repo, o Options) (Report, error) {
	o = o.withDefaults()
	for range 3 {
		report, err := run(ctx, r, o)
		if !errors.Is(err, repo.ErrRaced) {
			return report, err
		}
	}
	return Report{}, repo.ErrRaced
}

func run(ctx context.Context, r *repo.Repo, o Options) (report Report, err error) {
	c, err := r.Collection(ctx)
	if err != nil {
		return report, err
	}
	defer func() {
		if err != nil && ctx.Err() == nil && c.Overtaken(ctx) {
			err = repo.ErrRaced
		}
	}()
	if report.Adopted = c.Adopted(); !report.Adopted {
		if done, err := propose(ctx, r, c, o, &report); done || err != nil {
			return report, err
		}
	} else if o.DryRun {
		return report, nil
	}
	return report, finish(ctx, r, c, o, &report)
}

// finish carries a plan out.
func finish(ctx context.Context, r *repo.Repo, c *repo.Collection, o Options, report *Report) error {
	if err := settle(ctx, c, o); err != nil {
		return err
	}
	if err := c.Reread(ctx); err != nil {
		return err
	}
	v, err := vacate(ctx, r, c, o)
	if err != nil {
		return err
	}
	report.Rescued, report.Spared = v.stats, len(v.spared)
	if err := c.Close(ctx, v.index); err != nil {
		return err
	}
	report.FreedSize = c.Freed() - v.stats.Files
	if err := report.sweep(ctx, c); err != nil {
		return err
	}
	return r.Reserve(ctx)
}

// sweep deletes what may go.
func (report *Report) sweep(ctx context.Context, c *repo.Collection) error {
	swept, err := c.Sweep(ctx)
	report.Deleted, report.Held = swept.Deleted, swept.Held
	return err
}

// FoldAfter is the number of commits from which Fold does its work: until then
// a reader fetches that many index segments one by one.
const FoldAfter = 64

// errBusy ends a fold that would have to wait.
var errBusy = errors.New("gc: another client is at work")

// Fold merges the index segments of the commits since the last collection, if
// there are more than FoldAfter of them: a collection that removes no backup,
// only checkpoints that have served, and moves no blob. A writer calls it after its commit, so that a repository
// which nobody ever prunes stays fast to open. It waits for nobody: when
// another client is at work, it leaves the fold to a later writer. It reports
// whether it folded.
func Fold(ctx context.Context, r *repo.Repo, o Options) (bool, error) {
	o = o.withDefaults()
	// Nearly every backup asks in vain: look before everything is listed.
	if n, err := r.Unfolded(ctx); err != nil || n <= FoldAfter {
		return false, err
	}
	c, err := r.Collection(ctx)
	if err != nil || c.Unfolded() <= FoldAfter || c.Adopted() && !c.Folding() {
		return false, err
	}
	unsettled, err := c.Unsettled(ctx)
	if err != nil || slices.ContainsFunc(unsettled, func(w repo.Waiting) bool { return !o.Dead(w) }) {
		return false, err
	}
	if !c.Adopted() {
		if err := c.Propose(ctx, nil, c.Superseded()); err != nil {
			return false, notRaced(err)
		}
	}
	o.Patience = math.MaxInt64
	o.Sleep = func(context.Context, time.Duration) error { return errBusy }
	err = finish(ctx, r, c, o, new(Report))
	return err == nil, notRaced(err)
}

// notRaced takes being overtaken for no failure.
func notRaced(err error) error {
	if errors.Is(err, repo.ErrRaced) || errors.Is(err, errBusy) {
		return nil
	}
	return err
}

// propose surveys the repository and makes the plan. It reports true when
// there is nothing more to do.
func propose(ctx context.Context, r *repo.Repo, c *repo.Collection, o Options, report *Report) (bool, error) {
	marks := c.Index().NewMarks()
	if err := markAll(ctx, r, c, marks, o.Workers); err != nil {
		return false, err
	}
	sizes := c.PackSizes()
	report.Plan = Make(weigh(marks, sizes, c.HeldPacks()), o.Limits)
	report.Unnamed = c.Unnamed()
	report.PacksTotal = len(sizes)
	for _, id := range report.Unnamed {
		report.UnnamedBytes += sizes[id]
	}
	report.FreedSize = report.DeleteBytes + report.UnnamedBytes + report.RepackBytes - report.RescueBytes
	forgotten := c.Dropping()
	ids := make([]crypto.SessionID, len(forgotten))
	for i, b := range forgotten {
		ids[i] = b.ID
	}
	report.drops(c, ids)
	o.Planned(*report)
	if o.DryRun {
		return true, nil
	}
	leftovers, err := c.Leftovers(ctx, o.Dead)
	if err != nil {
		return false, err
	}
	if !leftovers && len(forgotten)+len(report.Delete)+len(report.Repack)+c.Unfolded() == 0 {
		report.Nothing = true
		return true, report.sweep(ctx, c) // what an interrupted collection left
	}
	if ids, err = c.Drop(ctx, forgotten); err != nil {
		return false, err
	}
	report.drops(c, ids)
	return false, c.Propose(ctx, report.Condemned(), ids)
}

// drops tells backups that go from checkpoints.
func (report *Report) drops(c *repo.Collection, ids []crypto.SessionID) {
	report.Dropped, report.Served = nil, nil
	for _, id := range ids {
		if c.IsCheckpoint(id) {
			report.Served = append(report.Served, id)
		} else {
			report.Dropped = append(report.Dropped, id)
		}
	}
}

// markAll marks what backups refer to, and then what checkpoints hold: in this
// order, since a page that is marked already is not followed. Backups that
// ought to be whole come first for the same reason: a page that a backup known
// to have lost something shares with them is followed strictly.
func markAll(ctx context.Context, r *repo.Repo, c *repo.Collection, marks *index.Marks, workers int) error {
	var whole, lacking []*snapshot.Backup
	for _, b := range c.Roots() {
		if c.Lacking(b.ID) {
			lacking = append(lacking, b)
		} else {
			whole = append(whole, b)
		}
	}
	if err := mark(ctx, r, marks, whole, refuse, workers); err != nil {
		return err
	}
	if err := mark(ctx, r, marks, lacking, skip, workers); err != nil {
		return err
	}
	for _, s := range c.Held() {
		for id, loc := range s.All() {
			marks.Mark(loc.Kind, id)
		}
	}
	return nil
}

// settle waits for sessions that show signs of life.
func settle(ctx context.Context, c *repo.Collection, o Options) error {
	return c.SettleWith(ctx, repo.Patience{For: o.Patience, Dead: o.Dead, Wait: o.Wait, Now: o.Now, Sleep: o.Sleep})
}
