package snapshot

import (
	"errors"
	"fmt"
	"math"
	"unsafe"

	"vault/internal/wire"
)

// A body is everything about a node but its name; part of the format:
//
//	| type 1 | present uv | mode uv | uid uv | gid uv | mtime | ctime | inode uv |
//	| device uv? | links uv? | user? | group? | flags uv? | xattrs? | by type |
const (
	hasDevice = 1 << iota
	hasLinks
	hasUser
	hasGroup
	hasFlags
	hasXattrs
	knownPresent = 1<<iota - 1
)

// Forms of a file's content and of an attribute's value; part of the format.
const (
	formEmpty = 0
	formPlace = 1
	formItems = 2
	formList  = 3

	xattrPlace = 0
	xattrBlob  = 1
)

const (
	minBody  = 10 // the shortest body: a fifo
	minXattr = 3
	minItem  = 2
)

// errNode is the cause of every refusal to encode a node: the caller's mistake,
// or a source that holds what format 1 cannot.
var errNode = errors.New("node cannot be encoded")

func badNode(format string, args ...any) error {
	return fmt.Errorf("%w: %s", errNode, fmt.Sprintf(format, args...))
}

// AppendBody appends n's body - all but the name - to b. It refuses nodes that
// a reader would refuse; then b is returned as it was.
func AppendBody(b []byte, n *Node) ([]byte, error) {
	start := len(b)
	if err := checkNode(n); err != nil {
		return b, err
	}
	present := n.present()
	b = append(b, byte(n.Type), present)
	b = wire.AppendUvarint(b, uint64(n.Mode))
	b = wire.AppendUvarint(b, uint64(n.UID))
	b = wire.AppendUvarint(b, uint64(n.GID))
	b = appendTime(b, n.MTime)
	b = appendTime(b, n.CTime)
	b = wire.AppendUvarint(b, n.Inode)
	if present&hasDevice != 0 {
		b = wire.AppendUvarint(b, n.Device)
	}
	if present&hasLinks != 0 {
		b = wire.AppendUvarint(b, n.Links)
	}
	if present&hasUser != 0 {
		b = wire.AppendString(b, n.User)
	}
	if present&hasGroup != 0 {
		b = wire.AppendString(b, n.Group)
	}
	if present&hasFlags != 0 {
		b = wire.AppendUvarint(b, uint64(n.Flags))
	}
	var err error
	if present&hasXattrs != 0 {
		if b, err = appendXattrs(b, n.Xattrs); err != nil {
			return b[:start], err
		}
	}
	switch n.Type {
	case Directory:
		b = append(b, n.Tree[:]...)
	case File:
		if b, err = appendContent(b, n); err != nil {
			return b[:start], err
		}
	case Symlink:
		b = wire.AppendString(b, n.Target)
	case CharDevice, BlockDevice:
		b = wire.AppendUvarint(b, uint64(n.Major))
		b = wire.AppendUvarint(b, uint64(n.Minor))
	}
	return b, nil
}

func (n *Node) present() byte {
	var p byte
	if n.Device != 0 {
		p |= hasDevice
	}
	if n.Links >= 2 && n.Type != Directory {
		p |= hasLinks
	}
	if n.User != "" {
		p |= hasUser
	}
	if n.Group != "" {
		p |= hasGroup
	}
	if n.Flags != 0 {
		p |= hasFlags
	}
	if len(n.Xattrs) != 0 {
		p |= hasXattrs
	}
	return p
}

// checkNode checks the fields that all types have, and the target.
func checkNode(n *Node) error {
	switch {
	case !n.Type.Valid():
		return badNode("unknown %v", n.Type)
	case n.Mode > modeMask:
		return badNode("mode %o has unknown bits", n.Mode)
	case len(n.User) > maxOwner || len(n.Group) > maxOwner:
		return badNode("user or group name is longer than %d bytes", maxOwner)
	case n.MTime.Nsec >= 1e9 || n.CTime.Nsec >= 1e9:
		return badNode("time with a second or more of nanoseconds")
	case len(n.Xattrs) > MaxXattrs:
		return badNode("%d extended attributes, limit %d", len(n.Xattrs), MaxXattrs)
	case n.Type == Symlink && (n.Target == "" || len(n.Target) > MaxTarget):
		return badNode("symlink target of %d bytes, must be 1 to %d", len(n.Target), MaxTarget)
	}
	return nil
}

func appendXattrs(b []byte, xs []Xattr) ([]byte, error) {
	b = wire.AppendUvarint(b, uint64(len(xs)))
	for i := range xs {
		x := &xs[i]
		switch {
		case len(x.Name) > maxOwner:
			return b, badNode("attribute name is longer than %d bytes", maxOwner)
		case i > 0 && xs[i-1].Name >= x.Name:
			return b, badNode("attribute %q is not after %q", x.Name, xs[i-1].Name)
		case len(x.Value) > maxXattr:
			return b, badNode("attribute %q has a value of %d bytes in place, limit %d", x.Name, len(x.Value), maxXattr)
		case x.Length != 0 && (x.Length <= maxXattr || x.Length > MaxBlob || x.Value != nil):
			return b, badNode("attribute %q as a blob of %d bytes", x.Name, x.Length)
		}
		b = wire.AppendString(b, x.Name)
		if x.Length == 0 {
			b = append(b, xattrPlace)
			b = wire.AppendBytes(b, x.Value)
			continue
		}
		b = append(b, xattrBlob)
		b = wire.AppendUvarint(b, x.Length)
		b = append(b, x.Blob[:]...)
	}
	return b, nil
}

func appendContent(b []byte, n *Node) ([]byte, error) {
	c := &n.Content
	if n.Size > MaxFileSize {
		return b, badNode("file of %d bytes", n.Size)
	}
	b = wire.AppendUvarint(b, n.Size)
	forms := 0
	for _, is := range []bool{len(c.Inline) > 0, len(c.Items) > 0, !c.List.IsZero()} {
		if is {
			forms++
		}
	}
	switch {
	case forms > 1, forms == 0 && n.Size != 0, forms == 1 && n.Size == 0:
		return b, badNode("file of %d bytes with %d forms of content", n.Size, forms)
	case forms == 0:
		return append(b, formEmpty), nil
	case len(c.Inline) > 0:
		if uint64(len(c.Inline)) != n.Size || len(c.Inline) > maxInline {
			return b, badNode("file of %d bytes with %d in place", n.Size, len(c.Inline))
		}
		b = append(b, formPlace)
		return append(b, c.Inline...), nil
	case len(c.Items) > 0:
		if len(c.Items) > maxItems {
			return b, badNode("%d items in place, limit %d", len(c.Items), maxItems)
		}
		var run itemRun
		b = append(b, formItems)
		b = wire.AppendUvarint(b, uint64(len(c.Items)))
		for _, it := range c.Items {
			if err := run.add(it); err != nil {
				return b, badNode("%v", err)
			}
			b = appendItem(b, it)
		}
		if run.size != n.Size {
			return b, badNode("items of %d bytes in a file of %d", run.size, n.Size)
		}
		return b, nil
	}
	b = append(b, formList)
	return append(b, c.List[:]...), nil
}

// DecodeBody decodes a body that fills b. The node has no name and shares no
// memory with b.
func DecodeBody(b []byte) (*Node, error) {
	r := wire.NewReader(b)
	var n Node
	decodeBody(r, &n)
	if err := r.Done(); err != nil {
		return nil, fmt.Errorf("decode node: %w", err)
	}
	return n.Clone(), nil
}

// decodeBody reads a body into n, all of whose fields but Name it sets. It
// reuses the slices that n holds; strings and bytes alias the reader's input.
func decodeBody(r *wire.Reader, n *Node) {
	*n = Node{Name: n.Name, Xattrs: n.Xattrs[:0], Content: Content{Items: n.Content.Items[:0]}}
	n.Type = Type(r.U8())
	if r.Err() == nil && !n.Type.Valid() {
		r.Fail("unknown node %v", n.Type)
	}
	present := r.Uvarint(knownPresent)
	n.Mode = uint32(r.Uvarint(modeMask))
	n.UID = uint32(r.Uvarint(maxNodeInt32))
	n.GID = uint32(r.Uvarint(maxNodeInt32))
	n.MTime = readTime(r)
	n.CTime = readTime(r)
	n.Inode = r.Uvarint(math.MaxUint64)
	if present&hasDevice != 0 {
		n.Device = atLeast(r, 1, math.MaxUint64)
	}
	if present&hasLinks != 0 {
		if n.Type == Directory {
			r.Fail("directory with a number of links")
		}
		n.Links = atLeast(r, 2, math.MaxUint64)
	}
	if present&hasUser != 0 {
		n.User = notEmpty(r, maxOwner)
	}
	if present&hasGroup != 0 {
		n.Group = notEmpty(r, maxOwner)
	}
	if present&hasFlags != 0 {
		n.Flags = uint32(atLeast(r, 1, maxNodeInt32))
	}
	if present&hasXattrs != 0 {
		decodeXattrs(r, n)
	}
	switch n.Type {
	case Directory:
		r.Copy(n.Tree[:])
	case File:
		decodeContent(r, n)
	case Symlink:
		n.Target = notEmpty(r, MaxTarget)
	case CharDevice, BlockDevice:
		n.Major = uint32(r.Uvarint(maxNodeInt32))
		n.Minor = uint32(r.Uvarint(maxNodeInt32))
	}
}

func decodeXattrs(r *wire.Reader, n *Node) {
	count := r.Count(MaxXattrs, minXattr)
	if count == 0 {
		r.Fail("empty list of extended attributes")
	}
	for i := 0; i < count && r.Err() == nil; i++ {
		x := Xattr{Name: aliased(r, maxOwner)}
		if i > 0 && n.Xattrs[i-1].Name >= x.Name {
			r.Fail("extended attributes are not sorted")
		}
		switch form := r.U8(); form {
		case xattrPlace:
			x.Value = r.Bytes(maxXattr)
		case xattrBlob:
			x.Length = atLeast(r, maxXattr+1, MaxBlob)
			r.Copy(x.Blob[:])
		default:
			r.Fail("unknown form %d of an attribute's value", form)
		}
		n.Xattrs = append(n.Xattrs, x)
	}
}

func decodeContent(r *wire.Reader, n *Node) {
	n.Size = r.Uvarint(MaxFileSize)
	form := r.U8()
	if r.Err() == nil && (form == formEmpty) != (n.Size == 0) {
		r.Fail("file of %d bytes with content form %d", n.Size, form)
	}
	switch form {
	case formEmpty:
	case formPlace:
		if n.Size > maxInline {
			r.Fail("file of %d bytes in place, limit %d", n.Size, maxInline)
			return
		}
		n.Content.Inline = r.Fixed(int(n.Size))
	case formItems:
		var run itemRun
		count := r.Count(maxItems, minItem)
		for i := 0; i < count && r.Err() == nil; i++ {
			it := readItem(r)
			if err := run.add(it); err != nil && r.Err() == nil {
				r.Fail("%v", err)
			}
			n.Content.Items = append(n.Content.Items, it)
		}
		if r.Err() == nil && run.size != n.Size {
			r.Fail("items of %d bytes in a file of %d", run.size, n.Size)
		}
	case formList:
		r.Copy(n.Content.List[:])
		if n.Content.List.IsZero() {
			r.Fail("content list without a name")
		}
	default:
		r.Fail("unknown content form %d", form)
	}
}

// itemRun checks a file's items one after another.
type itemRun struct {
	size uint64 // bytes so far
	last ItemKind
}

// add returns an error if it cannot follow the items before.
func (run *itemRun) add(it Item) error {
	switch {
	case it.Kind < ItemData || it.Kind > ItemHole:
		return fmt.Errorf("unknown item kind %d", it.Kind)
	case it.Length == 0:
		return errors.New("item without bytes")
	case it.Kind == ItemData && it.Length > MaxBlob:
		return fmt.Errorf("data item of %d bytes, limit %d", it.Length, MaxBlob)
	case it.Kind != ItemData && it.Kind == run.last:
		return errors.New("adjacent zero or hole items")
	case it.Length > MaxFileSize-run.size:
		return errors.New("items exceed the largest file")
	}
	run.size += it.Length
	run.last = it.Kind
	return nil
}

func appendItem(b []byte, it Item) []byte {
	b = append(b, byte(it.Kind))
	b = wire.AppendUvarint(b, it.Length)
	if it.Kind == ItemData {
		b = append(b, it.ID[:]...)
	}
	return b
}

// readItem reads one item; what the neighbours allow is itemRun's to check.
func readItem(r *wire.Reader) (it Item) {
	it.Kind = ItemKind(r.U8())
	it.Length = r.Uvarint(MaxFileSize)
	if it.Kind == ItemData {
		r.Copy(it.ID[:])
	}
	return it
}

func appendTime(b []byte, t Time) []byte {
	b = wire.AppendVarint(b, t.Sec)
	return wire.AppendUvarint(b, uint64(t.Nsec))
}

func readTime(r *wire.Reader) Time {
	return Time{Sec: r.Varint(), Nsec: uint32(r.Uvarint(1e9 - 1))}
}

// atLeast reads an integer of min to max.
func atLeast(r *wire.Reader, min, max uint64) uint64 {
	v := r.Uvarint(max)
	if v < min && r.Err() == nil {
		r.Fail("integer %d is less than %d", v, min)
	}
	return v
}

// aliased reads a string that shares the reader's memory: it changes when the
// buffer is reused, so only readers that say so hand it out.
func aliased(r *wire.Reader, max int) string { return stringOf(r.Bytes(max)) }

func notEmpty(r *wire.Reader, max int) string {
	s := aliased(r, max)
	if s == "" && r.Err() == nil {
		r.Fail("empty string")
	}
	return s
}

// stringOf returns b as a string without copying it.
func stringOf(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }
