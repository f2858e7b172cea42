package main

import (
	"context"
	"path"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"vault/internal/display"
	"vault/internal/match"
	"vault/snapshot"
	"vault/snapshot/find"
)

// findFlags say what to look for, and where.
type findFlags struct {
	filterFlags
	names, inames, backups, types []string
	newer, older                  string
	sizes                         []string
	long                          bool
}

func (a *app) findCommand() *cobra.Command {
	var f findFlags
	cmd := &cobra.Command{
		Use:   "find [PATTERN...]",
		Short: "Look for entries in backups",
		Long: `Find lists the entries of all backups, or of those chosen, that match one of the
patterns and everything else that is given. A pattern without a slash is about
names (*.conf), one that begins with a slash about the path in the volume
(/etc/*.conf), any other about the end of the path (conf.d/*.conf). What is
printed is a reference that restore and dump take.`,
		Example: `  vault find 'config.php'
  vault find --iname '*.JPG' --newer 2024-05-01 --size +5M --type f -l`,
	}
	flags := cmd.Flags()
	f.add(flags)
	flags.StringVar(&f.volume, "volume", "", "only volumes of this `NAME`")
	flags.StringArrayVar(&f.backups, "backup", nil, "only in the backup with this `ID` (repeatable)")
	flags.StringArrayVar(&f.names, "name", nil, "`PATTERN`, like the arguments (repeatable)")
	flags.StringArrayVar(&f.inames, "iname", nil, "`PATTERN`, whatever the case of letters (repeatable)")
	flags.StringVar(&f.newer, "newer", "", "modified at this `TIME` or later; or 7d: in the last 7 days")
	flags.StringVar(&f.older, "older", "", "modified before this `TIME`; or 1y: more than a year ago")
	flags.StringArrayVar(&f.sizes, "size", nil, "files of this `SIZE`: +1M at least, -1M at most, 1M exactly (repeatable)")
	flags.StringSliceVar(&f.types, "type", nil, "only f (file), d (directory), l (symlink), p (FIFO), c, b (device) or s (socket)")
	flags.BoolVarP(&f.long, "long", "l", false, "show type, mode, owner, size and time")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		q, err := f.query(args)
		if err != nil {
			return err
		}
		return a.find(cmd.Context(), f, q)
	}
	return cmd
}

var typeLetters = map[string]snapshot.Type{"f": snapshot.File, "d": snapshot.Directory, "l": snapshot.Symlink, "p": snapshot.FIFO,
	"c": snapshot.CharDevice, "b": snapshot.BlockDevice, "s": snapshot.Socket}

// query turns flags and arguments into a query.
func (f *findFlags) query(args []string) (q find.Query, err error) {
	q.Patterns = append(append(q.Patterns, args...), f.names...)
	if len(f.inames) > 0 {
		if len(q.Patterns) > 0 {
			return q, usagef("--iname does not go with other patterns: give all of them with --iname")
		}
		q.Patterns, q.Fold = f.inames, true
	}
	for _, letter := range f.types {
		t, ok := typeLetters[letter]
		if !ok {
			return q, usagef("--type %q: want one of f, d, l, p, c, b, s", letter)
		}
		q.Types = append(q.Types, t)
	}
	for _, c := range []struct {
		text string
		to   **snapshot.Time
	}{{f.newer, &q.Newer}, {f.older, &q.Older}} {
		if c.text == "" {
			continue
		}
		at, err := parseMoment(c.text)
		if err != nil {
			return q, usage(err)
		}
		*c.to = &at
	}
	for _, text := range f.sizes {
		n, err := match.ParseSize(strings.TrimPrefix(strings.TrimPrefix(text, "+"), "-"))
		if err != nil {
			return q, usagef("--size %q: want +1M, -1M or 1M", text)
		}
		size := uint64(n)
		if text[0] != '-' {
			q.Larger = &size
		}
		if text[0] != '+' {
			q.Smaller = &size
		}
	}
	if len(q.Patterns) == 0 && len(q.Types)+len(f.sizes) == 0 && q.Newer == nil && q.Older == nil {
		return q, usagef("nothing to look for: give a pattern, --newer, --older, --size or --type")
	}
	if err := q.Check(); err != nil {
		return q, usage(err)
	}
	return q, nil
}

// parseMoment parses a time, or how long ago it is.
func parseMoment(text string) (snapshot.Time, error) {
	if span, err := snapshot.ParseSpan(text); err == nil {
		return snapshot.TimeOf(span.Before(time.Now())), nil
	}
	at, err := parseTime(text)
	return snapshot.TimeOf(at), err
}

func (a *app) find(ctx context.Context, f findFlags, q find.Query) (err error) {
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
	if len(f.backups) > 0 {
		list = nil
		for _, id := range f.backups {
			b, err := c.resolveBackup(id, filter)
			if err != nil {
				return err
			}
			list = append(list, b)
		}
	}
	finder := find.New(r, q)
	for _, b := range list {
		for i := range b.Volumes {
			v := &b.Volumes[i]
			if v.Root == nil || f.volume != "" && v.Name != f.volume {
				continue
			}
			err := finder.Find(ctx, path.Base(v.Name), v.Root, func(p string, n *snapshot.Node) error {
				a.ui.message(matchMessage{Type: "match", BackupID: b.ID.String(), ShortID: b.ID.Short(), nodeInfo: nodeInfoOf(v.Name, p, n)})
				a.ui.result("%s\n", nodeLine(b.ID.Short()+":"+display.Name(path.Join(v.Name, p)), n, f.long))
				return a.ui.failed()
			})
			if err != nil {
				return err
			}
		}
	}
	if len(f.backups) > 0 {
		return nil
	}
	return c.damaged()
}
