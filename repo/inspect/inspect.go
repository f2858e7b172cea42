// Package inspect explains stored objects byte by byte: the debugger of the
// repository format (docs/format.md).
//
// A report is a tree of fields, each with its place in the object, its meaning
// and, if it is not what a writer would have written, what is wrong with it.
// What is wrong stops nothing that can still be explained: the raw fields of a
// header are shown even if its commitment does not match. Without keys a report
// shows what is plain.
//
// The caveats:
//
//   - Inspection is a second reading of the format, more lenient than that of
//     the engine. Where the engine has a decoder of its own for an object, its
//     verdict stands in Report.Verdict; an object without bad fields and without
//     a verdict is not thereby proven sound. Package check does that.
//   - Offsets are those of the stored object. Both ciphers keep the length, so a
//     byte of plaintext stands where its ciphertext is; of sealed fields the
//     bytes shown are the plaintext. Compressed segments have no such offsets
//     and are described as a whole.
//   - Of very long lists the first [Shown] members are explained.
//   - Reports hold secrets of the content (names, hashes, inline files), but no
//     keys: the master key in a slot is never shown.
package inspect

import (
	"fmt"
	"iter"
	"strings"

	"vault/crypto"
)

// Shown is how many members of a list are explained.
const Shown = 4096

// Field is a stretch of an object that means something.
type Field struct {
	Offset int    // in the stored object
	Length int    // bytes
	Name   string // as docs/format.md calls it
	Value  string // what the bytes mean; empty for groups
	Note   string // what else is known
	Bad    string // what is wrong here; "" if nothing is
	// Bytes are those of the field, in plaintext if it was sealed and could be
	// opened. Nil for groups. They alias the object.
	Bytes    []byte
	Children []Field
}

// Report explains one object.
type Report struct {
	Name    string
	Kind    string // key, config, pack, index, session, commit, event, plan, done, tree or unknown
	Size    int    // bytes
	Hash    string // BLAKE3 of the object, in hex
	Verdict string // why the engine refuses the object; "" if it does not, or was not asked
	Fields  []Field
}

// Bad yields every field with something wrong, in the order of the report.
func (r *Report) Bad() iter.Seq[*Field] {
	return func(yield func(*Field) bool) { visitBad(r.Fields, yield) }
}

func visitBad(fields []Field, yield func(*Field) bool) bool {
	for i := range fields {
		if f := &fields[i]; f.Bad != "" && !yield(f) || !visitBad(f.Children, yield) {
			return false
		}
	}
	return true
}

// object is an inspection under way.
type object struct {
	Report
	data []byte
	keys *crypto.Keys // nil: none
}

// Object explains the object called name ("commits/01k..."); a page of a tree,
// which is a blob and no object, goes by "tree/" and its id, or "tree". If the
// name tells no kind, the first bytes do. Keys may be nil. It neither changes
// nor copies data, which must not change while the report is in use.
func Object(name string, data []byte, keys *crypto.Keys) Report {
	return explain(name, data, keys, nil)
}

// Slot is Object for a key slot that was opened with its passphrase.
func Slot(name string, data []byte, opened crypto.OpenedSlot) Report {
	return explain(name, data, nil, &opened)
}

func explain(name string, data []byte, keys *crypto.Keys, opened *crypto.OpenedSlot) Report {
	hash := crypto.FileHash(data)
	o := &object{Report: Report{Name: name, Size: len(data), Hash: fmt.Sprintf("%x", hash)}, data: data, keys: keys}
	kind := kindOf(name, data)
	o.Kind = kindNames[kind]
	switch kind {
	case crypto.KindSlot:
		o.slot(opened)
	case crypto.KindConfig:
		o.config()
	case crypto.KindPack:
		o.pack()
	case kindTree:
		o.tree()
	case kindUnknown:
		w := o.walker(data, 0)
		w.rest("object").Bad = "neither its name nor its first bytes are those of a known object"
	default:
		o.record(kind)
	}
	return o.Report
}

// Kinds that are not of stored objects.
const (
	kindUnknown crypto.Kind = 0
	kindTree    crypto.Kind = 'T'
)

var kindNames = map[crypto.Kind]string{
	crypto.KindSlot: "key", crypto.KindConfig: "config", crypto.KindPack: "pack", crypto.KindIndex: "index",
	crypto.KindSession: "session", crypto.KindCommit: "commit", crypto.KindEvent: "event",
	crypto.KindPlan: "plan", crypto.KindDone: "done", kindTree: "tree", kindUnknown: "unknown",
}

// kindOf tells the kind by the name, or else by the magic.
func kindOf(name string, data []byte) crypto.Kind {
	dir, _, _ := strings.Cut(name, "/")
	switch {
	case dir == "keys":
		return crypto.KindSlot
	case name == "config":
		return crypto.KindConfig
	case dir == "packs":
		return crypto.KindPack
	case dir == "index":
		return crypto.KindIndex
	case dir == "sessions":
		return crypto.KindSession
	case dir == "commits":
		return crypto.KindCommit
	case dir == "events":
		return crypto.KindEvent
	case dir == "gc" && strings.HasSuffix(name, ".plan"):
		return crypto.KindPlan
	case dir == "gc":
		return crypto.KindDone
	case dir == "tree":
		return kindTree
	case len(data) >= 4 && string(data[:3]) == "VLT":
		if kind := crypto.Kind(data[3]); kind != kindTree && kindNames[kind] != "" {
			return kind
		}
	}
	return kindUnknown
}
