package main

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"vault/internal/display"
	"vault/repo"
	"vault/snapshot"
)

func (a *app) tagCommand() *cobra.Command {
	var set, remove []string
	var dryRun bool
	cmd := &cobra.Command{
		Use:   "tag ID... [--set KEY=VALUE]... [--remove KEY[=VALUE]]...",
		Short: "Change the tags of backups",
		Long: `Tag adds and removes tags of backups that exist. --set gives the key this value
and takes others away; --add leaves other values of the key; --remove KEY takes
all values of a key away.`,
		Example: `  vault tag 01kaw3x5 --set keep=yes`,
		Args:    cobra.MinimumNArgs(1),
	}
	var add []string
	flags := cmd.Flags()
	flags.StringArrayVar(&set, "set", nil, "`KEY=VALUE`: the tag's only value from now on (repeatable)")
	flags.StringArrayVar(&add, "add", nil, "`KEY=VALUE`: one more value (repeatable)")
	flags.StringArrayVar(&remove, "remove", nil, "`KEY[=VALUE]`: a tag to remove (repeatable)")
	flags.BoolVarP(&dryRun, "dry-run", "n", false, "change nothing, tell what would be")
	cmd.RunE = func(cmd *cobra.Command, args []string) (err error) {
		change, err := parseTagChange(set, add, remove)
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
		var list []*snapshot.Backup
		for _, id := range args {
			b, err := c.resolveBackup(id, snapshot.Filter{})
			if err != nil {
				return err
			}
			list = append(list, b)
		}
		for _, b := range list {
			changes, tags := change.of(b.Tags)
			if len(changes) > 0 && !dryRun {
				if err := r.Tag(ctx, b.ID, repo.Event{Tags: changes, User: userName()}); err != nil {
					return fmt.Errorf("tag backup %s: %w", b.ID.Short(), err)
				}
			}
			texts := tagTexts(&snapshot.Backup{Tags: tags})
			a.ui.message(tagMessage{Type: "tagged", BackupID: b.ID.String(), DryRun: dryRun, Changed: len(changes) > 0, Tags: texts})
			a.ui.result("%s %s: %s\n", would(dryRun, "backup", "would tag backup"), b.ID.Short(), display.Line(strings.Join(texts, " ")))
		}
		return nil
	}
	return cmd
}

// tagChange is what is to become of the tags of a backup.
type tagChange struct {
	set, add []snapshot.Tag
	remove   []snapshot.Tag
	all      []string // keys to remove whatever their values
}

func parseTagChange(set, add, remove []string) (c tagChange, err error) {
	if len(set)+len(add)+len(remove) == 0 {
		return c, usage(errors.New("no change is given: use --set, --add or --remove"))
	}
	var errs [2]error
	c.set, errs[0] = parseTags(set)
	c.add, errs[1] = parseTags(add)
	for _, text := range remove {
		key, value, one := strings.Cut(text, "=")
		if key == "" {
			return c, usagef("--remove %q: the key is empty", text)
		}
		if one {
			c.remove = append(c.remove, snapshot.Tag{Key: key, Value: value})
		} else {
			c.all = append(c.all, key)
		}
	}
	return c, errors.Join(errs[:]...)
}

// of returns the changes that a backup with these tags needs, and its tags then.
func (c tagChange) of(tags []snapshot.Tag) (changes []repo.TagChange, after []snapshot.Tag) {
	goes := func(t snapshot.Tag) bool {
		if slices.Contains(c.set, t) || slices.Contains(c.add, t) {
			return false
		}
		return slices.Contains(c.remove, t) || slices.Contains(c.all, t.Key) ||
			slices.ContainsFunc(c.set, func(s snapshot.Tag) bool { return s.Key == t.Key })
	}
	for _, t := range tags {
		if goes(t) {
			changes = append(changes, repo.TagChange{Remove: true, Key: t.Key, Value: t.Value})
		} else {
			after = append(after, t)
		}
	}
	for _, t := range slices.Concat(c.set, c.add) {
		if !slices.Contains(after, t) {
			changes = append(changes, repo.TagChange{Key: t.Key, Value: t.Value})
			after = append(after, t)
		}
	}
	return changes, after
}
