package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"vault/internal/display"
	"vault/repo/stats"
	"vault/snapshot"
)

func (a *app) statsCommand() *cobra.Command {
	var f filterFlags
	cmd := &cobra.Command{
		Use:   "stats [ID...]",
		Short: "Show what backups take",
		Long: `Stats counts what a restore writes and what is stored for it: every blob once, with
the oldest backup of the list that has it. So a line says what the backup adds to
those above it, and for a single ID what all of it takes.`,
	}
	f.add(cmd.Flags())
	cmd.Flags().StringVar(&f.volume, "volume", "", "only backups with a volume of this `NAME`")
	cmd.RunE = func(cmd *cobra.Command, args []string) (err error) {
		ctx := cmd.Context()
		filter, err := f.filter()
		if err != nil {
			return err
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
		list := snapshot.Select(c.list, filter)
		if len(args) > 0 {
			list = nil
			seen := map[*snapshot.Backup]bool{}
			for _, id := range args {
				b, err := c.resolveBackup(id, filter)
				if err != nil {
					return err
				}
				if !seen[b] {
					seen[b] = true
					list = append(list, b)
				}
			}
			list = snapshot.Select(list, snapshot.Filter{})
		}
		report, err := stats.Measure(ctx, r, list)
		if err != nil {
			return err
		}
		a.tellStats(list, report)
		if len(args) > 0 {
			return nil
		}
		return c.damaged()
	}
	return cmd
}

func (a *app) tellStats(list []*snapshot.Backup, r stats.Report) {
	t := table{{"ID", "TIME", "HOST", "GROUP", "FILES", "RESTORE SIZE", "NEW BLOBS", "NEW DATA", "STORED"}}
	for i, b := range list {
		s := r.Backups[i]
		a.ui.message(usageMessage{Type: "usage", BackupID: b.ID.String(), Time: b.Time.Std(), Host: b.Host, Group: b.Group, usageFigures: usageFigures(s)})
		t = append(t, []string{b.ID.Short(), localTime(b.Time), display.Line(b.Host), display.Line(b.Group), fmt.Sprint(s.Files),
			display.Bytes(s.Restore), fmt.Sprint(s.Blobs), display.Bytes(s.Plain), display.Bytes(s.Stored)})
	}
	m := statsSummary{Type: "summary", Backups: len(list), usageFigures: usageFigures(r.Total), Compression: ratio(r.Total.Plain, r.Total.Stored),
		Deduplication: ratio(r.Total.Restore, r.Total.Plain), Packs: r.Packs, PackBytes: r.Bytes}
	a.ui.message(m)
	a.printTable(t, "no backups")
	if len(list) == 0 {
		return
	}
	a.ui.result("\nrestore size   %s in %s\n", display.Bytes(m.Restore), display.Count(m.Files, "file"))
	a.ui.result("unique         %s in %s (deduplication %.2f)\n", display.Bytes(m.Plain), display.Count(m.Blobs, "blob"), m.Deduplication)
	a.ui.result("stored         %s (compression %.2f)\n", display.Bytes(m.Stored), m.Compression)
	a.ui.result("repository     %s in %s\n", display.Bytes(m.PackBytes), display.Count(m.Packs, "pack"))
}

// ratio is 1 where nothing is divided by nothing.
func ratio(a, b uint64) float64 {
	if b == 0 {
		return 1
	}
	return float64(a) / float64(b)
}
