package main

import (
	"context"
	"errors"
	"io/fs"

	"golang.org/x/sync/errgroup"

	"vault/internal/location"
	"vault/repo"
)

// checkExtendLock refuses to extend locks where it is not known for how long.
func (a *app) checkExtendLock(f pruneFlags) error {
	o, err := a.storageOptions()
	if err != nil {
		return err
	}
	if f.extendLock && o.S3.ObjectLock == "" {
		return usagef("--extend-lock: for how long? Give --s3-object-lock, or set VAULT_S3_OBJECT_LOCK")
	}
	return nil
}

// lockRequests is how many objects are asked to be locked at once.
const lockRequests = 16

// extendLocks makes the store hold everything that is still reachable from now
// on for as long as new objects. It returns how many objects that are.
func extendLocks(ctx context.Context, r *repo.Repo) (n int, err error) {
	store, ok := r.Backend().(interface {
		ExtendLock(ctx context.Context, name string) error
	})
	if !ok {
		return 0, &failure{code: exitFailure, err: errors.New("this kind of store has no object lock"), hint: "object lock is a thing of S3 buckets"}
	}
	var problem error
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(lockRequests)
	for name, err := range r.Reachable(ctx) {
		if err != nil {
			problem = err // what can be told of is locked all the same
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
	return n, errors.Join(problem, g.Wait())
}

// proveExclusive looks whether a remote store still does what a collection
// beside other clients depends on.
func (a *app) proveExclusive(ctx context.Context, r *repo.Repo) error {
	if loc, err := a.location(); err != nil || loc.Scheme == location.Local {
		return err
	}
	return r.ProveExclusive(ctx)
}
