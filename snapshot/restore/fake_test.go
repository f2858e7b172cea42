package restore

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"sort"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/zeebo/blake3"

	"vault/crypto"
	"vault/snapshot"
)

// store is a repository in a map. It names blobs, so it is a Namer as well.
type store struct {
	mu    sync.Mutex
	blobs map[crypto.ID][]byte
	gets  atomic.Int64 // data blobs fetched
	// onGet, if set, is asked before a data blob is fetched.
	onGet func(id crypto.ID) error
}

func newStore() *store { return &store{blobs: make(map[crypto.ID][]byte)} }

func (s *store) BlobID(kind crypto.BlobKind, data []byte) crypto.ID {
	return blake3.Sum256(append([]byte{byte(kind)}, data...))
}

func (s *store) Put(_ context.Context, kind crypto.BlobKind, data []byte) (crypto.ID, error) {
	id := s.BlobID(kind, data)
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.blobs[id]; !ok {
		s.blobs[id] = append([]byte(nil), data...)
	}
	return id, nil
}

func (s *store) Get(ctx context.Context, kind crypto.BlobKind, id crypto.ID, dst []byte) ([]byte, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if kind == crypto.BlobData {
		s.gets.Add(1)
		if s.onGet != nil {
			if err := s.onGet(id); err != nil {
				return nil, err
			}
		}
	}
	s.mu.Lock()
	b, ok := s.blobs[id]
	s.mu.Unlock()
	if !ok {
		return nil, fmt.Errorf("blob %v: %w", id, errLost)
	}
	return append(dst[:0], b...), nil
}

func (s *store) PageHash(level uint8, name string) uint64 {
	h := fnv.New64a()
	h.Write([]byte{level})
	h.Write([]byte(name))
	return h.Sum64()
}

var errLost = errors.New("no such blob")

// nameless hides that a store names blobs.
type nameless struct{ s *store }

func (n nameless) Get(ctx context.Context, kind crypto.BlobKind, id crypto.ID, dst []byte) ([]byte, error) {
	return n.s.Get(ctx, kind, id, dst)
}

// ent is an entry of a hand-made tree.
type ent struct {
	snapshot.Node
	kids []ent
}

var someTime = snapshot.Time{Sec: 1_500_000_000, Nsec: 123456789}

func dirOf(name string, kids ...ent) ent {
	return ent{snapshot.Node{Name: name, Type: snapshot.Directory, Mode: 0o755, MTime: someTime, UID: self.uid, GID: self.gid}, kids}
}

func linkTo(name, target string) ent {
	return ent{Node: snapshot.Node{Name: name, Type: snapshot.Symlink, Mode: 0o777, MTime: someTime, Target: target, UID: self.uid, GID: self.gid}}
}

func (e ent) with(change func(n *snapshot.Node)) ent {
	change(&e.Node)
	return e
}

var self = func() (o struct{ uid, gid uint32 }) { o.uid, o.gid = ownIDs(); return }()

const testChunk = 64 << 10

// fileOf returns a file with this content, cut into chunks of 64 KiB.
func (s *store) fileOf(name, content string) ent {
	n := snapshot.Node{Name: name, Type: snapshot.File, Mode: 0o644, MTime: someTime, Size: uint64(len(content)), UID: self.uid, GID: self.gid}
	if len(content) > 0 && len(content) <= 128 {
		n.Content.Inline = []byte(content)
		return ent{Node: n}
	}
	w := snapshot.NewContentWriter(s, snapshot.DefaultThresholds())
	for b := []byte(content); len(b) > 0; {
		c := b[:min(len(b), testChunk)]
		must(w.Add(context.Background(), s.item(c)))
		b = b[len(c):]
	}
	n.Content = must1(w.Finish(context.Background()))
	return ent{Node: n}
}

// item stores a chunk.
func (s *store) item(c []byte) snapshot.Item {
	zero := true
	for _, x := range c {
		zero = zero && x == 0
	}
	if zero {
		return snapshot.Item{Kind: snapshot.ItemZero, Length: uint64(len(c))}
	}
	return snapshot.Item{Kind: snapshot.ItemData, Length: uint64(len(c)), ID: must1(s.Put(context.Background(), crypto.BlobData, c))}
}

// tree stores e and what is below it, and returns its node without a name.
func (s *store) tree(e ent) *snapshot.Node {
	n := s.save(e)
	n.Name = ""
	return n
}

func (s *store) save(e ent) *snapshot.Node {
	n := e.Node.Clone()
	if n.Type != snapshot.Directory || !n.Tree.IsZero() {
		return n
	}
	kids := append([]ent(nil), e.kids...)
	sort.Slice(kids, func(i, j int) bool { return kids[i].Name < kids[j].Name })
	w := snapshot.NewDirWriter(s, s, snapshot.DefaultThresholds())
	for _, k := range kids {
		must(w.Add(context.Background(), s.save(k)))
	}
	n.Tree = must1(w.Finish(context.Background()))
	return n
}

func volumeOf(root *snapshot.Node, dir string) []Volume {
	return []Volume{{Volume: &snapshot.Volume{Name: "v", State: snapshot.Complete, Root: root, Others: 1 << 40, BytesProcessed: 1 << 63}, Dir: dir}}
}

// run restores a tree to target/v and fails the test on an error.
func restoreTo(t *testing.T, s *store, root *snapshot.Node, target string, change ...func(*Options)) Report {
	t.Helper()
	o := Options{Source: s, Target: target}
	for _, c := range change {
		c(&o)
	}
	rep, err := Run(context.Background(), o, volumeOf(root, "v"))
	if err != nil {
		t.Fatalf("Run: %v", err)
	}
	return rep
}

func noProblems(t *testing.T, rep Report) {
	t.Helper()
	for _, p := range rep.Problems {
		t.Errorf("problem: %v", p)
	}
	if rep.ProblemCount != uint64(len(rep.Problems)) && len(rep.Problems) < MaxProblems {
		t.Errorf("%d problems, %d listed", rep.ProblemCount, len(rep.Problems))
	}
}

func must(err error) {
	if err != nil {
		panic(err)
	}
}

func must1[T any](v T, err error) T {
	must(err)
	return v
}

// hooked calls before, by one goroutine at a time, before a data blob is fetched.
type hooked struct {
	*store
	lock   sync.Mutex
	before func()
}

func (h *hooked) Get(ctx context.Context, kind crypto.BlobKind, id crypto.ID, dst []byte) ([]byte, error) {
	if kind == crypto.BlobData {
		h.lock.Lock()
		h.before()
		h.lock.Unlock()
	}
	return h.store.Get(ctx, kind, id, dst)
}
