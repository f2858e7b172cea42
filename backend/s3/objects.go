package s3

import (
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/minio/minio-go/v7"

	"vault/backend"
)

// Object is an object of a bucket that belongs to somebody else: to an application
// whose data is backed up. Its key need not be a name that a repository has.
type Object struct {
	Key      string // without the place's prefix
	Size     int64
	ETag     string // of this content, without quotes
	Modified time.Time
	// Header has what was stored with the object: its type, encoding and so on, and the
	// metadata of its user, by the canonical names of HTTP. Listings do not have it.
	Header map[string]string
}

// kept are the headers of an object besides X-Amz-Meta-..., by their canonical names.
var kept = []string{"Cache-Control", "Content-Disposition", "Content-Encoding", "Content-Language", "Content-Type", "Expires"}

const metaPrefix = "X-Amz-Meta-"

// keeps reports whether a header, by its canonical name, belongs to an object.
func keeps(name string) bool {
	return slices.Contains(kept, name) || strings.HasPrefix(name, metaPrefix)
}

// Objects yields all objects below the place's prefix in the order of their keys as
// bytes, folder markers included. It ends after the first error.
func (s *Store) Objects(ctx context.Context) iter.Seq2[Object, error] {
	return func(yield func(Object, error) bool) {
		if s.closed.Load() {
			yield(Object{}, &backend.Error{Op: "list", Place: s.place, Err: fs.ErrClosed})
			return
		}
		l := &lister{s: s, ctx: ctx, prefix: s.prefix}
		if err := l.all(func(obj minio.ObjectInfo) bool {
			key := obj.Key[len(s.prefix):]
			return key == "" || yield(Object{Key: key, Size: obj.Size, ETag: obj.ETag, Modified: obj.LastModified}, nil)
		}); err != nil {
			yield(Object{}, s.failed(ctx, "list", "", err))
		}
	}
}

// OpenObject reads an object, and tells what was stored with it. One that does not
// exist is fs.ErrNotExist. The reader goes on over a new connection when one breaks,
// as long as the object is still the same.
func (s *Store) OpenObject(ctx context.Context, key string) (io.ReadCloser, Object, error) {
	if err := s.beginObject(ctx, "get", key); err != nil {
		return nil, Object{}, err
	}
	r, err := s.get(ctx, key, 0, -1)
	if err != nil {
		return nil, Object{}, s.failed(ctx, "get", key, err)
	}
	o := Object{Key: key, Size: r.left, ETag: r.etag, Header: map[string]string{}}
	o.Modified, _ = http.ParseTime(r.header.Get("Last-Modified"))
	for name, values := range r.header {
		if len(values) > 0 && keeps(name) {
			o.Header[name] = values[0]
		}
	}
	return r, o, nil
}

// PutObject stores an object of o.Size bytes with o.Header; the store sets the rest. A
// content of more than [Config].PartSize bytes goes up in parts, one after another.
func (s *Store) PutObject(ctx context.Context, o Object, in io.Reader) error {
	if err := s.beginObject(ctx, "put", o.Key); err != nil {
		return err
	}
	opts := minio.PutObjectOptions{UserMetadata: map[string]string{}, DisableContentSha256: true, DisableMultipart: true}
	var err error
	for name, value := range o.Header {
		if !keeps(name) { // it might be one that grants rights
			err = fmt.Errorf("%q is no header that an object keeps", name)
			return &backend.Error{Op: "put", Place: s.place, Name: o.Key, Err: err}
		}
		opts.UserMetadata[name] = value
	}
	if o.Size > int64(s.cfg.PartSize) {
		err = s.putStream(ctx, o, in, opts)
	} else {
		var data []byte
		if data, err = readPart(in, o.Size, o.Size); err != nil {
			return err
		}
		p := &upload{name: o.Key, data: data, sha: s.payloadHash(data), opts: opts}
		if !s.cfg.NoChecksum {
			p.opts.UserMetadata[checksumHeader] = checksum(data)
		}
		err = s.retry(ctx, func(ctx context.Context) error { return s.send(ctx, p) })
	}
	if err != nil {
		return s.failed(ctx, "put", o.Key, err)
	}
	return nil
}

// putStream uploads an object in parts.
func (s *Store) putStream(ctx context.Context, o Object, in io.Reader, opts minio.PutObjectOptions) error {
	size := max(int64(s.cfg.PartSize), (o.Size+maxParts-1)/maxParts)
	if !s.cfg.NoChecksum {
		opts.UserMetadata["X-Amz-Checksum-Algorithm"] = "CRC32C"
	}
	var id string
	err := s.retry(ctx, func(ctx context.Context) (err error) {
		id, err = s.core.NewMultipartUpload(ctx, s.cfg.Bucket, s.key(o.Key), opts)
		return err
	})
	if err != nil {
		return err
	}
	var parts []minio.CompletePart
	for left := o.Size; left > 0 && err == nil; left -= size {
		var data []byte
		if data, err = readPart(in, min(left, size), left); err != nil {
			break
		}
		var part minio.CompletePart
		part, err = s.putPart(ctx, o.Key, id, len(parts)+1, data)
		parts = append(parts, part)
	}
	if err == nil {
		// Nobody's object has this token: if the answer is lost, the upload fails.
		err = s.complete(ctx, o.Key, id, rand.Text(), parts)
	}
	if err != nil {
		actx, cancel := context.WithTimeout(context.WithoutCancel(ctx), abortTimeout)
		defer cancel()
		s.core.AbortMultipartUpload(actx, s.cfg.Bucket, s.key(o.Key), id) // best effort: the error to report is the first
	}
	return err
}

// readPart reads the next n bytes of the left ones; if they are the last, nothing may
// come after them.
func readPart(in io.Reader, n, left int64) ([]byte, error) {
	data := make([]byte, n)
	if _, err := io.ReadFull(in, data); err != nil {
		return nil, fmt.Errorf("read what is to be stored: %w", err)
	}
	if n == left {
		if more, err := in.Read(make([]byte, 1)); more > 0 {
			return nil, fmt.Errorf("what is to be stored is longer than %d bytes", left)
		} else if err != nil && err != io.EOF {
			return nil, fmt.Errorf("read what is to be stored: %w", err)
		}
	}
	return data, nil
}

// RemoveObject removes an object; in a bucket with versions it hides it.
func (s *Store) RemoveObject(ctx context.Context, key string) error {
	if err := s.beginObject(ctx, "delete", key); err != nil {
		return err
	}
	err := s.retry(ctx, func(ctx context.Context) error {
		return s.core.RemoveObject(ctx, s.cfg.Bucket, s.key(key), minio.RemoveObjectOptions{})
	})
	if err != nil {
		return s.failed(ctx, "delete", key, err)
	}
	return nil
}

// maxKey is the protocol's limit for a key in bytes.
const maxKey = 1024

func (s *Store) beginObject(ctx context.Context, op, key string) error {
	err := ctx.Err()
	switch {
	case err != nil:
		return err
	case key == "" || len(s.prefix)+len(key) > maxKey:
		err = fmt.Errorf("a key has 1 to %d bytes", maxKey)
	case s.closed.Load():
		err = fs.ErrClosed
	}
	if err != nil {
		return &backend.Error{Op: op, Place: s.place, Name: key, Err: err}
	}
	return nil
}
