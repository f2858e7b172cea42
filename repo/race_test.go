package repo_test

import (
	"context"
	"errors"
	"io/fs"
	"strings"
	"sync"
	"testing"

	"vault/backend"
	"vault/backend/mem"
	"vault/crypto"
	"vault/internal/repotest"
	"vault/repo"
)

// holding is a store that holds whatever was stored in it.
type holding struct{ backend.Backend }

func (h holding) Delete(_ context.Context, name string) error {
	return &backend.Error{Op: "delete", Name: name, Kind: backend.ErrLocked}
}

// TestInitUnderRetention: a store that holds what is created to try it is warned
// of, and is no reason not to use it.
func TestInitUnderRetention(t *testing.T) {
	be := holding{mem.New()}
	t.Cleanup(func() { repotest.MustCheck(t, be) })
	var warned []string
	o := repo.InitOptions{Passphrase: repotest.Passphrase, Cost: crypto.TestKDFCost, Params: repotest.Params(),
		Env: repo.Env{Warn: func(name string, err error) {
			if !errors.Is(err, backend.ErrLocked) {
				t.Errorf("%s: %v", name, err)
			}
			warned = append(warned, name)
		}}}
	r, err := repo.Init(t.Context(), be, o)
	if err != nil {
		t.Fatal(err)
	}
	if err := r.ProveExclusive(t.Context()); err != nil {
		t.Error(err)
	}
	if len(warned) != 2 || !strings.HasPrefix(warned[0], "probe-") || warned[0] == warned[1] {
		t.Errorf("warned of %q", warned)
	}
}

// partly creates for the first who asks and tells the others that it cannot, as
// several servers behind one address do of which one is of another version.
type partly struct {
	*mem.Backend
	mu   sync.Mutex
	made bool
}

var errOther = errors.New("another failure")

func (p *partly) Create(ctx context.Context, name string, data []byte) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.made {
		return &backend.Error{Op: "create", Name: name, Kind: errors.ErrUnsupported}
	}
	p.made = true
	return p.Backend.Create(ctx, name, data)
}

// failing creates, and tells everybody of a failure.
type failing struct{ *mem.Backend }

func (f failing) Create(ctx context.Context, name string, data []byte) error {
	if err := f.Backend.Create(ctx, name, data); errors.Is(err, fs.ErrExist) {
		return err
	}
	return errOther
}

// TestRaceLeavesNothing: whatever the race shows, what it made is removed, and the
// error says whose it is.
func TestRaceLeavesNothing(t *testing.T) {
	p := repotest.Params()
	for name, c := range map[string]struct {
		be   backend.Backend
		want error
	}{
		"one of many": {&partly{Backend: mem.New()}, repo.ErrNoExclusiveCreate},
		"failure":     {failing{mem.New()}, errOther},
	} {
		o := repo.InitOptions{Passphrase: repotest.Passphrase, Cost: crypto.TestKDFCost, Params: p}
		if _, err := repo.Init(t.Context(), c.be, o); !errors.Is(err, c.want) || !strings.HasPrefix(err.Error(), "init: ") {
			t.Errorf("%s: init: %v", name, err)
		}
		if got := repotest.Objects(t, c.be); len(got) != 0 {
			t.Errorf("%s: left behind %q", name, got)
		}
	}
}

// flipping creates exclusively until told otherwise.
type flipping struct {
	*mem.Backend
	fails bool
}

func (f *flipping) Create(ctx context.Context, name string, data []byte) error {
	if f.fails {
		return errOther
	}
	return f.Backend.Create(ctx, name, data)
}

// TestProofOfAnOpenOne: a proof that fails later does not speak of init.
func TestProofOfAnOpenOne(t *testing.T) {
	be := &flipping{Backend: mem.New()}
	t.Cleanup(func() { repotest.MustCheck(t, be) })
	r, err := repo.Init(t.Context(), be, repo.InitOptions{Passphrase: repotest.Passphrase, Cost: crypto.TestKDFCost, Params: repotest.Params()})
	if err != nil {
		t.Fatal(err)
	}
	be.fails = true
	if err := r.ProveExclusive(t.Context()); !errors.Is(err, errOther) || strings.Contains(err.Error(), "init") {
		t.Errorf("proof: %v", err)
	}
}
