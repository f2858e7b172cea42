package main

import (
	"context"
	"errors"
	"fmt"

	"vault/internal/display"
	"vault/internal/save"
	"vault/pack"
	"vault/repo"
	"vault/snapshot"
	"vault/snapshot/archive"
)

// backupRun is one backup under way.
type backupRun struct {
	a        *app
	f        backupFlags
	excludes *archive.Excludes
	backup   snapshot.Backup // what it says about itself
	level    *pack.Level
	report   *backupReport
}

func (a *app) backup(ctx context.Context, f backupFlags, args []string) (err error) {
	b := &backupRun{a: a, f: f, report: newBackupReport(a.ui)}
	if b.excludes, err = f.excludes.parse(a.ui.warn); err != nil {
		return err
	}
	if err := b.describe(); err != nil {
		return err
	}
	volumes, err := f.volumes(args)
	if err != nil {
		return err
	}
	for i := range volumes {
		volumes[i].Excludes = b.excludes
	}
	var init *repo.InitOptions
	if f.init && !f.dryRun {
		init = &repo.InitOptions{Params: repo.DefaultParams()}
	}
	r, err := a.open(ctx, init)
	if err != nil {
		return err
	}
	defer closing(r, &err)
	report, err := save.Run(ctx, r, save.Options{
		Volumes: volumes, Backup: b.backup, Parent: f.parent, Compression: b.level,
		OneFileSystem: f.oneFileSystem, DryRun: f.dryRun, SkipUnchanged: f.skipUnchanged, RequireAll: f.requireAll, Once: f.stdin != "",
		Items: a.ui.verbose > 0, Observe: b.report.observe, Warn: a.ui.warn, Dead: sessionDead, Keeping: b.keeping,
	})
	if errors.Is(err, repo.ErrVanished) {
		if p, perr := a.place(); perr == nil {
			err = p.wrap("back up to", err)
		}
	}
	if err != nil {
		return err
	}
	return b.outcome(ctx, &report)
}

// keeping says what a signal does.
func (b *backupRun) keeping() {
	if !b.a.ui.json && !b.a.ui.quiet {
		b.a.ui.complain("interrupted: storing what was read so far; interrupt again to stop at once")
	}
}

// outcome tells what became of the backup, and returns what the command ends with.
func (b *backupRun) outcome(ctx context.Context, r *save.Report) error {
	switch r.Outcome {
	case save.Interrupted:
		return b.interrupted(ctx, r)
	case save.Refused:
		b.tell(r, "failed")
		return &failure{code: exitFailure, err: r.Err}
	case save.Unchanged:
		b.tell(r, "unchanged")
		return nil
	}
	b.tell(r, r.Backup.State().String())
	if r.Backup.Complete() {
		return nil
	}
	return &failure{code: exitPartial, told: b.a.ui.json,
		err:  errors.New("the backup is partial: some of the source could not be read"),
		hint: "the lines above say what; the rest is stored"}
}

// interrupted ends a backup after a signal.
func (b *backupRun) interrupted(ctx context.Context, r *save.Report) error {
	f := &failure{code: exitInterrupted, err: context.Cause(ctx)}
	switch {
	case b.f.dryRun:
	case r.KeepErr != nil:
		f.hint = fmt.Sprintf("what was stored so far could not be kept: %v", r.KeepErr)
	case r.Kept:
		f.hint = fmt.Sprintf("what was stored so far, %s, is used by the next run", display.Bytes(uint64(r.Stats.Stored)))
	default:
		f.hint = "nothing new had been stored"
	}
	return f
}
