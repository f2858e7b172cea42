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
	"vault/pack"
	"vault/repo"
	"vault/snapshot"
)

func TestBackupAndRestore(t *testing.T) {
	be, r := newStore(t)
	t.Cleanup(func() { mustCheck(t, be) })
	first, second := makeContent(1, 60), makeContent(1, 60)
	second["file-007"] = []byte(strings.Repeat("changed", 500))
	a := mustBackup(t, r, first)
	b := mustBackup(t, r, second)

	r = openRepo(t, be)
	list, err := r.Backups(t.Context())
	if err != nil || len(list) != 2 || list[0].ID != a.ID || list[1].ID != b.ID {
		t.Fatalf("backups: %v, %v", list, err)
	}
	for i, want := range []content{first, second} {
		if err := restore(t.Context(), r, list[i], want); err != nil {
			t.Errorf("backup %d: %v", i, err)
		}
	}
}

func TestUnchangedAddsSessionAndCommit(t *testing.T) {
	be, r := newStore(t)
	t.Cleanup(func() { mustCheck(t, be) })
	c := makeContent(2, 40)
	mustBackup(t, r, c)
	before := objects(t, be)
	b := mustBackup(t, r, c)
	var added []string
	for _, name := range objects(t, be) {
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
	be, r := newStore(t)
	t.Cleanup(func() { mustCheck(t, be) })
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
	ix, err := openRepo(t, be).Index(t.Context())
	if err != nil || ix.Len() != len(blobs) {
		t.Errorf("index has %d rows (%v), want %d", ix.Len(), err, len(blobs))
	}
}

// minimal is a backup of nothing much.
func minimal() *snapshot.Backup {
	return &snapshot.Backup{Volumes: []snapshot.Volume{{Name: "v", Kind: snapshot.VolumePath, State: snapshot.Failed}}}
}

func TestTwoClientsAtOnce(t *testing.T) {
	be, _ := newStore(t)
	t.Cleanup(func() { mustCheck(t, be) })
	var wg sync.WaitGroup
	for client := range 4 {
		r := openRepo(t, be)
		wg.Go(func() {
			for round := range 5 {
				c := makeContent(uint64(client*2+round), 20)
				b, err := backup(t.Context(), r, c)
				if err != nil {
					t.Error(err)
					return
				}
				if err := restore(t.Context(), openRepo(t, be), b, c); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	list, err := openRepo(t, be).Backups(t.Context())
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
		be, r := newStore(t)
		mustBackup(t, r, makeContent(3, 5))
		return be
	}
	drop := func(t *testing.T, be backend.Backend, prefix string) {
		for _, name := range objects(t, be) {
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
		for _, name := range objects(t, be) {
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
			be, _ := newStore(t)
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
			before := objects(t, be)
			_, err := repo.Init(t.Context(), be, repo.InitOptions{Passphrase: passphrase, Cost: crypto.TestKDFCost, Params: smallParams()})
			if tt.want == repo.Uninitialised {
				if err != nil {
					t.Errorf("init: %v", err)
				}
				mustCheck(t, be)
				return
			}
			if err == nil {
				t.Error("init over something")
			}
			if after := objects(t, be); !slices.Equal(before, after) {
				t.Errorf("a refused init changed the place: %q to %q", before, after)
			}
		})
	}
}

func TestUnreachable(t *testing.T) {
	be, _ := newStore(t)
	for _, failure := range []error{backend.ErrUnreachable, backend.ErrPermission, errors.New("connection reset")} {
		f := backendtest.NewFaulty(be)
		f.FailAt(1, backendtest.Before, failure)
		if got := repo.Probe(t.Context(), f); got.State != repo.Unreachable {
			t.Errorf("%v: state %s, want unreachable", failure, got.State)
		}
	}
}

func TestWrongPassphrase(t *testing.T) {
	be, _ := newStore(t)
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
				Passphrase: []byte(fmt.Sprint("pass ", i)), Cost: crypto.TestKDFCost, Params: smallParams(),
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
	if ps := problems(t.Context(), r); len(ps) > 0 {
		t.Error(ps)
	}
}

// laxStore is a store that lets every create win.
type laxStore struct{ *mem.Backend }

func (s laxStore) Create(ctx context.Context, name string, data []byte) error {
	return s.Put(ctx, name, data)
}

func TestInitRefusesStoreWithoutExclusiveCreate(t *testing.T) {
	p := smallParams()
	o := repo.InitOptions{Passphrase: passphrase, Cost: crypto.TestKDFCost, Params: p}
	be := laxStore{mem.New()}
	if _, err := repo.Init(t.Context(), be, o); !errors.Is(err, repo.ErrNoExclusiveCreate) {
		t.Fatalf("error %v", err)
	}
	if got := objects(t, be); len(got) != 0 {
		t.Errorf("left behind %q", got)
	}
	o.Params.Sharing = repo.SingleWriter
	if _, err := repo.Init(t.Context(), be, o); err != nil {
		t.Errorf("single writer: %v", err)
	}
}

func TestCancelledBackupCommitsNothing(t *testing.T) {
	be, r := newStore(t)
	t.Cleanup(func() { mustCheck(t, be) })
	ctx, cancel := context.WithCancel(t.Context())
	w, err := r.Begin(ctx, repo.WriterOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := put(ctx, r, w.Lane(), makeContent(4, 30)); err != nil {
		t.Fatal(err)
	}
	cancel()
	if _, err := w.Commit(minimal()); !errors.Is(err, context.Canceled) {
		t.Errorf("commit after cancellation: %v", err)
	}
	if list, _ := openRepo(t, be).Backups(t.Context()); len(list) != 0 {
		t.Errorf("%d backups visible", len(list))
	}
}

func TestAbortLeavesNothingVisible(t *testing.T) {
	be, r := newStore(t)
	t.Cleanup(func() { mustCheck(t, be) })
	before := objects(t, be)
	w, err := r.Begin(t.Context(), repo.WriterOptions{})
	if err != nil {
		t.Fatal(err)
	}
	w.Lane().Put(t.Context(), crypto.BlobData, []byte("never stored"))
	w.Abort()
	w.Abort() // twice does no harm
	if after := objects(t, be); !slices.Equal(before, after) {
		t.Errorf("objects %q, before %q", after, before)
	}
}

func TestDryRunStoresNothing(t *testing.T) {
	be, r := newStore(t)
	before := objects(t, be)
	w, err := r.Begin(t.Context(), repo.WriterOptions{DryRun: true})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := put(t.Context(), r, w.Lane(), makeContent(5, 10)); err != nil {
		t.Fatal(err)
	}
	if w.Stats().Blobs == 0 {
		t.Error("nothing counted")
	}
	w.Abort()
	if after := objects(t, be); !slices.Equal(before, after) {
		t.Errorf("objects %q, before %q", after, before)
	}
}

func TestFullStore(t *testing.T) {
	be, r := newStore(t)
	t.Cleanup(func() { mustCheck(t, be) })
	kept := makeContent(6, 10)
	b := mustBackup(t, r, kept)
	f := backendtest.NewFaulty(be)
	full := openRepo(t, f)
	f.Inject(backendtest.Fault{At: 1, Match: func(o backendtest.Op) bool { return o.Kind == backendtest.Put }, Err: backend.ErrNoSpace})
	if _, err := backup(t.Context(), full, makeContent(60, 60)); !errors.Is(err, backend.ErrNoSpace) {
		t.Errorf("error %v, want no space", err)
	}
	if err := restore(t.Context(), openRepo(t, be), b, kept); err != nil {
		t.Error(err)
	}
}

func TestMissingPackIsDamage(t *testing.T) {
	be, r := newStore(t)
	c := makeContent(8, 30)
	b := mustBackup(t, r, c)
	ix, _ := openRepo(t, be).Index(t.Context())
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
	err := restore(t.Context(), openRepo(t, be), b, c)
	if repo.StateOf(err) != repo.Damaged || !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("restore: %v", err)
	}
	found := false
	for _, p := range problems(t.Context(), openRepo(t, be)) {
		found = found || p.Object == victim.Path()
	}
	if !found {
		t.Error("check does not name the missing pack")
	}
}
