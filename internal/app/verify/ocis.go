package verify

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"vault/snapshot"
)

// OcisTree says where a user storage of ownCloud Infinite Scale lies in a backup.
type OcisTree struct {
	Volume string
	Root   *snapshot.Node // of the volume
	Path   string         // of the storage in the volume; "" looks at the usual places
	Blobs  *snapshot.Node // root of the volume that is the bucket of driver s3ng, or nil
}

// ErrDriver says that a storage belongs to a driver whose rules are not known here.
var ErrDriver = errors.New("this is a storage of the driver posix: decomposedfs (drivers ocis and s3ng) is what can be checked")

// usualRoots are where a decomposedfs may lie in a volume.
var usualRoots = []string{"", "storage/users", "users"}

// The attributes of a node that matter here, in metadata files and as extended attributes.
const (
	attrPrefix   = "user.ocis."
	attrID       = attrPrefix + "id"
	attrParent   = attrPrefix + "parentid"
	attrName     = attrPrefix + "name"
	attrType     = attrPrefix + "type"
	attrBlobID   = attrPrefix + "blobid"
	attrBlobSize = attrPrefix + "blobsize"
	attrSHA1     = attrPrefix + "cs.sha1"
	attrMD5      = attrPrefix + "cs.md5"
	attrAdler    = attrPrefix + "cs.adler32"
	attrTreeSize = attrPrefix + "treesize"
	attrStatus   = attrPrefix + "nodestatus"
	attrOrigin   = attrPrefix + "trash.origin"
	attrSpaceID  = attrPrefix + "space.id"
	attrSpace    = attrPrefix + "space.type"
	attrSpName   = attrPrefix + "space.name"
	attrOwner    = attrPrefix + "owner.id"
	attrOwnType  = attrPrefix + "owner.type"
	attrUsers    = attrPrefix + "grant.u:"
	attrGroups   = attrPrefix + "grant.g:"
)

// ocis is the check of one storage.
type ocis struct {
	checker
	tree     *snapshot.Node // root of the storage
	bucket   *snapshot.Node // nil: blobs lie in the spaces
	s3       bool           // blobs are in a bucket, whether or not it is here
	metadata [2]uint64      // nodes by backend: files, extended attributes
	spaces   []spaceInfo
}

// spaceInfo is what indexes are compared with.
type spaceInfo struct {
	id, path, kind string
	owner          string // of a personal space
	users, groups  []string
	root           bool // it has a root node
}

// Ocis checks a decomposedfs by the rules of docs/applications.md. The error says why
// the check could not be carried out; what it finds goes to r.Found.
func Ocis(ctx context.Context, r *Reader, t OcisTree) (Summary, error) {
	o := &ocis{checker: checker{Reader: r, ctx: ctx, sum: Summary{Check: "ocis", Volume: t.Volume}}, bucket: t.Blobs}
	if err := o.find(t); err != nil {
		return o.sum, err
	}
	dir, err := o.child(o.tree, "spaces")
	switch {
	case errors.Is(err, fs.ErrNotExist) || err == nil && !dir.IsDir():
		if posix, err := o.posix(); posix || err != nil {
			return o.sum, errors.Join(err, ErrDriver)
		}
		o.problem("space-missing", "spaces", "there is no directory of spaces")
	case err != nil:
		if err := o.unreadable("spaces", err); err != nil {
			return o.sum, err
		}
	default:
		if err := o.allSpaces(dir); err != nil {
			return o.sum, err
		}
	}
	if err := o.indexes(); err != nil {
		return o.sum, err
	}
	return o.sum, nil
}

// find finds the root of the storage.
func (o *ocis) find(t OcisTree) error {
	places := usualRoots
	if t.Path != "" {
		places = []string{t.Path}
	}
	for _, p := range places {
		n, err := o.at(t.Root, p)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return fmt.Errorf("look for the storage: %w", err)
		}
		if t.Path != "" {
			o.tree = n
			return nil
		}
		for _, name := range []string{"spaces", "indexes"} {
			if _, err := o.child(n, name); err == nil {
				o.tree = n
				return nil
			}
		}
	}
	if t.Path != "" {
		return fmt.Errorf("volume %s has no directory %s", t.Volume, t.Path)
	}
	o.tree = t.Root
	return nil
}

// posix reports whether the storage is one of the driver posix: directories of users
// and projects that carry the attributes themselves.
func (o *ocis) posix() (bool, error) {
	for _, name := range []string{"users", "projects"} {
		dir, err := o.child(o.tree, name)
		if err != nil || !dir.IsDir() {
			continue
		}
		for n, err := range snapshot.ReadDir(o.ctx, o.Source, dir.Tree) {
			if err != nil {
				return false, err
			}
			for _, x := range n.Xattrs {
				if strings.HasPrefix(x.Name, attrPrefix) {
					return true, nil
				}
			}
		}
	}
	return false, nil
}

// allSpaces checks every space: spaces/<2>/<rest>.
func (o *ocis) allSpaces(dir *snapshot.Node) error {
	var found []spaceDir
	if err := o.entries("spaces", dir, func(p string, outer *snapshot.Node) error {
		if !outer.IsDir() {
			o.warn("stray", p, "a %s among the spaces", outer.Type)
			return nil
		}
		return o.entries(p, outer, func(q string, n *snapshot.Node) error {
			if !n.IsDir() {
				o.warn("stray", q, "a %s among the spaces", n.Type)
				return nil
			}
			found = append(found, spaceDir{path: q, id: outer.Name + n.Name, node: n})
			return nil
		})
	}); err != nil {
		return err
	}
	if len(found) == 0 {
		o.problem("space-missing", "spaces", "there is no space")
	}
	o.s3 = o.bucket != nil
	if !o.s3 {
		o.s3 = len(found) > 0
		for _, d := range found {
			if _, err := o.child(d.node, "blobs"); !errors.Is(err, fs.ErrNotExist) {
				o.s3 = false
			}
		}
	}
	named := uint64(0)
	for _, d := range found {
		s := newSpace(o, d)
		if err := s.check(); err != nil {
			return err
		}
		named += uint64(len(s.blobs))
	}
	if o.s3 && o.bucket == nil && named > 0 {
		o.say(Note, "driver", "spaces", "no space has a directory of blobs: this is taken for the driver s3ng, and its %d blobs, which no volume of the check holds, were not looked at; verify.ocis.blobs names the volume of the bucket", named)
	} else if o.s3 && named > 0 {
		o.say(Note, "driver", "spaces", "driver s3ng: the blobs are those of the bucket's volume")
	}
	switch {
	case o.metadata[0] > 0 && o.metadata[1] > 0:
		o.say(Note, "metadata", "spaces", "metadata is in files for %d nodes and in extended attributes for %d", o.metadata[0], o.metadata[1])
	case o.metadata[1] > 0:
		o.say(Note, "metadata", "spaces", "metadata is in extended attributes")
	}
	return nil
}

// entries calls fn for the entries of a directory with their paths. What cannot be
// read is a finding.
func (o *ocis) entries(path string, dir *snapshot.Node, fn func(path string, n *snapshot.Node) error) error {
	for n, err := range snapshot.ReadDir(o.ctx, o.Source, dir.Tree) {
		if err != nil {
			return o.unreadable(path, err)
		}
		if err := fn(join(path, n.Name), n); err != nil {
			return err
		}
	}
	return nil
}
