package restore

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"

	"vault/crypto"
	"vault/snapshot"
)

const (
	largeFile   = 16 << 20  // from this size on, several workers share a file
	spanBytes   = 8 << 20   // about what one of them takes at once
	spanPieces  = 1024      // at most
	updateBytes = 1 << 20   // existing files from this size on are updated in place
	zeroBytes   = 256 << 10 // of a run of zeros written or compared at once
	blockBytes  = 4096      // written in an existing file if they differ
)

var (
	errDiffers    = errors.New("content differs from the backup")
	errNotInPlace = errors.New("file cannot be updated in place")
	zeros         [zeroBytes]byte
)

// access says what a file is opened for.
type access uint8

const (
	readOnly access = iota
	readWrite
)

// purpose says what is done with content.
type purpose uint8

const (
	opWrite  purpose = iota // into a fresh file, all of which is a hole
	opUpdate                // into an existing one: only what differs
	opVerify                // compare
)

// piece is an item and its place in the file.
type piece struct {
	off  uint64
	item snapshot.Item
}

// transfer is a large file that several workers share.
type transfer struct {
	file file
	how  purpose
	dir  *dir
	node *snapshot.Node

	failed  atomic.Bool
	pending sync.WaitGroup
	mu      sync.Mutex // guards err
	err     error
}

// span is a range of it.
type span struct {
	*transfer
	pieces []piece
}

// untold returns the bytes of a file's content that no event has told.
func untold(n *snapshot.Node) uint64 {
	if n.Size >= largeFile {
		return 0
	}
	return n.Size
}

// write gives a file of this run its content, and reads it back if asked to.
func (w *worker) write(f file, d *dir, n *snapshot.Node, how purpose) error {
	if n.Flags&flagNoCOW != 0 { // possible only while the file is empty
		f.object().setFlags(flagNoCOW, flagNoCOW)
	}
	if err := w.transfer(f, d, n, how); err != nil {
		return err
	}
	return w.verify(f, d, n)
}

func (w *worker) verify(f file, d *dir, n *snapshot.Node) error {
	if !w.opts.Verify {
		return nil
	}
	if err := w.transfer(f, d, n, opVerify); err != nil {
		return fmt.Errorf("verify: %w", err)
	}
	return nil
}

// updatable reports whether an existing file is worth and safe to be updated in
// place.
func (w *worker) updatable(n *snapshot.Node, st info) bool {
	return n.Type == snapshot.File && st.typ == snapshot.File && n.Size >= updateBytes && st.size > 0 && w.trusted(n, st)
}

// update gives an existing file n's content where it differs. Until it is
// complete, the file is nobody else's to read and has a time that is not n's.
func (w *worker) update(d *dir, h handle, n *snapshot.Node, st info) error {
	f, have, err := h.openFile(n.Name, readWrite)
	if err != nil {
		return errNotInPlace // it runs, or is not ours: a new file takes its place
	}
	defer f.close()
	if !have.id.same(st.id) || !w.trusted(n, have) || f.object().chmod(0o600) != nil {
		return errNotInPlace
	}
	incomplete := snapshot.Time{}
	if n.MTime == incomplete {
		incomplete.Sec = 1
	}
	err = f.object().setTime(incomplete)
	if err == nil && have.size != n.Size {
		err = f.truncate(n.Size)
	}
	if err == nil {
		err = w.transfer(f, d, n, opUpdate)
	}
	if err == nil {
		err = w.verify(f, d, n)
	}
	if err != nil {
		f.object().setTime(incomplete)
		return fmt.Errorf("update in place: %w", err)
	}
	w.setMeta(f.object(), metadata{dir: d, name: n.Name, node: n, have: have, list: true, fresh: true})
	w.fileFlags(f, d, n)
	w.event(d, n.Name, n.Type, Updated, untold(n))
	return nil
}

// transfer writes, updates or verifies the content of a file. Nothing beyond
// n.Size is written, whatever the items claim.
func (w *worker) transfer(f file, d *dir, n *snapshot.Node, how purpose) error {
	if n.Size == 0 {
		return nil
	}
	if n.Size > snapshot.MaxFileSize {
		return fmt.Errorf("size of %d bytes", n.Size)
	}
	if len(n.Content.Inline) > 0 {
		return w.inline(f, n, how)
	}
	if n.Size >= largeFile && w.opts.Workers > 1 {
		return w.share(f, d, n, how)
	}
	sized := how != opWrite
	if !sized && slices.ContainsFunc(n.Content.Items, func(it snapshot.Item) bool { return !w.stores(it) }) {
		if err := f.truncate(n.Size); err != nil {
			return fmt.Errorf("set size: %w", err)
		}
		sized = true
	}
	err := w.pieces(n, func(p piece) error {
		if !sized && !w.stores(p.item) {
			if err := w.setSize(f, p.off, n.Size); err != nil {
				return err
			}
			sized = true
		}
		return w.piece(f, p, how)
	})
	if n.Size >= largeFile && how != opVerify {
		w.event(d, n.Name, n.Type, Wrote, n.Size)
	}
	return err
}

// inline handles content that stands in the node.
func (w *worker) inline(f file, n *snapshot.Node, how purpose) error {
	b := n.Content.Inline
	if uint64(len(b)) != n.Size {
		return fmt.Errorf("%d bytes in place of a file of %d", len(b), n.Size)
	}
	if how != opVerify {
		if err := f.writeAt(b, 0); err != nil {
			return fmt.Errorf("write: %w", err)
		}
		w.written.Add(n.Size)
		return nil
	}
	have, err := w.read(f, 0, n.Size)
	if err != nil {
		return err
	}
	if !bytes.Equal(have, b) {
		return errDiffers
	}
	w.verified.Add(n.Size)
	return nil
}

// pieces calls fn for the items of a file, which cover it exactly.
func (w *worker) pieces(n *snapshot.Node, fn func(piece) error) error {
	var off uint64
	for it, err := range snapshot.Items(w.ctx, w.opts.Source, n.Content, n.Size) {
		if err != nil {
			w.fatal(err)
			return err
		}
		if it.Length > n.Size-off || it.Kind == snapshot.ItemData && it.Length > snapshot.MaxBlob {
			return fmt.Errorf("item of %d bytes at %d in a file of %d", it.Length, off, n.Size)
		}
		if it.Kind == snapshot.ItemZero && off > 0 && it.Length < blockBytes && it.Length == n.Size-off {
			it.Kind = snapshot.ItemHole // holes end at a block, and the file within one
		}
		if err := fn(piece{off, it}); err != nil {
			return err
		}
		off += it.Length
	}
	if off != n.Size {
		return fmt.Errorf("items of %d bytes in a file of %d", off, n.Size)
	}
	return nil
}

// share splits a large file into spans. Workers that have nothing else to do
// take them; the rest is done here.
func (w *worker) share(f file, d *dir, n *snapshot.Node, how purpose) error {
	if how == opWrite {
		if err := f.truncate(n.Size); err != nil {
			return fmt.Errorf("set size: %w", err)
		}
	}
	t := &transfer{file: f, how: how, dir: d, node: n}
	var s *span
	var size uint64
	flush := func() error {
		if s == nil {
			return nil
		}
		if how == opWrite {
			if err := w.preallocate(f, s.pieces); err != nil {
				return fmt.Errorf("reserve space: %w", err)
			}
		}
		t.pending.Add(1)
		w.announceSpan(s)
		select {
		case w.spans <- s:
		default:
			w.span(s)
		}
		s, size = nil, 0
		return nil
	}
	err := w.pieces(n, func(p piece) error {
		if t.failed.Load() {
			return errDiffers // whatever; t.err is what counts
		}
		if s == nil {
			s = &span{transfer: t}
		}
		s.pieces = append(s.pieces, p)
		size += min(p.item.Length, spanBytes)
		if size >= spanBytes || len(s.pieces) == spanPieces {
			return flush()
		}
		return nil
	})
	if err == nil {
		err = flush()
	}
	t.pending.Wait()
	if t.err != nil {
		return t.err
	}
	return err
}

// span does one span.
func (w *worker) span(s *span) {
	defer s.pending.Done()
	var n uint64
	for _, p := range s.pieces {
		if s.failed.Load() {
			return
		}
		if err := w.piece(s.file, p, s.how); err != nil {
			s.mu.Lock()
			if s.err == nil {
				s.err = err
			}
			s.mu.Unlock()
			s.failed.Store(true)
			return
		}
		n += p.item.Length
	}
	if s.how != opVerify {
		w.event(s.dir, s.node.Name, s.node.Type, Wrote, n)
	}
}

// piece writes, updates or verifies one item.
func (w *worker) piece(f file, p piece, how purpose) error {
	if p.item.Kind != snapshot.ItemData {
		return w.zero(f, p, how)
	}
	if how != opWrite {
		same, err := w.sameData(f, p)
		switch {
		case err != nil:
			return err
		case same && how == opVerify:
			w.verified.Add(p.item.Length)
			return nil
		case same:
			w.kept.Add(p.item.Length)
			return nil
		case how == opVerify:
			return fmt.Errorf("%d bytes at %d: %w", p.item.Length, p.off, errDiffers)
		}
	}
	b, err := w.get(crypto.BlobData, p.item.ID, p.item.Length)
	if err != nil {
		return err
	}
	if how == opUpdate && !f.anyHole(p.off, p.item.Length) {
		return w.writeDiffering(f, b, w.other[:len(b)], p.off)
	}
	if err := f.writeAt(b, p.off); err != nil {
		return fmt.Errorf("write: %w", err)
	}
	w.written.Add(p.item.Length)
	return nil
}

// writeDiffering writes the blocks of b that are not what the file has at off.
// They are blocks of the file, not of b.
func (w *worker) writeDiffering(f file, b, have []byte, off uint64) error {
	next := func(at int) int {
		return min(at+blockBytes-int((off+uint64(at))%blockBytes), len(b))
	}
	for at := 0; at < len(b); {
		start, end := at, next(at)
		if bytes.Equal(b[start:end], have[start:end]) {
			w.kept.Add(uint64(end - start))
			at = end
			continue
		}
		for end < len(b) && !bytes.Equal(b[end:next(end)], have[end:next(end)]) {
			end = next(end)
		}
		if err := f.writeAt(b[start:end], off+uint64(start)); err != nil {
			return fmt.Errorf("write: %w", err)
		}
		w.written.Add(uint64(end - start))
		at = end
	}
	return nil
}

// sameData reports whether the file has the item already, by its name if we can
// name blobs, else by its bytes. It leaves what the file has in w.other.
func (w *worker) sameData(f file, p piece) (bool, error) {
	have, err := w.read(f, p.off, p.item.Length)
	if err != nil {
		return false, err
	}
	if w.opts.Namer != nil {
		return w.opts.Namer.BlobID(crypto.BlobData, have) == p.item.ID, nil
	}
	b, err := w.get(crypto.BlobData, p.item.ID, p.item.Length)
	if err != nil {
		return false, err
	}
	return bytes.Equal(have, b), nil
}

// read reads what the target has, at most snapshot.MaxBlob bytes, into the
// worker's memory. The result is valid until the next call.
func (w *worker) read(f file, off, n uint64) ([]byte, error) {
	if uint64(cap(w.other)) < n {
		w.other = make([]byte, n)
	}
	b := w.other[:n]
	if err := f.readAt(b, off); err != nil {
		return nil, fmt.Errorf("read back: %w", err)
	}
	return b, nil
}
