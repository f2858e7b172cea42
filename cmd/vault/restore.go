package main

import (
	"context"
	"fmt"
	"maps"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"vault/internal/display"
	"vault/snapshot"
	"vault/snapshot/restore"
)

// restoreFlags say what goes where.
type restoreFlags struct {
	filterFlags
	choiceFlags
	target, overwrite                          string
	volumes, owners                            []string
	verify, dryRun, delete, numericIDs, sparse bool
}

func (a *app) restoreCommand() *cobra.Command {
	var f restoreFlags
	cmd := &cobra.Command{
		Use:   "restore ID|latest[:VOLUME[/PATH]] --target DIR",
		Short: "Restore a backup, or a part of it",
		Long: `Restore writes the volumes of a backup below a directory: the volume db to
TARGET/db, a volume named by an absolute path to TARGET and that path.

ID is a Backup ID, the beginning of one, or latest: the newest complete backup
of the host and group that are chosen. ID:VOLUME restores one volume,
ID:VOLUME/PATH a part of it; a snapshot id stands for ID:VOLUME.

Existing files whose size and time are those of the backup are left alone, with
their metadata put right, unless --overwrite says otherwise: always writes every
file, if-newer replaces older files only, never leaves alone what exists. Of
large files only the blocks that differ are written. --verify reads everything
back, also what was left alone. Nothing outside the target is ever written,
whatever links are in the way.

A restore that was stopped goes on when it is started again: what is right is not
written again, and the temporary files of a killed restore (.vault-restore-*) are
removed from the directories that are restored, unless another restore is at work
there.

A user other than root gets all that this user may have. Owners, devices and
attributes that take root are listed with -v and counted at the end; a device that
could not be made is an error.

--include and --exclude take patterns as restic does: *.txt matches at any depth,
and /home/me/mail is a path in the volume /home; in a volume with another name,
paths begin at its root. What is below a match is matched as well. What both match
is left out. With --pattern-syntax gitignore, patterns are those of .gitignore.
--delete removes what the backup does not have from the directories that are
restored: only what the patterns choose, nothing outside the volumes' places, and
nothing from the places of other volumes of the backup. It is refused for the root
of this system, unless --include or a path says what it is about. --dry-run lists
all that would be removed.

Owners are found by name, and by number where this system does not know the name.
--owner-map user:NAME=TO or group:NAME=TO gives TO what belonged to a name in the
backup, uid:NUMBER=TO or gid:NUMBER=TO what belonged to a number; TO is a name or
number here. The first rule that fits counts, inside ACLs too. An ACL holds
numbers alone: a number in it has the name that it has as owner of the same entry
or of a directory above; for any other, give a rule with uid or gid.`,
		Example: `  vault restore latest --target /tmp/out
  vault restore 01kaw3x5 --target / --volume html --verify
  vault restore latest:html/config/config.php --target /tmp/out
  vault restore latest --target / --include '*.conf' --delete --dry-run`,
		Args: cobra.ExactArgs(1),
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) error { return a.restore(cmd, f, args[0]) }
	flags := cmd.Flags()
	f.filterFlags.add(flags)
	f.addPartial(flags)
	f.choiceFlags.add(flags)
	flags.StringVarP(&f.target, "target", "t", "", "`directory` to restore to")
	flags.StringArrayVar(&f.volumes, "volume", nil, "`NAME[=DIR]`: restore this volume, to TARGET/DIR (repeatable)")
	flags.StringVar(&f.overwrite, "overwrite", restore.IfChanged.String(), "always, if-changed, if-newer or never")
	flags.BoolVar(&f.delete, "delete", false, "delete what the backup does not have, in the directories that are restored")
	flags.BoolVar(&f.verify, "verify", false, "read back and compare everything")
	flags.BoolVarP(&f.dryRun, "dry-run", "n", false, "change nothing, list what would be changed")
	flags.BoolVar(&f.numericIDs, "numeric-ids", false, "restore owners by number, not by name")
	flags.StringArrayVar(&f.owners, "owner-map", nil, "`KIND:FROM=TO`: give what belonged to FROM to TO; KIND is user, group, uid or gid (repeatable)")
	flags.BoolVar(&f.sparse, "sparse", false, "make holes of all blocks of zeros, not only of what was a hole")
	return a.withApp(cmd, &f)
}

func (a *app) restore(cmd *cobra.Command, f restoreFlags, what string) (err error) {
	policy, err := restore.ParsePolicy(f.overwrite)
	if err != nil {
		return usage(err)
	}
	if f.target == "" {
		return usagef("--target is missing: where to?")
	}
	filter, err := f.filter()
	if err != nil {
		return err
	}
	choice, err := f.choiceFlags.parse(a.ui.warn)
	if err != nil {
		return err
	}
	owners, err := ownerRules(f.owners)
	if err != nil {
		return err
	}
	ctx := cmd.Context()
	r, err := a.open(ctx, nil)
	if err != nil {
		return err
	}
	defer closing(r, &err)
	c, err := a.catalogue(ctx, r)
	if err != nil {
		return err
	}
	ref, err := c.resolve(what, filter)
	if err != nil {
		return err
	}
	volumes, failed, err := restoreVolumes(ref, f.volumes)
	if err != nil {
		return err
	}
	if ref.path != "" {
		if _, err := ref.node(ctx, r); err != nil {
			return err
		}
	}
	report := newRestoreReport(a.ui, volumes)
	report.all = f.dryRun && !a.ui.quiet
	choice.Below = ref.path
	if err := a.guardDelete(f, choice, volumes); err != nil {
		return err
	}
	options := restore.Options{
		Source: r, Target: f.target, Overwrite: policy, Delete: f.delete, Verify: f.verify, DryRun: f.dryRun, Sparse: f.sparse,
		NumericIDs: f.numericIDs, Owners: owners, Observe: report.observe, Spare: otherPlaces(ref.backup, volumes), Repository: r.Directory(),
	}
	if chooser := restore.NewChooser(choice); !chooser.All() {
		options.Select, options.Descend = chooser.Select, chooser.Descend
	}
	start := time.Now()
	done, err := restore.Run(ctx, options, volumes)
	if err == nil {
		notFound(choice, a.ui.warn)
	}
	return a.tellRestore(ctx, f, ref.backup, done, failed, time.Since(start), err)
}

// restoreVolumes returns what to restore and where to, and the names of volumes
// that the backup has but did not store.
func restoreVolumes(ref reference, chosen []string) (list []restore.Volume, failed []string, err error) {
	add := func(v *snapshot.Volume, dir string) {
		if v.Root == nil {
			failed = append(failed, v.Name)
			return
		}
		list = append(list, restore.Volume{Volume: v, Dir: dir})
	}
	switch {
	case ref.volume != nil && len(chosen) > 0:
		return nil, nil, usagef("--volume does not go with a volume in the id")
	case ref.volume != nil:
		add(ref.volume, volumeDir(ref.volume.Name))
	case len(chosen) == 0:
		for i := range ref.backup.Volumes {
			add(&ref.backup.Volumes[i], volumeDir(ref.backup.Volumes[i].Name))
		}
	}
	for _, arg := range chosen {
		v, dir := chooseVolume(ref.backup, arg)
		if v == nil {
			return nil, nil, noVolume(ref.backup, arg)
		}
		if !filepath.IsLocal(filepath.FromSlash(dir)) {
			return nil, nil, usagef("--volume %s: the directory must lie inside the target", display.Name(arg))
		}
		add(v, dir)
	}
	return list, failed, distinctDirs(list)
}

// chooseVolume parses NAME[=DIR]; the longest name that the backup has wins.
func chooseVolume(b *snapshot.Backup, arg string) (best *snapshot.Volume, dir string) {
	if v := b.Volume(arg); v != nil {
		return v, volumeDir(arg)
	}
	for i := range b.Volumes {
		v := &b.Volumes[i]
		if d, ok := strings.CutPrefix(arg, v.Name+"="); ok && d != "" && (best == nil || len(v.Name) > len(best.Name)) {
			best, dir = v, path.Clean(d)
		}
	}
	return best, dir
}

func distinctDirs(list []restore.Volume) error {
	seen := map[string]string{}
	for _, v := range list {
		if other, twice := seen[v.Dir]; twice {
			return usagef("volumes %s and %s would both go to %s: use --volume NAME=DIR", display.Name(other), display.Name(v.Name), display.Name(v.Dir))
		}
		seen[v.Dir] = v.Name
	}
	return nil
}

// tellRestore ends the output and decides how the command ends.
func (a *app) tellRestore(ctx context.Context, f restoreFlags, b *snapshot.Backup, r restore.Report, failed []string, took time.Duration, err error) error {
	for _, p := range r.Problems {
		a.ui.problem(problemMessage{During: "restore", Volume: p.Volume, Item: p.Path, Error: problemText{p.Err.Error()}})
	}
	if a.ui.verbose > 0 {
		for _, p := range r.Notices {
			a.ui.warn(path.Join(p.Volume, p.Path), p.Err)
		}
	}
	m := restoreMessage{Type: "summary", DryRun: f.dryRun, BackupID: b.ID.String(), Target: f.target, TargetBase64: lossless(f.target),
		SecondsUsed: took.Seconds(), FilesRestored: r.Files + r.HardLinks, Directories: r.Directories, Others: r.Symlinks + r.Others,
		Skipped: r.Entries[restore.Skipped], Unchanged: r.Entries[restore.Unchanged], Deleted: r.Entries[restore.Deleted],
		BytesWritten: r.BytesWritten, BytesKept: r.BytesKept, BytesVerified: r.BytesVerified,
		ErrorCount: r.ProblemCount + uint64(len(failed)), NoticeCount: r.NoticeCount, NoticeKinds: r.NoticeKinds}
	if err != nil {
		return err
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	a.ui.message(m)
	a.ui.restoreSummary(m)
	switch {
	case len(failed) > 0:
		return &failure{code: exitFailure, err: fmt.Errorf("the backup was stored without %s: it had failed", display.Name(failed[0]))}
	case r.ProblemCount > 0:
		return &failure{code: exitFailure, err: fmt.Errorf("%s not restored as saved", display.Count(r.ProblemCount, "entry")),
			hint: "the lines above say which; run it again to complete the rest. What is damaged in the repository may be whole in another backup or a copy: `vault check`"}
	}
	return nil
}

func (u *ui) restoreSummary(m restoreMessage) {
	what := "restored"
	if m.DryRun {
		what = "would restore"
	}
	u.info("%s backup %s to %s in %s\n", what, m.BackupID[:12], display.Name(m.Target), display.Duration(time.Duration(m.SecondsUsed*float64(time.Second))))
	u.info("%s, %s, %s\n", display.Count(m.FilesRestored, "file"), display.Count(m.Directories, "directory"), display.Count(m.Others, "other entry"))
	u.info("written      %s\n", display.Bytes(m.BytesWritten))
	for _, row := range []struct {
		name string
		n    uint64
		text string
	}{
		{"unchanged", m.Unchanged, display.Count(m.Unchanged, "entry")},
		{"skipped", m.Skipped, display.Count(m.Skipped, "entry")},
		{"deleted", m.Deleted, display.Count(m.Deleted, "entry")},
		{"verified", m.BytesVerified, display.Bytes(m.BytesVerified)},
		{"notices", m.NoticeCount, fmt.Sprintf("metadata that could not be set: %s (-v shows which)", noticeText(m.NoticeKinds))},
	} {
		if row.n > 0 {
			u.info("%-12s %s\n", row.name, row.text)
		}
	}
}

// noticeText counts kinds of metadata: "2 flags, 40 owner".
func noticeText(kinds map[string]uint64) string {
	var parts []string
	for _, kind := range slices.Sorted(maps.Keys(kinds)) {
		parts = append(parts, fmt.Sprintf("%d %s", kinds[kind], kind))
	}
	return strings.Join(parts, ", ")
}
