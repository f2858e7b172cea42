package sim

import (
	"strings"
	"time"

	"vault/backend"
	"vault/crypto"
)

// Bug is a planted bug: one rule that the store, or the way to it, does not keep.
type Bug string

// The planted bugs. The engine itself is never changed: what a broken engine
// would do is played by what its client gets to see.
const (
	NoBug Bug = ""

	BugLosesPuts      Bug = "acknowledged puts are not durable"
	BugLosesCreates   Bug = "acknowledged creates are not durable"
	BugShowsEarly     Bug = "listings and reads show what is not durable yet"
	BugHidesUnacked   Bug = "a listing hides what a create is refused for already"
	BugTwoWinners     Bug = "a create replaces what is there and wins"
	BugAssumesOwn     Bug = "a commit that exists is taken for one's own"
	BugMissesCommits  Bug = "listings of commits may lag"
	BugMissesSessions Bug = "listings of sessions may lag"
	BugMissesGC       Bug = "listings of gc records may lag"
	BugLateOverwrites Bug = "a create that comes late replaces what is there"
	BugLateDeletes    Bug = "a delete that comes late hits a newer object"
	BugNoSettle       Bug = "a collector does not look for sessions"
	BugNoReread       Bug = "a collector does not read the roots again"
	BugNoVoidCheck    Bug = "a writer does not look whether a collection has closed without it"
	BugWriteBack      Bug = "packs are acknowledged before they are stored, and a kill loses them"
	BugFailureIsFine  Bug = "a put that fails is reported as stored"
	BugFullIsFine     Bug = "a put on a full store is reported as stored"
	BugShortIsFine    Bug = "a read that is cut short ends as if complete"
	BugTornWrites     Bug = "a write that fails leaves half of the object"
	BugClockDecides   Bug = "a collector takes sessions for dead by the clock, and does not kill them"
	BugBlindTrust     Bug = "a writer trusts a parent that it saw before its session"
	BugErrorIsFine    Bug = "a commit whose outcome is unknown is acknowledged"
)

// Bugs are all planted bugs.
var Bugs = []Bug{
	BugLosesPuts, BugLosesCreates, BugShowsEarly, BugHidesUnacked, BugTwoWinners, BugAssumesOwn, BugMissesCommits, BugMissesSessions,
	BugMissesGC, BugLateOverwrites, BugLateDeletes, BugNoSettle, BugNoReread, BugNoVoidCheck, BugWriteBack, BugFailureIsFine,
	BugFullIsFine, BugShortIsFine, BugTornWrites, BugClockDecides, BugBlindTrust, BugErrorIsFine,
}

// loses reports whether an acknowledged write stays undone by a power cut.
func (w *World) loses(c *call) bool {
	return w.o.Bug == BugLosesPuts && c.kind == opPut || w.o.Bug == BugLosesCreates && c.kind == opCreate
}

// planted answers the calls that a bug answers.
func (w *World) planted(c *call) (answer, bool) {
	_, there := w.store.now[c.name]
	switch w.o.Bug {
	case BugTwoWinners:
		if c.kind == opCreate && there {
			w.store.settle(w.store.apply(c.name, c.data))
			return answer{}, true
		}
	case BugAssumesOwn:
		if c.kind == opCreate && there && strings.HasPrefix(c.name, "commits/") {
			return answer{}, true
		}
	case BugMissesCommits:
		return w.lagging(c, "commits/")
	case BugMissesSessions:
		return w.lagging(c, "sessions/")
	case BugMissesGC:
		return w.lagging(c, "gc/")
	case BugHidesUnacked:
		if c.kind == opList {
			return answer{infos: w.acknowledged(c.name)}, true
		}
	case BugNoSettle:
		if c.kind == opList && c.name == "sessions/" {
			return answer{}, true
		}
	case BugNoReread:
		return w.frozen(c, "commits/", TaskPrune, TaskFold)
	case BugNoVoidCheck:
		return w.frozen(c, "gc/", TaskBackup)
	case BugWriteBack:
		if c.kind == opPut && strings.HasPrefix(c.name, "packs/") {
			w.ghosts = append(w.ghosts, ghost{at: w.step + 1 + w.rng.IntN(200), kind: opPut, name: c.name, data: c.data, by: c.p})
			return answer{}, true
		}
	case BugClockDecides:
		if c.kind == opList && c.name == "sessions/" {
			return answer{infos: w.young(c)}, true
		}
	}
	return answer{}, false
}

// lagging answers a listing that misses what was made within the last steps.
func (w *World) lagging(c *call, dir string) (answer, bool) {
	if c.kind == opCreate && strings.HasPrefix(c.name, dir) {
		if _, there := w.store.now[c.name]; !there {
			w.store.recent[c.name] = recent{step: w.step}
		}
		return answer{}, false
	}
	if c.kind != opList || c.name != dir || w.rng.IntN(2) == 0 {
		return answer{}, false
	}
	var infos []backend.Info
	for _, info := range w.store.list(dir) {
		if r, ok := w.store.recent[info.Name]; !ok || w.step-r.step > 50 {
			infos = append(infos, info)
		}
	}
	return answer{infos: infos}, true
}

// acknowledged lists what is durable.
func (w *World) acknowledged(prefix string) []backend.Info {
	var infos []backend.Info
next:
	for _, info := range w.store.list(prefix) {
		for _, e := range w.store.pending {
			if e.name == info.Name && e.after != nil {
				continue next
			}
		}
		infos = append(infos, info)
	}
	return infos
}

// frozen answers a listing with what it was when the task first asked.
func (w *World) frozen(c *call, dir string, tasks ...TaskKind) (answer, bool) {
	if c.kind != opList || c.name != dir || len(c.p.c.tasks) == 0 {
		return answer{}, false
	}
	for _, k := range tasks {
		if c.p.c.tasks[0].Kind == k {
			if _, ok := c.p.frozen[dir]; !ok {
				c.p.frozen[dir] = w.store.list(dir)
			}
			return answer{infos: c.p.frozen[dir]}, true
		}
	}
	return answer{}, false
}

// young lists the sessions that are younger than a day by the client's clock.
func (w *World) young(c *call) []backend.Info {
	var infos []backend.Info
	for _, info := range w.store.list(c.name) {
		if sid, err := crypto.ParseSessionID(info.Name[len(c.name):]); err == nil && c.p.c.clock().Sub(sid.Time()) < 24*time.Hour {
			infos = append(infos, info)
		}
	}
	return infos
}
