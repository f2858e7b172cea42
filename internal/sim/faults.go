package sim

import (
	"io/fs"
	"slices"
	"strings"
	"testing/synctest"
	"time"
)

// perform answers a call as a store without faults does, but for planted bugs.
// The effect of a write is settled: it is durable.
func (w *World) perform(c *call) answer {
	a, e := w.effect(c)
	if e != nil && c.kind != opDelete && !w.loses(c) {
		w.store.settle(e)
	}
	return a
}

// effect answers a call and returns the effect of a write, which a power cut
// may still undo.
func (w *World) effect(c *call) (answer, *effect) {
	if a, ok := w.planted(c); ok {
		return a, nil
	}
	_, there := w.store.now[c.name]
	switch c.kind {
	case opPut:
		return answer{}, w.store.apply(c.name, c.data)
	case opCreate:
		if there {
			w.show(func(name string) bool { return name == c.name })
			return answer{err: failed("create", c.name, fs.ErrExist)}, nil
		}
		return answer{}, w.store.apply(c.name, c.data)
	case opDelete:
		if !there {
			return answer{err: missing("delete", c.name)}, nil
		}
		return answer{}, w.store.apply(c.name, nil)
	case opGet:
		w.show(func(name string) bool { return name == c.name })
		data, err := read(w.store.now, c.name, c.off, c.n)
		return answer{data: data, err: err}, nil
	case opList:
		w.show(func(name string) bool { return strings.HasPrefix(name, c.name) })
		return answer{infos: w.store.list(c.name)}, nil
	}
	panic("sim: internal error: call " + c.kind.String())
}

// show makes durable what an answer tells of.
func (w *World) show(match func(string) bool) {
	switch w.o.Bug {
	case BugShowsEarly, BugLosesPuts, BugLosesCreates:
	default:
		w.store.seen(match)
	}
}

// grant answers a call, perhaps wrongly.
func (w *World) grant(c *call) {
	if c.ack != nil { // the second half of a write whose effect is there
		if !w.loses(c) {
			w.store.settle(c.ack)
		}
		w.answer(c, answer{}, "ok")
		return
	}
	if f := w.o.Fixed; f != nil {
		w.fixed(c, f)
		return
	}
	x := w.rng.Float64()
	pick := func(rate float64) bool { x -= rate; return x < 0 }
	if c.kind.writes() {
		w.grantWrite(c, pick)
	} else {
		w.grantRead(c, pick)
	}
}

func (w *World) grantWrite(c *call, pick func(float64) bool) {
	r := &w.o.Rates
	switch {
	case w.full > 0 && c.kind != opDelete:
		w.tally.NoSpace++
		if w.o.Bug == BugFullIsFine {
			w.answer(c, answer{}, "full, reported as stored")
			return
		}
		w.hurt(c, answer{err: failed(c.kind.String(), c.name, errFull)}, "full")
	case pick(r.Fail):
		w.failWrite(c)
	case pick(r.Applied):
		w.effect(c)
		w.hurt(c, answer{err: failed(c.kind.String(), c.name, errTimeout)}, "applied, reported as failed")
	case pick(r.Late):
		w.later(c.kind, c.name, c.data)
		w.hurt(c, answer{err: failed(c.kind.String(), c.name, errTimeout)}, "failed, comes later")
	case pick(r.Twice):
		w.effect(c)
		w.later(c.kind, c.name, c.data)
		w.hurt(c, answer{err: failed(c.kind.String(), c.name, errTimeout)}, "applied, reported as failed, comes again")
	case pick(r.Again):
		w.later(c.kind, c.name, c.data)
		w.answer(c, w.perform(c), "comes again")
	case pick(r.Slow):
		a, e := w.effect(c)
		if e == nil || c.kind == opDelete {
			w.answer(c, a, "")
			return
		}
		c.ack = e
		w.note(c.p.c.index, c.kind.String(), c.name, "applied, not answered yet")
	default:
		w.answer(c, w.perform(c), "")
	}
}

// failWrite fails without effect, unless a planted bug makes more of it.
func (w *World) failWrite(c *call) {
	switch w.o.Bug {
	case BugFailureIsFine:
		if c.kind == opPut {
			w.answer(c, answer{}, "failed, reported as stored")
			return
		}
	case BugTornWrites:
		if _, there := w.store.now[c.name]; c.kind != opDelete && !there {
			w.store.settle(w.store.apply(c.name, c.data[:len(c.data)/2]))
		}
	}
	w.hurt(c, answer{err: failed(c.kind.String(), c.name, errTimeout)}, "failed")
}

func (w *World) grantRead(c *call, pick func(float64) bool) {
	r := &w.o.Rates
	switch {
	case pick(r.Read):
		w.hurt(c, answer{err: failed(c.kind.String(), c.name, errTimeout)}, "failed")
	case pick(r.Short):
		a := w.perform(c)
		a.data, a.infos = a.data[:len(a.data)/2], a.infos[:len(a.infos)/2]
		if w.o.Bug == BugShortIsFine {
			w.answer(c, a, "cut short, silently")
			return
		}
		if a.err == nil {
			a.late = failed(c.kind.String(), c.name, errTimeout)
		}
		w.hurt(c, a, "cut short")
	case c.kind == opList && (c.name == "packs/" || c.name == "index/") && pick(r.Stale):
		w.tally.Stale++
		a := w.perform(c)
		a.infos = w.store.stale(c.name, w.rng)
		w.excuse(c)
		w.answer(c, a, "stale")
	default:
		w.answer(c, w.perform(c), "")
	}
}

// answer lets the caller go on.
func (w *World) answer(c *call, a answer, how string) {
	w.drop(c)
	if how == "" {
		how = "ok"
	}
	if a.err != nil {
		how = a.err.Error()
	}
	w.note(c.p.c.index, c.kind.String(), c.name, how)
	c.done <- a
}

func (w *World) excuse(c *call) {
	w.mu.Lock()
	defer w.mu.Unlock()
	c.p.hurt = true
}

// hurt answers with a fault that the caller can see.
func (w *World) hurt(c *call, a answer, how string) {
	w.excuse(c)
	w.tally.Failures++
	w.drop(c)
	w.note(c.p.c.index, c.kind.String(), c.name, how)
	c.done <- a
}

// disturb lets something happen that no call asked for.
func (w *World) disturb() {
	r := &w.o.Rates
	w.full = max(0, w.full-1)
	x := w.rng.Float64()
	pick := func(rate float64) bool { x -= rate; return x < 0 }
	c := w.clients[w.rng.IntN(len(w.clients))]
	n := w.rng.Uint64()
	switch {
	case pick(r.Kill):
		if c.proc != nil && !c.finished() {
			w.kill(c, n)
		}
	case pick(r.Sleep):
		if c.proc != nil && !c.finished() && c.awake() {
			w.tally.Suspensions++
			for_ := time.Duration(n % uint64(3*time.Second))
			if n>>60&1 == 1 {
				for_ = time.Duration(n % uint64(10*24*time.Hour))
			}
			c.asleep = w.now + for_
			w.note(c.index, "sleeps", "", for_.String())
		}
	case pick(r.Jump):
		w.tally.ClockJumps++
		c.jump += time.Duration(n%uint64(20*365*24*time.Hour)) - 10*365*24*time.Hour
		c.jump = min(max(c.jump, -20*365*24*time.Hour), 100*365*24*time.Hour)
		w.note(c.index, "clock", "", c.jump.String())
	case pick(r.Full):
		w.full = int(n % 200)
		w.note(-1, "full", "", "")
	case pick(r.Cut):
		w.powerCut()
	}
	for _, c := range w.clients {
		if c.proc == nil && c.awake() && !c.finished() {
			c.start()
			synctest.Wait()
		}
	}
}

func (w *World) kill(c *client, n uint64) {
	w.tally.Crashes++
	w.note(c.index, "killed", "", "")
	if w.o.Bug == BugWriteBack {
		w.ghosts = slices.DeleteFunc(w.ghosts, func(g ghost) bool { return g.by == c.proc })
	}
	c.kill()
	synctest.Wait()
	c.asleep = w.now + time.Duration(n%uint64(2*time.Second))
}

// powerCut hits the store: what is under way is applied or not, what is not
// durable is kept or not. Some clients stand in the same room.
func (w *World) powerCut() {
	w.tally.PowerCuts++
	w.note(-1, "power cut", "", "")
	waiting := w.sorted()
	for _, c := range waiting {
		if c.kind.writes() && c.ack == nil {
			w.effect(c)
		}
	}
	w.store.cut(w.rng)
	for _, c := range w.clients {
		if w.rng.IntN(2) == 0 && c.proc != nil && !c.finished() {
			w.kill(c, w.rng.Uint64())
		}
	}
	for _, c := range waiting {
		if c.kind == opTurn || c.p.isDead() {
			w.drop(c)
			continue
		}
		w.hurt(c, answer{err: failed(c.kind.String(), c.name, errTimeout)}, "failed with the power")
		synctest.Wait() // one at a time
	}
}

func (p *process) isDead() bool {
	p.w.mu.Lock()
	defer p.w.mu.Unlock()
	return p.dead
}

// Fixed is one planned fault, for exhaustive runs.
type Fixed struct {
	At   int // the call, counted from 1 over all clients
	What FixedKind
	seen int
}

// FixedKind is what happens at the planned call.
type FixedKind string

// The planned faults.
const (
	FixFail    FixedKind = "fail"
	FixApplied FixedKind = "apply and fail"
	FixLate    FixedKind = "fail and come later"
	FixKill    FixedKind = "kill before"
	FixKilled  FixedKind = "kill after"
	FixCut     FixedKind = "power cut"
	FixFull    FixedKind = "full from here on for 30 calls"
	FixStop    FixedKind = "suspend for a week"
)

// FixedKinds are all of them.
var FixedKinds = []FixedKind{FixFail, FixApplied, FixLate, FixKill, FixKilled, FixCut, FixFull, FixStop}

func (w *World) fixed(c *call, f *Fixed) {
	f.seen++
	if f.seen != f.At {
		if w.full > 0 && c.kind.writes() && c.kind != opDelete {
			w.full--
			w.hurt(c, answer{err: failed(c.kind.String(), c.name, errFull)}, "full")
			return
		}
		w.answer(c, w.perform(c), "")
		return
	}
	late := answer{err: failed(c.kind.String(), c.name, errTimeout)}
	switch f.What {
	case FixFail:
		w.hurt(c, late, "failed")
	case FixApplied:
		w.effect(c)
		w.hurt(c, late, "applied, reported as failed")
	case FixLate:
		if c.kind.writes() {
			w.later(c.kind, c.name, c.data)
		}
		w.hurt(c, late, "failed, comes later")
	case FixKill:
		w.kill(c.p.c, 0)
	case FixKilled:
		w.effect(c)
		w.drop(c)
		w.kill(c.p.c, 0)
	case FixCut:
		w.powerCut()
	case FixFull:
		w.full = 30
		w.fixed(c, f)
	case FixStop:
		w.answer(c, w.perform(c), "then suspended")
		c.p.c.asleep = w.now + 7*24*time.Hour
	}
}

// deleteNewest is what a late delete does in a store that has used a name again.
func (w *World) deleteNewest(name string) {
	dir, _, _ := strings.Cut(name, "/")
	if dir != "packs" {
		return
	}
	newest, at := "", -1
	for n, r := range w.store.recent {
		if _, there := w.store.now[n]; there && strings.HasPrefix(n, dir) && (r.step > at || r.step == at && n < newest) {
			newest, at = n, r.step
		}
	}
	if newest != "" {
		w.store.apply(newest, nil)
	}
}

// Seen returns how many calls there were.
func (f *Fixed) Seen() int { return f.seen }
