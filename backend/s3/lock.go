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

// ObjectLock makes the store refuse to delete new objects for a number of days,
// whatever key asks. The bucket must have been made with object lock. The zero
// value does not lock.
type ObjectLock struct {
	Mode LockMode
	Days int

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
		opts.RetainUntilDate = lockDate(now.AddDate(0, 0, l.Days))
	}
}

// lockDate rounds up to the seconds that the protocol knows.
func lockDate(t time.Time) time.Time {
	return t.UTC().Add(time.Second - 1).Truncate(time.Second)
}

// ExtendLock makes the store hold the object at least until the given time. A
// lock that holds longer stays. It takes one request, and two more where the
// store refuses it. Without [Config].ObjectLock it fails with
// errors.ErrUnsupported.
func (s *Store) ExtendLock(ctx context.Context, name string, until time.Time) error {
	const op = "extend lock"
	if err := s.begin(ctx, op, name); err != nil {
		return err
	}
	if s.cfg.ObjectLock.Mode == "" {
		return &backend.Error{Op: op, Place: s.place, Name: name, Kind: errors.ErrUnsupported, Err: errors.New("no object lock is configured")}
	}
	until = lockDate(until)
	err := s.retain(ctx, name, s.cfg.ObjectLock.Mode.retention(), until)
	if err == nil || judge(err).temporary || judge(err).network {
		return s.lockFailed(ctx, name, err)
	}
	// A store refuses to shorten, and to weaken. What is held long enough is
	// fine; what is held more strictly stays so.
	mode, held, rerr := s.retention(ctx, name, "")
	switch {
	case rerr == nil && !held.Before(until):
		return nil
	case rerr == nil && mode == minio.Compliance && s.cfg.ObjectLock.Mode == Governance:
		err = s.retain(ctx, name, mode, until)
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
	return s.retry(ctx, func() error {
		return s.core.PutObjectRetention(ctx, s.cfg.Bucket, s.key(name), minio.PutObjectRetentionOptions{Mode: &mode, RetainUntilDate: &until})
	})
}

// retention returns how long a version is held; "" is the newest.
func (s *Store) retention(ctx context.Context, name, version string) (mode minio.RetentionMode, until time.Time, err error) {
	err = s.retry(ctx, func() error {
		m, t, err := s.core.GetObjectRetention(ctx, s.cfg.Bucket, s.key(name), version)
		if err != nil {
			return err
		}
		if m == nil || t == nil {
			return errors.New("the store gives no retention date")
		}
		mode, until = *m, *t
		return nil
	})
	return mode, until, err
}
