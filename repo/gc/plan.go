package gc

import (
	"cmp"
	"slices"

	"vault/crypto"
	"vault/pack"
)

// Pack is what is known of one pack when a collection is planned.
type Pack struct {
	ID   pack.ID
	Kind crypto.BlobKind
	Size int64 // bytes of the file
	Live int64 // bytes of its segments that live blobs take up, in proportion
	Dead int64 // likewise of dead blobs
}

// Limits say how thorough a collection is.
type Limits struct {
	// MaxUnused is the share of dead bytes, 0..1, that may stay in packs with
	// live blobs, measured over the whole repository. 0 removes all.
	MaxUnused float64
	// MaxUnusedBytes is the same in bytes, and counts instead if it is not 0.
	MaxUnusedBytes int64
	// MaxRepack bounds the bytes of packs that are read and written anew; less
	// than 0 means no bound, 0 that packs are only deleted.
	MaxRepack int64
	// Small packs, of less than this many bytes, are put together when there
	// are more than a few of one kind. 0: never.
	Small int64
}

// DefaultLimits leave up to 5 % of dead bytes and put small packs together.
func DefaultLimits(packSize int) Limits {
	return Limits{MaxUnused: 0.05, MaxRepack: -1, Small: int64(packSize) / 8}
}

// Plan is what a collection will do.
type Plan struct {
	Delete []pack.ID // packs without live blobs
	Repack []pack.ID // packs whose live blobs are moved

	DeleteBytes int64 // of the files to delete
	RepackBytes int64 // of the files to repack
	RescueBytes int64 // of live blobs in them
	UnusedBytes int64 // dead bytes that stay
	TotalBytes  int64 // of all packs before
}

// Condemned returns all packs that go.
func (p Plan) Condemned() []pack.ID { return slices.Concat(p.Delete, p.Repack) }

// few small packs of one kind are left alone, and those that a collection itself
// leaves when it moves blobs of that kind are among them: so the next one finds
// nothing to do.
const (
	few       = 8
	openPacks = 2 // packs of one kind that are being filled at a time, and end as they are
)

// Make decides. It depends on its arguments only.
func Make(packs []Pack, l Limits) (p Plan) {
	var partly []Pack
	for _, k := range packs {
		p.TotalBytes += k.Size
		switch {
		case k.Live == 0:
			p.Delete = append(p.Delete, k.ID)
			p.DeleteBytes += k.Size
		default:
			partly = append(partly, k)
			p.UnusedBytes += k.Dead
		}
	}
	if l.MaxRepack == 0 {
		return p
	}
	// The most wasteful first: what they cost to move frees the most.
	slices.SortFunc(partly, func(a, b Pack) int {
		return cmp.Or(cmp.Compare(b.Dead*a.Size, a.Dead*b.Size), slices.Compare(a.ID[:], b.ID[:]))
	})
	allowed := int64(l.MaxUnused * float64(p.TotalBytes-p.DeleteBytes))
	if l.MaxUnusedBytes != 0 {
		allowed = l.MaxUnusedBytes
	}
	repack := func(k Pack) bool {
		if l.MaxRepack > 0 && p.RepackBytes+k.Size > l.MaxRepack {
			return false
		}
		p.Repack = append(p.Repack, k.ID)
		p.RepackBytes += k.Size
		p.RescueBytes += k.Live
		p.UnusedBytes -= k.Dead
		return true
	}
	var small [3][]Pack
	var room [3]int
	for i := range room {
		room[i] = few
	}
	for _, k := range partly {
		switch {
		case k.Dead > 0 && p.UnusedBytes > allowed && repack(k):
			if int(k.Kind) < len(room) {
				room[k.Kind] = few - openPacks
			}
		case k.Size < l.Small && int(k.Kind) < len(small):
			small[k.Kind] = append(small[k.Kind], k)
		}
	}
	for i, list := range small {
		if len(list) > room[i] {
			for _, k := range list {
				repack(k)
			}
		}
	}
	return p
}
