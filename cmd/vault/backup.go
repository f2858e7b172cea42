package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/user"
	"slices"
	"time"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"vault/crypto"
	"vault/internal/display"
	"vault/pack"
	"vault/repo"
	"vault/snapshot"
	"vault/snapshot/archive"
)

// backupFlags say what to back up and how to describe it.
type backupFlags struct {
	commands, tags                           []string
	stdin, host, group, at, parent, compress string
	dryRun, init, requireAll, skipUnchanged  bool
	oneFileSystem                            bool
}

func (a *app) backupCommand() *cobra.Command {
	var f backupFlags
	cmd := &cobra.Command{
		Use:   "backup [NAME=]PATH...",
		Short: "Back up paths and outputs of commands",
		Long: `Backup stores volumes under one Backup ID: they become visible together, or not
at all. Each volume has a snapshot of its own.

A PATH is a volume named by its absolute path, and is restored to TARGET and that
path. NAME=PATH is a volume called NAME, restored to TARGET/NAME. NAME consists of
letters, digits, dot, underscore and minus; anything else before an equals sign
belongs to a path.

--command NAME='COMMAND' is a volume from the standard output of a command that
runs in /bin/sh -c. No temporary file is made. A command that exits with another
status than 0, dies by a signal or writes nothing fails its volume, which is then
not stored. A pipeline has the status of its last part, so that a failure of
pg_dump in 'pg_dump db | filter' goes unnoticed; compression is not needed here.

When a file cannot be read, the rest of its volume is stored, the backup is
partial, and the exit code is 3. With --require-all nothing is stored then.`,
		Example: `  vault backup /home /etc
  vault backup html=/var/www --command db='pg_dump nextcloud' --tag app=nextcloud`,
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) error { return a.backup(cmd.Context(), f, args) }
	flags := cmd.Flags()
	flags.StringArrayVar(&f.commands, "command", nil, "`NAME='command'`: a volume from its output (repeatable)")
	flags.StringVar(&f.stdin, "stdin", "", "`NAME` of a volume from standard input")
	flags.StringArrayVar(&f.tags, "tag", nil, "`KEY=VALUE`: a tag (repeatable)")
	flags.StringVar(&f.group, "group", "", "what this is a backup of, for latest and retention")
	flags.StringVar(&f.host, "host", hostName(), "host to record")
	flags.StringVar(&f.at, "time", "", "`time` to record, such as '2006-01-02 15:04:05' or RFC 3339")
	flags.StringVar(&f.parent, "parent", "", "`ID` of the backup to compare with, or none to read everything")
	flags.StringVar(&f.compress, "compression", "", "none, fastest, default, better or best (default: the repository's)")
	flags.BoolVarP(&f.dryRun, "dry-run", "n", false, "store nothing, tell what would be")
	flags.BoolVar(&f.init, "init", false, "make the repository if there is none and none was seen there before")
	flags.BoolVar(&f.requireAll, "require-all", false, "store nothing unless every volume is complete")
	flags.BoolVar(&f.skipUnchanged, "skip-if-unchanged", false, "store no backup that equals its parent")
	flags.BoolVarP(&f.oneFileSystem, "one-file-system", "x", false, "do not enter other file systems")
	return cmd
}

// backupRun is one backup under way.
type backupRun struct {
	a       *app
	f       backupFlags
	repo    *repo.Repo
	w       *repo.Writer
	volumes []archive.Volume
	backup  snapshot.Backup // what will be committed
	parents map[string]*snapshot.Backup
	level   *pack.Level
	report  *backupReport
}

func (a *app) backup(ctx context.Context, f backupFlags, args []string) (err error) {
	b := &backupRun{a: a, f: f, report: newBackupReport(a.ui)}
	if b.volumes, err = parseVolumes(args, f.commands, f.stdin); err != nil {
		return err
	}
	if err := b.describe(); err != nil {
		return err
	}
	var init *repo.InitOptions
	if f.init && !f.dryRun {
		init = &repo.InitOptions{Params: repo.DefaultParams()}
	}
	if b.repo, err = a.open(ctx, init); err != nil {
		return err
	}
	defer closing(b.repo, &err)
	if b.w, err = b.repo.Begin(ctx, repo.WriterOptions{DryRun: f.dryRun, Compression: b.level}); err != nil {
		return fmt.Errorf("begin backup: %w", err)
	}
	finished := false
	defer func() {
		if !finished {
			b.w.Abort()
		}
	}()
	if err := b.chooseParents(); err != nil {
		return err
	}
	if err := b.read(ctx); err != nil {
		return err
	}
	if err := b.refused(); err != nil {
		b.tell("failed", "")
		return err
	}
	switch {
	case f.dryRun:
		b.tell(b.backup.State().String(), "")
		return b.outcome()
	case f.skipUnchanged && b.unchanged():
		b.tell("unchanged", "")
		return nil
	}
	finished = true
	committed, err := b.w.Commit(&b.backup)
	if err != nil {
		return fmt.Errorf("commit backup: %w", err)
	}
	b.tell(committed.State().String(), committed.ID.String())
	return b.outcome()
}

// describe fills in what the backup says about itself.
func (b *backupRun) describe() error {
	now := time.Now()
	b.backup.Started, b.backup.Time = snapshot.TimeOf(now), snapshot.TimeOf(now)
	b.backup.Host, b.backup.Group, b.backup.User = b.f.host, b.f.group, userName()
	for _, field := range []struct{ flag, value string }{{"--host", b.f.host}, {"--group", b.f.group}} {
		if len(field.value) > 255 || !utf8.ValidString(field.value) {
			return usagef("%s: want at most 255 bytes of UTF-8", field.flag)
		}
	}
	var err error
	if b.backup.Tags, err = parseTags(b.f.tags); err != nil {
		return err
	}
	if b.f.at != "" {
		at, err := parseTime(b.f.at)
		if err != nil {
			return usage(err)
		}
		b.backup.Time = snapshot.TimeOf(at)
	}
	if b.f.compress != "" {
		level, err := pack.ParseLevel(b.f.compress)
		if err != nil {
			return usage(err)
		}
		b.level = &level
	}
	return nil
}

func userName() string {
	if u, err := user.Current(); err == nil {
		return u.Username[:min(len(u.Username), 255)]
	}
	return os.Getenv("USER")
}

// parseTime parses a moment; without a zone it is local.
func parseTime(s string) (time.Time, error) {
	for _, layout := range []string{time.RFC3339Nano, "2006-01-02 15:04:05", "2006-01-02T15:04:05", "2006-01-02 15:04", "2006-01-02"} {
		if t, err := time.ParseInLocation(layout, s, time.Local); err == nil {
			return t, nil
		}
	}
	return time.Time{}, fmt.Errorf("time %q: want a form like '2006-01-02 15:04:05', '2006-01-02' or RFC 3339", s)
}

// chooseParents gives each volume the newest backup of the same host and group
// that has a volume of its name, or the one that was asked for.
func (b *backupRun) chooseParents() error {
	if b.f.parent == "none" {
		return nil
	}
	candidates := snapshot.Select(b.w.Backups(), snapshot.Filter{Host: b.f.host})
	if b.f.parent != "" {
		m, err := snapshot.ByPrefix(b.w.Backups(), b.f.parent)
		if err != nil {
			return fmt.Errorf("parent: %w", err)
		}
		candidates = []*snapshot.Backup{m.Backup}
	}
	b.parents = map[string]*snapshot.Backup{}
	for i := range b.volumes {
		v := &b.volumes[i]
		for _, p := range slices.Backward(candidates) {
			saved := p.Volume(v.Name)
			if saved == nil || saved.Root == nil || b.f.parent == "" && p.Group != b.f.group {
				continue
			}
			v.Parent = &archive.Parent{Root: saved.Root, ScanStarted: saved.ScanStarted, Trusted: b.w.Trusts(p.ID)}
			b.parents[v.Name] = p
			if !slices.Contains(b.backup.Parents, p.ID) && len(b.backup.Parents) < 64 {
				b.backup.Parents = append(b.backup.Parents, p.ID)
			}
			break
		}
	}
	return nil
}

// read reads and stores all volumes.
func (b *backupRun) read(ctx context.Context) error {
	stored := &storedByVolume{w: b.w}
	report, err := archive.Run(ctx, archive.Options{
		NewStore:      func() archive.Store { return b.w.Lane() },
		Reader:        b.repo,
		Hasher:        b.repo,
		Chunker:       b.repo.Chunker(),
		Thresholds:    b.repo.Params().Trees,
		OneFileSystem: b.f.oneFileSystem,
		Items:         b.a.ui.verbose > 0,
		Observe: func(e archive.Event) {
			if e.Kind == archive.EventVolume {
				stored.next()
			}
			b.report.observe(e)
		},
	}, b.volumes)
	if err == nil {
		err = b.w.Flush()
	}
	if err != nil {
		return fmt.Errorf("back up: %w", err)
	}
	stored.next()
	for i := range report.Volumes {
		report.Volumes[i].BytesStored = stored.of(i)
	}
	b.backup.Volumes = report.Volumes
	b.backup.Finished = snapshot.TimeOf(time.Now())
	return nil
}

// storedByVolume takes the number of bytes stored at the beginning of each
// volume and at the end. What the writer gathers across the boundary of two
// volumes counts for the second.
type storedByVolume struct {
	w    *repo.Writer
	seen []int64
}

func (s *storedByVolume) next() { s.seen = append(s.seen, s.w.Stats().Stored) }

func (s *storedByVolume) of(i int) uint64 {
	if i+1 >= len(s.seen) {
		return 0
	}
	return uint64(s.seen[i+1] - s.seen[i])
}

// refused returns why nothing is to be stored, if so.
func (b *backupRun) refused() error {
	failed := 0
	for i := range b.backup.Volumes {
		if b.backup.Volumes[i].State == snapshot.Failed {
			failed++
		}
	}
	switch {
	case failed == len(b.backup.Volumes):
		return &failure{code: exitFailure, err: errors.New("nothing was stored: every volume failed")}
	case b.f.requireAll && !b.backup.Complete():
		return &failure{code: exitFailure, err: errors.New("nothing was stored: not every volume is complete, and --require-all is given")}
	}
	return nil
}

// unchanged reports whether all volumes are those of one parent, byte for byte.
func (b *backupRun) unchanged() bool {
	if len(b.backup.Parents) != 1 || !b.backup.Complete() {
		return false
	}
	for i := range b.backup.Volumes {
		v := &b.backup.Volumes[i]
		p := b.parents[v.Name]
		if p == nil || len(p.Volumes) != len(b.backup.Volumes) || !sameTree(p.Volume(v.Name).Root, v.Root) {
			return false
		}
	}
	return true
}

func sameTree(a, b *snapshot.Node) bool {
	x, xerr := snapshot.AppendBody(nil, a)
	y, yerr := snapshot.AppendBody(nil, b)
	return xerr == nil && yerr == nil && bytes.Equal(x, y)
}

// outcome is success, or a partial backup.
func (b *backupRun) outcome() error {
	if b.backup.Complete() {
		return nil
	}
	return &failure{code: exitPartial, told: b.a.ui.json,
		err:  errors.New("the backup is partial: some of the source could not be read"),
		hint: "the lines above say what; the rest is stored"}
}

// tell ends the output with a summary.
func (b *backupRun) tell(state, id string) {
	k := &b.backup
	m := summaryMessage{Type: "summary", DryRun: b.f.dryRun, BackupID: id, State: state,
		BackupStart: k.Started.Std(), BackupEnd: k.Finished.Std(), TotalDuration: k.Duration().Seconds(),
		Volumes: []volumeInfo{}}
	committed := k
	if id == "" {
		committed = nil
	}
	for i := range k.Volumes {
		info := volumeInfoOf(committed, &k.Volumes[i])
		m.Volumes = append(m.Volumes, info)
		m.counts.add(info.counts)
	}
	if len(m.Volumes) == 1 {
		m.SnapshotID = m.Volumes[0].SnapshotID
	}
	if len(k.Parents) > 0 {
		m.ParentID = slices.MaxFunc(k.Parents, crypto.SessionID.Compare).String()
	}
	b.a.ui.message(m)
	b.a.ui.backupSummary(m, k.ID.Short())
}

// backupSummary is the summary for people.
func (u *ui) backupSummary(m summaryMessage, short string) {
	what := "backup " + short + " stored"
	switch {
	case m.DryRun:
		what = "dry run, nothing is stored"
	case m.State == "unchanged":
		what = "nothing changed, no backup is stored"
	case m.BackupID == "":
		what = "nothing is stored"
	}
	u.info("%s: %s in %s\n", what, m.State, display.Duration(m.BackupEnd.Sub(m.BackupStart)))
	u.info("files        %d new, %d changed, %d unmodified\n", m.FilesNew, m.FilesChanged, m.FilesUnmodified)
	u.info("directories  %d new, %d changed, %d unmodified\n", m.DirsNew, m.DirsChanged, m.DirsUnmodified)
	u.info("processed    %s\n", display.Bytes(m.BytesProcessed))
	u.info("added        %s (stored %s)\n", display.Bytes(m.DataAdded), display.Bytes(m.DataAddedPacked))
	if len(m.Volumes) > 1 || m.State != "complete" {
		for _, v := range m.Volumes {
			u.info("volume       %s: %s, %s processed\n", display.Name(v.Name), v.State, display.Bytes(v.BytesProcessed))
		}
	}
}
