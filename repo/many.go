package repo

import (
	"bytes"
	"cmp"
	"context"
	"slices"
	"sync"

	"vault/backend"
	"vault/crypto"
	"vault/index"
	"vault/pack"
)

// Prefetch says that these blobs will be asked for with [Repo.Get], soon and in
// about this order. Where the store is distant, they are fetched ahead, several
// requests at once and neighbours with one; anywhere else it does nothing. It
// does not wait, promises nothing, and costs requests in vain for what is not
// asked for then.
func (r *Repo) Prefetch(ctx context.Context, kind crypto.BlobKind, ids ...crypto.ID) {
	if r.reader.windows == nil || kind == crypto.BlobTree && r.reader.copies != nil {
		return
	}
	v, err := r.current(ctx)
	if err != nil {
		return
	}
	var hints []hint
	for _, id := range ids {
		if loc, ok := locate(v.index, kind, id); ok {
			hints = r.reader.hint(hints, &loc)
		}
	}
	if len(hints) > 0 {
		r.reader.windows.hint(hints)
	}
}

// Distant reports whether the store is one where Prefetch fetches ahead.
func (r *Repo) Distant() bool { return r.reader.windows != nil }

// locate returns the location that Get tries first.
func locate(ix *index.Index, kind crypto.BlobKind, id crypto.ID) (index.Location, bool) {
	for loc := range ix.Lookup(id) {
		if loc.Kind == kind {
			return loc, true
		}
	}
	return index.Location{}, false
}

// GetMany reads blobs of one kind with few requests: in the order in which they
// lie in packs, each segment once, neighbours together, several at a time. It
// calls use for every blob, in no particular order, from as many goroutines at
// once as workers says; worker tells them apart (0..workers-1), i is the place
// of the blob in ids. Data is valid until use returns. A blob that cannot be
// had has an err, as of [Repo.Get]. The first error that use returns ends it, and
// is returned.
//
// Memory is bounded by what workers hold, however many ids there are; but the
// more, the fewer the requests: a few thousand are good. What is wanted twice is
// passed on twice.
func (r *Repo) GetMany(ctx context.Context, workers int, kind crypto.BlobKind, ids []crypto.ID, use func(worker, i int, data []byte, err error) error) error {
	runs, err := r.inPackOrder(ctx, kind, ids)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	work := make(chan []int)
	var wg sync.WaitGroup
	for worker := range max(workers, 1) {
		wg.Go(func() {
			var b []byte
			for run := range work {
				for _, i := range run {
					if ctx.Err() != nil {
						break
					}
					data, err := r.Get(ctx, kind, ids[i], b[:0])
					if err == nil {
						b = data
					}
					if err := use(worker, i, data, err); err != nil {
						cancel(err)
					}
				}
			}
		})
	}
	ahead := 0
	for n, run := range runs {
		for ; ahead < len(runs) && ahead < n+aheadRuns; ahead++ {
			r.Prefetch(ctx, kind, ids[runs[ahead][0]])
		}
		select {
		case work <- run:
		case <-ctx.Done():
		}
	}
	close(work)
	wg.Wait()
	return context.Cause(ctx)
}

// aheadRuns is how many segments GetMany announces before it asks for them.
const aheadRuns = 512

// inPackOrder groups the places in ids by segment, and orders the groups by
// pack and place in it.
func (r *Repo) inPackOrder(ctx context.Context, kind crypto.BlobKind, ids []crypto.ID) (runs [][]int, err error) {
	v, err := r.current(ctx)
	if err != nil {
		return nil, err
	}
	type place struct {
		i   int
		loc index.Location
	}
	places := make([]place, len(ids))
	for i, id := range ids {
		loc, _ := locate(v.index, kind, id) // what has none comes first, and fails
		places[i] = place{i, loc}
	}
	slices.SortStableFunc(places, func(a, b place) int {
		return cmp.Or(bytes.Compare(a.loc.Pack[:], b.loc.Pack[:]), cmp.Compare(a.loc.Ordinal, b.loc.Ordinal), cmp.Compare(a.loc.Offset, b.loc.Offset))
	})
	for i, p := range places {
		if i > 0 && p.loc.Pack == places[i-1].loc.Pack && p.loc.Ordinal == places[i-1].loc.Ordinal {
			runs[len(runs)-1] = append(runs[len(runs)-1], p.i)
		} else {
			runs = append(runs, []int{p.i})
		}
	}
	return runs, nil
}

// PackReader returns a function that reads parts of a pack, as pack.ReadDirectory
// wants it: from a distant store in windows.
func (r *Repo) PackReader(ctx context.Context, id pack.ID, size uint32) func(off int64, dst []byte) error {
	return func(off int64, dst []byte) error {
		if w := r.reader.windows; w != nil && off >= 0 && off+int64(len(dst)) <= int64(size) {
			return w.read(ctx, span{pack: id, packSize: size, off: uint32(off), length: uint32(len(dst))}, segmentKey{}, dst)
		}
		return backend.ReadRange(ctx, r.be, id.Path(), off, dst)
	}
}
