package repo

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"vault/crypto"
	"vault/index"
	"vault/pack"
	"vault/snapshot"
)

// WriterOptions tune a Writer. The zero value is right for most.
type WriterOptions struct {
	Compression *pack.Level // instead of the repository's own
	Uploads     int         // packs on their way at once; default: 2 while others are filled, and all at the end
	DryRun      bool        // names and looks up, stores nothing, cannot commit

	Checkpoints *Checkpoints // how to keep what is stored before the commit; nil: not
}

// Writer stores blobs and commits them as one backup. It is safe for
// concurrent use; its lanes are not. The order of a backup is fixed by the
// protocol: the session is announced, then packs are stored, then index
// segments, then the one commit record that makes everything visible.
type Writer struct {
	r       *Repo
	o       WriterOptions
	sid     crypto.SessionID
	view    *view // read after the session was announced
	session session
	gc      gcState // what gc/ held right after that

	rescues bool // for a collection: it has no session record, and may take back what it has stored

	known   known
	packers [2]*packer // by kind, tree last
	upload  *uploader

	ctx    context.Context // ends when the writer fails or is done
	cancel context.CancelCauseFunc
	beat   sync.WaitGroup

	mu    sync.Mutex // guards lanes
	lanes []*Lane

	stats struct{ blobs, raw, stored, packs, files atomic.Int64 }
}

// Stats count what a Writer has stored.
type Stats struct {
	Blobs  int64 // blobs that were new
	Raw    int64 // their plain bytes
	Stored int64 // bytes of their segments, compressed and sealed
	Packs  int64 // packs stored
	Files  int64 // their bytes
}

// ErrKilled says that a collector gave the session up before it committed:
// nothing of it became visible.
var ErrKilled = errors.New("a garbage collection gave this session up before it committed")

// ErrVoid says that the commit landed after a collection had closed without
// it, so that it does not count.
var ErrVoid = errors.New("the commit came too late: a garbage collection had closed without it")

// errFinished is the cause of a writer's context after commit or abort.
var errFinished = errors.New("repo: the writer is finished")

// Begin announces a session and returns its Writer. Cancelling ctx stops it.
func (r *Repo) Begin(ctx context.Context, o WriterOptions) (*Writer, error) {
	w := &Writer{r: r, o: o}
	if err := w.announce(ctx); err != nil {
		return nil, err
	}
	v, err := r.refreshAfter(ctx, w.gc)
	if err != nil {
		w.settle(ctx)
		return nil, err
	}
	w.view = v
	w.start(ctx, v.index, v.condemned)
	if !o.DryRun {
		w.beat.Go(w.heartbeat)
	}
	return w, nil
}

// start readies the writer for blobs that are not in known, or only in
// condemned packs.
func (w *Writer) start(ctx context.Context, known *index.Index, condemned map[pack.ID]struct{}) {
	w.ctx, w.cancel = context.WithCancelCause(ctx)
	w.known.reset(known, condemned)
	w.upload = newUploader(w)
	w.packers[0] = newPacker(w, crypto.BlobData)
	w.packers[1] = newPacker(w, crypto.BlobTree)
}

// ID returns the session's id, which becomes the Backup ID.
func (w *Writer) ID() crypto.SessionID { return w.sid }

const beatEvery = 2 * time.Minute

// heartbeat puts the session again from time to time, so that a collector
// sees that this writer is alive, and looks whether the repository is there.
func (w *Writer) heartbeat() {
	for {
		select {
		case <-w.ctx.Done():
			return
		case <-w.r.env.After(beatEvery):
		}
		w.session.Counter++
		object, err := w.r.keys.SealEnvelope(crypto.KindSession, w.sid, sessionName(w.sid), w.session.encode(), w.r.env.Rand)
		if err == nil {
			err = w.r.be.Put(w.ctx, sessionName(w.sid), object)
		}
		if err != nil && w.ctx.Err() == nil {
			w.r.env.Warn(sessionName(w.sid), err) // patience ends sooner; safety does not depend on it
		}
		if err := w.r.Present(w.ctx); errors.Is(err, ErrVanished) {
			w.fail(err) // rather now than at the end
		}
	}
}

// Trusts reports whether content may be taken over from the backup without
// looking every reference up: it was visible after this session was announced,
// no collection is dropping it, and no repair has found something of it lost.
func (w *Writer) Trusts(id crypto.SessionID) bool {
	if c := w.view.commits[id]; c == nil || c.Kind != snapshot.CommitBackup || w.view.events[id].lacking() {
		return false
	}
	if w.view.plan != nil {
		for _, dropped := range w.view.plan.Dropped {
			if dropped == id {
				return false
			}
		}
	}
	return true
}

// Backups returns the backups that were visible when the session began,
// oldest first: those that [Writer.Trusts] may speak of.
func (w *Writer) Backups() []*snapshot.Backup { return w.view.backups() }

// Unfolded returns how many commits no collection had taken account of when the
// session began. It asks nobody; see [Repo.Unfolded].
func (w *Writer) Unfolded() int { return w.view.unfolded() }

// Stats returns what has been stored so far.
func (w *Writer) Stats() Stats {
	return Stats{
		Blobs: w.stats.blobs.Load(), Raw: w.stats.raw.Load(),
		Stored: w.stats.stored.Load(), Packs: w.stats.packs.Load(), Files: w.stats.files.Load(),
	}
}

// fail stops the writer; the first error is the one reported.
func (w *Writer) fail(err error) { w.cancel(err) }

// err returns why the writer stopped, or nil.
func (w *Writer) err() error { return context.Cause(w.ctx) }

// Lane returns a new way into the writer, for one goroutine.
func (w *Writer) Lane() *Lane {
	l := newLane(w)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.lanes = append(w.lanes, l)
	return l
}

// Flush stores everything that the lanes hold: afterwards all packs and index
// segments are durable. No lane may be in use meanwhile.
func (w *Writer) Flush() error {
	if w.o.DryRun {
		return w.err()
	}
	w.mu.Lock()
	lanes := w.lanes
	w.mu.Unlock()
	for _, l := range lanes {
		if err := l.flush(); err != nil {
			w.fail(err)
		}
	}
	for _, p := range w.packers {
		p.closeOpen()
	}
	w.upload.drain()
	if err := w.err(); err != nil {
		return err
	}
	if err := w.upload.redescribe(w.ctx); err != nil {
		return err
	}
	return w.upload.flushIndex()
}

// Ending says that the commit is next: no checkpoint is begun any more.
func (w *Writer) Ending() {
	w.upload.mu.Lock()
	defer w.upload.mu.Unlock()
	w.upload.pace.ending = true
}

// Published returns the names of the index segments that were stored so far and
// that no checkpoint names, sorted. Call it after Flush.
func (w *Writer) Published() [][32]byte {
	var names [][32]byte
	for _, s := range w.upload.unkept() {
		names = append(names, s.name)
	}
	slices.SortFunc(names, compare32)
	return names
}

// Commit makes the backup visible: whole, or not at all. The caller has filled
// in what the backup is; ID, generation and index segments are set here. The
// Writer is finished afterwards, whatever the outcome. An error other than
// ErrKilled and ErrVoid leaves open whether the commit landed; with ErrVanished
// it restores nothing.
func (w *Writer) Commit(b *snapshot.Backup) (*snapshot.Backup, error) {
	return w.commit(snapshot.CommitBackup, b)
}

// Checkpoint ends an interrupted backup in such a way that the next one need
// not store again what this one has stored. It makes nothing visible but the
// blobs. The caller has filled in host and group, by which a later backup is
// known to supersede it. It reports whether there was anything to keep. The
// Writer is finished afterwards.
func (w *Writer) Checkpoint(b *snapshot.Backup) (kept bool, err error) {
	w.Ending()
	if err := w.Flush(); err != nil || len(w.Published()) == 0 {
		w.Abort()
		return w.upload.pace.count > 0, err
	}
	_, err = w.commit(snapshot.CommitCheckpoint, b)
	return err == nil, err
}

func (w *Writer) commit(kind snapshot.CommitKind, b *snapshot.Backup) (*snapshot.Backup, error) {
	if w.o.DryRun {
		panic("repo: Commit of a dry run")
	}
	defer w.finish()
	w.Ending()
	if err := w.Flush(); err != nil {
		return nil, err
	}
	b.ID = w.sid
	b.NewestDone = w.view.doneHash
	b.Index = w.Published()
	b.Program = w.r.env.Agent
	payload, err := snapshot.EncodeCommit(&snapshot.Commit{Kind: kind, Generation: w.session.Generation, Backup: b})
	if err != nil {
		return nil, fmt.Errorf("encode commit: %w", err)
	}
	name := commitName(w.sid)
	if _, err := w.r.create(w.ctx, crypto.KindCommit, w.sid, name, payload); err != nil {
		if errors.Is(err, errTaken) {
			w.salvageSession()
			return nil, ErrKilled
		}
		return nil, err
	}
	err = w.acknowledge(name)
	if errors.Is(err, ErrVoid) {
		w.salvageSession()
	}
	return b, err
}

// Abort gives the session up. What was stored stays for the collector.
func (w *Writer) Abort() {
	stored := w.stats.packs.Load() > 0
	w.fail(errFinished)
	w.finish()
	if !stored {
		w.settle(context.Background())
	}
}

func (w *Writer) finish() {
	w.fail(errFinished)
	w.upload.stop()
	w.beat.Wait()
}
