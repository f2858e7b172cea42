//go:build linux

package run

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"vault/crypto"
	"vault/internal/app/config"
	"vault/internal/app/record"
	"vault/internal/app/source/pg"
	"vault/internal/save"
	"vault/pack"
	"vault/repo"
	"vault/snapshot"
	"vault/snapshot/archive"
)

// backup is one run under way.
type backup struct {
	work
	o         Options
	app       *config.App
	repo      *repo.Repo
	sources   []source
	classes   map[string]*config.Volume
	journal   *Journal          // nil while there is nothing to undo
	cancel    func(cause error) // ends the run
	hooked    bool              // before has begun
	stored    bool              // the backup is committed
	tended    bool              // retention and locks had their turn
	leaveErr  error
	retainErr error // the backup is none the worse for it
}

// Backup runs one application. What happened is in the report, and in the record of
// the application.
func Backup(ctx context.Context, o Options, app string) Report {
	b := &backup{o: o, app: o.Config.Apps[app]}
	b.opts = &b.o
	b.report.Activity = record.Activity{App: app, Kind: record.Backup, Host: o.Host, Start: o.now()}
	b.report.DryRun = o.DryRun
	if b.app == nil {
		return b.end(ctx, fmt.Errorf("there is no application %q in %s", app, o.Config.File))
	}
	b.report.Destination = DestinationName(*b.app.To)
	if b.app.Host != "" {
		b.report.Host = b.app.Host
	}
	b.equip(b.app)
	return b.end(ctx, b.run(ctx))
}

func (b *backup) run(ctx context.Context) error {
	if b.o.StateDir == "" {
		return errors.New("there is no state directory: set VAULT_STATE_DIR")
	}
	unlock, err := lockApp(ctx, b.o.StateDir, b.app.Name, !b.o.NoWait, func() { b.o.tell(b.app.Name, "waiting", "another process is at work on it") })
	if err != nil {
		return err
	}
	defer unlock()
	if !b.o.DryRun {
		if _, err := b.o.replay(ctx, b.app.Name); err != nil {
			return err
		}
		if j, err := readJournal(b.o.StateDir, b.app.Name); err != nil || j != nil {
			return errors.Join(err, halfRestored(j))
		}
	}
	b.report.Start = b.o.now() // not that of the queue
	b.o.begins(ctx, b.report.Activity)
	timed, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	if limit := time.Duration(b.app.Timeout); limit > 0 {
		defer time.AfterFunc(limit, func() { stop(ErrTimeout) }).Stop()
	}
	b.cancel = stop
	if err := preflight(timed, b.x, &b.app.Preflight, b.o.DryRun); err != nil {
		return ended(timed, err)
	}
	if b.repo, err = b.o.Open(timed, *b.app.To, !b.o.DryRun); err != nil {
		return ended(timed, err)
	}
	defer b.repo.Close()
	err = b.opened(ctx, timed)
	if err != nil && !b.tended && !b.o.DryRun && answers(timed, err) {
		b.retainErr = b.tend(timed, nil) // what is stored must not lose its locks while runs fail
	}
	return err
}

// opened is a run from where its repository is open. Ctx ends with a signal, timed also
// when the time is up.
func (b *backup) opened(ctx, timed context.Context) (err error) {
	k := sourcer{app: b.app, x: b.x, key: dumpKey(b.repo, b.app.Name), beside: filepath.Dir(b.o.Config.File), dry: b.o.DryRun}
	if b.sources, err = k.list(timed); err != nil {
		return ended(timed, err)
	}
	for _, s := range b.sources {
		if s.preflight == nil || b.o.DryRun || s.Class != config.Required {
			continue // of what may be missing it is told when it is read
		}
		if err := s.preflight(timed); err != nil {
			return ended(timed, fmt.Errorf("volume %s: %w", s.Name, err))
		}
	}
	if b.o.DryRun {
		if err := b.expand(timed); err != nil {
			return err
		}
		return b.take(timed)
	}
	return b.hooks(ctx, timed)
}

// dumpKey is what makes two dumps of one database equal. It follows from the keys of
// the repository, which nobody knows who can write to the database alone.
func dumpKey(r *repo.Repo, app string) string {
	id := r.BlobID(crypto.BlobData, []byte("vault: secret of dumps"))
	return pg.RestrictKey(id[:], app)
}

// hooks is a run from the first hook to the last, with the contexts of opened.
func (b *backup) hooks(ctx, timed context.Context) error {
	undo := b.app.Quiesce != nil || len(b.app.Hooks.Finally) > 0
	if undo {
		b.journal = &Journal{App: b.app.Name, Kind: kindRun, Started: b.report.Start.UTC(), PID: os.Getpid(), Finally: commandsOf(b.app.Hooks.Finally), Env: b.x.base}
		if err := writeJournal(b.o.StateDir, b.journal); err != nil {
			return err
		}
	}
	err := b.main(timed)
	after := context.WithoutCancel(ctx)
	if err != nil && !errors.Is(err, ErrSkipped) {
		if herr := b.x.all(after, "on-failure", b.app.Hooks.OnFailure, b.known(err)); herr != nil {
			b.notice(herr.Error())
		}
	}
	if ferr := b.x.all(after, "finally", b.app.Hooks.Finally, b.known(err)); ferr != nil {
		if errors.Is(err, ErrSkipped) {
			err = nil // this is a failure
		}
		err = errors.Join(err, ferr)
	}
	if undo && b.leaveErr == nil {
		if jerr := removeJournal(b.o.StateDir, b.app.Name); jerr != nil {
			b.notice(jerr.Error()) // it is replayed, which does no harm
		}
	}
	return err
}

// main is what may fail between before and the hooks for a failure.
func (b *backup) main(ctx context.Context) error {
	if err := b.x.steps(ctx, "before", b.app.Hooks.Before, nil); err != nil {
		return ended(ctx, err)
	}
	if err := b.expand(ctx); err != nil {
		return ended(ctx, err)
	}
	if err := b.take(ctx); err != nil {
		return errors.Join(b.leaveErr, err)
	}
	var errs []error
	if err := b.x.steps(ctx, "after", b.app.Hooks.After, b.known(nil)); err != nil {
		errs = append(errs, ended(ctx, err))
	}
	b.retainErr = b.tend(ctx, b.retain)
	if s := b.app.Sidecar; s != nil && s.Enabled {
		if err := b.sidecar(ctx); err != nil {
			b.partial = true
			b.notice(err.Error())
		}
	}
	return errors.Join(b.leaveErr, errors.Join(errs...))
}

// expand replaces volumes of lists by what the lists name now.
func (b *backup) expand(ctx context.Context) error {
	var list []source
	for _, s := range b.sources {
		if s.expand == nil {
			list = append(list, s)
			continue
		}
		parts, err := s.expand(ctx, func(wrong error) {
			b.partial = b.partial || s.Class == config.Recommended
			b.notice(wrong.Error())
		})
		if err != nil {
			return err
		}
		list = append(list, parts...)
	}
	b.sources = list
	return nil
}

// ended returns why ctx ended, if it did: that is why the rest failed.
func ended(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}

// take reads the volumes and commits them.
func (b *backup) take(ctx context.Context) error {
	so, err := b.options()
	if err != nil {
		return err
	}
	if len(so.Volumes) == 0 { // a dry run of commands alone
		return nil
	}
	out, err := save.Run(ctx, b.repo, so)
	b.report.BytesAdded, b.report.BytesStored = uint64(out.Stats.Raw), uint64(out.Stats.Stored)
	if err != nil {
		return ended(ctx, err)
	}
	switch out.Outcome {
	case save.Interrupted:
		if out.Kept {
			b.notice("what was stored so far is used by the next run")
		}
		return context.Cause(ctx)
	case save.Refused:
		if errors.Is(out.Err, save.ErrNothing) { // it says why by volume
			if err := b.judge(&out.Backup); err != nil {
				return err
			}
		}
		return out.Err
	}
	b.report.Backup = &out.Backup
	if out.Outcome == save.Committed {
		b.stored = true
		b.report.BackupID = out.Backup.ID.String()
	}
	return nil
}

// options says what to read, and how.
func (b *backup) options() (save.Options, error) {
	a := b.app
	b.classes = map[string]*config.Volume{}
	now := snapshot.TimeOf(b.o.now())
	so := save.Options{
		Backup: snapshot.Backup{Host: b.report.Host, Group: a.Name, User: b.o.User, Time: now, Started: now,
			Tags: append(a.Tags.List(), snapshot.Tag{Key: "app", Value: a.Name})},
		DryRun: b.o.DryRun, Observe: b.observe, Dead: b.o.Dead, Now: b.o.Now,
		Warn:  func(about string, err error) { b.notice(about + ": " + err.Error()) },
		Judge: b.judge,
	}
	if text := b.o.Config.Repositories[a.To.Repo].Compression; text != "" {
		level, err := pack.ParseLevel(text)
		if err != nil {
			return so, err
		}
		so.Compression = &level
	}
	for i := range b.sources {
		s := &b.sources[i]
		b.classes[s.Name] = s.Volume
		if b.o.DryRun && s.stream {
			_, text := s.volume.Source.Describe()
			b.report.Planned = append(b.report.Planned, s.Name+": "+text)
			continue
		}
		s.volume.OneFileSystem = a.OneFS
		if s.OneFS != nil {
			s.volume.OneFileSystem = *s.OneFS
		}
		so.Volumes = append(so.Volumes, s.volume)
	}
	if b.o.DryRun {
		return so, nil
	}
	if q := a.Quiesce; q != nil {
		so.Prewarm, so.Around, so.Patience = q.Prewarm, b.around, q.Store.Std(defaultPatience)
		if q.Prewarm {
			b.o.tell(a.Name, "prewarm", "")
		}
	}
	return so, nil
}

// observe passes on what is read. That an optional volume is not there is no problem:
// its judgement tells it.
func (b *backup) observe(e archive.Event) {
	if e.Kind == archive.EventProblem && e.Path == "." {
		if c := b.classes[e.Volume]; c != nil && c.Class == config.Optional {
			return
		}
	}
	if b.o.Archive != nil {
		b.o.Archive(e)
	}
}

func (b *backup) judge(k *snapshot.Backup) error {
	j := judge(k, b.classes)
	b.report.Volumes = j.volumes
	for _, n := range j.notices {
		b.notice(n)
	}
	return j.err
}

// around brings the application to rest, reads, and brings it back, whatever happens.
func (b *backup) around(ctx context.Context, read func(context.Context) error) error {
	q := b.app.Quiesce
	b.journal.Quiet, b.journal.Leave = true, commandsOf(q.Leave.Steps)
	if err := writeJournal(b.o.StateDir, b.journal); err != nil {
		return err
	}
	began := b.o.now()
	timer := time.AfterFunc(q.Timeout.Std(defaultHookTimeout), func() { b.cancel(ErrQuiet) })
	err := b.x.steps(ctx, "enter", q.Enter.Steps, nil)
	if err == nil {
		b.o.tell(b.app.Name, "read", "")
		err = read(ctx)
	}
	timer.Stop()
	b.leaveErr = leave(ctx, b.x, q.Leave.Steps, b.known(err))
	b.report.Quiet += b.o.now().Sub(began).Seconds()
	if b.leaveErr != nil {
		return err // what was read is good
	}
	b.journal.Quiet = false
	if jerr := writeJournal(b.o.StateDir, b.journal); jerr != nil {
		b.notice(jerr.Error()) // leave would run once more
	}
	return err
}

// known is what hooks are told in their environment.
func (b *backup) known(err error) []string {
	result := record.Success
	switch {
	case errors.Is(err, ErrSkipped):
		result = record.Skipped
	case err != nil || b.leaveErr != nil:
		result = record.Failed
	case b.incomplete():
		result = record.Partial
	}
	env := []string{"VAULT_RESULT=" + string(result)}
	if b.report.BackupID != "" {
		env = append(env, "VAULT_BACKUP_ID="+b.report.BackupID)
	}
	if err != nil {
		env = append(env, "VAULT_ERROR="+printable(err.Error()))
	}
	return env
}

func printable(s string) string {
	return string(slices.DeleteFunc([]byte(s), func(c byte) bool { return c == 0 }))
}

func (b *backup) incomplete() bool {
	return b.partial || b.report.Backup != nil && !b.report.Backup.Complete()
}

// tend does what keeps the repository in order: the retention, if it is given and there
// is a policy, and the extension of locks that are due. The result goes on record.
func (b *backup) tend(ctx context.Context, retain func(context.Context) error) error {
	b.tended = true
	store, err := b.o.storeOf(*b.app.To)
	if policy := b.app.Keep.Policy(); policy.IsZero() {
		retain = nil
	}
	if err == nil && retain == nil && !b.o.lockDue(b.repo, store) {
		return nil
	}
	a := record.Activity{App: b.app.Name, Kind: record.Retention, Destination: b.report.Destination, Host: b.report.Host, Start: b.o.now()}
	if err == nil && retain != nil {
		err = retain(ctx)
	}
	if answers(ctx, err) {
		n, lerr := b.o.extend(ctx, b.app.Name, b.repo, *b.app.To)
		b.report.Extended, err = n, errors.Join(err, lerr)
	}
	b.o.finish(&a, err)
	b.keep(a)
	if err != nil {
		return ended(ctx, err)
	}
	return nil
}

// retain applies the retention policy, and prunes if that is wanted.
func (b *backup) retain(ctx context.Context) error {
	kept, forgotten, err := Retain(ctx, b.repo, Retention{App: b.app.Name, Policy: b.app.Keep.Policy(), Now: b.o.now(), User: b.o.User})
	b.report.Kept, b.report.Forgotten, b.report.Retained = kept, len(forgotten), err == nil
	if err != nil {
		return err
	}
	return b.o.prune(ctx, b.app.Name, b.repo, *b.app.To, len(forgotten))
}

func (b *backup) sidecar(ctx context.Context) error {
	k := b.report.Backup
	return b.o.writeSidecar(ctx, *b.app.To, Sidecar{App: b.app.Name, Host: k.Host, Time: k.Time.Std(), BackupID: b.report.BackupID, State: k.State().String()})
}

// finish fills in how an activity ended.
func (o *Options) finish(a *record.Activity, err error) {
	a.End = o.now()
	switch {
	case errors.Is(err, ErrSkipped):
		a.Result, a.Error = record.Skipped, err.Error()
	case errors.Is(err, ErrPartial):
		a.Result = record.Partial
		a.ExitCode, a.Hint = o.Explain(err)
	case err != nil:
		a.Result, a.Error = record.Failed, err.Error()
		a.ExitCode, a.Hint = o.Explain(err)
	default:
		a.Result = record.Success
	}
}

// end completes the report and records it.
func (b *backup) end(ctx context.Context, err error) Report {
	if err == nil && b.app != nil && b.incomplete() {
		err = ErrPartial
	}
	b.o.finish(&b.report.Activity, err)
	if !errors.Is(err, ErrSkipped) {
		b.report.Err = err
	}
	recorded, at := b.app != nil && !errors.Is(err, ErrBusy), b.report.End
	before := b.o.known(b.report.Activity)
	if recorded {
		b.keep(b.report.Activity)
	}
	if b.retainErr != nil { // recorded on its own
		err = b.retainErr
		if b.report.Err != nil && !errors.Is(b.report.Err, ErrPartial) {
			err = errors.Join(b.report.Err, err)
		}
		b.o.finish(&b.report.Activity, err)
		b.report.Err, b.report.End = err, at
	}
	if recorded {
		b.report.Messages = append(b.report.Messages, b.o.ends(ctx, b.report.Activity, before)...)
	}
	return b.report
}

// keep records an activity. That it cannot be does not change how it ended.
func (b *backup) keep(a record.Activity) {
	if b.o.DryRun || b.o.StateDir == "" {
		return
	}
	if err := record.In(b.o.StateDir).Add(a); err != nil {
		b.notice(err.Error())
	}
}
