package main

import (
	"errors"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"vault/internal/display"
	"vault/snapshot"
)

func (a *app) snapshotsCommand() *cobra.Command {
	var f filterFlags
	cmd := &cobra.Command{
		Use:   "snapshots [ID]",
		Short: "List the snapshots of volumes",
		Long: `Snapshots lists what backups lists, by volume. Each volume of a backup has a
snapshot with an id of its own, which is accepted wherever ID:VOLUME is, and
carries its backup as the tag backup-id=ID.`,
		Args: cobra.MaximumNArgs(1),
	}
	f.add(cmd.Flags())
	f.addPartial(cmd.Flags())
	cmd.Flags().StringVar(&f.volume, "volume", "", "only volumes of this `NAME`")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		ids, tags := splitBackupTags(f.tags)
		f.tags = tags
		c, filter, err := a.listing(cmd, f, a.catalogue)
		if err != nil {
			return err
		}
		list := c.list
		keep := func(v *snapshot.Volume) bool { return f.volume == "" || v.Name == f.volume }
		if len(args) > 0 {
			ref, err := c.resolve(args[0], filter)
			if err != nil {
				return err
			}
			list = []*snapshot.Backup{ref.backup}
			if ref.volume != nil {
				keep = func(v *snapshot.Volume) bool { return v == ref.volume }
			}
		}
		list = snapshot.Select(list, filter)
		for _, id := range ids {
			m, err := snapshot.ByPrefix(list, id)
			switch {
			case errors.Is(err, snapshot.ErrNoBackup):
				list = nil
			case err != nil:
				return err
			default:
				list = slices.DeleteFunc(list, func(b *snapshot.Backup) bool { return b != m.Backup })
			}
		}
		a.listSnapshots(list, keep)
		if len(args) > 0 {
			return nil
		}
		return c.damaged()
	}
	return cmd
}

// splitBackupTags takes backup-id=ID out of the tags.
func splitBackupTags(args []string) (ids, tags []string) {
	for _, arg := range args {
		if id, ok := strings.CutPrefix(arg, backupTag+"="); ok {
			ids = append(ids, id)
		} else {
			tags = append(tags, arg)
		}
	}
	return ids, tags
}

func (a *app) listSnapshots(list []*snapshot.Backup, keep func(*snapshot.Volume) bool) {
	t := table{{"SNAPSHOT", "BACKUP", "TIME", "HOST", "VOLUME", "STATE", "FILES", "SIZE", "ADDED"}}
	for _, b := range list {
		for i := range b.Volumes {
			v := &b.Volumes[i]
			if !keep(v) {
				continue
			}
			id := v.SnapshotID(b)
			a.ui.message(snapshotMessage{Type: "snapshot", ID: id.String(), ShortID: id.Short(), BackupID: b.ID.String(),
				Time: b.Time.Std(), Host: b.Host, User: b.User, Group: b.Group,
				Tags: append(tagTexts(b), backupTag+"="+b.ID.String()), volumeInfo: volumeInfoOf(b, v)})
			t = append(t, []string{id.Short(), b.ID.Short(), localTime(b.Time), display.Line(b.Host), display.Name(v.Name), v.State.String(),
				display.Count(v.Files.Total(), "file"), display.Bytes(v.BytesProcessed), display.Bytes(v.BytesAdded)})
		}
	}
	a.printTable(t, "no snapshots")
}
