//go:build linux

package run

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"vault/internal/app/config"
	"vault/internal/app/pick"
	"vault/internal/app/record"
	"vault/internal/display"
	"vault/repo"
	"vault/snapshot"
	"vault/snapshot/restore"
)

// RestoreOptions say what is brought back, and where to.
type RestoreOptions struct {
	Options
	App  string              // as it is configured here
	From string              // name that it had where it was backed up; "" is App
	Repo *config.Destination // instead of the application's own
	ID   string              // a Backup ID or the beginning of one; "" is the newest complete backup
	Host string              // where it was backed up, if several hosts have an application of the name

	Volumes map[string]string // the volumes to restore, all if empty; a path instead of the volume's own, or ""
	Clean   bool              // remove what the backup does not have, whatever the configuration says
	Restart bool              // forget an interrupted restore, and begin anew

	AllowPartial  bool // the newest backup may be a partial one
	OtherIdentity bool // go on although what must agree (restore.compare) does not
	Entry         func(restore.Event)
}

// Reasons not to restore.
var (
	ErrHalfRestored = errors.New("a restore of this application was interrupted")
	ErrIdentity     = errors.New("what is there belongs to another instance")
	ErrNoWayBack    = errors.New("nothing says how it is brought back")
)

// halfRestored is the error for an application whose restore has not been finished.
func halfRestored(j *Journal) error {
	if j == nil || j.Restore == nil {
		return nil
	}
	return fmt.Errorf("%w: backup %s, %d of its volumes are done", ErrHalfRestored, short(j.Restore.BackupID), len(j.Restore.Done))
}

func short(id string) string { return id[:min(len(id), 12)] }

// bringing is one restore under way.
type bringing struct {
	work
	o        RestoreOptions
	app      *config.App
	repo     *repo.Repo
	backup   *snapshot.Backup
	parts    []part
	journal  *Journal
	leaveErr error
}

// part is a volume of the backup, and the way back.
type part struct {
	source
	saved *snapshot.Volume
	clean bool
}

// Restore brings an application back: all volumes of one backup, or those that are
// named. An interrupted restore is finished by the same call: what it has restored is
// not restored again, and nothing else is done to the application until it is
// finished or begun anew.
func Restore(ctx context.Context, o RestoreOptions) Report {
	b := &bringing{o: o, app: o.Config.Apps[o.App]}
	b.opts = &b.o.Options
	b.report.Activity = record.Activity{App: o.App, Kind: record.Restore, Host: o.Options.Host, Start: o.now()}
	b.report.DryRun = o.DryRun
	if b.app == nil {
		return b.end(ctx, fmt.Errorf("there is no application %q in %s", o.App, o.Config.File))
	}
	if b.o.Repo == nil {
		b.o.Repo = b.app.To
	}
	b.report.Destination = DestinationName(*b.o.Repo)
	b.equip(b.app)
	return b.end(ctx, b.run(ctx))
}

func (b *bringing) end(ctx context.Context, err error) Report {
	return b.conclude(ctx, err, b.app != nil && !b.o.DryRun)
}

func (b *bringing) run(ctx context.Context) error {
	if b.o.StateDir == "" {
		return errors.New("there is no state directory: set VAULT_STATE_DIR")
	}
	unlock, err := lockApp(ctx, b.o.StateDir, b.app.Name, !b.o.NoWait, func() { b.o.tell(b.app.Name, "waiting", "another process is at work on it") })
	if err != nil {
		return err
	}
	defer unlock()
	if !b.o.DryRun {
		if _, err := b.o.replay(ctx, b.app.Name); err != nil {
			return err
		}
	}
	if b.repo, err = b.o.Open(ctx, *b.o.Repo, false); err != nil {
		return err
	}
	defer b.repo.Close()
	old, err := readJournal(b.o.StateDir, b.app.Name)
	if err != nil {
		return err
	}
	if err := b.choose(ctx, old); err != nil {
		return err
	}
	if err := b.plan(ctx); err != nil {
		return ended(ctx, err)
	}
	if err := b.compare(ctx); err != nil {
		return ended(ctx, err)
	}
	if b.o.DryRun {
		for _, p := range b.parts {
			b.report.Planned = append(b.report.Planned, p.saved.Name+": "+p.way())
		}
		return nil
	}
	return b.hooks(ctx, old)
}

// choose finds the backup, and reconciles it with an interrupted restore.
func (b *bringing) choose(ctx context.Context, old *Journal) (err error) {
	id := b.o.ID
	resumed := old != nil && old.Restore != nil && !b.o.Restart
	if resumed && id == "" {
		id = old.Restore.BackupID
	}
	b.backup, err = pick.Backup(ctx, b.repo, id, snapshot.Filter{Group: cmp.Or(b.o.From, b.app.Name), Host: b.o.Host, AllowPartial: b.o.AllowPartial})
	if err != nil {
		return err
	}
	b.report.BackupID = b.backup.ID.String()
	if !resumed {
		return nil
	}
	if p := old.Restore; p.BackupID != b.report.BackupID || !slices.Equal(p.Volumes, b.asked()) {
		return halfRestored(old)
	}
	return nil
}

// asked returns what was asked for, in a form that can be compared.
func (b *bringing) asked() []string {
	list := []string{}
	for name, to := range b.o.Volumes {
		list = append(list, name+"="+to)
	}
	slices.Sort(list)
	return list
}

// plan joins the volumes of the backup with the ways back that are configured.
func (b *bringing) plan(ctx context.Context) error {
	k := sourcer{app: b.app, x: b.x, back: true, dry: b.o.DryRun, beside: filepath.Dir(b.o.Config.File)}
	if b.o.From != b.app.Name {
		k.from = b.o.From
	}
	for name := range b.o.Volumes {
		if !slices.ContainsFunc(b.backup.Volumes, func(v snapshot.Volume) bool { return covers(name, v.Name) }) {
			return fmt.Errorf("backup %s has no volume %s", b.backup.ID.Short(), display.Name(name))
		}
	}
	for i := range b.backup.Volumes {
		v := &b.backup.Volumes[i]
		to, chosen := "", len(b.o.Volumes) == 0
		for name, place := range b.o.Volumes {
			if covers(name, v.Name) {
				to, chosen = place, true
				if v.Name != name && to != "" {
					to = filepath.Join(to, strings.TrimPrefix(v.Name, name+"/"))
				}
			}
		}
		if !chosen {
			continue
		}
		if v.Root == nil {
			b.partial = true
			b.notice(fmt.Sprintf("volume %s: it had failed when the backup was made", display.Name(v.Name)))
			continue
		}
		p := part{saved: v, source: source{Volume: &config.Volume{Name: v.Name}}}
		if to == "" {
			if skip, err := b.way(ctx, &k, &p); err != nil {
				return fmt.Errorf("volume %s: %w", display.Name(v.Name), err)
			} else if skip {
				continue
			}
		} else {
			p.place = to
		}
		p.clean = b.o.Clean || b.app.Restore.Clean
		if r := back(p.Volume); r.Clean != nil && !b.o.Clean {
			p.clean = *r.Clean
		}
		b.parts = append(b.parts, p)
	}
	if len(b.parts) == 0 {
		return errors.New("there is nothing to restore")
	}
	b.order()
	return nil
}

// order puts the volumes into the order of the configuration; those that it does not
// know come last.
func (b *bringing) order() {
	rank := map[string]int{}
	for i, v := range b.app.VolumeList() {
		rank[v.Name] = i - len(b.app.Volumes)
	}
	slices.SortStableFunc(b.parts, func(p, q part) int {
		x, _, _ := strings.Cut(p.saved.Name, "/")
		y, _, _ := strings.Cut(q.saved.Name, "/")
		return rank[x] - rank[y]
	})
}

// covers reports whether a name stands for a volume: its own, or that of the lists that
// it comes from.
func covers(name, volume string) bool {
	return name == volume || strings.HasPrefix(volume, name+"/")
}

// way finds the configured way back of a volume; skip says that it is not brought back
// unless it is named.
func (b *bringing) way(ctx context.Context, k *sourcer, p *part) (skip bool, err error) {
	name, prefix, isPart := strings.Cut(p.saved.Name, "/")
	v := b.app.Volumes[name]
	for i := 0; v == nil && i < len(b.app.Dogus); i++ {
		list, err := k.dogu(&b.app.Dogus[i])
		if err != nil {
			return false, err
		}
		if i := slices.IndexFunc(list, func(v *config.Volume) bool { return v.Name == name }); i >= 0 {
			v = list[i]
		}
	}
	if v == nil {
		return false, fmt.Errorf("%w: the application has no such volume here; --volume %s=PATH puts it somewhere", ErrNoWayBack, display.Name(p.saved.Name))
	}
	if back(v).Skip && b.o.Volumes == nil {
		return true, nil
	}
	if p.source, err = k.source(ctx, v); err != nil {
		return false, err
	}
	if isPart {
		if err := k.partPlace(ctx, &p.source, prefix); err != nil {
			return false, err
		}
	}
	if p.feed == nil && p.load == nil && p.place == "" {
		return false, fmt.Errorf("%w: give it restore.command or restore.to, or --volume %s=PATH", ErrNoWayBack, display.Name(name))
	}
	return false, nil
}

// way says for people where a part goes.
func (p *part) way() string {
	switch {
	case p.feed != nil || p.load != nil:
		return "by " + p.Kind()
	}
	return "to " + p.place
}

// hooks is a restore from the first hook to the last.
func (b *bringing) hooks(ctx context.Context, old *Journal) error {
	r := &b.app.Restore
	progress := &Progress{BackupID: b.report.BackupID, Volumes: b.asked()}
	touched := old != nil && old.Restore != nil // perhaps within its first volume
	if touched && !b.o.Restart {
		progress.Done = old.Restore.Done
		b.o.tell(b.app.Name, "resume", fmt.Sprintf("%d of %d volumes are restored already", len(progress.Done), len(b.parts)))
	}
	b.journal = &Journal{App: b.app.Name, Kind: kindRestore, Started: b.report.Start.UTC(), PID: os.Getpid(), Finally: commandsOf(r.Finally), Env: b.x.base, Restore: progress}
	if err := writeJournal(b.o.StateDir, b.journal); err != nil {
		return err
	}
	err := b.main(ctx, &touched)
	after := context.WithoutCancel(ctx)
	if err != nil {
		if herr := b.x.all(after, "on-failure", r.OnFailure, b.known(err)); herr != nil {
			b.notice(herr.Error())
		}
	}
	if ferr := b.x.all(after, "finally", r.Finally, b.known(err)); ferr != nil {
		err = errors.Join(err, ferr)
	}
	switch {
	case b.leaveErr != nil:
	case err != nil && touched: // the next restore goes on
		b.notice(fmt.Sprintf("the application is half restored, and will not be backed up: vault restore --app %s goes on where it stopped", display.Name(b.app.Name)))
		b.journal.Finally = nil
		if jerr := writeJournal(b.o.StateDir, b.journal); jerr != nil {
			b.notice(jerr.Error())
		}
	default:
		if jerr := removeJournal(b.o.StateDir, b.app.Name); jerr != nil {
			err = errors.Join(err, jerr)
		}
	}
	return err
}

func (b *bringing) known(err error) []string {
	env := []string{"VAULT_RESULT=success", "VAULT_BACKUP_ID=" + b.report.BackupID}
	if err != nil {
		env[0] = "VAULT_RESULT=failed"
		env = append(env, "VAULT_ERROR="+printable(err.Error()))
	}
	return env
}

// main restores between enter and leave.
func (b *bringing) main(ctx context.Context, touched *bool) error {
	r := &b.app.Restore
	if err := b.x.steps(ctx, "before", r.Before, b.known(nil)); err != nil {
		return ended(ctx, err)
	}
	if len(r.Enter.Steps) == 0 {
		return b.restoreAll(ctx, touched)
	}
	b.journal.Quiet, b.journal.Leave = true, commandsOf(r.Leave.Steps)
	if err := writeJournal(b.o.StateDir, b.journal); err != nil {
		return err
	}
	began := b.o.now()
	err := b.x.steps(ctx, "enter", r.Enter.Steps, b.known(nil))
	if err == nil {
		err = b.restoreAll(ctx, touched)
	}
	b.leaveErr = leave(ctx, b.x, r.Leave.Steps, b.known(err))
	b.report.Quiet = b.o.now().Sub(began).Seconds()
	if b.leaveErr == nil {
		b.journal.Quiet, b.journal.Leave = false, nil
		if jerr := writeJournal(b.o.StateDir, b.journal); jerr != nil {
			b.notice(jerr.Error())
		}
	}
	if err != nil {
		err = ended(ctx, err)
	}
	return errors.Join(b.leaveErr, err)
}

func (b *bringing) restoreAll(ctx context.Context, touched *bool) error {
	done := &b.journal.Restore.Done
	for i := range b.parts {
		p := &b.parts[i]
		if slices.Contains(*done, p.saved.Name) {
			b.report.Volumes = append(b.report.Volumes, record.Volume{Name: p.saved.Name, State: "complete", Message: "restored before"})
			continue
		}
		*touched = true
		b.o.tell(b.app.Name, "restore", p.saved.Name+" "+p.way())
		err := b.restoreOne(ctx, p)
		v := record.Volume{Name: p.saved.Name, State: "complete", Bytes: p.saved.BytesProcessed, Files: p.saved.Files.Total()}
		if err != nil {
			v.State, v.Message = "failed", err.Error()
		}
		b.report.Volumes = append(b.report.Volumes, v)
		if err != nil {
			return fmt.Errorf("volume %s: %w", display.Name(p.saved.Name), err)
		}
		*done = append(*done, p.saved.Name)
		if err := writeJournal(b.o.StateDir, b.journal); err != nil {
			return err
		}
	}
	return b.x.steps(ctx, "after", b.app.Restore.After, b.known(nil))
}

func (b *bringing) restoreOne(ctx context.Context, p *part) error {
	how := back(p.Volume)
	extra := append(b.known(nil), "VAULT_VOLUME="+p.saved.Name, "VAULT_TARGET="+p.place)
	if err := b.x.steps(ctx, "before", how.Before, extra); err != nil {
		return err
	}
	var err error
	switch {
	case p.feed != nil && p.saved.Root.Type == snapshot.File:
		in := snapshot.NewReader(ctx, b.repo, p.saved.Root)
		err = p.feed(ctx, io.NewSectionReader(in, 0, in.Size()), p.clean)
	case p.load != nil:
		err = p.load(ctx, b.repo, p.saved.Root, p.clean)
	case p.place == "":
		err = ErrNoWayBack
	default:
		err = b.tree(ctx, p)
	}
	if err != nil {
		return err
	}
	return b.x.steps(ctx, "after", how.After, extra)
}

// tree restores files to their place.
func (b *bringing) tree(ctx context.Context, p *part) error {
	target, dir := p.place, "."
	if !p.saved.Root.IsDir() {
		target, dir = filepath.Dir(p.place), filepath.Base(p.place)
	}
	var choose func(volume, path string, n *snapshot.Node) bool
	if p.choose != nil {
		choose = func(_, path string, _ *snapshot.Node) bool { return p.choose(path) }
	}
	done, err := restore.Run(ctx, restore.Options{
		Select: choose,
		Source: b.repo, Target: target, Repository: b.repo.Directory(), Delete: p.clean, Owners: p.owners, Observe: b.o.Entry,
		Xattr: keepsXattr(p.Volume),
	}, []restore.Volume{{Volume: p.saved, Dir: dir}})
	switch {
	case err != nil:
		return err
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case done.ProblemCount > 0:
		return fmt.Errorf("%s not restored as saved: %w", display.Count(done.ProblemCount, "entry"), done.Problems[0])
	}
	return nil
}
