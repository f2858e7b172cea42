package main

import (
	"context"
	"errors"

	"vault/repo"
	"vault/repo/gc"
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

// extendLocks extends the locks of what is still reachable, and says where there are
// none. It returns how many objects are held now.
func extendLocks(ctx context.Context, r *repo.Repo) (int, error) {
	n, err := gc.ExtendLocks(ctx, r)
	if errors.Is(err, gc.ErrNoLock) {
		return 0, &failure{code: exitFailure, err: err, hint: "object lock is a thing of S3 buckets"}
	}
	return n, err
}
