package s3

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"net/http"
	"strconv"
	"strings"

	"github.com/minio/minio-go/v7"
)

// Get implements [backend.Backend], with one request, or two for a range that
// holds nothing. The reader goes on over a new connection when one breaks, as
// long as the object is still the same version.
func (s *Store) Get(ctx context.Context, name string, off, n int64) (io.ReadCloser, error) {
	if err := s.begin(ctx, "get", name); err != nil {
		return nil, err
	}
	r, err := s.get(ctx, name, off, n)
	if err != nil {
		return nil, s.failed(ctx, "get", name, err)
	}
	return r, nil
}

func (s *Store) get(ctx context.Context, name string, off, n int64) (*reader, error) {
	if off < 0 {
		return nil, fs.ErrInvalid
	}
	r := &reader{ctx: ctx, s: s, name: name, off: off}
	if n == 0 || n > math.MaxInt64-off { // no range can say this
		return r, s.atMost(ctx, name, off, n)
	}
	err := s.retry(ctx, func(context.Context) error { return r.open(n) })
	if minio.ToErrorResponse(err).StatusCode != http.StatusRequestedRangeNotSatisfiable {
		return r, err
	}
	if n > 0 {
		return nil, io.ErrUnexpectedEOF
	}
	return r, s.atMost(ctx, name, off, 0)
}

// atMost checks that the object exists and has at least off+n bytes.
func (s *Store) atMost(ctx context.Context, name string, off, n int64) error {
	info, err := s.look(ctx, name)
	if err == nil && (off > info.Size || n > info.Size-off) {
		err = io.ErrUnexpectedEOF
	}
	return err
}

// look finds out about an object. It reads the first byte, because the answer
// to a HEAD has no body, which would tell a missing object from a missing
// bucket.
func (s *Store) look(ctx context.Context, name string) (info minio.ObjectInfo, err error) {
	ctx = context.WithValue(ctx, lookKey{}, true)
	rng := "bytes=0-0"
	err = s.retry(ctx, func(ctx context.Context) error {
		var opts minio.GetObjectOptions
		if rng != "" {
			opts.Set("Range", rng)
		}
		body, got, header, err := s.core.GetObject(ctx, s.cfg.Bucket, s.key(name), opts)
		if rng != "" && minio.ToErrorResponse(err).StatusCode == http.StatusRequestedRangeNotSatisfiable {
			rng = "" // it is empty
			body, got, header, err = s.core.GetObject(ctx, s.cfg.Bucket, s.key(name), minio.GetObjectOptions{})
		}
		if err != nil {
			return err
		}
		body.Close()
		info = got
		_, info.Size, err = extent(header)
		return err
	})
	return info, err
}

// extent returns where an answer's data begins in the object, and how large
// the object is.
func extent(h http.Header) (start, size int64, err error) {
	text := h.Get("Content-Range")
	if text == "" {
		size, err = strconv.ParseInt(h.Get("Content-Length"), 10, 64)
		if err != nil || size < 0 {
			return 0, 0, errors.New("the answer does not say how large the object is")
		}
		return 0, size, nil
	}
	span, total, _ := strings.Cut(strings.TrimPrefix(text, "bytes "), "/")
	from, _, _ := strings.Cut(span, "-")
	start, err = strconv.ParseInt(from, 10, 64)
	if err == nil {
		size, err = strconv.ParseInt(total, 10, 64)
	}
	if err != nil || start < 0 || size <= start {
		return 0, 0, fmt.Errorf("the answer's range %.50q makes no sense", text)
	}
	return start, size, nil
}

// reader reads one version of an object.
type reader struct {
	ctx       context.Context
	s         *Store
	name      string
	off, left int64
	etag      string        // of the version
	body      io.ReadCloser // nil when there is nothing to read, or no connection
	header    http.Header   // of the first answer
	tries     int           // requests since the last byte arrived
	closed    bool
}

var errReplaced = errors.New("the object was replaced while it was read")

// open asks for the n bytes from r.off on, or all from there if n < 0.
func (r *reader) open(n int64) error {
	var opts minio.GetObjectOptions
	switch {
	case n > 0:
		opts.Set("Range", fmt.Sprintf("bytes=%d-%d", r.off, r.off+n-1))
	case r.off > 0:
		opts.Set("Range", fmt.Sprintf("bytes=%d-", r.off))
	}
	if r.etag != "" {
		opts.SetMatchETag(r.etag)
	}
	body, info, header, err := r.s.core.GetObject(r.ctx, r.s.cfg.Bucket, r.s.key(r.name), opts)
	if err != nil {
		return err
	}
	start, size, err := extent(header)
	switch {
	case err != nil:
	case start != r.off:
		err = fmt.Errorf("asked for bytes from %d on, the store sends those from %d", r.off, start)
	case r.etag != "" && info.ETag != r.etag:
		err = errReplaced
	case n > size-r.off:
		err = io.ErrUnexpectedEOF
	}
	if err != nil {
		body.Close()
		return err
	}
	if n < 0 {
		n = size - r.off
	}
	r.body, r.left, r.etag = body, n, info.ETag
	if r.header == nil {
		r.header = header
	}
	return nil
}

// Remaining tells backend.ReadAll how much to allocate.
func (r *reader) Remaining() int64 { return r.left }

func (r *reader) Read(p []byte) (int, error) {
	if r.closed {
		return 0, r.s.failed(context.Background(), "read", r.name, fs.ErrClosed)
	}
	if len(p) == 0 {
		return 0, nil
	}
	for {
		if err := r.ctx.Err(); err != nil {
			return 0, err
		}
		if r.left == 0 {
			return 0, io.EOF
		}
		n, err := r.body.Read(p[:min(int64(len(p)), r.left)])
		if n > 0 {
			r.off, r.left, r.tries = r.off+int64(n), r.left-int64(n), 0
			return n, nil // the body will give the error again
		}
		if err == nil {
			continue
		}
		if err = r.reopen(err); err != nil {
			return 0, r.s.failed(r.ctx, "read", r.name, err)
		}
	}
}

// reopen replaces the body, which has failed with err.
func (r *reader) reopen(err error) error {
	if err == io.EOF { // there should be more
		err = &netError{io.ErrUnexpectedEOF}
	}
	r.body.Close()
	for {
		r.tries++
		if r.etag == "" || !r.s.again(r.ctx, r.tries, err) {
			r.body = broken{err}
			return err
		}
		if err = r.open(r.left); err == nil {
			return nil
		}
		if minio.ToErrorResponse(err).StatusCode == http.StatusPreconditionFailed {
			err = errReplaced
		}
	}
}

func (r *reader) Close() error {
	if r.closed || r.body == nil {
		r.closed = true
		return nil
	}
	r.closed = true
	r.body.Close() // what was read was whole, or Read has said otherwise
	return nil
}

// broken is a body that has failed for good.
type broken struct{ err error }

func (b broken) Read([]byte) (int, error) { return 0, b.err }
func (b broken) Close() error             { return nil }
