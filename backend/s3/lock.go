package s3

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/minio/minio-go/v7"

	"vault/backend"
)

// LockMode says who may end the retention of an object early: nobody, or those
// with a special permission.
type LockMode string

// The modes.
const (
	Compliance LockMode = "compliance"
	Governance LockMode = "governance"
)

// ObjectLock makes the store refuse to delete new objects for a while, whatever
// key asks. The bucket must have been made with object lock. The zero value does
// not lock.
type ObjectLock struct {
	Mode LockMode
	For  time.Duration

	// Applies says which objects are locked; nil is all that a restore needs:
	// everything but sessions and events, which are replaced and swept, and
	// the leftovers of probes.
	Applies func(name string) bool
}

// needed is the default of [ObjectLock].Applies.
func needed(name string) bool {
	for _, p := range []string{"sessions/", "events/", "probe-", "ballast"} {
		if strings.HasPrefix(name, p) {
			return false
		}
	}
	return true
}

func (m LockMode) retention() minio.RetentionMode {
	return minio.RetentionMode(strings.ToUpper(string(m)))
}

// mark adds the retention of a new object to its options.
func (l ObjectLock) mark(opts *minio.PutObjectOptions, name string, now time.Time) {
	if l.Mode != "" && l.Applies(name) {
		opts.Mode = l.Mode.retention()
		opts.RetainUntilDate = lockDate(now.Add(l.For))
	}
}

// lockDate rounds up to the seconds that the protocol knows.
func lockDate(t time.Time) time.Time {
	return t.UTC().Add(time.Second - 1).Truncate(time.Second)
}

// ExtendLock makes the store hold the object from now on for as long as
// [Config].ObjectLock says. A lock that holds longer stays. It takes one request,
// and two more where the store refuses it. What is not locked when it is stored
// is left alone. Without [Config].ObjectLock it fails with errors.ErrUnsupported.
func (s *Store) ExtendLock(ctx context.Context, name string) error {
	const op = "extend lock"
	if err := s.begin(ctx, op, name); err != nil {
		return err
	}
	l := s.cfg.ObjectLock
	if l.Mode == "" {
		return &backend.Error{Op: op, Place: s.place, Name: name, Kind: errors.ErrUnsupported, Err: errors.New("no object lock is configured"),
			Hint: "say how objects are to be locked, as when they were stored"}
	}
	if !l.Applies(name) {
		return nil
	}
	return s.extendLock(ctx, name, lockDate(s.now().Add(l.For)))
}

func (s *Store) extendLock(ctx context.Context, name string, until time.Time) error {
	err := s.retain(ctx, name, s.cfg.ObjectLock.Mode.retention(), until)
	if err == nil || judge(err).temporary || judge(err).network {
		return s.lockFailed(ctx, name, err)
	}
	// A store refuses to shorten, and to weaken. What is held long enough is
	// fine; what is held more strictly stays so.
	h, herr := s.holdOf(ctx, name, "")
	switch {
	case herr == nil && !h.until.Before(until): // in whichever mode
		return nil
	case herr == nil && h.mode == minio.Compliance && s.cfg.ObjectLock.Mode == Governance:
		err = s.retain(ctx, name, h.mode, until)
	}
	return s.lockFailed(ctx, name, err)
}

func (s *Store) lockFailed(ctx context.Context, name string, err error) error {
	if err == nil {
		return nil
	}
	return s.failed(ctx, "extend lock", name, err)
}

// retain sets the retention of an object's newest version.
func (s *Store) retain(ctx context.Context, name string, mode minio.RetentionMode, until time.Time) error {
	return s.retry(ctx, func(ctx context.Context) error {
		return s.core.PutObjectRetention(ctx, s.cfg.Bucket, s.key(name), minio.PutObjectRetentionOptions{Mode: &mode, RetainUntilDate: &until})
	})
}

// hold is how the store holds one version of an object.
type hold struct {
	mode  minio.RetentionMode
	until time.Time // zero if there is no retention
	legal bool      // held without a date
}

// holdOf asks how a version is held; "" is the newest. The headers of the
// object say it on all stores, while the documents that say the same differ.
func (s *Store) holdOf(ctx context.Context, name, version string) (h hold, err error) {
	var info minio.ObjectInfo
	err = s.retry(ctx, func(ctx context.Context) (err error) {
		info, err = s.core.StatObject(ctx, s.cfg.Bucket, s.key(name), minio.StatObjectOptions{VersionID: version})
		return err
	})
	if err != nil {
		return hold{}, err
	}
	h.mode = minio.RetentionMode(info.Metadata.Get("X-Amz-Object-Lock-Mode"))
	h.legal = info.Metadata.Get("X-Amz-Object-Lock-Legal-Hold") == string(minio.LegalHoldEnabled)
	if text := info.Metadata.Get("X-Amz-Object-Lock-Retain-Until-Date"); text != "" {
		h.until, err = time.Parse(time.RFC3339, text)
	}
	return h, err
}
