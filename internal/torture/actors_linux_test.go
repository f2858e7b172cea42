package torture

import (
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"
)

// most is how many backups there are before the oldest habits of forgetting
// become a necessity.
const most = 14

// round lets all actors work until there are this many kills, then waits until
// the last of their processes has ended.
func (w *world) round(seed uint64, until int) {
	w.count(func(t *tally) { t.rounds++ })
	actors := []func(*rand.Rand){w.forget, w.unforget, w.prune, w.prune, w.restore, w.look}
	if w.small {
		actors = []func(*rand.Rand){w.forget, w.prune, w.restore, w.look}
	}
	if w.target != nil {
		actors = append(actors, w.copy)
	}
	over := make(chan struct{})
	defer w.server.disturb(w.program, rand.New(rand.NewPCG(seed, 99)), over)()
	defer close(over)
	for _, s := range w.sources {
		actors = append(actors, func(rng *rand.Rand) { w.backup(rng, s) })
	}
	var wg sync.WaitGroup
	for i, act := range actors {
		wg.Go(func() {
			rng := rand.New(rand.NewPCG(seed, uint64(i)))
			for w.killCount() < until && !w.broken() {
				act(rng)
			}
		})
	}
	wg.Wait()
}

// backup changes a source, or leaves it as it was when the last attempt died, and
// backs it up.
func (w *world) backup(rng *rand.Rand, s *source) {
	if rng.IntN(4) > 0 {
		if err := s.mutate(); err != nil {
			w.complain("change the source: %v", err)
			return
		}
	}
	if w.small {
		if err := s.fill((1 + rng.IntN(4)) << 20); err != nil {
			w.complain("fill the source: %v", err)
		}
	}
	pause := ""
	switch rng.IntN(12) {
	case 0: // longer than the least patience of a prune, which gives it up
		w.attempt(s, fate{}, "; sleep 1.5")
		return
	case 1, 2:
		pause = "; sleep 0.15"
	}
	w.attempt(s, w.fate(rng, "backup"), pause)
}

// attempt is one process of backup.
func (w *world) attempt(s *source, f fate, pause string) {
	c, err := s.attempt()
	if err != nil {
		w.complain("copy the source: %v", err)
		return
	}
	w.mu.Lock()
	w.attempts[c.tag] = c
	w.mu.Unlock()
	o, ok := w.do(f, "backup", "tree="+s.tree(), "--command", "dump=cat '"+s.dump()+"'"+pause, "--host", s.host, "--tag", c.tag, "--json")
	if !ok {
		return
	}
	id := o.told()
	if id != "" { // told, whatever became of the process then
		w.acknowledge(id, c)
	}
	switch {
	case o.code == 0 && id == "":
		w.complain("success without a Backup ID: %v", o)
	case o.code == 130 && o.sent == syscall.SIGTERM:
		if strings.Contains(o.err, "what was stored so far, ") {
			w.count(func(t *tally) { t.checkpoints++ })
		}
	case o.code == 0, o.ended(), o.code == 16 && w.small:
		if strings.Contains(o.err, "starting over") {
			w.count(func(t *tally) { t.again++ })
		}
		if o.code == 16 {
			w.count(func(t *tally) { t.full++ })
		}
	case o.code == 1 && strings.Contains(o.err, "garbage collection"):
		w.count(func(t *tally) { t.lost++ }) // a prune lost patience, three times
	default:
		w.complain("backup: %v", o)
	}
}

// forget forgets a backup, if there are enough of them.
func (w *world) forget(rng *rand.Rand) {
	if n := w.countState(live); n < 4 || n < most && rng.IntN(3) > 0 {
		time.Sleep(50 * time.Millisecond)
		return
	}
	k := w.take(rng, live, false)
	if k == nil {
		return
	}
	o, ok := w.do(w.fate(rng, "forget"), "forget", k.id, "--json")
	switch {
	case ok && o.code == 0:
		w.put(k, forgotten)
		w.count(func(t *tally) { t.forgotten++ })
		return
	case ok && !o.ended() && !(o.code == 16 && w.small): // a backup may fill the store for a moment
		w.complain("forget: %v", o)
	}
	w.put(k, unsure)
}

// unforget brings a backup back, or comes too late.
func (w *world) unforget(rng *rand.Rand) {
	k := w.take(rng, forgotten, false)
	if k == nil || rng.IntN(2) == 0 {
		if k != nil {
			w.put(k, forgotten)
		}
		time.Sleep(50 * time.Millisecond)
		return
	}
	o, ok := w.do(w.fate(rng, "unforget"), "unforget", k.id, "--json")
	switch {
	case ok && o.code == 0:
		w.put(k, live)
		w.count(func(t *tally) { t.unforgotten++ })
		return
	case ok && o.code == 1 && !o.ended():
		w.put(k, forgotten)
		w.count(func(t *tally) { t.late++ })
		return
	case ok && !o.ended():
		w.complain("unforget: %v", o)
	}
	w.put(k, unsure)
}

// prune collects, with more or less patience for backups under way.
func (w *world) prune(rng *rand.Rand) {
	args := []string{"prune", "--json", "--patience", []string{"1s", "5s"}[rng.IntN(2)]}
	args = append(args, [][]string{{"--max-unused", "0%"}, {"--max-unused", "0%", "--repack-small=false"}, {"--max-unused", "unlimited"},
		{"--delete-only"}, {}}[rng.IntN(5)]...)
	if w.small {
		args = []string{"prune", "--json", "--patience", "1s", "--delete-only"}
	}
	time.Sleep(time.Duration(rng.IntN(400)) * time.Millisecond)
	before := w.generations()
	o, ok := w.do(w.fate(rng, "prune"), args...)
	if !ok {
		return
	}
	after := w.generations()
	w.count(func(t *tally) {
		t.prunes++
		switch {
		case o.code == 0:
			t.pruned++
			for _, m := range o.messages("summary") {
				t.temporary += m.Temporary
				if m.Adopted {
					t.adopted++
				}
			}
		case !o.ended() && o.code != 16:
		case after.plan > after.done:
			t.planned++
		case after.done > before.done:
			t.deleting++
		default:
			t.early++
		}
	})
	switch {
	case o.code == 0, o.code == 11, o.ended(), o.code == 16 && w.small: // 11: others were faster, again and again
	default:
		w.complain("prune: %v", o)
	}
}

// generations are the newest records of collections.
type generations struct{ plan, done string }

func (w *world) generations() (g generations) {
	entries, _ := os.ReadDir(filepath.Join(w.repo, "gc"))
	for _, e := range entries {
		if n, ok := strings.CutSuffix(e.Name(), ".plan"); ok {
			g.plan = max(g.plan, n)
		}
		if n, ok := strings.CutSuffix(e.Name(), ".done"); ok {
			g.done = max(g.done, n)
		}
	}
	return g
}

// restore restores a backup that nobody forgets meanwhile. One that was killed is
// started again, over what is there; --delete removes its temporary files.
func (w *world) restore(rng *rand.Rand) {
	k := w.take(rng, live, true)
	if k == nil {
		return
	}
	defer w.release(k)
	target, err := os.MkdirTemp(fast, "restored")
	if err != nil {
		w.complain("%v", err)
		return
	}
	defer os.RemoveAll(target)
	args := []string{"restore", k.id, "--target", target, "--json"}
	for again := 3; ; again-- {
		f := w.fate(rng, "restore")
		if again == 0 {
			f = fate{}
		}
		o, ok := w.do(f, args...)
		switch {
		case !ok:
			return
		case o.code == 0:
			w.compare(k, target, o)
			return
		case !o.ended():
			w.complain("restore: %v", o)
			return
		}
		w.count(func(t *tally) { t.restarted++ })
		if again == 3 {
			args = append(args, "--delete")
		}
	}
}

// compare looks whether a restored backup is what its source was.
func (w *world) compare(k *kept, target string, o outcome) {
	diff, err := k.source.differences(target)
	if err != nil || len(diff) > 0 {
		w.complain("%s of %s is not restored as it was: %v %s\n%v", k.id, k.source.tag, err, strings.Join(diff[:min(len(diff), 10)], "\n"), o)
		return
	}
	w.count(func(t *tally) { t.restored++ })
}

// look reads while others write.
func (w *world) look(rng *rand.Rand) {
	args := [][]string{{"check", "--json"}, {"check", "--read-data", "--json"}, {"status", "--json"}, {"backups", "--json"}}[rng.IntN(4)]
	o, ok := w.do(w.fate(rng, args[0]), args...)
	if ok && o.code != 0 && !o.ended() {
		w.complain("%s beside others: %v", args[0], o)
	}
	if args[0] == "check" && o.code == 0 {
		w.count(func(t *tally) { t.checked++ })
	}
}
