//go:build linux

package run

import (
	"context"
	"errors"
	"fmt"
	"time"

	"vault/backend"
	"vault/internal/app/config"
	"vault/internal/app/record"
	"vault/repo"
	"vault/snapshot"
	"vault/snapshot/archive"
)

// Options are what all runs have in common.
type Options struct {
	Config   *config.Config
	StateDir string // locks, journals, records; required

	// Open opens the repository of a destination; with init it may be made, if the
	// configuration allows that.
	Open func(ctx context.Context, d config.Destination, init bool) (*repo.Repo, error)
	// Storage opens the storage of a repository by name, for what lies beside
	// repositories of their own.
	Storage func(ctx context.Context, repository string) (backend.Backend, error)
	// Store tells of the storage of a destination, without asking it; nil: all are
	// directories.
	Store func(d config.Destination) (Store, error)
	// Explain returns the exit code of an error, and what to do about it.
	Explain func(err error) (code int, hint string)

	Host string // this machine, recorded unless the application says otherwise
	User string

	DryRun bool // read and compare, change nothing, run no command
	NoWait bool // ErrBusy rather than a place in the queue

	Dead    func(repo.Waiting) bool // as in gc.Options
	Observe func(Event)             // called by one goroutine; may be nil
	// Listener hears of beginning and end of runs; may be nil.
	Listener Listener
	Archive  func(archive.Event) // what is read; may be nil
	Now      func() time.Time    // nil means time.Now
}

// Event is one thing that happens during a run.
type Event struct {
	App     string
	Phase   string // waiting, replay, before, prewarm, enter, read, leave ...
	Text    string // a command, or a message
	Warning bool
}

// ErrPartial says that a backup is stored, but not all of it.
var ErrPartial = errors.New("the backup is partial")

// Reasons to end a run.
var (
	ErrTimeout = errors.New("the run took longer than its time-out")
	ErrQuiet   = errors.New("the application was at rest for longer than quiesce.timeout")
)

// LeaveError says that an application could not be brought back from rest. The
// journal stays, and every later run tries again.
type LeaveError struct{ Err error }

// Error says that the application may be at rest.
func (e *LeaveError) Error() string {
	return fmt.Sprintf("the application may still be at rest: %v", e.Err)
}

// Unwrap returns the cause.
func (e *LeaveError) Unwrap() error { return e.Err }

// Report is how a run ended: what is recorded, and what only a caller needs.
type Report struct {
	record.Activity
	DryRun    bool
	Backup    *snapshot.Backup // what was stored, or would be; nil if nothing
	Kept      int              // backups that the retention policy keeps
	Forgotten int              // backups that it has forgotten
	Copied    int              // of CopyApps: backups that were copied
	Extended  int              // objects of which the store extended the lock
	Retained  bool             // there was a policy, and it was carried out
	Planned   []string         // of a dry run: commands whose output would be stored
	Scratch   string           // of Rehearse: the place that was kept
	Err       error            // nil for Success and Skipped
}

func (o *Options) now() time.Time {
	if o.Now == nil {
		return time.Now()
	}
	return o.Now()
}

func (o *Options) tell(app, phase, text string) {
	if o.Observe != nil {
		o.Observe(Event{App: app, Phase: phase, Text: text})
	}
}

func (o *Options) warn(app, text string) {
	if o.Observe != nil {
		o.Observe(Event{App: app, Text: text, Warning: true})
	}
}

// DestinationName names a destination in records and messages: the repository, and
// the path in it.
func DestinationName(d config.Destination) string {
	if d.Path == "" {
		return d.Repo
	}
	return d.Repo + "/" + d.Path
}

// executor returns what runs the commands of an application.
func (o *Options) executor(a *config.App) *executor {
	x := &executor{app: a.Name, base: a.Environment.List(), timeout: a.HookTimeout.Std(defaultHookTimeout)}
	if a.To != nil {
		x.base = append(x.base, "VAULT_DESTINATION="+DestinationName(*a.To))
	}
	x.hide = secretNames(o.Config)
	x.said = func(phase, command string) { o.tell(a.Name, phase, command) }
	x.warn = func(message string) { o.warn(a.Name, message) }
	x.partial = x.warn
	return x
}
