// Package transfer copies backups from one repository to another.
//
// The idea. Names of blobs and the cuts of directories depend on a repository's
// keys, so nothing can be handed over as it is. Content is read and checked by the
// source's name, and gets the target's; trees are woven anew, and come out as if
// the same entries had been backed up into the target. Chunks stay as they are.
// A copy records its origin - of a copy's copy, the first one - so that it is known
// the next time, and pairs of a backup and its copy tell what has which name on
// the other side: both are walked side by side, and what is unchanged since is not
// read at all.
//
// A copy is a backup like any other to the protocol: a session, packs, index
// segments, one commit. Checkpoints are made beside long ones, so that not even a
// crash loses much, and each backup is committed by itself, oldest first. What
// blobs of a backup that is not committed yet are called in the target is noted in
// the client's cache, so that the next run need not read them to know.
//
// Caveats. Data that moved to another file is read again, though it is not stored
// again; so are the trees of a backup that was interrupted. A changed directory or list of chunks is read as a whole. Where the two
// repositories cut data differently (repo.Repo.CutsLike), copies do not
// deduplicate against what clients back up into the target. Two transfers of the
// same backup at once may make two copies of it.
package transfer

import (
	"context"
	"fmt"
	"runtime"
	"time"

	"vault/crypto"
	"vault/pack"
	"vault/repo"
	"vault/snapshot"
)

// Options say what to copy, and how.
type Options struct {
	// Backups are those of the source that the target should have. They are
	// copied oldest first.
	Backups []*snapshot.Backup
	// Again copies also those whose copies were forgotten in the target.
	Again bool
	// Newer leaves out what is not newer than the newest copy of the same host
	// and group.
	Newer bool
	// DryRun copies nothing, and tells what would be.
	DryRun bool

	Compression *pack.Level // instead of the target's own
	Uploads     int         // as in repo.WriterOptions
	Workers     int         // goroutines that open and seal; default: one a processor
	Checkpoint  int64       // Bytes of repo.Checkpoints, which are made while a backup is copied

	Now func() time.Time // for the records of checkpoints; nil means time.Now

	// Observe is told what happens, by one goroutine at a time. May be nil.
	Observe func(Event)
	// Committed is called after each commit, while no session is open. May be nil.
	Committed func(ctx context.Context)
	// Keeping is called when ctx has ended the copying, before what was stored
	// is kept. May be nil.
	Keeping func()
	// Warn is told of what does not stop the work. May be nil.
	Warn func(about string, err error)
}

// Outcome is what became of a backup that the target should have.
type Outcome uint8

// The outcomes. None of them is the zero value.
const (
	Pending   Outcome = iota + 1 // not copied, by a dry run or for an error before
	Copied                       // it was copied
	Present                      // the target has it
	Forgotten                    // the target had it, and its copy is forgotten
	Older                        // Options.Newer leaves it out
	Damaged                      // the source does not have all of it
	Gone                         // it was forgotten and collected while it was copied
)

// String returns the outcome in a word.
func (o Outcome) String() string {
	switch o {
	case Pending:
		return "pending"
	case Copied:
		return "copied"
	case Present:
		return "present"
	case Forgotten:
		return "forgotten"
	case Older:
		return "older"
	case Damaged:
		return "damaged"
	case Gone:
		return "gone"
	}
	return fmt.Sprintf("outcome %d", uint8(o))
}

// Copy is one backup that the target should have.
type Copy struct {
	Backup  *snapshot.Backup // in the source
	Outcome Outcome
	ID      crypto.SessionID // of the copy, if Copied, Present or Forgotten
	Err     error            // if Damaged or Gone: why; names blob and volume

	// Base is the source's backup with whose copy this one was compared first;
	// nil if there was none.
	Base  *snapshot.Backup
	Bytes Bytes // if it was begun
}

// Bytes counts what was moved.
type Bytes struct {
	Blobs  int64 // data blobs read
	Read   int64 // plain bytes read from the source: data, pages of trees
	Added  int64 // plain bytes that were new in the target
	Stored int64 // bytes of their segments, compressed and sealed
}

func (b *Bytes) add(c Bytes) {
	b.Blobs, b.Read, b.Added, b.Stored = b.Blobs+c.Blobs, b.Read+c.Read, b.Added+c.Added, b.Stored+c.Stored
}

// Report is what became of a transfer.
type Report struct {
	Copies  []Copy // of Options.Backups, oldest first
	Total   Bytes
	Kept    bool  // what was stored of a backup that was not copied is kept for the next run
	KeepErr error // why it is not
}

// Count returns how many backups had the outcome.
func (r *Report) Count(o Outcome) (n int) {
	for i := range r.Copies {
		if r.Copies[i].Outcome == o {
			n++
		}
	}
	return n
}

// EventKind says what an Event tells.
type EventKind uint8

// The kinds.
const (
	EventBegin    EventKind = iota + 1 // a backup is going to be copied
	EventProgress                      // a part of it was read
	EventEnd                           // it has its outcome
)

// Event is a sign of life.
type Event struct {
	Kind  EventKind
	Index int // of the backup among Report.Copies
	Of    int // how many are to be copied in this run
	Nth   int // which one of those this is, from 1
	Copy  Copy
	Done  Bytes // of this backup so far
}

// Run copies what the target lacks. Both repositories may be in use by others
// meanwhile. Backups that the source does not have in full are in the Report; the
// others are copied. An error is one of a repository as a whole, or the cause of
// ctx's end: then what was stored is kept for the next run. The Report is right
// in any case.
func Run(ctx context.Context, dst, src *repo.Repo, o Options) (Report, error) {
	o.defaults()
	c := &copier{dst: dst, src: &source{repo: src}, o: &o}
	if err := c.plan(ctx); err != nil {
		return c.report, err
	}
	if o.DryRun {
		return c.report, nil
	}
	err := c.run(ctx)
	return c.report, err
}

func (o *Options) defaults() {
	if o.Workers <= 0 {
		o.Workers = runtime.GOMAXPROCS(0)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Observe == nil {
		o.Observe = func(Event) {}
	}
	if o.Committed == nil {
		o.Committed = func(context.Context) {}
	}
	if o.Keeping == nil {
		o.Keeping = func() {}
	}
	if o.Warn == nil {
		o.Warn = func(string, error) {}
	}
}
