package main

import (
	"context"
	"path"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"vault/internal/display"
	"vault/repo"
	"vault/snapshot"
	"vault/snapshot/compare"
)

func (a *app) diffCommand() *cobra.Command {
	var f filterFlags
	cmd := &cobra.Command{
		Use:   "diff ID[:VOLUME[/PATH]] ID[:VOLUME[/PATH]]",
		Short: "Show how two backups differ",
		Long: `Diff compares two backups, volume by volume, or two parts of backups. Nothing of
their content is read; a directory that both have in common is passed over.

  +  added   -  removed   M  changed   U  metadata only`,
		Args: cobra.ExactArgs(2),
	}
	f.add(cmd.Flags())
	f.addPartial(cmd.Flags())
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
		var refs [2]reference
		for i := range refs {
			if refs[i], err = c.resolve(args[i], filter); err != nil {
				return err
			}
		}
		if (refs[0].volume == nil) != (refs[1].volume == nil) {
			return usagef("one is a whole backup and the other a part of one: name a volume in both, or in none")
		}
		return a.diff(ctx, r, refs[0], refs[1])
	}
	return cmd
}

func (a *app) diff(ctx context.Context, r *repo.Repo, old, now reference) error {
	var report compare.Report
	show := func(volume, base string) func(compare.Change) error {
		return func(c compare.Change) error {
			report.Add(c)
			a.showChange(volume, path.Join(base, c.Path), c)
			return a.ui.failed()
		}
	}
	if old.volume != nil {
		x, err := old.node(ctx, r)
		if err != nil {
			return err
		}
		y, err := now.node(ctx, r)
		if err != nil {
			return err
		}
		if err := compare.Diff(ctx, r, x, y, show(now.volume.Name, now.path)); err != nil {
			return err
		}
	} else {
		for _, name := range volumeNames(old.backup, now.backup) {
			if err := compare.Diff(ctx, r, rootOf(old.backup, name), rootOf(now.backup, name), show(name, "")); err != nil {
				return err
			}
		}
	}
	a.ui.message(diffSummary{Type: "summary", From: old.backup.ID.String(), To: now.backup.ID.String(), Added: report.Added, Removed: report.Removed,
		Changed: report.Changed, Metadata: report.Metadata, BytesAdded: report.BytesAdded, BytesRemoved: report.BytesRemoved})
	a.ui.info("%d added, %d removed, %d changed, %d with other metadata; %s of files added, %s removed\n", report.Added, report.Removed, report.Changed,
		report.Metadata, display.Bytes(report.BytesAdded), display.Bytes(report.BytesRemoved))
	return nil
}

// volumeNames returns the names of the volumes that one of the backups has.
func volumeNames(backups ...*snapshot.Backup) (names []string) {
	for _, b := range backups {
		for i := range b.Volumes {
			names = append(names, b.Volumes[i].Name)
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// rootOf returns the root of a volume, or nil if nothing of it is there.
func rootOf(b *snapshot.Backup, name string) *snapshot.Node {
	if v := b.Volume(name); v != nil {
		return v.Root
	}
	return nil
}

func (a *app) showChange(volume, p string, c compare.Change) {
	m := changeMessage{Type: "change", Kind: c.Kind.String(), Volume: volume, VolumeBase64: lossless(volume), Path: p, PathBase64: lossless(p), What: c.What}
	name := display.Name(path.Join(volume, p))
	for _, n := range []*snapshot.Node{c.Old, c.New} {
		if n != nil {
			m.NodeType = n.Type.String()
		}
	}
	if m.NodeType == snapshot.Directory.String() {
		name += "/"
	}
	if c.Old != nil {
		m.OldSize = c.Old.Size
	}
	if c.New != nil {
		m.NewSize = c.New.Size
	}
	a.ui.message(m)
	letter := map[compare.Kind]string{compare.Added: "+", compare.Removed: "-", compare.Changed: "M", compare.Metadata: "U"}[c.Kind]
	if len(c.What) > 0 {
		name += "  (" + strings.Join(c.What, ", ") + ")"
	}
	a.ui.result("%s  %s\n", letter, name)
}
