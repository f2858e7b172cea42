package model

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
			if m.mutant == BesideNothing {
				t.commitBlobs[p.sid2] = 0
			}
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
