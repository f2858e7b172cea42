package gc

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"

	"vault/backend"
	"vault/index"
	"vault/pack"
	"vault/repo"
)

// batchRows is how many blobs that may have to be copied are held at once.
const batchRows = 1 << 15

// vacated is what became of the live blobs in condemned packs.
type vacated struct {
	index  [][32]byte // segments of the copies
	stats  repo.Stats // of the copies
	spared map[pack.ID]struct{}
}

// vacate sees to it that nothing is lost with the condemned packs: what lives in
// them is copied, or - if nothing is to be stored, or there is no room - the packs
// that it lies in are spared. So a plan of whoever had room does not keep one who
// has none from deleting what can go.
func vacate(ctx context.Context, r *repo.Repo, c *repo.Collection, o Options) (v vacated, err error) {
	if c.Folding() {
		return v, nil
	}
	if o.Limits.MaxRepack != 0 {
		v, err = rescue(ctx, r, c, o)
		if !errors.Is(err, backend.ErrNoSpace) {
			return v, err
		}
	}
	v = vacated{spared: map[pack.ID]struct{}{}}
	err = stranded(ctx, r, c, o, func(row index.Row) error {
		c.Spare(row.Pack)
		v.spared[row.Pack] = struct{}{}
		return nil
	})
	return v, err
}

// rescue copies the blobs that live roots refer to out of the condemned packs.
func rescue(ctx context.Context, r *repo.Repo, c *repo.Collection, o Options) (v vacated, err error) {
	var w *repo.Writer
	var lane *repo.Lane
	var blob []byte
	err = stranded(ctx, r, c, o, func(row index.Row) (err error) {
		if w == nil {
			if w, err = c.Rescuer(ctx); err != nil {
				return err
			}
			lane = w.Lane()
		}
		if blob, err = r.Get(ctx, row.Kind, row.ID, blob); err == nil {
			_, _, err = lane.Put(ctx, row.Kind, blob)
		}
		return err
	})
	if w == nil {
		return v, err
	}
	defer w.Abort()
	if err == nil {
		err = w.Flush()
	}
	if errors.Is(err, backend.ErrNoSpace) {
		err = errors.Join(err, w.Discard(ctx))
	}
	if err != nil {
		return v, fmt.Errorf("rescue: %w", err)
	}
	return vacated{index: w.Published(), stats: w.Stats()}, nil
}

// stranded calls leave for each blob that a live root refers to and that lies in
// condemned packs only.
//
// A blob may have another copy in a pack that stays. It is relied upon only after
// it was read and its name checked: it may be damaged, and the one that goes the
// only good one. Beside the marks, memory holds a batch of blobs' names, and a few
// bytes for each condemned pack.
func stranded(ctx context.Context, r *repo.Repo, c *repo.Collection, o Options, leave func(index.Row) error) error {
	marks := c.Index().NewMarks()
	if err := markAll(ctx, r, c, marks, o.Workers); err != nil {
		return err
	}
	for rows := range leaving(c, marks) {
		for _, row := range rows {
			kept, err := c.Kept(ctx, row.Kind, row.ID)
			if err == nil && !kept {
				err = leave(row)
			}
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// leaving yields the rows of live blobs in condemned packs, in batches; within a
// batch in the order in which they lie there, so that each segment is read once.
func leaving(c *repo.Collection, marks *index.Marks) iter.Seq[[]index.Row] {
	return func(yield func([]index.Row) bool) {
		live := map[pack.ID]int{}
		for row := range marks.RowsIn(c.Condemned) {
			if marks.Marked(row.Kind, row.ID) {
				live[row.Pack]++
			}
		}
		packs := make([]pack.ID, 0, len(live))
		for id := range live {
			packs = append(packs, id)
		}
		slices.SortFunc(packs, func(a, b pack.ID) int { return slices.Compare(a[:], b[:]) })
		var rows []index.Row
		for len(packs) > 0 {
			n, sum := 0, 0
			for ; n < len(packs) && (n == 0 || sum+live[packs[n]] <= batchRows); n++ {
				sum += live[packs[n]]
			}
			rows = batch(marks, packs[:n], rows[:0])
			packs = packs[n:]
			if !yield(rows) {
				return
			}
		}
	}
}

// batch appends the rows of live blobs in packs, which are sorted.
func batch(marks *index.Marks, packs []pack.ID, rows []index.Row) []index.Row {
	wanted := func(id pack.ID) bool {
		_, found := slices.BinarySearchFunc(packs, id, func(a, b pack.ID) int { return slices.Compare(a[:], b[:]) })
		return found
	}
	for row := range marks.RowsIn(wanted) {
		if marks.Marked(row.Kind, row.ID) {
			rows = append(rows, row)
		}
	}
	slices.SortFunc(rows, func(a, b index.Row) int {
		return cmp.Or(slices.Compare(a.Pack[:], b.Pack[:]), cmp.Compare(a.SegmentOffset, b.SegmentOffset), cmp.Compare(a.Offset, b.Offset))
	})
	return rows
}
