package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"vault/internal/display"
	"vault/repo"
	"vault/snapshot"
)

// forgetFlags say what to forget.
type forgetFlags struct {
	filterFlags
	policyFlags
	pruneFlags
	groupBy                   string
	dryRun, allowEmpty, prune bool
}

// shownDigits is how many digits of an id every list shows.
const shownDigits = 12

func (a *app) forgetCommand() *cobra.Command {
	var f forgetFlags
	cmd := &cobra.Command{
		Use:   "forget ID... | forget --keep-... N",
		Short: "Forget backups, by id or by a policy",
		Long: `Forget hides backups: they are not listed any more, and the next prune may delete
what only they need. Until then unforget brings them back.

With ids, at least the 12 digits that lists show are wanted of each.

With a policy, backups are put into groups (--group-by), and in each of them a
backup is kept if any of the rules keeps it. A partial backup never takes the
place of a complete one. A policy that would leave nothing of a group is refused:
it is more often a mistake than a wish.

Groups are made of hosts, groups, volume names and tags, never of paths. What one
host backs up separately takes each other's place there, unless each has a --group
of its own, or the policy says --group-by host,group,volume.`,
		Example: `  vault forget 01kaw3x5n2q7
  vault forget --keep-daily 7 --keep-weekly 4 --keep-monthly 12 --dry-run
  vault forget --group nextcloud --keep-within 30d --keep-age 1y=oldest --prune`,
	}
	flags := cmd.Flags()
	f.filterFlags.add(flags)
	flags.StringVar(&f.volume, "volume", "", "only backups with a volume of this `NAME`")
	f.policyFlags.add(flags)
	flags.StringVar(&f.groupBy, "group-by", "host,group", "what backups of one group have in common: `FIELDS` of host, group, volume, tag:KEY")
	flags.BoolVarP(&f.dryRun, "dry-run", "n", false, "forget nothing, show what would be")
	flags.BoolVar(&f.allowEmpty, "allow-empty-group", false, "also if the policy keeps nothing of a group")
	flags.BoolVar(&f.prune, "prune", false, "prune afterwards")
	f.pruneFlags.add(flags)
	cmd.RunE = func(cmd *cobra.Command, args []string) error { return a.forget(cmd.Context(), &f, args) }
	return cmd
}

func (a *app) forget(ctx context.Context, f *forgetFlags, ids []string) (err error) {
	policy, err := f.retention()
	if err != nil {
		return err
	}
	filter, err := f.filter()
	if err != nil {
		return err
	}
	grouping, err := snapshot.ParseGrouping(f.groupBy)
	if err != nil {
		return usage(err)
	}
	limits, err := f.limits()
	switch {
	case err != nil:
		return err
	case len(ids) > 0 && !policy.IsZero():
		return usagef("ids and a policy are both given: which one is meant?")
	case len(ids) > 0 && (f.host != "" || f.group != "" || f.volume != "" || len(f.tags) > 0):
		return usagef("--host, --group, --volume and --tag go with a policy, not with ids")
	case len(ids) == 0 && policy.IsZero():
		return &failure{code: exitUsage, err: errors.New("neither ids nor a policy are given, or the policy keeps nothing"),
			hint: "a policy keeps something: --keep-last 3, --keep-daily 7, --keep-within 30d ..."}
	}
	if f.prune {
		if err := a.checkExtendLock(f.pruneFlags, f.dryRun); err != nil {
			return err
		}
	}
	r, err := a.open(ctx, nil)
	if err != nil {
		return err
	}
	defer closing(r, &err)
	c, err := a.catalogue(ctx, r)
	if err != nil {
		return err
	}
	if len(ids) > 0 {
		err = a.forgetIDs(ctx, r, c, ids, f.dryRun)
	} else {
		err = a.forgetByPolicy(ctx, r, c, f, filter, grouping, policy)
	}
	if err != nil || !f.prune {
		return err
	}
	return a.prune(ctx, r, limits, f.pruneFlags, f.dryRun)
}

// forgetIDs forgets what was named, all of it or, after a mistake, nothing.
func (a *app) forgetIDs(ctx context.Context, r *repo.Repo, c catalogue, ids []string, dryRun bool) error {
	var list []*snapshot.Backup
	seen := map[*snapshot.Backup]bool{}
	for _, id := range ids {
		if len(id) < shownDigits && id != "latest" {
			return usagef("forget %q: give at least the %d digits that `vault backups` shows", id, shownDigits)
		}
		if id == "latest" {
			return usagef("forget latest: name the backup by its id")
		}
		b, err := c.resolveBackup(id, snapshot.Filter{})
		if err != nil {
			return err
		}
		if !seen[b] {
			seen[b] = true
			list = append(list, b)
		}
	}
	for _, b := range list {
		a.ui.message(forgetMessage{Type: "retention", BackupID: b.ID.String(), Time: b.Time.Std(), Host: b.Host, BackupGroup: b.Group,
			Tags: tagTexts(b), Reasons: []string{}})
		if err := a.forgetOne(ctx, r, b, dryRun); err != nil {
			return err
		}
		a.ui.result("%s backup %s of %s, %s\n", would(dryRun, "forgot", "would forget"), b.ID.Short(), localTime(b.Time), display.Line(b.Key().String()))
	}
	a.tellForget(forgetSummary{Type: "summary", DryRun: dryRun, Forgotten: len(list), Kept: len(c.list) - len(list)})
	return nil
}

func (a *app) forgetOne(ctx context.Context, r *repo.Repo, b *snapshot.Backup, dryRun bool) error {
	if dryRun {
		return nil
	}
	if err := r.Forget(ctx, b.ID, repo.Event{User: userName()}); err != nil {
		return fmt.Errorf("forget backup %s: %w", b.ID.Short(), err)
	}
	return nil
}

// forgetByPolicy shows what the policy decides, then carries it out.
func (a *app) forgetByPolicy(ctx context.Context, r *repo.Repo, c catalogue, f *forgetFlags, filter snapshot.Filter, grouping snapshot.Grouping, policy snapshot.Retention) error {
	if err := c.incomplete("forget by a policy", "repair the repository first, or name the backups by their ids"); err != nil {
		return err
	}
	var going []*snapshot.Backup
	var emptied []string
	m := forgetSummary{Type: "summary", DryRun: f.dryRun}
	for _, g := range grouping.Split(snapshot.Select(c.list, filter)) {
		decisions := policy.Apply(g.Backups, time.Now(), time.Local)
		kept := 0
		for _, d := range decisions {
			if d.Keep() {
				kept++
			} else {
				going = append(going, d.Backup)
			}
		}
		m.Groups, m.Kept = m.Groups+1, m.Kept+kept
		if kept == 0 {
			emptied = append(emptied, groupText(g))
		} else if lost := onlyGone(decisions); len(lost) > 0 {
			a.ui.warn(groupText(g), fmt.Errorf("no backup that is kept has volume %s; what is backed up separately wants a --group of its own, or --group-by %s,volume", strings.Join(lost, ", "), f.groupBy))
		}
		a.showDecisions(g, decisions)
	}
	m.Forgotten = len(going)
	if len(emptied) > 0 && !f.allowEmpty {
		return &failure{code: exitFailure, err: fmt.Errorf("the policy keeps nothing of %s: nothing was forgotten", strings.Join(emptied, "; ")),
			hint: "if that is meant: --allow-empty-group"}
	}
	for _, b := range going {
		if err := a.forgetOne(ctx, r, b, f.dryRun); err != nil {
			return err
		}
	}
	a.tellForget(m)
	return nil
}

// onlyGone returns the names of volumes, for people, that no backup which is kept has.
func onlyGone(decisions []snapshot.Decision) (names []string) {
	kept := map[string]bool{}
	for _, keep := range []bool{true, false} {
		for _, d := range decisions {
			for i := range d.Backup.Volumes {
				name := d.Backup.Volumes[i].Name
				if d.Keep() == keep && !kept[name] {
					kept[name] = true
					if !keep {
						names = append(names, display.Name(name))
					}
				}
			}
		}
	}
	return names
}

func (a *app) showDecisions(g snapshot.Group, decisions []snapshot.Decision) {
	a.ui.result("%s\n", groupText(g))
	t := table{{"", "ID", "TIME", "HOST", "GROUP", "STATE", "VOLUMES", "TAGS", "REASONS"}}
	for _, d := range decisions {
		b := d.Backup
		what := "keep"
		if !d.Keep() {
			what = "forget"
		}
		names := make([]string, len(b.Volumes))
		for i := range b.Volumes {
			names[i] = display.Name(b.Volumes[i].Name)
		}
		t = append(t, []string{what, b.ID.Short(), localTime(b.Time), display.Line(b.Host), display.Line(b.Group), b.State().String(),
			strings.Join(names, " "), display.Line(strings.Join(tagTexts(b), " ")), display.Line(strings.Join(d.Reasons, ", "))})
		m := forgetMessage{Type: "retention", BackupID: b.ID.String(), Time: b.Time.Std(), Host: b.Host, BackupGroup: b.Group,
			Tags: tagTexts(b), Keep: d.Keep(), Reasons: append([]string{}, d.Reasons...), GroupKey: map[string]string{}}
		for i, field := range g.Grouping {
			m.GroupKey[field.String()] = strings.Join(g.Values[i], ",")
		}
		a.ui.message(m)
	}
	a.printTable(t, "")
	a.ui.result("\n")
}

// groupText names a group for people.
func groupText(g snapshot.Group) string {
	var parts []string
	for i, field := range g.Grouping {
		value := strings.Join(g.Values[i], ",")
		if value == "" {
			value = "(none)"
		}
		parts = append(parts, field.String()+" "+display.Line(value))
	}
	if len(parts) == 0 {
		return "all backups"
	}
	return strings.Join(parts, ", ")
}

func (a *app) tellForget(m forgetSummary) {
	a.ui.message(m)
	a.ui.info("%s %s, %d kept\n", would(m.DryRun, "forgot", "would forget"), display.Count(uint64(m.Forgotten), "backup"), m.Kept)
	if m.Forgotten > 0 && !m.DryRun {
		a.ui.info("`vault unforget ID` brings one back until `vault prune` has run; `vault backups --forgotten` lists them\n")
	}
}

// would chooses how to say what was done, or would be.
func would(dryRun bool, did, would string) string {
	if dryRun {
		return would
	}
	return did
}

func (a *app) unforgetCommand() *cobra.Command {
	var dryRun bool
	cmd := &cobra.Command{
		Use:   "unforget ID...",
		Short: "Bring back forgotten backups",
		Long: `Unforget brings back backups that were forgotten, unless a prune has begun to
delete them. ` + "`vault backups --forgotten`" + ` lists what there is.`,
		Args: cobra.MinimumNArgs(1),
	}
	cmd.Flags().BoolVarP(&dryRun, "dry-run", "n", false, "change nothing, tell what would be")
	cmd.RunE = func(cmd *cobra.Command, args []string) (err error) {
		ctx := cmd.Context()
		r, err := a.open(ctx, nil)
		if err != nil {
			return err
		}
		defer closing(r, &err)
		c, err := a.forgotten(ctx, r)
		if err != nil {
			return err
		}
		var list []*snapshot.Backup
		for _, id := range args {
			b, err := c.resolveBackup(id, snapshot.Filter{AllowPartial: true})
			if errors.Is(err, snapshot.ErrNoBackup) {
				return &failure{code: exitFailure, err: fmt.Errorf("unforget %q: no forgotten backup has this id", id),
					hint: "`vault backups --forgotten` lists what can be brought back"}
			}
			if err != nil {
				return err
			}
			list = append(list, b)
		}
		for _, b := range list {
			if !dryRun {
				if err := r.Unforget(ctx, b.ID, repo.Event{User: userName()}); err != nil {
					return fmt.Errorf("unforget backup %s: %w", b.ID.Short(), err)
				}
			}
			a.ui.message(unforgetMessage{Type: "unforgotten", BackupID: b.ID.String(), DryRun: dryRun})
			a.ui.result("%s backup %s of %s, %s\n", would(dryRun, "brought back", "would bring back"), b.ID.Short(), localTime(b.Time), display.Line(b.Key().String()))
		}
		return nil
	}
	return cmd
}
