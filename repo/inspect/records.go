package inspect

import (
	"fmt"
	"math"
	"strings"

	"vault/chunk"
	"vault/crypto"
	"vault/index"
	"vault/snapshot"
)

// record explains an object that is one envelope: sections 10 and 11.
func (o *object) record(kind crypto.Kind) {
	ad := o.Name
	payload := map[crypto.Kind]func(*walker){
		crypto.KindIndex: o.index, crypto.KindSession: session, crypto.KindCommit: commit,
		crypto.KindEvent: event, crypto.KindPlan: plan, crypto.KindDone: done,
	}[kind]
	if kind == crypto.KindIndex {
		ad = ""
		o.hashName("index/")
	}
	if o.keys != nil {
		o.judge(o.engine(kind, ad))
	}
	w := o.walker(o.data, 0)
	o.envelope(w, kind, ad, payload)
}

// engine returns what the engine's own decoders object to.
func (o *object) engine(kind crypto.Kind, ad string) error {
	payload, sid, err := o.keys.OpenEnvelope(kind, ad, o.data)
	if err != nil {
		return err
	}
	switch kind {
	case crypto.KindIndex:
		_, err = index.NewSegment(payload)
	case crypto.KindCommit:
		_, err = snapshot.DecodeCommit(sid, payload)
	}
	return err
}

// hashName holds the name of an object against its hash.
func (o *object) hashName(prefix string) {
	if name, found := strings.CutPrefix(o.Name, prefix); found && name != o.Hash {
		o.judge(fmt.Errorf("its hash is not its name"))
	}
}

// params is the payload of the config.
func params(w *walker) {
	w.version()
	w.time("created")
	w.str("program", 0, 64)
	w.group("chunker", func() {
		w.enum("algorithm", map[uint8]string{uint8(chunk.AESWindow): "aes-window", uint8(chunk.Rabin): "rabin"})
		w.uv("min", 64, chunk.MaxChunk)
		w.uv("max", 64, chunk.MaxChunk)
		w.u8("bits")
	})
	w.group("packs", func() {
		w.uv("target size of a pack", 1, 1<<30)
		w.uv("target raw size of a segment", 1, 16<<20)
		w.enum("compression", map[uint8]string{0: "none", 1: "fastest", 2: "default", 3: "better", 4: "best"})
	})
	w.group("trees", func() {
		w.any64("single page entries")
		w.u8("cut bits")
		for _, name := range []string{"entries at most", "page bytes", "inline file bytes", "inline items", "inline xattr bytes", "hole bytes"} {
			w.any64(name)
		}
	})
	w.group("store", func() {
		w.enum("sharing", map[uint8]string{1: "shared", 2: "single writer"})
		w.str("pinned host", 0, 256)
	})
}

// paramsAndSecret is the payload of a config that brings the splitter's secret.
func paramsAndSecret(w *walker) {
	params(w)
	f := w.fixed("chunker secret", 32)
	f.Value, f.Bytes = "not shown", nil
}

func session(w *walker) {
	w.version()
	w.any64("generation")
	w.any64("counter")
	w.time("started")
	w.str("host", 0, 256)
	w.any64("process id")
	w.str("program", 0, 64)
}

var commitKinds = map[uint8]string{1: "backup", 2: "killed", 3: "checkpoint"}

func commit(w *walker) {
	w.version()
	kind, _ := w.enum("kind", commitKinds)
	w.any64("generation")
	if kind == uint8(snapshot.CommitKilled) {
		return
	}
	w.hash("newest done")
	if origin, _ := w.enum("origin", map[uint8]string{0: "none", 1: "a copy"}); origin == 1 {
		w.repoID("origin repository")
		w.sid("origin backup")
	}
	w.time("time")
	w.time("started")
	w.time("finished")
	w.str("host", 0, 256)
	w.str("user", 0, 256)
	w.str("program", 0, 64)
	w.str("group", 0, 256)
	tags := sorted()
	w.list("tags", 1024, func(i int) {
		var key, value string
		f := w.group(item(i), func() {
			key, _ = w.str("key", 0, 256)
			value, _ = w.str("value", 0, 4096)
		})
		tags(key+"\x00"+value, f)
	})
	w.sids("parents", 64)
	w.hashes("index segments", 65536)
	names := sorted()
	n, f := w.list("volumes", 4096, func(i int) {
		var name string
		f := w.group(item(i), func() { name = volume(w) })
		names(name, f)
	})
	if w.ok() && n == 0 {
		f.Bad = "a backup has volumes"
	}
}

func volume(w *walker) string {
	name, _ := w.str("name", 0, 4096)
	w.enum("kind", map[uint8]string{1: "path", 2: "command", 3: "standard input"})
	w.str("source", 0, 65536)
	state, _ := w.enum("state", map[uint8]string{1: "complete", 2: "partial", 3: "failed"})
	w.time("scan started")
	for _, count := range []string{"files new", "files changed", "files unmodified", "directories new", "directories changed",
		"directories unmodified", "other entries", "bytes processed", "bytes added", "bytes stored"} {
		w.any64(count)
	}
	w.any64("problems")
	w.list("first problems", 64, func(i int) {
		w.group(item(i), func() {
			w.str("path", 0, 65536)
			w.str("message", 0, 4096)
		})
	})
	root, f := w.enum("root", map[uint8]string{0: "none", 1: "follows"})
	if w.ok() && (root == 0) != (state == uint8(snapshot.Failed)) && f.Bad == "" {
		f.Bad = "does not fit the state"
	}
	if root == 1 {
		body(w)
	}
	return name
}

func event(w *walker) {
	w.version()
	w.time("time")
	w.str("host", 0, 256)
	w.str("user", 0, 256)
	kind, _ := w.enum("kind", map[uint8]string{1: "forget", 2: "unforget", 3: "collected", 4: "tags", 5: "note"})
	switch kind {
	case 4:
		w.list("changes", 1024, func(i int) {
			w.group(item(i), func() {
				w.enum("change", map[uint8]string{1: "set", 2: "removed"})
				w.str("key", 0, 256)
				w.str("value", 0, 4096)
			})
		})
	case 5:
		w.str("key", 0, 256)
		w.bytes("value", 65536)
	}
}

const maxList = 1 << 22 // members of a list in a plan or done

func plan(w *walker) {
	w.version()
	w.uv("n", 1, math.MaxUint64)
	w.hash("newest done")
	w.hashes("condemned packs", maxList)
	w.hashes("orphan packs", maxList)
	w.hashes("orphan index segments", maxList)
	w.sids("dropped backups", maxList)
	w.bytes("signature", 4096)
}

func done(w *walker) {
	w.version()
	w.uv("n", 1, math.MaxUint64)
	w.hash("previous done")
	w.hashes("index segments", maxList)
	w.sids("live backups", maxList)
	w.hashes("packs to delete", maxList)
	w.hashes("index segments to delete", maxList)
	w.bytes("signature", 4096)
}

// index is the payload of an index segment (section 10).
func (o *object) index(w *walker) {
	var packs, segments, rows, heap uint32
	w.group("head", func() {
		if v, f := w.u32("version"); w.ok() && v != 1 {
			f.Bad = "known is 1"
		}
		packs, _ = w.u32("packs")
		segments, _ = w.u32("segments")
		var f *Field
		if rows, f = w.u32("rows"); rows > index.MaxRows {
			f.Bad = fmt.Sprintf("limit %d", index.MaxRows)
		}
		heap, _ = w.u32("heap bytes")
		w.reserved("reserved", 4)
	})
	var headers []int // their lengths
	w.group("packs", func() {
		w.members(uint64(packs), func(i int) { headers = append(headers, int(packRow(w, i))) })
	})
	w.group("segments", func() { w.members(uint64(segments), func(i int) { segmentRow(w, i) }) })
	w.group("rows", func() {
		order := sorted()
		w.members(uint64(rows), func(i int) {
			var key string
			f := w.group(item(i), func() {
				blob := w.fixed("blob", 32).Bytes
				segment, _ := w.u32("segment")
				offset, _ := w.u32("offset")
				w.u32("length")
				key = fmt.Sprintf("%s%08x%08x", blob, segment, offset)
			})
			order(key, f)
		})
	})
	w.group("heap", func() {
		if w.ok() && int64(heap) != int64(w.r.Len()) {
			w.rest("headers").Bad = fmt.Sprintf("%d bytes, not %d", w.r.Len(), heap)
			return
		}
		for _, n := range headers {
			if n = min(n, w.r.Len()); w.ok() && n > 0 {
				in := w.inside(w.b[w.r.Offset():][:n], w.at())
				o.header(in, crypto.KindPack)
				in.end()
				w.r.Fixed(n)
			}
		}
		w.end()
	})
}

var blobKinds = map[uint8]string{uint8(crypto.BlobData): "data", uint8(crypto.BlobTree): "tree"}

// packRow returns the length of the pack's header.
func packRow(w *walker, i int) (header uint16) {
	w.group(item(i), func() {
		w.fixed("pack", 32)
		w.u32("size")
		w.enum("kind", blobKinds)
		w.reserved("zero", 1)
		header, _ = w.u16("header length")
		w.u32("header offset in the heap")
		w.reserved("zero", 4)
	})
	return header
}

func segmentRow(w *walker, i int) {
	w.group(item(i), func() {
		w.u32("pack")
		w.u32("offset")
		w.u32("stored")
		w.u32("raw")
		w.leaf("ordinal", func() string { b := w.r.Fixed(3); return fmt.Sprint(littleEndian(b)) })
		w.enum("codec", codecs)
	})
}

func littleEndian(b []byte) (v uint32) {
	for i := range b {
		v |= uint32(b[i]) << (8 * i)
	}
	return v
}
