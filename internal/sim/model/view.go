package model

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
	if spec.Mode != Plain && spec.Mode != Periodic && p.phase == 0 {
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
