// Package repair makes a damaged repository sound again.
//
// Everything that still restores goes on restoring, and what is lost is said
// exactly: which blobs, and which paths of which backups. The index is rebuilt
// from the directories of packs where index segments are damaged or missing;
// what can be read of damaged packs is copied into new ones; backups that have
// lost something get a note, on account of which the next backup trusts
// nothing of them unseen, so that lost content is stored again where the source
// still has it - and then the old backups, too, are whole.
//
// A repair is one generation of the protocol (docs/format.md section 11): it
// waits for unfinished sessions like a collection, can be interrupted anywhere,
// and is safe beside writers, readers and collectors. Its plan condemns the
// damaged packs and nothing else. It is idempotent: a second run finds nothing
// to do.
//
// The caveats:
//
//   - Without Options.ReadData only directories of packs and the pages of trees
//     are read; damage of other blobs stays unknown.
//   - Packs that nothing names any more are left to the collector, except that
//     blobs which a backup needs are copied from them.
//   - Commits and events that cannot be read are never removed unless told.
//   - A newest plan or done that is damaged or missing stops everything
//     (repo.ErrGeneration): no older one may stand in for it, and whoever was
//     at work under it may still be. Options.RebuildGeneration says that nobody
//     is. Then a new generation is made of all commits that can be read: one
//     that a lost collection had left out - which came too late, and whose
//     writer was told - may be there again, whole or with a note of what it
//     lacks; what was dropped stays dropped, as its events say.
package repair

import (
	"context"
	"errors"
	"runtime"
	"slices"
	"time"

	"vault/crypto"
	"vault/pack"
	"vault/repo"
)

// Options of a repair.
type Options struct {
	DryRun  bool // change nothing: Run is Survey
	Workers int  // default: the number of CPUs, at most 8

	// ReadData reads every pack whole; otherwise only their directories.
	ReadData bool
	// DropUnreadable removes commits and events that cannot be read, and gives
	// up commits that are missing, so that collections can run again. What such
	// a commit held is lost for good, unless other backups share it.
	DropUnreadable bool
	// RebuildGeneration makes a new generation although the newest plan or done
	// is lost. It says that no other client uses the repository, not even one
	// that is suspended.
	RebuildGeneration bool

	// Patience is how long an unfinished session of another client may show no
	// sign of life before it is given up. Default 10 minutes.
	Patience time.Duration
	Dead     func(repo.Waiting) bool                    // whose client is known to be gone; may be nil
	Wait     func([]repo.Waiting)                       // called before each pause; may be nil
	Now      func() time.Time                           // default: the repository's clock
	Sleep    func(context.Context, time.Duration) error // default: really
}

func (o Options) withDefaults() Options {
	if o.Workers <= 0 {
		o.Workers = min(runtime.GOMAXPROCS(0), 8)
	}
	if o.Patience <= 0 {
		o.Patience = 10 * time.Minute
	}
	return o
}

// Damage is an object that is not what was written, and why; an Err that is
// fs.ErrNotExist says that it is missing.
type Damage struct {
	Object string
	Err    error
}

// Findings are what is wrong, and what a repair would do about it.
type Findings struct {
	Generation error // not nil: the newest plan or done is lost; what follows is then unknown, unless RebuildGeneration was set

	Index    []Damage // segments that count; they are replaced
	Packs    []Damage // packs that the index describes; what they hold is rescued, then they go
	Commits  []Damage // backups that nothing can be said about; removed only by DropUnreadable
	Events   []Damage // likewise
	Sessions []Damage // announcements of writers; they are given up
	Plan     string   // a damaged plan without meaning; removed

	MissingCommits []crypto.SessionID // backups that were there and are gone
	Undescribed    []pack.ID          // sound packs that get a place in the index
	Unreadable     []Damage           // packs that no index describes and whose directory cannot be read: nothing can be said about them

	Rescuable Count              // blobs that can be copied out of damaged or given-up packs
	Lost      Loss               // what backups refer to and is not to be had
	Unnoted   []crypto.SessionID // backups whose note does not say what they have lost, or that they have lost nothing
}

// Count counts blobs.
type Count struct{ Blobs, Bytes int64 }

// Report is what a repair did.
type Report struct {
	Found       Findings // when it began
	Nothing     bool     // there was nothing to do
	Adopted     bool     // an unfinished plan, of a collection or a repair, was carried out
	Generations int      // published
	Rescued     Count
	Noted       []crypto.SessionID // backups whose note was made or changed
	Removed     []string           // unreadable objects
	Deleted     int                // objects that the new generation has no need of
	Lost        Loss               // what is lost now
}

// Survey reads only, and tells what is wrong and what Run would do. It is a
// view of one moment: what is stored meanwhile by others may be in it or not.
func Survey(ctx context.Context, r *repo.Repo, o Options) (Findings, error) {
	t := newTask(r, o)
	c, err := t.begin(ctx)
	if errors.Is(err, repo.ErrGeneration) {
		return Findings{Generation: err}, nil
	}
	if err != nil {
		return Findings{}, err
	}
	defer c.Release()
	s, err := t.survey(ctx, c)
	return s.found, err
}

// rounds bound how often a repair begins anew because others race with it or
// an unfinished plan has to be carried out first.
const rounds = 5

// Run repairs the repository. With a newest generation that is lost it changes
// nothing and returns repo.ErrGeneration, unless the options say otherwise.
func Run(ctx context.Context, r *repo.Repo, o Options) (report Report, err error) {
	if o.DryRun {
		report.Found, err = Survey(ctx, r, o)
		return report, err
	}
	t := newTask(r, o)
	for round := range rounds {
		again, err := t.round(ctx, round == 0, &report)
		switch {
		case errors.Is(err, repo.ErrRaced):
		case err != nil:
			return report, err
		case !again:
			return report, r.Refresh(ctx)
		}
	}
	return report, repo.ErrRaced
}

// task is one run.
type task struct {
	r        *repo.Repo
	o        Options
	verdicts map[pack.ID]error // of packs examined
}

func newTask(r *repo.Repo, o Options) *task {
	return &task{r: r, o: o.withDefaults(), verdicts: map[pack.ID]error{}}
}

func (t *task) begin(ctx context.Context) (*repo.Collection, error) {
	return t.r.Salvage(ctx, repo.SalvageOptions{GiveUp: t.o.DropUnreadable, Rebuild: t.o.RebuildGeneration})
}

// round surveys, repairs what one generation can, and reports whether another
// round has to follow: a generation that somebody else has planned cannot
// condemn what this survey has found.
func (t *task) round(ctx context.Context, first bool, report *Report) (again bool, err error) {
	c, err := t.begin(ctx)
	if err != nil {
		return false, err
	}
	defer c.Release()
	s, err := t.survey(ctx, c)
	if err != nil {
		return false, err
	}
	if first {
		report.Found = s.found
		report.Nothing = !s.pressing(t.o) && len(s.notes) == 0 && s.found.Plan == "" && !(t.o.DropUnreadable && len(s.found.Events) > 0)
	}
	doubtful := t.o.DropUnreadable && len(s.found.Sessions) > 0 && len(s.found.Commits) > 0
	if s.found.Plan != "" {
		if err := c.DropRedundantPlan(ctx); err != nil {
			return false, err
		}
	}
	if s.pressing(t.o) {
		adopted, err := t.generation(ctx, c, s, report)
		if adopted || err != nil {
			return adopted, err
		}
		if s, err = t.reload(ctx, c); err != nil {
			return false, err
		}
	}
	if err := t.conclude(ctx, c, s, report); err != nil {
		return false, err
	}
	swept, err := t.r.Sweep(ctx) // also what an interrupted run has left
	report.Deleted += swept.Deleted
	if err == nil && doubtful {
		// Sessions whose commits have just been given up are settled by another generation.
		left, err := c.DamagedSessions(ctx)
		return len(left) > 0, err
	}
	return false, err
}

// pressing reports whether a generation is needed.
func (s *survey) pressing(o Options) bool {
	f := &s.found
	return s.rebuilding || len(f.Index)+len(f.Packs)+len(f.Undescribed)+len(f.Sessions) > 0 || f.Rescuable.Blobs > 0 ||
		o.DropUnreadable && len(f.Commits)+len(f.MissingCommits) > 0
}

// generation carries one generation out, up to its done; its own, or the one
// that is planned already.
func (t *task) generation(ctx context.Context, c *repo.Collection, s *survey, report *Report) (adopted bool, err error) {
	if adopted = c.Adopted(); !adopted {
		if err := c.ProposeRepair(ctx, s.condemned()); err != nil {
			return false, err
		}
	}
	report.Adopted = report.Adopted || adopted
	if err := c.SettleWith(ctx, repo.Patience{For: t.o.Patience, Dead: t.o.Dead, Wait: t.o.Wait, Now: t.o.Now, Sleep: t.o.Sleep}); err != nil {
		return adopted, err
	}
	if err := c.Reread(ctx); err != nil {
		return adopted, err
	}
	w, err := c.Rescuer(ctx)
	if err != nil {
		return adopted, err
	}
	defer w.Abort()
	lane := w.Lane()
	put := func(kind crypto.BlobKind, data []byte) error {
		_, _, err := lane.Put(ctx, kind, data)
		return err
	}
	again := &survey{c: c, workers: t.o.Workers}
	if err := again.gather(ctx, t); err != nil {
		return adopted, err
	}
	rescued, err := again.rescueAll(ctx, t, c.Condemned, put)
	if err != nil {
		return adopted, err
	}
	if err := w.Flush(); err != nil {
		return adopted, err
	}
	if err := c.Close(ctx, w.Published()); err != nil {
		return adopted, err
	}
	report.Generations++
	report.Rescued.Blobs += rescued.Blobs
	report.Rescued.Bytes += rescued.Bytes
	return adopted, nil
}

// reload reads what is there now, and follows it.
func (t *task) reload(ctx context.Context, c *repo.Collection) (*survey, error) {
	if err := c.Reload(ctx); err != nil {
		return nil, err
	}
	s := &survey{c: c, workers: t.o.Workers}
	return s, s.trace(ctx)
}

// conclude removes what cannot be read, if told, and writes down what is lost.
func (t *task) conclude(ctx context.Context, c *repo.Collection, s *survey, report *Report) (err error) {
	if t.o.DropUnreadable && len(c.Broken()) > 0 {
		if report.Removed, err = c.RemoveUnreadable(ctx); err != nil {
			return err
		}
		if s, err = t.reload(ctx, c); err != nil { // events were what notes are made of
			return err
		}
	}
	report.Lost = s.found.Lost
	for _, n := range s.notes {
		if err := c.NoteLost(ctx, n.backup, n.value); err != nil {
			return err
		}
		report.Noted = append(report.Noted, n.backup)
	}
	return nil
}

func sortDamage(list []Damage) {
	slices.SortFunc(list, func(a, b Damage) int {
		switch {
		case a.Object < b.Object:
			return -1
		case a.Object > b.Object:
			return 1
		}
		return 0
	})
}
