package model

import (
	"fmt"
	"math/bits"
)

// Bounds of the encoding. A process that would exceed one of them stops there,
// as if it had crashed.
const (
	maxPack = 12
	maxSeg  = 12
	maxSid  = 8
	maxGen  = 5
	maxProc = 4
	maxLate = 2
)

// state is one state of the whole system: what is stored, what is on its way,
// and what every process remembers. Sets are bit masks. It holds no pointer
// and no padding, so that it is compared and hashed as plain memory.
type state struct {
	packs, segs uint16           // objects that exist
	segPacks    [maxSeg]uint16   // what an index segment lists
	commitSegs  [maxSid]uint16   // index segments that a commit names
	plan        [maxGen]plan     // by generation - 1, zero unless in plans
	done        [maxGen]done     // by generation - 1, zero unless in dones
	procs       [maxProc]process // by slot
	lates       [maxLate]late    // second copies of requests, still on their way

	packBlobs   [maxPack]uint8 // what a pack holds
	sidGen      [maxSid]uint8  // generation that session and commit carry
	commitBlobs [maxSid]uint8  // everything the commit's trees reach
	events      [maxSid]uint8  // two bits an event, oldest lowest

	nPack, nSeg, nSid uint8 // names given out so far
	sessions          uint8 // objects that exist
	commits, killed   uint8 // records that exist; never both of one sid
	checkpoints       uint8 // those of the commits
	plans, dones      uint8 // records that exist, by generation - 1
	late              uint8 // how many more requests may be duplicated
	acked             uint8 // ghost: the user was told that the backup is safe
	gone              uint8 // ghost: the user's forget has become final

}

// plan is the content of gc/<n>.plan.
type plan struct{ condemned, packs, segs, dropped uint16 }

// done is the content of gc/<n>.done.
type done struct{ index, packs, segs, live uint16 }

// process is what one process remembers. Fields mean different things to
// different roles; what is not needed any more is zero.
type process struct {
	condemned, packs, segs uint16 // of the plan, later of the stored done
	mem, named             uint16 // packs of the index; index segments read
	own, ownSegs           uint16 // what it has put itself

	role, pc   uint8
	n, sid     uint8 // generation; session
	n2, sid2   uint8 // the same for a checkpoint beside the session
	done, plan uint8 // newest seen
	round      uint8 // sessions or collections left; position in a script
	limit      uint8 // newest generation under which own packs are reusable
	phase      uint8 // 1 after the checkpoint; Periodic: how many were tried
	blobs      uint8 // to be put now
	later      uint8 // to be put after the checkpoint; Periodic: 1 if the session is lost
	taken      uint8 // what an earlier session of the run found (mutants)
	vis, live  uint8 // commits seen; listed in the done seen
	dropped    uint8 // of the plan
	todo       uint8 // sids to be dealt with
}

// late is the second copy of a request: the first was answered, or timed out
// and was repeated; this one arrives at any time, or never.
type late struct {
	kind, id uint8
	a, b, c  uint16
	d        uint16
}

const (
	latePack = iota + 1
	lateSeg
	lateSession
	lateCommit
	lateKilled
	latePlan
	lateDone
	lateEvent
)

// Event kinds, as in the record.
const (
	evForget    = 1
	evUnforget  = 2
	evCollected = 3
)

func bit8(i uint8) uint8   { return 1 << i }
func bit16(i uint8) uint16 { return 1 << i }
func low8(m uint8) uint8   { return uint8(bits.TrailingZeros8(m)) }
func low16(m uint16) uint8 { return uint8(bits.TrailingZeros16(m)) }

// newestPlan, newestDone and newest return generations, 0 if there is none.
func (s *state) newestPlan() uint8 { return uint8(bits.Len8(s.plans)) }
func (s *state) newestDone() uint8 { return uint8(bits.Len8(s.dones)) }
func (s *state) newest() uint8     { return max(s.newestPlan(), s.newestDone()) }

// doneOf returns the content of done n, empty for generation 0.
func (s *state) doneOf(n uint8) done {
	if n == 0 {
		return done{}
	}
	return s.done[n-1]
}

func (s *state) planOf(n uint8) plan {
	if n == 0 {
		return plan{}
	}
	return s.plan[n-1]
}

// below returns the sessions ids that carry a generation below n.
func (s *state) below(n uint8) (m uint8) {
	for i := range s.nSid {
		if s.sidGen[i] < n {
			m |= bit8(i)
		}
	}
	return m
}

// blobsOf returns what packs hold, present or not.
func (s *state) blobsOf(packs uint16) (b uint8) {
	for ; packs != 0; packs &= packs - 1 {
		b |= s.packBlobs[low16(packs)]
	}
	return b
}

// packsOf returns what index segments list.
func (s *state) packsOf(segs uint16) (p uint16) {
	for ; segs != 0; segs &= segs - 1 {
		p |= s.segPacks[low16(segs)]
	}
	return p
}

// segsOf returns the index segments that commits name.
func (s *state) segsOf(commits uint8) (m uint16) {
	for ; commits != 0; commits &= commits - 1 {
		m |= s.commitSegs[low8(commits)]
	}
	return m
}

// reach returns the blobs that commits need.
func (s *state) reach(commits uint8) (b uint8) {
	for ; commits != 0; commits &= commits - 1 {
		b |= s.commitBlobs[low8(commits)]
	}
	return b
}

// eventCount is the highest event number of a sid, decision the kind of it.
func (s *state) eventCount(sid uint8) uint8 { return uint8(bits.Len8(s.events[sid])+1) / 2 }

func (s *state) decision(sid uint8) uint8 {
	n := s.eventCount(sid)
	if n == 0 {
		return 0
	}
	return s.events[sid] >> (2 * (n - 1)) & 3
}

// addEvent is the create of event number k+1; it fails if that exists.
func (s *state) addEvent(sid, k, kind uint8) bool {
	if s.eventCount(sid) != k || k >= 4 {
		return false
	}
	s.events[sid] |= kind << (2 * k)
	return true
}

// deciding returns the commits whose deciding event is of that kind.
func (s *state) deciding(kind uint8) (m uint8) {
	for i := range s.nSid {
		if s.decision(i) == kind {
			m |= bit8(i)
		}
	}
	return m
}

// visible returns the commits that count for one who knows done n with that
// list of live ones.
func (m *model) visible(s *state, n, live uint8) uint8 { return m.counting(s, s.commits, n, live) }

// counting returns those of the listed commits that are not void.
func (m *model) counting(s *state, listed, n, live uint8) uint8 {
	if m.mutant == NoVoidRule {
		return listed
	}
	limit := n
	if m.mutant == VoidTooWide && n > 0 {
		limit++
	}
	return listed &^ (s.below(limit) &^ live)
}

// violation says what is wrong with a state; the zero value: nothing.
type violation struct {
	what string
	sid  uint8
}

// check is the invariant.
func (m *model) check(s *state) violation {
	n := s.newestDone()
	d := s.doneOf(n)
	// Mutants do not change what is demanded here, except that the void rule
	// is part of what a reader does.
	vis := m.visible(s, n, uint8(d.live))
	named := d.index | s.segsOf(vis&^uint8(d.live))
	if lost := s.acked &^ s.gone &^ vis; lost != 0 {
		return violation{"an acknowledged backup is not visible", low8(lost)}
	}
	if named&^s.segs != 0 {
		return violation{fmt.Sprintf("index%d, which counts, is missing", low16(named&^s.segs)), 0}
	}
	have := s.blobsOf(s.packsOf(named) & s.packs)
	for c := vis &^ s.gone; c != 0; c &= c - 1 {
		sid := low8(c)
		if s.commitBlobs[sid]&^have == 0 {
			continue
		}
		if s.acked&bit8(sid) != 0 {
			return violation{"an acknowledged backup has lost a blob", sid}
		}
		return violation{"a visible commit is incomplete", sid}
	}
	for i := range m.cfg.Procs {
		if p := &s.procs[i]; p.role == Reader && p.pc == rDamage {
			return violation{"a reader calls damage what was only moved", m.cfg.Procs[i].Target}
		}
	}
	return violation{}
}
