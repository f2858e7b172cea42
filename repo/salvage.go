package repo

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"vault/crypto"
	"vault/index"
	"vault/pack"
	"vault/snapshot"
)

// ErrGeneration says that the newest plan or done is damaged or missing: what
// is visible and what may go cannot be told without it, and an older one must
// not be used in its place.
var ErrGeneration = errors.New("the newest record of garbage collection is damaged or missing")

// SalvageOptions say how far a repair may go.
type SalvageOptions struct {
	// GiveUp lets the generation that closes forget commits that cannot be
	// read or are missing. Otherwise they stay listed, so that they count
	// again should their records come back.
	GiveUp bool
	// Rebuild begins a new generation although the newest plan or done is lost.
	// The caller vouches that no other client is at work, not even suspended.
	Rebuild bool
}

// salvage is what a repair's Collection has beside a collector's.
type salvage struct {
	o          SalvageOptions
	rebuilding bool
	lost       *plan    // rebuilding: the newest plan, if it can be read
	floor      uint64   // rebuilding: the highest generation that any record speaks of
	lostDone   uint64   // rebuilding: the number of the newest done listed
	redundant  string   // a damaged plan of a generation that is closed
	rows       gathered // packs that no index segment describes
	aside      gathered // packs that are only read from
	merged     merged
}

// merged is the index of a view with what was gathered beside.
type merged struct {
	view           *view
	rows, aside    int // segments taken in
	index, sources *index.Index
}

// gathered is an index in memory of packs that were read themselves.
type gathered struct {
	b        index.Builder
	segments []*index.Segment
}

func (g *gathered) add(id pack.ID, size int, header []byte, d pack.Directory) error {
	err := g.b.Add(id, size, header, d)
	if errors.Is(err, index.ErrFull) {
		if err = g.flush(); err == nil {
			err = g.b.Add(id, size, header, d)
		}
	}
	return err
}

func (g *gathered) flush() error {
	if g.b.Packs() == 0 {
		return nil
	}
	s, err := index.NewSegment(g.b.Encode())
	if err != nil {
		return err
	}
	g.segments = append(g.segments, s)
	g.b.Reset()
	return nil
}

// above returns the generation after which a new one may be numbered.
func (s *salvage) above(newest uint64) uint64 {
	if s == nil {
		return newest
	}
	return max(newest, s.floor)
}

// before returns which done must be the newest when a plan has been made.
func (s *salvage) before(n uint64) uint64 {
	if s == nil || !s.rebuilding {
		return n
	}
	return s.lostDone
}

// indexes returns the index that is to be published, and the one to read from.
func (s *salvage) indexes(v *view) (published, sources *index.Index) {
	if s == nil {
		return v.index, v.index
	}
	m := &s.merged
	if m.view != v || m.rows != len(s.rows.segments) || m.aside != len(s.aside.segments) {
		*m = merged{view: v, rows: len(s.rows.segments), aside: len(s.aside.segments)}
		m.index = v.index.With(s.rows.segments...)
		m.sources = m.index.With(s.aside.segments...)
	}
	return m.index, m.sources
}

func (s *salvage) described() []*index.Segment {
	if s == nil {
		return nil
	}
	return s.rows.segments
}

// Salvage is Collection for a repair: it begins although objects are damaged,
// and sees the store without any cache. Its plan has no orphans: what nothing
// names now may be what a damaged index segment or commit named. Damage that is
// not understood stays as it is: unreadable commits remain listed. A lost
// newest generation is ErrGeneration, unless the options say what then.
//
// The Collection must be released.
func (r *Repo) Salvage(ctx context.Context, o SalvageOptions) (*Collection, error) {
	env := r.env
	env.CacheDir, env.CacheObjects = "", false
	bare, err := newRepo(r.be, env, r.keys, r.config, r.params, r.slot)
	if err != nil {
		return nil, err
	}
	c := &Collection{r: bare, packs: map[pack.ID]int64{}, segments: map[[32]byte]struct{}{}, salvage: &salvage{o: o}}
	if err := errors.Join(c.list(ctx), ctx.Err()); err != nil {
		c.Release()
		return nil, err
	}
	if err := c.read(ctx); err != nil {
		c.Release()
		return nil, err
	}
	return c, nil
}

// Release frees what Salvage holds. Its index must not be used afterwards.
func (c *Collection) Release() error { return c.r.cache.Close() }

// salvageView reads the state, noting damage where a reader would give up.
func (c *Collection) salvageView(ctx context.Context) (*view, error) {
	old := c.view
	if old == nil {
		old = &view{}
	}
	for range tries {
		v := &view{settled: true, condemned: map[pack.ID]struct{}{}}
		err := c.salvageInto(ctx, v, old)
		g, gerr := c.r.listGC(ctx)
		if gerr != nil {
			return nil, gerr
		}
		if g == v.gc { // otherwise what was missing may have been moved
			return v, err
		}
	}
	return nil, errors.New("read repository state: collections keep moving it; try again")
}

func (c *Collection) salvageInto(ctx context.Context, v, old *view) (err error) {
	if v.gc, err = c.r.listGC(ctx); err != nil {
		return err
	}
	if !c.salvage.rebuilding {
		if err = c.salvageRecords(ctx, v); err == nil {
			err = c.r.loadCommits(ctx, v, old)
		}
		if err == nil {
			err = predates(v)
		}
		if errors.Is(err, ErrGeneration) && c.salvage.o.Rebuild {
			c.salvage.rebuilding = true
			*v = view{gc: v.gc, settled: true, condemned: map[pack.ID]struct{}{}}
		} else if err != nil {
			return err
		}
	}
	if c.salvage.rebuilding {
		return c.rebuildInto(ctx, v, old)
	}
	if err := c.r.loadEvents(ctx, v, ahead(ctx, c.r.be, eventsDir)); err != nil {
		return err
	}
	return c.salvageSegments(ctx, v, old, counting(v))
}

// counting returns the index segments that count (docs/format.md section 12).
func counting(v *view) (names [][32]byte) {
	if v.done != nil {
		names = slices.Clone(v.done.Index)
	}
	for sid, k := range v.commits {
		if k.Kind != snapshot.CommitKilled && (v.done == nil || !v.done.lists(sid)) {
			names = append(names, k.Backup.Index...)
		}
	}
	slices.SortFunc(names, compare32)
	return slices.Compact(names)
}

// salvageSegments reads index segments, noting those that are damaged or missing.
func (c *Collection) salvageSegments(ctx context.Context, v, old *view, names [][32]byte) error {
	v.segments = make(map[[32]byte]*index.Segment, len(names))
	list := make([]*index.Segment, 0, len(names))
	for _, name := range names {
		s := old.segments[name]
		if s == nil {
			var err error
			s, err = c.r.readSegment(ctx, name)
			if isMissing(err) {
				err = damaged(indexName(name), err)
			}
			if StateOf(err) == Damaged {
				v.broken = append(v.broken, err)
				continue
			}
			if err != nil {
				return err
			}
		}
		v.segments[name] = s
		list = append(list, s)
	}
	v.index = index.New(list...)
	return nil
}

// salvageRecords reads the newest plan and done. A damaged plan that is closed
// decides nothing any more.
func (c *Collection) salvageRecords(ctx context.Context, v *view) error {
	g := v.gc
	c.salvage.redundant = ""
	err := c.r.loadGC(ctx, v, nil)
	switch {
	case err == nil && g.plan > 0 && v.plan == nil:
		c.salvage.redundant, v.broken = planName(g.plan), nil
		return nil
	case err == nil || !isMissing(err) && StateOf(err) != Damaged:
		return err
	}
	return fmt.Errorf("%w: %w", ErrGeneration, err)
}

// predates looks for signs that a newer generation existed than the newest one
// here.
func predates(v *view) error {
	if p := v.plan; p != nil && (v.done == nil || p.N > v.done.N) {
		if p.Done != v.doneHash || p.N != v.gc.done+1 {
			return fmt.Errorf("%w: %s follows another one than is here", ErrGeneration, planName(p.N))
		}
	}
	for sid, k := range v.commits {
		if k.Generation > v.gc.newest || v.done == nil && k.Backup != nil && k.Backup.NewestDone != [32]byte{} {
			return fmt.Errorf("%w: %s knows of a later one than is here", ErrGeneration, commitName(sid))
		}
	}
	return nil
}

// rebuildInto reads the state without any done: no commit is void, and every
// index segment that is stored counts.
func (c *Collection) rebuildInto(ctx context.Context, v, old *view) error {
	s := c.salvage
	s.lostDone = v.gc.done
	if s.lost == nil && v.gc.plan > 0 && v.gc.plan != c.n {
		payload, _, err := c.r.fetch(ctx, crypto.KindPlan, planName(v.gc.plan))
		if err == nil {
			if p, perr := decodePlan(payload); perr == nil {
				s.lost = &p
			}
		} else if !isMissing(err) && StateOf(err) != Damaged {
			return err
		}
	}
	if err := c.r.loadCommits(ctx, v, old); err != nil {
		return err
	}
	if err := c.r.loadEvents(ctx, v, ahead(ctx, c.r.be, eventsDir)); err != nil {
		return err
	}
	if err := c.raiseFloor(ctx, v); err != nil {
		return err
	}
	var names [][32]byte
	for info, err := range c.r.be.List(ctx, indexDir) {
		if err != nil {
			return fmt.Errorf("list %s: %w", indexDir, err)
		}
		if name, ok := parseIndexName(info.Name); ok {
			names = append(names, name)
		}
	}
	return c.salvageSegments(ctx, v, old, names)
}

// raiseFloor sees to it that the new generation is later than any that a commit
// or a session began under.
func (c *Collection) raiseFloor(ctx context.Context, v *view) error {
	floor := v.gc.newest
	for _, k := range v.commits {
		floor = max(floor, k.Generation)
	}
	sessions, err := c.r.listIDs(ctx, sessionsDir)
	if err != nil {
		return err
	}
	for sid := range sessions {
		s, err := c.r.readSession(ctx, sid)
		if err == nil {
			floor = max(floor, s.Generation)
		} else if !isMissing(err) && StateOf(err) != Damaged {
			return err
		}
	}
	c.salvage.floor = floor
	return nil
}
