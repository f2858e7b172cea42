package s3

import (
	"context"
	"errors"
	"io/fs"
	"slices"

	"github.com/minio/minio-go/v7"

	"vault/backend"
)

// Delete implements [backend.Backend]. It takes one request, and a missing
// object is no error: S3 does not say whether there was anything to delete. In
// a bucket with versioning it removes every version, the oldest first, so that
// none comes to light again; a version that the store holds makes it fail with
// [backend.ErrLocked].
func (s *Store) Delete(ctx context.Context, name string) error {
	if err := s.begin(ctx, "delete", name); err != nil {
		return err
	}
	if err := s.remove(ctx, name); err != nil && judge(err).kind != fs.ErrNotExist {
		return s.failed(ctx, "delete", name, err)
	}
	return nil
}

// remove deletes an object. Whether the bucket keeps versions is known from the
// answer about any object; without one the object itself is looked at.
func (s *Store) remove(ctx context.Context, name string) error {
	if !s.wire.known.Load() {
		if _, err := s.look(ctx, name); err != nil {
			return err
		}
	}
	if s.wire.versioned.Load() && !s.hidingOnly.Load() {
		err := s.removeVersions(ctx, name)
		if !errors.Is(err, errNotAllowed) {
			return err
		}
		s.hidingOnly.Store(true)
		s.warn("versions may not be removed, so that deleting an object only hides it and frees no space")
	}
	return s.hide(ctx, name)
}

// hide deletes what is seen of an object: all of it where there are no versions.
func (s *Store) hide(ctx context.Context, name string) error {
	return s.retry(ctx, func(ctx context.Context) error {
		return s.core.RemoveObject(ctx, s.cfg.Bucket, s.key(name), minio.RemoveObjectOptions{})
	})
}

// errNotAllowed says that versions may not be listed or removed here at all.
var errNotAllowed = errors.New("versions may not be removed")

func (s *Store) removeVersions(ctx context.Context, name string) error {
	var list []minio.ObjectInfo
	err := s.retry(ctx, func(ctx context.Context) (err error) {
		list, err = s.versions(ctx, name)
		return err
	})
	switch {
	case err != nil && notAllowed(err):
		return errNotAllowed
	case err != nil:
		return err
	}
	for _, v := range slices.Backward(list) {
		err := s.retry(ctx, func(ctx context.Context) error {
			return s.core.RemoveObject(ctx, s.cfg.Bucket, s.key(name), minio.RemoveObjectOptions{VersionID: v.VersionID})
		})
		switch {
		case err == nil || judge(err).kind == fs.ErrNotExist:
		case !v.IsDeleteMarker && s.held(ctx, name, v.VersionID, err):
			return &backend.Error{Op: "delete", Place: s.place, Name: name, Kind: backend.ErrLocked, Err: opaque(err),
				Hint: "the store refuses until its retention period is over"}
		case notAllowed(err):
			return errNotAllowed
		default:
			return err
		}
	}
	return nil
}

// versions returns the versions of one object, the newest first.
func (s *Store) versions(ctx context.Context, name string) (list []minio.ObjectInfo, err error) {
	key := s.key(name)
	opts := minio.ListObjectsOptions{Prefix: key, Recursive: true, WithVersions: true, MaxKeys: 100}
	for v := range s.core.ListObjectsIter(ctx, s.cfg.Bucket, opts) {
		if v.Err != nil {
			return nil, v.Err
		}
		if v.Key != key { // a longer name, which sorts after all versions of this one
			break
		}
		list = append(list, v)
	}
	// The store sends versions and delete markers in two lists.
	slices.SortStableFunc(list, func(a, b minio.ObjectInfo) int {
		switch {
		case a.IsLatest:
			return -1
		case b.IsLatest:
			return 1
		}
		return b.LastModified.Compare(a.LastModified)
	})
	return list, ctx.Err()
}

func notAllowed(err error) bool {
	v := judge(err)
	return errors.Is(v.kind, backend.ErrPermission) || errors.Is(v.kind, errors.ErrUnsupported)
}

// held reports whether err, the refusal to remove a version, is because the
// store holds it. Amazon says no more than that access is denied.
func (s *Store) held(ctx context.Context, name, version string, err error) bool {
	v := judge(err)
	if v.kind == backend.ErrLocked {
		return true
	}
	if v.temporary || v.network || ctx.Err() != nil {
		return false
	}
	if l := s.cfg.ObjectLock; l.Mode != "" && l.Applies(name) {
		return true // in doubt: hiding it would free nothing, and nobody would remember it
	}
	if h, err := s.holdOf(ctx, name, version); err == nil && (h.legal || h.until.After(s.now())) {
		return true
	}
	// Some stores do not tell how they hold older versions.
	return s.lockable(ctx)
}

// lockable reports whether the bucket has object lock, as far as the store
// tells.
func (s *Store) lockable(ctx context.Context) bool {
	state, _, _, _, err := s.core.GetObjectLockConfig(ctx, s.cfg.Bucket)
	return err == nil && state == "Enabled"
}
