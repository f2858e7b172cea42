package archive

import (
	"errors"
	"fmt"

	"vault/internal/sys"
	"vault/snapshot"
)

// maxAttempts is how often a file is read that keeps changing.
const maxAttempts = 3

// A task is a file to be read. While its batch is with a worker, the worker owns
// it, the slot's node included.
type task struct {
	slot *slot
	node *snapshot.Node // set by the scanner as far as a stat goes
	dir  *dir
	fd   int    // of the directory
	name string // within it
	dev  *device
	st   stat  // what the scanner saw, then what the node is to tell
	link *link // if others wait for this one

	// The outcome. Without a gone the node is good.
	again   bool   // st is newer than the node's fields
	problem error  // something is missing
	notice  string // something is worth knowing
	gone    bool   // there is nothing to store
}

// A batch is tasks in the order in which the scanner met them.
type batch struct {
	tasks []task
	bytes uint64
	dirs  int // runs of tasks in one directory
}

// worker is what a goroutine needs to read files.
type worker struct {
	run   *run
	sink  sink
	cut   cutter
	attrs attrReader
	stat  sys.Stat_t // room for calls
}

func newWorker(r *run) *worker {
	w := &worker{run: r, sink: sink{store: r.o.NewStore(), added: &r.added}, attrs: attrReader{names: r.names}}
	w.cut = newCutter(r, &w.sink)
	return w
}

// loop reads files until there are no more or the run is stopped.
func (w *worker) loop() {
	r := w.run
	defer r.group.Done()
	for {
		r.idle.Add(1)
		select {
		case b, ok := <-r.tasks:
			r.idle.Add(-1)
			if !ok || !w.batch(b) {
				return
			}
		case l := <-r.chunks:
			r.idle.Add(-1)
			if err := w.repay(l); err != nil {
				r.cancel(err)
				return
			}
		}
	}
}

// batch reads the files of a batch and sends it back. It reports whether to go on.
func (w *worker) batch(b *batch) bool {
	for i := range b.tasks {
		if err := w.file(&b.tasks[i]); err != nil {
			w.run.cancel(err)
			return false
		}
	}
	select {
	case w.run.results <- b:
		return true
	case <-w.run.ctx.Done():
		return false
	}
}

var errReplaced = errors.New("replaced by something else while it was read")

// file reads one file. An error stops the run.
//
// For a small file that did not change since the scanner saw it, these are six
// system calls: open, read, list attributes, flags, stat, close.
func (w *worker) file(t *task) error {
	if err := w.run.ctx.Err(); err != nil {
		return err
	}
	fd, err := openat(t.fd, t.name, openFile, w.run.mayHide(t.st.uid))
	if err != nil {
		t.fail(err)
		return nil
	}
	defer sys.Close(fd)
	for attempt := 1; ; attempt++ {
		looked, err := w.once(fd, t)
		if err != nil {
			return err
		}
		if t.gone {
			return nil
		}
		var now stat
		if err := now.fstat(fd, &w.stat); err != nil {
			t.fail(err)
			return nil
		}
		if now.same(&t.st) {
			return nil
		}
		if now.kind() != snapshot.File || now.dev != t.st.dev {
			t.fail(errReplaced)
			return nil
		}
		if attempt == maxAttempts {
			t.notice = "changed while it was read"
			return nil
		}
		w.run.looked.Add(-looked)
		t.st, t.again, t.problem = now, true, nil
	}
}

// once reads content, attributes and flags. It returns the bytes it has counted.
func (w *worker) once(fd int, t *task) (uint64, error) {
	ctx := w.run.ctx
	if err := w.cut.file(ctx, fd, t.st.size, t.st.blocks, t.node); err != nil {
		if stops(err) || w.sink.err != nil {
			return 0, err
		}
		t.fail(err)
		return 0, nil
	}
	if err := w.attrs.read(ctx, attrTarget{fd: fd}, t.dev, t.node, &w.sink, w.run.o.Thresholds.InlineXattr); err != nil {
		if stops(err) {
			return 0, err
		}
		t.problem = err
	}
	t.node.Flags = flags(fd, t.dev, snapshot.File)
	return t.node.Size, nil
}

// fail records that there is nothing to store, and why.
func (t *task) fail(err error) {
	t.gone = true
	t.problem, t.notice = nil, ""
	switch {
	case vanished(err):
		t.notice = noticeVanished
	case errors.Is(err, sys.ELOOP), errors.Is(err, sys.ENXIO):
		t.problem = errReplaced
	case errors.Is(err, errReplaced):
		t.problem = err
	default:
		t.problem = fmt.Errorf("read file: %w", err)
	}
}

const noticeVanished = "vanished before it could be read"

func vanished(err error) bool {
	return errors.Is(err, sys.ENOENT) || errors.Is(err, sys.ESTALE)
}

// mayHide reports whether files of this owner may be read without leaving an
// access time. Asking costs a call where it is refused.
func (r *run) mayHide(uid uint32) bool { return r.uid == 0 || r.uid == int(uid) }
