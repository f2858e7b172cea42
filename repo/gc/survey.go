package gc

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"vault/crypto"
	"vault/index"
	"vault/pack"
	"vault/repo"
	"vault/snapshot"
)

// ErrIncomplete says that something that a backup refers to is not there: a
// collection could make it worse, so it does not begin.
var ErrIncomplete = errors.New("a backup refers to something that is not there; run check, then repair")

// refuse is for backups that ought to be whole.
func refuse(ref snapshot.Ref) error {
	return fmt.Errorf("%w: %s blob %s", ErrIncomplete, ref.Kind, ref.ID)
}

// skip is for backups of which a repair has noted that something is lost.
func skip(snapshot.Ref) error { return nil }

// mark finds every blob that the roots refer to, and marks it. A page that
// several roots share is read once: the marks themselves remember it, so that
// the memory needed is one bit a row of the index.
// What the index does not know is missing's to judge.
func mark(ctx context.Context, r *repo.Repo, marks *index.Marks, roots []*snapshot.Backup, missing func(snapshot.Ref) error, workers int) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	m := &marker{ctx: ctx, cancel: cancel, r: r, marks: marks, missing: missing}
	m.wake.L = &m.mu
	for _, b := range roots {
		for i := range b.Volumes {
			if v := &b.Volumes[i]; v.Root != nil {
				for ref := range snapshot.RefsOf(v.Root) {
					if err := m.visit(ref); err != nil {
						return fmt.Errorf("backup %s volume %s: %w", b.ID.Short(), v.Name, err)
					}
				}
			}
		}
	}
	var wg sync.WaitGroup
	for range workers {
		wg.Go(m.work)
	}
	wg.Wait()
	return context.Cause(ctx)
}

type marker struct {
	ctx     context.Context
	cancel  context.CancelCauseFunc
	r       *repo.Repo
	marks   *index.Marks
	missing func(snapshot.Ref) error

	mu      sync.Mutex // guards what follows
	wake    sync.Cond
	pages   []crypto.ID
	working int
}

// visit marks what a reference leads to; pages that are new are to be read.
func (m *marker) visit(ref snapshot.Ref) error {
	known, first := m.marks.Mark(ref.Kind, ref.ID)
	if !known {
		return m.missing(ref)
	}
	if first && ref.Kind == crypto.BlobTree {
		m.mu.Lock()
		defer m.mu.Unlock()
		m.pages = append(m.pages, ref.ID)
		m.wake.Signal()
	}
	return nil
}

func (m *marker) next() (crypto.ID, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for len(m.pages) == 0 && m.working > 0 {
		m.wake.Wait()
	}
	if len(m.pages) == 0 || m.ctx.Err() != nil {
		return crypto.ID{}, false
	}
	id := m.pages[len(m.pages)-1]
	m.pages = m.pages[:len(m.pages)-1]
	m.working++
	return id, true
}

func (m *marker) done() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.working--
	if m.working == 0 {
		m.wake.Broadcast()
	}
}

func (m *marker) work() {
	var page []byte
	for {
		id, ok := m.next()
		if !ok {
			return
		}
		var err error
		if page, err = m.r.Get(m.ctx, crypto.BlobTree, id, page); err == nil {
			for ref, rerr := range snapshot.Refs(page) {
				if err = rerr; err == nil {
					err = m.visit(ref)
				}
				if err != nil {
					break
				}
			}
		}
		if err != nil {
			m.cancel(fmt.Errorf("page %s: %w", id, err))
		}
		m.done()
	}
}

// weigh sums up what the marks say of each pack. A blob's share of a segment
// is its share of the plain bytes. A held pack is alive as a whole: its index
// segment stays as it is, so that the pack must not go, even if every blob in
// it has another copy.
func weigh(marks *index.Marks, sizes map[pack.ID]int64, held map[pack.ID]struct{}) []Pack {
	packs := map[pack.ID]*Pack{}
	for row := range marks.Rows() {
		p := packs[row.Pack]
		if p == nil {
			p = &Pack{ID: row.Pack, Kind: row.Kind, Size: int64(row.PackSize)}
			packs[row.Pack] = p
		}
		share := max(1, int64(row.Length)*int64(row.Stored)/int64(row.Raw))
		if _, hold := held[row.Pack]; hold || row.Marked {
			p.Live += share
		} else {
			p.Dead += share
		}
	}
	list := make([]Pack, 0, len(packs))
	for id, p := range packs {
		if _, stored := sizes[id]; stored || p.Live > 0 {
			list = append(list, *p)
		}
	}
	return list
}
