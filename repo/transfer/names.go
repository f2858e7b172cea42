package transfer

import (
	"math"

	"vault/crypto"
)

// promise is the name that a blob of the source has in the target: one that is
// known, or one that will be when the steps before are woven.
//
// The goroutine that walks reads id, known and session only where ready says so:
// before, they belong to the goroutines that read and store.
type promise struct {
	id      crypto.ID
	known   bool
	session int // in which it was last seen to be stored
	batch   int // after which it is known
}

// later is the batch of a promise of which it is not known yet.
const later = math.MaxInt

// names remembers promises, the ones used last, by the name in the source. Its
// memory is bounded: two generations of limit entries each, of which the older one
// is dropped when the younger is full.
type names struct {
	limit      int
	young, old map[crypto.ID]*promise
}

func newNames(limit int) *names { return &names{limit: limit, young: map[crypto.ID]*promise{}} }

// get returns what was put, or nil.
func (n *names) get(id crypto.ID) *promise {
	if p := n.young[id]; p != nil {
		return p
	}
	p := n.old[id]
	if p != nil {
		n.put(id, p)
	}
	return p
}

func (n *names) put(id crypto.ID, p *promise) {
	if len(n.young) >= n.limit {
		n.old, n.young = n.young, make(map[crypto.ID]*promise, n.limit)
	}
	n.young[id] = p
}

func (n *names) remove(id crypto.ID) {
	delete(n.young, id)
	delete(n.old, id)
}

func (n *names) clear() {
	clear(n.young)
	n.old = nil
}
