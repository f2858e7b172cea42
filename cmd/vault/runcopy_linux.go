package main

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"vault/internal/app/config"
	apprun "vault/internal/app/run"
	"vault/internal/display"
	"vault/repo"
	"vault/repo/transfer"
)

// outcomes collects how several things ended of which each is told by itself.
type outcomes struct {
	count, bad, worst int
	last              error
	about             string // of last
}

// add takes a result. One that is alone is told by the end of the command.
func (s *outcomes) add(r *appRun, about string, p apprun.Report, alone bool) {
	s.count++
	if p.Err == nil {
		return
	}
	s.bad++
	s.last, s.about = p.Err, about
	if !alone && !r.a.ui.json {
		r.a.ui.complain("error: %s: %s", about, display.Line(oneLine(p.Err.Error())))
		r.a.ui.complain("  hint: %s", display.Line(p.Hint))
	}
	if slices.Index(severity, p.ExitCode) > slices.Index(severity, s.worst) {
		s.worst = p.ExitCode
	}
}

// copied takes the results of a copy after a run.
func (s *outcomes) copied(r *appRun, reports []apprun.Report) {
	for _, p := range reports {
		s.add(r, copyTitle(p), p, false)
	}
}

// end returns what the command ends with.
func (s *outcomes) end(r *appRun, what string) error {
	told := s.worst == exitPartial && r.a.ui.json
	switch {
	case r.ctx.Err() != nil:
		return &failure{code: exitInterrupted, err: context.Cause(r.ctx), hint: "what was stored so far is used by the next run"}
	case s.last == nil:
		return nil
	case s.count == 1:
		_, advice := r.explain(s.last)
		return &failure{code: s.worst, err: fmt.Errorf("%s: %w", s.about, s.last), hint: advice, told: told}
	}
	return &failure{code: s.worst, err: fmt.Errorf("%d of %d %s did not end well", s.bad, s.count, what), hint: "the lines above say why", told: told}
}

func copyTitle(p apprun.Report) string {
	return fmt.Sprintf("copy %s of %s", p.Destination, cmp.Or(p.App, "other backups"))
}

// copiesAfter returns the copies that follow runs of an application, by name.
func copiesAfter(c *config.Config, app string) (list []*config.Copy) {
	for _, name := range slices.Sorted(maps.Keys(c.Copies)) {
		if o := c.Copies[name]; o.After == app {
			list = append(list, o)
		}
	}
	return list
}

// runCopies makes the copies that are named.
func (a *app) runCopies(ctx context.Context, c *config.Config, f runFlags) error {
	for _, name := range f.copies {
		if c.Copies[name] == nil {
			return &failure{code: exitUsage, err: fmt.Errorf("there is no copy %s in %s", display.Name(name), display.Name(c.File)),
				hint: "it has: " + strings.Join(slices.Sorted(maps.Keys(c.Copies)), ", ")}
		}
	}
	r := a.newAppRun(ctx, c)
	r.options.DryRun, r.options.NoWait = f.dryRun, f.noWait
	var results outcomes
	for _, name := range f.copies {
		if ctx.Err() != nil {
			break
		}
		reports := r.copy(c.Copies[name])
		for _, p := range reports {
			results.add(r, copyTitle(p), p, len(f.copies) == 1 && len(reports) == 1)
		}
	}
	return results.end(r, "copies")
}

// copy makes one configured copy, and tells of it.
func (r *appRun) copy(o *config.Copy) []apprun.Report {
	open := func(d config.Destination, init bool, up, down config.Size) func(context.Context) (*repo.Repo, error) {
		return func(ctx context.Context) (*repo.Repo, error) {
			b := *r.a
			if b.limitUpload == "" && up > 0 {
				b.limitUpload = up.String()
			}
			if b.limitDownload == "" && down > 0 {
				b.limitDownload = down.String()
			}
			return b.openDestination(ctx, r.options.Config, d, init)
		}
	}
	progress := newCopyReport(r.a.ui, r.options.DryRun)
	reports := apprun.CopyApps(r.ctx, apprun.CopyOptions{Options: r.options, Copy: o,
		Source:   open(*o.From, false, 0, o.LimitDownload),
		Target:   open(*o.To, !r.options.DryRun, o.LimitUpload, 0),
		Transfer: func(e transfer.Event) { progress.observe(e) },
	})
	for _, p := range reports {
		r.tellCopy(p)
	}
	return reports
}

// tellCopy ends the output about the copy of one application.
func (r *appRun) tellCopy(p apprun.Report) {
	ui := r.a.ui
	ui.message(appCopiedMessage{Type: "app_copied", App: p.App, DryRun: p.DryRun, Result: string(p.Result), Code: p.ExitCode, Copy: p.Destination, BackupID: p.BackupID,
		Start: p.Start, End: p.End, Seconds: p.End.Sub(p.Start).Seconds(), Copied: p.Copied, BytesAdded: p.BytesAdded, BytesStored: p.BytesStored,
		Kept: p.Kept, Forgotten: p.Forgotten, Extended: p.Extended, Messages: p.Messages, Message: p.Error, Hint: p.Hint})
	ui.info("%s: %s: %s copied in %s\n", copyTitle(p), p.Result, display.Count(uint64(p.Copied), "backup"), display.Duration(p.End.Sub(p.Start)))
	if p.Copied > 0 {
		ui.info("added        %s (stored %s)\n", display.Bytes(p.BytesAdded), display.Bytes(p.BytesStored))
	}
	if p.Retained {
		ui.info("kept         %s, %d forgotten\n", display.Count(uint64(p.Kept), "backup"), p.Forgotten)
	}
	r.tellLocked(p)
}
