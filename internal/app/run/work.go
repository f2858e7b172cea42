//go:build linux

package run

import (
	"context"
	"errors"

	"vault/internal/app/config"
	"vault/internal/app/record"
)

// work is what a backup, a restore and a trial restore have in common: what is told on
// the way is in the report, and a restore or a trial restore ends by conclude.
type work struct {
	opts    *Options
	x       *executor
	report  Report
	partial bool // something short of a failure went wrong
}

// notice keeps a message for the report, and tells it.
func (w *work) notice(message string) {
	w.report.Messages = append(w.report.Messages, message)
	w.opts.warn(w.report.App, message)
}

// equip makes what runs the commands of the application.
func (w *work) equip(a *config.App) {
	w.x = w.opts.executor(a)
	w.x.warn = w.notice
	w.x.partial = func(message string) { w.partial = true; w.notice(message) }
}

// conclude completes the report, and records it if that is wanted.
func (w *work) conclude(ctx context.Context, err error, recorded bool) Report {
	if err == nil && w.partial {
		err = ErrPartial
	}
	w.opts.finish(&w.report.Activity, err)
	w.report.Err = err
	if !recorded || w.opts.StateDir == "" || errors.Is(err, ErrBusy) {
		return w.report
	}
	before := w.opts.known(w.report.Activity)
	if rerr := record.In(w.opts.StateDir).Add(w.report.Activity); rerr != nil {
		w.notice(rerr.Error())
	}
	w.report.Messages = append(w.report.Messages, w.opts.ends(ctx, w.report.Activity, before)...)
	return w.report
}
