// Package s3 keeps a repository in a bucket of an object store that speaks the
// S3 protocol: Amazon's, MinIO-like servers, Ceph, the S3 interface of B2. An
// object of the repository is an object of the bucket whose key is the place's
// prefix followed by the name.
//
// A request is sent once by the client library and repeated here, with growing
// and jittered pauses, as long as its failure is one that time can mend. What
// time cannot mend (credentials, a missing bucket, a full store) fails at once.
// A request that makes no progress for a while is given up, however long a
// whole one may take.
//
// Caveats:
//
//   - Create needs a store that honours "If-None-Match: *". One that refuses
//     the header makes Create fail with errors.ErrUnsupported; one that ignores
//     it lets every racer win, which only a race can show. See
//     [Store.SingleWriter].
//   - Every Create marks its object with a random token in the object's
//     metadata. A repeated Create that meets an existing object reads the
//     token, so that it knows its own earlier success, whose answer was lost,
//     from another's. A store that drops metadata makes it fs.ErrExist.
//   - A Put whose answer was lost may take effect later, also after another
//     Put of the same name. Whoever replaces objects has to live with that.
//   - Delete of a missing object is no error: S3 does not tell.
//   - In a bucket with versioning, Delete removes all versions of the object
//     if it may, or else hides it. A locked version is backend.ErrLocked.
//   - Object lock holds versions. Whoever has the key can still put another
//     version above one, or hide it: what is held is below, and comes to light
//     when what is above is removed.
//   - Store-side listings have to be in byte order, which S3 promises for all
//     but directory buckets. Another order is an error, not a wrong listing.
package s3

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/s3utils"

	"vault/backend"
)

func init() {
	// After the last of its tries, which is the first here, the library would
	// wait as if there were another.
	minio.DefaultRetryUnit = 0
}

// Store is a [backend.Backend] in a bucket. Use [Open].
type Store struct {
	cfg    Config // with its defaults filled in
	place  string // for people
	prefix string // "" or ends in "/"
	core   *minio.Core
	wire   *transport

	closed     atomic.Bool
	unguarded  atomic.Bool // there is one writer: Create looks first
	hidingOnly atomic.Bool // versions may not be listed or removed: Delete hides
	warnings   sync.Map    // which warnings have been given
}

var _ backend.Backend = (*Store)(nil)

// Open returns the store that cfg describes. It looks for credentials, which
// may ask the instance's metadata service, and asks the store nothing: a
// missing bucket shows at the first operation. The context is for Open alone.
func Open(ctx context.Context, cfg Config) (*Store, error) {
	host, secure, err := cfg.check()
	s := &Store{place: cfg.place()}
	if err != nil {
		return nil, &backend.Error{Op: "open", Place: s.place, Err: err}
	}
	s.cfg = cfg.withDefaults()
	if s.prefix = strings.Trim(cfg.Prefix, "/"); s.prefix != "" {
		s.prefix += "/"
	}
	if s.wire, err = newTransport(&s.cfg, secure); err != nil {
		return nil, &backend.Error{Op: "open", Place: s.place, Err: opaque(err)}
	}
	creds := newCredentials(s.cfg.Credentials)
	if err := s.probeCredentials(ctx, creds); err != nil {
		s.wire.close()
		return nil, s.failed(ctx, "open", "", err)
	}
	s.core, err = minio.NewCore(host, &minio.Options{
		Creds:        creds,
		Secure:       secure,
		Transport:    s.wire,
		Region:       s.cfg.Region,
		BucketLookup: s.cfg.Style.lookup(),
		MaxRetries:   1,
	})
	if err != nil {
		s.wire.close()
		return nil, &backend.Error{Op: "open", Place: s.place, Err: opaque(err)}
	}
	return s, nil
}

// SingleWriter implements [backend.SingleWriter]: whether a store honours the
// condition of a put cannot be told, so that Create looks first.
func (s *Store) SingleWriter() { s.unguarded.Store(true) }

// Moved implements [backend.Mover].
func (s *Store) Moved() int64 { return s.wire.moved.Load() }

// Close implements [backend.Backend]. Operations under way may finish.
func (s *Store) Close() error {
	if s.closed.Swap(true) {
		return &backend.Error{Op: "close", Place: s.place, Err: fs.ErrClosed}
	}
	s.wire.close()
	return nil
}

// key returns the bucket's name of an object.
func (s *Store) key(name string) string { return s.prefix + name }

// begin checks what every operation on an object checks first.
func (s *Store) begin(ctx context.Context, op, name string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := backend.Check(name); err != nil {
		return &backend.Error{Op: op, Place: s.place, Name: name, Err: err}
	}
	if s.closed.Load() {
		return &backend.Error{Op: op, Place: s.place, Name: name, Err: fs.ErrClosed}
	}
	return nil
}

// warn passes a warning on, once for each text.
func (s *Store) warn(text string) {
	if _, given := s.warnings.LoadOrStore(text, true); !given && s.cfg.Warn != nil {
		s.cfg.Warn(s.place + ": " + text)
	}
}

// check returns the endpoint's host and whether it is asked over TLS.
func (c *Config) check() (host string, secure bool, err error) {
	host, secure = c.Endpoint, true
	if scheme, rest, ok := strings.Cut(host, "://"); ok {
		switch strings.ToLower(scheme) {
		case "http":
			secure = false
		case "https":
		default:
			return "", false, fmt.Errorf("the endpoint's scheme %q is neither http nor https", scheme)
		}
		host = rest
	}
	host = strings.TrimRight(host, "/")
	switch {
	case c.Endpoint == "":
		host = defaultEndpoint
	case host == "" || strings.ContainsAny(host, "/@?# "):
		return "", false, errors.New("the endpoint is not a host with an optional scheme and port")
	}
	if err := s3utils.CheckValidBucketName(c.Bucket); err != nil {
		return "", false, fmt.Errorf("bucket %q: %w", c.Bucket, err)
	}
	prefix := strings.Trim(c.Prefix, "/")
	switch {
	case len(prefix) > maxPrefix:
		return "", false, fmt.Errorf("the prefix has %d bytes, limit %d", len(prefix), maxPrefix)
	case prefix != "" && !fs.ValidPath(prefix) || prefix == ".":
		return "", false, fmt.Errorf("the prefix %q is not a clean path", c.Prefix)
	}
	switch l := c.ObjectLock; {
	case l.Mode != "" && l.Mode != Compliance && l.Mode != Governance:
		return "", false, fmt.Errorf("object lock: mode %q is neither %q nor %q", l.Mode, Compliance, Governance)
	case l.Mode != "" && (l.For < time.Second || l.For > MaxLock), l.Mode == "" && l.For != 0:
		return "", false, fmt.Errorf("object lock: %v in mode %q make no sense", l.For, l.Mode)
	}
	if c.PartSize != 0 && (c.PartSize < minPartSize || c.PartSize > maxPartSize) {
		return "", false, fmt.Errorf("a part size of %d bytes is outside %d..%d", c.PartSize, minPartSize, maxPartSize)
	}
	if c.Connections < 0 || c.LimitUpload < 0 || c.LimitDownload < 0 || c.Retry.Tries < 0 || c.Retry.Base < 0 || c.Retry.Max < 0 || c.Stall < 0 {
		return "", false, errors.New("limits cannot be negative")
	}
	return host, secure, nil
}

// place names the repository for people.
func (c *Config) place() string {
	path := c.Bucket
	if p := strings.Trim(c.Prefix, "/"); p != "" {
		path += "/" + p
	}
	if c.Endpoint == "" {
		return "s3://" + path
	}
	scheme, host, ok := strings.Cut(c.Endpoint, "://")
	if !ok {
		scheme, host = "https", c.Endpoint
	}
	host = host[strings.LastIndex(host, "@")+1:] // such an endpoint is refused; its secret is not shown
	return "s3:" + scheme + "://" + strings.TrimRight(host, "/") + "/" + path
}

// now is the clock for retention dates.
func (s *Store) now() time.Time { return s.cfg.Now() }
