package repo

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"vault/crypto"
	"vault/index"
	"vault/pack"
	"vault/snapshot"
)

// Checkpoints say how a backup keeps what it has stored while it is still being
// written, so that little is stored again after its process was killed, its
// machine lost power, or a collection gave its session up: the next run finds
// the blobs by looking them up, as those of any other backup.
//
// A checkpoint is a commit of its own, with a session of its own, that holds the
// packs stored since the one before. What it needs to be safe beside
// collections is in docs/decisions/008, and internal/sim/model is searched for
// counterexamples. The commit of the backup supersedes them all.
type Checkpoints struct {
	Host, User, Group string // of the backup: a later one of the same host and group supersedes them
	Time, Started     snapshot.Time

	// A checkpoint is due after so many bytes of packs (default: one full pack) that
	// are also a sixteenth of what was stored before, so that their number grows
	// with the logarithm of a backup's size; and after so much time (default: 5
	// minutes), which bounds what a long backup loses.
	Bytes int64
	Every time.Duration
}

const (
	checkpointEvery = 5 * time.Minute
	checkpointShare = 16
)

// checkpointLag is how many times Checkpoints.Bytes may be stored and in no
// checkpoint: one takes a dozen round trips, during which packs go on being stored.
const checkpointLag = 4

// pace tells when a checkpoint is due.
type pace struct {
	o      Checkpoints
	on     bool
	ending bool          // the commit is next, which is worth more than another checkpoint
	busy   chan struct{} // closed when the one that is being made is made; nil if none is
	kept   int64         // bytes of packs that this one is for
	since  int64         // bytes of packs stored since it, or the last one, was begun
	total  int64         // and since the session began
	last   time.Time     // when the last one was begun
	count  int           // made
}

func newPace(o *Checkpoints, packSize int, now time.Time) pace {
	if o == nil {
		return pace{}
	}
	p := pace{o: *o, on: true, last: now}
	if p.o.Bytes <= 0 {
		p.o.Bytes = int64(packSize)
	}
	if p.o.Every <= 0 {
		p.o.Every = checkpointEvery
	}
	return p
}

// stored takes account of a pack.
func (p *pace) stored(size int) {
	p.since += int64(size)
	p.total += int64(size)
}

// enough is how many bytes make a checkpoint due.
func (p *pace) enough() int64 { return max(p.o.Bytes, p.total/checkpointShare) }

// due reports whether it is time for a checkpoint.
func (p *pace) due(now time.Time) bool {
	return p.on && !p.ending && p.since > 0 && (p.since >= p.enough() || now.Sub(p.last) >= p.o.Every)
}

// begin takes account of a checkpoint that is begun.
func (p *pace) begin(now time.Time) { p.kept, p.since, p.last = p.since, 0, now }

// lags reports whether too much is at stake to store more before the checkpoint
// that is being made is made.
func (p *pace) lags() bool {
	return p.busy != nil && p.kept+p.since >= max(checkpointLag*p.o.Bytes, 2*p.total/checkpointShare)
}

// keepPace has checkpoints made while they are due, one at a time, beside the
// storing of packs. It waits for one only if too much would be at stake otherwise.
func (u *uploader) keepPace() {
	u.mu.Lock()
	if now := u.w.r.env.Now(); u.pace.busy == nil && u.pace.due(now) {
		u.pace.begin(now)
		u.pace.busy = make(chan struct{})
		u.flight.Add(1) // as one that is drained: this pack is under way as well
		go u.makeCheckpoints()
	}
	busy, lags := u.pace.busy, u.pace.lags()
	u.mu.Unlock()
	if lags {
		select {
		case <-busy:
		case <-u.w.ctx.Done():
		}
	}
}

// makeCheckpoints makes the checkpoint that was begun, and those that are due then.
func (u *uploader) makeCheckpoints() {
	defer u.flight.Done()
	for again := true; again; {
		err := u.flushIndex()
		if err == nil {
			err = u.w.checkpoint(u.w.ctx)
		}
		if err != nil {
			u.w.fail(err)
		}
		u.mu.Lock()
		now := u.w.r.env.Now()
		if again = err == nil && u.pace.due(now); again {
			u.pace.begin(now)
		} else {
			close(u.pace.busy)
			u.pace.busy, u.pace.kept = nil, 0
		}
		u.mu.Unlock()
	}
}

// checkpoint makes a checkpoint of the index segments that are stored and that
// no earlier one names. What it finds about the session - that a collection has
// given it up - it returns as ErrKilled or ErrVoid, so that nothing is uploaded
// in vain; every other failure is a warning.
func (w *Writer) checkpoint(ctx context.Context) (lost error) {
	g, err := w.tryCheckpoint(ctx)
	if err != nil && !errors.Is(err, errMoved) && ctx.Err() == nil {
		w.r.env.Warn(commitName(w.sid), fmt.Errorf("checkpoint: %w", err))
	}
	return w.lost(ctx, g)
}

// tryCheckpoint returns what gc/ held when the checkpoint's session began.
func (w *Writer) tryCheckpoint(ctx context.Context) (gcState, error) {
	if err := w.upload.redescribe(ctx); err != nil {
		return gcState{}, err
	}
	beside, err := w.r.announce(ctx, func(context.Context) (time.Time, error) { return w.r.env.Now(), nil })
	if err != nil {
		return beside.gc, err
	}
	names, err := w.mayKeep(ctx, beside.gc)
	if err != nil || len(names) == 0 {
		w.r.settle(ctx, beside.sid)
		return beside.gc, err
	}
	return beside.gc, w.keep(ctx, beside, names)
}

// mayKeep returns the segments that a checkpoint made under generation g may
// name: none of their packs, and not they themselves, may be about to go. The
// plan that was in force when the session began cannot know of them, and the
// one after that is the only other whose record must still be there.
func (w *Writer) mayKeep(ctx context.Context, g gcState) (names [][32]byte, err error) {
	going := plan{}
	switch {
	case g.newest > w.session.Generation+1:
		return nil, nil
	case g.newest > w.session.Generation:
		if going, err = w.r.readPlan(ctx, g.newest); err != nil {
			return nil, err
		}
	}
	for _, s := range w.upload.unkept() {
		if !going.touches(s) {
			names = append(names, s.name)
		}
	}
	return names, nil
}

// touches reports whether the plan removes the segment or one of its packs.
func (p plan) touches(s stored) bool {
	has := func(list []pack.ID, id pack.ID) bool {
		_, found := slices.BinarySearchFunc(list, id, func(a, b pack.ID) int { return compare32(a, b) })
		return found
	}
	if _, orphan := slices.BinarySearchFunc(p.OrphanSegments, s.name, compare32); orphan {
		return true
	}
	for info := range s.segment.Packs() {
		if has(p.Condemned, info.ID) || has(p.OrphanPacks, info.ID) {
			return true
		}
	}
	return false
}

// keep creates the commit of a checkpoint. From then on a collection may merge
// and delete the segments that it names, so the commit of the backup must not
// name them again; and where the outcome is not known, it must not count on
// them either.
func (w *Writer) keep(ctx context.Context, beside announced, names [][32]byte) error {
	o := w.upload.pace.o
	payload, err := snapshot.EncodeCommit(&snapshot.Commit{
		Kind: snapshot.CommitCheckpoint, Generation: beside.gc.newest,
		Backup: &snapshot.Backup{
			ID: beside.sid, NewestDone: w.view.doneHash, Parents: []crypto.SessionID{w.sid}, Index: names,
			Host: o.Host, User: o.User, Group: o.Group, Program: w.r.env.Agent,
			Time: o.Time, Started: o.Started, Finished: snapshot.TimeOf(w.r.env.Now()),
		},
	})
	if err != nil {
		return fmt.Errorf("encode: %w", err)
	}
	_, err = w.r.create(ctx, crypto.KindCommit, beside.sid, commitName(beside.sid), payload)
	w.upload.kept(beside.sid, names, err == nil)
	if errors.Is(err, errTaken) {
		return nil // by a collection, which is going to give up this session, too
	}
	return err
}

// lost tells whether this session can still commit, as far as a listing of gc/
// shows cause to ask.
func (w *Writer) lost(ctx context.Context, g gcState) error {
	if g.done > w.session.Generation {
		return ErrVoid
	}
	if g.newest > w.session.Generation {
		if c, err := w.r.readCommit(ctx, w.sid); err == nil && c.Kind == snapshot.CommitKilled {
			return ErrKilled
		}
	}
	return nil
}

// salvageSession keeps what a session has stored that was given up by a
// collection, for the session that starts over.
func (w *Writer) salvageSession() {
	if w.upload.pace.on && len(w.upload.unkept()) > 0 {
		w.checkpoint(w.ctx) // whose finding is known
	}
}

// stored is an index segment that this session has put.
type stored struct {
	name    [32]byte
	segment *index.Segment
}

// unkept returns the segments that no checkpoint names.
func (u *uploader) unkept() []stored {
	u.mu.Lock()
	defer u.mu.Unlock()
	return slices.Clone(u.published)
}

// kept takes account of a checkpoint that was made, or perhaps made.
func (u *uploader) kept(sid crypto.SessionID, names [][32]byte, sure bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if sure {
		u.pace.count++
		u.records = append(u.records, commitName(sid))
	}
	u.published = slices.DeleteFunc(u.published, func(s stored) bool {
		if !slices.Contains(names, s.name) {
			return false
		}
		if !sure {
			u.doubtful = append(u.doubtful, s.segment)
		}
		return true
	})
}

// redescribe puts new segments for those of which nobody knows whether a
// checkpoint names them.
func (u *uploader) redescribe(ctx context.Context) error {
	u.mu.Lock()
	doubtful := u.doubtful
	u.doubtful = nil
	u.mu.Unlock()
	if len(doubtful) == 0 {
		return nil
	}
	var fresh []stored
	for payload, err := range index.Merge(doubtful, func(pack.ID) bool { return true }, foldRows) {
		var s stored
		if err == nil {
			s.name, s.segment, err = u.w.r.storeSegment(ctx, u.w.sid, payload)
		}
		if err != nil {
			u.mu.Lock()
			u.doubtful = append(u.doubtful, doubtful...)
			u.mu.Unlock()
			return err
		}
		fresh = append(fresh, s)
	}
	u.mu.Lock()
	u.published = append(u.published, fresh...)
	for _, s := range fresh {
		u.records = append(u.records, indexName(s.name))
	}
	u.mu.Unlock()
	return nil
}
