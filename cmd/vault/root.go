package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// app is what all commands share: the global flags and the output.
type app struct {
	from            bool // it is about the repository to copy from
	repo            string
	passwordFile    string
	passwordCommand string
	passwordEnv     string // name of a variable; of configured repositories
	cacheDir        string
	noCache         bool
	limitUpload     string
	limitDownload   string
	remote          remoteFlags
	learn           func(passphrase []byte) // called with the passphrase that was given; or nil
	trace           func(request string)    // called before each request to a remote store; or nil
	flags           *pflag.FlagSet          // of the command, once they are parsed
	ui              *ui
}

// run executes one command line and returns the exit code.
func run(ctx context.Context, args []string) int {
	return (&app{ui: newUI(os.Stdout, os.Stderr)}).run(ctx, args)
}

func (a *app) run(ctx context.Context, args []string) int {
	root := a.rootCommand()
	root.SetArgs(args)
	started := false
	root.PersistentPreRunE = func(cmd *cobra.Command, _ []string) error {
		started, a.flags = true, cmd.Flags()
		return errors.Join(a.ui.check(), a.checkGlobal())
	}
	cmd, err := root.ExecuteContextC(ctx)
	if err != nil && !started {
		err = usage(err) // of parsing, whatever it is
	}
	if err == nil {
		err = a.ui.failed()
	}
	return a.ui.exit(ctx, cmd, err)
}

// rootCommand builds the tree of commands.
func (a *app) rootCommand() *cobra.Command {
	root := &cobra.Command{
		Use:   "vault",
		Short: "Encrypted, deduplicated backups that restore",
		Long: `vault keeps backups of file trees and of outputs of commands in an encrypted,
deduplicated repository.

The repository is given by --repo or VAULT_REPO: a directory, or
sftp://user@host/path, sftp:user@host:path or s3://bucket/prefix. Its passphrase
is given by VAULT_PASSWORD, --password-file or --password-command, or typed.

Exit codes: 0 done; 1 failed; 2 used wrongly; 3 stored, but some source could
not be read; 10 no repository there; 11 in use; 12 wrong key; 13 damaged;
14 unreachable; 15 a check found problems; 16 the store is full;
130 interrupted.`,
		SilenceErrors:              true,
		SilenceUsage:               true,
		SuggestionsMinimumDistance: 2,
		Args:                       cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				return unknownCommand(cmd, args[0])
			}
			return usage(errors.New("no command given"))
		},
	}
	f := root.PersistentFlags()
	f.StringVarP(&a.repo, "repo", "r", "", "`location` of the repository: a directory, sftp://... or s3://... (VAULT_REPO, VAULT_REPO_FILE)")
	f.StringVar(&a.passwordFile, "password-file", "", "`file` that holds the passphrase (VAULT_PASSWORD_FILE)")
	f.StringVar(&a.passwordCommand, "password-command", "", "shell `command` that prints the passphrase (VAULT_PASSWORD_COMMAND)")
	f.StringVar(&a.cacheDir, "cache-dir", "", "`directory` of the cache (VAULT_CACHE_DIR; default ~/.cache/vault)")
	f.BoolVar(&a.noCache, "no-cache", false, "use no cache")
	f.StringVar(&a.limitUpload, "limit-upload", "", "at most this `RATE` to a remote repository, in bytes a second, as 500K or 1M")
	f.StringVar(&a.limitDownload, "limit-download", "", "likewise from a remote repository")
	a.remote.add(f)
	f.BoolVar(&a.ui.json, "json", false, "write one JSON object a line (docs/json.md)")
	f.BoolVarP(&a.ui.quiet, "quiet", "q", false, "write nothing but errors and what was asked for")
	f.CountVarP(&a.ui.verbose, "verbose", "v", "write more; twice for every file")
	root.AddCommand(
		a.initCommand(), a.statusCommand(), a.backupCommand(), a.backupsCommand(), a.snapshotsCommand(),
		a.restoreCommand(), a.lsCommand(), a.checkCommand(), a.versionCommand(),
		a.forgetCommand(), a.unforgetCommand(), a.tagCommand(), a.pruneCommand(), a.repairCommand(), a.keyCommand(),
		a.findCommand(), a.diffCommand(), a.dumpCommand(), a.catCommand(), a.statsCommand(), a.inspectCommand(), a.copyCommand(), a.benchCommand(),
	)
	root.AddCommand(a.appCommands()...)
	return root
}

// unknownCommand is the error about a command that is none, with those that
// have nearly its name.
func unknownCommand(root *cobra.Command, name string) error {
	err := &failure{code: exitUsage, err: fmt.Errorf("unknown command %q", name)}
	if near := root.SuggestionsFor(name); len(near) > 0 {
		err.hint = fmt.Sprintf("is `vault %s` meant? `vault --help` lists the commands", strings.Join(near, "` or `vault "))
	}
	return err
}
