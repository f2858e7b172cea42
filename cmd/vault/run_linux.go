package main

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"vault/backend"
	"vault/internal/app/config"
	"vault/internal/app/record"
	apprun "vault/internal/app/run"
	"vault/internal/display"
	"vault/internal/save"
	"vault/repo"
	"vault/snapshot/archive"
)

// runFlags say how applications are run.
type runFlags struct {
	configFlags
	dryRun, noWait bool
	copies         []string // these, and no application
	noCopies       bool
}

func (a *app) runCommand() *cobra.Command {
	var f runFlags
	cmd := &cobra.Command{
		Use:   "run [APP...]",
		Short: "Back up configured applications",
		Long: `Run backs up applications as the configuration says (docs/applications.md): what
must be so is checked, hooks are run, the application is brought to rest for as
short as possible, all its volumes are stored under one Backup ID, and old backups
are forgotten. Whatever fails, the application is brought back. If the process
dies, the next run or vault apps check does it.

A volume that is required and missing or empty fails the backup, and nothing is
stored; one that is recommended makes it partial.

Copies of the configuration that come after an application are made when it has
been run; --copy NAME makes one by itself, as the host does which alone has the key
of a copy off-site. What was copied before is passed over, and an interrupted copy
goes on where it was.

Without names all applications are run, one after another; the exit code is the
worst of theirs. Of one application only one run is at work at a time: another one
waits, or exits with 11 if --no-wait is given.`,
		Example: `  vault run
  vault run nextcloud --dry-run
  vault run --copy offsite
  vault run --config /etc/vault/shop.yaml shop --no-wait --json`,
		RunE: func(cmd *cobra.Command, args []string) error { return a.runApps(cmd.Context(), f, args) },
	}
	flags := cmd.Flags()
	f.configFlags.add(flags)
	flags.BoolVarP(&f.dryRun, "dry-run", "n", false, "store nothing and run no command, tell what would be stored")
	flags.BoolVar(&f.noWait, "no-wait", false, "exit with 11 rather than wait for another run of the application")
	flags.StringArrayVar(&f.copies, "copy", nil, "make the configured copy `NAME` instead of running applications (repeatable)")
	flags.BoolVar(&f.noCopies, "no-copies", false, "make no copies after the applications")
	return cmd
}

// appRun runs applications and tells of them.
type appRun struct {
	a       *app
	ctx     context.Context
	options apprun.Options
}

func (a *app) newAppRun(ctx context.Context, c *config.Config) *appRun {
	r := &appRun{a: a, ctx: ctx}
	report := newBackupReport(a.ui)
	r.options = apprun.Options{
		Config: c, StateDir: stateDir(), Host: hostName(), User: userName(), Dead: sessionDead, Explain: r.explain,
		Open: func(ctx context.Context, d config.Destination, init bool) (*repo.Repo, error) {
			return a.openDestination(ctx, c, d, init)
		},
		Storage: func(ctx context.Context, name string) (backend.Backend, error) { return a.storageOf(ctx, c, name) },
		Store:   func(d config.Destination) (apprun.Store, error) { return a.storeAt(c, d) },
		Archive: func(e archive.Event) { report.observe(e) },
		Observe: r.observe, Listener: a.teller(c),
	}
	return r
}

func (r *appRun) observe(e apprun.Event) {
	ui := r.a.ui
	switch {
	case e.Warning:
		ui.warn(e.App, errors.New(e.Text))
	case ui.json:
		ui.message(phaseMessage{Type: "phase", App: e.App, Phase: e.Phase, Text: e.Text})
	case ui.verbose > 0 || e.Phase == "waiting" || e.Phase == "replay" || e.Phase == "tidy":
		ui.info("%s: %-8s %s\n", e.App, e.Phase, display.Line(e.Text))
	}
}

// explain returns the exit code of an error, and what to do.
func (r *appRun) explain(err error) (int, string) {
	var leave *apprun.LeaveError
	var command *apprun.CommandError
	code := exitCode(r.ctx, err)
	switch {
	case errors.Is(err, apprun.ErrBusy):
		code = exitBusy
	case errors.Is(err, apprun.ErrNotCopied):
		return exitProblems, "the others are copied; `vault check` on the source tells more, `vault repair` saves what can be saved"
	case errors.Is(err, apprun.ErrGone):
		return exitFailure, "the others are copied; the next run does not miss it"
	case errors.Is(err, apprun.ErrPartial):
		return exitPartial, "the volumes say what is missing; the rest is stored"
	}
	if h := restoreHint(err); h != "" {
		return code, h
	}
	switch {
	case errors.As(err, &leave):
		return code, "bring it back by hand, or repair the leave command: every `vault run` and `vault apps check` of it tries again"
	case errors.Is(err, apprun.ErrRequired):
		return code, "is it mounted, and did its dump succeed? A volume that may be missing is of class recommended or optional"
	case errors.Is(err, apprun.ErrNotMounted):
		return code, "mount it: without it, files would land on the disk below"
	case errors.Is(err, apprun.ErrNoRoom):
		return code, "free some space, or lower free-space"
	case errors.Is(err, apprun.ErrTimeout):
		return code, "timeout of the application says how long it may take; what was stored so far is used by the next run"
	case errors.Is(err, apprun.ErrQuiet):
		return code, "it was brought back; prewarm makes the time at rest shorter, quiesce.timeout allows more of it"
	case errors.Is(err, save.ErrStalled):
		return code, "it was brought back; check the network and the store; quiesce.store-patience is for how long a slow one may take a pack"
	case errors.Is(err, apprun.ErrRehearsalTime):
		return code, "rehearse.timeout says how long it may take; rehearse.volumes restores less"
	case errors.Is(err, apprun.ErrKeepsNothing):
		return code, "the backup is stored; check keep"
	case errors.Is(err, apprun.ErrBusy):
		return code, "without --no-wait it waits for its turn"
	case errors.As(err, &command) && code == exitFailure:
		return code, "run the command by hand to see what is wrong; on-error: warn goes on without it"
	}
	return code, hint(nil, code, err)
}

func (r *appRun) fail(err error) error {
	code, advice := r.explain(err)
	return &failure{code: code, err: err, hint: advice}
}

// severity orders exit codes: the later the worse.
var severity = []int{0, exitPartial, exitProblems, exitBusy, exitFailure, exitUsage, exitUninitialised, exitNoSpace, exitUnreachable, exitWrongKey, exitDamaged, exitInterrupted}

func (a *app) runApps(ctx context.Context, f runFlags, args []string) error {
	c, err := f.load(a)
	if err != nil {
		return err
	}
	if len(f.copies) > 0 {
		if len(args) > 0 || f.noCopies {
			return usagef("--copy makes copies alone: neither applications nor --no-copies go with it")
		}
		return a.runCopies(ctx, c, f)
	}
	names, err := chosen(c, args)
	if err != nil {
		return err
	}
	if len(names) == 0 {
		return usagef("no applications are configured in %s", display.Name(c.File))
	}
	if err := enterNamespace(c, names); err != nil {
		return err
	}
	r := a.newAppRun(ctx, c)
	r.options.DryRun, r.options.NoWait = f.dryRun, f.noWait
	if err := r.recoverOthers(c, names); err != nil {
		return err
	}
	var results outcomes
	for _, name := range names {
		if ctx.Err() != nil {
			break
		}
		report := apprun.Backup(ctx, r.options, name)
		r.tell(report)
		results.add(r, name, report, len(names) == 1)
		if report.BackupID != "" && !f.noCopies {
			for _, o := range copiesAfter(c, name) {
				results.copied(r, r.copy(o))
			}
		}
	}
	return results.end(r, "applications")
}

// recoverOthers brings back applications that are not about to be run and that a run
// left at rest.
func (r *appRun) recoverOthers(c *config.Config, names []string) error {
	if r.options.DryRun {
		return nil
	}
	for name := range c.Apps {
		if slices.Contains(names, name) {
			continue // its own run does it
		}
		if _, err := apprun.Recover(r.ctx, r.options, name); err != nil {
			r.a.ui.warn(name, err)
		}
	}
	return nil
}

// tell ends the output about one application.
func (r *appRun) tell(p apprun.Report) {
	ui := r.a.ui
	m := runMessage{Type: "run", App: p.App, DryRun: p.DryRun, Result: string(p.Result), Code: p.ExitCode, Destination: p.Destination, BackupID: p.BackupID,
		Start: p.Start, End: p.End, Seconds: p.End.Sub(p.Start).Seconds(), Quiet: p.Quiet, Volumes: []runVolumeInfo{}, Planned: p.Planned,
		BytesAdded: p.BytesAdded, BytesStored: p.BytesStored, Kept: p.Kept, Forgotten: p.Forgotten, Extended: p.Extended, Messages: p.Messages, Message: p.Error, Hint: p.Hint}
	for _, v := range p.Volumes {
		m.Volumes = append(m.Volumes, runVolumeInfo(v))
	}
	ui.message(m)
	what := "nothing is stored"
	switch {
	case p.DryRun:
		what = "dry run, nothing is stored"
	case p.BackupID != "":
		what = "backup " + p.BackupID[:12] + " stored"
	}
	ui.info("%s: %s: %s in %s\n", p.App, what, p.Result, display.Duration(p.End.Sub(p.Start)))
	if p.Quiet > 0 {
		ui.info("at rest      %s\n", display.Duration(time.Duration(p.Quiet*float64(time.Second))))
	}
	for _, v := range p.Volumes {
		text := ""
		if v.Message != "" {
			text = ": " + display.Line(v.Message)
		}
		ui.info("volume       %s (%s): %s, %s, %s%s\n", display.Name(v.Name), v.Class, v.State, display.Count(v.Files, "file"), display.Bytes(v.Bytes), text)
	}
	for _, text := range p.Planned {
		ui.info("would run    %s\n", display.Line(text))
	}
	if p.BackupID != "" {
		ui.info("added        %s (stored %s)\n", display.Bytes(p.BytesAdded), display.Bytes(p.BytesStored))
	}
	if p.Retained {
		ui.info("kept         %s, %d forgotten\n", display.Count(uint64(p.Kept), "backup"), p.Forgotten)
	}
	r.tellLocked(p)
	if p.Result == record.Skipped {
		ui.info("skipped      %s\n", display.Line(p.Error))
	}
}

// tellLocked tells of locks that were extended.
func (r *appRun) tellLocked(p apprun.Report) {
	if p.Extended > 0 {
		r.a.ui.info("locked       %s for longer\n", display.Count(uint64(p.Extended), "object"))
	}
}
