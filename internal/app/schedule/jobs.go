// Package schedule says what a configuration wants to be done regularly, and has it
// done: by timers of systemd, or by a loop of its own where there is no systemd.
//
// The idea. A configuration becomes a list of jobs: runs of applications, copies,
// checks of repositories, verifications and trial restores, each with its times
// (internal/calendar). Units renders them as units of systemd, purely; Install writes
// these and remembers what it wrote. Plan is the other way: it decides which jobs are
// due, purely, and Loop begins them.
//
// Caveats. Jobs of one application stand in one queue; what else is at work on it -
// somebody's own vault run - is kept apart by the lock of package run. Loop works as
// long as its process does, and what was missed meanwhile is caught up, once.
package schedule

import (
	"cmp"
	"maps"
	"slices"
	"time"

	"vault/internal/app/config"
	"vault/internal/calendar"
)

// Kind is what a job does.
type Kind string

// The kinds.
const (
	Run      Kind = "run"      // back up an application
	Copy     Kind = "copy"     // copy backups to another repository
	Check    Kind = "check"    // check a repository
	Verify   Kind = "verify"   // check the backups of an application by what it knows
	Rehearse Kind = "rehearse" // restore an application for trial
)

// Kinds are all of them.
var Kinds = []Kind{Run, Copy, Check, Verify, Rehearse}

// DefaultPoll is how often a source is asked for new backups, unless the copy says so.
const DefaultPoll = 15 * time.Minute

// Job is something that is done regularly.
type Job struct {
	Kind  Kind
	Name  string         // of the application, the copy or the repository
	Times calendar.Times // when; may be empty if Poll is given
	Delay time.Duration  // it begins up to this much later, by chance
	Poll  time.Duration  // how often it is begun besides; 0: never
	Queue string         // jobs with the same one do not overlap
	Open  bool           // it may run commands of the configuration
}

// ID names the job: its kind, a colon, its name.
func (j Job) ID() string { return string(j.Kind) + ":" + j.Name }

// Jobs returns what the configuration wants to be done regularly, by kind and name.
// A copy that comes after an application of this machine is part of its run, and no
// job.
func Jobs(c *config.Config) ([]Job, error) {
	var jobs []Job
	var failed error
	add := func(j Job, times config.Schedule) {
		list, err := calendar.ParseAll(times)
		if err != nil && failed == nil {
			failed = err // not of a configuration that was checked
		}
		if j.Times = list; len(list) > 0 || j.Poll > 0 {
			jobs = append(jobs, j)
		}
	}
	for name, a := range c.Apps {
		add(Job{Kind: Run, Name: name, Delay: time.Duration(a.RandomDelay), Queue: "app:" + name, Open: commands(c, a)}, a.Schedule)
		if a.Verify != nil {
			add(Job{Kind: Verify, Name: name, Delay: time.Duration(a.RandomDelay), Queue: "verify:" + name, Open: passwordCommand(c, a.To)}, a.Verify.Schedule)
		}
		if a.Rehearse != nil {
			add(Job{Kind: Rehearse, Name: name, Delay: time.Duration(a.RandomDelay), Queue: "rehearse:" + name, Open: true}, a.Rehearse.Schedule)
		}
	}
	for name, o := range c.Copies {
		j := Job{Kind: Copy, Name: name, Delay: time.Duration(o.RandomDelay), Queue: "copy:" + name, Open: passwordCommand(c, o.From) || passwordCommand(c, o.To)}
		if o.After != "" && c.Apps[o.After] == nil {
			j.Poll = o.Poll.Std(DefaultPoll)
		}
		add(j, o.Schedule)
	}
	for name, r := range c.Repositories {
		if r.Check != nil {
			add(Job{Kind: Check, Name: name, Delay: time.Duration(c.Defaults.RandomDelay), Queue: "check:" + name, Open: passwordCommand(c, &config.Destination{Repo: name})}, r.Check.Schedule)
		}
	}
	slices.SortFunc(jobs, func(a, b Job) int {
		return cmp.Or(slices.Index(Kinds, a.Kind)-slices.Index(Kinds, b.Kind), cmp.Compare(a.Name, b.Name))
	})
	return jobs, failed
}

// commands reports whether a run of the application runs commands that are not
// vault's own, or writes to where its volumes are.
func commands(c *config.Config, a *config.App) bool {
	if a.Quiesce != nil || len(a.Preflight.Health) > 0 || passwordCommand(c, a.To) ||
		len(a.Hooks.Before)+len(a.Hooks.After)+len(a.Hooks.OnFailure)+len(a.Hooks.Finally) > 0 {
		return true
	}
	for _, r := range a.Roots {
		if r.Path == "" {
			return true
		}
	}
	for v := range maps.Values(a.Volumes) {
		if v.Kind() != "path" && v.Kind() != "include-from" {
			return true
		}
	}
	return false
}

func passwordCommand(c *config.Config, d *config.Destination) bool {
	if d == nil {
		return false
	}
	r := c.Repositories[d.Repo]
	return r == nil || r.PasswordCommand != nil || r.SFTPCommand != nil
}
