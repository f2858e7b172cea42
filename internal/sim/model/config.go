package model

// Roles of processes.
const (
	Writer = iota + 1
	Collector
	Folder // a collector that condemns nothing
	Forgetter
	Reader
)

// What a writer does about checkpoints.
const (
	Plain      = iota
	Chain      // the session ends in the checkpoint, a new one goes on
	Beside     // a second session makes the checkpoint; the commit names new segments for everything
	BesideRest // likewise, but the commit names only what the checkpoint does not
	Periodic   // as BesideRest, again and again: after any segment, and when the session is lost to a collection
)

// Proc describes one process.
type Proc struct {
	Role    uint8
	Rounds  uint8   // writer: sessions after the first; collector: collections
	Need    uint8   // writer: blobs that its backup reaches
	Later   uint8   // writer: those of them that it meets after the checkpoint
	Tree    uint8   // writer: the one of them that is the tree over all others
	Parents bool    // writer: takes over from parents without look-up
	Mode    uint8   // writer: what it does about checkpoints
	Marks   uint8   // writer, Periodic: checkpoints of a session, at most
	Target  uint8   // forgetter, reader: the backup
	Script  []uint8 // forgetter: event kinds
	Twice   bool    // reader: tries again once although nothing has moved
}

// Commit describes a backup that is there, and acknowledged, at the start: each
// of its packs is a set of blobs; blobs of earlier commits may be among what it
// reaches.
type Commit struct {
	Reaches uint8
	Packs   []uint8
	Events  []uint8
}

// Config is one small system and the bounds within which all its behaviour is
// explored.
type Config struct {
	Name    string
	Why     string
	Commits []Commit
	Procs   []Proc

	Gens         uint8  // generations that may be planned
	MinCondemn   int    // packs that a plan condemns, at least
	MaxCondemn   int    // and at most
	Stale        bool   // listings of packs/ and index/ may lack anything
	Tidy         bool   // records are deleted too, not only packs and segments
	Keep         bool   // collections keep index segments that list no deleted pack
	Duplicates   uint8  // requests of which a second copy arrives late, or never
	Late         uint16 // kinds of those, as a mask; 0 means all
	CommitsFirst bool   // writers list commits/ before gc/, instead of gc/ once more
	KillAny      bool   // a collector may also settle sessions of the newest generation
	GiveUp       bool   // a writer may give up on a commit that timed out
	TrustBeside  bool   // checkpoints beside a session are taken over from like any parent
	DropKept     bool   // collectors may drop any checkpoint, without an event

	Large bool // only explored with -model.large
}

// model explores one configuration, with one sentence of the protocol left
// out.
type model struct {
	cfg      *Config
	mutant   Mutant
	maxGen   uint8
	thorough bool // collections are full ones
	beside   bool // checkpoints have no trees

	next [96]state // successors of the state in hand
	who  []uint8   // the process that made each, or maxProc + slot of a late request
}

// fork adds a successor that is a copy of s, to be changed in place.
func (m *model) fork(s *state, who int) *state {
	t := &m.next[len(m.who)]
	*t = *s
	m.who = append(m.who, uint8(who))
	return t
}

// drop takes the newest successor away.
func (m *model) drop() { m.who = m.who[:len(m.who)-1] }

// initial returns the state at the start.
func (m *model) initial() (s state) {
	for _, c := range m.cfg.Commits {
		sid := s.nSid
		s.nSid++
		s.commits |= bit8(sid)
		s.acked |= bit8(sid)
		s.commitBlobs[sid] = c.Reaches
		for k, e := range c.Events {
			s.addEvent(sid, uint8(k), e)
			if e == evCollected {
				s.gone |= bit8(sid)
			}
		}
		if len(c.Packs) == 0 {
			continue
		}
		seg := s.nSeg
		s.nSeg++
		s.segs |= bit16(seg)
		s.commitSegs[sid] = bit16(seg)
		for _, blobs := range c.Packs {
			s.packBlobs[s.nPack] = blobs
			s.packs |= bit16(s.nPack)
			s.segPacks[seg] |= bit16(s.nPack)
			s.nPack++
		}
	}
	for i, p := range m.cfg.Procs {
		s.procs[i] = process{role: p.Role, round: p.Rounds}
		if p.Role == Forgetter {
			s.procs[i].round = 0
		}
	}
	s.late = m.cfg.Duplicates
	return s
}

// expand computes all successors of s.
func (m *model) expand(s *state) []state {
	m.who = m.who[:0]
	for i := range m.cfg.Procs {
		m.step(s, i)
	}
	for k := range s.lates {
		if s.lates[k].kind != 0 {
			m.arrive(s, k)
		}
	}
	return m.next[:len(m.who)]
}

func (m *model) step(s *state, i int) {
	p := &s.procs[i]
	if p.pc == ended {
		return
	}
	switch p.role {
	case Writer:
		m.writer(s, i)
	case Collector, Folder:
		m.collector(s, i)
	case Forgetter:
		m.forgetter(s, i)
	case Reader:
		m.reader(s, i)
	}
}
