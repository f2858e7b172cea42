package restore

import (
	"context"
	"strings"
	"sync"
	"unsafe"

	"vault/crypto"
	"vault/snapshot"
)

// prefetcher is a Source that likes to be told what will be asked of it, such
// as a repository in a distant store.
type prefetcher interface {
	Prefetch(ctx context.Context, kind crypto.BlobKind, ids ...crypto.ID)
	// Distant reports whether Prefetch does anything.
	Distant() bool
}

// The walker goes ahead of the workers, so that the source has time to fetch
// what they will need, by so many batches and bytes of nodes at most.
const (
	maxLead      = 512
	maxLeadBytes = 8 << 20
)

// lead bounds what waits for workers. The zero value is ready.
type lead struct {
	mu   sync.Mutex // guards held
	less sync.Cond
	held int
}

// take waits until n bytes more may wait, or nothing does.
func (l *lead) take(n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.less.L = &l.mu
	for l.held > 0 && l.held+n > maxLeadBytes {
		l.less.Wait()
	}
	l.held += n
}

// give says that n bytes have been worked off.
func (l *lead) give(n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.held -= n
	l.less.Signal() // there is one walker
}

// footprint returns about how much memory a node takes.
func footprint(n *snapshot.Node) int {
	size := int(unsafe.Sizeof(*n)) + len(n.Name) + len(n.Target) + len(n.Content.Inline) + len(n.Content.Items)*int(unsafe.Sizeof(snapshot.Item{}))
	for i := range n.Xattrs {
		size += int(unsafe.Sizeof(n.Xattrs[i])) + len(n.Xattrs[i].Name) + len(n.Xattrs[i].Value)
	}
	return size
}

// announce tells the source that the content of n will be wanted, where that is
// certain: in a directory that this run has made. Large files announce their
// parts when their turn comes.
func (w *worker) announce(d *dir, n *snapshot.Node) {
	p, ok := w.distant()
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
	p, ok := w.distant()
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

func (w *worker) distant() (prefetcher, bool) {
	p, ok := w.opts.Source.(prefetcher)
	return p, ok && p.Distant()
}

// The pages of directories come one after another, each from a request of its
// own, unless the source is told before of those of the subdirectories: of so
// many, found among so many entries.
const (
	treesAhead   = 64
	entriesAhead = 2048
)

// announceTrees tells the source of the next subdirectories of d, from an entry
// on, that the walker will come to. The pages that it reads for that are read
// again right after, from memory.
func (w *worker) announceTrees(d *dir, from string) {
	p, ok := w.distant()
	if !ok || d.node == nil || d.node.Type != snapshot.Directory {
		return
	}
	d.more = ""
	list := snapshot.NewDirReader(w.ctx, w.opts.Source, d.node.Tree)
	if from != "" {
		list.SeekTo(from)
	}
	w.ids = w.ids[:0]
	for entries := 0; ; entries++ {
		n, err := list.Next()
		if err != nil {
			break // if it is not the end, the walker meets the error, too
		}
		if entries == entriesAhead || len(w.ids) == treesAhead {
			d.more = strings.Clone(n.Name)
			break
		}
		if n.Type == snapshot.Directory {
			w.ids = append(w.ids, n.Tree)
		}
	}
	d.announced += len(w.ids)
	if len(w.ids) > 0 {
		p.Prefetch(w.ctx, crypto.BlobTree, w.ids...)
	}
}

// passed notes that the walker has come to a subdirectory of d.
func (w *worker) passed(d *dir, n *snapshot.Node) {
	if d.announced > 0 {
		d.announced--
	}
	if d.more != "" && (d.announced <= treesAhead/2 || n.Name >= d.more) {
		w.announceTrees(d, max(d.more, n.Name+"\x00"))
	}
}
