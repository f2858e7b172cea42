package bucket

import (
	"context"
	"fmt"
	"io"
	"net/textproto"
	"strings"
	"sync/atomic"

	"golang.org/x/sync/errgroup"

	"vault/backend/s3"
	"vault/crypto"
	"vault/snapshot"
)

// RestoreOptions say how objects are brought back.
type RestoreOptions struct {
	// Always writes every object. Otherwise one of the same tag and size stays as it is.
	Always bool
	// Clean removes the objects below the prefix that the backup does not have, once
	// all others are there.
	Clean bool
}

// RestoreReport is what became of objects.
type RestoreReport struct {
	Written, Kept, Removed uint64
	Bytes                  uint64 // written
}

const (
	restorers   = 4
	restorePart = 8 << 20 // bytes of an upload's part, so that restorers need little memory
)

// Restore writes a saved volume of objects into the bucket. It ends with the first
// error; the same call again goes on from there.
func (b Bucket) Restore(ctx context.Context, src snapshot.Source, root *snapshot.Node, o RestoreOptions) (RestoreReport, error) {
	if root.Type != snapshot.Directory {
		return RestoreReport{}, fmt.Errorf("the volume is a %v, not the objects of a bucket", root.Type)
	}
	if b.Config.PartSize == 0 {
		b.Config.PartSize = restorePart
	}
	s, err := s3.Open(ctx, b.Config)
	if err != nil {
		return RestoreReport{}, err
	}
	defer s.Close()
	w := &writer{store: s, src: src, there: map[string]object{}}
	for obj, err := range s.Objects(ctx) {
		if err != nil {
			return RestoreReport{}, err
		}
		w.there[obj.Key] = object{etag: obj.ETag, size: obj.Size}
	}
	group, gctx := errgroup.WithContext(ctx)
	group.SetLimit(restorers)
	walked := w.walk(gctx, group, root.Tree, "", o)
	err = group.Wait()
	if err == nil {
		err = walked
	}
	if err == nil && o.Clean {
		err = w.clean(ctx)
	}
	return RestoreReport{w.written.Load(), w.kept, w.removed, w.bytes.Load()}, err
}

// writer brings objects back.
type writer struct {
	store *s3.Store
	src   snapshot.Source
	there map[string]object // by key: those of the bucket, less those of the backup

	kept, removed  uint64
	written, bytes atomic.Uint64
}

// walk has the objects below a directory written.
func (w *writer) walk(ctx context.Context, group *errgroup.Group, dir crypto.ID, prefix string, o RestoreOptions) error {
	if strings.Count(prefix, "/") > maxParts {
		return fmt.Errorf("%.100q...: directories are nested too deeply", prefix)
	}
	for n, err := range snapshot.ReadDir(ctx, w.src, dir) {
		if err != nil {
			return err
		}
		if n.IsDir() {
			if err := w.walk(ctx, group, n.Tree, prefix+n.Name+"/", o); err != nil {
				return err
			}
			continue
		}
		key, err := keyOf(prefix + n.Name)
		if err == nil && n.Type != snapshot.File {
			err = fmt.Errorf("%q is a %v, not an object", prefix+n.Name, n.Type)
		}
		if err != nil {
			return err
		}
		old, exists := w.there[key]
		delete(w.there, key)
		if exists && !o.Always && old.etag != "" && old.etag == attr(n, attrETag) && uint64(old.size) == n.Size {
			w.kept++
			continue
		}
		group.Go(func() error { return w.put(ctx, key, n) })
	}
	return nil
}

// maxParts bounds the parts of a key, which has at most 1024 bytes.
const maxParts = 1024

func (w *writer) put(ctx context.Context, key string, n *snapshot.Node) error {
	obj := s3.Object{Key: key, Size: int64(n.Size), Header: map[string]string{}}
	for _, x := range n.Xattrs {
		name, ok := strings.CutPrefix(x.Name, attrPrefix)
		if !ok || x.Name == attrETag {
			continue
		}
		value := x.Value
		if x.Length > 0 {
			var err error
			if value, err = w.src.Get(ctx, crypto.BlobData, x.Blob, nil); err != nil {
				return objectError(key, err)
			}
		}
		obj.Header[textproto.CanonicalMIMEHeaderKey(name)] = string(value)
	}
	in := io.NewSectionReader(snapshot.NewReader(ctx, w.src, n), 0, int64(n.Size))
	if err := w.store.PutObject(ctx, obj, in); err != nil {
		return objectError(key, err)
	}
	w.written.Add(1)
	w.bytes.Add(n.Size)
	return nil
}

// clean removes what the backup does not have.
func (w *writer) clean(ctx context.Context) error {
	for key := range w.there {
		if err := w.store.RemoveObject(ctx, key); err != nil {
			return objectError(key, err)
		}
		w.removed++
	}
	return nil
}
