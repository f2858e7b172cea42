package sim

import (
	"context"

	"vault/crypto"
	"vault/index"
	"vault/pack"
	"vault/repo"
	"vault/snapshot"
)

// spot is a place where a blob lay that was read: what a reader finds depends on the
// spots that the index has for it, and on the bytes there.
type spot struct {
	kind            crypto.BlobKind
	id              crypto.ID
	pack            pack.ID
	segment, offset uint32
	bytes           *byte // of the pack; nil if it is not there
	size            int
}

// witness notes the spots of what is read.
type witness struct {
	*repo.Repo
	ix    *index.Index
	be    *plain
	spots []spot
}

// Get implements snapshot.Source.
func (w *witness) Get(ctx context.Context, kind crypto.BlobKind, id crypto.ID, dst []byte) ([]byte, error) {
	w.spots = w.be.appendSpots(w.spots, w.ix, kind, id)
	return w.Repo.Get(ctx, kind, id, dst)
}

// appendSpots looks where a blob lies.
func (b *plain) appendSpots(list []spot, ix *index.Index, kind crypto.BlobKind, id crypto.ID) []spot {
	for loc := range ix.Lookup(id) {
		if loc.Kind != kind {
			continue
		}
		p := spot{kind: kind, id: id, pack: loc.Pack, segment: loc.SegmentOffset, offset: loc.Offset}
		name := loc.Pack.Path()
		if object := b.objects[name]; len(object) > 0 {
			p.bytes, p.size = &object[0], len(object)
		}
		b.note(name)
		list = append(list, p)
	}
	return list
}

// still reports whether a reader would look at the same spots again, and find
// the same bytes.
func (b *plain) still(ix *index.Index, spots []spot) bool {
	var buf [4]spot
	for i := 0; i < len(spots); {
		now := b.appendSpots(buf[:0], ix, spots[i].kind, spots[i].id)
		for _, p := range now {
			if i >= len(spots) || spots[i] != p {
				return false
			}
			i++
		}
		if len(now) == 0 {
			return false
		}
	}
	return true
}

// readBack is readBack, or knows that it would end well as it did before.
func (a *auditor) readBack(ctx context.Context, r *repo.Repo, be *plain, b *snapshot.Backup, want tree) error {
	ix, err := r.Index(ctx)
	if err != nil || len(b.Volumes) != 1 || b.Volumes[0].Root == nil || b.Volumes[0].State != snapshot.Complete {
		return readBack(ctx, r, b, want)
	}
	key := savedTree{b.Volumes[0].Root.Tree, want.dir}
	if spots, ok := a.whole[key]; ok && be.still(ix, spots) {
		return nil
	}
	w := &witness{Repo: r, ix: ix, be: be}
	if err := readBack(ctx, w, b, want); err != nil {
		return err
	}
	if a.whole == nil {
		a.whole = map[savedTree][]spot{}
	}
	a.whole[key] = w.spots
	return nil
}

// savedTree is what a backup says that it holds, and what it ought to hold.
type savedTree struct {
	top  crypto.ID
	tree string
}
