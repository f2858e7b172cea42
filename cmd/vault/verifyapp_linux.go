package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"vault/internal/app/config"
	"vault/internal/app/record"
	"vault/internal/app/verify"
	"vault/internal/display"
	"vault/repo"
)

// verifyAppFlags are those of verify --app alone.
type verifyAppFlags struct {
	configFlags
	app, host, repository, baseline string
	writeBaseline, allowPartial     bool
}

// withVerifyApp teaches check to verify applications.
func (a *app) withVerifyApp(cmd *cobra.Command) *cobra.Command {
	var f verifyAppFlags
	before := flagNames(cmd.Flags())
	flags := cmd.Flags()
	flags.StringVar(&f.app, "app", "", "verify a backup of a configured application `NAME` by what the application knows")
	flags.StringVar(&f.host, "host", "", "with --app: the host where it was backed up")
	flags.StringVar(&f.repository, "from-repository", "", "with --app: `NAME[/PATH]` of a configured repository instead of the application's own, for a copy")
	flags.StringVar(&f.baseline, "baseline", "", "with --app: `file` of findings that are known and do not count")
	flags.BoolVar(&f.writeBaseline, "write-baseline", false, "with --app: write what is found into that file")
	flags.BoolVar(&f.allowPartial, "allow-partial", false, "with --app: the newest backup may be a partial one")
	f.configFlags.add(flags)
	cmd.Use = "check [ID...] | verify --app NAME [ID]"
	cmd.Long += `

With --app, the newest backup of an application of the configuration, or that of an
ID, is compared with the rules of the application, as its verify section says
(docs/applications.md): nodes, links, blobs and indexes of ownCloud Infinite Scale;
attachments of an Orthanc in PostgreSQL; the ends of dumps. Nothing is restored. It
exits with 15 if there are findings that the baseline does not have; warnings do not
count.`
	cmd.Example = `  vault check --read-data-subset 1/7
  vault verify --app ocis
  vault verify --app ocis --baseline known --write-baseline`
	plain := cmd.RunE
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		alien := flagNames(flags)
		if f.app != "" {
			alien = before
		}
		for name := range alien {
			if !flags.Changed(name) || cmd.InheritedFlags().Lookup(name) != nil || f.app == "" && before[name] {
				continue
			}
			if f.app == "" {
				return usagef("--%s goes with --app", name)
			}
			return usagef("--%s does not go with --app", name)
		}
		switch {
		case f.app == "":
			return plain(cmd, args)
		case len(args) > 1:
			return usagef("one backup at a time is verified")
		}
		return a.verifyApp(cmd.Context(), f, args)
	}
	return cmd
}

func flagNames(flags *pflag.FlagSet) map[string]bool {
	names := map[string]bool{}
	flags.VisitAll(func(g *pflag.Flag) { names[g.Name] = true })
	return names
}

func (a *app) verifyApp(ctx context.Context, f verifyAppFlags, args []string) error {
	c, err := f.load(a)
	if err != nil {
		return err
	}
	names, err := chosen(c, []string{f.app})
	if err != nil {
		return err
	}
	a.noCache = true
	r := a.newAppRun(ctx, c)
	o := verify.Options{Config: c, StateDir: stateDir(), Machine: recordedHost(c, names[0]), App: names[0], Host: f.host, AllowPartial: f.allowPartial,
		Baseline: f.baseline, WriteBaseline: f.writeBaseline, Explain: r.explainVerify,
		Open: func(ctx context.Context, d config.Destination) (*repo.Repo, error) {
			return a.openDestination(ctx, c, d, false)
		},
		Found: func(g verify.Finding, known bool) { a.tellFinding(names[0], g, known) },
	}
	if o.Repo, err = copyOf(c, f.repository); err != nil {
		return err
	}
	if len(args) == 1 && args[0] != "latest" {
		o.ID = args[0]
	}
	t := a.teller(c)
	known, _ := t.Store.Load(o.App) // what is wrong with the record is told when the result is added
	p := verify.App(ctx, o)
	a.tellVerified(p)
	if p.Unrecorded != nil {
		a.ui.warn(o.App, p.Unrecorded)
	}
	if ctx.Err() == nil {
		for _, text := range t.End(ctx, p.Activity, known.Get(record.Verify, p.Destination)) {
			a.ui.warn(o.App, errors.New(text))
		}
	}
	if p.Err == nil {
		return nil
	}
	if ctx.Err() != nil {
		return &failure{code: exitInterrupted, err: p.Err}
	}
	return &failure{code: p.ExitCode, err: fmt.Errorf("%s: %w", p.App, p.Err), hint: p.Hint, told: a.ui.json && p.ExitCode == exitProblems}
}

// explainVerify returns the exit code of an error, and what to do.
func (r *appRun) explainVerify(err error) (int, string) {
	switch {
	case errors.Is(err, verify.ErrFindings):
		return exitProblems, "look into the application itself: if it has the flaw too, mend it there and back up again; if not, `vault check --read-data`. --write-baseline keeps what is known"
	case errors.Is(err, verify.ErrNothing):
		return exitUsage, "`verify:` in the application's section names the checks: ocis, orthanc-pg, sql-tail"
	case errors.Is(err, verify.ErrNoBaseline):
		return exitUsage, "--baseline FILE names it"
	case errors.Is(err, verify.ErrBaseline):
		return exitUsage, "--write-baseline makes it anew"
	}
	return r.explain(err)
}

// tellFinding tells of one finding.
func (a *app) tellFinding(name string, f verify.Finding, known bool) {
	ui := a.ui
	ui.message(findingMessage{Type: "finding", App: name, Check: f.Check, Rule: f.Rule, Severity: string(f.Severity), Known: known,
		Volume: f.Volume, Object: f.Object, ObjectBase64: lossless(f.Object), Text: f.Text})
	what := string(f.Severity)
	if known {
		what = "known"
	}
	ui.result("%-12s %s: %s: %s\n", what, f.Rule, display.Name(f.Volume+":"+f.Object), display.Line(f.Text))
}

// tellVerified ends the output of a verification.
func (a *app) tellVerified(p verify.Report) {
	m := appVerifiedMessage{Type: "app_verified", App: p.App, Result: string(p.Result), Code: p.ExitCode, Source: p.Destination, BackupID: p.BackupID,
		Start: p.Start, End: p.End, Seconds: p.End.Sub(p.Start).Seconds(), Checks: []verifiedByCheck{}, Problems: p.Problems, Known: p.Known, Gone: p.Gone,
		Warnings: p.Warnings, Message: p.Error, Hint: p.Hint}
	for _, s := range p.Checks {
		m.Checks = append(m.Checks, verifiedByCheck(s))
		a.ui.info("%-12s %s: %s, %s compared (%s)\n", s.Check, display.Name(s.Volume), display.Count(s.Objects, "object"), display.Count(s.Blobs, "content"), display.Bytes(s.Bytes))
	}
	a.ui.message(m)
	a.ui.info("%s: backup %s: %s, %d known, %s, in %s\n", p.App, short(p.BackupID), display.Count(p.Problems, "problem"), p.Known,
		display.Count(p.Warnings, "warning"), display.Duration(p.End.Sub(p.Start)))
	if p.Gone > 0 {
		a.ui.info("%s of the baseline are gone: --write-baseline forgets them\n", display.Count(p.Gone, "problem"))
	}
}
