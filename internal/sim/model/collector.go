package model

import "math/bits"

// What a collector (or folder) does next.
const (
	cStart      = iota // list gc/: plan, adopt, finish, or nothing to do
	cRoots             // list commits and events
	cCollect           // create the event collected
	cList              // read index segments, list packs/ and index/, choose
	cPlan              // create gc/<n>.plan
	cPlanned           // list gc/ again
	cSessions          // list sessions and commits
	cKill              // create commits/<sid> = killed
	cReread            // list and read commits
	cSegs              // read index segments, compute what is live
	cRescue            // put a pack
	cIndex             // put the index segment
	cDone              // create gc/<n>.done
	cStored            // read the stored done
	cDelPack           // delete one pack
	cDelSeg            // delete one index segment
	cTidy              // list commits and sessions
	cDelCommit         // delete one commit, checkpoint or killed record, its events
	cDelSession        // delete one session
	cDelGC             // delete older gc records
)

func (m *model) collector(s *state, i int) {
	t := m.fork(s, i)
	p := &t.procs[i]
	switch p.pc {
	case cStart:
		m.begin(t, i)
	case cRoots:
		p.vis = m.visible(t, p.done, p.live)
		forgotten := p.vis & t.deciding(evForget)
		p.dropped = p.vis & t.deciding(evCollected)
		switch {
		case m.mutant == DropForgotten:
			p.dropped |= forgotten
		case forgotten != 0 && p.role == Collector:
			p.todo = low8(forgotten)
			p.limit = t.eventCount(p.todo)
			p.pc = cCollect
			return
		}
		p.named |= t.segsOf(p.vis &^ p.live)
		p.pc = cList
		if kept := p.vis & t.checkpoints &^ p.dropped; m.cfg.DropKept && kept != 0 && p.role == Collector {
			u := m.fork(t, i)
			u.procs[i].dropped |= kept
		}
	case cCollect:
		if m.mutant == CollectedAppended && t.eventCount(p.todo) < 4 {
			p.limit = t.eventCount(p.todo)
		}
		was := t.decision(p.todo)
		if t.addEvent(p.todo, p.limit, evCollected) && was == evForget {
			t.gone |= bit8(p.todo)
		}
		e := late{kind: lateEvent, id: p.todo, a: uint16(p.limit), b: evCollected}
		p.todo, p.limit, p.vis, p.dropped = 0, 0, 0, 0
		p.pc = cRoots
		m.duplicate(t, e)
	case cList:
		m.choose(t, i)
	case cPlan:
		if t.plans&bit8(p.n-1) != 0 && m.mutant != PlanReplaced {
			m.restart(p)
			return
		}
		t.plans |= bit8(p.n - 1)
		t.plan[p.n-1] = plan{p.condemned, p.packs, p.segs, uint16(p.dropped)}
		p.pc = cPlanned
		m.duplicate(t, late{latePlan, p.n, p.condemned, p.packs, p.segs, uint16(p.dropped)})
	case cPlanned:
		if t.newestDone() != p.n-1 && m.mutant != NoAbandon {
			m.restart(p)
			return
		}
		p.pc = cSessions
	case cSessions:
		if m.mutant == RootsBeforeKills {
			p.vis = m.visible(t, p.done, p.live)
		}
		p.todo = t.sessions & t.below(p.n) &^ (t.commits | t.killed)
		if m.mutant == NoKill || m.mutant == FoldWithoutKill && p.role == Folder {
			p.todo = 0
		}
		if any := t.sessions &^ (t.commits | t.killed); m.cfg.KillAny && any != p.todo {
			u := m.fork(t, i)
			u.procs[i].todo, u.procs[i].pc = any, cKill
		}
		p.pc = cKill
		if p.todo == 0 {
			p.pc = cReread
		}
	case cKill:
		m.kill(t, i)
	case cReread:
		m.reread(t, i)
	case cSegs:
		m.live(t, i)
	case cRescue:
		if t.nPack == maxPack {
			m.drop()
			return
		}
		t.packBlobs[t.nPack] = p.blobs
		t.packs |= bit16(t.nPack)
		p.own = bit16(t.nPack)
		t.nPack++
		p.blobs = 0
		p.pc = cIndex
		m.duplicate(t, late{kind: latePack, id: t.nPack - 1})
	case cIndex:
		m.publish(t, i)
	case cDone:
		m.close(t, i)
	default:
		m.clean(t, i)
	}
}

// restart looks at gc/ anew.
func (m *model) restart(p *process) { *p = process{role: p.role, round: p.round} }

// begin decides what a client that lists gc/ does.
func (m *model) begin(t *state, i int) {
	p := &t.procs[i]
	n, pl := t.newestDone(), t.newestPlan()
	d := t.doneOf(n)
	p.done, p.named, p.live = n, d.index, uint8(d.live)
	if pl > n && m.mutant != PlanReplaced {
		// An active plan is adopted.
		a := t.plan[pl-1]
		p.n, p.condemned, p.packs, p.segs, p.dropped = pl, a.condemned, a.packs, a.segs, uint8(a.dropped)
		p.pc = cSessions
		return
	}
	if n > 0 && (d.packs&t.packs|d.segs&t.segs != 0 || m.cfg.Tidy && t.untidy(n)) {
		u := m.fork(t, i) // finish what another one has left
		u.procs[i] = process{role: p.role, round: p.round, n: n, pc: cStored}
	}
	if p.round == 0 || n >= m.maxGen {
		p.end()
		return
	}
	p.round--
	p.n = n + 1
	p.pc = cRoots
}

// untidy reports whether records older than done n are left.
func (s *state) untidy(n uint8) bool {
	old := s.below(n)
	return (s.plans|s.dones)&(bit8(n-1)-1) != 0 || s.sessions&old != 0 || (s.commits|s.killed)&old&^uint8(s.doneOf(n).live) != 0
}

// kill creates the killed record of one session.
func (m *model) kill(t *state, i int) {
	p := &t.procs[i]
	sid := low8(p.todo)
	p.todo &= p.todo - 1
	if p.todo == 0 {
		p.pc = cReread
	}
	switch {
	case m.mutant == KillNotAwaited:
		// Sent, not waited for.
		if t.killed&bit8(sid)|t.commits&bit8(sid) == 0 && !t.send(late{kind: lateKilled, id: sid}) {
			m.drop()
		}
	case m.mutant == SessionRemovedInstead:
		t.sessions &^= bit8(sid)
	case m.mutant == StoreLies:
		t.commits &^= bit8(sid)
		t.killed |= bit8(sid)
	case (t.commits|t.killed)&bit8(sid) == 0:
		t.killed |= bit8(sid)
		m.duplicate(t, late{kind: lateKilled, id: sid})
	}
}

// reread lists what lives.
func (m *model) reread(t *state, i int) {
	p := &t.procs[i]
	vis := m.visible(t, p.done, p.live)
	if m.mutant == RootsBeforeKills || m.mutant == RootsOfPlan && p.vis != 0 {
		vis = p.vis
	}
	p.vis = vis &^ p.dropped
	if m.mutant == LaterEvents {
		p.vis &^= t.deciding(evForget) | t.deciding(evCollected)
	}
	if m.mutant == StaleCommits {
		u := m.fork(t, i) // the newest commit is not in the listing
		u.procs[i].vis &^= bit8(uint8(bits.Len8(vis) - 1))
		u.procs[i].name(u, vis)
	}
	p.name(t, vis)
	if m.mutant == DroppedEntries {
		p.named &^= t.segsOf(p.dropped)
	}
	if m.mutant == OrphansAfterPlan {
		p.packs = t.packs &^ t.packsOf(p.named)
	}
}

func (p *process) name(t *state, vis uint8) {
	p.named |= t.segsOf(vis &^ p.live)
	p.live = 0
	p.pc = cSegs
}
