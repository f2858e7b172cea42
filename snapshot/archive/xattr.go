package archive

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"

	"vault/crypto"
	"vault/internal/sys"
	"vault/snapshot"
)

// flagMask has the inode flags (FS_IOC_GETFLAGS, linux/fs.h) that are stored: those
// that a user can set and a restore can set again. Flags that describe how a file
// system lays out a file (extents, inline data, encryption, verity) are not.
const flagMask = 0x00000004 | // COMPR
	0x00000008 | // SYNC
	0x00000010 | // IMMUTABLE
	0x00000020 | // APPEND
	0x00000040 | // NODUMP
	0x00000080 | // NOATIME
	0x00000400 | // NOCOMP
	0x00004000 | // JOURNAL_DATA
	0x00010000 | // DIRSYNC
	0x00020000 | // TOPDIR
	0x00800000 | // NOCOW
	0x02000000 | // DAX
	0x20000000 | // PROJINHERIT
	0x40000000 // CASEFOLD

// A device is a file system of a scan. What it turns out not to support is not
// asked of it again.
type device struct {
	number  uint64         // in order of first meeting, 0 for the root's
	noAttrs [2]atomic.Bool // of files and directories; of others
	noFlags [2]atomic.Bool // of files; of directories
}

// xfsACL begins the names under which XFS tells root of the ACLs again, in a form of its
// own. Who restored them would undo what was done to the owners in the ACLs.
const xfsACL = "trusted.SGI_ACL_"

// maxAttr is the system's limit for a value and for a list of names.
const maxAttr = 64 << 10

// attrReader reads extended attributes. It is for one goroutine.
type attrReader struct {
	list, value []byte
	names       *names // its ids are those of the volume being read
}

// attrTarget names an object either by descriptor or by a path that is not
// followed.
type attrTarget struct {
	fd   int
	path string // used if not empty
}

func (t attrTarget) list(b []byte) (int, error) {
	if t.path != "" {
		return sys.Llistxattr(t.path, b)
	}
	return sys.Flistxattr(t.fd, b)
}

func (t attrTarget) get(name string, b []byte) (int, error) {
	if t.path != "" {
		return sys.Lgetxattr(t.path, name, b)
	}
	return sys.Fgetxattr(t.fd, name, b)
}

// targetAt names an entry of a directory for calls that know no descriptors of
// things that cannot be opened: symlinks, devices.
func targetAt(fd int, name string) attrTarget {
	if fd == sys.AT_FDCWD {
		return attrTarget{path: name}
	}
	return attrTarget{path: "/proc/self/fd/" + strconv.Itoa(fd) + "/" + name}
}

// read sets n.Xattrs; long values go to the store. An error of type *stopError is
// the store's; any other says which attributes are missing.
func (a *attrReader) read(ctx context.Context, t attrTarget, d *device, n *snapshot.Node, s *sink, inline int) error {
	n.Xattrs = nil
	unsupported := &d.noAttrs[0]
	if n.Type != snapshot.File && n.Type != snapshot.Directory {
		unsupported = &d.noAttrs[1]
	}
	if unsupported.Load() {
		return nil
	}
	if a.list == nil {
		a.list, a.value = make([]byte, maxAttr), make([]byte, maxAttr)
	}
	size, err := t.list(a.list)
	switch {
	case errors.Is(err, sys.ENOTSUP), errors.Is(err, sys.ENOSYS):
		unsupported.Store(true)
		return nil
	case err != nil:
		return fmt.Errorf("list extended attributes: %w", err)
	case size == 0:
		return nil
	}
	var missing error
	for raw := range bytes.SplitSeq(a.list[:size], []byte{0}) {
		if len(raw) == 0 || bytes.HasPrefix(raw, []byte(xfsACL)) {
			continue
		}
		name := string(raw)
		size, err := t.get(name, a.value)
		if errors.Is(err, sys.ENODATA) {
			continue // removed meanwhile
		}
		if err == nil && len(name) > maxOwnerName {
			err = errors.New("name is too long")
		}
		if err != nil {
			missing = fmt.Errorf("read extended attribute %q: %w", name, err)
			continue
		}
		x := snapshot.Xattr{Name: name}
		if a.names.ids != nil && (name == aclAccess || name == aclDefault) {
			a.names.ids.acl(a.value[:size])
		}
		if value := a.value[:size]; size > inline {
			x.Length = uint64(size)
			if x.Blob, err = s.put(ctx, crypto.BlobData, value); err != nil {
				return err
			}
		} else {
			x.Value = bytes.Clone(value)
		}
		n.Xattrs = append(n.Xattrs, x)
	}
	slices.SortFunc(n.Xattrs, func(x, y snapshot.Xattr) int { return strings.Compare(x.Name, y.Name) })
	return missing
}

// flags returns the inode flags of an open file or directory.
func flags(fd int, d *device, t snapshot.Type) uint32 {
	unsupported := &d.noFlags[0]
	if t == snapshot.Directory {
		unsupported = &d.noFlags[1]
	}
	if unsupported.Load() {
		return 0
	}
	v, err := sys.FileFlags(fd)
	switch err {
	case nil:
		return v & flagMask
	case sys.ENOTTY, sys.ENOTSUP, sys.ENOSYS, sys.EINVAL:
		unsupported.Store(true)
	}
	return 0
}

// attributes puts the attributes of a node that came with it into order, and the
// long ones into the store.
func (w *worker) attributes(ctx context.Context, n *snapshot.Node) (err error) {
	for i := range n.Xattrs {
		x := &n.Xattrs[i]
		if len(x.Name) == 0 || len(x.Name) > maxOwnerName {
			return fmt.Errorf("attribute %.300q: its name cannot be stored", x.Name)
		}
		if size := len(x.Value); size > w.run.o.Thresholds.InlineXattr {
			if x.Blob, err = w.sink.put(ctx, crypto.BlobData, x.Value); err != nil {
				return err
			}
			x.Value, x.Length = nil, uint64(size)
		}
	}
	slices.SortFunc(n.Xattrs, func(x, y snapshot.Xattr) int { return strings.Compare(x.Name, y.Name) })
	return nil
}
