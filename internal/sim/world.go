package sim

import (
	"cmp"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"vault/crypto"
)

// World is one schedule: a store, its clients, and what is known to be true.
type World struct {
	seed  uint64
	o     Options
	rng   *rand.Rand // of the scheduler
	store *store
	now   time.Duration // since epoch
	step  int
	trace []entry

	clients []*client
	current *client // whom the scheduler favours
	ghosts  []ghost
	full    int // steps for which the store is full

	mu      sync.Mutex // guards what follows, and the marked fields of processes
	waiting []*call
	timers  []*timer
	calls   int
	truth   map[crypto.SessionID]*saved
	news    bool       // truth has changed since the oracle looked
	wrong   *Violation // the first
	tally   Tally

	auditor auditor
	caches  string // directory of the clients' caches, "" if there is none
}

// cacheDir returns a directory that ends with the schedule.
func (w *World) cacheDir() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.caches == "" {
		var err error
		if w.caches, err = os.MkdirTemp(place(), "cache-"); err != nil {
			panic("sim: " + err.Error())
		}
	}
	return w.caches
}

// epoch is when a schedule begins.
var epoch = time.Date(2035, 1, 1, 0, 0, 0, 0, time.UTC)

// Tally counts what a schedule did.
type Tally struct {
	Steps, Audits                                                               int
	Backups, Acknowledged, Killed, Void, Forgotten, Unforgotten, Tagged         int
	Collections, Folds, Restores, Checks                                        int
	Crashes, Suspensions, PowerCuts, ClockJumps, Failures, Late, Stale, NoSpace int
	Abandoned                                                                   int // tasks given up after errors
}

// ghost is a write that takes effect by itself, later.
type ghost struct {
	by   *process // whose death takes it along; only of a planted bug
	at   int      // step
	kind kind
	name string
	data []byte
}

// timer is one that a client waits for.
type timer struct {
	p   *process
	due time.Duration
	ch  chan time.Time
	seq int
}

// entry is one line of the trace.
type entry struct {
	step   int
	client int
	what   string
	name   string
	result string
}

func (e entry) String() string {
	who := "world"
	if e.client >= 0 {
		who = fmt.Sprintf("client %d", e.client)
	}
	return fmt.Sprintf("%5d  %-8s  %-7s %-50s %s", e.step, who, e.what, shorten(e.name), e.result)
}

// shorten cuts hashes.
func shorten(name string) string {
	if strings.HasPrefix(name, "packs/") || strings.HasPrefix(name, "index/") {
		return name[:min(len(name), 18)]
	}
	return name
}

// Outcome is what came of a schedule.
type Outcome struct {
	Seed  uint64
	Wrong *Violation // nil: nothing
	Trace []string
	Tally Tally
	Hash  uint64 // of the trace, to compare two runs of a seed
}

// Play runs one schedule in a bubble of its own.
func Play(t *testing.T, seed uint64, o Options) (out Outcome) {
	synctest.Test(t, func(*testing.T) {
		w := newWorld(seed, o)
		w.run()
		out = w.outcome()
	})
	return out
}

func newWorld(seed uint64, o Options) *World {
	w := &World{
		seed: seed, rng: rand.New(rand.NewPCG(seed, 1)), truth: map[crypto.SessionID]*saved{},
		current: nil,
	}
	w.o = o.draw(w.rng)
	base := bases()[w.o.Base]
	w.store = newStore(base.objects)
	for id, s := range base.truth {
		c := *s
		w.truth[id] = &c
	}
	for i, tasks := range w.o.Script {
		w.clients = append(w.clients, &client{w: w, index: i, tasks: tasks})
	}
	w.news = true
	return w
}

func (w *World) outcome() Outcome {
	out := Outcome{Seed: w.seed, Wrong: w.wrong, Tally: w.tally, Hash: 14695981039346656037}
	out.Tally.Steps = w.step
	for _, e := range w.trace {
		line := e.String()
		for i := range len(line) {
			out.Hash = (out.Hash ^ uint64(line[i])) * 1099511628211
		}
		if w.wrong != nil || w.o.Verbose {
			out.Trace = append(out.Trace, line)
		}
	}
	return out
}

func (w *World) note(client int, what, name, result string) {
	w.trace = append(w.trace, entry{w.step, client, what, name, result})
}

// violate records the first thing that must not happen.
func (w *World) violate(kind Kind, format string, args ...any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.violateHeld(kind, fmt.Errorf(format, args...))
}

func (w *World) violateHeld(kind Kind, err error) {
	if w.wrong == nil {
		w.wrong = &Violation{kind, w.step, err}
	}
}

func (w *World) broken() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.wrong != nil
}

// maxSteps is where a schedule does not end. It is far beyond what any needs.
const maxSteps = 30_000

// run plays the schedule to its end.
func (w *World) run() {
	for _, c := range w.clients {
		c.start()
		synctest.Wait()
	}
	for w.advance() {
	}
	for _, c := range w.clients {
		c.kill()
	}
	synctest.Wait()
	if w.caches != "" {
		os.RemoveAll(w.caches)
	}
	if !w.broken() {
		w.finish()
	}
}

// advance does one step. It reports whether there is more to do.
func (w *World) advance() bool {
	synctest.Wait()
	w.reap()
	w.audit()
	if w.broken() {
		return false
	}
	w.step++
	w.store.step = w.step
	w.now += 5 * time.Millisecond
	if w.step > maxSteps {
		w.violate(Stuck, "the schedule does not end")
		return false
	}
	if w.grantTurn() {
		return true
	}
	if w.o.Calm == 0 || w.step < w.o.Calm {
		w.disturb()
	}
	w.haunt()
	synctest.Wait()
	w.reap()
	ready, busy := w.ready()
	if !busy {
		return false
	}
	if w.ring(len(ready) == 0) {
		return true
	}
	if len(ready) > 0 {
		w.grant(w.choose(ready))
	}
	return true
}

// submit takes a call. It reports false if the process has been killed.
func (w *World) submit(c *call) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if c.p.dead {
		return false
	}
	w.calls++
	c.p.calls++
	c.seq = c.p.calls
	if c.p.free {
		c.done <- w.perform(c)
		return true
	}
	w.waiting = append(w.waiting, c)
	return true
}

// leave says that nobody waits for the call any more.
func (w *World) leave(c *call) {
	w.mu.Lock()
	defer w.mu.Unlock()
	c.given = true
}

// sorted returns the waiting calls in an order that does not depend on chance.
func (w *World) sorted() []*call {
	w.mu.Lock()
	defer w.mu.Unlock()
	slices.SortFunc(w.waiting, func(a, b *call) int {
		return cmp.Or(cmp.Compare(a.p.c.index, b.p.c.index), cmp.Compare(a.kind, b.kind), strings.Compare(a.name, b.name), cmp.Compare(a.seq, b.seq))
	})
	return slices.Clone(w.waiting)
}

func (w *World) drop(c *call) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.waiting = slices.DeleteFunc(w.waiting, func(o *call) bool { return o == c })
}

// reap decides what becomes of calls whose caller has gone: a write that was
// under way happens, or not, or later.
func (w *World) reap() {
	for _, c := range w.sorted() {
		if !c.given {
			continue
		}
		w.drop(c)
		if c.ack != nil || !c.kind.writes() {
			continue
		}
		switch w.rng.IntN(4) {
		case 0:
			w.apply(c.kind, c.name, c.data)
			w.note(c.p.c.index, c.kind.String(), c.name, "given up, applied")
		case 1:
			w.later(c.kind, c.name, c.data)
			w.note(c.p.c.index, c.kind.String(), c.name, "given up, comes later")
		default:
			w.note(c.p.c.index, c.kind.String(), c.name, "given up")
		}
	}
}

// apply lets a write take effect that nobody waits for.
func (w *World) apply(k kind, name string, data []byte) {
	_, there := w.store.now[name]
	switch {
	case k == opPut, k == opCreate && !there:
		w.store.settle(w.store.apply(name, data))
	case k == opCreate && w.o.Bug == BugLateOverwrites:
		w.store.settle(w.store.apply(name, data))
	case k == opDelete && w.o.Bug == BugLateDeletes:
		w.deleteNewest(name)
	case k == opDelete && there:
		w.store.apply(name, nil)
	}
}

// later makes a ghost of a write.
func (w *World) later(k kind, name string, data []byte) {
	delay := 1 + w.rng.IntN(40)
	if w.rng.IntN(2) == 0 {
		delay = 1 + w.rng.IntN(1500)
	}
	w.ghosts = append(w.ghosts, ghost{at: w.step + delay, kind: k, name: name, data: data})
	w.tally.Late++
}

// haunt lets those ghosts take effect whose time has come.
func (w *World) haunt() {
	for i := 0; i < len(w.ghosts); {
		g := w.ghosts[i]
		if g.at > w.step {
			i++
			continue
		}
		w.ghosts = slices.Delete(w.ghosts, i, i+1)
		w.apply(g.kind, g.name, g.data)
		w.note(-1, "late", g.kind.String()+" "+g.name, "")
	}
}

// grantTurn lets a goroutine go on that waits for its turn. Such steps are no
// calls of the store and are not drawn.
func (w *World) grantTurn() bool {
	for _, c := range w.sorted() {
		if c.kind != opTurn {
			continue
		}
		w.mu.Lock()
		ok := !c.p.held && !c.p.dead
		if ok {
			c.p.held = true
		}
		w.mu.Unlock()
		if ok {
			w.drop(c)
			c.done <- answer{}
			return true
		}
	}
	return false
}

// ready returns the calls that may be granted, and whether any client has
// something left to do.
func (w *World) ready() (ready []*call, busy bool) {
	for _, c := range w.sorted() {
		if c.ack != nil && w.o.Bug == BugHidesUnacked && w.rng.IntN(20) > 0 {
			continue // let the answer take long
		}
		if c.kind != opTurn && c.p.c.awake() {
			ready = append(ready, c)
		}
	}
	for _, c := range w.clients {
		busy = busy || !c.finished()
	}
	return ready, busy
}

// choose draws the call that is granted next: mostly one of the client that was
// favoured before.
func (w *World) choose(ready []*call) *call {
	if w.current == nil || w.rng.Float64() < w.o.Switch {
		w.current = w.clients[w.rng.IntN(len(w.clients))]
	}
	pick := w.rng.Uint64()
	var own []*call
	for _, c := range ready {
		if c.p.c == w.current {
			own = append(own, c)
		}
	}
	if len(own) == 0 {
		c := ready[pick%uint64(len(ready))]
		w.current = c.p.c
		for _, o := range ready {
			if o.p.c == w.current {
				own = append(own, o)
			}
		}
	}
	return own[pick%uint64(len(own))]
}

// ring fires a timer that is due; when nothing else can happen, time passes
// until the next one is, or until a client wakes up.
func (w *World) ring(idle bool) bool {
	w.mu.Lock()
	w.timers = slices.DeleteFunc(w.timers, func(t *timer) bool { return t.p.dead })
	slices.SortFunc(w.timers, func(a, b *timer) int {
		return cmp.Or(cmp.Compare(a.due, b.due), cmp.Compare(a.p.c.index, b.p.c.index), cmp.Compare(a.seq, b.seq))
	})
	timers := slices.Clone(w.timers)
	w.mu.Unlock()
	hurry := w.rng.Float64() < w.o.Hurry
	var next *timer
	for _, t := range timers {
		if t.p.c.awake() {
			next = t
			break
		}
	}
	var wakes *client
	for _, c := range w.clients {
		if !c.finished() && !c.awake() && (wakes == nil || c.asleep < wakes.asleep) {
			wakes = c
		}
	}
	if idle && wakes != nil && (next == nil || wakes.asleep < next.due) {
		w.now = max(w.now, wakes.asleep)
		w.note(wakes.index, "wakes", "", "")
		wakes.wake()
		return true
	}
	if next == nil || !idle && !hurry && next.due > w.now {
		return false
	}
	w.now = max(w.now, next.due)
	w.mu.Lock()
	w.timers = slices.DeleteFunc(w.timers, func(t *timer) bool { return t == next })
	w.mu.Unlock()
	w.note(next.p.c.index, "timer", "", "")
	next.ch <- next.p.c.clock()
	return true
}

// after is a client's timer.
func (w *World) after(p *process, d time.Duration) <-chan time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.calls++
	t := &timer{p: p, due: w.now + d, ch: make(chan time.Time, 1), seq: w.calls}
	w.timers = append(w.timers, t)
	return t.ch
}

// sleep waits for a client's timer.
func (p *process) sleep(ctx context.Context, d time.Duration) error {
	select {
	case <-p.w.after(p, d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-p.gone:
		return errKilled
	}
}
