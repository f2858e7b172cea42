package repo

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"

	"vault/crypto"
	"vault/index"
	"vault/pack"
	"vault/snapshot"
)

// view is the state of the repository at one moment: what is visible and
// where its blobs lie. It never changes.
type view struct {
	gc        gcState  // what gc/ held
	settled   bool     // what is missing now is lost, not moved
	broken    []error  // damage found on the way: one *StateError an object
	done      *done    // newest done, or nil
	doneHash  [32]byte // its hash, zero if none
	plan      *plan    // newest plan, done or not, or nil
	commits   map[crypto.SessionID]*snapshot.Commit
	events    map[crypto.SessionID]lifecycle
	segments  map[[32]byte]*index.Segment
	index     *index.Index
	condemned map[pack.ID]struct{} // packs of the newest plan that a writer must not build upon
}

// gcState is what a listing of gc/ tells.
type gcState struct {
	newest, plan, done uint64 // highest n of any, of the plans, of the dones
}

// Generation tells one state of garbage collection from another: while it is
// the same, no collection has removed anything.
type Generation struct{ state gcState }

// Generation returns the one that the store is in now.
func (r *Repo) Generation(ctx context.Context) (Generation, error) {
	g, err := r.listGC(ctx)
	return Generation{g}, err
}

func (r *Repo) listGC(ctx context.Context) (g gcState, err error) {
	for info, err := range r.be.List(ctx, gcDir) {
		if err != nil {
			return g, fmt.Errorf("list %s: %w", gcDir, err)
		}
		n, kind, ok := parseGC(info.Name)
		switch {
		case !ok:
			r.env.Warn(info.Name, errors.New("unknown name"))
		case kind == crypto.KindPlan:
			g.plan = max(g.plan, n)
		default:
			g.done = max(g.done, n)
		}
	}
	g.newest = max(g.plan, g.done)
	return g, nil
}

// reloads is how often a state is read that a collection moves meanwhile.
const reloads = 10

// load reads the state of the repository, whose gc/ has just been found to be
// before. What old already holds and cannot have changed is taken from it.
func (r *Repo) load(ctx context.Context, old *view, before gcState) (*view, error) {
	if old == nil {
		old = &view{}
	}
	settled := false
	for range reloads {
		v := &view{settled: settled, gc: before}
		err := r.loadInto(ctx, v, old)
		if err != nil && !isMissing(err) {
			return nil, err
		}
		// A done that landed meanwhile makes commits void that the older one let
		// count. And if something listed or named was gone when it was read: where
		// a collection has moved on, the new state does not need it; where none
		// has, it is lost.
		g, gerr := r.listGC(ctx)
		switch {
		case gerr != nil:
			return nil, gerr
		case v.gc != g:
			settled, before = false, g
		case err == nil:
			if v.gc != old.gc {
				r.trimCache(v)
			}
			r.keepDigest(v)
			return v, nil
		case settled:
			return nil, &StateError{State: Damaged, Err: err}
		default:
			settled = true
		}
	}
	return nil, errors.New("read repository state: collections keep moving it; try again")
}

// trimCache drops the copies of what a collection has removed.
func (r *Repo) trimCache(v *view) {
	r.cache.Keep("index", func(name string) bool {
		id, ok := parseIndexName(name)
		return ok && v.segments[id] != nil
	})
	r.cache.Keep("commits", func(name string) bool {
		id, err := crypto.ParseSessionID(name[len(commitsDir):])
		return err == nil && v.commits[id] != nil
	})
	r.cache.Keep("events", func(name string) bool {
		id, _, ok := parseEvent(name)
		return ok && v.commits[id] != nil
	})
	packs := map[string]struct{}{}
	for s := range v.index.Segments() {
		for p := range s.Packs() {
			if p.Kind == crypto.BlobTree {
				packs[p.ID.Path()] = struct{}{}
			}
		}
	}
	r.cache.Keep("packs", func(name string) bool { _, ok := packs[name]; return ok })
}

func (r *Repo) loadInto(ctx context.Context, v, old *view) error {
	v.condemned = map[pack.ID]struct{}{}
	events := ahead(ctx, r.be, eventsDir)
	defer events.wait()
	if err := r.loadGC(ctx, v, old); err != nil {
		return err
	}
	if err := r.loadCommits(ctx, v, old); err != nil {
		return err
	}
	if err := r.loadEvents(ctx, v, events); err != nil {
		return err
	}
	return r.loadIndex(ctx, v, old)
}

func (r *Repo) loadGC(ctx context.Context, v, _ *view) error {
	g := v.gc
	if g.done > 0 {
		payload, object, err := r.fetch(ctx, crypto.KindDone, doneName(g.done))
		if err != nil {
			return err
		}
		d, err := decodeDone(payload)
		if err != nil || d.N != g.done {
			return damaged(doneName(g.done), errors.Join(err, numbered(d.N, g.done)))
		}
		v.done, v.doneHash = &d, crypto.FileHash(object)
	}
	if g.plan > 0 {
		p, err := r.readPlan(ctx, g.plan)
		if g.done >= g.plan && v.tolerate(err) {
			return nil // it is carried out: only repair and writers that resume read it
		}
		if err != nil {
			return err
		}
		v.plan = &p
		for _, id := range p.Condemned {
			v.condemned[id] = struct{}{}
		}
	}
	return nil
}

func (r *Repo) readPlan(ctx context.Context, n uint64) (plan, error) {
	payload, _, err := r.fetch(ctx, crypto.KindPlan, planName(n))
	if err != nil {
		return plan{}, err
	}
	p, err := decodePlan(payload)
	if err != nil || p.N != n {
		return plan{}, damaged(planName(n), errors.Join(err, numbered(p.N, n)))
	}
	return p, nil
}

func numbered(got, want uint64) error {
	if got != want {
		return fmt.Errorf("it says that it is generation %d", got)
	}
	return nil
}

// loadCommits reads every commit that is not void. A commit that is listed
// and then missing was dropped by a collection.
func (r *Repo) loadCommits(ctx context.Context, v, old *view) error {
	v.commits = make(map[crypto.SessionID]*snapshot.Commit, len(old.commits))
	var unread []crypto.SessionID
	for info, err := range r.be.List(ctx, commitsDir) {
		if err != nil {
			return fmt.Errorf("list %s: %w", commitsDir, err)
		}
		sid, err := crypto.ParseSessionID(info.Name[len(commitsDir):])
		if err != nil {
			r.env.Warn(info.Name, errors.New("unknown name"))
			continue
		}
		if c := old.commits[sid]; c != nil {
			v.addCommit(sid, c)
		} else {
			unread = append(unread, sid)
		}
	}
	for i, got := range each(ctx, r.atOnce(), unread, r.readCommit) {
		sid := unread[i]
		switch {
		case got.err == nil:
			v.addCommit(sid, got.value)
		case isMissing(got.err) && v.done != nil && !v.done.lists(sid):
		case v.tolerate(got.err):
		default:
			return got.err
		}
	}
	return v.wantCommits()
}

func (v *view) addCommit(sid crypto.SessionID, c *snapshot.Commit) {
	if c.Kind == snapshot.CommitKilled || !v.void(sid, c.Generation) {
		v.commits[sid] = c
	}
}

// atOnce is how many records are asked for at the same time: each costs a distant store's delay.
func (r *Repo) atOnce() int {
	if r.env.CacheObjects {
		return 16
	}
	return 1
}

// segmentsAtOnce is the same for index segments, which can be large: each is in
// memory two or three times while it is opened.
func (r *Repo) segmentsAtOnce() int { return min(r.atOnce(), 6) }

// wantCommits misses commits that the newest done lists: what they refer to is
// no garbage because they are lost.
func (v *view) wantCommits() error {
	if v.done == nil {
		return nil
	}
	broken := map[string]struct{}{}
	for _, b := range v.broken {
		var s *StateError
		if errors.As(b, &s) {
			broken[s.Object] = struct{}{}
		}
	}
	for _, sid := range v.done.Live {
		if _, known := broken[commitName(sid)]; known || v.commits[sid] != nil {
			continue
		}
		err := fmt.Errorf("%w: the newest collection lists it", fs.ErrNotExist)
		if !v.settled {
			return err // unless a later collection has dropped it
		}
		v.broken = append(v.broken, damaged(commitName(sid), err))
	}
	return nil
}

func (r *Repo) readCommit(ctx context.Context, sid crypto.SessionID) (*snapshot.Commit, error) {
	payload, _, err := r.fetch(ctx, crypto.KindCommit, commitName(sid))
	if err != nil {
		return nil, err
	}
	c, err := snapshot.DecodeCommit(sid, payload)
	if err != nil {
		return nil, damaged(commitName(sid), err)
	}
	return c, nil
}

// void reports whether a commit of that generation never counts: a later
// collection closed without it.
func (v *view) void(sid crypto.SessionID, generation uint64) bool {
	return v.done != nil && generation < v.done.N && !v.done.lists(sid)
}

// unfolded returns how many commits the newest done does not list.
func (v *view) unfolded() (n int) {
	for sid := range v.commits {
		if v.done == nil || !v.done.lists(sid) {
			n++
		}
	}
	return n
}

// Unfolded returns how many commits no collection has taken account of yet:
// each has index segments of its own that a reader fetches one by one.
func (r *Repo) Unfolded(ctx context.Context) (int, error) {
	v, err := r.refresh(ctx)
	if err != nil {
		return 0, err
	}
	return v.unfolded(), nil
}

// sorted returns the keys of a map in order: what is asked of a store then
// depends on its state alone, so that a simulated run can be repeated.
func sorted[K comparable, V any](m map[K]V, compare func(a, b K) int) []K {
	return slices.SortedFunc(maps.Keys(m), compare)
}

// loadIndex reads the index segments that count: those of the newest done and
// of the commits that it does not list yet.
func (r *Repo) loadIndex(ctx context.Context, v, old *view) error {
	names := map[[32]byte]struct{}{}
	if v.done != nil {
		for _, name := range v.done.Index {
			names[name] = struct{}{}
		}
	}
	for sid, c := range v.commits {
		if c.Kind == snapshot.CommitKilled || v.done != nil && v.done.lists(sid) {
			continue
		}
		for _, name := range c.Backup.Index {
			names[name] = struct{}{}
		}
	}
	v.segments = make(map[[32]byte]*index.Segment, len(names))
	inOrder := sorted(names, compare32)
	unread := slices.DeleteFunc(slices.Clone(inOrder), func(name [32]byte) bool { return old.segments[name] != nil })
	for i, got := range each(ctx, r.segmentsAtOnce(), unread, r.readSegment) {
		switch {
		case got.err == nil:
			v.segments[unread[i]] = got.value
		case v.tolerate(got.err):
		default:
			return got.err
		}
	}
	list := make([]*index.Segment, 0, len(inOrder))
	for _, name := range inOrder {
		s := old.segments[name]
		if s == nil {
			s = v.segments[name]
		}
		if s != nil { // it is not damaged
			v.segments[name] = s
			list = append(list, s)
		}
	}
	// The old index is held still, by the Repo or by a Writer: what both have in
	// common is there once.
	if v.index = old.index; v.index == nil {
		v.index = index.New()
	}
	v.index = v.index.WithOnly(list...)
	return nil
}

func (r *Repo) readSegment(ctx context.Context, name [32]byte) (*index.Segment, error) {
	if payload, ok := r.cache.Segment(name); ok {
		if s, err := index.TrustSegment(payload); err == nil {
			return s, nil
		}
	}
	payload, object, err := r.fetch(ctx, crypto.KindIndex, indexName(name))
	if err != nil {
		return nil, err
	}
	if crypto.FileHash(object) != name {
		return nil, damaged(indexName(name), errors.New("it is another index segment under this name"))
	}
	if _, err := index.NewSegment(payload); err != nil {
		return nil, damaged(indexName(name), err)
	}
	return r.mapped(name, payload)
}

// smallSegment is the payload size up to which mapping a temporary file is not
// worth the heap that it saves.
const smallSegment = 256 << 10

// mapped returns the segment of a payload that has been checked, off the heap.
func (r *Repo) mapped(name [32]byte, payload []byte) (*index.Segment, error) {
	if r.env.CacheDir == "" && len(payload) <= smallSegment {
		return index.TrustSegment(payload)
	}
	return index.TrustSegment(r.cache.AddSegment(name, payload))
}

// loadEvents reads what has happened to the commits. An event that comes after
// the listing is one that comes after this view.
func (r *Repo) loadEvents(ctx context.Context, v *view, listed *listing) error {
	v.events = map[crypto.SessionID]lifecycle{}
	names, err := listed.wait()
	if err != nil {
		return fmt.Errorf("list %s: %w", eventsDir, err)
	}
	names = slices.DeleteFunc(names, func(name string) bool {
		_, _, ok := parseEvent(name)
		if !ok {
			r.env.Warn(name, errors.New("unknown name"))
		}
		return !ok
	})
	for i, got := range each(ctx, r.atOnce(), names, r.readEvent) { // the listing is in order
		sid, k, _ := parseEvent(names[i])
		switch {
		case got.err == nil:
			v.events[sid] = v.events[sid].add(k, got.value)
		case isMissing(got.err): // collected with its backup meanwhile
		case v.tolerate(got.err): // its number is taken all the same
			l := v.events[sid]
			l.last = k
			v.events[sid] = l
		default:
			return got.err
		}
	}
	return nil
}

func (r *Repo) readEvent(ctx context.Context, name string) (Event, error) {
	payload, _, err := r.fetch(ctx, crypto.KindEvent, name)
	if err != nil {
		return Event{}, err
	}
	e, err := decodeEvent(payload)
	if err != nil {
		return Event{}, damaged(name, err)
	}
	return e, nil
}

// tolerate notes damage of a single commit, event or index segment. The other
// backups must stay within reach on the worst day; whoever needs the whole
// truth asks [Repo.Broken].
func (v *view) tolerate(err error) bool {
	if v.settled && isMissing(err) {
		err = &StateError{State: Damaged, Err: err}
	}
	if StateOf(err) != Damaged {
		return false
	}
	v.broken = append(v.broken, err)
	return true
}
