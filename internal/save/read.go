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
	if s.o.Around == nil {
		return s.capture(ctx)
	}
	return s.o.Around(ctx, s.capture)
}

// capture is the pass that the backup consists of.
func (s *session) capture(ctx context.Context) error {
	began := s.o.Now()
	stored := &storedByVolume{w: s.w}
	report, err := archive.Run(ctx, s.options(func(e archive.Event) {
		if e.Kind == archive.EventVolume {
			stored.next()
		}
		s.observe(e)
	}), s.volumes)
	if err == nil {
		err = s.w.Flush()
	}
	s.Reading = s.o.Now().Sub(began)
	if err != nil {
		return fmt.Errorf("back up: %w", err)
	}
	stored.next()
	for i := range report.Volumes {
		report.Volumes[i].BytesStored = stored.of(i)
	}
	s.Backup.Volumes, s.Excluded = report.Volumes, report.Excluded
	s.Backup.Finished = snapshot.TimeOf(s.o.Now())
	return nil
}

// prewarm stores what there is now, and makes it the parent of what will be read.
// Streams are left out: a dump is another one each time it is made.
func (s *session) prewarm(ctx context.Context) error {
	var paths []archive.Volume
	var at []int
	for i, v := range s.volumes {
		if _, stream := v.Source.(archive.Opener); !stream {
			paths, at = append(paths, v), append(at, i)
		}
	}
	if len(paths) == 0 {
		return nil
	}
	report, err := archive.Run(ctx, s.options(func(e archive.Event) {
		switch e.Kind {
		case archive.EventProblem, archive.EventNotice, archive.EventItem, archive.EventExcluded:
		default:
			s.observe(e)
		}
	}), paths)
	if err == nil {
		err = s.w.Flush() // so that the pages can be read again
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

func (s *session) options(observe func(archive.Event)) archive.Options {
	return archive.Options{
		NewStore:      func() archive.Store { return s.w.Lane() },
		Reader:        s.w,
		Hasher:        s.r,
		Chunker:       s.r.Chunker(),
		Thresholds:    s.r.Params().Trees,
		OneFileSystem: s.o.OneFileSystem,
		Items:         s.o.Items,
		Observe:       observe,
		Now:           s.o.Now,
	}
}

func (s *session) observe(e archive.Event) {
	if s.o.Observe != nil {
		s.o.Observe(e)
	}
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
