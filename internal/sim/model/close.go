package model

// live computes what has to be copied, and the index.
func (m *model) live(t *state, i int) {
	p := &t.procs[i]
	if p.named&^t.segs != 0 {
		m.restart(p)
		return
	}
	mem := t.packsOf(p.named)
	roots := p.vis
	if m.mutant == BesideNotLive {
		roots &^= t.checkpoints
	}
	needed := t.reach(roots) &^ t.blobsOf(mem&^p.condemned)
	p.blobs = needed & t.blobsOf(mem&p.condemned)
	if m.mutant == NoRescue {
		p.blobs = 0
	}
	if m.mutant == CondemnedReprieved {
		for rest := p.condemned & mem; rest != 0; rest &= rest - 1 {
			if t.packBlobs[low16(rest)]&p.blobs != 0 {
				p.condemned &^= rest & -rest
			}
		}
		p.blobs = 0
	}
	if p.blobs&^t.blobsOf(p.condemned&t.packs) != 0 {
		m.restart(p) // another collector has been faster
		return
	}
	if m.mutant != NamedOrphansDeleted {
		p.packs &^= mem
		p.segs &^= p.named
	}
	p.mem = mem &^ (p.condemned | p.packs)
	if m.mutant == DeadEntries {
		for rest := p.mem; rest != 0; rest &= rest - 1 {
			if t.packBlobs[low16(rest)]&t.reach(p.vis) == 0 {
				p.mem &^= rest & -rest
			}
		}
	}
	p.packs |= p.condemned
	p.condemned, p.dropped = 0, 0
	p.pc = cIndex
	if p.blobs != 0 {
		p.pc = cRescue
	}
}

// publish puts the new index segment: everything anew, or only what segments
// that can stay do not list.
func (m *model) publish(t *state, i int) {
	p := &t.procs[i]
	keep := uint16(0)
	for rest := p.named; m.cfg.Keep && rest != 0; rest &= rest - 1 {
		if t.segPacks[low16(rest)]&^p.mem == 0 {
			keep |= rest & -rest
		}
	}
	list := (p.mem | p.own) &^ t.packsOf(keep)
	p.segs |= p.named &^ keep // superseded
	p.ownSegs = keep
	p.mem, p.own, p.named = 0, 0, 0
	p.pc = cDone
	if m.mutant == DeleteBeforeDone {
		t.packs &^= p.packs
	}
	if list == 0 && m.cfg.Keep {
		return
	}
	if t.nSeg == maxSeg {
		m.drop()
		return
	}
	id := t.nSeg
	t.nSeg++
	t.segPacks[id] = list
	p.ownSegs |= bit16(id)
	if m.mutant == DoneBeforeIndex {
		return
	}
	t.segs |= bit16(id)
	m.duplicate(t, late{kind: lateSeg, id: id})
}

// close creates the done.
func (m *model) close(t *state, i int) {
	p := &t.procs[i]
	d := done{p.ownSegs, p.packs, p.segs, uint16(p.vis)}
	if m.mutant == NoLiveList {
		d.live = 0
	}
	if t.dones&bit8(p.n-1) == 0 {
		t.dones |= bit8(p.n - 1)
		t.done[p.n-1] = d
	}
	q := process{role: p.role, round: p.round, n: p.n, pc: cStored}
	if m.mutant == DeleteFromMemory {
		q.packs, q.segs, q.live = p.packs, p.segs, p.vis
		q.pc = cDelPack
	}
	*p = q
	m.duplicate(t, late{lateDone, p.n, d.index, d.packs, d.segs, d.live})
}
