package model

// clean is the part of a collection after its done: one deletion a step.
func (m *model) clean(t *state, i int) {
	p := &t.procs[i]
	if p.pc == cStored {
		if t.dones&bit8(p.n-1) == 0 {
			m.restart(p) // a newer generation has removed it
			return
		}
		d := t.done[p.n-1]
		p.packs, p.segs, p.live = d.packs, d.segs, uint8(d.live)
		p.pc = cDelPack
		return
	}
	if p.pc == cDelPack {
		if x := p.packs & t.packs; x != 0 {
			t.packs &^= x & -x
			if x&(x-1) != 0 {
				return
			}
			p.packs, p.pc = 0, cDelSeg
			return
		}
		p.packs, p.pc = 0, cDelSeg
	}
	if p.pc == cDelSeg {
		if x := p.segs & t.segs; x != 0 {
			t.segs &^= x & -x
			return
		}
		p.segs, p.pc = 0, cTidy
		if !m.cfg.Tidy {
			m.restart(p)
			return
		}
	}
	switch p.pc {
	case cTidy:
		// Killed records go with sessions of older generations, or when the
		// session is gone. Sessions are listed after the commits.
		old := t.below(p.n)
		p.todo = t.commits&old&^p.live | t.killed&(old|^t.sessions)
		if m.mutant == EveryKilledDeleted {
			p.todo |= t.killed
		}
		p.live = 0
		p.pc = cDelCommit
		if p.todo == 0 {
			p.pc = cDelSession
		}
	case cDelCommit:
		x := p.todo & -p.todo
		t.erase(x)
		p.todo &^= x
		if p.todo == 0 {
			p.pc = cDelSession
		}
	case cDelSession:
		limit := p.n
		if m.mutant == NewSessionsDeleted {
			limit++
		}
		if x := t.sessions & t.below(limit); x != 0 {
			t.sessions &^= x & -x
			return
		}
		m.deleteOlder(t, p.n)
		m.restart(p)
	}
}

// erase removes the commit or killed record of one sid, and its events.
func (s *state) erase(x uint8) {
	s.commits &^= x
	s.killed &^= x
	s.checkpoints &^= x
	sid := low8(x)
	s.events[sid] = 0
	for _, l := range s.lates {
		if l.kind == lateCommit && l.id == sid {
			return // its content can come back
		}
	}
	s.commitBlobs[sid], s.commitSegs[sid] = 0, 0
}

// deleteOlder removes the gc records of generations older than n.
func (m *model) deleteOlder(t *state, n uint8) {
	for k := range n - 1 {
		t.plan[k], t.done[k] = plan{}, done{}
	}
	if m.mutant == PlanDeletedWithDone {
		t.plan[n-1] = plan{}
		t.plans &^= bit8(n - 1)
	}
	keep := ^(bit8(n-1) - 1)
	t.plans &= keep
	t.dones &= keep
}
