//go:build linux

package run

import (
	"context"
	"errors"
	"fmt"
	"time"

	"vault/internal/app/config"
)

// leavePauses are the pauses before the attempts to bring an application back.
var leavePauses = []time.Duration{0, time.Second, 2 * time.Second}

// leave brings an application back from rest. It does not stop at a signal.
func leave(ctx context.Context, x *executor, list config.Steps, extra []string) error {
	ctx = context.WithoutCancel(ctx)
	var err error
	for _, pause := range leavePauses {
		time.Sleep(pause)
		if err = x.all(ctx, "leave", list, extra); err == nil {
			return nil
		}
		x.warn(err.Error())
	}
	return &LeaveError{Err: err}
}

// Recover undoes what a run of the application left behind that died: it runs the
// commands of its journal. It reports whether there was anything to do. With an
// application that another process is at work on there is not.
//
// A restore that was interrupted is not undone by this: see Restore.
func Recover(ctx context.Context, o Options, app string) (did bool, err error) {
	if j, err := readJournal(o.StateDir, app); j == nil && err == nil {
		o.sweepRehearsal(ctx, app)
		return false, nil
	}
	unlock, err := lockApp(ctx, o.StateDir, app, false, nil)
	if errors.Is(err, ErrBusy) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	defer unlock()
	return o.replay(ctx, app)
}

// replay is Recover for who holds the lock.
func (o *Options) replay(ctx context.Context, app string) (did bool, err error) {
	o.sweepRehearsal(ctx, app)
	j, err := readJournal(o.StateDir, app)
	a := o.Config.Apps[app]
	switch {
	case errors.Is(err, ErrJournal) && a != nil:
		o.warn(app, fmt.Sprintf("%v; what the configuration says now is run instead", err))
		j = &Journal{App: app, Kind: kindRun, Quiet: a.Quiesce != nil, Finally: commandsOf(a.Hooks.Finally)}
		if j.Quiet {
			j.Leave = commandsOf(a.Quiesce.Leave.Steps)
		}
	case err != nil:
		return false, err
	case j == nil:
		return false, nil
	}
	if a == nil {
		a = &config.App{Name: app}
	}
	x := o.executor(a)
	x.base = append(x.base, j.Env...)
	o.tell(app, "replay", fmt.Sprintf("a %s that began at %s did not end: undoing what it left", j.Kind, j.Started.Local().Format(time.DateTime)))
	extra := []string{"VAULT_RESULT=failed", "VAULT_ERROR=the process died"}
	if j.Quiet {
		if err := leave(ctx, x, stepsOf(j.Leave), extra); err != nil {
			return true, err
		}
		j.Quiet = false
		if err := writeJournal(o.StateDir, j); err != nil {
			return true, err
		}
	}
	if err := x.all(context.WithoutCancel(ctx), "finally", stepsOf(j.Finally), extra); err != nil {
		o.warn(app, err.Error()) // the run that follows will try again
	}
	if j.Restore != nil && len(j.Finally)+len(j.Leave) > 0 { // how far it came stays known
		j.Finally, j.Leave = nil, nil
		return true, writeJournal(o.StateDir, j)
	}
	if j.Restore != nil {
		return false, nil
	}
	return true, removeJournal(o.StateDir, app)
}
