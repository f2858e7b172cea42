package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"vault/crypto"
	"vault/internal/display"
	"vault/repo"
	"vault/repo/repair"
)

func (a *app) repairCommand() *cobra.Command {
	o := repair.Options{Dead: sessionDead}
	cmd := &cobra.Command{
		Use:   "repair",
		Short: "Rebuild the index and save what damaged packs still hold",
		Long: `Repair makes a damaged repository whole again as far as that is possible. It
rebuilds the index from the packs, copies every blob that is still sound out of
damaged packs, and says exactly which files of which backups are lost. Nothing
that can still be restored is given up. What is lost heals by itself if a later
backup finds the same content again.

It can be interrupted and run again. Look first with --dry-run; --read-data reads
every pack and finds all damage, not only that of the pack directories.

Two things it does only when told to, since they give something up:
--drop-unreadable removes backups whose records cannot be read, so that prune
works again; --rebuild-generation goes on although the newest record of garbage
collection is lost, when no other client is at work, not even a suspended one.`,
		Args: cobra.NoArgs,
	}
	flags := cmd.Flags()
	flags.BoolVarP(&o.DryRun, "dry-run", "n", false, "change nothing, tell what is wrong and what would be done")
	flags.BoolVar(&o.ReadData, "read-data", false, "read every pack whole")
	flags.BoolVar(&o.DropUnreadable, "drop-unreadable", false, "give up backups whose records cannot be read")
	flags.BoolVar(&o.RebuildGeneration, "rebuild-generation", false, "go on although the newest gc record is lost: nobody else may use the repository")
	flags.DurationVar(&o.Patience, "patience", 10*time.Minute, "how long an unfinished backup may show no sign of life")
	cmd.RunE = func(cmd *cobra.Command, _ []string) (err error) {
		if o.Patience < time.Second {
			return usagef("--patience %s: want at least 1s", o.Patience)
		}
		a.noCache = true
		r, err := a.open(cmd.Context(), nil)
		if err != nil {
			return err
		}
		defer closing(r, &err)
		waited := map[crypto.SessionID]bool{}
		o.Wait = func(list []repo.Waiting) {
			for _, w := range list {
				if !waited[w.ID] {
					waited[w.ID] = true
					a.tellWaiting(w, o.Patience)
				}
			}
		}
		return a.repair(cmd.Context(), r, o)
	}
	return cmd
}

func (a *app) repair(ctx context.Context, r *repo.Repo, o repair.Options) error {
	start := time.Now()
	report, err := repair.Run(ctx, r, o)
	switch {
	case errors.Is(err, repo.ErrGeneration):
		return &failure{code: exitDamaged, err: fmt.Errorf("repair: %w", err),
			hint: "if a backend snapshot or copy of the repository has gc/, put it back; else see `vault repair --help` on --rebuild-generation"}
	case errors.Is(err, repo.ErrRaced):
		return &failure{code: exitBusy, err: fmt.Errorf("repair: %w", err), hint: "run it again when the other one is done"}
	case err != nil:
		return fmt.Errorf("repair: %w", err)
	}
	a.tellFindings(report.Found)
	lost := report.Lost
	if o.DryRun {
		lost = report.Found.Lost
	}
	a.tellLoss(lost)
	nothing, unreadable := report.Nothing || o.DryRun && idle(report.Found), len(report.Found.Commits)+len(report.Found.MissingCommits)+len(report.Found.Events)
	m := repairSummary{Type: "summary", DryRun: o.DryRun, Nothing: nothing && !(o.DropUnreadable && unreadable > 0), IndexDamaged: len(report.Found.Index), PacksDamaged: len(report.Found.Packs),
		PacksIndexed: len(report.Found.Undescribed), BackupsUnreadable: len(report.Found.Commits) + len(report.Found.MissingCommits),
		BlobsRescuable: report.Found.Rescuable.Blobs, BlobsRescued: report.Rescued.Blobs, BlobsLost: len(lost.Data) + len(lost.Trees), BackupsLacking: len(lost.Backups),
		Removed: len(report.Removed), Duration: time.Since(start).Seconds()}
	a.ui.message(m)
	if m.BlobsLost > 0 {
		return &failure{code: exitProblems, told: a.ui.json, err: fmt.Errorf("%s of %s cannot be brought back", display.Count(uint64(m.BlobsLost), "blob"), display.Count(uint64(m.BackupsLacking), "backup")),
			hint: "the lines above name the files; everything else restores. Back the sources up again: what they still have is stored anew"}
	}
	return a.tellRepaired(m, o, unreadable)
}

// idle reports whether a repair would leave alone whatever is there, but for
// what it does only when it is told to.
func idle(f repair.Findings) bool {
	return len(f.Index)+len(f.Packs)+len(f.Undescribed)+len(f.Sessions)+len(f.Unnoted) == 0 && f.Rescuable.Blobs == 0 && f.Plan == ""
}

// tellRepaired ends a repair after which no blob is missing. Records that nobody
// can read are a problem until they are put back or given up.
func (a *app) tellRepaired(m repairSummary, o repair.Options, unreadable int) error {
	records := display.Count(uint64(unreadable), "record") + " of backups"
	switch {
	case m.Nothing && unreadable == 0 && !o.ReadData:
		a.ui.info("nothing to repair\nThe contents of packs were not read: --read-data finds damage there as well.\n")
	case m.Nothing && unreadable == 0:
		a.ui.info("nothing to repair\n")
	case unreadable > 0 && o.DropUnreadable && o.DryRun:
		a.ui.info("`vault repair --drop-unreadable` without --dry-run gives up %s; nothing else is lost\n", records)
	case unreadable > 0 && o.DropUnreadable:
		a.ui.info("repaired in %s: %s given up; nothing else is lost\n", display.Duration(time.Duration(m.Duration*float64(time.Second))), records)
	case unreadable > 0:
		return &failure{code: exitProblems, told: a.ui.json, err: fmt.Errorf("%s cannot be read, and stay as they are", records),
			hint: "put what is named above back from a copy of the repository, or give it up with --drop-unreadable, so that prune works again; all other backups restore"}
	case o.DryRun:
		a.ui.info("nothing is lost; `vault repair` without --dry-run mends the above\n")
	default:
		a.ui.info("repaired in %s: nothing is lost\n", display.Duration(time.Duration(m.Duration*float64(time.Second))))
	}
	return nil
}

// tellFindings names every object that is not as it should be.
func (a *app) tellFindings(f repair.Findings) {
	for _, list := range [][]repair.Damage{f.Index, f.Packs, f.Commits, f.Events, f.Sessions, f.Unreadable} {
		for _, d := range list {
			a.ui.problem(problemMessage{During: "repair", Object: d.Object, Error: problemText{d.Err.Error()}})
		}
	}
	for _, id := range f.MissingCommits {
		a.ui.problem(problemMessage{During: "repair", Object: "commits/" + id.String(), BackupID: id.String(), Error: problemText{"it was there and is gone"}})
	}
	if f.Plan != "" {
		a.ui.problem(problemMessage{During: "repair", Object: f.Plan, Error: problemText{"a damaged plan that is carried out already"}})
	}
}

// tellLoss names the files that have lost something, and the backups they are in.
func (a *app) tellLoss(l repair.Loss) {
	for _, p := range l.Places {
		what := "its content is lost"
		if p.Directory {
			what = "its list of entries is lost"
		}
		for _, id := range p.Backups {
			a.ui.problem(problemMessage{During: "repair", BackupID: id.String(), Volume: p.Volume, Item: p.Path, Error: problemText{what}})
		}
	}
	if l.Cut {
		a.ui.complain("there are more lost files than are listed")
	}
}
