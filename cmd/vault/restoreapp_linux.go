package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	apprun "vault/internal/app/run"
	"vault/internal/display"
)

// restoreAppFlags are those of restore --app alone.
type restoreAppFlags struct {
	configFlags
	app, from, repository          string
	restart, otherIdentity, noWait bool
}

// withApp teaches restore to bring back applications.
func (a *app) withApp(cmd *cobra.Command, f *restoreFlags) *cobra.Command {
	var of restoreAppFlags
	flags := cmd.Flags()
	flags.StringVar(&of.app, "app", "", "bring back a configured application `NAME`, of its newest backup or that of an ID")
	flags.StringVar(&of.from, "from-app", "", "with --app: the `NAME` that it had where it was backed up")
	flags.StringVar(&of.repository, "from-repository", "", "with --app: `NAME[/PATH]` of a configured repository instead of the application's own, for a copy")
	flags.BoolVar(&of.restart, "restart", false, "with --app: begin anew instead of finishing an interrupted restore")
	flags.BoolVar(&of.otherIdentity, "other-identity", false, "with --app: go on although what is there belongs to another instance")
	flags.BoolVar(&of.noWait, "no-wait", false, "with --app: exit with 11 rather than wait for another run of the application")
	of.configFlags.add(flags)
	cmd.Use = "restore ID|latest[:VOLUME[/PATH]] --target DIR | restore --app NAME [ID]"
	cmd.Long += `

With --app, an application of the configuration (docs/applications.md) is brought
back to where its volumes belong: hooks, stopping and starting it, dumps piped into
their databases. --volume NAME=PATH puts a volume somewhere else. --delete removes
what the backup does not have. Where the configuration compares identities and they
differ, nothing is touched unless --other-identity is given. What was stopped is
started again whatever happens. A restore that was interrupted is finished by the
same command; --restart begins anew.`
	cmd.Example += `
  vault restore --app nextcloud
  vault restore --app wiki2 --from-app wiki1 --host node1 01kaw3x5 --volume data=/srv/new`
	plain := cmd.RunE
	cmd.Args = cobra.MaximumNArgs(1)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if of.app == "" {
			for _, name := range []string{"from-app", "from-repository", "restart", "other-identity", "no-wait", "config"} {
				if flags.Changed(name) {
					return usagef("--%s goes with --app", name)
				}
			}
			if len(args) != 1 {
				return usagef("which backup? Give its ID, or latest")
			}
			return plain(cmd, args)
		}
		known := []string{"app", "from-app", "from-repository", "restart", "other-identity", "no-wait", "config", "host", "volume", "delete", "dry-run", "allow-partial"}
		var alien error
		flags.Visit(func(g *pflag.Flag) {
			if !slices.Contains(known, g.Name) && cmd.InheritedFlags().Lookup(g.Name) == nil {
				alien = usagef("--%s does not go with --app", g.Name)
			}
		})
		if alien != nil {
			return alien
		}
		return a.restoreApp(cmd.Context(), *f, of, args)
	}
	return cmd
}

func (a *app) restoreApp(ctx context.Context, f restoreFlags, of restoreAppFlags, args []string) error {
	c, err := of.load(a)
	if err != nil {
		return err
	}
	names, err := chosen(c, []string{of.app})
	if err != nil {
		return err
	}
	if err := enterNamespace(c, names); err != nil {
		return err
	}
	r := a.newAppRun(ctx, c)
	r.options.DryRun, r.options.NoWait = f.dryRun, of.noWait
	o := apprun.RestoreOptions{Options: r.options, App: names[0], From: of.from, Host: f.host, Clean: f.delete, Restart: of.restart,
		AllowPartial: f.allowPartial, OtherIdentity: of.otherIdentity}
	if o.Repo, err = copyOf(c, of.repository); err != nil {
		return err
	}
	if len(args) == 1 && args[0] != "latest" {
		o.ID = args[0]
	}
	for _, text := range f.volumes {
		if o.Volumes == nil {
			o.Volumes = map[string]string{}
		}
		name, to, given := strings.Cut(text, "=")
		if name == "" || given && !strings.HasPrefix(to, "/") {
			return usagef("--volume %s: with --app the form is NAME or NAME=/ABSOLUTE/PATH", display.Name(text))
		}
		o.Volumes[name] = to
	}
	p := apprun.Restore(ctx, o)
	r.tellRestored(p)
	if p.Err == nil {
		return nil
	}
	if ctx.Err() != nil && errors.Is(p.Err, context.Cause(ctx)) {
		return &failure{code: exitInterrupted, err: p.Err, hint: "the same command goes on with it"}
	}
	return &failure{code: p.ExitCode, err: fmt.Errorf("%s: %w", p.App, p.Err), hint: p.Hint, told: p.ExitCode == exitPartial && a.ui.json}
}

// restoreHint returns what to do about an error of a restore, or "".
func restoreHint(err error) string {
	switch {
	case errors.Is(err, apprun.ErrHalfRestored):
		return "`vault restore --app NAME` without an ID finishes it; --restart begins anew"
	case errors.Is(err, apprun.ErrIdentity):
		return "put the fields of the backup into it first, or restore its volume alone; --other-identity goes on all the same"
	case errors.Is(err, apprun.ErrNoWayBack):
		return "`vault apps show` tells what is configured here"
	}
	return ""
}

// tellRestored ends the output of a restore.
func (r *appRun) tellRestored(p apprun.Report) {
	ui := r.a.ui
	m := appRestoredMessage{Type: "app_restored", App: p.App, DryRun: p.DryRun, Result: string(p.Result), Code: p.ExitCode, Source: p.Destination,
		BackupID: p.BackupID, Start: p.Start, End: p.End, Seconds: p.End.Sub(p.Start).Seconds(), Quiet: p.Quiet, Volumes: []runVolumeInfo{},
		Planned: p.Planned, Messages: p.Messages, Message: p.Error, Hint: p.Hint}
	for _, v := range p.Volumes {
		m.Volumes = append(m.Volumes, runVolumeInfo(v))
	}
	ui.message(m)
	what := "restore of " + short(p.BackupID)
	if p.DryRun {
		what = "dry run, nothing is restored"
	}
	ui.info("%s: %s: %s in %s\n", p.App, what, p.Result, display.Duration(p.End.Sub(p.Start)))
	for _, v := range p.Volumes {
		text := ""
		if v.Message != "" {
			text = ": " + display.Line(v.Message)
		}
		ui.info("volume       %s: %s, %s, %s%s\n", display.Name(v.Name), v.State, display.Count(v.Files, "file"), display.Bytes(v.Bytes), text)
	}
	for _, text := range p.Planned {
		ui.info("would restore %s\n", display.Line(text))
	}
}

func short(id string) string { return id[:min(len(id), shownDigits)] }
