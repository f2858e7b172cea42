// Package bucket saves the objects of an S3 bucket, and brings them back.
//
// The idea. Bucket is an archive.Tree: the parts of a key between slashes are
// directories, and what is no name of a file - empty parts, dots, an object that is a
// directory as well - has an escaped one, from which the key is found again. Type,
// encoding and user metadata of an object are attributes of its file, user.s3.*, and so
// is its tag. An object whose tag, size and time are those of the parent is not read
// again. Several are read at once.
//
// Caveats. The bucket is listed at one moment, and read after that: an object that is
// gone by then is a notice, one that was replaced is saved as it is then, and whoever
// writes to the bucket meanwhile decides what is saved together. The listing is held
// in memory, about 300 bytes an object. Versions, tags, locks and access rules are not
// saved. Objects in an archive tier cannot be read.
package bucket

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"slices"
	"strings"

	"vault/backend/s3"
	"vault/snapshot"
	"vault/snapshot/archive"
)

// Bucket is an archive.Tree of the objects below a prefix of a bucket.
type Bucket struct {
	// Config says where the bucket is and who asks. What it says about packs and locks
	// does not count.
	Config s3.Config
}

const (
	attrPrefix = "user.s3."
	attrETag   = attrPrefix + "etag"
)

// Parse returns bucket and prefix of a text like s3://BUCKET/PREFIX.
func Parse(url string) (bucket, prefix string, err error) {
	rest, ok := strings.CutPrefix(url, "s3://")
	bucket, prefix, _ = strings.Cut(rest, "/")
	if !ok || bucket == "" || strings.ContainsAny(rest, "@?#") {
		return "", "", errors.New("a bucket is given as s3://BUCKET or s3://BUCKET/PREFIX")
	}
	return bucket, strings.Trim(prefix, "/"), nil
}

// Describe implements archive.Source.
func (b Bucket) Describe() (snapshot.VolumeKind, string) {
	place := "s3://" + b.Config.Bucket
	if p := strings.Trim(b.Config.Prefix, "/"); p != "" {
		place += "/" + p
	}
	return snapshot.VolumePath, place
}

// Preflight checks that the bucket can be listed.
func (b Bucket) Preflight(ctx context.Context) error {
	s, err := s3.Open(ctx, b.Config)
	if err != nil {
		return err
	}
	defer s.Close()
	for _, err := range s.Objects(ctx) {
		return err
	}
	return nil
}

// ErrEmpty says that there are no objects.
var ErrEmpty = errors.New("the bucket has no objects there")

// Entries implements archive.Tree.
func (b Bucket) Entries(ctx context.Context) iter.Seq2[archive.Entry, error] {
	return func(yield func(archive.Entry, error) bool) {
		s, err := s3.Open(ctx, b.Config)
		if err != nil {
			yield(archive.Entry{}, err)
			return
		}
		context.AfterFunc(ctx, func() { s.Close() }) // objects are read after they were listed
		list, err := listed(ctx, s)
		if err == nil && len(list) == 0 {
			err = ErrEmpty
		}
		if err != nil {
			yield(archive.Entry{}, err)
			return
		}
		for i := range list {
			key, err := keyOf(list[i].path)
			if !yield(entry(s, key, list[i]), err) || err != nil {
				return
			}
		}
	}
}

// listed returns all objects in the order of a walk.
func listed(ctx context.Context, s *s3.Store) ([]object, error) {
	var list []object
	for o, err := range s.Objects(ctx) {
		if err != nil {
			return nil, err
		}
		list = append(list, object{pathOf(o.Key), o.ETag, o.Size, snapshot.TimeOf(o.Modified)})
	}
	arrange(list)
	return list, nil
}

func entry(s *s3.Store, key string, o object) archive.Entry {
	return archive.Entry{
		Path: o.path,
		Node: snapshot.Node{Type: snapshot.File, Mode: 0o600, Size: uint64(max(o.size, 0)), MTime: o.modified, CTime: o.modified},
		Unchanged: func(old *snapshot.Node) bool {
			return o.etag != "" && old.MTime == o.modified && old.Size == uint64(o.size) && attr(old, attrETag) == o.etag
		},
		Open: func(ctx context.Context, n *snapshot.Node) (io.ReadCloser, error) {
			in, now, err := s.OpenObject(ctx, key)
			if err != nil {
				return nil, err
			}
			n.Size = uint64(now.Size)
			if now.ETag != o.etag && !now.Modified.IsZero() { // it was replaced since it was listed
				n.MTime = snapshot.TimeOf(now.Modified)
				n.CTime = n.MTime
			}
			n.Xattrs = append(n.Xattrs[:0:0], snapshot.Xattr{Name: attrETag, Value: []byte(now.ETag)})
			for name, value := range now.Header {
				n.Xattrs = append(n.Xattrs, snapshot.Xattr{Name: attrPrefix + strings.ToLower(name), Value: []byte(value)})
			}
			return in, nil
		},
	}
}

// attr returns the value of an attribute that stands in the node.
func attr(n *snapshot.Node, name string) string {
	i := slices.IndexFunc(n.Xattrs, func(x snapshot.Xattr) bool { return x.Name == name })
	if i < 0 {
		return ""
	}
	return string(n.Xattrs[i].Value)
}

func objectError(key string, err error) error { return fmt.Errorf("object %q: %w", key, err) }
