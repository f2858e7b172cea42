package export

import (
	"archive/tar"
	"context"
	"errors"
	"io"
	"strings"

	"vault/snapshot"
)

// xattrPrefix begins the PAX records of extended attributes.
const xattrPrefix = "SCHILY.xattr."

// keyword escapes what cannot stand in the name of a PAX record, as GNU tar does.
var keyword = strings.NewReplacer("%", "%25", "=", "%3D")

// Tar writes the members as a tar in the PAX format. Names begin with "./", as
// those of tar -C DIR . do.
func Tar(ctx context.Context, src snapshot.Source, w io.Writer, members []Member, o Options) error {
	t := &tarrer{ctx: ctx, src: src, w: tar.NewWriter(w), o: o, links: map[inode]*link{}}
	if err := walk(ctx, src, members, t.entry); err != nil {
		return err
	}
	return t.w.Close()
}

type tarrer struct {
	ctx   context.Context
	src   snapshot.Source
	w     *tar.Writer
	o     Options
	links map[inode]*link
}

// inode tells files apart that have several names. The times are part of it
// since numbers are used again while a tree is read.
type inode struct {
	device, number, size uint64
	kind                 snapshot.Type
	mtime, ctime         snapshot.Time
}

// link is a file of which not all names have been met.
type link struct {
	name string
	left uint64
}

// earlier returns the name under which the same file was written before, or "".
func (t *tarrer) earlier(name string, n *snapshot.Node) string {
	if n.IsDir() || n.Links < 2 {
		return ""
	}
	key := inode{n.Device, n.Inode, n.Size, n.Type, n.MTime, n.CTime}
	l := t.links[key]
	if l == nil {
		t.links[key] = &link{name: name, left: n.Links - 1}
		return ""
	}
	if l.left--; l.left == 0 {
		delete(t.links, key)
	}
	return l.name
}

var tarTypes = map[snapshot.Type]byte{
	snapshot.Directory: tar.TypeDir, snapshot.File: tar.TypeReg, snapshot.Symlink: tar.TypeSymlink,
	snapshot.FIFO: tar.TypeFifo, snapshot.CharDevice: tar.TypeChar, snapshot.BlockDevice: tar.TypeBlock,
}

func (t *tarrer) entry(name string, n *snapshot.Node) error {
	kind, ok := tarTypes[n.Type]
	if !ok {
		t.o.skipped(name, errors.New("a tar has no place for a "+n.Type.String()))
		return nil
	}
	if name != "." {
		name = "./" + name
	}
	h := &tar.Header{Format: tar.FormatPAX, Typeflag: kind, Name: name, Mode: int64(n.Mode), Uid: int(n.UID), Gid: int(n.GID),
		Uname: n.User, Gname: n.Group, ModTime: n.MTime.Std(), Devmajor: int64(n.Major), Devminor: int64(n.Minor)}
	switch n.Type {
	case snapshot.Directory:
		h.Name += "/"
	case snapshot.Symlink:
		h.Linkname = n.Target
	case snapshot.File:
		h.Size = int64(n.Size)
	}
	if first := t.earlier(name, n); first != "" {
		h.Typeflag, h.Linkname, h.Size = tar.TypeLink, first, 0
		return t.w.WriteHeader(h)
	}
	for i := range n.Xattrs {
		value, err := xattr(t.ctx, t.src, &n.Xattrs[i])
		if err != nil {
			return err
		}
		if h.PAXRecords == nil {
			h.PAXRecords = map[string]string{}
		}
		h.PAXRecords[xattrPrefix+keyword.Replace(n.Xattrs[i].Name)] = string(value)
	}
	addACLs(h.PAXRecords, n)
	if err := t.w.WriteHeader(h); err != nil || n.Type != snapshot.File {
		return err
	}
	return File(t.ctx, t.src, t.w, n)
}
