package repo_test

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"slices"
	"testing"

	"vault/backend"
	"vault/backend/mem"
	"vault/chunk"
	"vault/crypto"
	"vault/internal/repotest"
	"vault/repo"
)

// initLike makes a repository that cuts like another one.
func initLike(t *testing.T, from *repo.Repo) (*mem.Backend, *repo.Repo) {
	t.Helper()
	be := mem.New()
	r, err := repo.Init(t.Context(), be, repo.InitOptions{Passphrase: repotest.Passphrase, Cost: crypto.TestKDFCost, Params: repo.DefaultParams(), ChunkerFrom: from})
	if err != nil {
		t.Fatal(err)
	}
	return be, r
}

func lengths(t *testing.T, r *repo.Repo, data []byte) (list []int) {
	t.Helper()
	s := r.Chunker().NewSplitter()
	s.Reset(bytes.NewReader(data))
	for {
		c, err := s.Next()
		if len(c) > 0 {
			list = append(list, len(c))
		}
		if err != nil {
			return list
		}
	}
}

// TestInitChunkerFrom: a repository that takes its splitter over cuts alike, and
// goes on doing so when it is opened again; a copy of the copy does, too. Keys and
// names are its own.
func TestInitChunkerFrom(t *testing.T) {
	params := repotest.Params()
	params.Chunker = chunk.Params{Algorithm: chunk.AESWindow, Min: 256, Max: 4096, Bits: 10}
	first, err := repo.Init(t.Context(), mem.New(), repo.InitOptions{Passphrase: repotest.Passphrase, Cost: crypto.TestKDFCost, Params: params})
	if err != nil {
		t.Fatal(err)
	}
	be, second := initLike(t, first)
	_, third := initLike(t, second)
	_, stranger := repotest.New(t)
	data := make([]byte, 200_000)
	rng := rand.NewChaCha8([32]byte{1})
	rng.Read(data)
	want := lengths(t, first, data)
	for name, r := range map[string]*repo.Repo{"as made": second, "opened": repotest.Open(t, be), "of the copy": third} {
		if got := lengths(t, r, data); !slices.Equal(got, want) {
			t.Errorf("%s: it cuts otherwise", name)
		}
		if !r.CutsLike(first) || !first.CutsLike(r) {
			t.Errorf("%s: CutsLike is false", name)
		}
		if r.Params().Trees != params.Trees {
			t.Errorf("%s: other thresholds", name)
		}
		if r.BlobID(crypto.BlobData, data) == first.BlobID(crypto.BlobData, data) {
			t.Errorf("%s: it has the same names", name)
		}
	}
	if stranger.CutsLike(first) || slices.Equal(lengths(t, stranger, data), want) {
		t.Error("a stranger cuts alike")
	}
	if err := second.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	repotest.MustBackup(t, second, repotest.MakeContent(1, 5))
	repotest.MustCheck(t, be)
}

// TestChunkerFeature: the config says that a program must know of the secret,
// and its bits are protected.
func TestChunkerFeature(t *testing.T) {
	_, first := repotest.New(t)
	be, _ := initLike(t, first)
	config, err := backend.ReadAll(t.Context(), be, "config", 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	head, err := crypto.ParseConfigHead(config)
	if err != nil || head.Mandatory != crypto.FeatureChunkerSecret {
		t.Fatalf("%+v, %v", head, err)
	}
	config[8] ^= 1 // the program that does not look
	sum := crypto.FileHash(config[:len(config)-32])
	if err := be.Put(t.Context(), "config", append(config[:len(config)-32], sum[:]...)); err != nil {
		t.Fatal(err)
	}
	_, err = repo.Open(t.Context(), be, repo.OpenOptions{Passphrase: repotest.Pass})
	if state := new(repo.StateError); !errors.As(err, &state) || state.State != repo.Damaged {
		t.Errorf("without the bit: %v", err)
	}
}
