package main

import (
	"fmt"
	"os"
	"os/user"
	"time"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"vault/pack"
	"vault/snapshot"
)

// backupFlags say what to back up and how to describe it.
type backupFlags struct {
	commands, tags                           []string
	stdin, host, group, at, parent, compress string
	dryRun, init, requireAll, skipUnchanged  bool
	oneFileSystem                            bool
	lists                                    listFlags
	excludes                                 excludeFlags
}

func (a *app) backupCommand() *cobra.Command {
	var f backupFlags
	cmd := &cobra.Command{
		Use:   "backup [NAME=]PATH...",
		Short: "Back up paths and outputs of commands",
		Long: `Backup stores volumes under one Backup ID: they become visible together, or not
at all. Each volume has a snapshot of its own.

A PATH is a volume named by its absolute path, and is restored to TARGET and that
path. NAME=PATH is a volume called NAME, restored to TARGET/NAME. NAME consists of
letters, digits, dot, underscore and minus; anything else before an equals sign
belongs to a path.

--command NAME='COMMAND' is a volume from the standard output of a command that
runs in /bin/sh -c. No temporary file is made. A command that exits with another
status than 0, dies by a signal or writes nothing fails its volume, which is then
not stored. A pipeline has the status of its last part, so that a failure of
pg_dump in 'pg_dump db | filter' goes unnoticed; compression is not needed here.

--files-from and its kin take a list of paths. What all lists name together is one
volume called /: these paths and everything below them, restored to TARGET and the
path of each. Who lists every single file names no directories: find -type f.

--exclude, --exclude-file and --ignore-file take patterns as in .gitignore files; a
pattern that begins with a slash begins at the root of its volume, or at the
directory of its ignore file. Where several match, --exclude decides before ignore
files, the nearest of these before those above it, and all of them before
--exclude-file; in one list it is the last. What lies in a directory left out cannot
be included again. With --pattern-syntax restic the patterns of --exclude and
--exclude-file are those of restic, and a slash at the beginning means the root of
the file system. The root of a volume always stays, and nothing is left out that no
option asks for.

An interrupted backup (SIGINT, SIGTERM) keeps what it has stored for the next one;
a second signal ends it at once.

When a file cannot be read, the rest of its volume is stored, the backup is
partial, and the exit code is 3. With --require-all nothing is stored then.`,
		Example: `  vault backup /home /etc
  vault backup html=/var/www --command db='pg_dump nextcloud' --tag app=nextcloud
  vault backup ~ --exclude-caches --ignore-file .gitignore --exclude '*.iso' -x
  find /srv -type f -newer stamp -print0 | vault backup --files-from-raw - --group new`,
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) error { return a.backup(cmd.Context(), f, args) }
	flags := cmd.Flags()
	flags.StringArrayVar(&f.commands, "command", nil, "`NAME='command'`: a volume from its output (repeatable)")
	flags.StringVar(&f.stdin, "stdin", "", "`NAME` of a volume from standard input")
	flags.StringArrayVar(&f.tags, "tag", nil, "`KEY=VALUE`: a tag (repeatable)")
	flags.StringVar(&f.group, "group", "", "what this is a backup of, for latest and retention")
	flags.StringVar(&f.host, "host", hostName(), "host to record")
	flags.StringVar(&f.at, "time", "", "`time` to record, such as '2006-01-02 15:04:05' or RFC 3339")
	flags.StringVar(&f.parent, "parent", "", "`ID` of the backup to compare with, or none to read everything")
	flags.StringVar(&f.compress, "compression", "", "none, fastest, default, better or best (default: the repository's)")
	flags.BoolVarP(&f.dryRun, "dry-run", "n", false, "store nothing, tell what would be")
	flags.BoolVar(&f.init, "init", false, "make the repository if there is none and none was seen there before")
	flags.BoolVar(&f.requireAll, "require-all", false, "store nothing unless every volume is complete")
	flags.BoolVar(&f.skipUnchanged, "skip-if-unchanged", false, "store no backup that equals its parent")
	flags.BoolVarP(&f.oneFileSystem, "one-file-system", "x", false, "do not enter other file systems; where one is mounted there is an empty directory")
	f.lists.add(flags)
	f.excludes.add(flags)
	return cmd
}

// describe fills in what the backup says about itself.
func (b *backupRun) describe() error {
	now := time.Now()
	b.backup.Started, b.backup.Time = snapshot.TimeOf(now), snapshot.TimeOf(now)
	b.backup.Host, b.backup.Group, b.backup.User = b.f.host, b.f.group, userName()
	for _, field := range []struct{ flag, value string }{{"--host", b.f.host}, {"--group", b.f.group}} {
		if len(field.value) > 255 || !utf8.ValidString(field.value) {
			return usagef("%s: want at most 255 bytes of UTF-8", field.flag)
		}
	}
	var err error
	if b.backup.Tags, err = parseTags(b.f.tags); err != nil {
		return err
	}
	if b.f.at != "" {
		at, err := parseTime(b.f.at)
		if err != nil {
			return usage(err)
		}
		b.backup.Time = snapshot.TimeOf(at)
	}
	if b.f.compress != "" {
		level, err := pack.ParseLevel(b.f.compress)
		if err != nil {
			return usage(err)
		}
		b.level = &level
	}
	return nil
}

func userName() string {
	if u, err := user.Current(); err == nil {
		return u.Username[:min(len(u.Username), 255)]
	}
	return os.Getenv("USER")
}

// parseTime parses a moment; without a zone it is local.
func parseTime(s string) (time.Time, error) {
	for _, layout := range []string{time.RFC3339Nano, "2006-01-02 15:04:05", "2006-01-02T15:04:05", "2006-01-02 15:04", "2006-01-02"} {
		if t, err := time.ParseInLocation(layout, s, time.Local); err == nil {
			return t, nil
		}
	}
	return time.Time{}, fmt.Errorf("time %q: want a form like '2006-01-02 15:04:05', '2006-01-02' or RFC 3339", s)
}
