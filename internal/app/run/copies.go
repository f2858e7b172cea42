//go:build linux

package run

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"

	"vault/internal/app/config"
	"vault/internal/app/record"
	"vault/pack"
	"vault/repo"
	"vault/repo/gc"
	"vault/repo/transfer"
	"vault/snapshot"
)

// Reasons why a copy is not whole.
var (
	ErrNotCopied = errors.New("damaged in the source, and not copied")
	ErrGone      = errors.New("removed from the source while it was copied")
)

// foldAfter is the number of commits after which a long copy puts the index of the
// target together.
const foldAfter = 64

// CopyOptions say how a configured copy is made.
type CopyOptions struct {
	Options
	Copy *config.Copy

	// Source and Target open the two repositories, with the limits of the copy; the
	// target may be made, if the configuration allows that.
	Source, Target func(ctx context.Context) (*repo.Repo, error)
	// Transfer is told what is copied; may be nil.
	Transfer func(transfer.Event)
}

// copying is one configured copy under way.
type copying struct {
	CopyOptions
	src, dst *repo.Repo
	backups  []*snapshot.Backup // of the source
	partial  error              // why the list of backups is not whole
}

// CopyApps makes a configured copy: what the target lacks of the backups of the
// applications, one application after the other, each with the copy's own retention
// in the target and a record of its own. There is a report for each of them. What an
// interrupted copy has stored is found again by the next.
//
// Of one copy one process at a time is at work. The applications themselves are not
// locked: a copy reads what is committed, and runs may go on beside it.
func CopyApps(ctx context.Context, o CopyOptions) []Report {
	c := copying{CopyOptions: o}
	start := o.now()
	fail := func(apps []string, err error) (list []Report) {
		for _, app := range apps {
			r := c.begin(app)
			r.Start = start
			c.end(ctx, &r, err)
			list = append(list, r)
		}
		return list
	}
	named := c.expected()
	if o.StateDir == "" {
		return fail(named, errors.New("there is no state directory: set VAULT_STATE_DIR"))
	}
	unlock, err := lockApp(ctx, filepath.Join(o.StateDir, "copies"), o.Copy.Name, !o.NoWait, func() { o.tell(o.Copy.Name, "waiting", "another process is at work on it") })
	if err != nil {
		return fail(named, err)
	}
	defer unlock()
	if err := c.open(ctx); err != nil {
		return fail(named, ended(ctx, err))
	}
	defer c.src.Close()
	defer c.dst.Close()
	var reports []Report
	for _, app := range c.apps() {
		if ctx.Err() != nil {
			break
		}
		reports = append(reports, c.one(ctx, app))
	}
	if ctx.Err() != nil && len(reports) == 0 {
		return fail(named, context.Cause(ctx))
	}
	return reports
}

// expected returns whose copies fail if the repositories cannot be opened: those that
// are named, or else those that are known here. There is at least one, perhaps "".
func (c *copying) expected() []string {
	if len(c.Copy.Apps) > 0 {
		return c.Copy.Apps
	}
	apps := slices.Collect(maps.Keys(c.Config.Apps))
	if c.Copy.After != "" {
		apps = append(apps, c.Copy.After)
	}
	store := record.In(c.StateDir)
	recorded, _ := store.Apps() // what is damaged is told when a result is added
	for _, app := range recorded {
		if r, err := store.Load(app); err == nil && r.Get(record.Copy, c.Copy.Name) != nil {
			apps = append(apps, app)
		}
	}
	slices.Sort(apps)
	if apps = slices.Compact(apps); len(apps) == 0 {
		return []string{""}
	}
	return apps
}

func (c *copying) open(ctx context.Context) (err error) {
	if c.src, err = c.Source(ctx); err != nil {
		return fmt.Errorf("source %s: %w", DestinationName(*c.Copy.From), err)
	}
	defer func() {
		if err != nil {
			c.src.Close()
		}
	}()
	if c.backups, err = c.src.Backups(ctx); err != nil {
		return fmt.Errorf("source %s: %w", DestinationName(*c.Copy.From), err)
	}
	broken, err := c.src.Broken(ctx)
	if err != nil {
		return fmt.Errorf("source %s: %w", DestinationName(*c.Copy.From), err)
	}
	c.partial = unlisted(broken)
	if c.dst, err = c.Target(ctx); err != nil {
		return fmt.Errorf("target %s: %w", DestinationName(*c.Copy.To), err)
	}
	if c.src.ID() == c.dst.ID() {
		c.dst.Close()
		return fmt.Errorf("source and target are the same repository %s", c.dst.ID())
	}
	return nil
}

// unlisted returns what says that a list of backups is not whole.
func unlisted(broken []error) error {
	for _, b := range broken {
		var state *repo.StateError
		if errors.As(b, &state) && (strings.HasPrefix(state.Object, "commits/") || strings.HasPrefix(state.Object, "events/")) {
			return b
		}
	}
	return nil
}

// apps returns whose backups are copied: those that the configuration names, or all
// of the source. Backups of nobody come last, as "".
func (c *copying) apps() []string {
	if len(c.Copy.Apps) > 0 {
		return c.Copy.Apps
	}
	var apps []string
	nobody := false
	for _, b := range c.backups {
		if ofApp(b) {
			apps = append(apps, b.Group)
		} else {
			nobody = true
		}
	}
	slices.Sort(apps)
	apps = slices.Compact(apps)
	if nobody {
		apps = append(apps, "")
	}
	return apps
}

// ofApp reports whether a run of an application made the backup.
func ofApp(b *snapshot.Backup) bool {
	return b.Group != "" && slices.Contains(b.Tags, snapshot.Tag{Key: "app", Value: b.Group})
}

// begin returns a report of an application.
func (c *copying) begin(app string) Report {
	host := cmp.Or(c.Config.Defaults.Host, c.Host)
	if a := c.Config.Apps[app]; a != nil {
		host = cmp.Or(a.Host, c.Host)
	}
	return Report{Activity: record.Activity{App: app, Kind: record.Copy, Destination: c.Copy.Name, Host: host, Start: c.now(),
		Polled: c.Copy.After != "" && c.Config.Apps[c.Copy.After] == nil}, DryRun: c.DryRun}
}

// one copies the backups of one application.
func (c *copying) one(ctx context.Context, app string) Report {
	r := c.begin(app)
	if app != "" {
		c.begins(ctx, r.Activity)
	}
	c.tell(app, "copy", c.Copy.Name)
	err := c.transfer(ctx, &r)
	if rerr := c.retain(ctx, &r); rerr != nil && err == nil {
		err = rerr
	}
	if !c.DryRun && answers(ctx, err) {
		var lerr error
		if r.Extended, lerr = c.extend(ctx, app, c.dst, *c.Copy.To); lerr != nil {
			err = errors.Join(err, ended(ctx, lerr))
		}
	}
	c.end(ctx, &r, err)
	return r
}

// transfer copies what the target lacks and is to keep. Where a backup turns out to be
// damaged, the policy is asked again without it: what it stood for may be there in
// another one.
func (c *copying) transfer(ctx context.Context, r *Report) error {
	var list []*snapshot.Backup
	for _, b := range c.backups {
		if r.App != "" && b.Group == r.App || r.App == "" && !ofApp(b) {
			list = append(list, b)
		}
	}
	if len(list) == 0 {
		c.notice(r, "the source has no backup of it")
	}
	to := transfer.Options{DryRun: c.DryRun, Now: c.Now, Observe: c.Transfer,
		Warn: func(about string, err error) { c.notice(r, about+": "+err.Error()) }}
	if text := c.Config.Repositories[c.Copy.To.Repo].Compression; text != "" {
		level, err := pack.ParseLevel(text)
		if err != nil {
			return err
		}
		to.Compression = &level
	}
	commits := 0
	to.Committed = func(ctx context.Context) {
		if commits++; commits%foldAfter == 0 {
			c.fold(ctx, r)
		}
	}
	var all []transfer.Copy
	for choice := (choice{policy: c.Copy.Keep.Policy(), now: c.now(), source: c.src.ID()}); ; {
		there, err := c.dst.Backups(ctx)
		if err != nil {
			return ended(ctx, fmt.Errorf("target %s: %w", DestinationName(*c.Copy.To), err))
		}
		if to.Backups, err = choice.next(r.App, list, there); err != nil || len(to.Backups) == 0 {
			if err == nil {
				break
			}
			return err
		}
		done, err := transfer.Run(ctx, c.dst, c.src, to)
		all = append(all, done.Copies...)
		c.count(r, &done)
		if err != nil {
			if ctx.Err() != nil && (done.Kept || r.Copied > 0) {
				c.notice(r, "what was stored so far is used by the next run")
			}
			return ended(ctx, err)
		}
		choice.take(done.Copies)
	}
	if r.Copied > 0 {
		c.fold(ctx, r)
	}
	return c.judge(&transfer.Report{Copies: all})
}

// count takes into the report what a transfer has done.
func (c *copying) count(r *Report, done *transfer.Report) {
	r.BytesAdded += uint64(done.Total.Added)
	r.BytesStored += uint64(done.Total.Stored)
	r.Copied += done.Count(transfer.Copied)
	var newest *snapshot.Backup
	for _, k := range done.Copies {
		if k.Outcome == transfer.Copied || k.Outcome == transfer.Present {
			newest = k.Backup
		}
	}
	if newest != nil && (r.Backup == nil || newest.Time.Compare(r.Backup.Time) > 0) {
		r.Backup, r.BackupID = newest, newest.ID.String()
	}
}

// judge says what is missing after a transfer that went through.
func (c *copying) judge(done *transfer.Report) error {
	for _, bad := range []struct {
		outcome transfer.Outcome
		err     error
	}{{transfer.Damaged, ErrNotCopied}, {transfer.Gone, ErrGone}} {
		n := done.Count(bad.outcome)
		if n == 0 {
			continue
		}
		at := slices.IndexFunc(done.Copies, func(k transfer.Copy) bool { return k.Outcome == bad.outcome })
		return fmt.Errorf("%d of %d backups: %w: %v", n, len(done.Copies), bad.err, done.Copies[at].Err)
	}
	if c.partial != nil {
		return fmt.Errorf("what could be listed is copied, but the source's list of backups is not whole: %w", c.partial)
	}
	return nil
}

// fold keeps the target fast to open. Whether it succeeds does not matter for the copies.
func (c *copying) fold(ctx context.Context, r *Report) {
	if _, err := gc.Fold(ctx, c.dst, gc.Options{Dead: c.Dead}); err != nil && ctx.Err() == nil {
		c.notice(r, "the copies are stored, but the index was not put together: "+err.Error())
	}
}

// retain applies the copy's own policy to the target.
func (c *copying) retain(ctx context.Context, r *Report) error {
	policy := c.Copy.Keep.Policy()
	if policy.IsZero() || r.App == "" || c.DryRun || ctx.Err() != nil {
		return nil
	}
	kept, forgotten, err := Retain(ctx, c.dst, Retention{App: r.App, Policy: policy, Now: c.now(), User: c.User})
	r.Kept, r.Forgotten, r.Retained = kept, len(forgotten), err == nil
	if err == nil {
		err = c.prune(ctx, r.App, c.dst, *c.Copy.To, len(forgotten))
	}
	if err != nil {
		return ended(ctx, err)
	}
	return nil
}

func (c *copying) notice(r *Report, message string) {
	r.Messages = append(r.Messages, message)
	c.warn(r.App, message)
}

// end completes a report and records it. A copy that another process is making is
// not recorded, nor are backups of nobody.
func (c *copying) end(ctx context.Context, r *Report, err error) {
	c.finish(&r.Activity, err)
	r.Err = err
	if c.DryRun || r.App == "" || c.StateDir == "" || errors.Is(err, ErrBusy) {
		return
	}
	r.Idle = err == nil && r.Copied == 0 && r.Forgotten == 0
	before := c.known(r.Activity)
	if kerr := record.In(c.StateDir).Add(r.Activity); kerr != nil {
		c.notice(r, kerr.Error())
	}
	r.Messages = append(r.Messages, c.ends(ctx, r.Activity, before)...)
}
