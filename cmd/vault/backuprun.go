package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"vault/internal/display"
	"vault/pack"
	"vault/repo"
	"vault/repo/gc"
	"vault/snapshot"
	"vault/snapshot/archive"
)

// backupRun is one backup under way.
type backupRun struct {
	a        *app
	f        backupFlags
	repo     *repo.Repo
	w        *repo.Writer
	ended    bool // w has committed, or was asked to
	volumes  []archive.Volume
	excludes *archive.Excludes
	excluded []uint64        // entries left out, by volume
	backup   snapshot.Backup // what will be committed
	parents  map[string]*snapshot.Backup
	level    *pack.Level
	report   *backupReport
}

// restarts is how often a backup starts over by itself whose session was given up
// by a collection.
const restarts = 2

func (a *app) backup(ctx context.Context, f backupFlags, args []string) (err error) {
	b := &backupRun{a: a, f: f, report: newBackupReport(a.ui)}
	if b.excludes, err = f.excludes.parse(a.ui.warn); err != nil {
		return err
	}
	if err := b.describe(); err != nil {
		return err
	}
	if b.volumes, err = f.volumes(args); err != nil {
		return err
	}
	for i := range b.volumes {
		b.volumes[i].Excludes = b.excludes
	}
	var init *repo.InitOptions
	if f.init && !f.dryRun {
		init = &repo.InitOptions{Params: repo.DefaultParams()}
	}
	if b.repo, err = a.open(ctx, init); err != nil {
		return err
	}
	defer closing(b.repo, &err)
	for again := restarts; ; again-- {
		err := b.attempt(ctx)
		lost := errors.Is(err, repo.ErrKilled) || errors.Is(err, repo.ErrVoid)
		if !lost || again == 0 || f.stdin != "" || ctx.Err() != nil { // standard input is gone
			return err
		}
		a.ui.warn("backup "+b.w.ID().Short(), fmt.Errorf("%w: starting over", err))
	}
}

// attempt is one session: from its announcement to its commit, or to the
// checkpoint that keeps what it has stored.
func (b *backupRun) attempt(ctx context.Context) error {
	end, err := b.begin(ctx)
	if err != nil {
		return err
	}
	defer end()
	if err := b.chooseParents(); err != nil {
		return err
	}
	err = b.read(ctx)
	if ctx.Err() != nil {
		return b.interrupted(ctx)
	}
	if err != nil {
		return err
	}
	if err := b.refused(); err != nil {
		b.tell("failed", "")
		return err
	}
	switch {
	case b.f.dryRun:
		b.tell(b.backup.State().String(), "")
		return b.outcome()
	case b.f.skipUnchanged && b.unchanged():
		b.tell("unchanged", "")
		return nil
	}
	b.ended = true
	committed, err := b.w.Commit(&b.backup)
	if err != nil {
		return fmt.Errorf("commit backup: %w", err)
	}
	b.tell(committed.State().String(), committed.ID.String())
	b.fold(ctx)
	return b.outcome()
}

// begin announces a session. A signal ends what is read but not the Writer, so that
// what it holds can still be stored; only while it begins, the signal ends it too.
func (b *backupRun) begin(ctx context.Context) (end func(), err error) {
	writing, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
	detach := context.AfterFunc(ctx, func() { cancel(context.Cause(ctx)) })
	b.ended = false
	b.w, err = b.repo.Begin(writing, repo.WriterOptions{DryRun: b.f.dryRun, Compression: b.level})
	begun := detach()
	switch {
	case err != nil:
		cancel(nil)
		return nil, fmt.Errorf("begin backup: %w", err)
	case !begun:
		b.w.Abort()
		cancel(nil)
		return nil, context.Cause(ctx)
	}
	return func() {
		if !b.ended {
			b.w.Abort()
		}
		cancel(nil)
	}, nil
}

// interrupted ends a backup after a signal.
func (b *backupRun) interrupted(ctx context.Context) error {
	f := &failure{code: exitInterrupted, err: context.Cause(ctx)}
	if b.f.dryRun {
		return f
	}
	if !b.a.ui.json && !b.a.ui.quiet {
		b.a.ui.complain("interrupted: storing what was read so far; interrupt again to stop at once")
	}
	kept, err := b.checkpoint()
	switch {
	case err != nil:
		f.hint = fmt.Sprintf("what was stored so far could not be kept: %v", err)
	case kept:
		f.hint = fmt.Sprintf("what was stored so far, %s, is used by the next run", display.Bytes(uint64(b.w.Stats().Stored)))
	default:
		f.hint = "nothing new had been stored"
	}
	return f
}

// checkpoint ends the session so that the next backup need not store again what
// this one has stored. A later backup of the same host and group supersedes it.
func (b *backupRun) checkpoint() (kept bool, err error) {
	b.ended = true
	return b.w.Checkpoint(&snapshot.Backup{
		Host: b.backup.Host, Group: b.backup.Group, User: b.backup.User,
		Time: b.backup.Time, Started: b.backup.Started, Finished: snapshot.TimeOf(time.Now()),
	})
}

// fold keeps a repository fast to open that nobody prunes. Whether it succeeds does
// not matter for the backup.
func (b *backupRun) fold(ctx context.Context) {
	if _, err := gc.Fold(ctx, b.repo, gc.Options{Dead: sessionDead}); err != nil && ctx.Err() == nil {
		b.a.ui.warn("index", fmt.Errorf("the backup is stored, but the index was not put together: %w", err))
	}
}

// chooseParents gives each volume the newest backup of the same host and group
// that has a volume of its name, or the one that was asked for.
func (b *backupRun) chooseParents() error {
	b.parents, b.backup.Parents = map[string]*snapshot.Backup{}, nil
	if b.f.parent == "none" {
		return nil
	}
	candidates := snapshot.Select(b.w.Backups(), snapshot.Filter{Host: b.f.host})
	if b.f.parent != "" {
		m, err := snapshot.ByPrefix(b.w.Backups(), b.f.parent)
		if err != nil {
			return fmt.Errorf("parent: %w", err)
		}
		candidates = []*snapshot.Backup{m.Backup}
	}
	for i := range b.volumes {
		v := &b.volumes[i]
		v.Parent = nil
		for _, p := range slices.Backward(candidates) {
			saved := p.Volume(v.Name)
			if saved == nil || saved.Root == nil || b.f.parent == "" && p.Group != b.f.group {
				continue
			}
			v.Parent = &archive.Parent{Root: saved.Root, ScanStarted: saved.ScanStarted, Trusted: b.w.Trusts(p.ID)}
			b.parents[v.Name] = p
			if !slices.Contains(b.backup.Parents, p.ID) && len(b.backup.Parents) < 64 {
				b.backup.Parents = append(b.backup.Parents, p.ID)
			}
			break
		}
	}
	return nil
}

// read reads and stores all volumes.
func (b *backupRun) read(ctx context.Context) error {
	stored := &storedByVolume{w: b.w}
	report, err := archive.Run(ctx, archive.Options{
		NewStore:      func() archive.Store { return b.w.Lane() },
		Reader:        b.repo,
		Hasher:        b.repo,
		Chunker:       b.repo.Chunker(),
		Thresholds:    b.repo.Params().Trees,
		OneFileSystem: b.f.oneFileSystem,
		Items:         b.a.ui.verbose > 0,
		Observe: func(e archive.Event) {
			if e.Kind == archive.EventVolume {
				stored.next()
			}
			b.report.observe(e)
		},
	}, b.volumes)
	if err == nil {
		err = b.w.Flush()
	}
	if err != nil {
		return fmt.Errorf("back up: %w", err)
	}
	stored.next()
	for i := range report.Volumes {
		report.Volumes[i].BytesStored = stored.of(i)
	}
	b.backup.Volumes, b.excluded = report.Volumes, report.Excluded
	b.backup.Finished = snapshot.TimeOf(time.Now())
	return nil
}

// storedByVolume takes the number of bytes stored at the beginning of each
// volume and at the end. What the writer gathers across the boundary of two
// volumes counts for the second.
type storedByVolume struct {
	w    *repo.Writer
	seen []int64
}

func (s *storedByVolume) next() { s.seen = append(s.seen, s.w.Stats().Stored) }

func (s *storedByVolume) of(i int) uint64 {
	if i+1 >= len(s.seen) {
		return 0
	}
	return uint64(s.seen[i+1] - s.seen[i])
}

// refused returns why nothing is to be stored, if so.
func (b *backupRun) refused() error {
	failed := 0
	for i := range b.backup.Volumes {
		if b.backup.Volumes[i].State == snapshot.Failed {
			failed++
		}
	}
	switch {
	case failed == len(b.backup.Volumes):
		return &failure{code: exitFailure, err: errors.New("nothing was stored: every volume failed")}
	case b.f.requireAll && !b.backup.Complete():
		return &failure{code: exitFailure, err: errors.New("nothing was stored: not every volume is complete, and --require-all is given")}
	}
	return nil
}

// unchanged reports whether all volumes are those of one parent, byte for byte.
func (b *backupRun) unchanged() bool {
	if len(b.backup.Parents) != 1 || !b.backup.Complete() {
		return false
	}
	for i := range b.backup.Volumes {
		v := &b.backup.Volumes[i]
		p := b.parents[v.Name]
		if p == nil || len(p.Volumes) != len(b.backup.Volumes) || !sameTree(p.Volume(v.Name).Root, v.Root) {
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

// outcome is success, or a partial backup.
func (b *backupRun) outcome() error {
	if b.backup.Complete() {
		return nil
	}
	return &failure{code: exitPartial, told: b.a.ui.json,
		err:  errors.New("the backup is partial: some of the source could not be read"),
		hint: "the lines above say what; the rest is stored"}
}
