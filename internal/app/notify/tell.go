package notify

import (
	"context"
	"slices"
	"time"

	"vault/internal/app/config"
	"vault/internal/app/record"
)

// Teller tells of activities as the configuration says: it is what runs call when
// they begin and when they have ended and are on record.
type Teller struct {
	Sender
	Config *config.Config
	Store  record.Store
	Now    func() time.Time
}

// NewTeller returns a teller for a configuration and the records of a state
// directory.
func NewTeller(c *config.Config, stateDir, agent string) *Teller {
	return &Teller{Sender: Sender{Targets: c.Notify, Agent: agent}, Config: c, Store: record.In(stateDir), Now: time.Now}
}

// about returns whom to tell of an activity, and where its metrics go.
func (t *Teller) about(a *record.Activity) (names []string, metrics string) {
	d := t.Config.Defaults
	names, metrics = d.Notify, d.Metrics
	if app := t.Config.Apps[a.App]; app != nil {
		names, metrics = app.Notify, app.Metrics
	}
	if o := t.Config.Copies[a.Destination]; o != nil && a.Kind == record.Copy {
		names, metrics = o.Notify, o.Metrics
	}
	return names, metrics
}

// pings reports whether a health check hears that an activity begins or went well. It
// waits for backups - where these are made elsewhere, for copies of them - and would
// not miss them if a check or a trial restore answered for them. What went wrong it
// hears in any case.
func (t *Teller) pings(a *record.Activity) bool {
	return a.Kind == record.Backup || a.Kind == record.Copy && t.Config.Apps[a.App] == nil
}

// heard leaves out the health checks that do not wait for an event.
func (t *Teller) heard(names []string, e *Event) []string {
	if t.pings(&e.Activity) || !e.Begins && e.Result != record.Success && e.Result != record.Skipped {
		return names
	}
	return slices.DeleteFunc(slices.Clone(names), func(name string) bool {
		n := t.Config.Notify[name]
		return n != nil && n.Ping != nil
	})
}

// Begin tells that an activity has begun. What could not be told is returned, as
// messages.
func (t *Teller) Begin(ctx context.Context, a record.Activity) []string {
	names, _ := t.about(&a)
	e := Event{Activity: a, Begins: true}
	return messages(t.Send(ctx, t.heard(names, &e), e))
}

// End writes the metrics of an activity that has ended and is on record, and tells of
// it. Before is what was on record until then, or nil. What went wrong with that is
// returned, as messages, and kept in the record. It goes on when ctx has ended: that
// is no reason to be silent.
func (t *Teller) End(ctx context.Context, a record.Activity, before *record.Series) []string {
	return t.EndAll(ctx, []record.Activity{a}, before)
}

// EndAll is End for an activity that is on record for several applications, as the
// check of their repository. Everybody whom one of them tells hears of it once.
func (t *Teller) EndAll(ctx context.Context, list []record.Activity, before *record.Series) []string {
	var wrong, names []string
	for i := range list {
		more, metrics := t.about(&list[i])
		names = append(names, more...)
		if metrics == "" {
			continue
		}
		r, err := t.Store.Load(list[i].App)
		if err == nil {
			err = WriteMetrics(metrics, &r, t.Now())
		}
		if err != nil {
			wrong = append(wrong, err.Error())
		}
	}
	if len(list) == 0 {
		return nil
	}
	slices.Sort(names)
	e := NewEvent(list[0], before)
	wrong = append(wrong, messages(t.Send(context.WithoutCancel(ctx), t.heard(slices.Compact(names), &e), e))...)
	if len(wrong) > 0 {
		for i := range list {
			if err := t.Store.Note(list[i], wrong); err != nil {
				wrong = append(wrong, err.Error())
			}
		}
	}
	return wrong
}

func messages(list []Failure) (texts []string) {
	for _, f := range list {
		texts = append(texts, f.Error())
	}
	return texts
}
