package sim

import (
	"context"
	"maps"
	"math/rand/v2"
	"sync"
	"time"

	"vault/crypto"
	"vault/repo"
	"vault/repo/gc"
	"vault/snapshot"
	"vault/snapshot/archive"
)

// Options say what kind of schedule to play. What is zero is drawn from the
// seed.
type Options struct {
	Bug     Bug
	Verbose bool   // keep the trace although nothing is wrong
	Deaf    bool   // false alarms are no violations
	Fixed   *Fixed // no faults but this; it counts the calls

	Script [][]Task // what each client does
	Base   int      // what the repository holds at the start; see bases
	Rates  Rates
	Switch float64 // chance that another client is favoured
	Hurry  float64 // chance that time passes until the next timer
	Cached int     // how many of the clients keep copies on disk
	Calm   int     // the step after which nothing is disturbed; 0: never
}

// Rates are chances: of the first group for each call, of the second for each
// step.
type Rates struct {
	Fail, Applied, Late, Twice, Again, Slow, Read, Short, Stale float64
	Kill, Sleep, Jump, Full, Cut                                float64
}

// draw fills in what is not given. Not every schedule has every fault: those
// that have few of them get further.
func (o Options) draw(rng *rand.Rand) Options {
	some := func(rate float64) float64 {
		if x := rng.Float64(); rng.IntN(3) == 0 {
			return rate * x
		}
		return 0
	}
	r := Rates{
		Fail: some(.04), Applied: some(.04), Late: some(.03), Twice: some(.03), Again: some(.05), Slow: some(.5), Read: some(.02), Short: some(.02), Stale: some(.7),
		Kill: some(.02), Sleep: some(.03), Jump: some(.01), Full: some(.005), Cut: some(.01),
	}
	o.Switch = []float64{1, .3, .1, .03, .01}[rng.IntN(5)]
	o.Hurry = []float64{0, .01, .1}[rng.IntN(3)]
	o.Calm = 3000
	if rng.IntN(8) == 0 {
		o.Cached = 1 + rng.IntN(2)
	}
	script, base := script(rng), rng.IntN(len(bases()))
	if o.Script != nil {
		return o
	}
	o.Script, o.Base = script, base
	switch o.Bug {
	case BugBlindTrust, BugHidesUnacked, BugLateOverwrites, BugMissesSessions:
		// These need several things to happen in one order, and nothing else.
		o.Script, o.Base, r = narrow(rng), 1+base%(len(bases())-1), Rates{}
		if o.Switch > .1 {
			o.Switch = .02
		}
		for _, tasks := range o.Script {
			for i := range tasks {
				tasks[i].Pick &^= 3 << 8 // no checkpoints
			}
		}
	}
	if o.Fixed == nil {
		o.Rates = r.with(o.Bug)
	}
	return o
}

// with sees to it that the fault happens without which the bug makes no
// difference.
func (r Rates) with(b Bug) Rates {
	switch b {
	case BugLosesPuts, BugLosesCreates:
		r.Cut = max(r.Cut, .01)
	case BugShowsEarly:
		r.Cut, r.Slow = max(r.Cut, .01), max(r.Slow, .3)
	case BugHidesUnacked:
		r.Slow, r.Sleep = max(r.Slow, .5), max(r.Sleep, .02)
	case BugLateOverwrites:
		r.Late, r.Twice, r.Again, r.Sleep = max(r.Late, .1), max(r.Twice, .1), max(r.Again, .2), max(r.Sleep, .02)
	case BugLateDeletes:
		r.Late, r.Twice, r.Again = max(r.Late, .03), max(r.Twice, .03), max(r.Again, .1)
	case BugWriteBack:
		r.Kill = max(r.Kill, .01)
	case BugFailureIsFine, BugTornWrites:
		r.Fail = max(r.Fail, .03)
	case BugFullIsFine:
		r.Full = max(r.Full, .01)
	case BugShortIsFine:
		r.Short = max(r.Short, .03)
	case BugClockDecides:
		r.Jump = max(r.Jump, .02)
	case BugBlindTrust, BugMissesSessions:
		r.Sleep = max(r.Sleep, .03)
	case BugErrorIsFine:
		r.Fail, r.Applied = max(r.Fail, .04), max(r.Applied, .04)
	}
	return r
}

// script draws what two to five clients do.
func script(rng *rand.Rand) [][]Task {
	if rng.IntN(3) == 0 {
		return narrow(rng)
	}
	clients := make([][]Task, 2+rng.IntN(4))
	for range 4 + rng.IntN(7) {
		i := rng.IntN(len(clients))
		clients[i] = append(clients[i], task(rng))
	}
	return clients
}

// narrow draws a script in which little happens but what is dangerous: writers
// beside one who forgets and prunes thoroughly, without patience.
func narrow(rng *rand.Rand) [][]Task {
	with := func(k TaskKind) Task {
		t := task(rng)
		if k == TaskKeep && !Checkpoints {
			k = TaskBackup
		}
		t.Kind, t.Limits, t.Patience, t.Parent = k, gc.Limits{MaxRepack: -1}, 0, true
		return t
	}
	clients := [][]Task{{with(TaskBackup)}, {with(TaskForget), with(TaskPrune)}}
	if rng.IntN(2) == 0 {
		clients[0] = append(clients[0], with(TaskBackup))
	}
	if rng.IntN(2) == 0 {
		clients[1] = append(clients[1], with(TaskForget), with(TaskForget), with(TaskPrune))
	}
	if rng.IntN(2) == 0 {
		clients = append(clients, []Task{with([]TaskKind{TaskBackup, TaskKeep, TaskPrune, TaskFold, TaskRead, TaskUnforget}[rng.IntN(6)])})
	}
	return clients
}

func task(rng *rand.Rand) (t Task) {
	t = Task{Tree: rng.IntN(numTrees), Parent: rng.IntN(4) > 0, Pick: rng.Uint64()}
	t.Limits = []gc.Limits{{MaxRepack: -1}, {MaxRepack: -1}, gc.DefaultLimits(64 << 10), {MaxRepack: 0}, {MaxUnused: .3, MaxRepack: 2000}}[rng.IntN(5)]
	t.Patience = []time.Duration{0, 0, time.Minute, 10 * time.Minute}[rng.IntN(4)]
	n := rng.IntN(100)
	defer func() {
		if t.Kind == TaskKeep && !Checkpoints {
			t.Kind = TaskBackup
		}
	}()
	for _, k := range []struct {
		kind  TaskKind
		share int
	}{
		{TaskBackup, 34}, {TaskKeep, 4}, {TaskPrune, 22}, {TaskForget, 14}, {TaskUnforget, 5}, {TaskFold, 5}, {TaskRead, 7}, {TaskRestore, 1}, {TaskTag, 4}, {TaskCheck, 4},
	} {
		if t.Kind = k.kind; n < k.share {
			break
		}
		n -= k.share
	}
	return t
}

// base is a repository at the start of a schedule.
type base struct {
	objects map[string][]byte
	truth   map[crypto.SessionID]*saved
}

func epochNow() time.Time { return epoch.Add(-time.Hour) }

// bases makes the repositories that schedules start from: an empty one, one of
// three backups, and one with a generation behind it and a backup forgotten.
var bases = sync.OnceValue(func() []base {
	must := func(err error) {
		if err != nil {
			panic("sim: " + err.Error())
		}
	}
	ctx := context.Background()
	be := &plain{objects: map[string][]byte{}}
	env := repo.Env{Now: epochNow, Rand: crypto.Reproducible{Reader: newStream(0, -2, 0)}, Host: "base"}
	r, err := repo.Init(ctx, be, repo.InitOptions{Passphrase: []byte(passphrase), Cost: crypto.TestKDFCost, AEAD: crypto.AESGCM, Params: params(), Env: env})
	must(err)
	truth := map[crypto.SessionID]*saved{}
	var list []base
	keep := func() {
		b := base{maps.Clone(be.objects), map[crypto.SessionID]*saved{}}
		for id, s := range truth {
			c := *s
			b.truth[id] = &c
		}
		list = append(list, b)
	}
	backup := func(i int) crypto.SessionID {
		w, err := r.Begin(ctx, repo.WriterOptions{Uploads: 1})
		must(err)
		report, err := archiveTree(ctx, r, func() archive.Store { return w.Lane() }, i, nil, false, epochNow)
		must(err)
		b, err := w.Commit(&snapshot.Backup{Host: "h", Time: snapshot.TimeOf(epochNow()), Volumes: report.Volumes})
		must(err)
		truth[b.ID] = &saved{tree: i, acked: true, kept: true}
		return b.ID
	}
	forget := func(id crypto.SessionID) {
		must(r.Forget(ctx, id, repo.Event{}))
		truth[id].issued, truth[id].kept = 1, false
	}
	keep()
	backup(0)
	second := backup(1)
	backup(2)
	keep()
	forget(second)
	keep()
	_, err = gc.Run(ctx, r, gc.Options{Workers: 1, Limits: gc.Limits{MaxRepack: -1}})
	must(err)
	third := backup(3)
	backup(4)
	forget(third)
	keep()
	return list
})
