package torture

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"vault/internal/durable"
)

// TestTorture kills processes, TORTURE_KILLS of them, and looks after each round
// whether everything is there that was promised.
func TestTorture(t *testing.T) {
	want, each := number("TORTURE_KILLS", 250), 25
	if testing.Short() {
		want = min(want, 40)
	}
	seed := uint64(number("TORTURE_SEED", int(time.Now().UnixNano()%1e6)))
	start := time.Now()
	w := newWorld(t, disk(t), seed)
	w.target = w.second(t)
	for n := 0; n < want; {
		n = min(n+each, want)
		w.round(seed+uint64(n)<<20, n)
		w.quiet(t)
	}
	w.allCopied(t)
	w.end(t)
	w.tell(seed, time.Since(start))
}

// tell prints what the numbers in docs/reliability.md are taken from.
func (w *world) tell(seed uint64, took time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	y := w.tally
	fmt.Printf("torture: seed %d: %d kills and %d SIGTERM among %d processes in %s: %v\n", seed, w.kills, w.terms, w.runs, took.Round(time.Second), w.killed)
	fmt.Printf("torture: %d backups acknowledged, %d visible though killed, %d checkpoints, %d started over, %d given up, %d met a full store; %d forgotten, %d brought back, %d too late\n",
		y.acknowledged, y.landed, y.checkpoints, y.again, y.lost, y.full, y.forgotten, y.unforgotten, y.late)
	fmt.Printf("torture: %d prunes: %d done, %d of them finished another's plan; interrupted: %d before a plan, %d with a plan, %d deleting\n",
		y.prunes, y.pruned, y.adopted, y.early, y.planned, y.deleting)
	fmt.Printf("torture: %d restores identical (%d restarted), %d checks beside others, %d rounds\n", y.restored, y.restarted, y.checked, y.rounds)
}

// quiet looks at everything while nothing runs.
func (w *world) quiet(t *testing.T) {
	t.Helper()
	w.report(t)
	o := w.must(t, 0, "status", "--json")
	if s := o.messages("status"); len(s) != 1 || s[0].State != "ready" {
		t.Fatalf("status: %v", o)
	}
	o = w.must(t, 0, "check", "--read-data", "--json")
	if s := o.messages("summary"); len(s) != 1 || s[0].Errors != 0 {
		t.Fatalf("check: %v", o)
	}
	w.resolve(t)
	w.restoreAll()
	w.report(t)
}

// resolve compares the list of backups with what was promised, and learns what
// the test could not know.
func (w *world) resolve(t *testing.T) {
	t.Helper()
	visible := map[string]message{}
	for _, m := range w.must(t, 0, "backups", "--json").messages("backup") {
		visible[m.BackupID] = m
	}
	hidden := map[string]bool{}
	for _, m := range w.must(t, 0, "backups", "--forgotten", "--json").messages("backup") {
		hidden[m.BackupID] = true
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for id, k := range w.backups {
		_, seen := visible[id]
		switch {
		case seen && hidden[id]:
			t.Errorf("%s is listed twice, as forgotten and not", id)
		case k.state == live && !seen:
			t.Errorf("%s (%s) was acknowledged and is gone", id, k.source.tag)
		case k.state == forgotten && seen:
			t.Errorf("%s (%s) was forgotten and is there", id, k.source.tag)
		case k.state == busy:
			t.Errorf("internal error: %s is busy", id)
		case seen:
			k.state = live
		case hidden[id]:
			k.state = forgotten
		default:
			delete(w.backups, id) // collected
		}
	}
	for id, m := range visible {
		if w.backups[id] != nil {
			continue
		}
		c := w.attempts[strings.Join(m.Tags, " ")]
		if c == nil || m.State != "complete" {
			t.Errorf("a backup that nobody made: %+v", m)
			continue
		}
		w.backups[id] = &kept{id: id, source: c}
		w.tally.landed++
	}
	if t.Failed() {
		t.FailNow()
	}
}

// restoreAll restores every backup and compares it.
func (w *world) restoreAll() {
	work := make(chan *kept)
	var wg sync.WaitGroup
	for range 2 {
		wg.Go(func() {
			for k := range work {
				w.restoreOne(k)
			}
		})
	}
	for _, k := range w.all() {
		work <- k
	}
	close(work)
	wg.Wait()
}

func (w *world) restoreOne(k *kept) {
	target, err := os.MkdirTemp(fast, "restored")
	if err != nil {
		w.complain("%v", err)
		return
	}
	defer os.RemoveAll(target)
	o, ok := w.do(fate{}, "restore", k.id, "--target", target, "--json")
	if ok && o.code != 0 {
		w.complain("an acknowledged backup, %s, does not restore: %v", k.source.tag, o)
	} else if ok {
		w.compare(k, target, o)
	}
}

// all returns the backups that have to be there, oldest first.
func (w *world) all() (list []*kept) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, id := range slices.Sorted(maps.Keys(w.backups)) {
		if w.backups[id].state == live {
			list = append(list, w.backups[id])
		}
	}
	return list
}

// end looks, undisturbed, whether all garbage goes.
func (w *world) end(t *testing.T) {
	t.Helper()
	for _, s := range w.sources { // supersedes checkpoints
		w.attempt(s, fate{}, "")
	}
	w.quiet(t)
	w.collect(t)
	w.quiet(t)
	fresh := w.fresh(t)
	have, want := w.stored(t, "packs"), fresh.stored(t, "packs")
	t.Logf("%d backups take %d bytes of packs in %d objects; in a fresh repository %d in %d", len(w.all()), have.bytes, have.objects, want.bytes, want.objects)
	if most := want.bytes + want.bytes/14 + 64<<10; have.bytes > most { // 1/16 is the most that padding adds
		t.Errorf("%d bytes of packs, in a fresh repository %d: garbage has stayed", have.bytes, want.bytes)
	}
	for _, k := range w.all() {
		w.must(t, 0, "forget", k.id)
		k.state = forgotten
	}
	w.collect(t)
	w.quiet(t)
	for _, where := range []string{"packs", "commits", "sessions", "events", "index"} {
		if s := w.stored(t, where); s.objects > 0 {
			t.Errorf("every backup is forgotten and pruned, but %s/ still holds %v", where, s.names)
		}
	}
}

// collect prunes undisturbed, and looks that there is nothing left to do. It has
// little patience: a process of another program may have the number of one that was
// killed, so that its session seems to be alive.
func (w *world) collect(t *testing.T) {
	t.Helper()
	for range 2 { // the first may only finish what was begun
		w.must(t, 0, "prune", "--max-unused", "0%", "--patience", "1s", "--json")
	}
	o := w.must(t, 0, "prune", "--max-unused", "0%", "--dry-run", "--json")
	if m := o.messages("plan"); len(m) != 1 || m[0].Delete+m[0].Repack+m[0].Orphan > 0 || m[0].Unused > 0 {
		t.Errorf("a prune has left garbage: %v", o)
	}
	if g := w.generations(); g.plan != g.done {
		t.Errorf("a prune has left the plan %s, done is %s", g.plan, g.done)
	}
}

// fresh backs the same trees up into a new repository with the same keys, so that
// it cuts them into the same chunks.
func (w *world) fresh(t *testing.T) *program {
	t.Helper()
	dir := disk(t)
	p := newProgram(filepath.Join(dir, "repo"), filepath.Join(dir, "state"))
	must(t, os.CopyFS(filepath.Join(p.repo, "keys"), os.DirFS(filepath.Join(w.repo, "keys"))))
	config, err := os.ReadFile(filepath.Join(w.repo, "config"))
	must(t, err, os.WriteFile(filepath.Join(p.repo, "config"), config, 0o600))
	for _, k := range w.all() {
		target, err := os.MkdirTemp(fast, "again")
		must(t, err)
		w.must(t, 0, "restore", k.id, "--target", target)
		p.must(t, 0, "backup", "tree="+filepath.Join(target, "tree"), "--command", "dump=cat '"+filepath.Join(target, "dump")+"'", "--host", k.source.host)
		must(t, os.RemoveAll(target))
	}
	p.must(t, 0, "prune", "--max-unused", "0%")
	return p
}

// stored is what lies below a prefix of a repository.
type stored struct {
	names   []string
	objects int
	bytes   int64
}

func (p *program) stored(t *testing.T, prefix string) (s stored) {
	t.Helper()
	err := filepath.WalkDir(filepath.Join(p.repo, prefix), func(name string, d os.DirEntry, err error) error {
		if os.IsNotExist(err) {
			return nil
		}
		if err != nil || d.IsDir() {
			return err
		}
		if p.url != "" && durable.IsTemp(d.Name()) {
			return nil // of a client that was killed, on another machine for all one knows: swept when it is two days old
		}
		info, err := d.Info()
		if os.IsNotExist(err) { // others are at work
			return nil
		}
		if err != nil {
			return err
		}
		s.names, s.objects, s.bytes = append(s.names, filepath.Base(name)), s.objects+1, s.bytes+info.Size()
		return nil
	})
	must(t, err)
	return s
}
