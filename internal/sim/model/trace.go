package model

import (
	"fmt"
	"strings"
)

func (v violation) String() string {
	if v.sid == 0 {
		return v.what
	}
	return fmt.Sprintf("%s: c%d", v.what, v.sid)
}

// trace replays the way to a state and describes each step by what changed.
func (m *model) trace(seen *table, print func(*state) uint64, last uint64) []string {
	var path []uint64
	for fp := last; fp != 0; fp = seen.slot(fp).from {
		path = append(path, fp)
	}
	s := m.initial()
	lines := []string{"start: " + describe(&state{}, &s)}
	for k := len(path) - 2; k >= 0; k-- {
		succ := m.expand(&s)
		for j := range succ {
			t := succ[j]
			m.canonical(&t)
			if print(&t) == path[k] {
				lines = append(lines, m.actor(&s, m.who[j])+": "+describe(&s, &t))
				s = t
				break
			}
		}
	}
	return lines
}

var roles = [...]string{"", "writer", "collector", "folder", "forgetter", "reader"}

var steps = [...][]string{
	Writer: {"lists gc/", "creates its session", "lists gc/ again", "reads newest plan and done", "lists commits", "reads index segments",
		"puts a pack", "puts an index segment", "checkpoint: lists gc/", "checkpoint: creates a session", "checkpoint: lists gc/ again",
		"checkpoint: reads the newest plan", "creates the checkpoint", "creates its commit", "lists gc/ and acknowledges",
		"gives up: creates killed for itself", "forgets its checkpoint"},
	Collector: {"lists gc/", "lists commits and events", "creates the event collected", "reads the index, lists packs/ and index/, chooses",
		"creates its plan", "lists gc/ again", "lists sessions", "creates a killed record", "re-reads the roots", "reads index segments",
		"copies live blobs into a new pack", "puts the new index segment", "creates its done", "reads the stored done", "deletes",
		"deletes", "cleans up", "cleans up", "cleans up"},
	Forgetter: {"reads the events", "creates an event"},
	Reader:    {"lists gc/", "lists commits", "reads index segments", "reads blobs", "misses something, lists gc/ again"},
}

func (m *model) actor(s *state, who uint8) string {
	if who >= maxProc {
		return "a late request arrives"
	}
	p := &s.procs[who]
	list := steps[p.role]
	if p.role == Folder {
		list = steps[Collector]
	}
	return fmt.Sprintf("%s %d %s", roles[p.role], who, list[p.pc])
}

// describe says what differs in the store between two states.
func describe(s, t *state) string {
	var b strings.Builder
	changed := func(kind string, was, is uint16, detail func(i uint8) string) {
		for m := was &^ is; m != 0; m &= m - 1 {
			fmt.Fprintf(&b, " -%s%d", kind, low16(m))
		}
		for m := is &^ was; m != 0; m &= m - 1 {
			fmt.Fprintf(&b, " +%s%d%s", kind, low16(m), detail(low16(m)))
		}
	}
	wide := func(x uint8) uint16 { return uint16(x) }
	changed("pack", s.packs, t.packs, func(i uint8) string { return set("b", wide(t.packBlobs[i])) })
	changed("index", s.segs, t.segs, func(i uint8) string { return set("pack", t.segPacks[i]) })
	changed("session", wide(s.sessions), wide(t.sessions), func(i uint8) string { return fmt.Sprintf("(g%d)", t.sidGen[i]) })
	changed("c", wide(s.commits), wide(t.commits), func(i uint8) string {
		kind := ""
		if t.checkpoints&bit8(i) != 0 {
			kind = "checkpoint "
		}
		return fmt.Sprintf("(%sg%d reaches %s names %s)", kind, t.sidGen[i], set("b", wide(t.commitBlobs[i])), set("index", t.commitSegs[i]))
	})
	changed("killed", wide(s.killed), wide(t.killed), func(uint8) string { return "" })
	changed("acknowledged c", wide(s.acked), wide(t.acked), func(uint8) string { return "" })
	changed("collected c", wide(s.gone), wide(t.gone), func(uint8) string { return "" })
	for i := range t.nSid {
		if s.events[i] != t.events[i] {
			fmt.Fprintf(&b, " events of c%d:", i)
			for k := range t.eventCount(i) {
				b.WriteString([]string{" -", " forget", " unforget", " collected"}[t.events[i]>>(2*k)&3])
			}
		}
	}
	for n := range uint8(maxGen) {
		x := bit8(n)
		if p := t.plan[n]; t.plans&x != 0 && (s.plans&x == 0 || s.plan[n] != p) {
			fmt.Fprintf(&b, " +plan%d(condemned %s orphans %s %s dropped %s)", n+1, set("pack", p.condemned), set("pack", p.packs), set("index", p.segs), set("c", p.dropped))
		}
		if d := t.done[n]; t.dones&x != 0 && s.dones&x == 0 {
			fmt.Fprintf(&b, " +done%d(index %s live %s deletes %s %s)", n+1, set("index", d.index), set("c", d.live), set("pack", d.packs), set("index", d.segs))
		}
		if s.plans&^t.plans&x != 0 {
			fmt.Fprintf(&b, " -plan%d", n+1)
		}
		if s.dones&^t.dones&x != 0 {
			fmt.Fprintf(&b, " -done%d", n+1)
		}
	}
	if s.lates != t.lates {
		for _, l := range t.lates {
			if l.kind != 0 {
				kind := []string{"", "pack", "index", "session", "c", "killed", "plan", "done", "event of c"}[l.kind]
				fmt.Fprintf(&b, " [%s%d still on its way]", kind, l.id)
			}
		}
	}
	return strings.TrimSpace(b.String())
}

func set(kind string, m uint16) string {
	var list []string
	for ; m != 0; m &= m - 1 {
		list = append(list, fmt.Sprintf("%s%d", kind, low16(m)))
	}
	return "{" + strings.Join(list, " ") + "}"
}
