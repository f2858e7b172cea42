package main

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/spf13/cobra"

	"vault/internal/display"
	"vault/pack"
	"vault/repo"
	"vault/repo/gc"
	"vault/repo/transfer"
	"vault/snapshot"
)

// copyFlags say what is copied, and from where.
type copyFlags struct {
	from          fromFlags
	filter        filterFlags
	apps          []string
	latest        int
	newer, dryRun bool
	compress      string
}

func (a *app) copyCommand() *cobra.Command {
	var f copyFlags
	cmd := &cobra.Command{
		Use:   "copy [ID...]",
		Short: "Copy backups from another repository",
		Long: `Copy brings backups from the repository --from-repo into this one, which may be
elsewhere and has other keys: only the host that copies needs both. Without an ID
it copies all that match the filters; what was copied before is passed over. So is
what was forgotten here since, unless it is named by its ID - but only until a
prune here removes it: nobody knows of it then, and it is copied again. If backups
are kept for less time here than in the source, use --newer, or a copy of a
configuration with a policy of its own (keep, 'vault run --copy'), which does not
copy what it would forget.

A copy keeps time, host, group, tags and volumes, and is found by the ID of the
backup that it was made of, too. Partial backups are copied as they are. Backups
are copied oldest first and each is committed by itself; of what is unchanged
since an earlier copy nothing is read. An interrupted copy (SIGINT, SIGTERM) keeps
what it has stored for the next one, and so does one that was killed, up to its
last checkpoint. The next run stores nothing of that again, and reads only
directories of it: what the data is called here is noted in the cache. With
--no-cache, or from another host, it reads all of the backup again.

A backup of which something is damaged is not copied; the others are, and the
exit code is 15.

Data is copied in the pieces into which it was cut. If backups are made directly
into this repository as well, both find the same data again only if this one was
made with 'vault init --copy-chunker-from'.`,
		Example: `  vault copy --from-repo /srv/vault
  vault copy --from-repo sftp://nas/vault --app nextcloud --newer
  VAULT_FROM_REPO=/srv/vault vault copy latest --host web`,
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) error { return a.copy(cmd.Context(), f, args) }
	flags := cmd.Flags()
	f.from.add(flags)
	f.filter.add(flags)
	f.filter.addPartial(flags)
	flags.StringArrayVar(&f.apps, "app", nil, "only backups of this application: short for --tag app=`NAME`")
	flags.IntVar(&f.latest, "latest", 0, "only the newest `N` of each host and group")
	flags.BoolVar(&f.newer, "newer", false, "only what is newer than the newest copy of the same host and group")
	flags.StringVar(&f.compress, "compression", "", "none, fastest, default, better or best (default: this repository's)")
	flags.BoolVarP(&f.dryRun, "dry-run", "n", false, "copy nothing, tell what would be")
	return cmd
}

func (a *app) copy(ctx context.Context, f copyFlags, args []string) (err error) {
	for _, name := range f.apps {
		f.filter.tags = append(f.filter.tags, "app="+name)
	}
	filter, err := f.filter.filter()
	if err != nil {
		return err
	}
	if f.latest < 0 || f.latest > 0 && len(args) > 0 {
		return usagef("--latest %d: want 1 or more, and no ID beside it", f.latest)
	}
	var level *pack.Level
	if f.compress != "" {
		l, err := pack.ParseLevel(f.compress)
		if err != nil {
			return usage(err)
		}
		level = &l
	}
	dst, err := a.open(ctx, nil)
	if err != nil {
		return err
	}
	defer closing(dst, &err)
	src, err := a.openSource(ctx, f.from)
	if err != nil {
		return err
	}
	defer closing(src, &err)
	if src.ID() == dst.ID() {
		return usagef("both are the repository %s", dst.ID())
	}
	c, err := a.catalogue(ctx, src)
	if err != nil {
		return err
	}
	list, err := f.choose(c, filter, args)
	if err != nil {
		return err
	}
	return a.transfer(ctx, dst, src, transfer.Options{Backups: list, Again: len(args) > 0, Newer: f.newer, DryRun: f.dryRun, Compression: level}, c)
}

// choose returns the backups that the target is to have.
func (f *copyFlags) choose(c catalogue, filter snapshot.Filter, args []string) (list []*snapshot.Backup, err error) {
	for _, arg := range args {
		b, err := c.resolveBackup(arg, filter)
		if err != nil {
			return nil, err
		}
		list = append(list, b)
	}
	if len(args) > 0 {
		return list, nil
	}
	list = snapshot.Select(c.list, filter)
	if f.latest > 0 {
		groups := snapshot.DefaultGrouping.Split(list)
		list = nil
		for _, g := range groups {
			list = append(list, g.Backups[max(0, len(g.Backups)-f.latest):]...)
		}
	}
	return list, nil
}

// foldAfter is the number of commits after which a long transfer puts the index
// of the target together.
const foldAfter = 64

func (a *app) transfer(ctx context.Context, dst, src *repo.Repo, o transfer.Options, c catalogue) error {
	report := newCopyReport(a.ui, o.DryRun)
	o.Observe, o.Warn = report.observe, a.ui.warn
	o.Keeping = func() {
		if !a.ui.json && !a.ui.quiet {
			a.ui.complain("interrupted: storing what was copied so far; interrupt again to stop at once")
		}
	}
	commits := 0
	o.Committed = func(ctx context.Context) {
		if commits++; commits%foldAfter == 0 {
			a.foldTarget(ctx, dst)
		}
	}
	done, err := transfer.Run(ctx, dst, src, o)
	if done.Count(transfer.Copied) > 0 && err == nil {
		a.foldTarget(ctx, dst)
	}
	alike := dst.CutsLike(src)
	if err == nil || ctx.Err() != nil {
		report.tell(&done, alike)
	}
	switch {
	case ctx.Err() != nil:
		return &failure{code: exitInterrupted, err: context.Cause(ctx), hint: keptHint(&done)}
	case errors.Is(err, repo.ErrKilled), errors.Is(err, repo.ErrVoid):
		return &failure{code: exitFailure, err: err, hint: "run the copy again: what was copied before is not copied again"}
	case err != nil:
		return err
	}
	return a.copyOutcome(&done, c)
}

func keptHint(r *transfer.Report) string {
	switch {
	case r.KeepErr != nil:
		return fmt.Sprintf("what was stored so far could not be kept: %v", r.KeepErr)
	case r.Kept, r.Count(transfer.Copied) > 0:
		return fmt.Sprintf("what was stored so far, %s, is used by the next run", display.Bytes(uint64(r.Total.Stored)))
	}
	return "nothing new had been stored"
}

// foldTarget keeps the target fast to open. Whether it succeeds does not matter
// for the copies.
func (a *app) foldTarget(ctx context.Context, dst *repo.Repo) {
	if _, err := gc.Fold(ctx, dst, gc.Options{Dead: sessionDead}); err != nil && ctx.Err() == nil {
		a.ui.warn("index", fmt.Errorf("the copies are stored, but the index was not put together: %w", err))
	}
}

// copyOutcome returns what the command ends with.
func (a *app) copyOutcome(r *transfer.Report, c catalogue) error {
	damaged, gone := r.Count(transfer.Damaged), r.Count(transfer.Gone)
	if damaged > 0 {
		return &failure{code: exitProblems, told: a.ui.json,
			err:  fmt.Errorf("%s of the source %s damaged and not copied", display.Count(uint64(damaged), "backup"), isAre(damaged)),
			hint: "the others are copied; `vault check` on the source tells more, `vault repair` saves what can be saved"}
	}
	if len(c.broken) > 0 {
		return &failure{code: exitProblems, err: fmt.Errorf("what could be listed is copied, but the source's list of backups is not complete: %w", c.broken[0]),
			hint: "`vault check` on the source tells more"}
	}
	if gone > 0 {
		at := slices.IndexFunc(r.Copies, func(c transfer.Copy) bool { return c.Outcome == transfer.Gone })
		return &failure{code: exitFailure, err: fmt.Errorf("a backup was removed from the source while it was copied: %w", r.Copies[at].Err),
			hint: "the others are copied; the next run does not miss it"}
	}
	return nil
}

func isAre(n int) string {
	if n == 1 {
		return "is"
	}
	return "are"
}
