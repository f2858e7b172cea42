package sftp

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"os"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"

	"vault/backend"
	"vault/internal/durable"
)

const (
	// maxReadings bounds how often one listing reads a directory.
	maxReadings = 4

	// firstAhead and maxAhead are how many directories are read before it is
	// their turn, at first and later: each takes several round trips, and most
	// listings are wanted whole.
	firstAhead = 16
	maxAhead   = 48
)

// List implements [backend.Backend]. It reads directories when it comes to
// them, and a growing number of the following ones meanwhile. Only regular
// files are objects. Directories whose names cannot be part of an object's
// ("lost+found", ".snapshot") are strangers' and are not entered.
func (s *Store) List(ctx context.Context, prefix string) iter.Seq2[backend.Info, error] {
	return func(yield func(backend.Info, error) bool) {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel() // what is read ahead
		err := s.list(ctx, prefix, func(info backend.Info) bool { return yield(info, nil) })
		if err != nil && err != errStop {
			yield(backend.Info{}, s.failed("list", prefix, err))
		}
	}
}

// errStop says that the loop over a listing ended early.
var errStop = errors.New("stopped")

func (s *Store) list(ctx context.Context, prefix string, yield func(backend.Info) bool) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := backend.CheckPrefix(prefix); err != nil {
		return err
	}
	w := &walker{s: s, yield: yield, ahead: firstAhead}
	entries, err := s.entries(ctx, strings.TrimSuffix(prefix, "/"))
	if err != nil {
		return err
	}
	return w.walk(ctx, prefix, entries)
}

// walker yields the objects of a tree in order.
type walker struct {
	s     *Store
	yield func(backend.Info) bool
	ahead int // how many directories to read ahead; grows as the caller goes on
}

// reading is a directory that is being read.
type reading struct {
	done    chan struct{}
	entries []os.FileInfo
	err     error
}

func (w *walker) start(ctx context.Context, dir string) *reading {
	r := &reading{done: make(chan struct{})}
	go func() {
		defer close(r.done)
		r.entries, r.err = w.s.entries(ctx, dir)
	}()
	return r
}

// walk yields the objects among entries and below, whose names begin with prefix.
func (w *walker) walk(ctx context.Context, prefix string, entries []os.FileInfo) error {
	// The names below a directory "a" begin with "a/", and "a-b" < "a/" < "a0".
	slices.SortFunc(entries, func(x, y os.FileInfo) int { return strings.Compare(sortKey(x), sortKey(y)) })
	var dirs []string
	for _, e := range entries {
		if e.IsDir() && backend.Check(prefix+e.Name()) == nil {
			dirs = append(dirs, prefix+e.Name())
		}
	}
	var queue []*reading // of dirs, in order, from the next one on
	started := 0
	for _, e := range entries {
		if err := ctx.Err(); err != nil {
			return err
		}
		name := prefix + e.Name()
		switch {
		case e.IsDir() && backend.Check(name) == nil:
			for len(queue) < w.ahead && started < len(dirs) {
				queue = append(queue, w.start(ctx, dirs[started]))
				started++
			}
			w.ahead = min(2*w.ahead, maxAhead)
			r := queue[0]
			queue = queue[1:]
			<-r.done
			if r.err != nil {
				return r.err
			}
			if err := w.walk(ctx, name+"/", r.entries); err != nil {
				return err
			}
		case e.Mode().IsRegular() && !durable.IsTemp(e.Name()):
			if !w.yield(backend.Info{Name: name, Size: e.Size()}) {
				return errStop
			}
		}
	}
	return nil
}

func sortKey(e os.FileInfo) string {
	if e.IsDir() {
		return e.Name() + "/"
	}
	return e.Name()
}

// entries returns what the sub-directory rel holds, temporary files and all.
// One that is missing is empty, whatever another reading would say: at that
// moment it held nothing. Every entry that was there before the call and
// was not removed is among them, also one that was replaced meanwhile: on some
// file systems (tmpfs, btrfs) a replaced entry gets a new place in the
// directory, where a reading that is under way does not meet it. Therefore the
// directory is read at least twice, until a reading meets nothing new, and
// what any of them met is returned.
//
// An entry is visible before whoever made it has synced the directory. Callers
// act upon what they see, so the directory is synced after each reading that
// met something new, while the next one is under way.
func (s *Store) entries(ctx context.Context, rel string) ([]os.FileInfo, error) {
	var list []os.FileInfo
	err := s.retry(ctx, func(ctx context.Context, c *conn) error {
		known := make(map[string]int)
		list = nil
		more := false // the latest reading met something new
		for i := 0; i < 2 || more && i < maxReadings; i++ {
			synced := s.syncSeen(ctx, c, rel, more)
			ground := s.ground(rel)
			got, err := call(ctx, c, func() ([]os.FileInfo, error) { return c.readDir(ctx, s.dir(rel), ground) })
			if serr := <-synced; serr != nil && err == nil {
				return fmt.Errorf("sync the directory: %w", serr)
			}
			if err == errNothing {
				s.found()
				return nil
			}
			if errors.Is(err, fs.ErrNotExist) {
				err = s.look(ctx, c)
			}
			if err != nil {
				return err
			}
			before := len(list)
			for _, e := range got {
				if at, ok := known[e.Name()]; ok {
					list[at] = e
				} else if saneName(e.Name()) {
					known[e.Name()] = len(list)
					list = append(list, e)
				}
			}
			more = len(list) > before
		}
		return <-s.syncSeen(ctx, c, rel, more)
	})
	return list, err
}

// ground returns the repository's directory if the sub-directory rel may well be
// missing there, or "".
func (s *Store) ground(rel string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if rel == "" || strings.Contains(rel, "/") || s.synced[rel] {
		return ""
	}
	return s.root
}

// syncSeen makes the entries of the sub-directory rel durable in the background
// and then sends the outcome, or sends nil at once if there is nothing to do.
// Who may only read is not allowed to, and does nothing that depends on it.
func (s *Store) syncSeen(ctx context.Context, c *conn, rel string, needed bool) <-chan error {
	done := make(chan error, 1)
	if !needed {
		done <- nil
		return done
	}
	go func() {
		var g errgroup.Group
		g.Go(func() error { return syncDir(ctx, c, s.dir(rel)) })
		g.Go(func() error { return s.entryDurable(ctx, c, rel) })
		err := g.Wait()
		if errors.Is(err, fs.ErrPermission) || errors.Is(err, fs.ErrNotExist) { // or the directory is gone
			err = nil
		}
		done <- err
	}()
	return done
}

// saneName refuses what no directory can hold, from servers that say so.
func saneName(name string) bool {
	return name != "" && name != "." && name != ".." && !strings.ContainsAny(name, "/\x00")
}
