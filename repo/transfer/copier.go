package transfer

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"vault/crypto"
	"vault/repo"
	"vault/snapshot"
)

// copier carries a transfer out.
type copier struct {
	dst    *repo.Repo
	src    *source
	o      *Options
	all    []*snapshot.Backup // of the source
	total  int                // to be copied
	at     int                // of the current one in report.Copies
	nth    int                // how many have begun
	report Report

	v          *weaver
	w          *repo.Writer // nil: no session
	end        context.CancelFunc
	generation repo.Generation // seen before the last session began
	begun      bool            // generation is set
	past       repo.Stats      // of finished Writers of this backup
	current    *Copy
	mark       Bytes // what was counted before this backup
	noBase     bool  // comparing has failed

	mu sync.Mutex // one event at a time
}

// restarts is how often one backup is begun again whose session was given up by
// a collection.
const restarts = 2

// run copies what the plan says.
func (c *copier) run(ctx context.Context) (err error) {
	c.v = newWeaver(c.dst, c.src, c.o)
	c.v.moved = func() { c.event(EventProgress) }
	defer func() {
		if kept := c.close(ctx); err == nil {
			err = kept
		}
		c.v.notes.close()
	}()
	for i := range c.report.Copies {
		if c.report.Copies[i].Outcome != Pending {
			continue
		}
		c.at, c.current = i, &c.report.Copies[i]
		c.nth++
		c.event(EventBegin)
		err := c.backup(ctx)
		c.current.Bytes = c.done()
		c.report.Total.add(c.current.Bytes)
		c.src.blobs.Store(0)
		c.src.read.Store(0)
		c.past, c.mark = repo.Stats{}, Bytes{}
		if c.w != nil {
			s := c.w.Stats()
			c.mark = Bytes{Added: s.Raw, Stored: s.Stored}
		}
		if err != nil {
			return err
		}
		c.event(EventEnd)
		if c.current.Outcome == Copied {
			c.o.Committed(ctx)
		}
	}
	return nil
}

// event tells what happens.
func (c *copier) event(kind EventKind) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.o.Observe(Event{Kind: kind, Index: c.at, Of: c.total, Nth: c.nth, Copy: *c.current, Done: c.done()})
}

// done returns what was moved of the current backup.
func (c *copier) done() Bytes {
	b := Bytes{Blobs: c.src.blobs.Load(), Read: c.src.read.Load(), Added: c.past.Raw - c.mark.Added, Stored: c.past.Stored - c.mark.Stored}
	if c.w != nil {
		s := c.w.Stats()
		b.Added, b.Stored = b.Added+s.Raw, b.Stored+s.Stored
	}
	return b
}

// backup copies one backup, and starts over where a collection made that
// necessary. An error ends the transfer.
func (c *copier) backup(ctx context.Context) error {
	c.noBase = false
	lost := 0
	for {
		err := c.attempt(ctx)
		if err == nil {
			return nil
		}
		c.v.abandon()
		var base *baseError
		var source *sourceError
		switch {
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case (errors.Is(err, repo.ErrKilled) || errors.Is(err, repo.ErrVoid)) && lost < restarts:
			lost++
			c.release()
			c.o.Warn("copy of "+c.current.Backup.ID.Short(), fmt.Errorf("%w: starting over", err))
		case errors.As(err, &base) && local(base) && !c.noBase:
			c.noBase = true
			c.o.Warn("copy of "+c.current.Backup.ID.Short(), fmt.Errorf("%w: reading all of it", err))
		case errors.As(err, &source) && local(source):
			return c.failed(ctx, err)
		default:
			return fmt.Errorf("copy backup %s: %w", c.current.Backup.ID.Short(), err)
		}
	}
}

// failed notes that the source does not have all of the backup: it is damaged,
// or somebody has removed it meanwhile.
func (c *copier) failed(ctx context.Context, reason error) error {
	id := c.current.Backup.ID
	now, err := c.src.repo.Backups(ctx)
	if err != nil {
		return fmt.Errorf("copy backup %s: %w", id.Short(), errors.Join(reason, err))
	}
	c.current.Outcome = Gone
	for _, b := range now {
		if b.ID == id {
			c.current.Outcome = Damaged
		}
	}
	c.current.Err = fmt.Errorf("backup %s: %w", id.Short(), reason)
	return nil
}

// attempt copies the current backup as a whole.
func (c *copier) attempt(ctx context.Context) error {
	if c.w == nil {
		if err := c.begin(ctx); err != nil {
			return err
		}
	}
	b := c.current.Backup
	from := origin(c.src.repo, b)
	if d := indexed(c.dst, c.w.Backups())[from]; d != nil {
		c.current.Outcome, c.current.ID = Present, d.ID // another transfer was faster
		return nil
	}
	copied := *b
	copied.Origin = &from
	copied.Volumes = slices.Clone(b.Volumes)
	pairs := c.pairs()
	c.recall(pairs)
	copied.Parents = parents(b, pairs)
	c.current.Base = nil
	for i := range copied.Volumes {
		root, err := c.volume(ctx, b, &b.Volumes[i], pairs)
		if err != nil {
			return fmt.Errorf("volume %q: %w", b.Volumes[i].Name, err)
		}
		copied.Volumes[i].Root = root
	}
	w := c.w
	committed, err := w.Commit(&copied)
	c.retire(w.Stats())
	if err != nil {
		return fmt.Errorf("commit: %w", err)
	}
	c.current.Outcome, c.current.ID = Copied, committed.ID
	c.v.notes.done(b.ID)
	return nil
}

// recall loads what was noted about backups that have no copy yet.
func (c *copier) recall(pairs []pair[snapshot.Backup]) {
	c.v.notes.of = c.current.Backup.ID
	if c.v.notes.loaded {
		return
	}
	waiting := map[crypto.SessionID]bool{}
	for _, b := range c.all {
		waiting[b.ID] = true
	}
	for _, p := range pairs {
		delete(waiting, p.src.ID)
	}
	c.v.notes.load(func(id crypto.SessionID) bool { return waiting[id] }, func(id crypto.ID) bool { return c.v.lane.Has(crypto.BlobData, id) })
}

// volume copies one volume and returns its root in the target.
func (c *copier) volume(ctx context.Context, b *snapshot.Backup, v *snapshot.Volume, pairs []pair[snapshot.Backup]) (*snapshot.Node, error) {
	if v.Root == nil {
		return nil, nil
	}
	w := &walker{ctx: ctx, v: c.v, src: c.src, dst: c.dst, limits: c.dst.Params().Trees}
	var roots pair[snapshot.Node]
	if p := base(pairs, b, v.Name); p.src != nil && !c.noBase {
		roots = pair[snapshot.Node]{p.src.Volume(v.Name).Root, p.dst.Volume(v.Name).Root}
		if roots.src.Type != v.Root.Type || roots.dst.Type != v.Root.Type {
			roots = pair[snapshot.Node]{}
		} else {
			if c.current.Base == nil {
				c.current.Base = p.src
			}
		}
	}
	if err := w.node(v.Root, roots, 0, func() {}); err != nil {
		return nil, err
	}
	return c.v.finish(ctx)
}

// parents returns the copies of the backup's parents.
func parents(b *snapshot.Backup, pairs []pair[snapshot.Backup]) (list []crypto.SessionID) {
	for _, p := range pairs {
		if slices.Contains(b.Parents, p.src.ID) {
			list = append(list, p.dst.ID)
		}
	}
	slices.SortFunc(list, crypto.SessionID.Compare)
	return slices.Compact(list)
}

// begin announces the session of a backup. A signal ends what is read but not the
// Writer, so that what it holds can still be kept; only while it begins, the
// signal ends it, too. What was seen to be stored in the session before is relied
// upon only if no collection can have removed anything since.
func (c *copier) begin(ctx context.Context) (err error) {
	writing, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
	detach := context.AfterFunc(ctx, func() { cancel(context.Cause(ctx)) })
	last, had := c.generation, c.begun
	if c.generation, err = c.dst.Generation(writing); err != nil {
		cancel(nil)
		return fmt.Errorf("begin: %w", err)
	}
	c.begun = true
	b := c.current.Backup
	started := snapshot.TimeOf(c.o.Now())
	w, err := c.dst.Begin(writing, repo.WriterOptions{Compression: c.o.Compression, Uploads: c.o.Uploads,
		Checkpoints: &repo.Checkpoints{Host: b.Host, User: b.User, Group: b.Group, Time: b.Time, Started: started, Bytes: c.o.Checkpoint}})
	begun := detach()
	switch {
	case err != nil:
		cancel(nil)
		return fmt.Errorf("begin: %w", err)
	case !begun:
		w.Abort()
		cancel(nil)
		return context.Cause(ctx)
	}
	c.w, c.end = w, func() { cancel(nil) }
	unchanged := false
	if had {
		now, err := c.dst.Generation(ctx)
		if err != nil {
			return err
		}
		unchanged = now == last
	}
	c.v.use(w, unchanged)
	return nil
}

// retire lets go of a Writer that has ended.
func (c *copier) retire(s repo.Stats) {
	c.past.Raw, c.past.Stored = c.past.Raw+s.Raw, c.past.Stored+s.Stored
	c.end()
	c.w = nil
}

// release lets go of a Writer whose session was given up.
func (c *copier) release() {
	if c.w != nil {
		c.w.Abort()
		c.retire(c.w.Stats())
		c.v.notes.loaded = false // there are more by now
	}
}

// checkpoint keeps what the session has stored for the next one, in the name of
// the current backup, whose copy supersedes it.
func (c *copier) checkpoint() (kept bool, err error) {
	b, w := c.current.Backup, c.w
	now := snapshot.TimeOf(c.o.Now())
	kept, err = w.Checkpoint(&snapshot.Backup{Host: b.Host, Group: b.Group, User: b.User, Time: b.Time, Started: now, Finished: now})
	c.retire(w.Stats())
	return kept, err
}

// close ends the last session, if one is left: after an interruption, or
// because the last backup could not be copied.
func (c *copier) close(ctx context.Context) error {
	if c.w == nil {
		return nil
	}
	if ctx.Err() != nil {
		c.o.Keeping()
	}
	c.report.Kept, c.report.KeepErr = c.checkpoint()
	if ctx.Err() != nil {
		return nil
	}
	return c.report.KeepErr
}
