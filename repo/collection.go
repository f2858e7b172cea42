package repo

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"vault/crypto"
	"vault/index"
	"vault/pack"
	"vault/snapshot"
)

// Collection is a garbage collection under way: the mechanics of the protocol,
// one step a method, in the order in which they must be called. What is to be
// removed is decided elsewhere (package gc). Any client may run one, and any
// client may finish one that another began.
//
//	Propose or an adopted plan -> Settle -> Reread -> (rescue) -> Close -> Sweep
//
// A Collection is for one goroutine.
type Collection struct {
	r    *Repo
	view *view
	n    uint64
	plan *plan // nil until proposed or adopted

	packs    map[pack.ID]int64     // listed before the roots were read
	segments map[[32]byte]struct{} // likewise

	spared map[pack.ID]struct{} // condemned, and kept nevertheless

	judge *reader // reads from the store itself, never from a cache's copies
	blob  []byte  // what it has read last

	salvage *salvage // what a repair needs beside; nil for a collection
	closed  bool     // by this one
	freed   int64    // bytes of the packs that it has let go
}

// ErrRaced says that another client has begun or closed a generation meanwhile.
var ErrRaced = errors.New("another client is collecting garbage at the same time")

// ErrStrangers says that objects of a newer program lie in the repository, of
// which this one cannot know whether they keep something alive.
var ErrStrangers = errors.New("there are objects that this program does not know; use the program that made them")

// Collection reads the state that a collection starts from. It refuses a
// repository in which something is damaged: what a damaged commit refers to
// cannot be told from garbage.
func (r *Repo) Collection(ctx context.Context) (*Collection, error) {
	c := &Collection{r: r, packs: map[pack.ID]int64{}, segments: map[[32]byte]struct{}{}}
	if err := c.list(ctx); err != nil {
		return nil, err
	}
	return c, c.read(ctx)
}

// list notes what is stored, before the roots are read: what nothing names
// afterwards was named by nothing all along, or by a writer that has not
// committed yet.
func (c *Collection) list(ctx context.Context) error {
	for _, dir := range []string{packsDir, indexDir, sessionsDir, commitsDir, eventsDir, gcDir} {
		for info, err := range c.r.be.List(ctx, dir) {
			if err != nil {
				return fmt.Errorf("list %s: %w", dir, err)
			}
			if !OwnName(info.Name) {
				return fmt.Errorf("%s: %w", info.Name, ErrStrangers)
			}
			switch dir {
			case packsDir:
				id, _ := pack.ParseID(info.Name[len("packs/xx/"):])
				c.packs[id] = info.Size
			case indexDir:
				name, _ := parseIndexName(info.Name)
				c.segments[name] = struct{}{}
			}
		}
	}
	return nil
}

// read reads the roots.
func (c *Collection) read(ctx context.Context) (err error) {
	if c.salvage != nil {
		c.view, err = c.salvageView(ctx)
	} else {
		c.view, err = c.r.refresh(ctx)
	}
	if err != nil {
		return err
	}
	if c.salvage == nil && len(c.view.broken) > 0 {
		return fmt.Errorf("collect garbage: repair the repository first: %w", c.view.broken[0])
	}
	v := c.view
	if v.plan != nil && (v.done == nil || v.plan.N > v.done.N) {
		if c.plan == nil {
			c.plan, c.n = v.plan, v.plan.N
		}
	} else if c.plan == nil {
		c.n = c.salvage.above(v.gc.newest) + 1
	}
	if v.gc.done >= c.n {
		return ErrRaced
	}
	return nil
}

// Adopted reports whether a plan exists already, made by this or another
// client and not closed yet.
func (c *Collection) Adopted() bool { return c.plan != nil }

// Folding reports whether the plan removes no pack of the index: to carry it
// out moves no blob.
func (c *Collection) Folding() bool { return len(c.plan.Condemned) == 0 }

// Condemned reports whether the plan removes the pack, and nobody spares it.
func (c *Collection) Condemned(id pack.ID) bool {
	if _, spared := c.spared[id]; spared {
		return false
	}
	_, found := slices.BinarySearchFunc(c.plan.Condemned, id, func(a, b pack.ID) int { return compare32(a, b) })
	return found
}

// Index returns the index as last read, and what a repair adds to it.
func (c *Collection) Index() *index.Index {
	ix, _ := c.salvage.indexes(c.view)
	return ix
}

// PackSizes returns the packs that are stored, with their sizes in bytes.
func (c *Collection) PackSizes() map[pack.ID]int64 { return c.packs }

// Unfolded returns how many commits the newest done does not list.
func (c *Collection) Unfolded() int { return c.view.unfolded() }

// Propose makes the plan of the next generation: packs to remove after their
// live blobs are rescued, and commits to drop (see Drop). From then on no
// writer that begins builds upon the condemned packs. What nothing named is
// added as orphaned.
func (c *Collection) Propose(ctx context.Context, condemned []pack.ID, dropped []crypto.SessionID) error {
	if c.plan != nil {
		panic("repo: Propose with a plan")
	}
	p := &plan{N: c.n, Done: c.view.doneHash, Condemned: condemned, OrphanPacks: c.Unnamed(), Dropped: dropped}
	segments := c.namedSegments()
	for name := range c.segments {
		if _, ok := segments[name]; !ok {
			p.OrphanSegments = append(p.OrphanSegments, name)
		}
	}
	return c.propose(ctx, p)
}

// propose creates the plan.
func (c *Collection) propose(ctx context.Context, p *plan) error {
	payload := p.encode()
	err := c.r.withRoom(ctx, func() error {
		_, err := c.r.create(ctx, crypto.KindPlan, crypto.SessionID{}, planName(c.n), payload)
		return err
	})
	if errors.Is(err, errTaken) {
		return ErrRaced
	}
	if err != nil {
		return err
	}
	if *p, err = decodePlan(payload); err != nil { // sorted, as everyone else reads it
		panic("repo: internal error: " + err.Error())
	}
	c.plan = p
	g, err := c.r.listGC(ctx)
	if err != nil {
		return err
	}
	if g.done != c.salvage.before(c.n-1) {
		return ErrRaced
	}
	return nil
}

// Reread reads the roots again, after Settle: nothing can join them any more
// that does not know the plan.
func (c *Collection) Reread(ctx context.Context) error { return c.read(ctx) }

// Rescuer returns a writer for the blobs that must leave the condemned packs.
// It stores whatever it is given, once. Its Flush returns when the copies are
// durable; they become visible by Close.
func (c *Collection) Rescuer(ctx context.Context) (*Writer, error) {
	w := &Writer{r: c.r, o: WriterOptions{Uploads: 2}, rescues: true}
	var err error
	if w.sid, err = crypto.NewSessionID(c.r.env.Now(), c.r.env.Rand); err != nil {
		return nil, err
	}
	w.start(ctx, index.New(), nil)
	return w, nil
}

// Kept reports whether a pack that stays holds the blob: it has been read there,
// from the store, and its name checked. What the index says is not enough to drop
// a copy - the other one may be damaged or gone.
func (c *Collection) Kept(ctx context.Context, kind crypto.BlobKind, id crypto.ID) (bool, error) {
	for loc := range c.Index().Lookup(id) {
		if loc.Kind != kind || c.Condemned(loc.Pack) {
			continue
		}
		if c.judge == nil {
			c.judge = newReader(c.r.be, c.r.keys)
		}
		blob, err := c.judge.blob(ctx, loc, id, c.blob[:0])
		switch {
		case err == nil:
			c.blob = blob
			return true, nil
		case ctx.Err() != nil:
			return false, ctx.Err()
		case StateOf(err) != Damaged:
			return false, err
		}
	}
	return false, nil
}

// Close publishes the new index and with it everything that the generation
// decides: which commits live, and what may be deleted. rescued are the index
// segments of the copies. The index keeps every entry of every pack that stays.
func (c *Collection) Close(ctx context.Context, rescued [][32]byte) error {
	d := done{N: c.n, Previous: c.view.doneHash}
	for sid, k := range c.view.commits {
		if k.Kind != snapshot.CommitKilled && !c.going(sid, k) {
			d.Live = append(d.Live, sid)
		}
	}
	d.Live = append(d.Live, c.kept()...)
	named := c.namedPacks()
	for _, id := range c.plan.OrphanPacks {
		if _, ok := named[id]; !ok {
			d.DeletePacks = append(d.DeletePacks, id)
		}
	}
	for _, id := range c.plan.Condemned {
		if c.Condemned(id) {
			d.DeletePacks = append(d.DeletePacks, id)
		}
	}
	old := c.namedSegments()
	for _, name := range c.plan.OrphanSegments {
		old[name] = struct{}{}
	}
	for _, name := range slices.Concat(rescued, c.replaced()) {
		old[name] = struct{}{}
	}
	var err error
	if d.Index, err = c.fold(ctx, rescued); err != nil {
		return err
	}
	for _, name := range d.Index {
		delete(old, name)
	}
	d.DeleteSegments = slices.Collect(maps.Keys(old))
	err = c.r.withRoom(ctx, func() error {
		_, err := c.r.create(ctx, crypto.KindDone, crypto.SessionID{}, doneName(c.n), d.encode())
		return err
	})
	if errors.Is(err, errTaken) {
		return ErrRaced
	}
	if c.closed = err == nil; c.closed {
		for _, id := range d.DeletePacks {
			c.freed += c.packs[id]
		}
	}
	return err
}

// Freed returns the bytes of the packs that this collection has let go, as they
// were listed when it began.
func (c *Collection) Freed() int64 { return c.freed }

// Overtaken reports whether another client has closed this generation or a later
// one: what this one has read may be gone by now, and finding it missing means
// nothing.
func (c *Collection) Overtaken(ctx context.Context) bool {
	g, err := c.r.listGC(ctx)
	return err == nil && !c.closed && g.done >= c.n
}
