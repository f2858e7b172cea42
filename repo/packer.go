package repo

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"

	"vault/backend"
	"vault/crypto"
	"vault/index"
	"vault/pack"
)

// packer keeps the open packs of one kind. Lanes place segments in them; a pack
// that is full and whose segments are all sealed and verified goes to the
// uploader.
//
// There is one open pack until it is full, then two: a segment goes where it
// leaves the least room. So packs fill up to the same size, whatever is in
// them, which saves padding and tells a reader of the store less.
type packer struct {
	w    *Writer
	kind crypto.BlobKind

	mu   sync.Mutex // guards open
	open []*openPack
}

// openPacks is how many packs of a kind are open at once, at most. Tree packs
// are few and their segments alike.
func openPacks(kind crypto.BlobKind) int {
	if kind == crypto.BlobTree {
		return 1
	}
	return 2
}

// openPack is a pack being filled. It is held by the packer while it is open
// and by every lane that is sealing in it; whoever lets go last submits it.
type openPack struct {
	*pack.Builder
	w    *Writer
	buf  []byte
	refs atomic.Int32
}

func newPacker(w *Writer, kind crypto.BlobKind) *packer { return &packer{w: w, kind: kind} }

// place reserves room for a segment. The caller seals and verifies it, then
// calls unref on the pack.
func (p *packer) place(ctx context.Context, coded []byte, codec pack.Codec, raw int, blobs []pack.Blob) (*openPack, *pack.Slot, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for {
		slices.SortStableFunc(p.open, func(a, b *openPack) int { return cmp.Compare(a.Free(), b.Free()) })
		for _, o := range p.open {
			if slot, ok := o.Reserve(coded, codec, raw, blobs); ok {
				o.refs.Add(1)
				return o, slot, nil
			}
		}
		if len(p.open) == openPacks(p.kind) {
			p.open[0].unref()
			p.open = slices.Delete(p.open, 0, 1)
		}
		next, err := p.w.upload.newPack(ctx, p.kind)
		if err != nil {
			return nil, nil, err
		}
		p.open = append(p.open, next)
	}
}

// closeOpen lets go of the open packs.
func (p *packer) closeOpen() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, o := range p.open {
		o.unref()
	}
	p.open = nil
}

func (p *openPack) unref() {
	if p.refs.Add(-1) == 0 {
		p.w.upload.submit(p)
	}
}

// uploader finishes packs, stores them, and gathers their index. The buffers
// that packs are built in are few and used again: they bound the memory of a
// backup, and waiting for one is how a slow store slows down the reading.
type uploader struct {
	w       *Writer
	buffers chan []byte
	queue   chan *openPack
	workers sync.WaitGroup
	flight  sync.WaitGroup // packs submitted and not yet stored
	once    sync.Once

	mu        sync.Mutex // guards what follows; not held while the store is asked
	rows      index.Builder
	ids       []crypto.ID
	packs     []storedPack     // all, in the order in which they were stored
	records   []string         // names of all index segments and checkpoints, in that order
	published []stored         // what no checkpoint names
	doubtful  []*index.Segment // of packs of which nobody knows whether a checkpoint names them
	pace      pace
}

// storedPack is a pack that this session has stored.
type storedPack struct {
	id   pack.ID
	size uint32 // bytes
}

// flushRows is how many blobs an index segment of a running backup has.
const flushRows = 1 << 16

// defaultUploads is how many packs are on their way while others are filled.
const defaultUploads = 2

func newUploader(w *Writer) *uploader {
	n, workers := openPacks(crypto.BlobData)+openPacks(crypto.BlobTree), w.o.Uploads
	if n += workers; workers <= 0 {
		n += defaultUploads
		workers = n // at the end all are on their way
	}
	u := &uploader{w: w, buffers: make(chan []byte, n), queue: make(chan *openPack, n)}
	for range n {
		u.buffers <- nil
	}
	for range workers {
		u.workers.Go(u.work)
	}
	u.pace = newPace(w.o.Checkpoints, w.r.params.PackSize, w.r.env.Now())
	return u
}

// newPack waits for a buffer and starts a pack in it.
func (u *uploader) newPack(ctx context.Context, kind crypto.BlobKind) (*openPack, error) {
	var buf []byte
	select {
	case buf = <-u.buffers:
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	target := u.w.r.params.PackSize
	if buf == nil {
		buf = make([]byte, 0, target)
	}
	b, err := pack.NewBuilder(u.w.r.keys, u.w.sid, kind, target, buf[:0], u.w.r.env.Rand)
	if err != nil {
		u.buffers <- buf
		return nil, err
	}
	u.flight.Add(1)
	p := &openPack{Builder: b, w: u.w, buf: buf}
	p.refs.Store(1)
	return p, nil
}

// submit never blocks: there are no more packs than places in the queue.
func (u *uploader) submit(p *openPack) { u.queue <- p }

func (u *uploader) work() {
	for p := range u.queue {
		if err := u.store(p); err != nil {
			u.w.fail(err)
		}
		u.flight.Done()
	}
}

// store finishes one pack, stores it and indexes it.
func (u *uploader) store(p *openPack) error {
	defer func() { u.buffers <- p.buf }()
	if u.w.ctx.Err() != nil || p.Empty() {
		return nil // failed elsewhere, perhaps with a segment of this pack
	}
	f, err := p.Finish()
	if err != nil {
		return err
	}
	p.buf = f.Bytes[:0]
	ctx := u.w.ctx
	if f.Directory.Kind == crypto.BlobData {
		ctx = backend.Bulk(ctx)
	}
	if err := u.w.r.be.Put(ctx, f.ID.Path(), f.Bytes); err != nil {
		return fmt.Errorf("store pack %s: %w", f.ID, err)
	}
	u.w.stats.packs.Add(1)
	u.w.stats.files.Add(int64(len(f.Bytes)))
	return u.gather(f)
}

// gather indexes a stored pack, and has a checkpoint made when one is due.
func (u *uploader) gather(f pack.Finished) error {
	u.mu.Lock()
	u.packs = append(u.packs, storedPack{f.ID, uint32(len(f.Bytes))})
	err := u.rows.Add(f.ID, len(f.Bytes), f.Header, f.Directory)
	if err != nil {
		u.mu.Unlock()
		return err
	}
	for _, s := range f.Directory.Segments {
		for _, b := range s.Blobs {
			u.ids = append(u.ids, b.ID)
		}
	}
	u.pace.stored(len(f.Bytes))
	full := u.rows.Rows() >= flushRows
	u.mu.Unlock()
	if full {
		if err := u.flushIndex(); err != nil {
			return err
		}
	}
	u.keepPace()
	return nil
}

// flushIndex writes the gathered rows as an index segment. Their packs are
// durable by now.
func (u *uploader) flushIndex() error {
	u.mu.Lock()
	rows, ids := u.rows, u.ids
	u.rows, u.ids = index.Builder{}, nil
	u.mu.Unlock()
	if rows.Rows() == 0 {
		return nil
	}
	name, segment, err := u.w.r.storeSegment(u.w.ctx, u.w.sid, rows.Encode())
	if err != nil {
		return err
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	u.w.known.publish(segment, ids)
	u.published = append(u.published, stored{name, segment})
	u.records = append(u.records, indexName(name))
	return nil
}

// drain waits until every submitted pack is stored or given up, and for a
// checkpoint that is being made.
func (u *uploader) drain() { u.flight.Wait() }

// stop ends the workers. Packs that are still open are dropped.
func (u *uploader) stop() {
	u.once.Do(func() {
		for _, p := range u.w.packers {
			p.closeOpen()
		}
		u.flight.Wait()
		close(u.queue)
		u.workers.Wait()
	})
}

// storeSegment seals an index segment and stores it under a new name.
func (r *Repo) storeSegment(ctx context.Context, sid crypto.SessionID, payload []byte) (name [32]byte, s *index.Segment, err error) {
	if _, err := index.NewSegment(payload); err != nil {
		return name, nil, fmt.Errorf("verify an index segment before it is stored: %w", err)
	}
	object, err := r.keys.SealEnvelope(crypto.KindIndex, sid, "", payload, r.env.Rand)
	if err != nil {
		return name, nil, err
	}
	name = crypto.FileHash(object)
	if err := r.be.Put(ctx, indexName(name), object); err != nil {
		return name, nil, fmt.Errorf("store index segment: %w", err)
	}
	s, err = r.mapped(name, payload)
	return name, s, err
}
