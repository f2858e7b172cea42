package main

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strings"

	"github.com/spf13/cobra"

	"vault/internal/display"
	"vault/repo"
	"vault/snapshot"
)

func (a *app) lsCommand() *cobra.Command {
	var f filterFlags
	var long bool
	var depth int
	cmd := &cobra.Command{
		Use:   "ls ID|latest[:VOLUME[/PATH]]",
		Short: "List the entries of a backup",
		Long: `Ls lists a backup, a volume or a directory with everything below it, or as deep as
--depth says.`,
		Args: cobra.ExactArgs(1),
	}
	f.add(cmd.Flags())
	f.addPartial(cmd.Flags())
	cmd.Flags().BoolVarP(&long, "long", "l", false, "show type, mode, owner, size and time")
	cmd.Flags().IntVar(&depth, "depth", -1, "list `N` levels below the directory; all if less than 0")
	cmd.RunE = func(cmd *cobra.Command, args []string) (err error) {
		filter, err := f.filter()
		if err != nil {
			return err
		}
		r, err := a.open(cmd.Context(), nil)
		if err != nil {
			return err
		}
		defer closing(r, &err)
		c, err := a.catalogue(cmd.Context(), r)
		if err != nil {
			return err
		}
		ref, err := c.resolve(args[0], filter)
		if err != nil {
			return err
		}
		if ref.volume != nil {
			return a.lsVolume(cmd, r, ref, long, depth)
		}
		var errs []error
		for i := range ref.backup.Volumes {
			ref.volume = &ref.backup.Volumes[i]
			if ref.volume.Root == nil {
				a.ui.warn(ref.volume.Name, errors.New("the volume failed: nothing of it was stored"))
				continue
			}
			errs = append(errs, a.lsVolume(cmd, r, ref, long, depth))
		}
		return errors.Join(errs...)
	}
	return cmd
}

// level is how many directories below the root a path lies.
func level(p string) int {
	if p == "" {
		return 0
	}
	return strings.Count(p, "/") + 1
}

// lsVolume lists one volume, or the part of it that the reference names.
func (a *app) lsVolume(cmd *cobra.Command, r *repo.Repo, ref reference, long bool, depth int) error {
	top, err := ref.node(cmd.Context(), r)
	if err != nil {
		return err
	}
	return snapshot.Walk(cmd.Context(), r, top, func(p string, n *snapshot.Node) error {
		a.showNode(ref.volume.Name, path.Join(ref.path, p), n, long)
		if err := a.ui.failed(); err != nil {
			return err
		}
		if n.IsDir() && depth >= 0 && level(p) >= depth {
			return fs.SkipDir
		}
		return nil
	})
}

func nodeInfoOf(volume, p string, n *snapshot.Node) nodeInfo {
	return nodeInfo{Volume: volume, VolumeBase64: lossless(volume), Path: p, PathBase64: lossless(p),
		Kind: n.Type.String(), Mode: n.Mode, Permissions: n.FileMode().String(), UID: n.UID, GID: n.GID, User: n.User, Group: n.Group,
		Size: n.Size, MTime: n.MTime.Std(), Target: n.Target, TargetBase64: lossless(n.Target)}
}

func (a *app) showNode(volume, p string, n *snapshot.Node, long bool) {
	if a.ui.json {
		a.ui.message(nodeMessage{Type: "node", nodeInfo: nodeInfoOf(volume, p, n)})
		return
	}
	a.ui.result("%s\n", nodeLine(display.Name(path.Join(volume, p)), n, long))
}

// nodeLine describes an entry for people. The name is safe to print.
func nodeLine(name string, n *snapshot.Node, long bool) string {
	if !long {
		return name
	}
	if n.Type == snapshot.Symlink {
		name += " -> " + display.Name(n.Target)
	}
	return fmt.Sprintf("%s %-8s %-8s %12d %s %s", n.FileMode(), owner(n.User, n.UID), owner(n.Group, n.GID), n.Size, localTime(n.MTime), name)
}

func owner(name string, id uint32) string {
	if name == "" {
		return fmt.Sprint(id)
	}
	return display.Line(name)
}
