package archive

import (
	"context"
	"fmt"
	"time"

	"vault/snapshot"
)

// drain puts the finished entries at the head of a directory's queue into it. A
// directory that is complete is finished itself, and then its own directory is
// looked at.
func (s *scan) drain(f *frame) error {
	for f != nil {
		for f.waiting() && f.queue[f.head].done {
			e := f.pop()
			s.held -= e.cost
			if e.stuck {
				s.stuck -= e.cost
			}
			if err := s.place(f, e); err != nil {
				return err
			}
		}
		if !f.scanned || f.finished || f.waiting() {
			return nil
		}
		if err := s.finish(f); err != nil {
			return err
		}
		f = f.up
	}
	return nil
}

// place puts a finished entry, or the lack of one, into its directory.
func (s *scan) place(f *frame, e *slot) error {
	f.lost = f.lost || e.gap
	if e.node == nil {
		f.lost = f.lost || e.old != nil
		return nil
	}
	if e.same && !f.lost && f.writer == nil {
		f.matched++
		s.count(e)
		return nil
	}
	if err := s.write(f); err != nil {
		return err
	}
	if err := f.writer.Add(s.ctx, e.node); err != nil {
		if s.own.sink.err != nil {
			return s.own.sink.err
		}
		s.problem(s.vol, f.path(e.node.Name), fmt.Errorf("entry cannot be stored: %w", err))
		return nil
	}
	s.count(e)
	return nil
}

// write makes sure that a directory has a writer, with the entries in it that were
// as in the parent.
func (s *scan) write(f *frame) error {
	if f.writer != nil {
		return nil
	}
	f.writer = s.newWriter()
	if f.matched == 0 {
		return nil
	}
	old := snapshot.NewDirReader(s.ctx, s.o.Reader, f.old.top)
	for range f.matched {
		n, err := old.Next()
		if err == nil {
			err = f.writer.Add(s.ctx, n)
		}
		if err != nil {
			return &stopError{fmt.Errorf("take over entries of the parent: %w", err)}
		}
	}
	return nil
}

func (s *scan) newWriter() *snapshot.DirWriter {
	if k := len(s.writers); k > 0 {
		w := s.writers[k-1]
		s.writers = s.writers[:k-1]
		return w
	}
	return snapshot.NewDirWriter(&s.own.sink, s.o.Hasher, s.o.Thresholds)
}

// finish stores a directory of which every entry is in place.
func (s *scan) finish(f *frame) error {
	e := f.slot
	f.finished = true
	if f.writer == nil && !f.lost && !f.gap && s.parent != nil && s.parent.Trusted && !f.old.top.IsZero() {
		e.node.Tree = f.old.top
	} else {
		if err := s.write(f); err != nil {
			return err
		}
		id, err := f.writer.Finish(s.ctx)
		if err != nil {
			return err
		}
		e.node.Tree = id
		s.writers = append(s.writers, f.writer)
		f.writer = nil
	}
	f.queue = nil
	s.compare(e)
	e.done = true
	return nil
}

// count adds a finished entry to the statistics.
func (s *scan) count(e *slot) {
	n := e.node
	counts := &s.vol.Files
	switch n.Type {
	case snapshot.File:
		s.seen.files++
		if !e.again {
			s.vol.BytesProcessed += n.Size
		}
	case snapshot.Directory:
		s.seen.dirs++
		counts = &s.vol.Directories
	default:
		s.vol.Others++
		counts = new(snapshot.Counts)
	}
	switch e.status {
	case New:
		counts.New++
	case Changed:
		counts.Changed++
	case Unmodified:
		counts.Unmodified++
	}
	if s.seen.items {
		path := "."
		if e.frame != nil {
			path = e.frame.path(n.Name)
		}
		s.seen.emit(Event{Kind: EventItem, Path: path, Type: n.Type, Status: e.status, Size: n.Size})
	}
}

// read sends a file to the workers. Its slot is in its directory's queue.
func (s *scan) read(t task) error {
	t.node = t.slot.node
	if t.dir != nil {
		t.fd = t.dir.fd
		t.dir.refs++
	}
	if t.st.size >= batchBytes { // the others do not wait for it
		b := s.newBatch()
		b.add(t)
		return s.send(b)
	}
	s.batch.add(t)
	if b := s.batch; len(b.tasks) >= batchFiles || b.bytes >= batchBytes || b.dirs >= batchDirs {
		return s.flush()
	}
	return nil
}

func (b *batch) add(t task) {
	if k := len(b.tasks); k == 0 || b.tasks[k-1].dir != t.dir {
		b.dirs++
	}
	b.tasks = append(b.tasks, t)
	b.bytes += t.st.size
}

func (s *scan) newBatch() *batch {
	if k := len(s.free); k > 0 {
		b := s.free[k-1]
		s.free = s.free[:k-1]
		return b
	}
	return &batch{}
}

func (s *scan) flush() error {
	b := s.batch
	if len(b.tasks) == 0 {
		return nil
	}
	s.batch = s.newBatch()
	return s.send(b)
}

// send hands a batch to the workers, and takes back what they have done until one
// is ready for it.
func (s *scan) send(b *batch) error {
	s.start()
	for {
		select {
		case s.tasks <- b:
			s.inflight++
			return nil
		case done := <-s.results:
			if err := s.receive(done); err != nil {
				return err
			}
		case <-s.seen.ticks():
			s.progress()
		case <-s.ctx.Done():
			return context.Cause(s.ctx)
		}
	}
}

// poll takes back what is there, without waiting.
func (s *scan) poll() error {
	s.ahead.now = time.Now()
	if len(s.batch.tasks) > 0 && s.idle.Load() > 0 {
		if err := s.flush(); err != nil {
			return err
		}
	}
	select {
	case done := <-s.results:
		return s.receive(done)
	case <-s.seen.ticks():
		s.progress()
	case <-s.ctx.Done():
		return context.Cause(s.ctx)
	default:
	}
	return nil
}

// wait takes back one batch.
func (s *scan) wait() error {
	if err := s.flush(); err != nil || s.inflight == 0 {
		return err
	}
	for {
		select {
		case done := <-s.results:
			return s.receive(done)
		case <-s.seen.ticks():
			s.progress()
		case <-s.ctx.Done():
			return context.Cause(s.ctx)
		}
	}
}

func (s *scan) progress() {
	path := "."
	if s.top != nil {
		path = s.top.where()
	}
	s.seen.emit(Event{Kind: EventProgress, Path: path})
}

// receive puts the files of a batch where they belong.
func (s *scan) receive(b *batch) error {
	s.inflight--
	s.ahead.now = time.Now()
	for i := range b.tasks {
		t := &b.tasks[i]
		if t.dir != nil {
			s.dirs.release(t.dir)
		}
		if err := s.received(t); err != nil {
			return err
		}
	}
	clear(b.tasks)
	*b = batch{tasks: b.tasks[:0]}
	s.free = append(s.free, b)
	return nil
}

func (s *scan) received(t *task) error {
	e := t.slot
	path := func() string {
		if e.frame == nil {
			return "."
		}
		return e.frame.path(t.name)
	}
	if t.notice != "" && e.frame == nil && t.gone { // without its root there is no volume
		t.problem, t.notice = fmt.Errorf("read file: %s", t.notice), ""
	}
	if t.problem != nil {
		s.problem(s.vol, path(), t.problem)
	}
	if t.notice != "" {
		s.notice(path(), t.notice)
	}
	if t.gone {
		e.node = nil
	} else {
		if t.again {
			size := t.node.Size
			t.st.fill(t.node, s.names)
			t.node.Size = size
		}
		s.hold(e)
		s.compare(e)
	}
	e.done = true
	if err := s.resolve(t); err != nil {
		return err
	}
	return s.drain(e.frame)
}

// hold counts what the content of a node takes.
func (s *scan) hold(e *slot) {
	if e.frame == nil {
		return
	}
	more := len(e.node.Content.Inline) + 48*len(e.node.Content.Items)
	for i := range e.node.Xattrs {
		more += 80 + len(e.node.Xattrs[i].Value)
	}
	e.cost += more
	s.held += more
	if e.stuck {
		s.stuck += more
	}
}
