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
		m.readPlan(t, i)
		p.pc = wView2
	case wView2:
		p.vis = m.visible(t, p.done, p.live)
		p.named |= t.segsOf(p.vis &^ p.live)
		p.pc = wView3
	case wView3:
		if p.named&^t.segs != 0 || m.mutant != ViewNotRechecked && m.mutant != OlderDone && t.newestDone() != p.done {
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
		t.packs |= bit16(id)
		p.own |= bit16(id)
		p.blobs = 0
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

// readPlan takes what a writer needs from the newest plan and done, and
// decides whether what an earlier session of this run left is still good.
func (m *model) readPlan(t *state, i int) {
	p := &t.procs[i]
	p.done, p.plan = t.newestDone(), t.newestPlan()
	if m.mutant == OlderDone && p.done > 0 && (p.done == 1 || t.dones&bit8(p.done-2) != 0) {
		p.done-- // the newest could not be read just now
	}
	d, pl := t.doneOf(p.done), t.planOf(p.plan)
	if m.mutant == PlanOnlyWhenDone && p.plan > p.done {
		pl = plan{}
	}
	p.named, p.live = d.index, uint8(d.live)
	p.condemned, p.dropped = pl.condemned, uint8(pl.dropped)
	if m.mutant == CondemnedUsed || m.mutant == KeptIndexCondemned && p.mem != 0 {
		p.condemned = 0
	}
	if p.limit != 0 && m.mutant != CheckedEarly {
		m.mayReuse(t, p)
	}
}

// mayReuse lets go of own packs that a collection may take away, and of an
// index in memory that may be too old.
func (m *model) mayReuse(t *state, p *process) {
	pl := t.planOf(t.newestPlan())
	if m.mutant == ReusePlanOnlyWhenDone && t.newestPlan() > t.newestDone() {
		pl = plan{}
	}
	old := t.newest() > p.limit
	if old && m.mutant != KeptIndexLong {
		p.mem = 0
	}
	listed := pl.condemned | pl.packs
	switch m.mutant {
	case ReuseAnyGeneration:
		old = false
	case ReuseOrphans:
		listed = pl.condemned
	case ReuseCondemned:
		listed = pl.packs
	}
	if old || p.own&listed != 0 {
		if m.mutant == NamesReused {
			p.packs = p.own
		}
		p.own = 0
	}
}

// decide says what has to be put: what is needed and neither found in the
// index nor taken over from a parent.
func (m *model) decide(t *state, i int) {
	p, spec := &t.procs[i], &m.cfg.Procs[i]
	packs := t.packsOf(p.named)
	if p.mem != 0 {
		packs = p.mem // kept across the checkpoint
	}
	known := t.blobsOf(packs &^ p.condemned)
	if m.mutant == KnownTree && known&spec.Tree != 0 {
		known |= spec.Need // the tree is known, so its descendants must be
	}
	known |= t.blobsOf(p.own) | p.taken
	parents := uint8(0)
	if spec.Parents {
		parents = p.vis &^ p.dropped
		if m.mutant == DroppedParent {
			parents = p.vis
		}
		if m.beside && !m.cfg.TrustBeside {
			parents &^= t.checkpoints // they have no trees to take over
		}
	}
	known |= t.reach(parents)
	switch m.mutant {
	case ParentNotRechecked:
		p.taken = t.reach(parents)
	case LookupsNotRepeated:
		p.taken = known
	}
	p.mem = 0
	p.blobs = spec.Need &^ known
	if spec.Mode != Plain && p.phase == 0 {
		p.blobs, p.later = p.blobs&^spec.Later, p.blobs&spec.Later
		if spec.Mode == Chain {
			p.later, p.mem = 0, packs&^p.condemned
		}
	}
	p.forgetView()
	if m.mutant == ViewBeforeSession {
		p.pc = wSession
		p.n = t.newest()
		return
	}
	m.stored(t, i)
}

// stored chooses what comes next when a pack or segment is stored, or none is
// needed.
func (m *model) stored(t *state, i int) {
	p, spec := &t.procs[i], &m.cfg.Procs[i]
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
		if m.mutant == BesideCheckedEarly && !m.mayCheckpoint(t, p) {
			m.besideDone(t, i)
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
}

// giveUp is what follows a commit that was lost to killed, or is void.
func (m *model) giveUp(t *state, i int) {
	p := &t.procs[i]
	p.limit = p.n + 1
	p.mem = 0
	if m.mutant == CheckedEarly {
		m.mayReuse(t, p)
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

// checkpoint is the simplified design: a second session makes the index
// segments of the first, which goes on, visible as roots of their own.
func (m *model) checkpoint(t *state, i int) {
	p := &t.procs[i]
	switch p.pc {
	case kStart:
		p.n2 = t.newest()
		p.pc = kSession
		if m.mutant == BesideNoSession {
			if t.nSid == maxSid {
				m.drop()
				return
			}
			p.sid2 = t.announce(p.n2)
			t.sessions &^= bit8(p.sid2)
			p.pc = kPlan
		}
	case kSession:
		if t.nSid == maxSid {
			m.drop()
			return
		}
		p.sid2 = t.announce(p.n2)
		p.pc = kRelist
		if m.mutant == BesideNoRelist {
			p.pc = kPlan
		}
	case kRelist:
		p.pc = kPlan
		if t.newest() != p.n2 {
			t.sessions &^= bit8(p.sid2)
			p.sid2 = 0
			m.besideDone(t, i)
		}
	case kPlan:
		p.pc = kCommit
		if m.mutant != BesideCheckedEarly && !m.mayCheckpoint(t, p) {
			t.sessions &^= bit8(p.sid2)
			p.sid2 = 0
			m.besideDone(t, i)
		}
	case kCommit:
		if me := bit8(p.sid2); t.killed&me == 0 {
			t.commits |= me
			t.checkpoints |= me
			t.commitSegs[p.sid2] = p.ownSegs
			t.commitBlobs[p.sid2] = t.blobsOf(p.own)
			m.counts(t, i)
			m.duplicate(t, late{kind: lateCommit, id: p.sid2})
			return
		}
		p.sid2 = 0
		m.besideDone(t, i)
	}
}

// counts takes note that the checkpoint is there. Its index segments may be
// merged and deleted from now on: the commit must not name them again. Whether
// the checkpoint is void need not be asked: then the commit is so, too, since
// its generation is not higher.
func (m *model) counts(t *state, i int) {
	p := &t.procs[i]
	if m.mutant != BesideSameSegments {
		p.ownSegs = 0
		if m.cfg.Procs[i].Mode == BesideRest {
			p.mem = p.own
		}
	}
	m.besideDone(t, i)
}

// besideDone goes on with the session itself.
func (m *model) besideDone(t *state, i int) {
	p := &t.procs[i]
	p.phase, p.n2, p.limit = 1, 0, 0
	p.blobs, p.later = p.later, 0
	m.stored(t, i)
}

// mayCheckpoint is the condition under which own packs are still safe to name.
func (m *model) mayCheckpoint(t *state, p *process) bool {
	pl := t.planOf(t.newestPlan())
	if t.newest() > p.n+1 && m.mutant != BesideAnyGeneration {
		return false
	}
	switch m.mutant {
	case BesidePacks:
		return p.ownSegs&pl.segs == 0
	case BesideSegments:
		return p.own&(pl.condemned|pl.packs) == 0
	case BesideUnchecked:
		return true
	}
	return p.own&(pl.condemned|pl.packs) == 0 && p.ownSegs&pl.segs == 0
}
