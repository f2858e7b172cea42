package repo

import (
	"sync"
	"sync/atomic"

	"vault/crypto"
	"vault/index"
	"vault/pack"
)

// known answers which blobs need not be stored: those of the index, and those
// that this writer has taken on.
type known struct {
	index     atomic.Pointer[index.Index]
	condemned map[pack.ID]struct{}
	shards    [64]struct {
		sync.Mutex
		pending map[crypto.ID]struct{}
	}
}

func (k *known) reset(ix *index.Index, condemned map[pack.ID]struct{}) {
	k.index.Store(ix)
	k.condemned = condemned
	for i := range k.shards {
		k.shards[i].pending = map[crypto.ID]struct{}{}
	}
}

// stored reports whether the index has the blob in a pack that is to stay.
func (k *known) stored(id crypto.ID) bool {
	ix := k.index.Load()
	if len(k.condemned) == 0 {
		return ix.Has(id)
	}
	for loc := range ix.Lookup(id) {
		if _, going := k.condemned[loc.Pack]; !going {
			return true
		}
	}
	return false
}

// claim reports whether the caller is the one who has to store the blob.
func (k *known) claim(id crypto.ID) bool {
	s := &k.shards[id[0]%64]
	s.Lock()
	defer s.Unlock()
	if _, ok := s.pending[id]; ok || k.stored(id) {
		return false
	}
	s.pending[id] = struct{}{}
	return true
}

func (k *known) has(id crypto.ID) bool {
	s := &k.shards[id[0]%64]
	s.Lock()
	_, ok := s.pending[id]
	s.Unlock()
	return ok || k.stored(id)
}

// publish moves blobs from pending to the index, which has them now.
func (k *known) publish(s *index.Segment, ids []crypto.ID) {
	k.index.Store(k.index.Load().With(s))
	for _, id := range ids {
		shard := &k.shards[id[0]%64]
		shard.Lock()
		delete(shard.pending, id)
		shard.Unlock()
	}
}
