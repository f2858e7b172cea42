package schedule

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"vault/internal/app/record"
	"vault/internal/durable"
)

// LoopOptions are what a loop needs from outside.
type LoopOptions struct {
	Jobs     []Job
	Limit    int    // how many jobs run at the same time at most
	StateDir string // where it is remembered since when jobs are known

	// Do does a job. It ends soon when ctx does.
	Do     func(ctx context.Context, j Job)
	Chance func(time.Duration) time.Duration // a duration from 0 to the given one
	Now    func() time.Time
	Warn   func(error)
}

// maxSleep is how long a loop sleeps at most: a clock that is set, or a machine that
// was suspended, is noticed after it.
const maxSleep = time.Minute

// Loop begins jobs when they are due until ctx ends, and then waits for those that
// are at work.
func Loop(ctx context.Context, o LoopOptions) error {
	since, err := o.since()
	if err != nil {
		return err
	}
	ended := make(chan Job)
	plan := NewPlan(o.Jobs, o.Limit, o.Now(), func(j Job) time.Time { return since[j.ID()] }, o.Chance)
	for {
		if ctx.Err() == nil {
			for _, j := range plan.Due(o.Now()) {
				go func() { o.Do(ctx, j); ended <- j }()
			}
		} else if plan.Running() == 0 {
			return nil
		}
		sleep := maxSleep
		if at := plan.Wake(); !at.IsZero() {
			sleep = max(0, min(sleep, at.Sub(o.Now())))
		}
		timer := time.NewTimer(sleep)
		done := ctx.Done()
		if ctx.Err() != nil {
			done = nil
		}
		select {
		case j := <-ended:
			plan.Done(j, o.Now())
		case <-timer.C:
		case <-done:
		}
		timer.Stop()
	}
}

// seen is the file in which it is remembered since when jobs are known: one that
// never ran is not due for the time before.
type seen struct {
	Version int                  `json:"version"`
	Jobs    map[string]time.Time `json:"jobs"`
}

// since returns when each job was begun last, or is known since.
func (o *LoopOptions) since() (map[string]time.Time, error) {
	name := filepath.Join(o.StateDir, "schedule", "seen.json")
	var old seen
	data, err := os.ReadFile(name)
	if err == nil {
		err = json.Unmarshal(data, &old)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		o.Warn(fmt.Errorf("%s: %w; jobs that were missed are not caught up", name, err))
	}
	now := o.Now()
	known := seen{Version: 1, Jobs: map[string]time.Time{}}
	begun := map[string]time.Time{}
	for _, j := range o.Jobs {
		at, ok := old.Jobs[j.ID()]
		if !ok || at.After(now) {
			at = now
		}
		known.Jobs[j.ID()], begun[j.ID()] = at, at
		if last := o.last(j); last.After(at) && !last.After(now) {
			begun[j.ID()] = last
		}
	}
	if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
		return nil, fmt.Errorf("schedule: %w", err)
	}
	if data, err = json.MarshalIndent(known, "", " "); err == nil {
		err = durable.WriteFile(name, append(data, '\n'), 0o600)
	}
	if err != nil {
		return nil, fmt.Errorf("schedule: %w", err)
	}
	return begun, nil
}

// last returns when a job was begun last as far as it is on record.
func (o *LoopOptions) last(j Job) (at time.Time) {
	store := record.In(o.StateDir)
	apps := []string{j.Name}
	if j.Kind == Copy || j.Kind == Check {
		apps, _ = store.Apps()
	}
	for _, app := range apps {
		r, err := store.Load(app)
		if err != nil {
			o.Warn(err)
			continue
		}
		for _, s := range r.Series {
			if s.Kind == recorded[j.Kind] && (j.Kind != Copy || s.Destination == j.Name) && (j.Kind != Check || within(s.Destination, j.Name)) && s.Last.Start.After(at) {
				at = s.Last.Start
			}
		}
	}
	return at
}

// recorded is what jobs leave on record.
var recorded = map[Kind]record.Kind{Run: record.Backup, Copy: record.Copy, Check: record.Check, Verify: record.Verify, Rehearse: record.Rehearsal}

// within reports whether a destination is in a repository.
func within(destination, repository string) bool {
	return destination == repository || len(destination) > len(repository) && destination[:len(repository)+1] == repository+"/"
}
