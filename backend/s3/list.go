package s3

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"strings"

	"github.com/minio/minio-go/v7"

	"vault/backend"
)

// List implements [backend.Backend], with one request for every thousand
// objects. A page that fails is asked for again. Folder markers, which consoles
// make and whose names end in a slash, are not shown.
func (s *Store) List(ctx context.Context, prefix string) iter.Seq2[backend.Info, error] {
	return func(yield func(backend.Info, error) bool) {
		if err := s.beginList(ctx, prefix); err != nil {
			yield(backend.Info{}, err)
			return
		}
		l := &lister{s: s, ctx: ctx, prefix: s.prefix + prefix}
		if err := l.all(func(obj minio.ObjectInfo) bool {
			name := obj.Key[len(s.prefix):]
			return name == "" || strings.HasSuffix(name, "/") || yield(backend.Info{Name: name, Size: obj.Size}, nil)
		}); err != nil {
			yield(backend.Info{}, s.failed(ctx, "list", prefix, err))
		}
	}
}

func (s *Store) beginList(ctx context.Context, prefix string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	err := backend.CheckPrefix(prefix)
	if err == nil && s.closed.Load() {
		err = fs.ErrClosed
	}
	if err != nil {
		return &backend.Error{Op: "list", Place: s.place, Name: prefix, Err: err}
	}
	return nil
}

// lister is one listing.
type lister struct {
	s        *Store
	ctx      context.Context
	prefix   string // of keys
	last     string // the last key that was listed
	progress bool   // the latest requests have brought something
}

// all yields all objects, until the caller wants no more.
func (l *lister) all(yield func(minio.ObjectInfo) bool) error {
	for try := 1; ; try++ {
		more, err := l.pages(yield)
		if !more {
			return nil
		}
		if err == nil {
			err = l.ctx.Err()
		}
		if err == nil {
			return nil
		}
		if l.progress {
			try = 1
		}
		if !l.s.again(l.ctx, try, err) {
			return err
		}
	}
}

var errOrder = errors.New("the store lists its objects out of order")

// pages yields what comes after l.last, until the listing ends or fails, or
// the caller wants no more.
func (l *lister) pages(yield func(minio.ObjectInfo) bool) (more bool, err error) {
	l.progress = false
	noOwner := false
	opts := minio.ListObjectsOptions{Prefix: l.prefix, Recursive: true, StartAfter: l.last, FetchOwner: &noOwner}
	for obj := range l.s.core.ListObjectsIter(l.ctx, l.s.cfg.Bucket, opts) {
		switch {
		case obj.Err != nil:
			return true, obj.Err
		case l.ctx.Err() != nil:
			return true, l.ctx.Err()
		case !strings.HasPrefix(obj.Key, l.prefix) || obj.Size < 0:
			return true, fmt.Errorf("the store lists %.100q of %d bytes for the prefix %q", obj.Key, obj.Size, l.prefix)
		case obj.Key <= l.last && l.last != "":
			return true, errOrder
		}
		l.last, l.progress = obj.Key, true
		if !yield(obj) {
			return false, nil
		}
	}
	return true, nil
}
