package restore

import (
	"context"

	"vault/crypto"
	"vault/snapshot"
)

// prefetcher is a Source that likes to be told what will be asked of it, such
// as a repository in a distant store.
type prefetcher interface {
	Prefetch(ctx context.Context, kind crypto.BlobKind, ids ...crypto.ID)
}

// announce tells the source that the content of n will be wanted, where that is
// certain: in a directory that this run has made. Large files announce their
// parts when their turn comes.
func (w *worker) announce(d *dir, n *snapshot.Node) {
	p, ok := w.opts.Source.(prefetcher)
	if !ok || n.Type != snapshot.File || n.Size >= largeFile || !d.made || d.absent || n.Links > 1 {
		return
	}
	w.ids = w.ids[:0]
	for _, it := range n.Content.Items {
		if it.Kind == snapshot.ItemData {
			w.ids = append(w.ids, it.ID)
		}
	}
	if len(w.ids) > 0 {
		p.Prefetch(w.ctx, crypto.BlobData, w.ids...)
	}
}

// announceSpan does so for a part of a large file that will be written.
func (w *worker) announceSpan(s *span) {
	p, ok := w.opts.Source.(prefetcher)
	if !ok || s.how != opWrite {
		return
	}
	w.ids = w.ids[:0]
	for _, piece := range s.pieces {
		if piece.item.Kind == snapshot.ItemData {
			w.ids = append(w.ids, piece.item.ID)
		}
	}
	p.Prefetch(w.ctx, crypto.BlobData, w.ids...)
}
