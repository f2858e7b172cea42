// Package repotest makes small repositories for tests: contents that depend on a
// seed, backups of them, and ways to Restore, check and damage them. Every test
// that writes a repository ends with [MustCheck].
package repotest

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

// Passphrase opens every repository made here.
var Passphrase = []byte("correct horse")

// Pass gives it to repo.Open.
func Pass() ([]byte, error) { return bytes.Clone(Passphrase), nil }

// Params make packs of a few segments out of little data.
func Params() repo.Params {
	p := repo.DefaultParams()
	p.PackSize = 64 << 10
	p.SegmentSize = 4 << 10
	p.Trees.SinglePage = 16
	p.Trees.CutBits = 3
	p.Trees.PageEntries = 32
	return p
}

// Init makes a repository with Params, and the cheapest of keys.
func Init(t testing.TB, be backend.Backend) *repo.Repo {
	t.Helper()
	r, err := repo.Init(t.Context(), be, repo.InitOptions{Passphrase: Passphrase, Cost: crypto.TestKDFCost, Params: Params()})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// Open opens it.
func Open(t testing.TB, be backend.Backend) *repo.Repo {
	t.Helper()
	r, err := repo.Open(context.Background(), be, repo.OpenOptions{Passphrase: Pass})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// OpenEnv opens it with another environment.
func OpenEnv(t testing.TB, be backend.Backend, env repo.Env) *repo.Repo {
	t.Helper()
	r, err := repo.Open(context.Background(), be, repo.OpenOptions{Passphrase: Pass, Env: env})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// MustCheck reads everything there is and wants no problem.
func MustCheck(t testing.TB, be backend.Backend) {
	t.Helper()
	for _, p := range Problems(context.Background(), Open(t, be)) {
		t.Errorf("check: %+v", p)
	}
}

// Problems returns what a check of everything finds.
func Problems(ctx context.Context, r *repo.Repo) (list []check.Problem) {
	for p := range check.Run(ctx, r, check.Options{Read: check.All}) {
		list = append(list, p)
	}
	return list
}

// New returns an initialised repository in memory.
func New(t testing.TB) (*mem.Backend, *repo.Repo) {
	be := mem.New()
	return be, Init(t, be)
}

// sink lets a lane build trees.
type sink struct{ *repo.Lane }

func (s sink) Put(ctx context.Context, kind crypto.BlobKind, data []byte) (crypto.ID, error) {
	id, _, err := s.Lane.Put(ctx, kind, data)
	return id, err
}

// Content is a volume in a test: names of files to their bytes.
type Content map[string][]byte

// MakeContent returns n files whose bytes depend on seed: some small, some of
// several segments, some alike.
func MakeContent(seed uint64, n int) Content {
	rng := rand.New(rand.NewPCG(seed, 7))
	c := Content{}
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

// Put stores the content as one volume and returns its root.
func Put(ctx context.Context, r *repo.Repo, l *repo.Lane, c Content) (*snapshot.Node, error) {
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

// Backup stores the content as a backup with one volume.
func Backup(ctx context.Context, r *repo.Repo, c Content) (*snapshot.Backup, error) {
	w, err := r.Begin(ctx, repo.WriterOptions{})
	if err != nil {
		return nil, err
	}
	root, err := Put(ctx, r, w.Lane(), c)
	if err != nil {
		w.Abort()
		return nil, err
	}
	return w.Commit(&snapshot.Backup{Host: "h", Volumes: []snapshot.Volume{{
		Name: "data", Kind: snapshot.VolumePath, Source: "/data", State: snapshot.Complete, Root: root,
	}}})
}

// MustBackup is Backup where it must succeed.
func MustBackup(t testing.TB, r *repo.Repo, c Content) *snapshot.Backup {
	t.Helper()
	b, err := Backup(t.Context(), r, c)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// ErrWrongBytes is the one thing that must never happen.
var ErrWrongBytes = errors.New("wrong bytes")

// Restore reads a backup back and compares it with what was stored.
func Restore(ctx context.Context, r *repo.Repo, b *snapshot.Backup, want Content) error {
	reader := snapshot.NewDirReader(ctx, r, b.Volumes[0].Root.Tree)
	for n := 0; ; n++ {
		node, err := reader.Next()
		if errors.Is(err, io.EOF) {
			if n != len(want) {
				return fmt.Errorf("%w: %d of %d files", ErrWrongBytes, n, len(want))
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
			return fmt.Errorf("%w: %s", ErrWrongBytes, name)
		}
	}
}

// Copy returns a store with the same objects.
func Copy(t testing.TB, be backend.Backend) *mem.Backend {
	t.Helper()
	to := mem.New()
	for _, name := range Objects(t, be) {
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

// Objects lists the names of all objects.
func Objects(t testing.TB, be backend.Backend) (names []string) {
	t.Helper()
	for info, err := range be.List(t.Context(), "") {
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, info.Name)
	}
	return names
}
