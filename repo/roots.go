package repo

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"vault/crypto"
	"vault/index"
	"vault/pack"
	"vault/snapshot"
)

// What a collection keeps alive, and what it may let go.

// going reports whether a commit keeps nothing alive: before a plan exists,
// because it is forgotten or superseded; with a plan, because that drops it,
// whatever events came later.
func (c *Collection) going(sid crypto.SessionID, k *snapshot.Commit) bool {
	if c.plan != nil {
		_, found := slices.BinarySearchFunc(c.plan.Dropped, sid, crypto.SessionID.Compare)
		return found
	}
	return c.view.events[sid].forgotten() || c.superseded(k)
}

// superseded reports whether a checkpoint has served: the backup that it is a
// part of, or a later one of the same host and group, has committed.
func (c *Collection) superseded(k *snapshot.Commit) bool {
	if k.Kind != snapshot.CommitCheckpoint {
		return false
	}
	since := k.Backup.ID
	if len(k.Backup.Parents) > 0 {
		since = k.Backup.Parents[0]
	}
	for _, later := range c.view.commits {
		if later.Kind == snapshot.CommitBackup && later.Backup.Key() == k.Backup.Key() && since.Compare(later.Backup.ID) <= 0 {
			return true
		}
	}
	return false
}

// IsCheckpoint reports whether the commit is one of a checkpoint.
func (c *Collection) IsCheckpoint(id crypto.SessionID) bool {
	k := c.view.commits[id]
	return k != nil && k.Kind == snapshot.CommitCheckpoint
}

// Superseded returns the checkpoints that have served. A plan may drop them as
// they are: nobody was told that they are safe, so no event has to come first.
func (c *Collection) Superseded() []crypto.SessionID {
	var list []crypto.SessionID
	for sid, k := range c.view.commits {
		if c.superseded(k) {
			list = append(list, sid)
		}
	}
	return list
}

// Roots returns the backups whose trees keep blobs alive.
func (c *Collection) Roots() []*snapshot.Backup { return c.backups(snapshot.CommitBackup, false) }

// Dropping returns the backups and checkpoints that may be dropped.
func (c *Collection) Dropping() []*snapshot.Backup {
	return append(c.backups(snapshot.CommitBackup, true), c.backups(snapshot.CommitCheckpoint, true)...)
}

func (c *Collection) backups(kind snapshot.CommitKind, going bool) []*snapshot.Backup {
	var list []*snapshot.Backup
	for sid, k := range c.view.commits {
		if k.Kind == kind && c.going(sid, k) == going {
			list = append(list, k.Backup)
		}
	}
	slices.SortFunc(list, compareBackups)
	return list
}

// Held returns the index segments of checkpoints: every blob in them is alive.
func (c *Collection) Held() []*index.Segment {
	var list []*index.Segment
	for name := range c.held() {
		if s := c.view.segments[name]; s != nil {
			list = append(list, s)
		}
	}
	return list
}

func (c *Collection) held() map[[32]byte]struct{} {
	names := map[[32]byte]struct{}{}
	for _, b := range c.backups(snapshot.CommitCheckpoint, false) {
		for _, name := range b.Index {
			names[name] = struct{}{}
		}
	}
	return names
}

// Unnamed returns the packs that no index segment of a commit or of the newest
// done names.
func (c *Collection) Unnamed() []pack.ID {
	named := c.namedPacks()
	var list []pack.ID
	for id := range c.packs {
		if _, ok := named[id]; !ok {
			list = append(list, id)
		}
	}
	return list
}

// Leftovers reports whether there is something to clean up that no backup has
// to do with: packs and index segments that nothing names, and sessions of
// earlier generations whose clients are gone.
func (c *Collection) Leftovers(ctx context.Context, gone func(Waiting) bool) (bool, error) {
	if len(c.Unnamed()) > 0 {
		return true, nil
	}
	named := c.namedSegments()
	for name := range c.segments {
		if _, ok := named[name]; !ok {
			return true, nil
		}
	}
	unsettled, err := c.Unsettled(ctx)
	return slices.ContainsFunc(unsettled, gone), err
}

// HeldPacks returns the packs that checkpoints hold, whatever is in them.
func (c *Collection) HeldPacks() map[pack.ID]struct{} {
	held := map[pack.ID]struct{}{}
	for _, s := range c.Held() {
		for p := range s.Packs() {
			held[p.ID] = struct{}{}
		}
	}
	return held
}

func (c *Collection) namedPacks() map[pack.ID]struct{} {
	named := make(map[pack.ID]struct{}, len(c.packs))
	for s := range c.Index().Segments() {
		for p := range s.Packs() {
			named[p.ID] = struct{}{}
		}
	}
	return named
}

// namedSegments returns every index segment that counts: those of the newest done,
// and of the commits that it does not list. Those of the others were merged into
// it; where one of them is left, its deletion was interrupted.
func (c *Collection) namedSegments() map[[32]byte]struct{} {
	named := map[[32]byte]struct{}{}
	if c.view.done != nil {
		for _, name := range c.view.done.Index {
			named[name] = struct{}{}
		}
	}
	for sid, k := range c.view.commits {
		if k.Kind != snapshot.CommitKilled && (c.view.done == nil || !c.view.done.lists(sid)) {
			for _, name := range k.Backup.Index {
				named[name] = struct{}{}
			}
		}
	}
	return named
}

// Drop records that forgotten backups are going, and returns them, without those
// that somebody has brought back meanwhile or another collection has dropped;
// and superseded checkpoints as they are.
func (c *Collection) Drop(ctx context.Context, backups []*snapshot.Backup) (dropped []crypto.SessionID, err error) {
	for _, b := range backups {
		ok := c.superseded(c.view.commits[b.ID])
		if !ok {
			ok, err = c.r.Collect(ctx, b.ID, Event{})
		}
		switch {
		case errors.Is(err, ErrNoBackup), errors.Is(err, ErrCollected):
			err = nil // gone
		case err != nil:
			return nil, fmt.Errorf("drop backup %s: %w", b.ID, err)
		case ok:
			dropped = append(dropped, b.ID)
		}
	}
	return dropped, nil
}
