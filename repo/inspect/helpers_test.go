package inspect

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/hex"
	"flag"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"vault/backend"
	"vault/backend/mem"
	"vault/crypto"
	"vault/pack"
	"vault/repo"
	"vault/snapshot"
)

var update = flag.Bool("update", os.Getenv("UPDATE_GOLDEN") != "", "write testdata and the examples of docs/format.md again")

// counter is "randomness": 64-bit numbers, big endian, counted from 0.
type counter struct {
	mu sync.Mutex
	n  uint64
	b  []byte
}

func (c *counter) Read(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for len(c.b) < len(p) {
		c.b = binary.BigEndian.AppendUint64(c.b, c.n)
		c.n++
	}
	n := copy(p, c.b)
	c.b = c.b[n:]
	return n, nil
}

const passphrase = "correct horse battery staple"

var (
	clock = time.Date(2026, 7, 14, 12, 30, 15, 0, time.UTC)
	stamp = snapshot.TimeOf(clock)
)

// example is a tiny repository made of fixed keys, randomness and content.
type example struct {
	be      *mem.Backend
	keys    *crypto.Keys
	opened  crypto.OpenedSlot
	objects map[string][]byte // by name, and one page as "tree/<id>"
	first   map[string]string // by kind, the name of the one that documents it
}

// sink lets a lane build trees.
type sink struct{ *repo.Lane }

func (s sink) Put(ctx context.Context, kind crypto.BlobKind, data []byte) (crypto.ID, error) {
	id, _, err := s.Lane.Put(ctx, kind, data)
	return id, err
}

func must[T any](t testing.TB) func(T, error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

// newExample makes the repository: a backup that is forgotten and labelled, a
// second one, and a collection that drops the first but deletes nothing yet.
func newExample(t testing.TB) *example {
	t.Helper()
	ctx := t.Context()
	x := &example{be: mem.New(), objects: map[string][]byte{}, first: map[string]string{}}
	params := repo.DefaultParams()
	params.Compression = pack.LevelNone
	r := must[*repo.Repo](t)(repo.Init(ctx, x.be, repo.InitOptions{
		Passphrase: []byte(passphrase), Cost: crypto.TestKDFCost, AEAD: crypto.AESGCM, Params: params, Label: "first",
		Env: repo.Env{
			Now:   func() time.Time { return clock },
			After: func(time.Duration) <-chan time.Time { return nil },
			Rand:  crypto.Reproducible{Reader: &counter{}}, Host: "host", PID: 42, Agent: "vault 1",
		},
	}))
	x.keys = r.Keys()
	page := ""
	a := x.backup(t, r, "file", "one", &page)
	if err := r.Forget(ctx, a.ID, repo.Event{User: "user"}); err != nil {
		t.Fatal(err)
	}
	b := x.backup(t, r, "data", "two", &page)
	if err := r.Tag(ctx, a.ID, repo.Event{User: "user", Tags: []repo.TagChange{{Key: "keep", Value: "yes"}, {Remove: true, Key: "app", Value: "demo"}}}); err != nil {
		t.Fatal(err)
	}
	if err := r.Note(ctx, a.ID, repo.Event{User: "user", Key: "verified", Value: []byte{1, 2, 3}}); err != nil {
		t.Fatal(err)
	}
	x.collect(t, r, a.ID, b.ID)
	for info, err := range x.be.List(ctx, "") {
		if err != nil {
			t.Fatal(err)
		}
		x.objects[info.Name] = must[[]byte](t)(backend.ReadAll(ctx, x.be, info.Name, 1<<30))
	}
	x.document(t, page)
	return x
}

// collect writes the records of a collection that drops a backup, here encoded
// from the specification. The repository must take them.
func (x *example) collect(t testing.TB, r *repo.Repo, dropped, live crypto.SessionID) {
	t.Helper()
	ctx := t.Context()
	if ok := must[bool](t)(r.Collect(ctx, dropped, repo.Event{})); !ok {
		t.Fatal("the backup is not forgotten")
	}
	var names []byte
	segments := 0
	for info, err := range x.be.List(ctx, "index/") {
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, must[[]byte](t)(hex.DecodeString(info.Name[len("index/"):]))...)
		segments++
	}
	none := make([]byte, 32)
	plan := slices.Concat([]byte{1, 1}, none, []byte{0, 0, 0, 1}, dropped[:], []byte{0})
	done := slices.Concat([]byte{1, 1}, none, []byte{byte(segments)}, names, []byte{1}, live[:], []byte{0, 0, 0})
	rand := crypto.Reproducible{Reader: &counter{n: 1 << 32}}
	for _, k := range []struct {
		kind    crypto.Kind
		name    string
		payload []byte
	}{{crypto.KindPlan, "gc/0000000001.plan", plan}, {crypto.KindDone, "gc/0000000001.done", done}} {
		object := must[[]byte](t)(r.Keys().SealEnvelope(k.kind, crypto.SessionID{}, k.name, k.payload, rand))
		if err := x.be.Create(ctx, k.name, object); err != nil {
			t.Fatal(err)
		}
	}
	if list := must[[]*snapshot.Backup](t)(r.Backups(ctx)); len(list) != 1 || list[0].ID != live {
		t.Fatalf("after the collection there are the backups %v", list)
	}
	for name, err := range r.CheckRecords(ctx) {
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
	}
}

// backup stores a volume with one of every kind of entry.
func (x *example) backup(t testing.TB, r *repo.Repo, name, text string, page *string) *snapshot.Backup {
	t.Helper()
	ctx := t.Context()
	w := must[*repo.Writer](t)(r.Begin(ctx, repo.WriterOptions{}))
	l := w.Lane()
	data := []byte(strings.Repeat(text+" ", 50))
	id := must[crypto.ID](t)(sink{l}.Put(ctx, crypto.BlobData, data))
	d := snapshot.NewDirWriter(sink{l}, r, r.Params().Trees)
	empty := must[crypto.ID](t)(d.Finish(ctx))
	d = snapshot.NewDirWriter(sink{l}, r, r.Params().Trees)
	for _, n := range []*snapshot.Node{
		{Name: "a-directory", Type: snapshot.Directory, Mode: 0o755, MTime: stamp, CTime: stamp, Inode: 2, Tree: empty},
		{Name: "b-file", Type: snapshot.File, Mode: 0o4644, UID: 1000, GID: 1000, User: "user", Group: "users", MTime: stamp, CTime: stamp,
			Inode: 3, Links: 2, Size: uint64(len(data)) + 4096, Xattrs: []snapshot.Xattr{{Name: "user.color", Value: []byte("blue")}},
			Content: snapshot.Content{Items: []snapshot.Item{{Kind: snapshot.ItemData, Length: uint64(len(data)), ID: id}, {Kind: snapshot.ItemHole, Length: 4096}}}},
		{Name: "c-" + name, Type: snapshot.File, Mode: 0o600, MTime: snapshot.Time{Sec: -1, Nsec: 5e8}, CTime: stamp, Inode: 4, Size: 3, Content: snapshot.Content{Inline: []byte(text)}},
		{Name: "d-link", Type: snapshot.Symlink, Mode: 0o777, MTime: stamp, CTime: stamp, Inode: 5, Target: "b-file"},
		{Name: "e-device", Type: snapshot.CharDevice, Mode: 0o666, MTime: stamp, CTime: stamp, Inode: 6, Device: 1, Major: 1, Minor: 3},
	} {
		if err := d.Add(ctx, n); err != nil {
			t.Fatal(err)
		}
	}
	top := must[crypto.ID](t)(d.Finish(ctx))
	root := &snapshot.Node{Type: snapshot.Directory, Mode: 0o755, MTime: stamp, CTime: stamp, Inode: 1, Tree: top}
	b := must[*snapshot.Backup](t)(w.Commit(&snapshot.Backup{
		Host: "host", User: "user", Group: "daily", Tags: []snapshot.Tag{{Key: "app", Value: "demo"}},
		Time: stamp, Started: stamp, Finished: stamp,
		Volumes: []snapshot.Volume{{
			Name: "docs", Kind: snapshot.VolumePath, Source: "/home/user/docs", State: snapshot.Partial, ScanStarted: stamp,
			Files: snapshot.Counts{New: 2}, Directories: snapshot.Counts{New: 1}, Others: 2, BytesProcessed: 203, BytesAdded: 200, BytesStored: 216,
			ProblemCount: 1, Problems: []snapshot.Problem{{Path: "secret", Message: "permission denied"}}, Root: root,
		}},
	}))
	if *page == "" {
		*page = "tree/" + top.String()
		x.objects[*page] = must[[]byte](t)(r.Get(ctx, crypto.BlobTree, top, nil))
		for _, kind := range []string{"sessions/", "commits/"} {
			x.first[strings.TrimSuffix(kind, "s/")] = kind + b.ID.String()
		}
		for info := range x.be.List(ctx, "index/") {
			x.first["index"] = info.Name
		}
		for info := range x.be.List(ctx, "packs/") {
			object := must[[]byte](t)(backend.ReadAll(ctx, x.be, info.Name, 1<<30))
			d, _, err := pack.ReadDirectory(r.Keys(), int64(len(object)), func(off int64, dst []byte) error { copy(dst, object[off:]); return nil })
			if err != nil {
				t.Fatal(err)
			}
			if d.Kind == crypto.BlobData {
				x.first["pack"] = info.Name
			} else {
				x.first["pack of pages"] = info.Name
			}
		}
	}
	return b
}

// document chooses the objects that stand for their kinds.
func (x *example) document(t testing.TB, page string) {
	for name, object := range x.objects {
		switch dir, _, _ := strings.Cut(name, "/"); dir {
		case "keys":
			x.first["key"] = name
			slot := must[crypto.Slot](t)(crypto.ParseSlot(object))
			x.opened = must[crypto.OpenedSlot](t)(slot.Open([]byte(passphrase)))
		case "config":
			x.first["config"] = name
		case "events":
			x.first["event"+strings.TrimLeft(filepath.Base(name), "0")] = name
		case "gc":
			x.first[filepath.Ext(name)[1:]] = name
		}
	}
	x.first["tree"] = page
}

// report explains the object that stands for a kind.
func (x *example) report(kind string) Report {
	name := x.first[kind]
	if kind == "key" {
		return Slot(name, x.objects[name], x.opened)
	}
	return Object(name, x.objects[name], x.keys)
}

// golden compares with a file, or writes it.
func golden(t *testing.T, file string, got []byte) {
	t.Helper()
	file = filepath.Join("testdata", file)
	if *update {
		if err := os.WriteFile(file, got, 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s differs; if that is meant, run the test with -update and read the diff. Got:\n%s", file, got)
	}
}
