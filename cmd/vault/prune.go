package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"vault/backend"
	"vault/crypto"
	"vault/internal/display"
	"vault/internal/location"
	"vault/internal/match"
	"vault/repo"
	"vault/repo/gc"
)

// pruneFlags say how thorough a collection is.
type pruneFlags struct {
	maxUnused, maxRepack    string
	deleteOnly, repackSmall bool
	patience                time.Duration
	extendLock              bool
}

func (f *pruneFlags) add(flags *pflag.FlagSet) {
	flags.StringVar(&f.maxUnused, "max-unused", "5%", "how much unused data may stay: a share as 5%, a `SIZE` as 1G, or unlimited")
	flags.StringVar(&f.maxRepack, "max-repack-size", "", "read and write at most `SIZE` of packs anew")
	flags.BoolVar(&f.deleteOnly, "delete-only", false, "store no new pack: for a full disk")
	flags.BoolVar(&f.repackSmall, "repack-small", true, "put small packs together")
	flags.DurationVar(&f.patience, "patience", 10*time.Minute, "how long an unfinished backup may show no sign of life")
	flags.BoolVar(&f.extendLock, "extend-lock", false, "lock everything that a restore needs for the time of --s3-object-lock from now on")
}

// limits parses the flags.
func (f *pruneFlags) limits() (l gc.Limits, err error) {
	l = gc.Limits{MaxRepack: -1}
	percent, share := strings.CutSuffix(f.maxUnused, "%")
	switch {
	case f.maxUnused == "unlimited":
		l.MaxUnused = 1
	case share:
		n, err := strconv.ParseFloat(percent, 64)
		if err != nil || !(n >= 0 && n <= 100) {
			return l, usagef("--max-unused %q: want 0%% to 100%%", f.maxUnused)
		}
		l.MaxUnused = n / 100
	default:
		if l.MaxUnusedBytes, err = match.ParseSize(f.maxUnused); err != nil {
			return l, usagef("--max-unused %q: want a share as 5%%, a size as 1G, or unlimited", f.maxUnused)
		}
	}
	if f.maxRepack != "" {
		if l.MaxRepack, err = match.ParseSize(f.maxRepack); err != nil {
			return l, usagef("--max-repack-size: %v", err)
		}
	}
	if f.patience < time.Second {
		return l, usagef("--patience %s: want at least 1s", f.patience)
	}
	if f.deleteOnly {
		if l.MaxRepack > 0 {
			return l, usagef("--delete-only and --max-repack-size are both given: which one is meant?")
		}
		l.MaxRepack = 0
	}
	return l, nil
}

func (a *app) pruneCommand() *cobra.Command {
	var f pruneFlags
	var dryRun bool
	cmd := &cobra.Command{
		Use:   "prune",
		Short: "Delete what no backup needs",
		Long: `Prune deletes the data that only forgotten backups needed, and what interrupted
ones left behind. What is still needed of a pack that goes is moved first. It
runs beside backups and restores of other clients without a lock; backups that
began before it are waited for, unless their process is known to be gone or they
show no sign of life for as long as --patience says. A prune that is interrupted
anywhere is finished by the next one.

What the store holds under an object lock is left to a later prune. With
--extend-lock everything that is still needed is held for the time of
--s3-object-lock from now on, not only what is new, also if the prune itself fails.

On a full disk use --delete-only: it stores no pack.`,
		Args: cobra.NoArgs,
	}
	f.add(cmd.Flags())
	cmd.Flags().BoolVarP(&dryRun, "dry-run", "n", false, "delete nothing, show what would be")
	cmd.RunE = func(cmd *cobra.Command, _ []string) (err error) {
		limits, err := f.limits()
		if err != nil {
			return err
		}
		if err := a.checkExtendLock(f, dryRun); err != nil {
			return err
		}
		r, err := a.open(cmd.Context(), nil)
		if err != nil {
			return err
		}
		defer closing(r, &err)
		return a.prune(cmd.Context(), r, limits, f, dryRun)
	}
	return cmd
}

// prune collects, and extends locks if asked to: also when the collection fails, since
// locks run out however that is.
func (a *app) prune(ctx context.Context, r *repo.Repo, limits gc.Limits, f pruneFlags, dryRun bool) error {
	start := time.Now()
	report, err := a.collect(ctx, r, limits, f, dryRun)
	if dryRun {
		if err == nil && report.Adopted {
			a.ui.info("a plan of an interrupted prune is there: the next one carries it out first\n")
		}
		return err
	}
	extended := 0
	if f.extendLock && ctx.Err() == nil {
		n, lerr := extendLocks(ctx, r)
		switch {
		case err == nil:
			err = lerr
		case lerr != nil:
			a.ui.warn("object lock", lerr)
		default:
			a.tellLocked(n)
		}
		extended = n
	}
	if err != nil {
		return err
	}
	a.tellPruned(report, f, extended, time.Since(start))
	if report.Spared == 0 {
		return nil
	}
	told := fmt.Sprintf("%s could be deleted if there were room for what is still needed of it", display.Count(uint64(report.Spared), "more pack"))
	if f.deleteOnly {
		a.ui.info("%s\n", told)
		return nil
	}
	return &failure{code: exitNoSpace, err: fmt.Errorf("prune: %w: %s", backend.ErrNoSpace, told),
		hint: "what could go without being moved is gone: run it again, if need be after freeing some space"}
}

// collect runs the collection.
func (a *app) collect(ctx context.Context, r *repo.Repo, limits gc.Limits, f pruneFlags, dryRun bool) (gc.PruneReport, error) {
	if f.repackSmall && limits.MaxRepack != 0 {
		limits.Small = gc.DefaultLimits(r.Params().PackSize).Small
	}
	loc, err := a.location()
	if err != nil {
		return gc.PruneReport{}, err
	}
	waited := map[crypto.SessionID]bool{}
	report, err := gc.Prune(ctx, r, gc.PruneOptions{Prove: loc.Scheme != location.Local, Options: gc.Options{
		Limits: limits, DryRun: dryRun, Patience: f.patience, Dead: sessionDead,
		Planned: func(report gc.Report) { a.showPlan(report, dryRun) },
		Wait: func(list []repo.Waiting) {
			for _, w := range list {
				if !waited[w.ID] {
					waited[w.ID] = true
					a.tellWaiting(w, f.patience)
				}
			}
		},
	}})
	switch {
	case errors.Is(err, backend.ErrNoSpace):
		err = &failure{code: exitNoSpace, err: fmt.Errorf("prune: %w", err),
			hint: "a few MiB are needed to begin with: free them on the disk, outside the repository, and run it again; nothing is lost"}
	case errors.Is(err, repo.ErrRaced):
		err = &failure{code: exitBusy, err: fmt.Errorf("prune: %w", err), hint: "run it again when the other one is done"}
	case err != nil:
		err = fmt.Errorf("prune: %w", err)
	}
	return report, err
}

// tellPruned tells what a collection has done.
func (a *app) tellPruned(report gc.PruneReport, f pruneFlags, extended int, took time.Duration) {
	m := pruneSummary{Type: "summary", Nothing: report.Nothing && report.Deleted+report.Temporary == 0, Held: report.Held, Extended: extended, Adopted: report.Adopted, Dropped: len(report.Dropped), Served: len(report.Served),
		Deleted: report.Deleted, BytesFreed: max(0, report.FreedSize), PacksStored: report.Rescued.Packs, BytesStored: report.Rescued.Stored, PacksSpared: report.Spared,
		Temporary: report.Temporary, Duration: took.Seconds()}
	a.ui.message(m)
	switch {
	case m.Nothing:
		a.ui.info("nothing to prune\n")
	case m.Adopted:
		a.ui.info("finished what an interrupted prune had planned: %s deleted; run it again for what has come since\n", display.Count(uint64(m.Deleted), "object"))
	case m.Held > 0:
		a.ui.info("pruned in %s: %s deleted\n", display.Duration(took), display.Count(uint64(m.Deleted), "object"))
	default:
		a.ui.info("pruned in %s: %s deleted, %s freed\n", display.Duration(took),
			display.Count(uint64(m.Deleted), "object"), display.Bytes(uint64(m.BytesFreed)))
	}
	if m.Held > 0 {
		a.ui.info("the store holds %s still: a later prune deletes what may go\n", display.Count(uint64(m.Held), "object"))
	}
	if f.extendLock {
		a.tellLocked(extended)
	}
}

func (a *app) tellLocked(n int) {
	a.ui.info("locked for longer: %s\n", display.Count(uint64(n), "object"))
}

// showPlan tells what a collection is going to do.
func (a *app) showPlan(r gc.Report, dryRun bool) {
	m := planMessage{Type: "plan", DryRun: dryRun, Dropped: []string{}, Served: len(r.Served), BytesTotal: r.TotalBytes, PacksTotal: r.PacksTotal,
		PacksDelete: len(r.Delete), BytesDelete: r.DeleteBytes, PacksRepack: len(r.Repack), BytesRepack: r.RepackBytes, BytesMoved: r.RescueBytes,
		PacksOrphan: len(r.Unnamed), BytesOrphan: r.UnnamedBytes, BytesFreed: max(0, r.FreedSize), BytesUnused: r.UnusedBytes}
	for _, id := range r.Dropped {
		m.Dropped = append(m.Dropped, id.String())
	}
	a.ui.message(m)
	print := a.ui.info
	if dryRun {
		print = a.ui.result
	}
	size := func(n int64) string { return fmt.Sprintf("%d bytes (%s)", n, display.Bytes(uint64(max(0, n)))) }
	print("packs        %d, %s\n", m.PacksTotal, size(m.BytesTotal))
	drop := display.Count(uint64(len(m.Dropped)), "forgotten backup")
	if m.Served > 0 {
		drop += ", " + display.Count(uint64(m.Served), "checkpoint") + " that a backup has superseded"
	}
	print("to drop      %s\n", drop)
	print("to delete    %s, %s\n", display.Count(uint64(m.PacksDelete), "pack"), size(m.BytesDelete))
	if m.PacksOrphan > 0 {
		print("unreferenced %s, %s\n", display.Count(uint64(m.PacksOrphan), "pack"), size(m.BytesOrphan))
	}
	if m.PacksRepack > 0 {
		print("to repack    %s, %s; about %s of it stays\n", display.Count(uint64(m.PacksRepack), "pack"), size(m.BytesRepack), display.Bytes(uint64(m.BytesMoved)))
	}
	frees := size(m.BytesFreed)
	if m.PacksRepack > 0 {
		frees = "about " + display.Bytes(uint64(m.BytesFreed)) // what is moved is compressed anew
	}
	print("frees        %s; unused data that stays: about %s\n", frees, display.Bytes(uint64(max(0, m.BytesUnused))))
}

func (a *app) tellWaiting(w repo.Waiting, patience time.Duration) {
	if a.ui.json {
		a.ui.message(waitingMessage{Type: "waiting", Session: w.ID.String(), Host: w.Host, PID: w.PID, Since: w.Started.Std()})
		return
	}
	if !a.ui.quiet {
		a.ui.complain("waiting for a backup that is under way: host %s, process %d, since %s; it is given up when it shows no sign of life for %s (--patience)",
			display.Name(w.Host), w.PID, localTime(w.Started), display.Duration(patience))
	}
}
