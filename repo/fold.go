package repo

import (
	"context"
	"slices"

	"vault/crypto"
	"vault/index"
	"vault/pack"
)

// foldRows is how many rows the index segments of a done have; one with at
// least half as many is left alone while all its packs stay.
const foldRows = 1 << 20

// fold merges the index segments into few, without the condemned packs, and
// returns the names of all that count from now on.
func (c *Collection) fold(ctx context.Context, rescued [][32]byte) (names [][32]byte, err error) {
	small := slices.Clone(c.salvage.described())
	held := c.held()
	take := func(name [32]byte, s *index.Segment) {
		_, kept := held[name]
		if (kept || s.Len() >= foldRows/2) && !c.touches(s) {
			names = append(names, name)
			return
		}
		small = append(small, s)
	}
	for _, name := range sorted(c.view.segments, compare32) {
		s := c.view.segments[name]
		take(name, s)
	}
	for _, name := range rescued {
		s, err := c.r.readSegment(ctx, name)
		if err != nil {
			return nil, err
		}
		take(name, s)
	}
	keep := func(id pack.ID) bool { return !c.Condemned(id) }
	for payload, err := range index.Merge(small, keep, foldRows) {
		if err != nil {
			return nil, err
		}
		var name [32]byte
		err := c.r.withRoom(ctx, func() (err error) {
			name, _, err = c.r.storeSegment(ctx, crypto.SessionID{}, payload)
			return err
		})
		if err != nil {
			return nil, err
		}
		names = append(names, name)
	}
	return names, nil
}

func (c *Collection) touches(s *index.Segment) bool {
	for p := range s.Packs() {
		if c.Condemned(p.ID) {
			return true
		}
	}
	return false
}
