package gc

import (
	"context"
	"errors"
	"fmt"

	"vault/crypto"
	"vault/index"
	"vault/internal/worklist"
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
	m := &marker{marks: marks, missing: missing}
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
	return m.pages.Run(ctx, workers, func(ctx context.Context) func(crypto.ID) error {
		var page []byte
		return func(id crypto.ID) (err error) {
			if page, err = r.Get(ctx, crypto.BlobTree, id, page); err == nil {
				err = m.read(page)
			}
			if err != nil {
				return fmt.Errorf("page %s: %w", id, err)
			}
			return nil
		}
	})
}

type marker struct {
	marks   *index.Marks
	missing func(snapshot.Ref) error
	pages   worklist.List[crypto.ID]
}

// visit marks what a reference leads to; pages that are new are to be read.
func (m *marker) visit(ref snapshot.Ref) error {
	known, first := m.marks.Mark(ref.Kind, ref.ID)
	if !known {
		return m.missing(ref)
	}
	if first && ref.Kind == crypto.BlobTree {
		m.pages.Add(ref.ID)
	}
	return nil
}

// read visits what a page refers to.
func (m *marker) read(page []byte) error {
	for ref, err := range snapshot.Refs(page) {
		if err == nil {
			err = m.visit(ref)
		}
		if err != nil {
			return err
		}
	}
	return nil
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
