package archive

import (
	"bytes"
	"context"
	"fmt"
	"io/fs"
	"os"
	"sync"
	"testing"
	"time"

	"vault/chunk"
	"vault/crypto"
	"vault/snapshot"
)

// memory is a store in a map. It is a Store, a snapshot.Source and, by its keys, a
// snapshot.Hasher.
type memory struct {
	*crypto.Keys
	mu     sync.Mutex
	blobs  map[crypto.ID][]byte
	puts   map[crypto.BlobKind]int
	fail   error             // what Put gives, if set
	onPut  func(data []byte) // called without the lock
	failAt int               // Put number from which on fail counts
	n      int
}

func newMemory() *memory {
	return &memory{Keys: crypto.NewKeys(crypto.MasterKey{1}, crypto.RepoID{2}, crypto.AESGCM),
		blobs: map[crypto.ID][]byte{}, puts: map[crypto.BlobKind]int{}}
}

func (m *memory) Put(ctx context.Context, kind crypto.BlobKind, data []byte) (crypto.ID, bool, error) {
	if m.onPut != nil {
		m.onPut(data)
	}
	id := m.BlobID(kind, data)
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.n++; m.fail != nil && m.n > m.failAt {
		return id, false, m.fail
	}
	m.puts[kind]++
	_, had := m.blobs[id]
	if !had {
		m.blobs[id] = bytes.Clone(data)
	}
	return id, !had, nil
}

func (m *memory) Has(_ crypto.BlobKind, id crypto.ID) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	_, ok := m.blobs[id]
	return ok
}

func (m *memory) Get(_ context.Context, _ crypto.BlobKind, id crypto.ID, dst []byte) ([]byte, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	b, ok := m.blobs[id]
	if !ok {
		return nil, fmt.Errorf("blob %v: %w", id, fs.ErrNotExist)
	}
	return append(dst[:0], b...), nil
}

func (m *memory) resetCounts() { m.puts = map[crypto.BlobKind]int{} }

// smallChunks make a few hundred kilobytes many chunks.
var smallChunks = chunk.Params{Algorithm: chunk.AESWindow, Min: 1 << 10, Max: 16 << 10, Bits: 12}

func options(t testing.TB, m *memory) Options {
	t.Helper()
	c, err := chunk.New(smallChunks, m.ChunkerSecret())
	if err != nil {
		t.Fatal(err)
	}
	return Options{NewStore: func() Store { return m }, Reader: m, Hasher: m, Chunker: c,
		Thresholds: snapshot.DefaultThresholds(), Workers: 3,
		// Far enough ahead that what the test has just written is not racy.
		Now: func() time.Time { return time.Now().Add(time.Hour) }}
}

func archive(t testing.TB, o Options, volumes ...Volume) Report {
	t.Helper()
	r, err := Run(context.Background(), o, volumes)
	if err != nil {
		t.Fatalf("Run: %v", err)
	}
	return r
}

// archiveDir archives one directory.
func archiveDir(t testing.TB, o Options, dir string, parent *Parent) (snapshot.Volume, []Notice) {
	t.Helper()
	r := archive(t, o, Volume{Name: "v", Source: Path{dir}, Parent: parent})
	v := r.Volumes[0]
	checkEncodes(t, r.Volumes)
	return v, r.Notices
}

// checkEncodes makes sure that the volumes fit into a commit.
func checkEncodes(t testing.TB, vs []snapshot.Volume) {
	t.Helper()
	for i := range vs {
		if vs[i].Root == nil {
			continue
		}
		if _, err := snapshot.AppendBody(nil, vs[i].Root); err != nil {
			t.Errorf("root of %s does not encode: %v", vs[i].Name, err)
		}
	}
}

func trusted(v snapshot.Volume) *Parent {
	return &Parent{Root: v.Root, ScanStarted: v.ScanStarted, Trusted: true}
}

func mustComplete(t testing.TB, v snapshot.Volume) {
	t.Helper()
	if v.State != snapshot.Complete || v.Root == nil {
		t.Fatalf("volume is %v: %v", v.State, v.Problems)
	}
}

// tree reads a stored tree back: all nodes by path, "." for the root.
func tree(t testing.TB, m *memory, root *snapshot.Node) map[string]*snapshot.Node {
	t.Helper()
	out := map[string]*snapshot.Node{".": root}
	type level struct {
		prefix string
		id     crypto.ID
	}
	if root.Type != snapshot.Directory {
		return out
	}
	todo := []level{{"", root.Tree}}
	for len(todo) > 0 {
		l := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		for n, err := range snapshot.ReadDir(context.Background(), m, l.id) {
			if err != nil {
				t.Fatalf("read %q: %v", l.prefix, err)
			}
			out[l.prefix+n.Name] = n
			if n.IsDir() {
				todo = append(todo, level{l.prefix + n.Name + "/", n.Tree})
			}
		}
	}
	return out
}

// content reads a stored file back; holes and zeros are zeros.
func content(t testing.TB, m *memory, n *snapshot.Node) []byte {
	t.Helper()
	if n.Content.Inline != nil {
		return n.Content.Inline
	}
	out := []byte{}
	for it, err := range snapshot.Items(context.Background(), m, n.Content, n.Size) {
		if err != nil {
			t.Fatal(err)
		}
		if it.Kind != snapshot.ItemData {
			out = append(out, make([]byte, it.Length)...)
			continue
		}
		b, err := m.Get(context.Background(), crypto.BlobData, it.ID, nil)
		if err != nil {
			t.Fatal(err)
		}
		if chunk.IsZero(b) {
			t.Errorf("a chunk of %d zeros is stored as data", len(b))
		}
		out = append(out, b...)
	}
	return out
}

func write(t testing.TB, path string, data []byte) {
	t.Helper()
	if err := os.WriteFile(path, data, 0o644); err != nil {
		t.Fatal(err)
	}
}

func mkdir(t testing.TB, path string) {
	t.Helper()
	if err := os.MkdirAll(path, 0o755); err != nil {
		t.Fatal(err)
	}
}

// noise returns n bytes that do not repeat.
func noise(seed byte, n int) []byte {
	k := crypto.NewKeys(crypto.MasterKey{seed}, crypto.RepoID{}, crypto.AESGCM)
	out := make([]byte, 0, n+32)
	for i := 0; len(out) < n; i++ {
		id := k.BlobID(crypto.BlobData, []byte(fmt.Sprint(i)))
		out = append(out, id[:]...)
	}
	return out[:n]
}

func defaultChunker(t testing.TB, m *memory) *chunk.Chunker {
	t.Helper()
	c, err := chunk.New(chunk.DefaultParams(), m.ChunkerSecret())
	if err != nil {
		t.Fatal(err)
	}
	return c
}
