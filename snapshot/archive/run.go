package archive

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"vault/crypto"
	"vault/snapshot"
)

// run is the state of one call of Run. All of it belongs to the calling goroutine
// but for what says otherwise.
type run struct {
	o      Options
	ctx    context.Context // ends with the caller's, or with the first error that stops everything
	cancel context.CancelCauseFunc
	report Report
	seen   observer
	names  *names
	own    *worker // the scanner's; its goroutine is the caller's
	dirs   dirs
	uid    int // effective
	home   home

	tasks   chan *batch // to the workers
	results chan *batch // back
	chunks  chan *loan  // from a worker with a large file to idle ones
	spare   chan []byte // room for chunks
	group   sync.WaitGroup
	started bool // the workers

	oneFS    bool   // file systems are not left, in the volume being read
	excluded uint64 // entries of the volume just read

	looked atomic.Uint64 // bytes read or passed over; any goroutine
	added  atomic.Uint64 // bytes of new blobs; any goroutine
	idle   atomic.Int64  // workers that wait; any goroutine
}

func newRun(ctx context.Context, o Options) *run {
	r := &run{o: o, names: newNames(), dirs: dirs{}, uid: os.Geteuid()}
	r.ctx, r.cancel = context.WithCancelCause(ctx)
	r.own = newWorker(r)
	r.seen = observer{tell: o.Observe, items: o.Items && o.Observe != nil, bytes: r.looked.Load}
	if o.Observe != nil {
		r.seen.tick = time.NewTicker(progressEvery)
	}
	return r
}

// queued is the number of batches that wait for a worker.
const queued = 4

// start starts the workers, once.
func (r *run) start() {
	if r.started {
		return
	}
	r.started = true
	r.tasks = make(chan *batch, queued)
	r.results = make(chan *batch, r.o.Workers+queued)
	r.chunks = make(chan *loan)
	r.spare = make(chan []byte, r.o.Workers)
	for range r.o.Workers {
		w := newWorker(r)
		r.group.Add(1)
		go w.loop()
	}
}

// stop ends the workers and then closes what they may have used.
func (r *run) stop() {
	r.cancel(nil)
	if r.started {
		close(r.tasks)
		r.group.Wait()
	}
	r.dirs.closeAll()
	if r.seen.tick != nil {
		r.seen.tick.Stop()
	}
}

// volume reads one volume.
func (r *run) volume(v *Volume) (snapshot.Volume, error) {
	if v.Source == nil {
		return snapshot.Volume{}, fmt.Errorf("%w: no source", errOptions)
	}
	out := &snapshot.Volume{Name: v.Name, State: snapshot.Complete, ScanStarted: snapshot.TimeOf(r.o.Now())}
	out.Kind, out.Source = v.Source.Describe()
	r.seen.volume = v.Name
	r.seen.emit(Event{Kind: EventVolume, Path: "."})
	before := r.added.Load()
	r.excluded, r.oneFS = 0, r.o.OneFileSystem || v.OneFileSystem
	r.names.ids = v.IDs
	var err error
	switch src := v.Source.(type) {
	case Path:
		err = r.path(src.Path, nil, v, out)
	case List:
		err = r.list(src, v, out)
	case Tree:
		err = r.tree(src, v, out)
	case Opener:
		err = r.stream(src, v.Parent, out)
	default:
		err = fmt.Errorf("%w: source of unknown type %T", errOptions, v.Source)
	}
	if err != nil {
		return snapshot.Volume{}, err
	}
	out.BytesAdded = r.added.Load() - before
	switch {
	case out.Root == nil:
		out.State = snapshot.Failed
	case out.ProblemCount > 0:
		out.State = snapshot.Partial
	}
	return *out, nil
}

// Limits of a problem's strings; part of the format.
const (
	maxPath    = 65536
	maxMessage = 4096
)

func (r *run) problem(v *snapshot.Volume, path string, err error) {
	message := err.Error()
	if len(message) > maxMessage {
		message = message[:maxMessage]
	}
	if len(path) > maxPath {
		path = "..." + path[len(path)-maxPath+3:]
	}
	v.ProblemCount++
	if len(v.Problems) < snapshot.MaxProblems {
		v.Problems = append(v.Problems, snapshot.Problem{Path: path, Message: message})
	}
	r.seen.emit(Event{Kind: EventProblem, Path: path, Message: message})
}

func (r *run) notice(path, message string) {
	if len(r.report.Notices) < maxNotices {
		r.report.Notices = append(r.report.Notices, Notice{Volume: r.seen.volume, Path: path, Message: message})
	} else {
		r.report.Dropped++
	}
	r.seen.emit(Event{Kind: EventNotice, Path: path, Message: message})
}

// A stopError is one that ends the whole run, not an object's problem.
type stopError struct{ err error }

func (e *stopError) Error() string { return e.err.Error() }
func (e *stopError) Unwrap() error { return e.err }

func stops(err error) bool {
	var s *stopError
	return errors.As(err, &s)
}

// sink puts the blobs of one goroutine and counts them. It is a snapshot.Sink.
type sink struct {
	store Store
	added *atomic.Uint64
	err   error // the first error of the store
}

// Put implements snapshot.Sink.
func (s *sink) Put(ctx context.Context, kind crypto.BlobKind, data []byte) (crypto.ID, error) {
	return s.put(ctx, kind, data)
}

func (s *sink) put(ctx context.Context, kind crypto.BlobKind, data []byte) (crypto.ID, error) {
	err := context.Cause(ctx)
	if err == nil {
		var id crypto.ID
		var added bool
		if id, added, err = s.store.Put(ctx, kind, data); err == nil {
			if added {
				s.added.Add(uint64(len(data)))
			}
			return id, nil
		}
	}
	err = &stopError{err}
	if s.err == nil {
		s.err = err
	}
	return crypto.ID{}, err
}
