package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"vault/internal/display"
	"vault/repo"
	"vault/snapshot"
	"vault/snapshot/export"
)

func (a *app) dumpCommand() *cobra.Command {
	var f filterFlags
	var archive string
	cmd := &cobra.Command{
		Use:   "dump ID|latest[:VOLUME[/PATH]]",
		Short: "Write a file, or a directory as tar or zip, to standard output",
		Long: `Dump writes one file as it is. A directory, or a whole backup, is written as a tar
with owners, times, extended attributes, hard links and devices; or as a zip,
which holds files, directories and links only. An archive that is cut short by
an error has no end mark, and dump exits with another status than 0.`,
		Example: `  vault dump latest:db | psql nextcloud
  vault dump latest:html/config --archive tar | tar --acls --xattrs --xattrs-include='*' -xpC /tmp/out -f -`,
		Args: cobra.ExactArgs(1),
	}
	f.add(cmd.Flags())
	f.addPartial(cmd.Flags())
	cmd.Flags().StringVarP(&archive, "archive", "a", "", "tar or zip, also for one file (default: tar for directories)")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if archive != "" && archive != "tar" && archive != "zip" {
			return usagef("--archive %q: want tar or zip", archive)
		}
		return a.dump(cmd.Context(), f, args[0], func(ctx context.Context, r *repo.Repo, ref reference, w io.Writer) error {
			members, file, err := dumpMembers(ctx, r, ref)
			switch {
			case err != nil:
				return err
			case archive == "" && file != nil:
				return export.File(ctx, r, w, file)
			case term.IsTerminal(int(os.Stdout.Fd())):
				return usagef("standard output is a terminal: send the archive to a file or a pipe")
			}
			write := export.Tar
			if archive == "zip" {
				write = export.Zip
			}
			return write(ctx, r, w, members, export.Options{Skipped: a.ui.warn})
		})
	}
	return cmd
}

func (a *app) catCommand() *cobra.Command {
	var f filterFlags
	cmd := &cobra.Command{
		Use:   "cat ID|latest:VOLUME[/PATH]",
		Short: "Write one file to standard output",
		Args:  cobra.ExactArgs(1),
	}
	f.add(cmd.Flags())
	f.addPartial(cmd.Flags())
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		return a.dump(cmd.Context(), f, args[0], func(ctx context.Context, r *repo.Repo, ref reference, w io.Writer) error {
			_, file, err := dumpMembers(ctx, r, ref)
			if err == nil && file == nil {
				err = &failure{code: exitUsage, err: fmt.Errorf("%s is no file", display.Name(args[0])), hint: "`vault dump` writes a directory as tar or zip"}
			}
			if err != nil {
				return err
			}
			return export.File(ctx, r, w, file)
		})
	}
	return cmd
}

// dump opens the repository, finds what is meant and lets write write it.
func (a *app) dump(ctx context.Context, f filterFlags, what string, write func(context.Context, *repo.Repo, reference, io.Writer) error) (err error) {
	if a.ui.json {
		return usagef("--json has no meaning here: standard output is for the content")
	}
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
	ref, err := c.resolve(what, filter)
	if err != nil {
		return err
	}
	a.ui.line.out = nil
	w := bufio.NewWriterSize(a.ui.stdout, 1<<18)
	if err := write(ctx, r, ref, w); err != nil {
		w.Flush()
		return err
	}
	if err := w.Flush(); err != nil {
		return fmt.Errorf("write to standard output: %w", err)
	}
	return nil
}

// dumpMembers returns what an archive of the reference holds, and the file that
// it is, if it is one.
func dumpMembers(ctx context.Context, r *repo.Repo, ref reference) (members []export.Member, file *snapshot.Node, err error) {
	if ref.volume != nil {
		n, err := ref.node(ctx, r)
		if err != nil {
			return nil, nil, err
		}
		if n.IsDir() {
			return []export.Member{{Name: ".", Node: n}}, nil, nil
		}
		if n.Type == snapshot.File {
			file = n
		}
		return []export.Member{{Name: path.Base(path.Join(volumeDir(ref.volume.Name), ref.path)), Node: n}}, file, nil
	}
	for i := range ref.backup.Volumes {
		v := &ref.backup.Volumes[i]
		if v.Root == nil {
			return nil, nil, fmt.Errorf("volume %s of backup %s failed: nothing of it was stored", display.Name(v.Name), ref.backup.ID.Short())
		}
		members = append(members, export.Member{Name: volumeDir(v.Name), Node: v.Root})
	}
	if len(members) == 0 {
		return nil, nil, errors.New("the backup has no volumes")
	}
	return members, nil, nil
}
