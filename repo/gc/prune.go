package gc

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"golang.org/x/sync/errgroup"

	"vault/repo"
)

// PruneOptions are options of a collection, and of what belongs around one.
type PruneOptions struct {
	Options
	// Prove has the store show first that it still creates exclusively, see
	// [repo.Repo.ProveExclusive]. A store on another machine has to: what is
	// behind its address may have changed.
	Prove bool
}

// PruneReport is what a prune did.
type PruneReport struct {
	Report
	Temporary int // files that were removed, which nobody was writing any more
}

// Prune carries out one collection as everybody should who wants space back: it has
// the store proven, collects, and lets a driver that has temporary files remove those
// that were left behind. A dry run only plans.
func Prune(ctx context.Context, r *repo.Repo, o PruneOptions) (p PruneReport, err error) {
	if o.Prove && !o.DryRun {
		if err := r.ProveExclusive(ctx); err != nil {
			return p, err
		}
	}
	if p.Report, err = Run(ctx, r, o.Options); err != nil || o.DryRun {
		return p, err
	}
	p.Temporary, err = sweepTemporary(ctx, r)
	return p, err
}

func sweepTemporary(ctx context.Context, r *repo.Repo) (int, error) {
	s, ok := r.Backend().(interface {
		Sweep(context.Context) (int, error)
	})
	if !ok {
		return 0, nil
	}
	n, err := s.Sweep(ctx)
	if errors.Is(err, errors.ErrUnsupported) {
		err = nil
	}
	return n, err
}

// ErrNoLock says that a store is of a kind that cannot lock objects.
var ErrNoLock = errors.New("this kind of store has no object lock")

// lockRequests is how many objects are asked to be locked at once.
const lockRequests = 16

// ExtendLocks makes the store hold everything that is still reachable from now on for
// as long as new objects, by one request each. It returns how many objects that are.
// Damage does not keep it from locking what can be told of; it is the error then.
func ExtendLocks(ctx context.Context, r *repo.Repo) (n int, err error) {
	store, ok := r.Backend().(interface {
		ExtendLock(ctx context.Context, name string) error
	})
	if !ok {
		return 0, fmt.Errorf("extend locks: %w", ErrNoLock)
	}
	var problem error
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(lockRequests)
	for name, err := range r.Reachable(ctx) {
		if err != nil {
			problem = err
			continue
		}
		n++
		g.Go(func() error {
			// What is gone by now was moved by a collection, into objects that are new.
			if err := store.ExtendLock(gctx, name); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return err
			}
			return nil
		})
	}
	if err := errors.Join(problem, g.Wait()); err != nil {
		return n, fmt.Errorf("extend locks: %w", err)
	}
	return n, nil
}
