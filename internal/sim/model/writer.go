package model

// What a writer does next. One step is at most one request that changes
// something, or one listing together with the immutable objects it leads to.
const (
	wStart    = iota // list gc/
	wSession         // create the session
	wRelist          // list gc/ again
	wView1           // read newest plan and done
	wView2           // list and read commits
	wView3           // read the index segments
	wPack            // put a pack
	wSeg             // put an index segment
	kStart           // checkpoint beside the session: list gc/
	kSession         // create its session
	kRelist          // list gc/ again
	kPlan            // read the newest plan
	kCommit          // create the checkpoint
	wCommit          // create the commit
	wAck             // list gc/ and acknowledge
	wSelfKill        // outcome unknown: create killed on the own sid
	wForget          // forget the checkpoint that is superseded
)

// ended is a process that does nothing any more.
const ended = 255

func (m *model) writer(s *state, i int) {
	t := m.fork(s, i)
	p := &t.procs[i]
	switch p.pc {
	case wStart:
		p.n = m.generation(t)
		p.pc = wSession
		if m.mutant == ViewBeforeSession {
			p.pc = wView1
		}
	case wSession:
		if t.nSid == maxSid {
			m.drop()
			return
		}
		p.sid = t.announce(p.n)
		p.pc = wRelist
		if m.mutant == NoRelist {
			p.pc = wView1
		}
		m.duplicate(t, late{kind: lateSession, id: p.sid})
	case wRelist:
		switch {
		case m.generation(t) != p.n:
			t.sessions &^= bit8(p.sid)
			m.again(t, i)
		case m.mutant == ViewBeforeSession:
			m.stored(t, i)
		default:
			p.pc = wView1
		}
	case wView1:
		p.pc = wView2
		if m.cfg.CommitsFirst {
			p.todo = t.commits
			return
		}
		m.readPlan(t, i)
	case wView2:
		listed := t.commits
		if m.cfg.CommitsFirst {
			m.readPlan(t, i)
			listed, p.todo = p.todo, 0
		}
		p.vis = m.counting(t, listed, p.done, p.live)
		p.named |= t.segsOf(p.vis &^ p.live)
		p.pc = wView3
	case wView3:
		if p.named&^t.segs != 0 || m.rechecks() && t.newestDone() != p.done {
			p.forgetView()
			p.pc = wView1
			return
		}
		m.decide(t, i)
	case wPack:
		if t.nPack == maxPack {
			m.drop()
			return
		}
		id := t.nPack
		if m.mutant == NamesReused && p.packs != 0 {
			id, p.packs = low16(p.packs), 0 // same content, same name
		} else {
			t.nPack++
		}
		t.packBlobs[id] = p.blobs
		if m.cfg.Procs[i].Mode == Periodic {
			t.packBlobs[id] &= -p.blobs
		}
		t.packs |= bit16(id)
		p.own |= bit16(id)
		p.blobs &^= t.packBlobs[id]
		p.pc = wSeg
		m.duplicate(t, late{kind: latePack, id: id})
	case wSeg:
		if t.nSeg == maxSeg {
			m.drop()
			return
		}
		id := t.nSeg
		t.nSeg++
		t.segs |= bit16(id)
		t.segPacks[id] = p.own &^ t.packsOf(p.ownSegs) &^ p.mem
		p.ownSegs |= bit16(id)
		m.stored(t, i)
		m.duplicate(t, late{kind: lateSeg, id: id})
	case kStart, kSession, kRelist, kPlan, kCommit:
		m.checkpoint(t, i)
	case wCommit:
		m.commit(t, i)
	case wAck:
		m.acknowledge(t, i)
	case wSelfKill:
		if t.commits&bit8(p.sid) == 0 {
			t.killed |= bit8(p.sid)
			m.giveUp(t, i)
		} else {
			p.pc = wAck
		}
	case wForget:
		if t.decision(p.sid2) == 0 {
			t.addEvent(p.sid2, 0, evForget)
		}
		p.end()
	}
}

// rechecks reports whether a view ends with another listing of gc/.
func (m *model) rechecks() bool {
	return !m.cfg.CommitsFirst && m.mutant != ViewNotRechecked && m.mutant != OlderDone
}

// generation is what a writer takes for the newest generation.
func (m *model) generation(t *state) uint8 {
	if m.mutant == GenerationOfDone {
		return t.newestDone()
	}
	return t.newest()
}

// announce creates the session of a new sid.
func (s *state) announce(generation uint8) (sid uint8) {
	sid = s.nSid
	s.nSid++
	s.sidGen[sid] = generation
	s.sessions |= bit8(sid)
	return sid
}

func (p *process) end() { *p = process{role: p.role, pc: ended} }

func (p *process) forgetView() {
	p.condemned, p.named, p.done, p.plan = 0, 0, 0, 0
	p.vis, p.live, p.dropped = 0, 0, 0
}

// stored chooses what comes next when a pack or segment is stored, or none is
// needed.
func (m *model) stored(t *state, i int) {
	p, spec := &t.procs[i], &m.cfg.Procs[i]
	if spec.Mode == Periodic {
		m.periodic(t, i)
		return
	}
	switch {
	case m.mutant == CommitBeforePacks && p.phase < 2:
		p.phase = 2
		p.pc = wCommit
	case p.blobs != 0:
		p.pc = wPack
	case p.own&^t.packsOf(p.ownSegs)&^p.mem != 0:
		p.pc = wSeg
	case spec.Mode >= Beside && p.phase == 0:
		p.pc = kStart
		if m.mutant == BesideCheckedEarly {
			if p.segs = m.mayCheckpoint(t, i); p.segs == 0 {
				m.besideDone(t, i)
			}
		}
	default:
		p.pc = wCommit
	}
}

// again starts a new session of the same run, if the bounds allow one more.
func (m *model) again(t *state, i int) {
	p := &t.procs[i]
	if p.round == 0 {
		p.end()
		return
	}
	p.round--
	p.pc, p.n, p.sid, p.n2, p.sid2 = wStart, 0, 0, 0, 0
	p.ownSegs, p.blobs, p.later = 0, 0, 0
	if m.cfg.Procs[i].Mode >= Beside {
		p.phase = 0
	}
	if m.cfg.Procs[i].Mode == Periodic {
		p.mem, p.limit = 0, 0
		if m.mutant != PeriodicRemembers {
			p.own = 0 // look-ups find what checkpoints name
		}
	}
}

// giveUp is what follows a commit that was lost to killed, or is void.
func (m *model) giveUp(t *state, i int) {
	p := &t.procs[i]
	p.limit = p.n + 1
	if m.cfg.Procs[i].Mode != Periodic {
		p.mem = 0
	}
	if m.mutant == CheckedEarly {
		m.mayReuse(t, p)
	}
	if m.cfg.Procs[i].Mode == Periodic && p.ownSegs != 0 && p.phase < m.cfg.Procs[i].Marks {
		u := m.fork(t, i) // what the lost session has stored is worth a checkpoint, too
		q := &u.procs[i]
		q.pc, q.later, q.blobs, q.limit = kStart, 1, 0, 0
		if m.mutant == BesideCheckedEarly {
			m.checkedEarly(u, i)
		}
	}
	m.again(t, i)
}

// commit creates commits/<sid>.
func (m *model) commit(t *state, i int) {
	p, spec := &t.procs[i], &m.cfg.Procs[i]
	me := bit8(p.sid)
	if t.killed&me != 0 && m.mutant != StoreLies {
		m.giveUp(t, i)
		return
	}
	t.killed &^= me
	t.commits |= me
	t.commitBlobs[p.sid] = spec.Need
	t.commitSegs[p.sid] = p.ownSegs
	if m.mutant == CommitGenerationLate {
		t.sidGen[p.sid] = t.newest()
		p.n = t.newest()
	}
	if m.mutant == CommitBeforePacks {
		t.commitSegs[p.sid] = bit16(t.nSeg) // the name is known beforehand
		m.stored(t, i)
		return
	}
	if spec.Mode == Chain && p.phase == 0 {
		t.commitBlobs[p.sid] = spec.Need &^ spec.Later // what the run has referenced so far
		t.checkpoints |= me
	}
	p.pc = wAck
	if m.mutant == AckAtOnce {
		m.acked(t, i)
	}
	m.duplicate(t, late{kind: lateCommit, id: p.sid})
	if m.cfg.GiveUp && t.late > 0 {
		// Timed out: not applied yet, and the writer does not wait for it.
		u := m.fork(t, i)
		u.commits &^= me
		if u.send(late{kind: lateCommit, id: p.sid}) {
			u.procs[i].pc = wSelfKill
			if m.mutant == GiveUpWithoutKilled {
				m.giveUp(u, i)
			}
		} else {
			m.drop()
		}
	}
}

func (m *model) acknowledge(t *state, i int) {
	p := &t.procs[i]
	n := t.newestDone()
	if p.n < n && uint8(t.doneOf(n).live)&bit8(p.sid) == 0 && m.mutant != AckWithoutList {
		m.giveUp(t, i)
		return
	}
	m.acked(t, i)
}

func (m *model) acked(t *state, i int) {
	p := &t.procs[i]
	if m.cfg.Procs[i].Mode == Chain && p.phase == 0 {
		p.phase = 1
		p.mem |= p.own
		p.own, p.limit = 0, p.n+1
		sid := p.sid
		p.round++
		m.again(t, i)
		p.sid2 = sid
		return
	}
	t.acked |= bit8(p.sid)
	if p.sid2 == 0 {
		p.end()
		return
	}
	*p = process{role: p.role, pc: wForget, sid2: p.sid2}
}
