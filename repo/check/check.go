// Package check proves a repository restorable.
//
// It looks at everything that a restore would: records decode, index segments
// and packs agree, every reference of every backup leads to a blob that the
// index knows, and - when asked to read the data - every blob comes out of its
// pack with the right name. It writes nothing. What it finds it yields as
// Problems; it goes on after each of them.
package check

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"runtime"
	"sync"
	"sync/atomic"

	"vault/crypto"
	"vault/index"
	"vault/pack"
	"vault/repo"
	"vault/snapshot"
)

// Problem is one thing that is not as it should be.
type Problem struct {
	Object string           // the stored object, or ""
	Backup crypto.SessionID // a backup that it affects, or zero
	Volume string           // its volume, or ""
	Path   string           // the entry in the volume, or ""
	Err    error
}

// Options say how much to check.
type Options struct {
	Read    func(id pack.ID, size uint32) bool // packs whose data is read; nil: none
	Only    []crypto.SessionID                 // backups whose references are followed; nil: all
	Workers int                                // default: the number of CPUs, at most 8
	Observe func(Progress)                     // called from several goroutines, after each unit of work
}

// All is a value for Options.Read: every pack.
func All(pack.ID, uint32) bool { return true }

// Progress tells how far the check is.
type Progress struct {
	Packs, PacksTotal int64
	Bytes, BytesTotal int64 // of packs that are read
	Directories       int64 // of backups, followed so far
}

// checker is one run.
type checker struct {
	r     *repo.Repo
	o     Options
	ix    *index.Index
	roots []*snapshot.Backup
	ctx   context.Context
	found chan Problem
	seen  map[string]struct{} // problems that were reported, should it begin again

	mu      sync.Mutex // guards missing
	missing []Problem  // reported only if no collection has moved things meanwhile

	packs, packsTotal, bytes, bytesTotal, dirs atomic.Int64
}

// Run checks the repository and yields what it finds, in no particular order.
// Stopping the loop stops the check. When ctx ends, so does the sequence:
// silence then proves nothing.
func Run(ctx context.Context, r *repo.Repo, o Options) iter.Seq[Problem] {
	if o.Workers <= 0 {
		o.Workers = min(runtime.GOMAXPROCS(0), 8)
	}
	return func(yield func(Problem) bool) {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		c := &checker{r: r, o: o, ctx: ctx, found: make(chan Problem, 16), seen: map[string]struct{}{}}
		go func() {
			defer close(c.found)
			c.run()
		}()
		for p := range c.found {
			key := fmt.Sprint(p)
			if _, twice := c.seen[key]; twice {
				continue
			}
			c.seen[key] = struct{}{}
			if !yield(p) {
				cancel()
				for range c.found {
				}
				return
			}
		}
	}
}

// report yields a problem, unless it comes of being stopped. What is missing,
// and what a backup refers to in vain, may have been moved by a collection since
// the state was read: that is said only when none has.
func (c *checker) report(p Problem) {
	switch {
	case c.ctx.Err() != nil:
	case errors.Is(p.Err, fs.ErrNotExist), !p.Backup.IsZero():
		c.mu.Lock()
		defer c.mu.Unlock()
		c.missing = append(c.missing, p)
	default:
		c.found <- p
	}
}

func (c *checker) object(name string, err error) {
	if err != nil {
		c.report(Problem{Object: name, Err: err})
	}
}

func (c *checker) progress() {
	if c.o.Observe != nil {
		c.o.Observe(Progress{
			Packs: c.packs.Load(), PacksTotal: c.packsTotal.Load(),
			Bytes: c.bytes.Load(), BytesTotal: c.bytesTotal.Load(), Directories: c.dirs.Load(),
		})
	}
}

// run checks, and begins again when a collection has moved things meanwhile
// and something was missing.
func (c *checker) run() {
	const restarts = 5
	for n := range restarts {
		before, err := c.r.Generation(c.ctx)
		if err == nil {
			c.missing = nil
			err = c.once()
		}
		if err != nil {
			c.object("", err)
		}
		if len(c.missing) == 0 {
			return
		}
		if after, err := c.r.Generation(c.ctx); err != nil || after == before || n == restarts-1 {
			break
		}
	}
	for _, p := range c.missing {
		if c.ctx.Err() == nil {
			c.found <- p
		}
	}
}

func (c *checker) once() error {
	if err := c.load(); err != nil {
		return err
	}
	c.records()
	packs, err := c.listed()
	if err != nil {
		return err
	}
	c.readPacks(packs)
	c.references()
	return nil
}

// load reads commits, events, gc records and index segments.
func (c *checker) load() error {
	if err := c.r.Refresh(c.ctx); err != nil {
		return err
	}
	broken, err := c.r.Broken(c.ctx)
	if err != nil {
		return err
	}
	for _, b := range broken {
		var state *repo.StateError
		if errors.As(b, &state) {
			c.object(state.Object, state.Err)
		} else {
			c.object("", b)
		}
	}
	if c.ix, err = c.r.Index(c.ctx); err != nil {
		return err
	}
	c.roots, err = c.r.Roots(c.ctx)
	return err
}

// records looks at what load had no need of, such as every key slot and not
// only the one that opened.
func (c *checker) records() {
	for name, err := range c.r.CheckRecords(c.ctx) {
		c.object(name, err)
	}
}

// listed returns the packs that the index names and the store has.
func (c *checker) listed() (map[pack.ID]*index.PackInfo, error) {
	packs := map[pack.ID]*index.PackInfo{}
	for s := range c.ix.Segments() {
		for p := range s.Packs() {
			if old := packs[p.ID]; old == nil {
				packs[p.ID] = &p
			} else if old.Size != p.Size || old.Kind != p.Kind || string(old.Header) != string(p.Header) {
				c.object(p.ID.Path(), errors.New("two index segments disagree about it"))
			}
		}
	}
	sizes := make(map[pack.ID]int64, len(packs))
	for info, err := range c.r.Backend().List(c.ctx, "packs/") {
		if err != nil {
			return nil, fmt.Errorf("list packs: %w", err)
		}
		if !repo.OwnName(info.Name) {
			continue
		}
		id, err := pack.ParseID(info.Name[len("packs/xx/"):])
		if err == nil && packs[id] != nil {
			sizes[id] = info.Size
		}
	}
	for id, p := range packs {
		size, there := sizes[id]
		switch {
		case !there:
			c.object(id.Path(), fmt.Errorf("the index names it: %w", fs.ErrNotExist))
			delete(packs, id)
		case size != int64(p.Size):
			c.object(id.Path(), fmt.Errorf("it has %d bytes, the index says %d", size, p.Size))
			delete(packs, id)
		}
	}
	return packs, nil
}

// each runs f for every item on several goroutines.
func each[T any](c *checker, items iter.Seq[T], f func(T)) {
	work := make(chan T)
	var wg sync.WaitGroup
	for range c.o.Workers {
		wg.Go(func() {
			for item := range work {
				f(item)
			}
		})
	}
	for item := range items {
		if c.ctx.Err() != nil {
			break
		}
		work <- item
	}
	close(work)
	wg.Wait()
}
