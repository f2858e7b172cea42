package sim

import (
	"io/fs"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"

	"vault/backend"
)

// store holds objects as everybody sees them, and knows which of them a power
// cut can take back. Objects appear whole: an effect changes the state at one
// moment, in which everybody sees it; what acknowledges it comes later.
type store struct {
	now     map[string][]byte // what everybody sees; the bytes are never changed
	pending []*effect         // in order; what a power cut may undo
	recent  map[string]recent // of packs/ and index/, for stale listings
	step    int

	changed []string // names touched since the oracle last looked
}

// effect is a change that is not known to be durable.
type effect struct {
	name   string
	before []byte // nil: was not there
	after  []byte // nil: deleted
}

// recent is the last change of a name that listings may not show yet.
type recent struct {
	step   int
	before []byte
}

func newStore(objects map[string][]byte) *store {
	return &store{now: maps.Clone(objects), recent: map[string]recent{}}
}

// apply changes one object and returns the effect, which stays undecided until
// it is settled.
func (s *store) apply(name string, data []byte) *effect {
	e := &effect{name: name, before: s.now[name], after: data}
	if strings.HasPrefix(name, "packs/") || strings.HasPrefix(name, "index/") {
		s.recent[name] = recent{s.step, e.before}
	}
	if data == nil {
		delete(s.now, name)
	} else {
		s.now[name] = data
	}
	s.pending = append(s.pending, e)
	s.changed = append(s.changed, name)
	return e
}

// settle makes an effect durable, and with it those before it on that name.
func (s *store) settle(e *effect) {
	at := slices.Index(s.pending, e)
	if at < 0 {
		return
	}
	kept := s.pending[:0]
	for i, p := range s.pending {
		if i > at || p.name != e.name {
			kept = append(kept, p)
		}
	}
	s.pending = kept
}

// seen makes durable what somebody else has been told of: a store that shows
// what it may still lose is a planted bug.
func (s *store) seen(match func(name string) bool) {
	for i := 0; i < len(s.pending); {
		if e := s.pending[i]; e.after != nil && match(e.name) {
			s.settle(e)
			i = 0
			continue
		}
		i++
	}
}

// cut lets the power fail: every undecided effect is kept or undone by chance.
func (s *store) cut(rng *rand.Rand) {
	for _, e := range slices.Backward(s.pending) {
		if rng.IntN(2) == 0 {
			continue
		}
		if e.before == nil {
			delete(s.now, e.name)
		} else {
			s.now[e.name] = e.before
		}
		s.changed = append(s.changed, e.name)
	}
	s.pending = nil
}

// worst returns the objects as they are if the power fails now and takes all
// that it can of what was written, and nothing of what was deleted. It is nil
// if that is what everybody sees.
func (s *store) worst() map[string][]byte {
	var objects map[string][]byte
	for _, e := range slices.Backward(s.pending) {
		if e.after == nil {
			continue
		}
		if objects == nil {
			objects = maps.Clone(s.now)
		}
		if e.before == nil {
			delete(objects, e.name)
		} else {
			objects[e.name] = e.before
		}
	}
	return objects
}

// list returns what a listing shows, in order.
func (s *store) list(prefix string) []backend.Info { return list(s.now, prefix) }

func list(objects map[string][]byte, prefix string) []backend.Info {
	var infos []backend.Info
	for name, data := range objects {
		if strings.HasPrefix(name, prefix) {
			infos = append(infos, backend.Info{Name: name, Size: int64(len(data))})
		}
	}
	slices.SortFunc(infos, func(a, b backend.Info) int { return strings.Compare(a.Name, b.Name) })
	return infos
}

// staleFor is how many steps long a listing may lag behind.
const staleFor = 400

// stale returns a listing of packs/ or index/ in which recent changes are
// missing by chance.
func (s *store) stale(prefix string, rng *rand.Rand) []backend.Info {
	objects := map[string][]byte{}
	for name, data := range s.now {
		if strings.HasPrefix(name, prefix) {
			objects[name] = data
		}
	}
	for _, name := range slices.Sorted(maps.Keys(s.recent)) {
		r := s.recent[name]
		if !strings.HasPrefix(name, prefix) || s.step-r.step > staleFor || rng.IntN(2) == 0 {
			continue
		}
		if r.before == nil {
			delete(objects, name)
		} else {
			objects[name] = r.before
		}
	}
	return list(objects, prefix)
}

// read returns bytes of an object, as backend.Get would.
func read(objects map[string][]byte, name string, off, n int64) ([]byte, error) {
	data, ok := objects[name]
	size := int64(len(data))
	switch {
	case !ok:
		return nil, missing("get", name)
	case off < 0:
		return nil, failed("get", name, fs.ErrInvalid)
	case off > size || n > size-off:
		return nil, failed("get", name, errShort)
	case n < 0:
		n = size - off
	}
	return data[off : off+n], nil
}
