package gc

import (
	"cmp"
	"context"
	"fmt"
	"iter"
	"slices"

	"vault/index"
	"vault/pack"
	"vault/repo"
)

// batchRows is how many blobs that may have to be copied are held at once.
const batchRows = 1 << 15

// rescue copies the blobs that live roots refer to out of the condemned packs,
// and returns the index segments of the copies.
//
// A blob may have another copy in a pack that stays. It is relied upon only after
// it was read and its name checked: it may be damaged, and the one that goes the
// only good one. Beside the marks, memory holds a batch of blobs' names, and a few
// bytes for each condemned pack.
func rescue(ctx context.Context, r *repo.Repo, c *repo.Collection, o Options) ([][32]byte, repo.Stats, error) {
	if c.Folding() {
		return nil, repo.Stats{}, nil
	}
	marks := c.Index().NewMarks()
	if err := markAll(ctx, r, c, marks, o.Workers); err != nil {
		return nil, repo.Stats{}, err
	}
	var m *mover
	for rows := range leaving(c, marks) {
		if m == nil {
			w, err := c.Rescuer(ctx)
			if err != nil {
				return nil, repo.Stats{}, err
			}
			defer w.Abort()
			m = &mover{r: r, c: c, w: w, lane: w.Lane()}
		}
		for _, row := range rows {
			if err := m.move(ctx, row); err != nil {
				return nil, repo.Stats{}, fmt.Errorf("rescue: %w", err)
			}
		}
	}
	if m == nil {
		return nil, repo.Stats{}, nil
	}
	if err := m.w.Flush(); err != nil {
		return nil, repo.Stats{}, fmt.Errorf("rescue: %w", err)
	}
	return m.w.Published(), m.w.Stats(), nil
}

// mover copies blobs.
type mover struct {
	r    *repo.Repo
	c    *repo.Collection
	w    *repo.Writer
	lane *repo.Lane
	blob []byte
}

// move copies a live blob of a condemned pack, unless another copy is kept.
func (m *mover) move(ctx context.Context, row index.Row) error {
	kept, err := m.c.Kept(ctx, row.Kind, row.ID)
	if kept || err != nil {
		return err
	}
	if m.blob, err = m.r.Get(ctx, row.Kind, row.ID, m.blob); err != nil {
		return err
	}
	_, _, err = m.lane.Put(ctx, row.Kind, m.blob)
	return err
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
