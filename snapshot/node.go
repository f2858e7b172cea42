package snapshot

import (
	"bytes"
	"cmp"
	"fmt"
	"io/fs"
	"strings"
	"time"

	"vault/crypto"
)

// Limits of format 1 (docs/format.md, section 13, and the layouts of section 9).
const (
	MaxName      = 4096     // bytes of an entry's name
	MaxTarget    = 65536    // bytes of a symlink's target
	MaxXattrs    = 65536    // extended attributes of a node
	MaxBlob      = 16 << 20 // bytes of a blob: a page, a data item, an attribute's value
	MaxEntries   = 65536    // entries of a page
	MaxLevels    = 16       // levels of pages in one list
	MaxDepth     = 65536    // directories in one another
	MaxFileSize  = 1<<63 - 1
	maxOwner     = 256  // bytes of a user's, group's or attribute's name
	maxXattr     = 1024 // bytes of an attribute's value held in the node
	maxItems     = 64   // items of a content held in the node
	maxInline    = 64 << 10
	modeMask     = 0o7777
	maxNodeInt32 = 1<<32 - 1
)

// Type says what a node is. The numbers are part of the format.
type Type uint8

const (
	Directory   Type = 1
	File        Type = 2
	Symlink     Type = 3
	FIFO        Type = 4
	Socket      Type = 5
	CharDevice  Type = 6
	BlockDevice Type = 7
)

var typeNames = [...]string{Directory: "directory", File: "file", Symlink: "symlink", FIFO: "fifo", Socket: "socket",
	CharDevice: "character device", BlockDevice: "block device"}

// Valid reports whether format 1 knows t.
func (t Type) Valid() bool { return t >= Directory && t <= BlockDevice }

// String returns the type's name in words.
func (t Type) String() string {
	if t.Valid() {
		return typeNames[t]
	}
	return fmt.Sprintf("type %d", uint8(t))
}

// Time is a moment to the nanosecond, with the full range of a file system's
// clock. The zero Time is 1970-01-01 00:00:00 UTC.
type Time struct {
	Sec  int64  // seconds since 1970-01-01 UTC
	Nsec uint32 // 0 to 999,999,999
}

// TimeOf returns t as a Time.
func TimeOf(t time.Time) Time { return Time{Sec: t.Unix(), Nsec: uint32(t.Nanosecond())} }

// Std returns t as a time.Time in UTC.
func (t Time) Std() time.Time { return time.Unix(t.Sec, int64(t.Nsec)).UTC() }

// Compare returns -1, 0 or +1 as t is before, at or after u.
func (t Time) Compare(u Time) int {
	return cmp.Or(cmp.Compare(t.Sec, u.Sec), cmp.Compare(t.Nsec, u.Nsec))
}

// Xattr is an extended attribute. A value longer than Thresholds.InlineXattr
// is a data blob: then Length and Blob say which, and Value is nil. Otherwise
// Length is 0 and Value holds the bytes, which may be none.
type Xattr struct {
	Name   string
	Value  []byte
	Blob   crypto.ID
	Length uint64
}

// ItemKind says where the bytes of an Item come from. The numbers are part of
// the format.
type ItemKind uint8

const (
	ItemData ItemKind = 1 // a data blob
	ItemZero ItemKind = 2 // zeros that the source had as data
	ItemHole ItemKind = 3 // zeros that the source had as a hole
)

// Item is a run of a file's bytes, at least one. ID is set for ItemData only.
type Item struct {
	Kind   ItemKind
	Length uint64
	ID     crypto.ID
}

// Content is what a file holds, in at most one of three forms; an empty file
// has none of them.
type Content struct {
	Inline []byte    // the bytes themselves
	Items  []Item    // few items
	List   crypto.ID // the top page of many items
}

// Node is one entry of a directory, or the root of a volume (whose Name is
// empty). Which of the last fields are meaningful depends on Type; the others
// are zero.
type Node struct {
	Name         string // byte-exact, not necessarily UTF-8
	Type         Type
	Mode         uint32 // permissions, setuid, setgid and sticky: at most 07777
	UID, GID     uint32
	User, Group  string // empty if unknown
	MTime, CTime Time
	Inode        uint64
	Device       uint64 // numbered within the volume in order of first meeting; 0 is the one of its root
	Links        uint64 // 0 and 1 mean the same and are read as 0; not stored for directories
	Flags        uint32 // inode flags as FS_IOC_GETFLAGS gives them
	Xattrs       []Xattr

	Tree         crypto.ID // Directory: its top page
	Size         uint64    // File: bytes
	Content      Content   // File
	Target       string    // Symlink
	Major, Minor uint32    // CharDevice, BlockDevice
}

// IsDir reports whether n is a directory.
func (n *Node) IsDir() bool { return n.Type == Directory }

// Clone returns a copy of n that shares no memory with it. It turns a node
// that is "valid until the next call" into one to keep.
func (n *Node) Clone() *Node {
	c := *n
	c.Name, c.Target = strings.Clone(n.Name), strings.Clone(n.Target)
	c.User, c.Group = strings.Clone(n.User), strings.Clone(n.Group)
	c.Content.Inline = bytes.Clone(n.Content.Inline)
	c.Content.Items = append([]Item(nil), n.Content.Items...)
	c.Xattrs = append([]Xattr(nil), n.Xattrs...)
	for i := range c.Xattrs {
		c.Xattrs[i].Name = strings.Clone(n.Xattrs[i].Name)
		c.Xattrs[i].Value = bytes.Clone(n.Xattrs[i].Value)
	}
	return &c
}

// FileMode returns n's type and mode in the form of package fs.
func (n *Node) FileMode() fs.FileMode {
	m := fs.FileMode(n.Mode & 0o777)
	if n.Mode&0o4000 != 0 {
		m |= fs.ModeSetuid
	}
	if n.Mode&0o2000 != 0 {
		m |= fs.ModeSetgid
	}
	if n.Mode&0o1000 != 0 {
		m |= fs.ModeSticky
	}
	switch n.Type {
	case Directory:
		m |= fs.ModeDir
	case Symlink:
		m |= fs.ModeSymlink
	case FIFO:
		m |= fs.ModeNamedPipe
	case Socket:
		m |= fs.ModeSocket
	case CharDevice:
		m |= fs.ModeDevice | fs.ModeCharDevice
	case BlockDevice:
		m |= fs.ModeDevice
	}
	return m
}

// CheckName returns an error unless name may be the name of an entry: 1 to 4096
// bytes, not "." or "..", without '/' and NUL. Whoever restores relies on it.
func CheckName(name string) error {
	switch {
	case name == "", name == ".", name == "..":
		return fmt.Errorf("entry name %q is reserved", name)
	case len(name) > MaxName:
		return fmt.Errorf("entry name has %d bytes, limit %d", len(name), MaxName)
	case strings.IndexByte(name, '/') >= 0, strings.IndexByte(name, 0) >= 0:
		return fmt.Errorf("entry name %q contains a slash or NUL", name)
	}
	return nil
}
