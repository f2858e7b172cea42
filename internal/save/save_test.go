package save

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"vault/backend/mem"
	"vault/internal/repotest"
	"vault/repo"
	"vault/snapshot"
	"vault/snapshot/archive"
)

// place is a repository, and a directory to save.
type place struct {
	t   *testing.T
	dir string
	be  *mem.Backend
	r   *repo.Repo
}

func newPlace(t *testing.T) *place {
	be, r := repotest.New(t)
	t.Cleanup(func() { repotest.MustCheck(t, be) })
	return &place{t: t, dir: t.TempDir(), be: be, r: r}
}

// write makes a file of n random bytes that seed decides.
func (p *place) write(name string, seed uint64, n int) {
	p.t.Helper()
	b := make([]byte, n)
	rnd := rand.NewChaCha8([32]byte{byte(seed)})
	rnd.Read(b)
	path := filepath.Join(p.dir, name)
	if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, b, 0o644)); err != nil {
		p.t.Fatal(err)
	}
}

func (p *place) options() Options {
	now := snapshot.TimeOf(time.Now())
	return Options{
		Volumes: []archive.Volume{{Name: "data", Source: archive.Path{Path: p.dir}}},
		Backup:  snapshot.Backup{Host: "host", Group: "app", Time: now, Started: now},
		Warn:    func(about string, err error) { p.t.Logf("%s: %v", about, err) },
	}
}

func (p *place) run(o Options) Report {
	p.t.Helper()
	report, err := Run(context.Background(), p.r, o)
	if err != nil {
		p.t.Fatal(err)
	}
	return report
}

// backups counts what another client sees.
func (p *place) backups() int {
	p.t.Helper()
	list, err := repotest.Open(p.t, p.be).Backups(context.Background())
	if err != nil {
		p.t.Fatal(err)
	}
	return len(list)
}

// size is what the repository takes.
func (p *place) size() (n int64) {
	for info, err := range p.be.List(context.Background(), "") {
		if err != nil {
			p.t.Fatal(err)
		}
		n += info.Size
	}
	return n
}

// read returns a file of a backup.
func (p *place) read(b *snapshot.Backup, name string) []byte {
	p.t.Helper()
	data, err := fs.ReadFile(snapshot.FS(context.Background(), repotest.Open(p.t, p.be), b.Volume("data").Root), name)
	if err != nil {
		p.t.Fatal(err)
	}
	return data
}

func (p *place) same(b *snapshot.Backup, name string) {
	p.t.Helper()
	want, err := os.ReadFile(filepath.Join(p.dir, name))
	if err != nil {
		p.t.Fatal(err)
	}
	if string(p.read(b, name)) != string(want) {
		p.t.Errorf("%s is not what it was", name)
	}
}

func TestParents(t *testing.T) {
	p := newPlace(t)
	p.write("a", 1, 100<<10)
	first := p.run(p.options())
	if first.Outcome != Committed || len(first.Backup.Parents) != 0 || first.Stats.Blobs == 0 {
		t.Fatalf("%+v", first)
	}
	second := p.run(p.options())
	if len(second.Backup.Parents) != 1 || second.Backup.Parents[0] != first.Backup.ID || second.Parents["data"] == nil {
		t.Errorf("parents are %v", second.Backup.Parents)
	}
	o := p.options()
	o.Backup.Group = "other"
	if other := p.run(o); len(other.Backup.Parents) != 0 {
		t.Errorf("the parent is of another group: %v", other.Backup.Parents)
	}
	o = p.options()
	o.Parent = first.Backup.ID.String()[:12]
	if chosen := p.run(o); chosen.Backup.Parents[0] != first.Backup.ID {
		t.Errorf("asked for %s, got %v", first.Backup.ID, chosen.Backup.Parents)
	}
	o.Parent = NoParent
	if none := p.run(o); len(none.Backup.Parents) != 0 {
		t.Errorf("no parent is wanted: %v", none.Backup.Parents)
	}
	o.Parent = "zzzz"
	if _, err := Run(context.Background(), p.r, o); !errors.Is(err, snapshot.ErrNoBackup) {
		t.Errorf("a parent that does not exist: %v", err)
	}
}

// TestRefused: whatever the reason, nothing becomes visible.
func TestRefused(t *testing.T) {
	wrong := errors.New("the dump is too short")
	for name, tc := range map[string]struct {
		change func(p *place, o *Options)
		want   error
	}{
		"every volume failed": {func(_ *place, o *Options) {
			o.Volumes = []archive.Volume{{Name: "db", Source: archive.Command{Shell: "echo half; exit 3"}}}
		}, ErrNothing},
		"one failed, all required": {func(_ *place, o *Options) {
			o.RequireAll = true
			o.Volumes = append(o.Volumes, archive.Volume{Name: "db", Source: archive.Command{Shell: "exit 3"}})
		}, ErrNotWhole},
		"judged": {func(_ *place, o *Options) {
			o.Judge = func(b *snapshot.Backup) error {
				if b.Volume("data").Root == nil {
					return errors.New("judged before it was read")
				}
				return wrong
			}
		}, wrong},
	} {
		t.Run(name, func(t *testing.T) {
			p := newPlace(t)
			p.write("a", 1, 10)
			o := p.options()
			tc.change(p, &o)
			if r := p.run(o); r.Outcome != Refused || !errors.Is(r.Err, tc.want) {
				t.Errorf("%v, %v", r.Outcome, r.Err)
			}
			if n := p.backups(); n != 0 {
				t.Errorf("%d backups are visible", n)
			}
		})
	}
}

func TestUnchanged(t *testing.T) {
	p := newPlace(t)
	p.write("a", 1, 10)
	o := p.options()
	o.SkipUnchanged = true
	if r := p.run(o); r.Outcome != Committed {
		t.Fatalf("the first one: %v", r.Outcome)
	}
	if r := p.run(o); r.Outcome != Unchanged || p.backups() != 1 {
		t.Errorf("%v, %d backups", r.Outcome, p.backups())
	}
	p.write("b", 2, 10)
	if r := p.run(o); r.Outcome != Committed || p.backups() != 2 {
		t.Errorf("%v, %d backups", r.Outcome, p.backups())
	}
}

// TestPrewarm: what there is before Around is called is not stored again inside,
// what changes inside is what the backup has, and a stream is read once.
func TestPrewarm(t *testing.T) {
	p := newPlace(t)
	const files, each = 40, 100 << 10
	for i := range files {
		p.write(fmt.Sprintf("big/%d", i), uint64(i), each)
	}
	p.write("log", 50, 10<<10)
	var before, inside int64
	dumps := 0
	o := p.options()
	o.Prewarm = true
	o.Volumes = append(o.Volumes, archive.Volume{Name: "db", Source: counted{&dumps}})
	o.Around = func(ctx context.Context, read func(context.Context) error) error {
		before = p.size()
		p.write("log", 51, 20<<10)
		p.write("new", 52, 5<<10)
		err := read(ctx)
		inside = p.size() - before
		p.write("log", 53, 30<<10) // the application goes on
		return err
	}
	p.write("log", 51, 20<<10)
	want, _ := os.ReadFile(filepath.Join(p.dir, "log"))
	p.write("log", 50, 10<<10)
	report := p.run(o)
	if report.Outcome != Committed || !report.Backup.Complete() {
		t.Fatalf("%+v", report)
	}
	if before < files*each || inside > 256<<10 {
		t.Errorf("%d bytes were stored before, %d inside", before, inside)
	}
	if dumps != 1 {
		t.Errorf("the dump was made %d times", dumps)
	}
	if string(p.read(&report.Backup, "log")) != string(want) {
		t.Error("log is not what it was inside")
	}
	p.same(&report.Backup, "new")
	p.same(&report.Backup, "big/7")
}

// TestAroundFails: an error there commits nothing.
func TestAroundFails(t *testing.T) {
	p := newPlace(t)
	p.write("a", 1, 10)
	stuck := errors.New("the application does not stop")
	o := p.options()
	o.Around = func(context.Context, func(context.Context) error) error { return stuck }
	if _, err := Run(context.Background(), p.r, o); !errors.Is(err, stuck) || p.backups() != 0 {
		t.Errorf("%v, %d backups", err, p.backups())
	}
}

// TestInterrupted: what was stored is kept, and the next run stores little.
func TestInterrupted(t *testing.T) {
	p := newPlace(t)
	for i := range 30 {
		p.write(fmt.Sprintf("f%d", i), uint64(i), 100<<10)
	}
	ctx, cancel := context.WithCancelCause(context.Background())
	o := p.options()
	o.Prewarm = true // all is stored when the application would be stopped
	told := false
	o.Keeping = func() { told = true }
	o.Around = func(ctx context.Context, read func(context.Context) error) error {
		cancel(errors.New("SIGTERM"))
		return read(ctx)
	}
	report, err := Run(ctx, p.r, o)
	if err != nil || report.Outcome != Interrupted || !report.Kept || report.KeepErr != nil || !told {
		t.Fatalf("%+v, %v", report, err)
	}
	if p.backups() != 0 {
		t.Error("a backup is visible")
	}
	p.r = repotest.Open(t, p.be)
	again := p.run(p.options())
	if again.Outcome != Committed || again.Stats.Stored > report.Stats.Stored/10 {
		t.Errorf("%v: stored %d bytes, then %d again", again.Outcome, report.Stats.Stored, again.Stats.Stored)
	}
}

// counted is a dump that says how often it was made.
type counted struct{ times *int }

func (c counted) Describe() (snapshot.VolumeKind, string) { return snapshot.VolumeCommand, "dump" }
func (c counted) Open(context.Context) (io.ReadCloser, error) {
	*c.times++
	return io.NopCloser(strings.NewReader("CREATE TABLE")), nil
}

// TestVanished empties the repository while a backup is being read: neither that
// it was stored nor that it equals its parent may be said then.
func TestVanished(t *testing.T) {
	for _, skip := range []bool{false, true} {
		be, r := repotest.New(t)
		p := &place{t: t, dir: t.TempDir(), be: be, r: r}
		p.write("file", 1, 100_000)
		p.run(p.options())
		repotest.MustCheck(t, be)
		o := p.options()
		o.SkipUnchanged = skip
		o.Around = func(ctx context.Context, read func(context.Context) error) error {
			err := read(ctx)
			for _, name := range repotest.Objects(t, be) {
				err = errors.Join(err, be.Delete(ctx, name))
			}
			return err
		}
		report, err := Run(t.Context(), r, o)
		if !errors.Is(err, repo.ErrVanished) || report.Outcome != 0 {
			t.Errorf("unchanged ones skipped: %v: outcome %d, error %v", skip, report.Outcome, err)
		}
	}
}
