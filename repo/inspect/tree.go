package inspect

import (
	"fmt"
	"math"
	"strconv"
	"strings"

	"vault/crypto"
	"vault/snapshot"
)

var pageKinds = map[uint8]string{1: "directory leaf", 2: "directory inner", 3: "content leaf", 4: "content inner"}

var nodeTypes = map[uint8]string{1: "directory", 2: "file", 3: "symlink", 4: "fifo", 5: "socket", 6: "character device", 7: "block device"}

// tree explains a page of a tree (section 9): the plain blob.
func (o *object) tree() {
	if id, found := strings.CutPrefix(o.Name, "tree/"); found && o.keys != nil {
		if got := o.keys.BlobID(crypto.BlobTree, o.data); got.String() != id {
			o.judge(fmt.Errorf("its name is %s", got))
		}
	}
	for _, err := range snapshot.Refs(o.data) {
		o.judge(err)
	}
	w := o.walker(o.data, 0)
	page(w)
	w.end()
}

func page(w *walker) {
	w.version()
	kind, _ := w.enum("kind", pageKinds)
	if level, f := w.u8("level"); w.ok() && (level >= snapshot.MaxLevels || (kind == 2 || kind == 4) != (level > 0)) {
		f.Bad = "does not fit the kind"
	}
	order := sorted()
	w.list("entries", snapshot.MaxEntries, func(i int) {
		var name string
		f := w.group(item(i), func() {
			switch kind {
			case 1:
				name = entryName(w, "name")
				body(w)
			case 2:
				name = entryName(w, "last name")
				w.fixed("page", 32)
				w.uv("entries below", 1, math.MaxInt64)
			case 3:
				contentItem(w)
			case 4:
				w.fixed("page", 32)
				w.uv("bytes below", 1, math.MaxInt64)
			default:
				w.rest("entries").Note = "of an unknown kind"
			}
		})
		if kind == 1 || kind == 2 {
			f.Note = strconv.Quote(name)
			order(name, f)
		}
	})
}

func entryName(w *walker, field string) string {
	name, f := w.str(field, 1, snapshot.MaxName)
	if err := snapshot.CheckName(name); w.ok() && err != nil && f.Bad == "" {
		f.Bad = err.Error()
	}
	return name
}

// body explains everything about a node but its name.
func body(w *walker) {
	kind, _ := w.enum("type", nodeTypes)
	present, f := w.uv("present", 0, 1<<6-1)
	f.Value = fmt.Sprintf("%06b", present)
	mode, f := w.uv("mode", 0, 0o7777)
	f.Value = fmt.Sprintf("%#o", mode)
	w.uv("uid", 0, math.MaxUint32)
	w.uv("gid", 0, math.MaxUint32)
	w.time("mtime")
	w.time("ctime")
	w.any64("inode")
	optional := []func(){
		func() { w.uv("device", 1, math.MaxUint64) },
		func() { w.uv("links", 2, math.MaxUint64) },
		func() { w.str("user", 1, 256) },
		func() { w.str("group", 1, 256) },
		func() { w.uv("inode flags", 1, math.MaxUint32) },
		func() { xattrs(w) },
	}
	for bit, read := range optional {
		if present&(1<<bit) != 0 {
			read()
		}
	}
	switch snapshot.Type(kind) {
	case snapshot.Directory:
		w.fixed("top page", 32)
	case snapshot.File:
		content(w)
	case snapshot.Symlink:
		w.str("target", 1, snapshot.MaxTarget)
	case snapshot.CharDevice, snapshot.BlockDevice:
		w.uv("major", 0, math.MaxUint32)
		w.uv("minor", 0, math.MaxUint32)
	}
}

func xattrs(w *walker) {
	order := sorted()
	w.list("xattrs", snapshot.MaxXattrs, func(i int) {
		var name string
		f := w.group(item(i), func() {
			name, _ = w.str("name", 0, 256)
			form, _ := w.enum("form", map[uint8]string{0: "in place", 1: "a blob"})
			if form == 1 {
				w.uv("length", 1025, snapshot.MaxBlob)
				w.fixed("data blob", 32)
			} else {
				w.bytes("value", 1024)
			}
		})
		order(name, f)
	})
}

func content(w *walker) {
	size, _ := w.uv("size", 0, snapshot.MaxFileSize)
	form, f := w.enum("form", map[uint8]string{0: "nothing", 1: "in place", 2: "items", 3: "a list of items"})
	if w.ok() && (form == 0) != (size == 0) && f.Bad == "" {
		f.Bad = "does not fit the size"
	}
	switch form {
	case 1:
		if w.ok() && size > uint64(w.r.Len()) {
			w.rest("content").Bad = fmt.Sprintf("of %d bytes are these", size)
			return
		}
		w.fixed("content", int(size))
	case 2:
		var sum uint64
		_, f := w.list("items", 64, func(i int) { w.group(item(i), func() { sum += contentItem(w) }) })
		if w.ok() && sum != size {
			f.Bad = fmt.Sprintf("they have %d bytes", sum)
		}
	case 3:
		w.fixed("top content page", 32)
	}
}

// contentItem explains an item and returns its length.
func contentItem(w *walker) uint64 {
	kind, _ := w.enum("kind", map[uint8]string{1: "data", 2: "zero", 3: "hole"})
	length, _ := w.uv("length", 1, snapshot.MaxFileSize)
	if snapshot.ItemKind(kind) == snapshot.ItemData {
		w.fixed("blob", 32)
	}
	return length
}
