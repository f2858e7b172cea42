package torture

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"testing"
)

// state is what the program has promised about a backup.
type state int

const (
	live      state = iota // acknowledged, or seen: it has to restore
	busy                   // an actor is changing it
	forgotten              // acknowledged to be
	unsure                 // a process that changed it was killed
)

// kept is a backup that the test knows of.
type kept struct {
	id      string
	source  *copyOf
	state   state
	readers int
}

// world is one repository and everything that happens to it.
type world struct {
	*program
	small   bool // the store may be full
	server  *server
	target  *program // of copies, or nil
	sources []*source

	mu       sync.Mutex // guards what follows
	attempts map[string]*copyOf
	backups  map[string]*kept
	wrong    []string
	tally    tally
}

// tally is what the final lines tell.
type tally struct {
	rounds, acknowledged, landed int // landed: visible though nobody was told
	again, lost                  int // given up by a collection: started over, the third time for good
	full                         int // ended because the store was
	forgotten, unforgotten, late int // late: unforgotten when it was collected
	checkpoints                  int
	prunes, pruned, adopted      int
	early, planned, deleting     int // prunes interrupted, by how far they were
	restored, restarted, checked int
	temporary                    int
}

// newWorld makes a repository in a directory.
func newWorld(t *testing.T, dir string, seed uint64) *world {
	t.Helper()
	return newWorldOf(t, newProgram(filepath.Join(dir, "repo"), filepath.Join(disk(t), "state")), seed)
}

// newWorldOf makes a repository where clients of that program look for it.
func newWorldOf(t *testing.T, p *program, seed uint64) *world {
	t.Helper()
	w := &world{program: p, attempts: map[string]*copyOf{}, backups: map[string]*kept{}}
	w.init(t)
	for i := range 3 {
		at, err := os.MkdirTemp(fast, "source")
		must(t, err)
		s, err := newSource(at, fmt.Sprintf("host%d", i), seed+uint64(i))
		must(t, err)
		w.sources = append(w.sources, s)
	}
	return w
}

// init makes a repository whose key costs nothing.
func (p *program) init(t *testing.T) {
	t.Helper()
	p.must(t, 0, "init", "--quiet", "--kdf-memory", "8", "--kdf-time", "1", "--kdf-threads", "1")
}

// complain notes that a promise was broken.
func (w *world) complain(format string, args ...any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.wrong = append(w.wrong, fmt.Sprintf(format, args...))
}

func (w *world) broken() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.wrong) > 0
}

// report fails the test if a promise was broken.
func (w *world) report(t *testing.T) {
	t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	for i, s := range w.wrong {
		if i == 5 {
			t.Fatalf("and %d more", len(w.wrong)-i)
		}
		t.Error(s)
	}
	if len(w.wrong) > 0 {
		t.FailNow()
	}
}

// count changes the tally.
func (w *world) count(f func(*tally)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	f(&w.tally)
}

// do runs a command for an actor. It reports false if something is so wrong that
// the outcome means nothing.
func (w *world) do(f fate, args ...string) (outcome, bool) {
	o, err := w.run(f, args...)
	if err != nil {
		w.complain("%v", err)
	}
	return o, err == nil
}

// acknowledge enters a backup that the program told of.
func (w *world) acknowledge(id string, c *copyOf) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.backups[id] = &kept{id: id, source: c}
	w.tally.acknowledged++
}

// take chooses a backup in this state that nobody else works with. The state
// becomes busy, unless it is only going to be read.
func (w *world) take(rng *rand.Rand, s state, read bool) *kept {
	w.mu.Lock()
	defer w.mu.Unlock()
	var list []*kept
	for _, k := range w.backups {
		if k.state == s && (read || k.readers == 0) {
			list = append(list, k)
		}
	}
	if len(list) == 0 {
		return nil
	}
	k := list[rng.IntN(len(list))]
	if read {
		k.readers++
	} else {
		k.state = busy
	}
	return k
}

func (w *world) put(k *kept, s state) {
	w.mu.Lock()
	defer w.mu.Unlock()
	k.state = s
}

func (w *world) release(k *kept) {
	w.mu.Lock()
	defer w.mu.Unlock()
	k.readers--
}

// number of backups in a state.
func (w *world) countState(s state) (n int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, k := range w.backups {
		if k.state == s {
			n++
		}
	}
	return n
}
