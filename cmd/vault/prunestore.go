package main

import (
	"context"
	"errors"

	"vault/repo"
	"vault/repo/gc"
)

// checkExtendLock refuses to extend locks where it is not known for how long, and in
// a trial: how long each object is held already would have to be asked of the store.
func (a *app) checkExtendLock(f pruneFlags, dryRun bool) error {
	if f.extendLock && dryRun {
		return usagef("--extend-lock and --dry-run are both given: a dry run extends no lock")
	}
	o, err := a.storageOptions()
	if err != nil {
		return err
	}
	if f.extendLock && o.S3.ObjectLock == "" {
		return usagef("--extend-lock: for how long? Give --s3-object-lock, or set VAULT_S3_OBJECT_LOCK")
	}
	return nil
}

// extendLocks extends the locks of what is still reachable, and says where there are
// none. It returns how many objects are held now.
func extendLocks(ctx context.Context, r *repo.Repo) (int, error) {
	n, err := gc.ExtendLocks(ctx, r)
	if errors.Is(err, gc.ErrNoLock) {
		return 0, &failure{code: exitFailure, err: err, hint: "object lock is a thing of S3 buckets"}
	}
	return n, err
}
