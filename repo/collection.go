package repo

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

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

	judge *reader // reads from the store itself, never from a cache's copies
	blob  []byte  // what it has read last

	salvage *salvage // what a repair needs beside; nil for a collection
	closed  bool     // by this one
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
func (c *Collection) Folding() bool { return len(c.plan.Condemned)+len(c.plan.Dropped) == 0 }

// Condemned reports whether the plan removes the pack.
func (c *Collection) Condemned(id pack.ID) bool {
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

// going reports whether a commit keeps nothing alive: before a plan exists,
// because it is forgotten or superseded; with a plan, because that drops it,
// whatever events came later.
func (c *Collection) going(sid crypto.SessionID, k *snapshot.Commit) bool {
	if c.plan != nil {
		_, found := slices.BinarySearchFunc(c.plan.Dropped, sid, crypto.SessionID.Compare)
		return found
	}
	return c.view.events[sid].forgotten() || c.superseded(k)
}

// superseded reports whether a checkpoint has served: a later backup of the
// same host and group has committed.
func (c *Collection) superseded(k *snapshot.Commit) bool {
	if k.Kind != snapshot.CommitCheckpoint {
		return false
	}
	for _, later := range c.view.commits {
		if later.Kind == snapshot.CommitBackup && later.Backup.Key() == k.Backup.Key() && k.Backup.ID.Compare(later.Backup.ID) < 0 {
			return true
		}
	}
	return false
}

// Roots returns the backups whose trees keep blobs alive.
func (c *Collection) Roots() []*snapshot.Backup { return c.backups(snapshot.CommitBackup, false) }

// Dropping returns the backups and checkpoints that may be dropped.
func (c *Collection) Dropping() []*snapshot.Backup {
	return append(c.backups(snapshot.CommitBackup, true), c.backups(snapshot.CommitCheckpoint, true)...)
}

func (c *Collection) backups(kind snapshot.CommitKind, going bool) []*snapshot.Backup {
	var list []*snapshot.Backup
	for sid, k := range c.view.commits {
		if k.Kind == kind && c.going(sid, k) == going {
			list = append(list, k.Backup)
		}
	}
	slices.SortFunc(list, compareBackups)
	return list
}

// Held returns the index segments of checkpoints: every blob in them is alive.
func (c *Collection) Held() []*index.Segment {
	var list []*index.Segment
	for name := range c.held() {
		if s := c.view.segments[name]; s != nil {
			list = append(list, s)
		}
	}
	return list
}

func (c *Collection) held() map[[32]byte]struct{} {
	names := map[[32]byte]struct{}{}
	for _, b := range c.backups(snapshot.CommitCheckpoint, false) {
		for _, name := range b.Index {
			names[name] = struct{}{}
		}
	}
	return names
}

// Unnamed returns the packs that no index segment of a commit or of the newest
// done names.
func (c *Collection) Unnamed() []pack.ID {
	named := c.namedPacks()
	var list []pack.ID
	for id := range c.packs {
		if _, ok := named[id]; !ok {
			list = append(list, id)
		}
	}
	return list
}

// Leftovers reports whether there is something to clean up that no backup has
// to do with: packs and index segments that nothing names, and sessions of
// earlier generations whose clients are gone.
func (c *Collection) Leftovers(ctx context.Context, gone func(Waiting) bool) (bool, error) {
	if len(c.Unnamed()) > 0 {
		return true, nil
	}
	named := c.namedSegments()
	for name := range c.segments {
		if _, ok := named[name]; !ok {
			return true, nil
		}
	}
	unsettled, err := c.Unsettled(ctx)
	return slices.ContainsFunc(unsettled, gone), err
}

// HeldPacks returns the packs that checkpoints hold, whatever is in them.
func (c *Collection) HeldPacks() map[pack.ID]struct{} {
	held := map[pack.ID]struct{}{}
	for _, s := range c.Held() {
		for p := range s.Packs() {
			held[p.ID] = struct{}{}
		}
	}
	return held
}

func (c *Collection) namedPacks() map[pack.ID]struct{} {
	named := make(map[pack.ID]struct{}, len(c.packs))
	for s := range c.Index().Segments() {
		for p := range s.Packs() {
			named[p.ID] = struct{}{}
		}
	}
	return named
}

// namedSegments returns every index segment that some root names.
func (c *Collection) namedSegments() map[[32]byte]struct{} {
	named := map[[32]byte]struct{}{}
	if c.view.done != nil {
		for _, name := range c.view.done.Index {
			named[name] = struct{}{}
		}
	}
	for _, k := range c.view.commits {
		if k.Kind != snapshot.CommitKilled {
			for _, name := range k.Backup.Index {
				named[name] = struct{}{}
			}
		}
	}
	return named
}

// Drop records that forgotten backups and superseded checkpoints are going, and
// returns those that nobody has brought back meanwhile.
func (c *Collection) Drop(ctx context.Context, backups []*snapshot.Backup) (dropped []crypto.SessionID, err error) {
	for _, b := range backups {
		if c.superseded(c.view.commits[b.ID]) {
			if err := c.r.Forget(ctx, b.ID, Event{}); err != nil {
				return nil, fmt.Errorf("drop checkpoint %s: %w", b.ID, err)
			}
		}
		ok, err := c.r.Collect(ctx, b.ID, Event{})
		if err != nil {
			return nil, fmt.Errorf("drop backup %s: %w", b.ID, err)
		}
		if ok {
			dropped = append(dropped, b.ID)
		}
	}
	return dropped, nil
}

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
	_, err := c.r.create(ctx, crypto.KindPlan, crypto.SessionID{}, planName(c.n), payload)
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

// Waiting is a session that a collection waits for.
type Waiting struct {
	ID      crypto.SessionID
	Host    string
	PID     uint64
	Started snapshot.Time
}

// Settle sees to it that every session that began before this generation has
// committed or never will: it waits while impatient says no, which is asked
// about each session again and again, with the count of its signs of life.
// Killing a session is always safe: its client has to upload again.
func (c *Collection) Settle(ctx context.Context, impatient func(Waiting, uint64) bool, pause func(context.Context) error) error {
	for {
		open, err := c.unsettled(ctx)
		if err != nil {
			return err
		}
		waiting := false
		for _, sid := range sorted(open, crypto.SessionID.Compare) {
			s := open[sid]
			if !impatient(Waiting{ID: sid, Host: s.Host, PID: s.PID, Started: s.Started}, s.Counter) {
				waiting = true
				continue
			}
			if err := c.kill(ctx, sid, s); err != nil {
				return err
			}
		}
		if !waiting {
			return nil
		}
		if err := pause(ctx); err != nil {
			return err
		}
	}
}

// Unsettled reports the sessions of earlier generations that have not committed.
func (c *Collection) Unsettled(ctx context.Context) ([]Waiting, error) {
	open, err := c.unsettled(ctx)
	var list []Waiting
	for _, sid := range sorted(open, crypto.SessionID.Compare) {
		s := open[sid]
		list = append(list, Waiting{ID: sid, Host: s.Host, PID: s.PID, Started: s.Started})
	}
	return list, err
}

func (c *Collection) unsettled(ctx context.Context) (map[crypto.SessionID]session, error) {
	sessions, err := c.r.listIDs(ctx, sessionsDir)
	if err != nil {
		return nil, err
	}
	commits, err := c.r.listIDs(ctx, commitsDir)
	if err != nil {
		return nil, err
	}
	open := map[crypto.SessionID]session{}
	for _, sid := range sorted(sessions, crypto.SessionID.Compare) {
		if _, ok := commits[sid]; ok {
			continue
		}
		s, err := c.r.readSession(ctx, sid)
		if isMissing(err) {
			continue // given up by its owner
		}
		if StateOf(err) == Damaged {
			// It may be of this very generation: then the killed record has to
			// stand until the next one makes the commit void.
			open[sid] = session{Generation: c.n}
			continue
		}
		if err != nil {
			return nil, err
		}
		if s.Generation < c.n {
			open[sid] = s
		}
	}
	return open, nil
}

func (r *Repo) listIDs(ctx context.Context, dir string) (map[crypto.SessionID]struct{}, error) {
	ids := map[crypto.SessionID]struct{}{}
	for info, err := range r.be.List(ctx, dir) {
		if err != nil {
			return nil, fmt.Errorf("list %s: %w", dir, err)
		}
		if sid, err := crypto.ParseSessionID(info.Name[len(dir):]); err == nil {
			ids[sid] = struct{}{}
		}
	}
	return ids, nil
}

func (r *Repo) readSession(ctx context.Context, sid crypto.SessionID) (session, error) {
	payload, _, err := r.fetch(ctx, crypto.KindSession, sessionName(sid))
	if err != nil {
		return session{}, err
	}
	s, err := decodeSession(payload)
	if err != nil {
		return session{}, damaged(sessionName(sid), err)
	}
	return s, nil
}

// kill takes the session's right to commit. Losing to its commit is fine.
func (c *Collection) kill(ctx context.Context, sid crypto.SessionID, s session) error {
	payload, err := snapshot.EncodeCommit(&snapshot.Commit{Kind: snapshot.CommitKilled, Generation: s.Generation})
	if err != nil {
		return err
	}
	_, err = c.r.create(ctx, crypto.KindCommit, sid, commitName(sid), payload)
	if errors.Is(err, errTaken) {
		return nil
	}
	return err
}

// Patience says how long to wait for the sessions of other clients.
type Patience struct {
	For   time.Duration                              // without a sign of life
	Dead  func(Waiting) bool                         // whose client is known to be gone; may be nil
	Wait  func([]Waiting)                            // called before each pause; may be nil
	Now   func() time.Time                           // default: the Repo's clock
	Sleep func(context.Context, time.Duration) error // default: the Repo's timer
}

// SettleWith is Settle with patience: a session is given up when its counter
// has not moved for that long by this process's own clock.
func (c *Collection) SettleWith(ctx context.Context, p Patience) error {
	if p.Now == nil {
		p.Now = c.r.env.Now
	}
	if p.Sleep == nil {
		p.Sleep = c.r.sleep
	}
	type observed struct {
		counter uint64
		since   time.Time
	}
	seen := map[crypto.SessionID]observed{}
	var waiting []Waiting
	impatient := func(w Waiting, counter uint64) bool {
		now := p.Now()
		s, ok := seen[w.ID]
		if !ok || s.counter != counter {
			s = observed{counter, now}
			seen[w.ID] = s
		}
		if p.Dead != nil && p.Dead(w) || now.Sub(s.since) >= p.For {
			return true
		}
		waiting = append(waiting, w)
		return false
	}
	return c.Settle(ctx, impatient, func(ctx context.Context) error {
		if p.Wait != nil {
			p.Wait(waiting)
		}
		waiting = waiting[:0]
		return p.Sleep(ctx, min(p.For/10+time.Millisecond, 15*time.Second))
	})
}

func (r *Repo) sleep(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-r.env.After(d):
		return nil
	}
}

// Reread reads the roots again, after Settle: nothing can join them any more
// that does not know the plan.
func (c *Collection) Reread(ctx context.Context) error { return c.read(ctx) }

// Rescuer returns a writer for the blobs that must leave the condemned packs.
// It stores whatever it is given, once. Its Flush returns when the copies are
// durable; they become visible by Close.
func (c *Collection) Rescuer(ctx context.Context) (*Writer, error) {
	w := &Writer{r: c.r, o: WriterOptions{Uploads: 2}}
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
	d.DeletePacks = append(d.DeletePacks, c.plan.Condemned...)
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
	_, err = c.r.create(ctx, crypto.KindDone, crypto.SessionID{}, doneName(c.n), d.encode())
	if errors.Is(err, errTaken) {
		return ErrRaced
	}
	c.closed = err == nil
	return err
}

// foldRows is how many rows the index segments of a done have; one with at
// least half as many is left alone while all its packs stay.
const foldRows = 1 << 20

// fold merges the index segments into few, without the condemned packs, and
// returns the names of all that count from now on.
func (c *Collection) fold(ctx context.Context, rescued [][32]byte) (names [][32]byte, err error) {
	small := slices.Clone(c.salvage.described())
	held := c.held()
	take := func(name [32]byte, s *index.Segment) {
		_, kept := held[name]
		if (kept || s.Len() >= foldRows/2) && !c.touches(s) {
			names = append(names, name)
			return
		}
		small = append(small, s)
	}
	for _, name := range sorted(c.view.segments, compare32) {
		s := c.view.segments[name]
		take(name, s)
	}
	for _, name := range rescued {
		s, err := c.r.readSegment(ctx, name)
		if err != nil {
			return nil, err
		}
		take(name, s)
	}
	keep := func(id pack.ID) bool { return !c.Condemned(id) }
	for payload, err := range index.Merge(small, keep, foldRows) {
		if err != nil {
			return nil, err
		}
		name, _, err := c.r.storeSegment(ctx, crypto.SessionID{}, payload)
		if err != nil {
			return nil, err
		}
		names = append(names, name)
	}
	return names, nil
}

func (c *Collection) touches(s *index.Segment) bool {
	for p := range s.Packs() {
		if c.Condemned(p.ID) {
			return true
		}
	}
	return false
}

// Overtaken reports whether another client has closed this generation or a later
// one: what this one has read may be gone by now, and finding it missing means
// nothing.
func (c *Collection) Overtaken(ctx context.Context) bool {
	g, err := c.r.listGC(ctx)
	return err == nil && !c.closed && g.done >= c.n
}
