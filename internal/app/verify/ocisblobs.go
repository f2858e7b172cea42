package verify

import (
	"bytes"
	"cmp"
	"crypto/md5"
	"crypto/sha1"
	"errors"
	"hash/adler32"
	"io"
	"io/fs"
	"slices"
	"sort"
	"strings"

	"golang.org/x/sync/errgroup"

	"vault/snapshot"
	"vault/snapshot/export"
)

// Which checksums a blobRef has.
const (
	hasSHA1 uint8 = 1 << iota
	hasMD5
	hasAdler
	hasSize
)

// blobRef is what a node says about its blob.
type blobRef struct {
	id    key
	node  uint32
	found bool
	has   uint8
	sha1  [sha1.Size]byte
	md5   [md5.Size]byte
	adler [adler32.Size]byte
}

// nameBlob remembers the blob that a node names.
func (s *space) nameBlob(path string, i uint32, attrs map[string]string) {
	r := &s.recs[i]
	id := attrs[attrBlobID]
	if id == "" {
		if attrs[attrType] == "1" && r.size > 0 && r.flags&isProcessing == 0 {
			s.problem("blob-missing", path, "the node has %d bytes, but names no blob", r.size)
		}
		return
	}
	ref := blobRef{id: s.key(id), node: i}
	for _, c := range []struct {
		name string
		bit  uint8
		to   []byte
	}{{attrSHA1, hasSHA1, ref.sha1[:]}, {attrMD5, hasMD5, ref.md5[:]}, {attrAdler, hasAdler, ref.adler[:]}} {
		value, ok := attrs[c.name]
		switch {
		case !ok:
		case len(value) != len(c.to):
			s.problem("attribute-damaged", path, "%s has %d bytes instead of %d", c.name, len(value), len(c.to))
		default:
			copy(c.to, value)
			ref.has |= c.bit
		}
	}
	if _, ok := attrs[attrBlobSize]; ok && r.flags&isDir == 0 {
		ref.has |= hasSize
	}
	s.blobs = append(s.blobs, ref)
}

// blobsDir returns the directory of the space's blobs, and its path; nil if there is
// none.
func (s *space) blobsDir() (dir *snapshot.Node, path string, err error) {
	from, name, path := s.node, "blobs", join(s.path, "blobs")
	if s.bucket != nil {
		from, name, path = s.bucket, s.id, s.id
	}
	dir, err = s.child(from, name)
	if errors.Is(err, fs.ErrNotExist) || err == nil && !dir.IsDir() {
		return nil, path, nil
	}
	return dir, path, err
}

// judgeBlobs compares the blobs with what the nodes say about them.
func (s *space) judgeBlobs() error {
	if s.s3 && s.bucket == nil {
		return nil // said once, for all spaces
	}
	slices.SortFunc(s.blobs, func(a, b blobRef) int {
		return cmp.Or(bytes.Compare(a.id[:], b.id[:]), cmp.Compare(a.node, b.node))
	})
	dir, path, err := s.blobsDir()
	if err != nil {
		if err := s.unreadable(path, err); err != nil {
			return err
		}
	}
	if dir != nil {
		if err := s.readBlobs(path, dir); err != nil {
			return err
		}
	}
	for i := range s.blobs {
		ref := &s.blobs[i]
		r := &s.recs[ref.node]
		if !ref.found && r.flags&isProcessing == 0 {
			s.problem("blob-missing", join(path, shard(s.text(ref.id))), "the blob of %s (%q, %d bytes) is missing", s.text(r.id), s.get(r.name), r.size)
		}
	}
	return nil
}

// readBlobs reads the blobs of a space in the order of the tree, several at a time.
func (s *space) readBlobs(path string, dir *snapshot.Node) error {
	group, ctx := errgroup.WithContext(s.ctx)
	group.SetLimit(s.workers())
	err := s.shards(path, dir, "", func(p, prefix string, d *snapshot.Node) error {
		return s.entries(p, d, func(p string, n *snapshot.Node) error {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			refs := s.refs(prefix + n.Name)
			if len(refs) == 0 {
				s.warn("blob-orphan", p, "no node names it: %d bytes", n.Size)
				return nil
			}
			for i := range refs {
				refs[i].found = true
			}
			group.Go(func() error { return s.compare(p, n, refs) })
			return nil
		})
	})
	if gerr := group.Wait(); gerr != nil {
		return gerr
	}
	return err
}

// refs returns what nodes say about a blob.
func (s *space) refs(id string) []blobRef {
	k, ok := uuid(id)
	if !ok {
		k = (&ids{}).key(id)
	}
	from := sort.Search(len(s.blobs), func(i int) bool { return bytes.Compare(s.blobs[i].id[:], k[:]) >= 0 })
	to := from
	for to < len(s.blobs) && s.blobs[to].id == k {
		to++
	}
	return s.blobs[from:to]
}

// compare compares one blob with what nodes say about it. Several run at a time: they
// read the space, and report.
func (s *space) compare(path string, n *snapshot.Node, refs []blobRef) error {
	if n.Type != snapshot.File {
		s.problem("blob-missing", path, "a %s instead of a blob", n.Type)
		return nil
	}
	right := false
	for _, ref := range refs {
		if size := s.recs[ref.node].size; ref.has&hasSize != 0 && size != n.Size {
			s.problem("blob-size", path, "the blob of %s has %d bytes, its metadata says %d", s.text(s.recs[ref.node].id), n.Size, size)
		} else {
			right = true
		}
	}
	if !right {
		return nil
	}
	h1, h2, h3 := sha1.New(), md5.New(), adler32.New()
	if err := export.File(s.ctx, s.Source, io.MultiWriter(h1, h2, h3), n); err != nil {
		return s.unreadable(path, err)
	}
	s.compared(n.Size)
	for _, ref := range refs {
		if s.recs[ref.node].size != n.Size && ref.has&hasSize != 0 {
			continue
		}
		var wrong []string
		for _, c := range []struct {
			bit       uint8
			name      string
			got, want []byte
		}{{hasSHA1, "sha1", h1.Sum(nil), ref.sha1[:]}, {hasMD5, "md5", h2.Sum(nil), ref.md5[:]}, {hasAdler, "adler32", h3.Sum(nil), ref.adler[:]}} {
			if ref.has&c.bit != 0 && !bytes.Equal(c.got, c.want) {
				wrong = append(wrong, c.name)
			}
		}
		if wrong != nil {
			s.problem("blob-content", path, "the blob of %s has another %s than its metadata says", s.text(s.recs[ref.node].id), strings.Join(wrong, ", "))
		}
	}
	return nil
}
