package inspect

import (
	"bytes"
	"fmt"
	"strings"

	"vault/crypto"
	"vault/internal/display"
	"vault/pack"
)

const footerSize = 16 + crypto.Overhead

var codecs = map[uint8]string{uint8(pack.Stored): "as it is", uint8(pack.Zstd): "zstd"}

// pack explains a pack (section 7). Its parts are found from the end: footer,
// directory, segments.
func (o *object) pack() {
	if strings.HasPrefix(o.Name, "packs/") {
		o.hashName(o.Name[:min(len(o.Name), len("packs/xx/"))])
	}
	w := o.walker(o.data, 0)
	key := o.header(w, crypto.KindPack)
	if !w.ok() {
		return
	}
	if key == nil || w.r.Len() < footerSize {
		w.sealed("sealed", nil, 0, 0, "", nil)
		return
	}
	_, _, err := pack.ReadDirectory(o.keys, int64(len(o.data)), func(off int64, dst []byte) error {
		copy(dst, o.data[off:])
		return nil
	})
	o.judge(err)

	footerAt := len(o.data) - footerSize
	var footer, directory []Field
	var at uint64
	open := func(out *[]Field, from, to int, name string, t crypto.NonceType, explain func(*walker)) {
		in := o.walker(o.data[from:to], from)
		in.out = out
		in.sealed(name, key, t, 0, "", func(w *walker) { explain(w); w.end() })
	}
	open(&footer, footerAt, len(o.data), "footer", crypto.NonceFooter, func(w *walker) {
		var f *Field
		at, f = w.u64("offset of the directory")
		if at < crypto.HeaderSize || at > uint64(footerAt) {
			f.Bad = "not between header and footer"
			at = 0
		}
		if n, f := w.u32("its sealed length"); at > 0 && uint64(n) != uint64(footerAt)-at {
			f.Bad = fmt.Sprintf("up to the footer are %d bytes", uint64(footerAt)-at)
		}
		w.reserved("zero", 4)
	})
	w = o.walker(o.data[:footerAt], 0)
	w.r.Fixed(crypto.HeaderSize)
	if at > 0 {
		var d pack.Directory
		open(&directory, int(at), footerAt, "directory", crypto.NonceDirectory, func(w *walker) { d = packDirectory(w) })
		w = o.walker(o.data[:at], 0)
		w.r.Fixed(crypto.HeaderSize)
		o.segments(w, key, d)
		if n := w.r.Len(); n > 0 {
			f := w.fixed("padding", n)
			f.Value = fmt.Sprintf("%d bytes", n)
			if !bytes.Equal(f.Bytes, key.Padding(nil, n)) {
				f.Bad = "not the stream of this pack's key"
			}
		}
	} else {
		w.rest("segments, padding and directory").Note = "the footer does not tell them apart"
	}
	o.Fields = append(append(o.Fields, directory...), footer...)
}

// packDirectory reads a directory, and returns as much of it as can be read.
func packDirectory(w *walker) (d pack.Directory) {
	w.version()
	kind, _ := w.enum("kind", blobKinds)
	d.Kind = crypto.BlobKind(kind)
	var counts []uint64
	at := uint64(crypto.HeaderSize)
	w.list("segments", pack.MaxSegments, func(i int) {
		w.group(item(i), func() {
			stored, _ := w.uv("stored", 1, pack.MaxRaw+pack.Overhead)
			raw, _ := w.uv("raw", 1, pack.MaxRaw)
			codec, _ := w.enum("codec", codecs)
			blobs, _ := w.uv("blobs", 1, pack.MaxRaw)
			if !w.ok() || stored > pack.MaxSize || at > pack.MaxSize || raw > pack.MaxRaw {
				at = pack.MaxSize + 1 // where the next ones lie is not known
				return
			}
			d.Segments = append(d.Segments, pack.SegmentInfo{Offset: uint32(at), Stored: uint32(stored), Raw: uint32(raw), Ordinal: uint32(i), Codec: pack.Codec(codec)})
			counts = append(counts, blobs)
			at += stored
		})
	})
	w.group("blobs", func() {
		for i := range d.Segments {
			w.group("segment "+item(i), func() {
				w.members(counts[i], func(j int) {
					w.group(item(j), func() {
						id := w.fixed("blob", 32).Bytes
						length, _ := w.uv("length", 1, pack.MaxRaw)
						if w.ok() && length <= pack.MaxRaw {
							d.Segments[i].Blobs = append(d.Segments[i].Blobs, pack.Blob{ID: crypto.ID(id), Length: uint32(length)})
						}
					})
				})
			})
		}
	})
	return d
}

// segments explains the segments of a pack, and opens them.
func (o *object) segments(w *walker, key *crypto.Object, d pack.Directory) {
	coder := pack.NewCoder(pack.LevelNone)
	var scratch []byte
	for i, s := range d.Segments {
		if int(s.Stored) > w.r.Len() {
			w.rest("segment " + item(i)).Bad = fmt.Sprintf("it has %d bytes, says the directory", s.Stored)
			return
		}
		f := w.fixed("segment "+item(i), int(s.Stored))
		f.Value = fmt.Sprintf("%d bytes, %s", s.Raw, codecs[uint8(s.Codec)])
		plain, err := pack.OpenSegment(key, coder, s, f.Bytes, scratch)
		if err != nil {
			f.Bad = err.Error()
			continue
		}
		scratch = plain
		f.Note = "opens; the names match of " + display.Count(uint64(len(s.Blobs)), "blob")
		at := 0
		for j, b := range s.Blobs {
			if int(b.Length) > len(plain)-at {
				f.Bad = fmt.Sprintf("blob %d reaches beyond its end", j)
				break
			}
			data := plain[at : at+int(b.Length)]
			at += int(b.Length)
			if (d.Kind == crypto.BlobData || d.Kind == crypto.BlobTree) && o.keys.BlobID(d.Kind, data) != b.ID {
				f.Bad = fmt.Sprintf("blob %d has another name than %s", j, b.ID)
				break
			}
		}
		if f.Bad != "" {
			f.Note = "opens"
		}
	}
}
