package save

import (
	"context"
	"fmt"

	"vault/repo"
	"vault/snapshot"
	"vault/snapshot/archive"
)

// read reads and stores all volumes, and before that what can be read ahead.
func (s *session) read(ctx context.Context) error {
	if s.o.Prewarm && !s.o.DryRun {
		if err := s.prewarm(ctx); err != nil {
			return err
		}
	}
	s.stored.w = s.w
	var err error
	if s.o.Around == nil {
		err = s.capture(ctx)
	} else {
		err = s.around(ctx)
	}
	if err != nil {
		return err
	}
	s.w.Ending()
	if err := s.w.Flush(); err != nil {
		return fmt.Errorf("back up: %w", err)
	}
	s.stored.next()
	for i := range s.Backup.Volumes {
		s.Backup.Volumes[i].BytesStored = s.stored.of(i)
	}
	return nil
}

// capture is the pass that the backup consists of. What it has read need not be stored
// when it returns.
func (s *session) capture(ctx context.Context) error {
	began := s.o.Now()
	o := s.options(func(e archive.Event) {
		if e.Kind == archive.EventVolume {
			s.stored.next()
		}
		s.observe(e)
	})
	if s.o.Around != nil && s.o.Patience > 0 {
		lane := o.NewStore
		o.NewStore = func() archive.Store { return gaugedStore{lane(), &s.gauge} }
		o.Reader = gaugedSource{o.Reader, &s.gauge}
	}
	report, err := archive.Run(ctx, o, s.volumes)
	s.Reading = s.o.Now().Sub(began)
	if err != nil {
		return fmt.Errorf("back up: %w", err)
	}
	s.Backup.Volumes, s.Excluded = report.Volumes, report.Excluded
	s.Backup.Finished = snapshot.TimeOf(s.o.Now())
	return nil
}

// prewarm stores what there is now, and makes it the parent of what will be read.
// Streams are left out: a dump is another one each time it is made. So are sources
// that say by a method Prewarm that reading them twice saves nothing.
func (s *session) prewarm(ctx context.Context) error {
	var paths []archive.Volume
	var at []int
	for i, v := range s.volumes {
		if twice(v.Source) {
			paths, at = append(paths, v), append(at, i)
		}
	}
	if len(paths) == 0 {
		return nil
	}
	o := s.options(func(e archive.Event) {
		switch e.Kind {
		case archive.EventProblem, archive.EventNotice, archive.EventItem, archive.EventExcluded:
		default:
			s.observe(e)
		}
	})
	lane := o.NewStore
	o.NewStore = func() archive.Store { return keepingStore{lane(), &s.kept} }
	report, err := archive.Run(ctx, o, paths)
	if err == nil {
		err = s.w.Flush() // so that pages that were not kept can be read again
	}
	if err != nil {
		return fmt.Errorf("read ahead: %w", err)
	}
	for i := range report.Volumes {
		if v := &report.Volumes[i]; v.Root != nil {
			s.volumes[at[i]].Parent = &archive.Parent{Root: v.Root, ScanStarted: v.ScanStarted}
		}
	}
	return nil
}

// twice reports whether reading a source ahead makes reading it again shorter.
func twice(s archive.Source) bool {
	if w, ok := s.(interface{ Prewarm() bool }); ok {
		return w.Prewarm()
	}
	_, stream := s.(archive.Opener)
	return !stream
}

func (s *session) options(observe func(archive.Event)) archive.Options {
	return archive.Options{
		Repository:    s.r.Directory(),
		NewStore:      func() archive.Store { return s.w.Lane() },
		Reader:        s.reader(),
		Hasher:        s.r,
		Chunker:       s.r.Chunker(),
		Thresholds:    s.r.Params().Trees,
		OneFileSystem: s.o.OneFileSystem,
		Items:         s.o.Items,
		Observe:       observe,
		Now:           s.o.Now,
	}
}

// reader gives the trees of parents.
func (s *session) reader() snapshot.Source {
	if s.o.Prewarm {
		return keepingSource{s.w, &s.kept}
	}
	return s.w
}

func (s *session) observe(e archive.Event) {
	s.telling.Lock()
	defer s.telling.Unlock()
	if s.o.Observe != nil && !s.silent {
		s.o.Observe(e)
	}
}

// silence ends the telling of what is read, which may go on for a while.
func (s *session) silence() {
	s.telling.Lock()
	defer s.telling.Unlock()
	s.silent = true
}

// storedByVolume takes the number of bytes stored at the beginning of each
// volume and at the end. What the writer gathers across the boundary of two
// volumes counts for the second.
type storedByVolume struct {
	w    *repo.Writer
	seen []int64
}

func (s *storedByVolume) next() { s.seen = append(s.seen, s.w.Stats().Stored) }

func (s *storedByVolume) of(i int) uint64 {
	if i+1 >= len(s.seen) {
		return 0
	}
	return uint64(s.seen[i+1] - s.seen[i])
}
