package model

// What a reader does next.
const (
	rStart   = iota // list gc/, read the newest done
	rCommits        // list and read commits
	rSegs           // read index segments
	rRead           // read the blobs
	rMissing        // something is missing: list gc/ again
	rDamage         // nothing has moved: call it damage
)

// reader reads one backup again and again.
func (m *model) reader(s *state, i int) {
	t := m.fork(s, i)
	p := &t.procs[i]
	target := m.cfg.Procs[i].Target
	missing := func() {
		*p = process{role: p.role, pc: rMissing, done: p.done, plan: p.plan, todo: p.todo}
	}
	switch p.pc {
	case rStart:
		p.done, p.plan = t.newestDone(), t.newestPlan()
		d := t.doneOf(p.done)
		p.named, p.live = d.index, uint8(d.live)
		p.pc = rCommits
	case rCommits:
		vis := m.visible(t, p.done, p.live)
		if vis&bit8(target) == 0 {
			missing()
			return
		}
		p.named |= t.segsOf(vis &^ p.live)
		p.live = 0
		p.pc = rSegs
	case rSegs:
		if p.named&^t.segs != 0 {
			missing()
			return
		}
		p.mem, p.named = t.packsOf(p.named), 0
		p.pc = rRead
	case rRead:
		if t.commitBlobs[target]&^t.blobsOf(p.mem&t.packs) != 0 && t.commits&bit8(target) != 0 {
			missing()
			return
		}
		p.end()
	case rMissing:
		moved := t.newestDone() != p.done || t.newestPlan() != p.plan
		switch m.mutant {
		case ReaderNoReload:
			moved = false
		case ReaderComparesNewest:
			moved = t.newest() != max(p.done, p.plan)
		}
		twice := m.cfg.Procs[i].Twice && p.todo == 0
		*p = process{role: p.role}
		switch {
		case moved:
		case (t.acked&^t.gone)&bit8(target) == 0:
			p.end() // it is not there any more, and rightly so
		case twice:
			p.todo = 1
		default:
			p.pc = rDamage
		}
	}
}

// What a forgetter does next.
const (
	fLook   = iota // read the events
	fCreate        // create the next one
)

// forgetter forgets and unforgets one backup, as its script says.
func (m *model) forgetter(s *state, i int) {
	t := m.fork(s, i)
	p := &t.procs[i]
	spec := &m.cfg.Procs[i]
	me := bit8(spec.Target)
	want := spec.Script[p.round]
	switch p.pc {
	case fLook:
		was := t.decision(spec.Target)
		ok := t.commits&me != 0 && was != evCollected && (want == evForget) != (was == evForget)
		if !ok {
			p.end()
			return
		}
		p.limit = t.eventCount(spec.Target)
		p.pc = fCreate
	case fCreate:
		k := p.limit
		p.limit, p.pc = 0, fLook
		switch {
		case want == evUnforget && m.mutant == TombstoneDeleted:
			if t.eventCount(spec.Target) == k {
				t.events[spec.Target] &^= 3 << (2 * (k - 1))
			}
			t.gone &^= me
		case t.addEvent(spec.Target, k, want):
		default:
			return // taken by another one: look again
		}
		p.round++
		if int(p.round) == len(spec.Script) {
			p.end()
		}
		m.duplicate(t, late{kind: lateEvent, id: spec.Target, a: uint16(k), b: uint16(want)})
	}
}

// duplicate adds the variant in which a second copy of the request that t has
// just seen applied is still on its way.
func (m *model) duplicate(t *state, l late) {
	if t.late == 0 {
		return
	}
	if m.cfg.Late != 0 && m.cfg.Late&(1<<l.kind) == 0 {
		return
	}
	u := m.fork(t, int(m.who[len(m.who)-1]))
	if !u.send(l) {
		m.drop()
	}
}

// send puts a request on its way, if the bounds allow.
func (s *state) send(l late) bool {
	for k := range s.lates {
		if s.lates[k].kind == 0 {
			s.lates[k] = l
			if s.late > 0 {
				s.late--
			}
			return true
		}
	}
	return false
}

// arrive applies late request k.
func (m *model) arrive(s *state, k int) {
	t := m.fork(s, maxProc+k)
	l := t.lates[k]
	t.lates[k] = t.lates[maxLate-1]
	t.lates[maxLate-1] = late{}
	me := bit8(l.id)
	switch l.kind {
	case latePack:
		t.packs |= bit16(l.id)
	case lateSeg:
		t.segs |= bit16(l.id)
	case lateSession:
		t.sessions |= me
	case lateCommit:
		if (t.killed|t.commits)&me == 0 {
			t.commits |= me
		}
	case lateKilled:
		if (t.killed|t.commits)&me == 0 {
			t.killed |= me
		}
	case latePlan:
		if x := bit8(l.id - 1); t.plans&x == 0 {
			t.plans |= x
			t.plan[l.id-1] = plan{l.a, l.b, l.c, l.d}
		}
	case lateDone:
		if x := bit8(l.id - 1); t.dones&x == 0 {
			t.dones |= x
			t.done[l.id-1] = done{l.a, l.b, l.c, l.d}
		}
	case lateEvent:
		was := t.decision(l.id)
		if t.commits&me != 0 && t.addEvent(l.id, uint8(l.a), uint8(l.b)) && l.b == evCollected && was == evForget {
			t.gone |= me
		}
	}
}
