package snapshot

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"testing"

	"vault/crypto"
)

var testKeys = crypto.NewKeys(crypto.MasterKey{1, 2, 3}, crypto.RepoID{4, 5, 6}, crypto.AESGCM)

type blobKey struct {
	kind crypto.BlobKind
	id   crypto.ID
}

// memStore is a Sink and a Source in memory. It is strict about what callers
// may rely on: buffers handed to Put are scribbled over afterwards by nobody
// but their owner, and Get always returns the caller's own memory.
type memStore struct {
	blobs map[blobKey][]byte
	added int // blobs that were not known
	gets  int
}

func newStore() *memStore { return &memStore{blobs: make(map[blobKey][]byte)} }

func (m *memStore) Put(_ context.Context, kind crypto.BlobKind, data []byte) (crypto.ID, error) {
	id := testKeys.BlobID(kind, data)
	if _, ok := m.blobs[blobKey{kind, id}]; !ok {
		m.blobs[blobKey{kind, id}] = bytes.Clone(data)
		m.added++
	}
	return id, nil
}

func (m *memStore) Get(ctx context.Context, kind crypto.BlobKind, id crypto.ID, dst []byte) ([]byte, error) {
	m.gets++
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	b, ok := m.blobs[blobKey{kind, id}]
	if !ok {
		return nil, fmt.Errorf("%v blob %v: %w", kind, id, fs.ErrNotExist)
	}
	return append(dst[:0], b...), nil
}

// page stores a page built by hand.
func (m *memStore) page(kind PageKind, level uint8, entries ...[]byte) crypto.ID {
	b := []byte{1, byte(kind), level}
	b = binary.AppendUvarint(b, uint64(len(entries)))
	for _, e := range entries {
		b = append(b, e...)
	}
	id, _ := m.Put(context.Background(), crypto.BlobTree, b)
	return id
}

func mustEntry(n *Node) []byte {
	b, err := AppendBody(append(binary.AppendUvarint(nil, uint64(len(n.Name))), n.Name...), n)
	if err != nil {
		panic(err)
	}
	return b
}

func dirRef(last string, id crypto.ID, below uint64) []byte {
	return appendRef(nil, DirLeaf, pageRef{last: []byte(last), id: id, below: below})
}

func contentRef(id crypto.ID, below uint64) []byte {
	return appendRef(nil, ContentLeaf, pageRef{id: id, below: below})
}

func fileNode(name string, size int) *Node {
	n := &Node{Name: name, Type: File, Mode: 0o644, UID: 1000, GID: 1000, User: "user", Group: "users",
		MTime: Time{Sec: 1700000000, Nsec: 123456789}, CTime: Time{Sec: 1700000001}, Inode: 77, Size: uint64(size)}
	if size > 0 {
		n.Content.Items = []Item{{Kind: ItemData, Length: uint64(size), ID: crypto.ID{9, byte(size)}}}
	}
	return n
}

func dirNode(name string, tree crypto.ID) *Node {
	return &Node{Name: name, Type: Directory, Mode: 0o755, Tree: tree}
}

// numbered returns n file nodes in order.
func numbered(n int) []*Node {
	nodes := make([]*Node, n)
	for i := range nodes {
		nodes[i] = fileNode(fmt.Sprintf("file-%08d", i), 1+i%1000)
	}
	return nodes
}

func writeDir(t testing.TB, store Sink, th Thresholds, nodes []*Node) crypto.ID {
	t.Helper()
	w := NewDirWriter(store, testKeys, th)
	for _, n := range nodes {
		if err := w.Add(t.Context(), n); err != nil {
			t.Fatal(err)
		}
	}
	id, err := w.Finish(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return id
}

func dataItem(rng *rand.Rand, length uint64) Item {
	it := Item{Kind: ItemData, Length: length}
	for i := 0; i < 32; i += 8 {
		binary.LittleEndian.PutUint64(it.ID[i:], rng.Uint64())
	}
	return it
}

func newRand(seed uint64) *rand.Rand { return rand.New(rand.NewPCG(seed, 1)) }
