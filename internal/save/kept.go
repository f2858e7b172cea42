package save

import (
	"bytes"
	"context"
	"sync"

	"vault/crypto"
	"vault/snapshot"
	"vault/snapshot/archive"
)

// maxKept bounds the pages of directories that are kept from the pass before Around,
// in bytes: those of some hundred thousand files. What does not fit is read back
// from the store.
const maxKept = 64 << 20

// kept are the pages of directories as the pass before Around has read or stored
// them. The one inside compares with them, and must not wait for the store to give
// them back. It is safe for concurrent use.
type kept struct {
	mu    sync.Mutex // guards pages and size
	pages map[crypto.ID][]byte
	size  int
}

func (k *kept) add(kind crypto.BlobKind, id crypto.ID, data []byte) {
	if kind != crypto.BlobTree {
		return
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if _, ok := k.pages[id]; ok || k.size+len(data) > maxKept {
		return
	}
	if k.pages == nil {
		k.pages = map[crypto.ID][]byte{}
	}
	k.pages[id] = bytes.Clone(data)
	k.size += len(data)
}

func (k *kept) get(id crypto.ID) []byte {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.pages[id]
}

// keepingStore is a lane of which the pages of directories are kept.
type keepingStore struct {
	archive.Store
	k *kept
}

func (s keepingStore) Put(ctx context.Context, kind crypto.BlobKind, data []byte) (crypto.ID, bool, error) {
	id, added, err := s.Store.Put(ctx, kind, data)
	if err == nil {
		s.k.add(kind, id, data)
	}
	return id, added, err
}

// keepingSource gives what is kept, and keeps what it has to ask for.
type keepingSource struct {
	snapshot.Source
	k *kept
}

func (s keepingSource) Get(ctx context.Context, kind crypto.BlobKind, id crypto.ID, dst []byte) ([]byte, error) {
	if page := s.k.get(id); page != nil && kind == crypto.BlobTree {
		return append(dst[:0], page...), nil
	}
	data, err := s.Source.Get(ctx, kind, id, dst)
	if err == nil {
		s.k.add(kind, id, data)
	}
	return data, err
}
