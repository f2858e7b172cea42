package main

import (
	"context"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"vault/internal/display"
	"vault/repo"
	"vault/snapshot"
)

func (a *app) backupsCommand() *cobra.Command {
	var f filterFlags
	var forgotten bool
	cmd := &cobra.Command{
		Use:   "backups [ID]",
		Short: "List backups, or the volumes of one",
		Long: `Backups lists what is there, oldest first. Where records are damaged it lists the
others, names the damage, and exits with 13. With --forgotten it lists what
unforget can bring back.`,
		Args: cobra.MaximumNArgs(1),
	}
	f.add(cmd.Flags())
	f.addPartial(cmd.Flags())
	cmd.Flags().StringVar(&f.volume, "volume", "", "only backups with a volume of this `NAME`")
	cmd.Flags().BoolVar(&forgotten, "forgotten", false, "list backups that are forgotten and not pruned yet")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		read := a.catalogue
		if forgotten {
			read = a.forgotten
		}
		c, filter, err := a.listing(cmd, f, read)
		if err != nil {
			return err
		}
		if len(args) == 0 {
			a.listBackups(snapshot.Select(c.list, filter))
			return c.damaged()
		}
		ref, err := c.resolve(args[0], filter)
		if err != nil {
			return err
		}
		a.describeBackup(ref.backup)
		return nil
	}
	return cmd
}

// listing opens the repository and reads a list of backups.
func (a *app) listing(cmd *cobra.Command, f filterFlags, read func(context.Context, *repo.Repo) (catalogue, error)) (c catalogue, filter snapshot.Filter, err error) {
	if filter, err = f.filter(); err != nil {
		return c, filter, err
	}
	r, err := a.open(cmd.Context(), nil)
	if err != nil {
		return c, filter, err
	}
	defer closing(r, &err)
	c, err = read(cmd.Context(), r)
	return c, filter, err
}

func (a *app) listBackups(list []*snapshot.Backup) {
	t := table{{"ID", "TIME", "HOST", "GROUP", "STATE", "SIZE", "ADDED", "VOLUMES", "TAGS"}}
	for _, b := range list {
		a.ui.message(backupMessageOf(b))
		var size, added uint64
		names := make([]string, len(b.Volumes))
		for i, v := range b.Volumes {
			size, added = size+v.BytesProcessed, added+v.BytesAdded
			names[i] = display.Name(v.Name)
		}
		t = append(t, []string{b.ID.Short(), localTime(b.Time), display.Line(b.Host), display.Line(b.Group), b.State().String(),
			display.Bytes(size), display.Bytes(added), strings.Join(names, " "), display.Line(strings.Join(tagTexts(b), " "))})
	}
	a.printTable(t, "no backups")
}

// describeBackup lists the volumes of one backup.
func (a *app) describeBackup(b *snapshot.Backup) {
	a.ui.result("backup   %s\ntime     %s (took %s)\nhost     %s\n", b.ID, localTime(b.Time), display.Duration(b.Duration()), display.Line(b.Host))
	for _, row := range []struct{ name, value string }{
		{"user", b.User}, {"group", b.Group}, {"tags", strings.Join(tagTexts(b), " ")}, {"state", b.State().String()},
	} {
		if row.value != "" {
			a.ui.result("%-8s %s\n", row.name, display.Line(row.value))
		}
	}
	if b.Origin != nil {
		a.ui.result("origin   %s of repository %s\n", b.Origin.ID, b.Origin.Repo)
	}
	a.ui.result("\n")
	a.listSnapshots([]*snapshot.Backup{b}, func(*snapshot.Volume) bool { return true })
	for i := range b.Volumes {
		for _, p := range b.Volumes[i].Problems {
			a.ui.result("problem: %s: %s: %s\n", display.Name(b.Volumes[i].Name), display.Name(p.Path), display.Line(p.Message))
		}
	}
}

func backupMessageOf(b *snapshot.Backup) backupMessage {
	m := backupMessage{Type: "backup", ID: b.ID.String(), ShortID: b.ID.Short(), Time: b.Time.Std(), Host: b.Host, User: b.User,
		Group: b.Group, Tags: tagTexts(b), State: b.State().String(), Program: b.Program, Duration: b.Duration().Seconds()}
	for _, p := range b.Parents {
		m.Parents = append(m.Parents, p.String())
	}
	for i := range b.Volumes {
		m.Volumes = append(m.Volumes, volumeInfoOf(b, &b.Volumes[i]))
	}
	if b.Origin != nil {
		m.Origin = map[string]string{"repository_id": b.Origin.Repo.String(), "backup_id": b.Origin.ID.String()}
	}
	return m
}

// tagTexts returns the tags as KEY=VALUE, never nil.
func tagTexts(b *snapshot.Backup) []string {
	out := []string{}
	for _, t := range b.Tags {
		if t.Value == "" {
			out = append(out, t.Key)
		} else {
			out = append(out, t.Key+"="+t.Value)
		}
	}
	return out
}

func localTime(t snapshot.Time) string { return t.Std().Local().Format(time.DateTime) }
