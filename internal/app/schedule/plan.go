package schedule

import (
	"time"
)

// Plan decides which jobs are due. It asks no clock and no dice: both are handed in.
// It is used by one goroutine.
//
// A job is due at the first of its times after it was begun last. If that is over,
// since nothing was running then, it is due at once and only once, however often it
// was missed. Where the clock was set back by more than maxSetBack, jobs are due at the
// first of their times from then on: not when a time that was never reached comes again.
type Plan struct {
	jobs    []Job
	state   []state
	limit   int
	chance  func(time.Duration) time.Duration
	running map[string]bool // queues
	asked   time.Time       // by Due, last
}

// maxSetBack is how much a clock may go back without notice: corrections of it are no
// reason to do again what has just been done.
const maxSetBack = time.Minute

type state struct {
	due     time.Time // zero: not by its times
	wanted  bool      // to be begun as soon as possible
	running bool
}

// NewPlan returns a plan for jobs, of which at most limit run at the same time. Since
// says when a job was begun last, or was first known of. Chance returns a duration
// from 0 to the given one.
func NewPlan(jobs []Job, limit int, now time.Time, since func(Job) time.Time, chance func(time.Duration) time.Duration) *Plan {
	p := &Plan{jobs: jobs, state: make([]state, len(jobs)), limit: max(limit, 1), chance: chance, running: map[string]bool{}}
	for i := range jobs {
		p.next(i, since(jobs[i]), now)
	}
	return p
}

// next says when a job is due that was begun at since.
func (p *Plan) next(i int, since, now time.Time) {
	j := &p.jobs[i]
	due, ok := j.Times.Next(since.In(now.Location()))
	if ok && due.Before(now) {
		due = now // it was missed
	}
	if ok && j.Delay > 0 {
		due = due.Add(p.chance(j.Delay))
	}
	if j.Poll > 0 {
		if poll := since.Add(j.Poll); !ok || poll.Before(due) {
			due, ok = poll, true
		}
	}
	if p.state[i].due = (time.Time{}); ok {
		p.state[i].due = due
	}
}

// Due returns jobs that have to be begun now, and takes them for begun: the others
// wait for one of their queue, or for a place.
func (p *Plan) Due(now time.Time) []Job {
	if now.Before(p.asked.Add(-maxSetBack)) {
		for i := range p.jobs {
			p.next(i, now, now)
		}
	}
	p.asked = now
	var list []Job
	for i := range p.jobs {
		s := &p.state[i]
		if !s.due.IsZero() && !s.due.After(now) {
			s.wanted = true
			p.next(i, now, now)
		}
		if j := p.jobs[i]; s.wanted && !s.running && !p.running[j.Queue] && len(p.running) < p.limit {
			s.wanted, s.running, p.running[j.Queue] = false, true, true
			list = append(list, j)
		}
	}
	return list
}

// Done says that a job has ended.
func (p *Plan) Done(done Job, now time.Time) {
	for i := range p.jobs {
		if j := &p.jobs[i]; j.ID() == done.ID() {
			p.state[i].running = false
			delete(p.running, j.Queue)
			if j.Poll > 0 { // counted from its end
				p.next(i, now, now)
			}
		}
	}
}

// Running returns how many jobs are at work.
func (p *Plan) Running() int { return len(p.running) }

// Wake returns when to ask again if nothing ends before; zero: not before something
// ends.
func (p *Plan) Wake() (at time.Time) {
	for _, s := range p.state {
		if !s.due.IsZero() && (at.IsZero() || s.due.Before(at)) {
			at = s.due
		}
	}
	return at
}

// Upcoming returns when a job is due, or zero.
func (p *Plan) Upcoming(id string) time.Time {
	for i := range p.jobs {
		if p.jobs[i].ID() == id {
			return p.state[i].due
		}
	}
	return time.Time{}
}
