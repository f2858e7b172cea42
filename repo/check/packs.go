package check

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"

	"vault/backend"
	"vault/crypto"
	"vault/index"
	"vault/pack"
)

// readPacks reads the directory of every pack, or all of it, and compares with
// the index.
func (c *checker) readPacks(packs map[pack.ID]*index.PackInfo) {
	c.packsTotal.Store(int64(len(packs)))
	for id, p := range packs {
		if c.o.Read != nil && c.o.Read(id, p.Size) {
			c.bytesTotal.Add(int64(p.Size))
		}
	}
	pool := sync.Pool{New: func() any { return &tools{coder: pack.NewCoder(pack.LevelNone)} }}
	inOrder := slices.SortedFunc(maps.Values(packs), func(a, b *index.PackInfo) int { return bytes.Compare(a.ID[:], b.ID[:]) })
	each(c, slices.Values(inOrder), func(p *index.PackInfo) {
		t := pool.Get().(*tools)
		defer pool.Put(t)
		if c.o.Read != nil && c.o.Read(p.ID, p.Size) {
			c.object(p.ID.Path(), c.readPack(t, p))
			c.bytes.Add(int64(p.Size))
		} else {
			c.object(p.ID.Path(), c.readDirectory(p))
		}
		c.packs.Add(1)
		c.progress()
	})
}

// tools are the buffers of one goroutine.
type tools struct {
	coder *pack.Coder
	file  []byte
	plain []byte
}

// readDirectory reads the directory alone.
func (c *checker) readDirectory(p *index.PackInfo) error {
	d, object, err := pack.ReadDirectory(c.r.Keys(), int64(p.Size), c.r.PackReader(c.ctx, p.ID, p.Size))
	if err != nil {
		return err
	}
	return c.compare(p, d, object)
}

// readPack reads the whole file: its name, its directory, every segment and
// the name of every blob.
func (c *checker) readPack(t *tools, p *index.PackInfo) error {
	if cap(t.file) < int(p.Size) {
		t.file = make([]byte, p.Size)
	}
	t.file = t.file[:p.Size]
	if err := backend.ReadRange(c.ctx, c.r.Backend(), p.ID.Path(), 0, t.file); err != nil {
		return err
	}
	var wrong []error
	if pack.ID(crypto.FileHash(t.file)) != p.ID {
		wrong = append(wrong, errors.New("its bytes are not those that it is named after"))
	}
	d, object, err := pack.ReadDirectory(c.r.Keys(), int64(p.Size), func(off int64, dst []byte) error {
		copy(dst, t.file[off:])
		return nil
	})
	if err != nil {
		return errors.Join(append(wrong, err)...)
	}
	wrong = append(wrong, c.compare(p, d, object))
	for _, s := range d.Segments {
		wrong = append(wrong, c.readSegment(t, object, d.Kind, s))
	}
	return errors.Join(wrong...)
}

func (c *checker) readSegment(t *tools, object *crypto.Object, kind crypto.BlobKind, s pack.SegmentInfo) (err error) {
	t.plain, err = pack.OpenSegment(object, t.coder, s, t.file[s.Offset:s.Offset+s.Stored], t.plain[:0])
	if err != nil {
		return fmt.Errorf("segment %d: %w", s.Ordinal, err)
	}
	rest := t.plain
	for _, b := range s.Blobs {
		if c.r.BlobID(kind, rest[:b.Length]) != b.ID {
			return fmt.Errorf("segment %d: blob %s has other bytes than it is named after", s.Ordinal, b.ID)
		}
		rest = rest[b.Length:]
	}
	return nil
}

// compare holds a pack's directory against the index.
func (c *checker) compare(p *index.PackInfo, d pack.Directory, object *crypto.Object) error {
	if string(object.Header()) != string(p.Header) {
		return errors.New("its header is not the one that the index recorded")
	}
	if d.Kind != p.Kind {
		return fmt.Errorf("it holds %s blobs, the index says %s", d.Kind, p.Kind)
	}
	for i := range d.Segments {
		s := &d.Segments[i]
		offset := uint32(0)
		for _, b := range s.Blobs {
			if !c.indexed(p.ID, s, b, offset) {
				return fmt.Errorf("blob %s lies in it, but the index does not say so", b.ID)
			}
			offset += b.Length
		}
	}
	return nil
}

func (c *checker) indexed(id pack.ID, s *pack.SegmentInfo, b pack.Blob, offset uint32) bool {
	for loc := range c.ix.Lookup(b.ID) {
		if loc.Pack == id && loc.SegmentOffset == s.Offset && loc.Stored == s.Stored && loc.Raw == s.Raw &&
			loc.Ordinal == s.Ordinal && loc.Codec == s.Codec && loc.Offset == offset && loc.Length == b.Length {
			return true
		}
	}
	return false
}
