package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"vault/backend"
	"vault/internal/display"
	"vault/repo"
	"vault/snapshot"
)

// The exit codes. They are a contract with scripts.
const (
	exitFailure       = 1
	exitUsage         = 2
	exitPartial       = 3
	exitUninitialised = 10
	exitBusy          = 11
	exitWrongKey      = 12
	exitDamaged       = 13
	exitUnreachable   = 14
	exitProblems      = 15
	exitNoSpace       = 16
	exitInterrupted   = 130
)

// failure is an error whose exit code, or hint, a command knows better than
// exitCode and hint do.
type failure struct {
	code int
	err  error
	hint string // or ""
	told bool   // the command's own output says it: nothing more is printed
}

func (f *failure) Error() string { return f.err.Error() }
func (f *failure) Unwrap() error { return f.err }

// usage marks an error as wrong use of the command.
func usage(err error) error { return &failure{code: exitUsage, err: err} }

func usagef(format string, args ...any) error { return usage(fmt.Errorf(format, args...)) }

// exitCode returns the code for the end of a command. It is the only place
// that decides this, and it looks at what errors are, not at what they say.
func exitCode(ctx context.Context, err error) int {
	var f *failure
	switch {
	case err == nil:
		return 0
	case errors.As(err, &f) && f.code == exitPartial: // it is stored, whatever came later
		return f.code
	case ctx.Err() != nil && errors.Is(context.Cause(ctx), errInterrupted):
		return exitInterrupted
	case errors.As(err, &f):
		return f.code
	case errors.Is(err, backend.ErrNoSpace):
		return exitNoSpace
	}
	return stateCode(repo.StateOf(err))
}

// stateCode returns the code that tells of a state of the repository.
func stateCode(s repo.State) int {
	switch s {
	case repo.Ready, repo.Sealed:
		return 0
	case repo.Uninitialised:
		return exitUninitialised
	case repo.WrongKey:
		return exitWrongKey
	case repo.Damaged:
		return exitDamaged
	case repo.Unreachable:
		return exitUnreachable
	}
	return exitFailure
}

// hint returns what to do about an error, or "". The nearest advice wins: the
// command's own, the storage's, then the one for the kind of error.
func hint(cmd *cobra.Command, code int, err error) string {
	var f *failure
	if errors.As(err, &f) && f.hint != "" {
		return f.hint
	}
	if errors.Is(err, repo.ErrNoExclusiveCreate) {
		return "several clients would overwrite each other's records there; `vault init --single-writer` accepts the store for one client"
	}
	if h := backend.Hint(err); h != "" {
		return h
	}
	var groups *snapshot.GroupsError
	var ambiguous *snapshot.AmbiguousError
	switch {
	case errors.As(err, &groups):
		return "choose one with --host and --group"
	case errors.As(err, &ambiguous):
		return "give more digits"
	case errors.Is(err, snapshot.ErrNoBackup):
		return "`vault backups` lists what there is"
	case errors.Is(err, repo.ErrKilled), errors.Is(err, repo.ErrVoid):
		return "run the backup again: what it stored is found again where it still exists"
	case errors.Is(err, repo.ErrVanished):
		return "is it still mounted? `vault status` tells what is there now; a backup that ends like this is not stored"
	case repo.StateOf(err) == repo.Unsupported:
		return "install a newer version of vault"
	}
	switch code {
	case exitUsage:
		if cmd != nil && cmd.HasParent() {
			return fmt.Sprintf("`%s --help` shows how to use it", cmd.CommandPath())
		}
		return "`vault --help` lists the commands"
	case exitUninitialised:
		return "check the location; `vault init` makes a repository there"
	case exitWrongKey:
		return "check the passphrase: VAULT_PASSWORD, --password-file or --password-command; if it is lost, `vault key import` makes a new one from a recovery sheet"
	case exitDamaged:
		return damagedHint(err)
	case exitUnreachable:
		return "check the mount, the network and the credentials; nothing was changed"
	case exitNoSpace:
		return "free some space and run it again; earlier backups are intact"
	}
	return ""
}

// damagedHint tells what brings a damaged repository back: the config comes from
// nowhere else, key slots come from a recovery sheet, and repair knows the rest.
func damagedHint(err error) string {
	var s *repo.StateError
	errors.As(err, &s)
	switch {
	case s == nil || s.Object == "config":
		return "do not initialise here; put the object back from a copy of the repository"
	case strings.HasPrefix(s.Object, "keys/"):
		return "do not initialise here; use the passphrase of another key slot, put the slot back from a copy of the repository, or make a new one from a recovery sheet: `vault key import`"
	}
	return "`vault repair --dry-run` tells what can be mended and what is lost; `vault repair --help` what to do about records that cannot be read"
}

// exit tells how the command ended and returns its code.
func (u *ui) exit(ctx context.Context, cmd *cobra.Command, err error) int {
	u.line.clear()
	code := exitCode(ctx, err)
	var f *failure
	if errors.As(err, &f); code == 0 || code != exitInterrupted && f != nil && f.told {
		return code
	}
	message, advice := err.Error(), hint(cmd, code, err)
	if code == exitInterrupted {
		message, advice = errInterrupted.Error(), ""
		if f != nil && f.code == exitInterrupted {
			advice = f.hint
		}
	}
	if u.json {
		u.errorMessage(exitMessage{Type: "exit_error", Code: code, Message: message, Hint: advice})
		return code
	}
	fmt.Fprintf(u.stderr, "vault: %s\n", display.Line(oneLine(message)))
	if advice != "" {
		fmt.Fprintf(u.stderr, "hint: %s\n", display.Line(advice))
	}
	return code
}

// oneLine joins the lines of a joined error.
func oneLine(s string) string { return strings.ReplaceAll(strings.TrimSpace(s), "\n", "; ") }
