// Package notify tells people and programs how activities of applications ended: by
// webhook, health-check ping, ntfy and mail, and as metrics in a textfile for
// node_exporter.
//
// The idea. An Event is the activity as it goes on record, and what was known before.
// Each target says of which outcomes it wants to hear; title and text are templates
// over the event. Send tries again for a short while where that may help, and never
// longer than the target allows. Metrics are rendered from the whole record of an
// application, and replaced in one step after an activity has ended, so that what is
// read is always the state after something was completed.
//
// Caveats. Nobody is told twice, and nothing is kept for later: what could not be
// sent is an error for the caller to show. It never decides how the activity ended.
// A URL may be a secret itself: errors do not have it.
package notify

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"time"

	"vault/internal/app/config"
	"vault/internal/app/record"
)

// Event is how an activity ended, or that it begins.
type Event struct {
	record.Activity
	Begins      bool      // it has just begun; there is no result
	Recovered   bool      // it is the first success after failures
	Failures    int       // since the last success, this one among them
	LastSuccess time.Time // of the same kind and destination, this one among them; zero: never
}

// NewEvent returns the event of an activity that has ended. Before is what was on
// record, or nil.
func NewEvent(a record.Activity, before *record.Series) Event {
	e := Event{Activity: a}
	if before != nil {
		e.Failures = before.Failures
		if before.LastSuccess != nil {
			e.LastSuccess = before.LastSuccess.End
		}
	}
	switch a.Result {
	case record.Success:
		e.Recovered, e.Failures, e.LastSuccess = e.Failures > 0, 0, a.End
	case record.Failed, record.Partial:
		e.Failures++
	}
	return e
}

// Wants reports whether a target wants to hear of an event. Unless it says otherwise
// it hears of what is wrong, and of its end; a health check hears of everything, since
// it is about to miss something.
func Wants(n *config.Notify, e Event) bool {
	if e.Begins {
		return n.Ping != nil && n.Ping.Start
	}
	if e.Idle && !e.Recovered && n.Ping == nil {
		return false // nothing has happened; a health check wants to hear it
	}
	if e.Polled && e.Failures&(e.Failures-1) != 0 && n.Ping == nil {
		return false // of what fails every few minutes the 1st, 2nd, 4th, 8th ... time is told
	}
	on := n.On
	switch {
	case len(on) == 0 && n.Ping != nil:
		on = config.Moments{config.OnAlways}
	case len(on) == 0:
		on = config.Moments{config.OnFail, config.OnPartial, config.OnRecovered}
	}
	return slices.ContainsFunc(on, func(m config.Moment) bool {
		switch m {
		case config.OnAlways:
			return true
		case config.OnFail:
			return e.Result == record.Failed
		case config.OnPartial:
			return e.Result == record.Partial
		case config.OnSuccess:
			return e.Result == record.Success
		case config.OnRecovered:
			return e.Recovered
		}
		return false
	})
}

// Sender sends events to the targets of a configuration. It is safe for concurrent
// use.
type Sender struct {
	Targets map[string]*config.Notify
	Agent   string // name and version of this program

	TLS  *tls.Config                                // for servers with a certificate of their own; nil: the system's
	Wait func(context.Context, time.Duration) error // between attempts; nil: sleeps
	Time func(at time.Time) string                  // how moments are written; nil: in local time
}

// Failure is an event that did not reach a target.
type Failure struct {
	Target string
	Err    error
}

// Error names the target and says why.
func (f Failure) Error() string { return fmt.Sprintf("notification %s: %v", f.Target, f.Err) }

const firstPause = time.Second

// Limits of sending: to a target that sets none, and of one attempt. Tests raise them.
var (
	defaultTimeout = 30 * time.Second
	attemptTimeout = 10 * time.Second
)

// Send sends an event to those of the named targets that want to hear of it, all at
// once, and returns what did not arrive, by name.
func (s *Sender) Send(ctx context.Context, names []string, e Event) []Failure {
	var wg sync.WaitGroup
	errs := make([]error, len(names))
	for i, name := range names {
		n := s.Targets[name]
		if n == nil {
			errs[i] = errors.New("there is no such target")
			continue
		}
		if Wants(n, e) {
			wg.Go(func() { errs[i] = s.send(ctx, n, e) })
		}
	}
	wg.Wait()
	var failures []Failure
	for i, err := range errs {
		if err != nil {
			failures = append(failures, Failure{names[i], err})
		}
	}
	return failures
}

// permanent marks an error that another attempt would not mend.
type permanent struct{ error }

func (p permanent) Unwrap() error { return p.error }

func (s *Sender) send(ctx context.Context, n *config.Notify, e Event) error {
	ctx, cancel := context.WithTimeout(ctx, n.Timeout.Std(defaultTimeout))
	defer cancel()
	title, text, err := s.render(n, e)
	if err != nil {
		return err
	}
	pause := firstPause
	for attempt := 1; ; attempt++ {
		err := s.attempt(ctx, n, e, title, text)
		var final permanent
		switch {
		case err == nil:
			return nil
		case errors.As(err, &final):
			return final.error
		}
		if s.wait(ctx, pause) != nil {
			return fmt.Errorf("%w (%d attempts)", err, attempt)
		}
		pause *= 2
	}
}

func (s *Sender) wait(ctx context.Context, d time.Duration) error {
	if s.Wait != nil {
		return s.Wait(ctx, d)
	}
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}

func (s *Sender) attempt(ctx context.Context, n *config.Notify, e Event, title, text string) error {
	ctx, cancel := context.WithTimeout(ctx, attemptTimeout)
	defer cancel()
	switch {
	case n.Webhook != nil:
		return s.webhook(ctx, n, e, title, text)
	case n.Ping != nil:
		return s.ping(ctx, n.Ping, e, text)
	case n.Ntfy != nil:
		return s.ntfy(ctx, n.Ntfy, e, title, text)
	case n.Email != nil:
		return s.mail(ctx, n.Email, title, text)
	}
	return permanent{errors.New("it says neither webhook, ping, ntfy nor email")}
}

func (s *Sender) client() *http.Client {
	return &http.Client{Transport: &http.Transport{Proxy: http.ProxyFromEnvironment, TLSClientConfig: s.TLS, DisableKeepAlives: true}}
}
