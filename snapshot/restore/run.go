package restore

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"vault/backend"
	"vault/crypto"
	"vault/snapshot"
)

// run is one restore.
type run struct {
	opts   Options
	ctx    context.Context
	stop   context.CancelCauseFunc
	owners *owners
	dirs   *dirCache
	target *dir

	uid, gid   uint32      // our own
	groups     []int       // that we may give our files to
	chownFails atomic.Bool // we are not allowed to give files away

	// places are the volumes' places and the directories on the way there, as
	// paths below the target. Delete spares them.
	places map[string]struct{}

	home *identity // of the repository's directory; nil: none on this machine

	// makeSpill makes a file without a name in the root of a volume.
	makeSpill func(root *dir) (file, error)

	batches chan batch
	lead    lead // of the walker before the workers
	spans   chan *span
	workers sync.WaitGroup

	deferred atomic.Int64 // bytes of symlinks that wait in directories

	entries  [verbs]atomic.Uint64
	types    [hardLink + 1]atomic.Uint64
	written  atomic.Uint64
	kept     atomic.Uint64
	verified atomic.Uint64

	mu       sync.Mutex // guards what follows
	problems []Problem
	notices  []Problem
	nProblem uint64
	nNotice  uint64
	kinds    map[string]uint64
}

// hardLink counts further links beside the types of nodes.
const hardLink = snapshot.BlockDevice + 1

// volume is what belongs to the volume that is being restored.
type volume struct {
	name  string
	size  *budget
	links links
	done  chan struct{} // closed when its root is finished
}

// batch is some entries of one directory, none of which is a directory.
type batch struct {
	dir   *dir
	nodes []*snapshot.Node
	bytes int // of memory, about
}

// worker is the scratch memory of one goroutine.
type worker struct {
	*run
	blob  []byte // the last blob
	other []byte // what the target has
	ids   []crypto.ID
}

func newRun(ctx context.Context, opts Options) *run {
	r := &run{opts: opts, owners: newOwners(opts.NumericIDs, opts.Owners), dirs: newDirCache(descriptorLimit()),
		batches: make(chan batch, maxLead), spans: make(chan *span), kinds: make(map[string]uint64)}
	r.ctx, r.stop = context.WithCancelCause(ctx)
	r.uid, r.gid = ownIDs()
	r.groups, _ = os.Getgroups()
	r.makeSpill = (&worker{run: r}).spillFile
	return r
}

// all restores the volumes.
func (r *run) all(volumes []Volume) error {
	defer r.stop(nil)
	r.locateHome()
	if err := r.openTarget(); err != nil {
		return fmt.Errorf("restore to %s: %w", r.opts.Target, err)
	}
	defer r.dirs.close()
	for range r.opts.Workers {
		r.workers.Add(1)
		go r.work()
	}
	r.places = places(volumes, r.opts.Spare)
	w := &worker{run: r}
	for i := range volumes {
		if r.ctx.Err() != nil {
			break
		}
		w.volume(&volumes[i])
	}
	close(r.batches)
	r.workers.Wait()
	r.dirs.release(r.target)
	if r.ctx.Err() != nil {
		return fmt.Errorf("restore to %s: %w", r.opts.Target, context.Cause(r.ctx))
	}
	return nil
}

// openTarget makes and opens the target, which stays open to the end.
func (r *run) openTarget() error {
	path := r.opts.Target
	if trimmed := strings.TrimRight(path, "/"); trimmed != "" {
		path = trimmed
	}
	t := newDir(nil, "", nil, nil)
	t.ready = true
	if !r.opts.DryRun {
		if err := os.MkdirAll(path, 0o700); err != nil {
			return err
		}
	}
	h, st, err := openTarget(path)
	if errors.Is(err, os.ErrNotExist) && r.opts.DryRun {
		t.absent = true
		r.target = t
		r.dirs.mu.Lock()
		t.uses = 1
		r.dirs.mu.Unlock()
		return nil
	}
	if err != nil {
		return err
	}
	if r.isHome(st) {
		h.close()
		return errHome
	}
	t.had, t.stamp = st, h.object().stamp()
	r.target = t
	r.dirs.add(t, h)
	return nil
}

// volume restores one volume and waits until it is done.
func (w *worker) volume(v *Volume) {
	state := &volume{name: v.Name, size: newBudget(v.Volume), done: make(chan struct{}), links: newLinks()}
	parts, err := splitDir(v.Dir)
	root := v.Root
	switch {
	case err != nil:
	case root == nil:
		err = errors.New("the backup has no data of this volume")
	case len(parts) == 0 && root.Type != snapshot.Directory:
		err = fmt.Errorf("a %v cannot take the place of the target", root.Type)
	case len(parts) == 0:
		parts = []string{"."}
	}
	if err != nil {
		w.problem(state, "", err)
		return
	}
	d := w.target
	for _, p := range parts[:len(parts)-1] {
		d = newDir(d, p, state, nil)
	}
	node := root.Clone()
	node.Name = parts[len(parts)-1]
	if node.Type == snapshot.Directory {
		w.tree(newDir(d, node.Name, state, node))
	} else {
		w.single(d, state, node)
	}
	w.finishLinks(state)
}

// single restores a volume whose root is not a directory into d.
func (w *worker) single(d *dir, v *volume, n *snapshot.Node) {
	if !w.ready(d) {
		return
	}
	// A view of d that belongs to this volume.
	view := newDir(d, ".", v, nil)
	view.solo, view.ready, view.absent = true, true, d.absent
	view.had, view.made, view.stamp = d.had, d.made, d.stamp
	w.withLeftovers(view, n.Name, func() { w.entry(view, n) })
	w.dirs.drop(view)
}

// places returns the volumes' places, those to spare, and all directories above
// them.
func places(volumes []Volume, spare []string) map[string]struct{} {
	set := make(map[string]struct{})
	dirs := slices.Clone(spare)
	for _, v := range volumes {
		dirs = append(dirs, v.Dir)
	}
	for _, dir := range dirs {
		parts, _ := splitDir(dir)
		for i := range parts {
			set[strings.Join(parts[:i+1], "/")] = struct{}{}
		}
	}
	return set
}

// work is a worker: ranges of large files come first, since somebody waits for
// them.
func (r *run) work() {
	defer r.workers.Done()
	w := &worker{run: r}
	for {
		select {
		case s := <-r.spans:
			w.span(s)
			continue
		default:
		}
		select {
		case s := <-r.spans:
			w.span(s)
		case b, ok := <-r.batches:
			if !ok {
				return
			}
			for _, n := range b.nodes {
				w.entry(b.dir, n)
			}
			r.lead.give(b.bytes)
			w.done(b.dir)
		}
	}
}

// get fetches a blob of a known length into the worker's memory. The result is
// valid until the next call.
func (w *worker) get(kind crypto.BlobKind, id crypto.ID, length uint64) ([]byte, error) {
	if err := w.ctx.Err(); err != nil {
		return nil, err
	}
	b, err := w.opts.Source.Get(w.ctx, kind, id, w.blob[:0])
	if err != nil {
		w.fatal(err)
		return nil, fmt.Errorf("fetch content: %w", err)
	}
	w.blob = b
	if uint64(len(b)) != length {
		return nil, fmt.Errorf("blob %v has %d bytes where the tree says %d", id, len(b), length)
	}
	return b, nil
}

// fatal stops everything if an error of the source concerns everything.
func (r *run) fatal(err error) {
	if errors.Is(err, backend.ErrUnreachable) {
		r.stop(err)
	}
}

func (r *run) cancelled() bool { return r.ctx.Err() != nil }

// problem reports that something is not as the backup has it. What fails
// because everything was stopped is no problem of its own.
func (r *run) problem(v *volume, path string, err error) {
	if r.cancelled() {
		return
	}
	r.mu.Lock()
	r.nProblem++
	if len(r.problems) < MaxProblems {
		r.problems = append(r.problems, Problem{Volume: v.name, Path: short(path), Err: err})
	}
	r.mu.Unlock()
}

// notice reports metadata that could not be set. Of one kind, only some are
// listed: a user who may not give files away would not see anything else.
func (r *run) notice(d *dir, name, what string, err error) {
	kind := noticeKind(what)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.nNotice++
	r.kinds[kind]++
	if r.kinds[kind] <= maxOfKind && len(r.notices) < MaxProblems {
		r.notices = append(r.notices, Problem{Volume: d.volume.name, Path: short(d.pathOf(name)), Err: fmt.Errorf("%s: %w", what, err)})
	}
}

// noticeKinds are the beginnings of what notices are about, and their kinds.
var noticeKinds = [...][2]string{{"owner", "owner"}, {"group", "group"}, {"mode", "mode"}, {"time", "time"}, {"file capabilities", "capability"},
	{"inode flags", "flags"}, {"hard link", "link"}}

// noticeKind returns the kind of metadata; what is none of the others is an
// attribute.
func noticeKind(what string) string {
	for _, k := range noticeKinds {
		if strings.HasPrefix(what, k[0]) {
			return k[1]
		}
	}
	return "attribute"
}

// short bounds what a path of thousands of components takes in a report.
func short(path string) string {
	const most = 64 << 10
	if len(path) > most {
		return path[:most/2] + "..." + path[len(path)-most/2:]
	}
	return path
}

// failed reports an entry that could not be restored.
func (r *run) failed(d *dir, name string, typ snapshot.Type, err error) {
	if r.cancelled() {
		return
	}
	r.problem(d.volume, d.pathOf(name), err)
	r.event(d, name, typ, Failed, 0)
}

// event counts and tells what happened to an entry.
func (r *run) event(d *dir, name string, typ snapshot.Type, verb Verb, bytes uint64) {
	if verb != Wrote {
		r.entries[verb].Add(1)
		if verb <= Unchanged {
			r.types[typ].Add(1)
		}
	}
	if r.opts.Observe != nil {
		if typ == hardLink {
			typ = snapshot.File
		}
		r.opts.Observe(Event{Verb: verb, Volume: d.volume.name, Path: d.pathOf(name), Type: typ, Bytes: bytes})
	}
}

func (r *run) report() Report {
	rep := Report{
		Directories:  r.types[snapshot.Directory].Load(),
		Files:        r.types[snapshot.File].Load(),
		Symlinks:     r.types[snapshot.Symlink].Load(),
		HardLinks:    r.types[hardLink].Load(),
		Others:       r.types[snapshot.FIFO].Load() + r.types[snapshot.CharDevice].Load() + r.types[snapshot.BlockDevice].Load(),
		BytesWritten: r.written.Load(), BytesKept: r.kept.Load(), BytesVerified: r.verified.Load(),
	}
	for v := range rep.Entries {
		rep.Entries[v] = r.entries[v].Load()
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	rep.Problems, rep.ProblemCount = r.problems, r.nProblem
	rep.Notices, rep.NoticeCount, rep.NoticeKinds = r.notices, r.nNotice, maps.Clone(r.kinds)
	return rep
}
