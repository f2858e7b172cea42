package model

import "hash/maphash"

// Result is what an exploration found.
type Result struct {
	Config   string
	Mutant   Mutant
	States   int    // distinct states
	Depth    int    // steps of the longest path explored
	Complete bool   // every reachable state within the bounds was seen
	Violated string // what went wrong, empty if nothing
	Trace    []string
	Drained  int // states from which a full collection was run
	Short    int // of these, those without room for it in the encoding
}

// table is a set of fingerprints; each knows the state it was first reached
// from. Open addressing, no deletion.
type table struct {
	slots []entry
	n     int
}

type entry struct{ print, from uint64 }

func newTable() *table { return &table{slots: make([]entry, 1<<16)} }

func (t *table) slot(print uint64) *entry {
	mask := uint64(len(t.slots) - 1)
	for i := print & mask; ; i = (i + 1) & mask {
		if e := &t.slots[i]; e.print == print || e.print == 0 {
			return e
		}
	}
}

// add reports whether the fingerprint is new.
func (t *table) add(print, from uint64) bool {
	e := t.slot(print)
	if e.print != 0 {
		return false
	}
	*e = entry{print, from}
	if t.n++; t.n*8 > len(t.slots)*5 {
		old := t.slots
		t.slots = make([]entry, 2*len(old))
		for _, e := range old {
			if e.print != 0 {
				*t.slot(e.print) = e
			}
		}
	}
	return true
}

// queue is a first-in first-out list of states that gives memory back as it
// is emptied.
type queue struct {
	chunks [][]state
	at     int // in the first chunk
	n      int
}

const chunk = 1024

func (q *queue) push(s *state) {
	if last := len(q.chunks) - 1; last < 0 || len(q.chunks[last]) == chunk {
		q.chunks = append(q.chunks, make([]state, 0, chunk))
	}
	last := &q.chunks[len(q.chunks)-1]
	*last = append(*last, *s)
	q.n++
}

func (q *queue) pop() state {
	s := q.chunks[0][q.at]
	q.at++
	q.n--
	if q.at == chunk {
		q.chunks[0], q.chunks, q.at = nil, q.chunks[1:], 0
	}
	return s
}

// Explore visits every state of a configuration, breadth first, until one
// violates the invariant or limit states have been seen (0: no limit). A
// mutant is the protocol with one sentence left out; None is the protocol.
func Explore(c Config, mutant Mutant, limit int) Result {
	m := &model{cfg: &c, mutant: mutant, maxGen: c.Gens}
	for _, p := range c.Procs {
		m.beside = m.beside || p.Mode >= Beside
	}
	seed := maphash.MakeSeed()
	print := func(s *state) uint64 { return max(maphash.Comparable(seed, *s), 1) }
	r := Result{Config: c.Name, Mutant: mutant}
	seen := newTable()
	first := m.initial()
	seen.add(print(&first), 0)
	var level, next queue
	level.push(&first)
	for ; level.n > 0; r.Depth++ {
		for level.n > 0 {
			s := level.pop()
			from := print(&s)
			for j, succ := 0, m.expand(&s); j < len(succ); j++ {
				t := &succ[j]
				m.canonical(t)
				fp := print(t)
				if !seen.add(fp, from) {
					continue
				}
				v := m.check(t)
				if v.what == "" && mutant == None && fp%drainEvery == 0 {
					v = m.drain(t, &r)
				}
				if v.what != "" {
					r.Violated, r.States = v.String(), seen.n
					r.Trace = m.trace(seen, print, fp)
					return r
				}
				next.push(t)
			}
			if limit > 0 && seen.n >= limit {
				r.States = seen.n
				return r
			}
		}
		level, next = next, queue{}
	}
	r.States, r.Complete = seen.n, true
	return r
}

// canonical maps states that differ only in the order of equal processes, or
// of late requests, to one of them.
func (m *model) canonical(s *state) {
	if a, b := &s.lates[0], &s.lates[1]; b.kind != 0 && (a.kind > b.kind || a.kind == b.kind && a.id > b.id) {
		*a, *b = *b, *a
	}
	for i := 1; i < len(m.cfg.Procs); i++ {
		p, q := &m.cfg.Procs[i-1], &m.cfg.Procs[i]
		if p.Role == q.Role && (p.Role == Collector || p.Role == Folder) && p.Rounds == q.Rounds && after(&s.procs[i-1], &s.procs[i]) {
			s.procs[i-1], s.procs[i] = s.procs[i], s.procs[i-1]
		}
	}
}

// after orders processes; it may leave unlike ones unordered, which only costs
// time.
func after(a, b *process) bool {
	x := [...]uint16{uint16(a.pc), uint16(a.n), uint16(a.round), a.condemned, a.packs, a.segs, a.named, a.mem, uint16(a.vis), uint16(a.todo)}
	y := [...]uint16{uint16(b.pc), uint16(b.n), uint16(b.round), b.condemned, b.packs, b.segs, b.named, b.mem, uint16(b.vis), uint16(b.todo)}
	for i := range x {
		if x[i] != y[i] {
			return x[i] > y[i]
		}
	}
	return false
}

// drainEvery is how many states share one check of liveness.
const drainEvery = 64

// drain checks liveness: from s on all processes are dead and nothing more
// arrives; one client that runs full collections must leave exactly what the
// backups need.
func (m *model) drain(s *state, r *Result) violation {
	d := &model{cfg: &Config{Tidy: true, Procs: []Proc{{Role: Collector}}}, maxGen: maxGen, thorough: true}
	r.Drained++
	t := *s
	t.procs = [maxProc]process{}
	t.lates = [maxLate]late{}
	t.late = 0
	// It adopts or finishes what was begun, and then collects once.
	t.procs[0] = process{role: Collector, round: 1}
	for step := 0; t.procs[0].pc != ended; step++ {
		succ := d.expand(&t)
		if len(succ) == 0 {
			r.Short++
			return violation{}
		}
		t = succ[0] // rather begin than only finish
		if v := d.check(&t); v.what != "" {
			v.what = "in a collection without faults: " + v.what
			return v
		}
		if step > 300 {
			return violation{"a collection does not end", 0}
		}
	}
	n := t.newestDone()
	live := t.doneOf(n)
	switch {
	case t.sessions != 0 || t.killed != 0:
		return violation{"a full collection leaves sessions or killed records", 0}
	case t.commits != uint8(live.live) || t.commits&t.gone != 0:
		return violation{"a full collection leaves dropped commits", 0}
	case t.segs != live.index || t.packs != t.packsOf(t.segs):
		return violation{"a full collection leaves packs or index segments", 0}
	case t.blobsOf(t.packs) != t.reach(t.commits):
		return violation{"a full collection leaves dead blobs", 0}
	}
	return violation{}
}
