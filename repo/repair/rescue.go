package repair

import (
	"context"
	"fmt"
	"slices"

	"vault/crypto"
	"vault/index"
	"vault/pack"
	"vault/repo"
)

// rescueAll is rescue. If something is given by no pack that the index describes -
// though it seemed so before it was read -, it is looked for in those that
// interrupted writers have left, too: the next collection would delete them.
func (s *survey) rescueAll(ctx context.Context, t *task, going func(pack.ID) bool, put func(crypto.BlobKind, []byte) error) (Count, error) {
	n, err := s.rescue(ctx, going, put)
	if err != nil || len(s.gone) == 0 {
		return n, err
	}
	gone, known := s.gone, len(s.aside)
	if err := t.describe(ctx, s, false); err != nil || len(s.aside) == known {
		return n, err
	}
	s.gone = nil // to be followed, if they are there after all
	if err := s.follow(ctx); err != nil {
		s.gone = gone
		return n, err
	}
	return s.rescue(ctx, going, put)
}

// rescue hands put every blob that is wanted and that no pack which stays gives:
// it is read there to be sure, since the last copy may be the one that goes.
// What no place gives is noted in s.gone. Without put it only counts.
//
// Wanted is what backups and checkpoints refer to; where that cannot be told,
// because a page or a commit cannot be read, everything in the packs that go.
func (s *survey) rescue(ctx context.Context, going func(pack.ID) bool, put func(crypto.BlobKind, []byte) error) (n Count, err error) {
	s.gone = map[blob]struct{}{}
	all := s.blind || s.graph.gaps()
	var rows []index.Row
	wanted := map[blob]bool{}
	for row := range s.marks.Rows() {
		if !going(row.Pack) && !s.aside[row.Pack] {
			continue
		}
		b := blob{row.Kind, row.ID}
		if _, decided := wanted[b]; decided {
			continue
		}
		wanted[b] = s.marks.Marked(row.Kind, row.ID) || all && (going(row.Pack) || s.damaged[row.Pack])
		if wanted[b] {
			rows = append(rows, row)
		} else if s.aside[row.Pack] {
			delete(wanted, b) // another row may lie in a pack that goes
		}
	}
	slices.SortFunc(rows, inOrder)
	var data []byte
	for _, row := range rows {
		if data, err = s.get(ctx, s.c.Index(), row.Kind, row.ID, data, func(id pack.ID) bool { return !going(id) }); err == nil {
			continue
		}
		if isLost(err) {
			data, err = s.get(ctx, s.c.Sources(), row.Kind, row.ID, data, func(pack.ID) bool { return true })
		}
		if isLost(err) {
			s.gone[blob{row.Kind, row.ID}] = struct{}{}
			continue
		}
		if err != nil {
			return n, fmt.Errorf("rescue %s blob %s: %w", row.Kind, row.ID, err)
		}
		if put != nil {
			if err := put(row.Kind, data); err != nil {
				return n, fmt.Errorf("rescue: %w", err)
			}
		}
		n.Blobs++
		n.Bytes += int64(len(data))
	}
	return n, nil
}

// inOrder is the order in which blobs lie, so that each segment is read once.
func inOrder(a, b index.Row) int {
	if n := slices.Compare(a.Pack[:], b.Pack[:]); n != 0 {
		return n
	}
	if a.SegmentOffset != b.SegmentOffset {
		return int(int64(a.SegmentOffset) - int64(b.SegmentOffset))
	}
	return int(int64(a.Offset) - int64(b.Offset))
}

// get reads a blob from the first place that gives it; see getBlob.
func (s *survey) get(ctx context.Context, ix *index.Index, kind crypto.BlobKind, id crypto.ID, dst []byte, from func(pack.ID) bool) ([]byte, error) {
	return getBlob(ctx, s.c, ix, kind, id, dst, from)
}

// getBlob reads a blob from the first place that gives it, of those packs for
// which from says true. A *repo.BlobError says that none does, also at a second
// try; any other error says nothing about the blob. On errors it returns dst,
// so that its memory is not lost.
func getBlob(ctx context.Context, c *repo.Collection, ix *index.Index, kind crypto.BlobKind, id crypto.ID, dst []byte, from func(pack.ID) bool) ([]byte, error) {
	lost := &repo.BlobError{ID: id, Kind: kind, Err: errNowhere}
	for range 2 {
		tried := false
		for loc := range ix.Lookup(id) {
			if loc.Kind != kind || !from(loc.Pack) {
				continue
			}
			b, err := c.GetAt(ctx, loc, id, dst)
			if err == nil {
				return b, nil
			}
			if ctx.Err() != nil {
				return dst, ctx.Err()
			}
			if repo.StateOf(err) != repo.Damaged {
				return dst, err
			}
			lost.Err, tried = err, true
		}
		if !tried {
			break
		}
	}
	return dst, lost
}
