package repo_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"testing"

	"vault/backend"
	"vault/backend/mem"
	"vault/crypto"
	"vault/repo"
	"vault/repo/check"
	"vault/snapshot"
)

var passphrase = []byte("correct horse")

func pass() ([]byte, error) { return bytes.Clone(passphrase), nil }

// smallParams make packs of a few segments out of little data.
func smallParams() repo.Params {
	p := repo.DefaultParams()
	p.PackSize = 64 << 10
	p.SegmentSize = 4 << 10
	p.Trees.SinglePage = 16
	p.Trees.CutBits = 3
	p.Trees.PageEntries = 32
	return p
}

func initRepo(t testing.TB, be backend.Backend) *repo.Repo {
	t.Helper()
	r, err := repo.Init(t.Context(), be, repo.InitOptions{Passphrase: passphrase, Cost: crypto.TestKDFCost, Params: smallParams()})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func openRepo(t testing.TB, be backend.Backend) *repo.Repo {
	t.Helper()
	r, err := repo.Open(context.Background(), be, repo.OpenOptions{Passphrase: pass})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// mustCheck reads everything there is and wants no problem.
func mustCheck(t testing.TB, be backend.Backend) {
	t.Helper()
	for _, p := range problems(context.Background(), openRepo(t, be)) {
		t.Errorf("check: %+v", p)
	}
}

func problems(ctx context.Context, r *repo.Repo) (list []check.Problem) {
	for p := range check.Run(ctx, r, check.Options{Read: check.All}) {
		list = append(list, p)
	}
	return list
}

// newStore returns an initialised repository in memory.
func newStore(t testing.TB) (*mem.Backend, *repo.Repo) {
	be := mem.New()
	return be, initRepo(t, be)
}

// sink lets a lane build trees.
type sink struct{ *repo.Lane }

func (s sink) Put(ctx context.Context, kind crypto.BlobKind, data []byte) (crypto.ID, error) {
	id, _, err := s.Lane.Put(ctx, kind, data)
	return id, err
}

// content is a volume in a test: names of files to their bytes.
type content map[string][]byte

// makeContent returns n files whose bytes depend on seed: some small, some of
// several segments, some alike.
func makeContent(seed uint64, n int) content {
	rng := rand.New(rand.NewPCG(seed, 7))
	c := content{}
	for i := range n {
		size := []int{1, 300, 2000, 3000, 9000, 30000}[rng.IntN(6)]
		b := make([]byte, size)
		for j := range b {
			b[j] = byte(rng.Uint32())
			if i%2 == 0 {
				b[j] &= 3 // compressible
			}
		}
		c[fmt.Sprintf("file-%03d", i)] = b
	}
	return c
}

// put stores the content as one volume and returns its root.
func put(ctx context.Context, r *repo.Repo, l *repo.Lane, c content) (*snapshot.Node, error) {
	w := snapshot.NewDirWriter(sink{l}, r, r.Params().Trees)
	for i := range len(c) {
		name := fmt.Sprintf("file-%03d", i)
		n := &snapshot.Node{Name: name, Type: snapshot.File, Mode: 0o644, Size: uint64(len(c[name]))}
		cw := snapshot.NewContentWriter(sink{l}, r.Params().Trees)
		for rest := c[name]; len(rest) > 0; {
			part := rest[:min(len(rest), 8000)]
			rest = rest[len(part):]
			id, _, err := l.Put(ctx, crypto.BlobData, part)
			if err != nil {
				return nil, err
			}
			if err := cw.Add(ctx, snapshot.Item{Kind: snapshot.ItemData, Length: uint64(len(part)), ID: id}); err != nil {
				return nil, err
			}
		}
		var err error
		if n.Content, err = cw.Finish(ctx); err != nil {
			return nil, err
		}
		if len(c[name]) <= r.Params().Trees.InlineFile {
			n.Content = snapshot.Content{Inline: c[name]}
		}
		if err := w.Add(ctx, n); err != nil {
			return nil, err
		}
	}
	top, err := w.Finish(ctx)
	return &snapshot.Node{Type: snapshot.Directory, Mode: 0o755, Tree: top}, err
}

// backup stores the content as a backup with one volume.
func backup(ctx context.Context, r *repo.Repo, c content) (*snapshot.Backup, error) {
	w, err := r.Begin(ctx, repo.WriterOptions{})
	if err != nil {
		return nil, err
	}
	root, err := put(ctx, r, w.Lane(), c)
	if err != nil {
		w.Abort()
		return nil, err
	}
	return w.Commit(&snapshot.Backup{Host: "h", Volumes: []snapshot.Volume{{
		Name: "data", Kind: snapshot.VolumePath, Source: "/data", State: snapshot.Complete, Root: root,
	}}})
}

func mustBackup(t testing.TB, r *repo.Repo, c content) *snapshot.Backup {
	t.Helper()
	b, err := backup(t.Context(), r, c)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// errWrongBytes is the one thing that must never happen.
var errWrongBytes = errors.New("wrong bytes")

// restore reads a backup back and compares it with what was stored.
func restore(ctx context.Context, r *repo.Repo, b *snapshot.Backup, want content) error {
	reader := snapshot.NewDirReader(ctx, r, b.Volumes[0].Root.Tree)
	for n := 0; ; n++ {
		node, err := reader.Next()
		if errors.Is(err, io.EOF) {
			if n != len(want) {
				return fmt.Errorf("%w: %d of %d files", errWrongBytes, n, len(want))
			}
			return nil
		}
		if err != nil {
			return err
		}
		got := bytes.Clone(node.Content.Inline)
		name := node.Name
		for item, err := range snapshot.Items(ctx, r, node.Content, node.Size) {
			if err != nil {
				return err
			}
			if item.Kind != snapshot.ItemData {
				continue
			}
			part, err := r.Get(ctx, crypto.BlobData, item.ID, nil)
			if err != nil {
				return err
			}
			got = append(got, part...)
		}
		if !bytes.Equal(got, want[name]) {
			return fmt.Errorf("%w: %s", errWrongBytes, name)
		}
	}
}

// copyOf returns a store with the same objects.
func copyOf(t testing.TB, be backend.Backend) *mem.Backend {
	t.Helper()
	to := mem.New()
	for _, name := range objects(t, be) {
		b, err := backend.ReadAll(t.Context(), be, name, 1<<30)
		if err != nil {
			t.Fatal(err)
		}
		if err := to.Put(t.Context(), name, b); err != nil {
			t.Fatal(err)
		}
	}
	return to
}

func objects(t testing.TB, be backend.Backend) (names []string) {
	t.Helper()
	for info, err := range be.List(t.Context(), "") {
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, info.Name)
	}
	return names
}
