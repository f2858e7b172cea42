package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strings"

	"github.com/spf13/pflag"

	"vault/internal/display"
	"vault/repo"
	"vault/snapshot"
)

// filterFlags choose backups.
type filterFlags struct {
	host, group, volume string
	tags                []string
	allowPartial        bool
}

// add adds the flags that all commands with a choice have.
func (f *filterFlags) add(flags *pflag.FlagSet) {
	flags.StringVar(&f.host, "host", "", "only backups of this host")
	flags.StringVar(&f.group, "group", "", "only backups of this group")
	flags.StringArrayVar(&f.tags, "tag", nil, "`KEY=VALUE`: only backups with this tag (repeatable)")
}

func (f *filterFlags) addPartial(flags *pflag.FlagSet) {
	flags.BoolVar(&f.allowPartial, "allow-partial", false, "latest may be a partial backup")
}

func (f *filterFlags) filter() (snapshot.Filter, error) {
	tags, err := parseTags(f.tags)
	return snapshot.Filter{Host: f.host, Group: f.group, Tags: tags, Volume: f.volume, AllowPartial: f.allowPartial}, err
}

// reference is what ID[:VOLUME[/PATH]] names.
type reference struct {
	backup *snapshot.Backup
	volume *snapshot.Volume // nil: all of them
	path   string           // below the volume's root; "" for all of it
}

// resolve finds what a reference means: a Backup ID, a snapshot id or latest,
// and behind a colon the longest volume name that fits, and a path in it.
func resolve(backups []*snapshot.Backup, text string, f snapshot.Filter) (reference, error) {
	head, tail, inside := strings.Cut(text, ":")
	var ref reference
	if head == "latest" {
		b, err := snapshot.Latest(backups, f)
		if err != nil {
			return ref, err
		}
		ref.backup = b
	} else {
		m, err := snapshot.ByPrefix(backups, head)
		if err != nil {
			return ref, err
		}
		ref.backup, ref.volume = m.Backup, m.Volume
	}
	switch {
	case !inside || tail == "":
		return ref, nil
	case ref.volume != nil:
		ref.path = inner(tail)
		return ref, nil
	}
	ref.volume, ref.path = longestVolume(ref.backup, tail)
	if ref.volume == nil {
		return ref, noVolume(ref.backup, tail)
	}
	return ref, nil
}

// longestVolume splits VOLUME/PATH at the longest volume name that matches.
func longestVolume(b *snapshot.Backup, text string) (best *snapshot.Volume, rest string) {
	for i := range b.Volumes {
		v := &b.Volumes[i]
		tail, ok := strings.CutPrefix(text, v.Name)
		if !ok || tail != "" && tail[0] != '/' && !strings.HasSuffix(v.Name, "/") {
			continue
		}
		if best == nil || len(v.Name) > len(best.Name) {
			best, rest = v, inner(tail)
		}
	}
	return best, rest
}

// inner cleans a path inside a volume: no slash at the ends, no empty parts.
func inner(p string) string { return strings.Trim(path.Clean("/"+p), "/") }

func noVolume(b *snapshot.Backup, name string) error {
	names := make([]string, len(b.Volumes))
	for i := range b.Volumes {
		names[i] = display.Name(b.Volumes[i].Name)
	}
	return &failure{code: exitFailure, err: fmt.Errorf("backup %s has no volume %s", b.ID.Short(), display.Name(name)),
		hint: "its volumes are: " + strings.Join(names, ", ")}
}

// node returns the entry that the reference names.
func (ref reference) node(ctx context.Context, r *repo.Repo) (*snapshot.Node, error) {
	if ref.volume.Root == nil {
		return nil, fmt.Errorf("volume %s of backup %s failed: nothing of it was stored", display.Name(ref.volume.Name), ref.backup.ID.Short())
	}
	n := ref.volume.Root
	for name := range strings.SplitSeq(ref.path, "/") {
		if name == "" {
			continue
		}
		err := fs.ErrNotExist
		if n.IsDir() {
			n, err = snapshot.Lookup(ctx, r, n.Tree, name)
		}
		if errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("volume %s of backup %s has no entry %s", display.Name(ref.volume.Name), ref.backup.ID.Short(), display.Name(ref.path))
		}
		if err != nil {
			return nil, err
		}
	}
	return n, nil
}
