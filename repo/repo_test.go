package repo_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"

	"vault/backend"
	"vault/backend/backendtest"
	"vault/backend/mem"
	"vault/crypto"
	"vault/internal/repotest"
	"vault/pack"
	"vault/repo"
	"vault/snapshot"
)

func TestBackupAndRestore(t *testing.T) {
	be, r := repotest.New(t)
	t.Cleanup(func() { repotest.MustCheck(t, be) })
	first, second := repotest.MakeContent(1, 60), repotest.MakeContent(1, 60)
	second["file-007"] = []byte(strings.Repeat("changed", 500))
	a := repotest.MustBackup(t, r, first)
	b := repotest.MustBackup(t, r, second)

	r = repotest.Open(t, be)
	list, err := r.Backups(t.Context())
	if err != nil || len(list) != 2 || list[0].ID != a.ID || list[1].ID != b.ID {
		t.Fatalf("backups: %v, %v", list, err)
	}
	for i, want := range []repotest.Content{first, second} {
		if err := repotest.Restore(t.Context(), r, list[i], want); err != nil {
			t.Errorf("backup %d: %v", i, err)
		}
	}
}

func TestUnchangedAddsSessionAndCommit(t *testing.T) {
	be, r := repotest.New(t)
	t.Cleanup(func() { repotest.MustCheck(t, be) })
	c := repotest.MakeContent(2, 40)
	repotest.MustBackup(t, r, c)
	before := repotest.Objects(t, be)
	b := repotest.MustBackup(t, r, c)
	var added []string
	for _, name := range repotest.Objects(t, be) {
		if !slices.Contains(before, name) {
			added = append(added, name)
		}
	}
	want := []string{"commits/" + b.ID.String(), "sessions/" + b.ID.String()}
	if !slices.Equal(added, want) {
		t.Errorf("the second backup added %q, want %q", added, want)
	}
}

func TestDedupAcrossLanesStoresOnce(t *testing.T) {
	be, r := repotest.New(t)
	t.Cleanup(func() { repotest.MustCheck(t, be) })
	w, err := r.Begin(t.Context(), repo.WriterOptions{})
	if err != nil {
		t.Fatal(err)
	}
	blobs := make([][]byte, 300)
	for i := range blobs {
		blobs[i] = []byte(fmt.Sprintf("blob %d %s", i, strings.Repeat("x", i*13)))
	}
	var wg sync.WaitGroup
	for range 4 {
		lane := w.Lane()
		wg.Go(func() {
			for _, b := range blobs {
				if _, _, err := lane.Put(t.Context(), crypto.BlobData, b); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if got := w.Stats().Blobs; got != int64(len(blobs)) {
		t.Errorf("%d blobs stored, want %d", got, len(blobs))
	}
	if _, err := w.Commit(minimal()); err != nil {
		t.Fatal(err)
	}
	ix, err := repotest.Open(t, be).Index(t.Context())
	if err != nil || ix.Len() != len(blobs) {
		t.Errorf("index has %d rows (%v), want %d", ix.Len(), err, len(blobs))
	}
}

// minimal is a backup of nothing much.
func minimal() *snapshot.Backup {
	return &snapshot.Backup{Volumes: []snapshot.Volume{{Name: "v", Kind: snapshot.VolumePath, State: snapshot.Failed}}}
}

func TestTwoClientsAtOnce(t *testing.T) {
	be, _ := repotest.New(t)
	t.Cleanup(func() { repotest.MustCheck(t, be) })
	var wg sync.WaitGroup
	for client := range 4 {
		r := repotest.Open(t, be)
		wg.Go(func() {
			for round := range 5 {
				c := repotest.MakeContent(uint64(client*2+round), 20)
				b, err := repotest.Backup(t.Context(), r, c)
				if err != nil {
					t.Error(err)
					return
				}
				if err := repotest.Restore(t.Context(), repotest.Open(t, be), b, c); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	list, err := repotest.Open(t, be).Backups(t.Context())
	if err != nil || len(list) != 20 {
		t.Fatalf("%d backups, want 20 (%v)", len(list), err)
	}
	seen := map[crypto.SessionID]bool{}
	for _, b := range list {
		if seen[b.ID] {
			t.Errorf("id %s twice", b.ID)
		}
		seen[b.ID] = true
	}
}

func TestProbe(t *testing.T) {
	ready := func(t *testing.T) *mem.Backend {
		be, r := repotest.New(t)
		repotest.MustBackup(t, r, repotest.MakeContent(3, 5))
		return be
	}
	drop := func(t *testing.T, be backend.Backend, prefix string) {
		for _, name := range repotest.Objects(t, be) {
			if strings.HasPrefix(name, prefix) {
				if err := be.Delete(t.Context(), name); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	edit := func(t *testing.T, be backend.Backend, name string, f func([]byte) []byte) {
		b, err := backend.ReadAll(t.Context(), be, name, 1<<20)
		if err != nil {
			t.Fatal(err)
		}
		if err := be.Put(t.Context(), name, f(b)); err != nil {
			t.Fatal(err)
		}
	}
	slot := func(t *testing.T, be backend.Backend) string {
		for _, name := range repotest.Objects(t, be) {
			if strings.HasPrefix(name, "keys/") {
				return name
			}
		}
		t.Fatal("no slot")
		return ""
	}
	tests := []struct {
		name string
		make func(t *testing.T) *mem.Backend
		want repo.State
	}{
		{"empty", func(*testing.T) *mem.Backend { return mem.New() }, repo.Uninitialised},
		{"strangers", func(t *testing.T) *mem.Backend {
			be := mem.New()
			be.Put(t.Context(), "lost+found/x", nil)
			be.Put(t.Context(), "packs/readme.txt", []byte("hi"))
			be.Put(t.Context(), "index.html", []byte("hi"))
			return be
		}, repo.Uninitialised},
		{"ready", ready, repo.Sealed},
		{"config gone", func(t *testing.T) *mem.Backend { be := ready(t); drop(t, be, "config"); return be }, repo.Damaged},
		{"only keys, as a crashed init leaves", func(t *testing.T) *mem.Backend {
			be, _ := repotest.New(t)
			drop(t, be, "config")
			return be
		}, repo.Uninitialised},
		{"keys gone", func(t *testing.T) *mem.Backend { be := ready(t); drop(t, be, "keys/"); return be }, repo.Damaged},
		{"config empty", func(t *testing.T) *mem.Backend {
			be := ready(t)
			edit(t, be, "config", func([]byte) []byte { return nil })
			return be
		}, repo.Damaged},
		{"config flipped", func(t *testing.T) *mem.Backend {
			be := ready(t)
			edit(t, be, "config", func(b []byte) []byte { b[30] ^= 1; return b })
			return be
		}, repo.Damaged},
		{"the only slot flipped", func(t *testing.T) *mem.Backend {
			be := ready(t)
			edit(t, be, slot(t, be), func(b []byte) []byte { b[50] ^= 4; return b })
			return be
		}, repo.Damaged},
		{"slot under another name", func(t *testing.T) *mem.Backend {
			be := ready(t)
			name := slot(t, be)
			b, _ := backend.ReadAll(t.Context(), be, name, 1<<20)
			be.Delete(t.Context(), name)
			be.Put(t.Context(), "keys/0123456789abcdef", b)
			return be
		}, repo.Damaged},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			be := tt.make(t)
			if got := repo.Probe(t.Context(), be); got.State != tt.want {
				t.Errorf("state %s (%v), want %s", got.State, got.Err, tt.want)
			}
			before := repotest.Objects(t, be)
			_, err := repo.Init(t.Context(), be, repo.InitOptions{Passphrase: repotest.Passphrase, Cost: crypto.TestKDFCost, Params: repotest.Params()})
			if tt.want == repo.Uninitialised {
				if err != nil {
					t.Errorf("init: %v", err)
				}
				repotest.MustCheck(t, be)
				return
			}
			if err == nil {
				t.Error("init over something")
			}
			if after := repotest.Objects(t, be); !slices.Equal(before, after) {
				t.Errorf("a refused init changed the place: %q to %q", before, after)
			}
		})
	}
}

func TestUnreachable(t *testing.T) {
	be, _ := repotest.New(t)
	for _, failure := range []error{backend.ErrUnreachable, backend.ErrPermission, errors.New("connection reset")} {
		f := backendtest.NewFaulty(be)
		f.FailAt(1, backendtest.Before, failure)
		if got := repo.Probe(t.Context(), f); got.State != repo.Unreachable {
			t.Errorf("%v: state %s, want unreachable", failure, got.State)
		}
	}
}

func TestWrongPassphrase(t *testing.T) {
	be, _ := repotest.New(t)
	_, err := repo.Open(t.Context(), be, repo.OpenOptions{Passphrase: func() ([]byte, error) { return []byte("wrong"), nil }})
	if repo.StateOf(err) != repo.WrongKey {
		t.Errorf("error %v, want wrong key", err)
	}
}

func TestPassphraseNotAskedForNothing(t *testing.T) {
	asked := false
	_, err := repo.Open(t.Context(), mem.New(), repo.OpenOptions{Passphrase: func() ([]byte, error) { asked = true; return nil, nil }})
	if repo.StateOf(err) != repo.Uninitialised || asked {
		t.Errorf("error %v, asked %v", err, asked)
	}
}

func TestRacingInits(t *testing.T) {
	be := mem.New()
	var wg sync.WaitGroup
	errs := make([]error, 8)
	for i := range errs {
		wg.Go(func() {
			_, errs[i] = repo.Init(t.Context(), be, repo.InitOptions{
				Passphrase: []byte(fmt.Sprint("pass ", i)), Cost: crypto.TestKDFCost, Params: repotest.Params(),
			})
		})
	}
	wg.Wait()
	winner := -1
	for i, err := range errs {
		switch {
		case err == nil && winner >= 0:
			t.Fatalf("%d and %d both initialised", winner, i)
		case err == nil:
			winner = i
		case !errors.Is(err, repo.ErrExists):
			t.Errorf("loser: %v", err)
		}
	}
	if winner < 0 {
		t.Fatal("nobody won")
	}
	r, err := repo.Open(t.Context(), be, repo.OpenOptions{Passphrase: func() ([]byte, error) { return []byte(fmt.Sprint("pass ", winner)), nil }})
	if err != nil {
		t.Fatal(err)
	}
	if ps := repotest.Problems(t.Context(), r); len(ps) > 0 {
		t.Error(ps)
	}
}

// laxStore is a store that lets every create win.
type laxStore struct{ *mem.Backend }

func (s laxStore) Create(ctx context.Context, name string, data []byte) error {
	return s.Put(ctx, name, data)
}

func TestInitRefusesStoreWithoutExclusiveCreate(t *testing.T) {
	p := repotest.Params()
	o := repo.InitOptions{Passphrase: repotest.Passphrase, Cost: crypto.TestKDFCost, Params: p}
	be := laxStore{mem.New()}
	if _, err := repo.Init(t.Context(), be, o); !errors.Is(err, repo.ErrNoExclusiveCreate) {
		t.Fatalf("error %v", err)
	}
	if got := repotest.Objects(t, be); len(got) != 0 {
		t.Errorf("left behind %q", got)
	}
	o.Params.Sharing = repo.SingleWriter
	if _, err := repo.Init(t.Context(), be, o); err != nil {
		t.Errorf("single writer: %v", err)
	}
}

func TestCancelledBackupCommitsNothing(t *testing.T) {
	be, r := repotest.New(t)
	t.Cleanup(func() { repotest.MustCheck(t, be) })
	ctx, cancel := context.WithCancel(t.Context())
	w, err := r.Begin(ctx, repo.WriterOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := repotest.Put(ctx, r, w.Lane(), repotest.MakeContent(4, 30)); err != nil {
		t.Fatal(err)
	}
	cancel()
	if _, err := w.Commit(minimal()); !errors.Is(err, context.Canceled) {
		t.Errorf("commit after cancellation: %v", err)
	}
	if list, _ := repotest.Open(t, be).Backups(t.Context()); len(list) != 0 {
		t.Errorf("%d backups visible", len(list))
	}
}

func TestAbortLeavesNothingVisible(t *testing.T) {
	be, r := repotest.New(t)
	t.Cleanup(func() { repotest.MustCheck(t, be) })
	before := repotest.Objects(t, be)
	w, err := r.Begin(t.Context(), repo.WriterOptions{})
	if err != nil {
		t.Fatal(err)
	}
	w.Lane().Put(t.Context(), crypto.BlobData, []byte("never stored"))
	w.Abort()
	w.Abort() // twice does no harm
	if after := repotest.Objects(t, be); !slices.Equal(before, after) {
		t.Errorf("objects %q, before %q", after, before)
	}
}

func TestDryRunStoresNothing(t *testing.T) {
	be, r := repotest.New(t)
	before := repotest.Objects(t, be)
	w, err := r.Begin(t.Context(), repo.WriterOptions{DryRun: true})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := repotest.Put(t.Context(), r, w.Lane(), repotest.MakeContent(5, 10)); err != nil {
		t.Fatal(err)
	}
	if w.Stats().Blobs == 0 {
		t.Error("nothing counted")
	}
	w.Abort()
	if after := repotest.Objects(t, be); !slices.Equal(before, after) {
		t.Errorf("objects %q, before %q", after, before)
	}
}

func TestFullStore(t *testing.T) {
	be, r := repotest.New(t)
	t.Cleanup(func() { repotest.MustCheck(t, be) })
	kept := repotest.MakeContent(6, 10)
	b := repotest.MustBackup(t, r, kept)
	f := backendtest.NewFaulty(be)
	full := repotest.Open(t, f)
	f.Inject(backendtest.Fault{At: 1, Match: func(o backendtest.Op) bool { return o.Kind == backendtest.Put }, Err: backend.ErrNoSpace})
	if _, err := repotest.Backup(t.Context(), full, repotest.MakeContent(60, 60)); !errors.Is(err, backend.ErrNoSpace) {
		t.Errorf("error %v, want no space", err)
	}
	if err := repotest.Restore(t.Context(), repotest.Open(t, be), b, kept); err != nil {
		t.Error(err)
	}
}

func TestMissingPackIsDamage(t *testing.T) {
	be, r := repotest.New(t)
	c := repotest.MakeContent(8, 30)
	b := repotest.MustBackup(t, r, c)
	ix, _ := repotest.Open(t, be).Index(t.Context())
	packs := map[pack.ID]bool{}
	for s := range ix.Segments() {
		for p := range s.Packs() {
			if p.Kind == crypto.BlobData {
				packs[p.ID] = true
			}
		}
	}
	victim := slices.Collect(maps.Keys(packs))[0]
	if err := be.Delete(t.Context(), victim.Path()); err != nil {
		t.Fatal(err)
	}
	err := repotest.Restore(t.Context(), repotest.Open(t, be), b, c)
	if repo.StateOf(err) != repo.Damaged || !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("restore: %v", err)
	}
	found := false
	for _, p := range repotest.Problems(t.Context(), repotest.Open(t, be)) {
		found = found || p.Object == victim.Path()
	}
	if !found {
		t.Error("check does not name the missing pack")
	}
}
