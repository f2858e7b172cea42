package model

// checkpoint is the design in which a second session makes the index segments of
// the first, which goes on, visible as roots of their own: once, or periodically.
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
			m.besideGivenUp(t, i)
		}
	case kPlan:
		p.pc = kCommit
		if m.mutant != BesideCheckedEarly {
			p.segs = m.mayCheckpoint(t, i)
		}
		if p.segs == 0 {
			m.besideGivenUp(t, i)
		}
	case kCommit:
		m.createCheckpoint(t, i)
	}
}

// createCheckpoint creates the record.
func (m *model) createCheckpoint(t *state, i int) {
	p := &t.procs[i]
	me := bit8(p.sid2)
	if t.killed&me != 0 {
		p.sid2, p.segs = 0, 0
		m.besideDone(t, i)
		return
	}
	t.commits |= me
	t.checkpoints |= me
	t.commitSegs[p.sid2] = p.segs
	t.commitBlobs[p.sid2] = t.blobsOf(t.packsOf(p.segs))
	if m.mutant == BesideNothing {
		t.commitBlobs[p.sid2] = 0
	}
	l := late{kind: lateCommit, id: p.sid2}
	if m.cfg.GiveUp && t.late > 0 {
		// Timed out: not applied yet, and the writer does not wait for it.
		u := m.fork(t, i)
		u.commits &^= me
		if u.send(l) {
			m.unknown(u, i)
		} else {
			m.drop()
		}
		u = m.fork(t, i) // applied, and the writer does not know
		m.unknown(u, i)
	}
	m.counts(t, i)
	m.duplicate(t, l)
}

// counts takes note that the checkpoint is there. Its index segments may be
// merged and deleted from now on: the commit must not name them again. Whether
// the checkpoint is void need not be asked: then the commit is so, too, since
// its generation is not higher.
func (m *model) counts(t *state, i int) {
	p := &t.procs[i]
	if m.mutant != BesideSameSegments {
		if m.cfg.Procs[i].Mode >= BesideRest {
			p.mem |= t.packsOf(p.segs)
		}
		p.ownSegs &^= p.segs
	}
	m.besideDone(t, i)
}

// unknown is what follows a checkpoint whose outcome is not known: its segments
// can neither be named, since a collection may have merged and deleted them,
// nor left to it. New ones list their packs.
func (m *model) unknown(t *state, i int) {
	p := &t.procs[i]
	switch m.mutant {
	case UnknownLeft:
		p.mem |= t.packsOf(p.segs)
		p.ownSegs &^= p.segs
	case UnknownNamed:
	default:
		p.ownSegs &^= p.segs
	}
	m.besideDone(t, i)
}

// besideGivenUp goes on without the checkpoint.
func (m *model) besideGivenUp(t *state, i int) {
	p := &t.procs[i]
	t.sessions &^= bit8(p.sid2)
	p.sid2 = 0
	m.besideDone(t, i)
}

// besideDone goes on with the session itself.
func (m *model) besideDone(t *state, i int) {
	p := &t.procs[i]
	p.n2, p.limit, p.segs = 0, 0, 0
	if m.cfg.Procs[i].Mode == Periodic {
		p.sid2 = 0 // superseded by the commit, without an event
		if p.phase++; p.later == 1 {
			m.again(t, i)
			return
		}
	} else {
		p.phase = 1
		p.blobs, p.later = p.later, 0
	}
	m.stored(t, i)
}

// periodic chooses what comes next in a run with a checkpoint now and then: at
// any time, or never.
func (m *model) periodic(t *state, i int) {
	p, spec := &t.procs[i], &m.cfg.Procs[i]
	rest := p.own&^t.packsOf(p.ownSegs)&^p.mem != 0
	switch {
	case rest:
		p.pc = wSeg
	case p.blobs != 0:
		p.pc = wPack
	default:
		p.pc = wCommit
	}
	if rest || p.ownSegs == 0 || p.phase == spec.Marks {
		return
	}
	u := m.fork(t, i)
	u.procs[i].pc = kStart
	if m.mutant == BesideCheckedEarly {
		m.checkedEarly(u, i)
	}
}

// checkedEarly is a mutant: what may be named is decided before the checkpoint
// has a session.
func (m *model) checkedEarly(t *state, i int) {
	p := &t.procs[i]
	if p.segs = m.mayCheckpoint(t, i); p.segs == 0 {
		m.drop()
	}
}

// mayCheckpoint returns the own segments that are still safe to name: all or
// none; with Periodic, each by itself.
func (m *model) mayCheckpoint(t *state, i int) (segs uint16) {
	p := &t.procs[i]
	pl := t.planOf(t.newestPlan())
	if t.newest() > p.n+1 && m.mutant != BesideAnyGeneration {
		return 0
	}
	going, orphans := pl.condemned|pl.packs, pl.segs
	switch m.mutant {
	case BesidePacks:
		going = 0
	case BesideSegments:
		orphans = 0
	case BesideUnchecked:
		going, orphans = 0, 0
	}
	for rest := p.ownSegs; rest != 0; rest &= rest - 1 {
		if s := rest & -rest; t.packsOf(s)&going == 0 && s&orphans == 0 {
			segs |= s
		}
	}
	if m.cfg.Procs[i].Mode != Periodic && (segs != p.ownSegs || p.own&going != 0) {
		return 0
	}
	return segs
}
