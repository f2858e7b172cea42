//go:build linux

package run

import (
	"context"

	"vault/internal/app/record"
)

// Listener hears of what is done for applications. It is called by the goroutine of
// the run, and nothing that it does changes how the run ends. Both return what went
// wrong with telling others.
type Listener interface {
	// Begin is called when a run has its turn.
	Begin(ctx context.Context, a record.Activity) []string
	// End is called when a run has ended and is on record; before is what was on record
	// of the same kind and destination until then, or nil. The context may have ended.
	End(ctx context.Context, a record.Activity, before *record.Series) []string
}

// begins tells the listener.
func (o *Options) begins(ctx context.Context, a record.Activity) {
	if o.Listener == nil || o.DryRun {
		return
	}
	for _, text := range o.Listener.Begin(ctx, a) {
		o.warn(a.App, text)
	}
}

// known returns what is on record, if somebody listens.
func (o *Options) known(a record.Activity) *record.Series {
	if o.Listener == nil || o.DryRun || o.StateDir == "" {
		return nil
	}
	r, err := record.In(o.StateDir).Load(a.App)
	if err != nil {
		return nil // it is told when the result is added
	}
	s := r.Get(a.Kind, a.Destination)
	if s == nil {
		return nil
	}
	before := *s
	return &before
}

// ends tells the listener, and returns what could not be told.
func (o *Options) ends(ctx context.Context, a record.Activity, before *record.Series) []string {
	if o.Listener == nil || o.DryRun || o.StateDir == "" {
		return nil
	}
	wrong := o.Listener.End(ctx, a, before)
	for _, text := range wrong {
		o.warn(a.App, text)
	}
	return wrong
}
