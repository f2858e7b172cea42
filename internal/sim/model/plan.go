package model

import "math/bits"

// choose makes the plan: every choice that the bounds allow.
func (m *model) choose(t *state, i int) {
	p := &t.procs[i]
	if p.named&^t.segs != 0 {
		m.restart(p)
		return
	}
	mem := t.packsOf(p.named)
	packs, segs := t.packs&^mem, t.segs&^p.named
	p.pc = cPlan
	if p.role == Folder {
		p.packs, p.segs = 0, 0
		p.dropped = 0
		return
	}
	base := *t
	m.drop()
	for _, condemned := range m.condemn(&base, p, mem) {
		for orphans := packs; ; orphans = (orphans - 1) & packs {
			u := m.fork(&base, i)
			q := &u.procs[i]
			q.condemned, q.packs, q.segs = condemned, orphans, segs
			if m.cfg.Stale && segs != 0 {
				v := m.fork(u, i)
				v.procs[i].segs = 0
			}
			if orphans == 0 || !m.cfg.Stale {
				break
			}
		}
	}
}

// condemn returns the sets of packs that a plan may condemn.
func (m *model) condemn(t *state, p *process, mem uint16) (sets []uint16) {
	if m.thorough {
		// A full collection: every pack with a blob that nothing needs, and
		// all but one of those that hold the same.
		needed := t.reach(p.vis &^ p.dropped)
		set, kept := uint16(0), uint8(0)
		for rest := mem; rest != 0; rest &= rest - 1 {
			blobs := t.packBlobs[low16(rest)]
			if blobs&^needed != 0 || blobs&kept != 0 {
				set |= rest & -rest
			} else {
				kept |= blobs
			}
		}
		return []uint16{set}
	}
	for set := mem; ; set = (set - 1) & mem {
		if bits.OnesCount16(set) <= m.cfg.MaxCondemn && bits.OnesCount16(set) >= m.cfg.MinCondemn {
			sets = append(sets, set)
		}
		if set == 0 {
			return sets
		}
	}
}
