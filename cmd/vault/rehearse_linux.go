package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"vault/internal/app/config"
	apprun "vault/internal/app/run"
	"vault/internal/display"
)

// rehearseFlags say what is restored for trial.
type rehearseFlags struct {
	configFlags
	host, repository, target   string
	allowPartial, keep, noWait bool
}

func (a *app) rehearseCommand() *cobra.Command {
	var f rehearseFlags
	cmd := &cobra.Command{
		Use:   "rehearse APP [ID]",
		Short: "Restore an application for trial, and check what comes back",
		Long: `Rehearse restores the newest backup of an application of the configuration, or that
of an ID, into a new directory: VOLUME/... for trees, a file VOLUME for a dump. There
it runs the check commands of the application's rehearse section
(docs/applications.md), and removes the directory. The application itself is not
touched and none of its hooks is run. Everything is read from the repository, past
the cache.

The result goes on record with the Backup ID, for vault health, metrics and
notifications. It exits with 15 if something does not come back as it was saved, or
a check fails. rehearse.schedule does it regularly. What a rehearsal leaves that is
killed, the next one or vault run removes.`,
		Example: `  vault rehearse nextcloud
  vault rehearse nextcloud 01kaw3x5 --keep --target /srv/scratch`,
		Args: cobra.RangeArgs(1, 2),
		RunE: func(cmd *cobra.Command, args []string) error { return a.rehearse(cmd.Context(), f, args) },
	}
	flags := cmd.Flags()
	f.configFlags.add(flags)
	flags.StringVar(&f.host, "host", "", "the host where it was backed up")
	flags.StringVar(&f.repository, "from-repository", "", "`NAME[/PATH]` of a configured repository instead of the application's own, for a copy")
	flags.StringVarP(&f.target, "target", "t", "", "`directory` in which the new one is made, instead of the configured one")
	flags.BoolVar(&f.allowPartial, "allow-partial", false, "the newest backup may be a partial one")
	flags.BoolVar(&f.keep, "keep", false, "leave what was restored to be looked at, until the next rehearsal")
	flags.BoolVar(&f.noWait, "no-wait", false, "exit with 11 rather than wait for another rehearsal of the application")
	return cmd
}

func (a *app) rehearse(ctx context.Context, f rehearseFlags, args []string) error {
	c, err := f.load(a)
	if err != nil {
		return err
	}
	names, err := chosen(c, args[:1])
	if err != nil {
		return err
	}
	a.noCache = true
	r := a.newAppRun(ctx, c)
	r.options.NoWait, r.options.Explain = f.noWait, r.explainRehearsal
	o := apprun.RehearseOptions{Options: r.options, App: names[0], Host: f.host, AllowPartial: f.allowPartial, Keep: f.keep}
	if o.Repo, err = copyOf(c, f.repository); err != nil {
		return err
	}
	if f.target != "" {
		if o.Target, err = filepath.Abs(f.target); err != nil {
			return err
		}
	}
	if len(args) == 2 && args[1] != "latest" {
		o.ID = args[1]
	}
	p := apprun.Rehearse(ctx, o)
	r.tellRehearsed(p)
	switch {
	case p.Err == nil:
		return nil
	case ctx.Err() != nil:
		return &failure{code: exitInterrupted, err: p.Err}
	}
	return &failure{code: p.ExitCode, err: fmt.Errorf("%s: %w", p.App, p.Err), hint: p.Hint, told: a.ui.json && (p.ExitCode == exitProblems || p.ExitCode == exitPartial)}
}

// copyOf returns the destination that --from-repository names; nil if it names none.
func copyOf(c *config.Config, text string) (*config.Destination, error) {
	if text == "" {
		return nil, nil
	}
	name, path, _ := strings.Cut(text, "/")
	if c.Repositories[name] == nil {
		return nil, usagef("--from-repository: there is no repository %s in %s", display.Name(name), display.Name(c.File))
	}
	return &config.Destination{Repo: name, Path: path}, nil
}

// explainRehearsal returns the exit code of an error, and what to do.
func (r *appRun) explainRehearsal(err error) (int, string) {
	code, advice := r.explain(err)
	switch {
	case errors.Is(err, apprun.ErrNoRoom):
		return code, "rehearse.target or --target names a place with more room; rehearse.volumes restores less"
	case errors.Is(err, apprun.ErrRehearsal) && code != exitUnreachable:
		return exitProblems, "`vault rehearse --keep` leaves what was restored to be looked at; `vault check --read-data` tells whether the repository is damaged"
	case errors.Is(err, apprun.ErrPartial):
		return exitPartial, "the messages say what is missing; the rest was restored"
	}
	return code, advice
}

// tellRehearsed ends the output of a trial restore.
func (r *appRun) tellRehearsed(p apprun.Report) {
	ui := r.a.ui
	m := appRehearsedMessage{Type: "app_rehearsed", App: p.App, Result: string(p.Result), Code: p.ExitCode, Source: p.Destination, BackupID: p.BackupID,
		Start: p.Start, End: p.End, Seconds: p.End.Sub(p.Start).Seconds(), Volumes: []runVolumeInfo{}, Scratch: p.Scratch, ScratchBase64: lossless(p.Scratch),
		Messages: p.Messages, Message: p.Error, Hint: p.Hint}
	for _, v := range p.Volumes {
		m.Volumes = append(m.Volumes, runVolumeInfo(v))
		text := ""
		if v.Message != "" {
			text = ": " + display.Line(v.Message)
		}
		ui.info("volume       %s: %s, %s, %s%s\n", display.Name(v.Name), v.State, display.Count(v.Files, "file"), display.Bytes(v.Bytes), text)
	}
	ui.message(m)
	what := "no backup"
	if p.BackupID != "" {
		what = "backup " + short(p.BackupID)
	}
	ui.info("%s: trial restore of %s: %s in %s\n", p.App, what, p.Result, display.Duration(p.End.Sub(p.Start).Round(time.Millisecond)))
	if p.Scratch != "" {
		ui.info("it is in %s until the next one\n", display.Name(p.Scratch))
	}
}
