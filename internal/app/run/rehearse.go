//go:build linux

package run

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"vault/internal/app/config"
	"vault/internal/app/pick"
	"vault/internal/app/record"
	"vault/internal/display"
	"vault/repo"
	"vault/snapshot"
	"vault/snapshot/restore"
)

// RehearseOptions say which backup is restored for trial, and where.
type RehearseOptions struct {
	Options
	App  string              // as it is configured here
	Repo *config.Destination // instead of the application's own: a copy
	ID   string              // a Backup ID or the beginning of one; "" is the newest complete backup
	Host string              // where it was backed up, if several hosts have an application of the name

	Target       string // directory in which the scratch place is made, instead of the configured one
	AllowPartial bool   // the newest backup may be a partial one
	Keep         bool   // leave the scratch place to be looked at, until the next one
	Restored     func(restore.Event)
}

// Reasons for a trial restore not to succeed.
var (
	// ErrRehearsal says that the backup does not do what it is for.
	ErrRehearsal = errors.New("the trial restore went wrong")
	// ErrRehearsalTime says that it was not done in time.
	ErrRehearsalTime = errors.New("the trial restore took longer than its time-out")
)

// rehearsal is one trial restore under way.
type rehearsal struct {
	work
	o     RehearseOptions
	app   *config.App
	conf  *config.Rehearse
	place string // the scratch place
}

// Rehearse restores the volumes of one backup of an application into a scratch place,
// trees as directories and dumps as files, runs the check commands of the
// configuration there, removes the place and records the result. The application is
// not touched, its hooks are not run, and it is not locked: runs go on beside it. Of
// one application one trial restore is made at a time.
//
// A scratch place that a trial restore has left, since it was killed or was to keep it,
// is removed first. A trial restore that is interrupted is not recorded. A place
// that is kept is in the report.
func Rehearse(ctx context.Context, o RehearseOptions) Report {
	h := &rehearsal{o: o, app: o.Config.Apps[o.App], conf: &config.Rehearse{}}
	h.opts = &h.o.Options
	h.report.Activity = record.Activity{App: o.App, Kind: record.Rehearsal, Start: o.now()}
	if h.app == nil {
		return h.end(ctx, fmt.Errorf("there is no application %q in %s", o.App, o.Config.File))
	}
	if h.app.Rehearse != nil {
		h.conf = h.app.Rehearse
	}
	if h.o.Repo == nil {
		h.o.Repo = h.app.To
	}
	h.report.Destination = DestinationName(*h.o.Repo)
	h.report.Activity.Host = cmp.Or(h.app.Host, h.o.Options.Host)
	h.equip(h.app)
	return h.end(ctx, h.run(ctx))
}

func (h *rehearsal) end(ctx context.Context, err error) Report {
	return h.conclude(ctx, err, h.app != nil && ctx.Err() == nil)
}

func (h *rehearsal) run(ctx context.Context) (err error) {
	if h.o.StateDir == "" {
		return errors.New("there is no state directory: set VAULT_STATE_DIR")
	}
	unlock, err := lockApp(ctx, rehearsals(h.o.StateDir), h.o.App, !h.o.NoWait, func() { h.o.tell(h.o.App, "waiting", "another process is at work on a trial restore") })
	if err != nil {
		return err
	}
	defer unlock()
	if err := h.o.tidyRehearsal(h.o.App); err != nil {
		return err
	}
	h.report.Start = h.o.now() // not that of the queue
	h.o.begins(ctx, h.report.Activity)
	timed, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	if limit := time.Duration(h.conf.Timeout); limit > 0 {
		defer time.AfterFunc(limit, func() { stop(ErrRehearsalTime) }).Stop()
	}
	r, err := h.o.Open(timed, *h.o.Repo, false)
	if err != nil {
		return ended(timed, err)
	}
	defer r.Close()
	b, err := pick.Backup(timed, r, h.o.ID, snapshot.Filter{Group: h.o.App, Host: h.o.Host, AllowPartial: h.o.AllowPartial})
	if err != nil {
		return ended(timed, err)
	}
	h.report.BackupID = b.ID.String()
	list, err := h.volumes(b)
	if err != nil {
		return err
	}
	parent, err := filepath.Abs(cmp.Or(h.o.Target, h.conf.Target, os.Getenv("TMPDIR"), "/var/tmp"))
	if err != nil {
		return err
	}
	if err := rehearsalRoom(parent, list); err != nil {
		return err
	}
	s, err := newScratch(h.o.StateDir, h.o.App, parent, h.o.now())
	if err != nil {
		return err
	}
	defer func() {
		if h.o.Keep && ctx.Err() == nil {
			s.Kept, h.report.Scratch = true, s.Dir
			err = errors.Join(err, s.write(h.o.StateDir))
		} else if rerr := s.remove(h.o.StateDir); rerr != nil {
			err = errors.Join(err, rerr)
		}
	}()
	h.place = s.Dir
	if err := h.restore(timed, r, list); err != nil {
		return ended(timed, err)
	}
	return ended(timed, h.check(timed))
}

// volumes returns what is restored.
func (h *rehearsal) volumes(b *snapshot.Backup) (list []restore.Volume, err error) {
	for _, name := range h.conf.Volumes {
		if !slices.ContainsFunc(b.Volumes, func(v snapshot.Volume) bool { return covers(name, v.Name) }) {
			return nil, fmt.Errorf("%w: backup %s has no volume %s", ErrRehearsal, b.ID.Short(), display.Name(name))
		}
	}
	for i := range b.Volumes {
		v := &b.Volumes[i]
		if len(h.conf.Volumes) > 0 && !slices.ContainsFunc(h.conf.Volumes, func(name string) bool { return covers(name, v.Name) }) {
			continue
		}
		switch {
		case v.Root == nil:
			h.partial = true
			h.notice(fmt.Sprintf("volume %s: it had failed when the backup was made", display.Name(v.Name)))
		case !filepath.IsLocal(v.Name) || path.Clean(v.Name) != v.Name || v.Name == ".":
			return nil, fmt.Errorf("volume %s: this cannot be the name of a directory", display.Name(v.Name))
		default:
			list = append(list, restore.Volume{Volume: v, Dir: v.Name})
		}
	}
	if len(list) == 0 {
		return nil, fmt.Errorf("%w: there is nothing to restore", ErrRehearsal)
	}
	return list, nil
}

// rehearsalRoom reports whether there is room for what is restored, and some to spare
// for others. Holes count as if they were filled.
func rehearsalRoom(dir string, list []restore.Volume) error {
	if fi, err := os.Stat(dir); err != nil || !fi.IsDir() {
		return fmt.Errorf("trial restore: %s: %w", dir, cmp.Or(err, error(syscall.ENOTDIR)))
	}
	const block = 4096 // a file takes whole ones
	var need uint64
	for _, v := range list {
		need += v.BytesProcessed + block*v.Files.Total()
	}
	need += max(need/20, 64<<20)
	if err := room(dir, int64(min(need, 1<<62))); err != nil {
		return fmt.Errorf("trial restore: %w", err)
	}
	return nil
}

// restore writes the volumes to the scratch place.
func (h *rehearsal) restore(ctx context.Context, r *repo.Repo, list []restore.Volume) error {
	var failed error
	for _, v := range list {
		h.o.tell(h.o.App, "restore", v.Name)
		done, err := restore.Run(ctx, restore.Options{Source: r, Target: h.place, Observe: h.o.Restored, Xattr: h.keepsXattr(v.Name)}, []restore.Volume{v})
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if err == nil && done.ProblemCount > 0 {
			err = fmt.Errorf("%w: %s not restored as saved: %w", ErrRehearsal, display.Count(done.ProblemCount, "entry"), done.Problems[0])
		}
		out := record.Volume{Name: v.Name, State: "complete", Bytes: v.BytesProcessed, Files: v.Files.Total()}
		if err != nil {
			out.State, out.Message = "failed", err.Error()
			failed = errors.Join(failed, fmt.Errorf("volume %s: %w", display.Name(v.Name), err))
		}
		h.report.Volumes = append(h.report.Volumes, out)
	}
	return failed
}

// keepsXattr is [keepsXattr] for a saved volume, which may be a part of a configured one.
func (h *rehearsal) keepsXattr(volume string) func(name string) bool {
	whole, _, _ := strings.Cut(volume, "/")
	return keepsXattr(h.app.Volumes[whole])
}

// check runs the commands of the configuration in the scratch place.
func (h *rehearsal) check(ctx context.Context) error {
	extra := []string{"VAULT_BACKUP_ID=" + h.report.BackupID, "VAULT_TARGET=" + h.place}
	for _, c := range h.conf.Check {
		if c.Dir == "" {
			c.Dir = h.place
		}
		if err := h.x.step(ctx, "check", &c, extra); err != nil {
			return fmt.Errorf("%w: %w", ErrRehearsal, err)
		}
	}
	return nil
}
