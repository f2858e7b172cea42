package transfer_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"vault/backend/backendtest"
	"vault/backend/mem"
	"vault/crypto"
	"vault/internal/repotest"
	"vault/repo"
	"vault/repo/transfer"
	"vault/snapshot"
)

// store is a repository in memory that counts what is asked of it.
type store struct {
	be   *backendtest.Faulty
	r    *repo.Repo
	seen *int // operations recorded before reset
}

func newStore(t *testing.T) store { return storeOf(t, repotest.Params()) }

func storeOf(t *testing.T, p repo.Params) store {
	t.Helper()
	be := mem.New()
	if _, err := repo.Init(t.Context(), be, repo.InitOptions{Passphrase: repotest.Passphrase, Cost: crypto.TestKDFCost, Params: p}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { repotest.MustCheck(t, be) })
	s := store{be: backendtest.NewFaulty(be), seen: new(int)}
	s.r = s.open(t)
	return s
}

// open opens it anew: nothing that was read before is remembered.
func (s store) open(t *testing.T) *repo.Repo {
	t.Helper()
	return repotest.Open(t, s.be)
}

// reset begins to count anew.
func (s store) reset() { *s.seen = s.be.Count() }

// count returns how often anything was asked since.
func (s store) count() int { return s.be.Count() - *s.seen }

// gets returns how often packs were read since the record was reset.
func (s store) gets(prefix string) (n int) {
	for _, op := range s.be.Ops()[*s.seen:] {
		if op.Kind == backendtest.Get && strings.HasPrefix(op.Name, prefix) {
			n++
		}
	}
	return n
}

// run copies everything unless o says what.
func run(ctx context.Context, dst, src *repo.Repo, o transfer.Options) (transfer.Report, error) {
	if o.Backups == nil {
		var err error
		if o.Backups, err = src.Backups(ctx); err != nil {
			return transfer.Report{}, err
		}
	}
	return transfer.Run(ctx, dst, src, o)
}

func mustRun(t *testing.T, dst, src *repo.Repo, o transfer.Options) transfer.Report {
	t.Helper()
	report, err := run(t.Context(), dst, src, o)
	if err != nil {
		t.Fatal(err)
	}
	return report
}

// outcomes returns the outcomes, oldest backup first.
func outcomes(r transfer.Report) string {
	var list []string
	for _, c := range r.Copies {
		list = append(list, c.Outcome.String())
	}
	return strings.Join(list, " ")
}

func backups(t *testing.T, r *repo.Repo) []*snapshot.Backup {
	t.Helper()
	list, err := r.Backups(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return list
}

// TestSame: whatever is in the trees, the copy is what a backup of the same into
// the target would be, as a first copy and as a later one; also where the target's
// thresholds are others.
func TestSame(t *testing.T) {
	other := repotest.Params()
	other.Trees.InlineFile, other.Trees.InlineItems, other.Trees.SinglePage = 700, 3, 4
	none := repotest.Params()
	none.Trees.InlineFile, none.SegmentSize, none.PackSize = 20, 16<<10, 256<<10
	for name, p := range map[string]repo.Params{"alike": repotest.Params(), "more in place": other, "less in place": none} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for seed := range uint64(2) {
				src, dst := newStore(t), storeOf(t, p)
				m := newMaker(seed)
				roots := map[string]*entry{"data": m.dir("", 24, 2), "dump": m.any("")}
				roots["dump"].node.Type, roots["dump"].node.Target, roots["dump"].node.Major, roots["dump"].node.Minor = snapshot.File, "", 0, 0
				for version := range 4 {
					if version > 0 {
						change(m, roots["data"])
						m.add(roots["dump"], 2000)
					}
					save(t, src.r, snapshot.Backup{Time: snapshot.Time{Sec: int64(version)}}, roots)
					report := mustRun(t, dst.open(t), src.open(t), transfer.Options{Workers: 3})
					if report.Count(transfer.Copied) != 1 || report.Count(transfer.Present) != version {
						t.Fatalf("seed %d version %d: %s", seed, version, outcomes(report))
					}
					list := backups(t, dst.r)
					for i := range list[version].Volumes {
						v := &list[version].Volumes[i]
						mustEqual(t, dst.r, v, roots[v.Name])
					}
				}
			}
		})
	}
}

// change changes, adds, moves and removes entries.
func change(m *maker, d *entry) {
	for range 1 + m.rng.IntN(4) {
		i := m.rng.IntN(len(d.children))
		e := d.children[i]
		switch {
		case e.node.Type == snapshot.Directory && len(e.children) > 0:
			change(m, e)
		case e.node.Type == snapshot.File && m.rng.IntN(2) == 0:
			m.add(e, 1500)
			if n := len(e.pieces); n > 2 {
				e.pieces[n/2], e.pieces[n-1] = e.pieces[n-1], e.pieces[n/2]
				e.pieces = append(e.pieces[:n/2], joined(e.pieces[n/2:])...)
			}
		default:
			d.children = append(d.children, m.any(fmt.Sprintf("%s!%d", e.node.Name, m.inode)))
			slices.SortFunc(d.children, func(a, b *entry) int { return strings.Compare(a.node.Name, b.node.Name) })
		}
	}
}

// joined makes runs of zeros and holes one, as trees want it.
func joined(list []piece) (out []piece) {
	for _, p := range list {
		if n := len(out); n > 0 && p.kind != snapshot.ItemData && out[n-1].kind == p.kind {
			out[n-1].length += p.length
			continue
		}
		out = append(out, p)
	}
	return out
}

// TestRecord: a copy says of itself what the backup says, and where it comes
// from; a copy of a copy names the first.
func TestRecord(t *testing.T) {
	src, dst, third := newStore(t), newStore(t), newStore(t)
	root := newMaker(1).dir("", 5, 0)
	first := save(t, src.r, snapshot.Backup{Time: snapshot.Time{Sec: 7}}, map[string]*entry{"data": root})
	told := snapshot.Backup{Time: snapshot.Time{Sec: 9}, Started: snapshot.Time{Sec: 10}, Finished: snapshot.Time{Sec: 11, Nsec: 5}, Host: "h", User: "me", Group: "g",
		Tags: []snapshot.Tag{{Key: "app", Value: "x"}, {Key: "app", Value: "y"}}, Parents: []crypto.SessionID{first.ID}}
	b := save(t, src.r, told, map[string]*entry{"data": root, "more": newMaker(2).dir("", 3, 0)})
	if err := src.r.Tag(t.Context(), b.ID, repo.Event{Tags: []repo.TagChange{{Key: "late", Value: "1"}}}); err != nil {
		t.Fatal(err)
	}
	mustRun(t, dst.r, src.r, transfer.Options{})
	mustRun(t, third.r, dst.r, transfer.Options{})
	for name, r := range map[string]*repo.Repo{"copy": dst.r, "copy of the copy": third.r} {
		list := backups(t, r)
		if len(list) != 2 {
			t.Fatalf("%s: %d backups", name, len(list))
		}
		c := list[1]
		if c.Time != told.Time || c.Started != told.Started || c.Finished != told.Finished || c.Host != "h" || c.User != "me" || c.Group != "g" {
			t.Errorf("%s: %+v", name, c)
		}
		if len(c.Tags) != 3 || !c.HasTag(snapshot.Tag{Key: "late", Value: "1"}) || len(c.Volumes) != 2 || c.Volumes[1].Source != "/more" {
			t.Errorf("%s: tags %v, volumes %+v", name, c.Tags, c.Volumes)
		}
		if len(c.Parents) != 1 || c.Parents[0] != list[0].ID {
			t.Errorf("%s: parents %v, want %v", name, c.Parents, list[0].ID)
		}
		if c.Origin == nil || *c.Origin != (snapshot.Origin{Repo: src.r.ID(), ID: b.ID}) {
			t.Errorf("%s: origin %+v", name, c.Origin)
		}
	}
	for name, r := range map[string]*repo.Repo{"from the first": src.r, "from the copy": dst.r} {
		if report := mustRun(t, third.r, r, transfer.Options{}); report.Count(transfer.Present) != 2 {
			t.Errorf("%s again: %s", name, outcomes(report))
		}
	}
	if report := mustRun(t, src.r, third.r, transfer.Options{}); report.Count(transfer.Present) != 2 {
		t.Errorf("back: %s", outcomes(report))
	}
}

// TestPartial: failed volumes stay without a root, partial ones keep their
// problems.
func TestPartial(t *testing.T) {
	src, dst := newStore(t), newStore(t)
	w, err := src.r.Begin(t.Context(), repo.WriterOptions{})
	if err != nil {
		t.Fatal(err)
	}
	root, err := newMaker(1).dir("", 5, 0).store(t.Context(), src.r, w.Lane())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Commit(&snapshot.Backup{Host: "h", Volumes: []snapshot.Volume{
		{Name: "a", Kind: snapshot.VolumePath, State: snapshot.Partial, Root: root, ProblemCount: 1, Problems: []snapshot.Problem{{Path: "p", Message: "m"}}},
		{Name: "b", Kind: snapshot.VolumeCommand, State: snapshot.Failed},
	}}); err != nil {
		t.Fatal(err)
	}
	mustRun(t, dst.r, src.r, transfer.Options{})
	b := backups(t, dst.r)[0]
	if b.Complete() || b.Volumes[0].State != snapshot.Partial || b.Volumes[0].Problems[0].Message != "m" || b.Volumes[1].State != snapshot.Failed || b.Volumes[1].Root != nil {
		t.Errorf("%+v", b.Volumes)
	}
}

// TestChoice: what is there, was forgotten here, or is older than the newest copy
// of its series, is passed over if that is wanted.
func TestChoice(t *testing.T) {
	src, dst := newStore(t), newStore(t)
	m := newMaker(1)
	var all []*snapshot.Backup
	for i, host := range []string{"a", "b", "a", "a"} {
		all = append(all, save(t, src.r, snapshot.Backup{Host: host, Time: snapshot.Time{Sec: int64(i)}}, map[string]*entry{"data": m.dir("", 3, 0)}))
	}
	if err := src.r.Forget(t.Context(), all[3].ID, repo.Event{}); err != nil {
		t.Fatal(err)
	}
	dry := mustRun(t, dst.r, src.r, transfer.Options{DryRun: true})
	if outcomes(dry) != "pending pending pending" || len(backups(t, dst.r)) != 0 {
		t.Errorf("dry run: %s", outcomes(dry))
	}
	mustRun(t, dst.r, src.r, transfer.Options{Backups: []*snapshot.Backup{all[2], all[2]}})
	if report := mustRun(t, dst.r, src.r, transfer.Options{Newer: true}); outcomes(report) != "older copied present" {
		t.Errorf("newer: %s", outcomes(report))
	}
	for _, b := range backups(t, dst.r) {
		if err := dst.r.Forget(t.Context(), b.ID, repo.Event{}); err != nil {
			t.Fatal(err)
		}
	}
	if report := mustRun(t, dst.r, src.r, transfer.Options{}); outcomes(report) != "copied forgotten forgotten" {
		t.Errorf("forgotten: %s", outcomes(report))
	}
	if report := mustRun(t, dst.r, src.r, transfer.Options{Backups: all[1:2], Again: true}); outcomes(report) != "copied" {
		t.Errorf("again: %s", outcomes(report))
	}
}

// TestWhatIsRead: the copy of the next backup costs what has changed, not what is
// there - a directory a level - though nothing is remembered but what both
// repositories hold.
func TestWhatIsRead(t *testing.T) {
	src, dst := newStore(t), newStore(t)
	m := newMaker(5)
	root := m.dir("", 25, 3)
	save(t, src.r, snapshot.Backup{}, map[string]*entry{"data": root})
	first := mustRun(t, dst.open(t), src.open(t), transfer.Options{})
	deep := root.children[0]
	for len(deep.children) > 0 && deep.children[0].node.Type == snapshot.Directory {
		deep = deep.children[0]
	}
	fresh := m.any("zz")
	fresh.node.Type, fresh.pieces, fresh.xattr = snapshot.File, nil, nil
	m.add(fresh, 5000)
	deep.children = append(deep.children, fresh)
	save(t, src.r, snapshot.Backup{}, map[string]*entry{"data": root})
	from, to := src.open(t), dst.open(t)
	list := backups(t, from)
	src.reset()
	dst.reset()
	second := mustRun(t, to, from, transfer.Options{Backups: list})
	if second.Total.Blobs != 1 || second.Copies[1].Base == nil || second.Copies[1].Base.ID != list[0].ID {
		t.Errorf("%d blobs read, compared with %+v", second.Total.Blobs, second.Copies[1].Base)
	}
	if second.Total.Read*10 > first.Total.Read {
		t.Errorf("%d bytes read, by the first copy %d", second.Total.Read, first.Total.Read)
	}
	if n := src.gets("packs/"); n > 40 {
		t.Errorf("%d requests to the source for packs", n)
	}
	if n := dst.gets("packs/"); n > 20 {
		t.Errorf("%d requests to the target for packs", n)
	}
	mustEqual(t, dst.r, &backups(t, dst.r)[1].Volumes[0], root)

	// The same tree again: the root alone tells.
	save(t, src.r, snapshot.Backup{}, map[string]*entry{"data": root})
	from, to = src.open(t), dst.open(t)
	list = backups(t, from)
	src.reset()
	dst.reset()
	third := mustRun(t, to, from, transfer.Options{Backups: list})
	if third.Total.Read != 0 || third.Total.Added != 0 || src.gets("packs/")+dst.gets("packs/") != 0 {
		t.Errorf("unchanged: %+v, %d and %d requests", third.Total, src.gets("packs/"), dst.gets("packs/"))
	}
}

// TestLongFile: of a file with a long list only new pieces are read, where they
// are inserted, too.
func TestLongFile(t *testing.T) {
	src, dst := newStore(t), newStore(t)
	m := newMaker(6)
	file := m.any("")
	file.node.Type, file.node.Target, file.node.Major, file.node.Minor, file.xattr, file.pieces = snapshot.File, "", 0, 0, nil, nil
	for range 3000 {
		m.add(file, 200)
	}
	save(t, src.r, snapshot.Backup{}, map[string]*entry{"image": file})
	mustRun(t, dst.open(t), src.open(t), transfer.Options{})
	n := len(file.pieces)
	m.add(file, 222)
	moved := append([]piece{file.pieces[n]}, file.pieces[:n]...) // at the front: everything moves
	file.pieces = moved
	file.pieces[2000] = piece{kind: snapshot.ItemData, data: m.bytes(300), length: 300}
	save(t, src.r, snapshot.Backup{}, map[string]*entry{"image": file})
	report := mustRun(t, dst.open(t), src.open(t), transfer.Options{})
	if report.Total.Blobs != 2 {
		t.Errorf("%d blobs read, want 2", report.Total.Blobs)
	}
	mustEqual(t, dst.r, &backups(t, dst.r)[1].Volumes[0], file)
}

// TestShared: what several directories, or a directory of many, have in common is
// read once.
func TestShared(t *testing.T) {
	src, dst := newStore(t), newStore(t)
	m := newMaker(7)
	shared := m.dir("", 30, 1)
	root := m.dir("", 0, 0)
	for i := range 12 { // 2^12 ways to the bottom
		up := m.dir("", 0, 0)
		for _, name := range []string{"a", "b"} {
			c := *shared
			c.node.Name = name
			up.children = append(up.children, &c)
		}
		if i == 11 {
			root.children = up.children
		}
		shared = up
	}
	w, err := src.r.Begin(t.Context(), repo.WriterOptions{})
	if err != nil {
		t.Fatal(err)
	}
	top := storeShared(t, src.r, w.Lane(), root, map[*entry]*snapshot.Node{})
	if _, err := w.Commit(&snapshot.Backup{Host: "h", Volumes: []snapshot.Volume{{Name: "v", Kind: snapshot.VolumePath, State: snapshot.Complete, Root: top}}}); err != nil {
		t.Fatal(err)
	}
	report := mustRun(t, dst.r, src.open(t), transfer.Options{})
	if report.Total.Read > 3*report.Total.Added {
		t.Errorf("%+v", report.Total)
	}
	if got := backups(t, dst.r); len(got) != 1 {
		t.Errorf("%d backups", len(got))
	}
}

// storeShared stores a tree in which directories occur many times, each once.
func storeShared(t *testing.T, r *repo.Repo, l *repo.Lane, e *entry, seen map[*entry]*snapshot.Node) *snapshot.Node {
	t.Helper()
	w := snapshot.NewDirWriter(sink{l}, r, r.Params().Trees)
	for i, c := range e.children {
		var n *snapshot.Node
		var err error
		switch {
		case i > 0 && c.node.Type == snapshot.Directory && len(e.children) == 2:
			again := *seen[e.children[0]]
			n = &again
		case c.node.Type == snapshot.Directory && len(e.children) == 2:
			n = storeShared(t, r, l, c, seen)
		default:
			n, err = c.store(t.Context(), r, l)
		}
		if err != nil {
			t.Fatal(err)
		}
		seen[c] = n
		named := *n
		named.Name = c.node.Name
		if err := w.Add(t.Context(), &named); err != nil {
			t.Fatal(err)
		}
	}
	top, err := w.Finish(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	n := e.node
	n.Tree = top
	return &n
}

// TestManyFiles: requests go by packs, not by blobs or files, on both sides.
func TestManyFiles(t *testing.T) {
	params := repo.DefaultParams()
	params.PackSize, params.SegmentSize = 1<<20, 64<<10
	src, dst := storeOf(t, params), storeOf(t, params)
	m := newMaker(8)
	root := m.dir("", 0, 0)
	for i := range 100 {
		d := m.dir(fmt.Sprintf("d%03d", i), 0, 0)
		for j := range 50 {
			e := &entry{node: snapshot.Node{Name: fmt.Sprintf("f%03d", j), Type: snapshot.File, Mode: 0o644}}
			m.add(e, 1000)
			d.children = append(d.children, e)
		}
		root.children = append(root.children, d)
	}
	save(t, src.r, snapshot.Backup{}, map[string]*entry{"data": root})
	distant := repo.Env{CacheDir: t.TempDir(), CacheObjects: true}
	from, to := repotest.OpenEnv(t, src.be, distant), repotest.OpenEnv(t, dst.be, distant)
	src.reset()
	dst.reset()
	report := mustRun(t, to, from, transfer.Options{})
	t.Logf("5000 files, %d bytes: %d requests to the source (%d for packs), %d to the target", report.Total.Read, src.count(), src.gets("packs/"), dst.count())
	if n := src.count(); n > 200 { // some twenty; one a file would be 5000
		t.Errorf("%d requests to the source", n)
	}
	if n := dst.count(); n > 200 { // some fifty, of which 14 look at the end for config, key and what was stored
		t.Errorf("%d requests to the target", n)
	}
	mustEqual(t, dst.r, &backups(t, dst.r)[0].Volumes[0], root)
}
