package repo

import (
	"context"
	"fmt"

	"vault/crypto"
	"vault/pack"
)

// Lane is one goroutine's way into a [Writer]. It gathers small blobs into
// segments, and does the compressing, sealing and verifying of what passes
// through it, so that the work of a backup is spread by its lanes. A Lane is
// not safe for concurrent use.
type Lane struct {
	w       *Writer
	coder   *pack.Coder
	open    [2]segment // by kind: blobs gathered, not yet stored
	coded   []byte     // scratch: the coded segment
	scratch []byte     // scratch: the segment as read back
	single  [1]pack.Blob
}

// segment is plain blobs one after another.
type segment struct {
	raw   []byte
	blobs []pack.Blob
}

func newLane(w *Writer) *Lane {
	level := w.r.params.Compression
	if w.o.Compression != nil {
		level = *w.o.Compression
	}
	return &Lane{w: w, coder: pack.NewCoder(level)}
}

// Put stores a blob unless it is known, and returns its name and whether it
// was new. Data is not retained. A blob is durable after the commit.
func (l *Lane) Put(ctx context.Context, kind crypto.BlobKind, data []byte) (id crypto.ID, added bool, err error) {
	if err := l.w.err(); err != nil {
		return id, false, err
	}
	if len(data) == 0 || len(data) > maxSegmentSize {
		panic(fmt.Sprintf("repo: a blob of %d bytes", len(data)))
	}
	id = l.w.r.keys.BlobID(kind, data)
	if !l.w.known.claim(id) {
		return id, false, nil
	}
	l.w.stats.blobs.Add(1)
	l.w.stats.raw.Add(int64(len(data)))
	if l.w.o.DryRun {
		return id, true, nil
	}
	if err := l.add(kind, id, data); err != nil {
		l.w.fail(err)
		return id, false, l.w.err()
	}
	return id, true, nil
}

// Has reports whether the blob need not be stored again.
func (l *Lane) Has(_ crypto.BlobKind, id crypto.ID) bool { return l.w.known.has(id) }

// add gathers a small blob and stores a large one in a segment of its own.
func (l *Lane) add(kind crypto.BlobKind, id crypto.ID, data []byte) error {
	target := l.w.r.params.SegmentSize
	blob := pack.Blob{ID: id, Length: uint32(len(data))}
	if len(data) >= target/2 {
		l.single[0] = blob
		return l.store(kind, data, l.single[:])
	}
	s := &l.open[kind-1]
	if len(s.raw)+len(data) > target {
		if err := l.flushKind(kind); err != nil {
			return err
		}
	}
	if s.raw == nil {
		s.raw = make([]byte, 0, target)
	}
	s.raw = append(s.raw, data...)
	s.blobs = append(s.blobs, blob)
	return nil
}

func (l *Lane) flush() error {
	for _, kind := range []crypto.BlobKind{crypto.BlobData, crypto.BlobTree} {
		if err := l.flushKind(kind); err != nil {
			return err
		}
	}
	return nil
}

func (l *Lane) flushKind(kind crypto.BlobKind) error {
	s := &l.open[kind-1]
	if len(s.blobs) == 0 {
		return nil
	}
	err := l.store(kind, s.raw, s.blobs)
	s.raw, s.blobs = s.raw[:0], s.blobs[:0]
	return err
}

// store compresses a segment, finds it a place in a pack, seals it there, and
// reads it back from the sealed bytes: what leaves this process opens,
// decodes, and holds the blobs that it should.
func (l *Lane) store(kind crypto.BlobKind, raw []byte, blobs []pack.Blob) (err error) {
	coded, codec := l.coder.Encode(l.coded[:0], raw)
	if codec != pack.Stored {
		l.coded = coded
	}
	p, slot, err := l.w.packers[kind-1].place(l.w.ctx, coded, codec, len(raw), blobs)
	if err != nil {
		return err
	}
	defer p.unref()
	slot.Seal(coded)
	l.scratch, err = slot.Verify(l.coder, l.scratch[:0])
	if err != nil {
		err = fmt.Errorf("verify a segment before it is stored: %w", err)
		l.w.fail(err) // before the pack is let go: it must not leave
		return err
	}
	l.w.stats.stored.Add(int64(len(coded)))
	return nil
}
