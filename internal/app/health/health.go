// Package health says whether applications are well kept: whether the last complete
// backup is as young as its schedule promises, and likewise the last check of its
// repository, the last verification, the last trial restore and the copies;
// and whether the last of those checks found anything.
//
// The idea. Everything follows from the configuration, the record of what this
// machine did and the moment; no repository is opened and no key needed, so it may be
// asked every minute. An activity is late when its schedule wanted another one after
// the last success and a grace is over as well; a limit in the configuration counts
// instead.
//
// Caveats. It knows what is on record here, nothing of what other machines did. That
// a backup is on record does not prove that it can be restored: for that there are
// checks and trial restores, whose age is looked at too.
package health

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"time"

	"vault/internal/app/config"
	"vault/internal/app/record"
	"vault/internal/calendar"
)

// State is what is to be said of one activity.
type State string

// The states. Only Fine and Unknown are no problem.
const (
	Fine    State = "fine"
	Late    State = "late"
	Never   State = "never"   // it should have been, or was tried, and there is no success on record
	Failed  State = "failed"  // the last check, verification or trial restore went wrong: backups may be of no use
	Damaged State = "damaged" // the record cannot be read
	Unknown State = "unknown" // there was none, and nothing says that there should have been
)

// Aspect is one activity of an application.
type Aspect struct {
	Kind     record.Kind
	Name     string // destination or copy
	State    State
	Last     time.Time     // end of the last success; zero: none
	Age      time.Duration // of that; of a copy: how far it lags behind
	Due      time.Time     // when it is late, or was; zero: nothing says so
	Failures int           // since the last success
	Error    string        // of the last one, if it failed
}

// App is the health of one application.
type App struct {
	Name    string
	Aspects []Aspect
}

// Healthy reports whether nothing is late or missing.
func (a App) Healthy() bool {
	return !slices.ContainsFunc(a.Aspects, func(s Aspect) bool { return s.State != Fine && s.State != Unknown })
}

// minGrace is what an activity may take at least until it is missed; copyGrace how far
// a copy without a schedule may lag behind.
const (
	minGrace  = time.Hour
	copyGrace = 24 * time.Hour
)

// Names returns the applications of which something is to be said: those that are
// configured, and those of which backups are only copied here. A copy of everything
// in a repository of which no application is configured stands for itself.
func Names(c *config.Config) []string {
	set := map[string]bool{}
	for name := range c.Apps {
		set[name] = true
	}
	for _, o := range c.Copies {
		for _, name := range Subjects(c, o) {
			set[name] = true
		}
	}
	return slices.Sorted(maps.Keys(set))
}

// Subjects returns under which names a copy is on record: the applications that it is
// about, or its own name if nothing says which these are.
func Subjects(c *config.Config, o *config.Copy) []string {
	names := slices.Clone([]string(o.Apps))
	if len(names) == 0 {
		for name, a := range c.Apps {
			if a.To != nil && o.From != nil && *a.To == *o.From {
				names = append(names, name)
			}
		}
	}
	if len(names) == 0 && o.After != "" {
		names = []string{o.After}
	}
	if len(names) == 0 {
		names = []string{o.Name}
	}
	slices.Sort(names)
	return names
}

// promise is how often something should be.
type promise struct {
	times  config.Schedule
	delay  config.Duration
	limit  config.Duration // instead
	always time.Duration   // if neither is given; 0: nothing is promised
}

// due returns until when the next success must be there after one that began and
// ended then.
func (p promise) due(start, end time.Time) time.Time {
	if p.limit > 0 {
		return end.Add(time.Duration(p.limit))
	}
	if times, err := calendar.ParseAll(p.times); err == nil && len(times) > 0 {
		if next, ok := times.Next(start.Local()); ok {
			return next.Add(time.Duration(p.delay) + max(minGrace, 2*end.Sub(start)))
		}
		return time.Time{}
	}
	if p.always > 0 {
		return end.Add(p.always)
	}
	return time.Time{}
}

func (p promise) given() bool { return p.limit > 0 || len(p.times) > 0 || p.always > 0 }

// Of returns the health of an application, from its record or from why that could not
// be read.
func Of(c *config.Config, name string, r *record.Record, damage error, now time.Time) App {
	out := App{Name: name}
	if damage != nil {
		out.Aspects = []Aspect{{Kind: record.Backup, State: Damaged, Error: damage.Error()}}
		return out
	}
	add := func(k record.Kind, destination string, p promise) {
		if s := r.Get(k, destination); s != nil || p.given() {
			out.Aspects = append(out.Aspects, aspect(k, destination, s, p, now).first(p, r.Since, s, now))
		}
	}
	if a := c.Apps[name]; a != nil {
		h := a.Health
		if h == nil {
			h = &config.Health{}
		}
		to := destination(*a.To)
		backup := promise{times: a.Schedule, delay: a.RandomDelay, limit: h.MaxAge}
		out.Aspects = append(out.Aspects, aspect(record.Backup, to, r.Get(record.Backup, to), backup, now))
		check := promise{limit: h.MaxCheckAge}
		if k := c.Repositories[a.To.Repo].Check; k != nil {
			check.times, check.delay = k.Schedule, c.Defaults.RandomDelay
		}
		add(record.Check, to, check)
		verify, rehearse := promise{limit: h.MaxVerifyAge, delay: a.RandomDelay}, promise{limit: h.MaxRehearsal, delay: a.RandomDelay}
		if a.Verify != nil {
			verify.times = a.Verify.Schedule
		}
		if a.Rehearse != nil {
			rehearse.times = a.Rehearse.Schedule
		}
		add(record.Verify, to, verify)
		add(record.Rehearsal, to, rehearse)
	}
	for _, copyName := range slices.Sorted(maps.Keys(c.Copies)) {
		if o := c.Copies[copyName]; slices.Contains(Subjects(c, o), name) {
			out.Aspects = append(out.Aspects, copied(c, o, name, r, now))
		}
	}
	return out
}

func destination(d config.Destination) string {
	if d.Path == "" {
		return d.Repo
	}
	return d.Repo + "/" + d.Path
}

func aspect(k record.Kind, name string, s *record.Series, p promise, now time.Time) Aspect {
	a := Aspect{Kind: k, Name: name, State: Unknown}
	if s != nil {
		a.Failures = s.Failures
		if s.Last.Result == record.Failed || s.Last.Result == record.Partial {
			a.Error = s.Last.Error
			if a.Error == "" {
				a.Error = "the last one is " + string(s.Last.Result)
			}
		}
	}
	if s == nil || s.LastSuccess == nil {
		if p.given() || a.Failures > 0 {
			a.State = Never
		}
		return a.found(k, s)
	}
	if yetToCome(s.LastSuccess.End, now) {
		a.State, a.Last = Late, s.LastSuccess.End
		a.Error = cmp.Or(a.Error, "the last success is on record for a time that is yet to come: the clock was wrong, then or now")
		return a.found(k, s)
	}
	a.State, a.Last, a.Age = Fine, s.LastSuccess.End, max(0, now.Sub(s.LastSuccess.End))
	if a.Due = p.due(s.LastSuccess.Start, s.LastSuccess.End); !a.Due.IsZero() && now.After(a.Due) {
		a.State = Late
	}
	return a.found(k, s)
}

// yetToCome reports whether a moment on record tells nothing of how long ago something
// was: it is further ahead than a clock may be wrong.
func yetToCome(at, now time.Time) bool { return at.After(now.Add(24 * time.Hour)) }

// first forgives that there is nothing yet of what had no time yet: an application that
// is on record since yesterday need not have been checked this month.
func (a Aspect) first(p promise, since time.Time, s *record.Series, now time.Time) Aspect {
	if a.State != Never || s != nil || since.IsZero() {
		return a
	}
	if a.Due = p.due(since, since); a.Due.IsZero() || !now.After(a.Due) {
		a.State = Unknown
	}
	return a
}

// found takes in what the last activity of a kind has found that does not wait for the
// next: what is wrong with backups does not get better by being young.
func (a Aspect) found(k record.Kind, s *record.Series) Aspect {
	proof := k == record.Check || k == record.Verify || k == record.Rehearsal
	if proof && s != nil && a.State != Late && s.Last.Result != record.Success && s.Last.Result != record.Skipped {
		a.State = Failed
	}
	return a
}

// copied looks at a copy. It lags behind since the oldest backup that was made after
// the last copy began; where backups are made elsewhere, since the last copy.
func copied(c *config.Config, o *config.Copy, app string, r *record.Record, now time.Time) Aspect {
	s := r.Get(record.Copy, o.Name)
	p := promise{times: o.Schedule, delay: o.RandomDelay}
	if o.After != "" {
		p.always, p.times = copyGrace, nil
	}
	if a := c.Apps[app]; a != nil && a.Health != nil {
		p.limit = a.Health.MaxCopyLag
	} else if a == nil && c.Defaults.Health != nil {
		p.limit = c.Defaults.Health.MaxCopyLag
	}
	a := aspect(record.Copy, o.Name, s, p, now)
	if c.Apps[app] == nil {
		return a
	}
	var since time.Time
	if s != nil && s.LastSuccess != nil && !yetToCome(s.LastSuccess.End, now) {
		since = s.LastSuccess.Start
	}
	a.Age, a.Due = 0, time.Time{}
	for i := range r.History {
		b := &r.History[i]
		if b.Kind == record.Backup && (b.Result == record.Success || b.Result == record.Partial) && o.From != nil && b.Destination == destination(*o.From) && b.End.After(since) && !yetToCome(b.End, now) {
			a.Age, a.Due = max(0, now.Sub(b.End)), p.due(b.End, b.End)
			break
		}
	}
	switch {
	case !a.Due.IsZero() && now.After(a.Due):
		a.State = Late
		if since.IsZero() {
			a.State = Never
		}
	case since.IsZero():
		a.State = Unknown // nothing to copy yet, or no time for it
	default:
		a.State = Fine
	}
	return a
}

// Text says in a few words what is the case, for a table.
func (a Aspect) Text() string {
	switch {
	case a.State == Damaged, a.Failures == 0:
		return a.Error
	case a.Failures == 1:
		return fmt.Sprintf("failed once since: %s", a.Error)
	case a.Failures > 1:
		return fmt.Sprintf("failed %d times since: %s", a.Failures, a.Error)
	}
	return ""
}
