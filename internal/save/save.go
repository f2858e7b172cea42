// Package save takes one backup: from the announcement of a session, over the
// reading of all volumes, to the one commit - or to the checkpoint that keeps what
// was stored for the next attempt.
//
// The idea. A session may be given up by a garbage collection, and then the
// backup starts over by itself. Each volume is compared with the newest backup of
// the same host and group that has a volume of its name. What a caller wants done
// around the reading - to stop an application, for instance - is a function that is
// handed the reading; a pass before it (Options.Prewarm) stores most of what there is
// while the application still runs, so that the second one finds little that is new.
//
// Caveats. Ending ctx ends the reading but not the Writer, so that what it holds can
// still be stored: whoever wants to stop at once ends the process.
package save

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"vault/pack"
	"vault/repo"
	"vault/repo/gc"
	"vault/snapshot"
	"vault/snapshot/archive"
)

// Options are what a backup is made of.
type Options struct {
	// Volumes are what to read; Run chooses their parents.
	Volumes []archive.Volume
	// Backup is what the backup says about itself: host, group, user, tags, time and start. Run fills in the rest.
	Backup snapshot.Backup
	// Parent is the id, or a prefix of it, of the backup to compare with; NoParent reads
	// everything; empty is the newest of the same host and group.
	Parent string

	Compression   *pack.Level // nil for that of the repository
	OneFileSystem bool
	DryRun        bool // read and compare, store nothing
	SkipUnchanged bool // store no backup that equals its parent
	RequireAll    bool // store nothing unless every volume is complete
	Once          bool // the volumes can be read only once, so do not start over

	// Prewarm reads every volume of paths once before Around is called. What goes wrong
	// in that pass is not told: the second one will tell it.
	Prewarm bool
	// Around is called with the reading of all volumes and must call it once. When it returns an
	// error nothing is committed. Nil reads. The reading returns soon after the context that it is
	// given has ended, whatever the store does; not all of it need be stored when it returns.
	Around func(ctx context.Context, read func(context.Context) error) error
	// Patience is how long the reading handed to Around may wait without an answer of the
	// store to anything: then it returns ErrStalled. 0 means that it waits as long as the store does.
	Patience time.Duration
	// Judge looks at a backup that was read whole, before it is committed, and may refuse it.
	Judge func(b *snapshot.Backup) error

	// Keeping is called when ctx has ended the reading, before what was stored is kept. May be nil.
	Keeping func()

	Items   bool                // an event for every entry
	Observe func(archive.Event) // may be nil
	Warn    func(about string, err error)
	Dead    func(repo.Waiting) bool // as in gc.Options
	Now     func() time.Time        // nil means time.Now
}

// NoParent is the Options.Parent that compares with no backup.
const NoParent = "none"

// Outcome is how a backup ended.
type Outcome uint8

// The outcomes. None of them is the zero value.
const (
	Committed   Outcome = iota + 1
	Unchanged           // it equals its parent, and was not wanted then
	Dry                 // a dry run
	Refused             // nothing was stored: Report.Err says why
	Interrupted         // ctx has ended
)

// Report is what became of a backup.
type Report struct {
	Outcome  Outcome
	Backup   snapshot.Backup             // with its ID if Outcome is Committed
	Parents  map[string]*snapshot.Backup // by the name of the volume
	Excluded []uint64                    // entries left out, by volume
	Stats    repo.Stats
	Reading  time.Duration // how long the reading handed to Around took
	Kept     bool          // Interrupted: there is a checkpoint
	KeepErr  error         // Interrupted: why there is none although there was something to keep
	Err      error         // Refused: why
}

// Reasons to refuse a backup.
var (
	ErrNothing  = errors.New("nothing was stored: every volume failed")
	ErrNotWhole = errors.New("nothing was stored: not every volume is complete, and all of them are required")
)

// restarts is how often a backup starts over whose session was given up by a collection.
const restarts = 2

// Run takes a backup. An error is one of the store, of reading back a parent, or of
// Around; what is wrong with the sources is in the Report.
func Run(ctx context.Context, r *repo.Repo, o Options) (Report, error) {
	if o.Now == nil {
		o.Now = time.Now
	}
	for again := restarts; ; again-- {
		s := &session{r: r, o: &o, volumes: slices.Clone(o.Volumes)}
		s.Backup = o.Backup
		err := s.attempt(ctx)
		lost := errors.Is(err, repo.ErrKilled) || errors.Is(err, repo.ErrVoid)
		if !lost || again == 0 || o.Once || ctx.Err() != nil {
			return s.Report, err
		}
		s.warn("backup "+s.w.ID().Short(), fmt.Errorf("%w: starting over", err))
	}
}

// session is one attempt.
type session struct {
	Report
	r       *repo.Repo
	o       *Options
	w       *repo.Writer
	ended   bool // w has committed, or was asked to
	volumes []archive.Volume
	quit    func(cause error) // ends what w waits for
	gauge   gauge
	kept    kept
	stored  storedByVolume

	telling sync.Mutex // guards silent, and is held while Observe is called
	silent  bool
}

func (s *session) warn(about string, err error) {
	if s.o.Warn != nil {
		s.o.Warn(about, err)
	}
}

// attempt is one session: from its announcement to its commit, or to the
// checkpoint that keeps what it has stored.
func (s *session) attempt(ctx context.Context) error {
	end, err := s.begin(ctx)
	if err != nil {
		return err
	}
	defer end()
	if err := s.chooseParents(); err != nil {
		return err
	}
	err = s.read(ctx)
	s.Stats = s.w.Stats()
	switch {
	case ctx.Err() != nil:
		s.interrupted()
		return nil
	case err != nil:
		return err
	}
	if s.Err = s.refused(); s.Err != nil {
		s.Outcome = Refused
		return nil
	}
	switch {
	case s.o.DryRun:
		s.Outcome = Dry
		return nil
	case s.o.SkipUnchanged && s.unchanged():
		if err := s.r.Present(ctx); err != nil { // there is no commit that would tell
			return fmt.Errorf("look for the repository: %w", err)
		}
		s.Outcome = Unchanged
		return nil
	}
	s.ended = true
	committed, err := s.w.Commit(&s.Backup)
	if err != nil {
		return fmt.Errorf("commit backup: %w", err)
	}
	s.Outcome, s.Backup = Committed, *committed
	s.Stats = s.w.Stats()
	s.fold(ctx)
	return nil
}

// begin announces the session. A signal ends what is read but not the Writer;
// only while it begins, the signal ends it too.
func (s *session) begin(ctx context.Context) (end func(), err error) {
	writing, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
	s.quit = cancel
	detach := context.AfterFunc(ctx, func() { cancel(context.Cause(ctx)) })
	s.w, err = s.r.Begin(writing, repo.WriterOptions{
		DryRun: s.o.DryRun, Compression: s.o.Compression,
		Checkpoints: &repo.Checkpoints{
			Host: s.o.Backup.Host, User: s.o.Backup.User, Group: s.o.Backup.Group, Time: s.o.Backup.Time, Started: s.o.Backup.Started,
		},
	})
	begun := detach()
	switch {
	case err != nil:
		cancel(nil)
		return nil, fmt.Errorf("begin backup: %w", err)
	case !begun:
		s.w.Abort()
		cancel(nil)
		return nil, context.Cause(ctx)
	}
	return func() {
		if !s.ended {
			s.w.Abort()
		}
		cancel(nil)
	}, nil
}

// interrupted keeps what the session has stored. A later backup of the same host and group supersedes it.
func (s *session) interrupted() {
	s.Outcome = Interrupted
	if s.o.DryRun {
		return
	}
	if s.o.Keeping != nil {
		s.o.Keeping()
	}
	s.ended = true
	s.Kept, s.KeepErr = s.w.Checkpoint(&snapshot.Backup{
		Host: s.Backup.Host, Group: s.Backup.Group, User: s.Backup.User,
		Time: s.Backup.Time, Started: s.Backup.Started, Finished: snapshot.TimeOf(s.o.Now()),
	})
	s.Stats = s.w.Stats()
}

// fold keeps a repository fast to open that nobody prunes. Whether it succeeds does
// not matter for the backup.
func (s *session) fold(ctx context.Context) {
	if s.w.Unfolded() < gc.FoldAfter { // with this one there are no more than that
		return
	}
	if _, err := gc.Fold(ctx, s.r, gc.Options{Dead: s.o.Dead}); err != nil && ctx.Err() == nil {
		s.warn("index", fmt.Errorf("the backup is stored, but the index was not put together: %w", err))
	}
}

// chooseParents gives each volume the newest backup of the same host and group
// that has a volume of its name, or the one that was asked for.
func (s *session) chooseParents() error {
	s.Parents, s.Backup.Parents = map[string]*snapshot.Backup{}, nil
	if s.o.Parent == NoParent {
		return nil
	}
	candidates := snapshot.Select(s.w.Backups(), snapshot.Filter{Host: s.Backup.Host})
	if s.o.Parent != "" {
		m, err := snapshot.ByPrefix(s.w.Backups(), s.o.Parent)
		if err != nil {
			return fmt.Errorf("parent: %w", err)
		}
		candidates = []*snapshot.Backup{m.Backup}
	}
	for i := range s.volumes {
		v := &s.volumes[i]
		for _, p := range slices.Backward(candidates) {
			saved := p.Volume(v.Name)
			if saved == nil || saved.Root == nil || s.o.Parent == "" && p.Group != s.Backup.Group {
				continue
			}
			v.Parent = &archive.Parent{Root: saved.Root, ScanStarted: saved.ScanStarted, Trusted: s.w.Trusts(p.ID)}
			s.Parents[v.Name] = p
			if !slices.Contains(s.Backup.Parents, p.ID) && len(s.Backup.Parents) < 64 {
				s.Backup.Parents = append(s.Backup.Parents, p.ID)
			}
			break
		}
	}
	return nil
}

// refused returns why nothing is to be stored, if so.
func (s *session) refused() error {
	failed := 0
	for i := range s.Backup.Volumes {
		if s.Backup.Volumes[i].State == snapshot.Failed {
			failed++
		}
	}
	switch {
	case failed == len(s.Backup.Volumes):
		return ErrNothing
	case s.o.RequireAll && !s.Backup.Complete():
		return ErrNotWhole
	case s.o.Judge != nil:
		return s.o.Judge(&s.Backup)
	}
	return nil
}

// unchanged reports whether all volumes are those of one parent, byte for byte.
func (s *session) unchanged() bool {
	if len(s.Backup.Parents) != 1 || !s.Backup.Complete() {
		return false
	}
	for i := range s.Backup.Volumes {
		v := &s.Backup.Volumes[i]
		p := s.Parents[v.Name]
		if p == nil || len(p.Volumes) != len(s.Backup.Volumes) || !sameTree(p.Volume(v.Name).Root, v.Root) {
			return false
		}
	}
	return true
}

func sameTree(a, b *snapshot.Node) bool {
	x, xerr := snapshot.AppendBody(nil, a)
	y, yerr := snapshot.AppendBody(nil, b)
	return xerr == nil && yerr == nil && bytes.Equal(x, y)
}
