package repo

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"vault/crypto"
	"vault/index"
	"vault/pack"
	"vault/snapshot"
)

// NoteLost is the key of the note that says what a backup has lost; an empty
// value says that it is whole again. The newest note counts.
const NoteLost = "lost"

// lacking reports whether a repair has noted that the backup lost something.
func (l lifecycle) lacking() bool {
	e := l.lost()
	return e != nil && len(e.Value) > 0
}

func (l lifecycle) lost() *Event {
	for i := len(l.events) - 1; i >= 0; i-- {
		if e := &l.events[i]; e.Kind == EventNote && e.Key == NoteLost {
			return e
		}
	}
	return nil
}

// Rebuilding reports whether the newest generation is lost and is being made
// anew.
func (c *Collection) Rebuilding() bool { return c.salvage.rebuilding }

// Broken returns the damage met: one [*StateError] for each commit, event or
// index segment that counts and is not what was written.
func (c *Collection) Broken() []error { return c.view.broken }

// RedundantPlan returns the name of a damaged plan that has no meaning any
// more, or "".
func (c *Collection) RedundantPlan() string { return c.salvage.redundant }

// DropRedundantPlan removes it.
func (c *Collection) DropRedundantPlan(ctx context.Context) error {
	err := c.r.be.Delete(ctx, c.salvage.redundant)
	if isMissing(err) {
		return nil
	}
	return err
}

// DamagedSessions returns the announcements of writers that cannot be read.
func (c *Collection) DamagedSessions(ctx context.Context) (list []error, err error) {
	ids, err := c.r.listIDs(ctx, sessionsDir)
	if err != nil {
		return nil, err
	}
	for sid := range ids {
		_, err := c.r.readSession(ctx, sid)
		switch {
		case StateOf(err) == Damaged:
			list = append(list, err)
		case err != nil && !isMissing(err):
			return nil, err
		}
	}
	return list, nil
}

// MissingCommits returns the commits that the newest done lists as live and
// that are not stored.
func (c *Collection) MissingCommits(ctx context.Context) (list []crypto.SessionID, err error) {
	if c.view.done == nil {
		return nil, nil
	}
	stored, err := c.r.listIDs(ctx, commitsDir)
	for _, sid := range c.view.done.Live {
		if _, ok := stored[sid]; !ok {
			list = append(list, sid)
		}
	}
	return list, err
}

// kept returns the commits that stay listed though nobody can read them.
func (c *Collection) kept() (list []crypto.SessionID) {
	if c.salvage == nil || c.salvage.o.GiveUp {
		return nil
	}
	for _, name := range c.brokenIn(commitsDir) {
		if sid, err := crypto.ParseSessionID(name[len(commitsDir):]); err == nil && !c.dropping(sid) {
			list = append(list, sid)
		}
	}
	if c.view.done != nil {
		for _, sid := range c.view.done.Live {
			if c.view.commits[sid] == nil && !c.dropping(sid) {
				list = append(list, sid)
			}
		}
	}
	return list
}

func (c *Collection) dropping(sid crypto.SessionID) bool {
	_, found := slices.BinarySearchFunc(c.plan.Dropped, sid, crypto.SessionID.Compare)
	return found
}

// replaced returns the index segments that a repair's index takes the place of,
// beside those that the roots name.
func (c *Collection) replaced() (list [][32]byte) {
	if c.salvage == nil {
		return nil
	}
	for name := range c.view.segments {
		list = append(list, name)
	}
	for _, object := range c.brokenIn(indexDir) {
		if name, ok := parseIndexName(object); ok {
			list = append(list, name)
		}
	}
	return list
}

// brokenIn returns the damaged objects below a directory.
func (c *Collection) brokenIn(dir string) (names []string) {
	for _, err := range c.view.broken {
		var s *StateError
		if errors.As(err, &s) && strings.HasPrefix(s.Object, dir) {
			names = append(names, s.Object)
		}
	}
	return names
}

// Saved returns the backups that are still to be had, forgotten ones included
// whose end has not begun; oldest first.
func (c *Collection) Saved() (list []*snapshot.Backup) {
	for sid, k := range c.view.commits {
		if k.Kind != snapshot.CommitBackup || c.view.events[sid].state == EventCollected || c.plan != nil && c.dropping(sid) {
			continue
		}
		list = append(list, k.Backup)
	}
	slices.SortFunc(list, compareBackups)
	return list
}

// Lacking reports whether a repair has noted that the backup lost something.
func (c *Collection) Lacking(id crypto.SessionID) bool { return c.view.events[id].lacking() }

// LostNote returns what the newest such note says; nil if there is none.
func (c *Collection) LostNote(id crypto.SessionID) []byte {
	if e := c.view.events[id].lost(); e != nil {
		return e.Value
	}
	return nil
}

// Doomed reports whether a generation has given the pack up, so that it may be
// deleted at any time: blobs may be copied from it, but it must not be indexed.
func (c *Collection) Doomed(id pack.ID) bool {
	in := func(list []pack.ID) bool {
		_, found := slices.BinarySearchFunc(list, id, func(a, b pack.ID) int { return compare32(a, b) })
		return found
	}
	if c.plan != nil && in(c.plan.Condemned) || c.view.done != nil && in(c.view.done.DeletePacks) {
		return true
	}
	lost := c.salvage.lost
	return lost != nil && (in(lost.Condemned) || in(lost.OrphanPacks))
}

// Describe adds a pack, as its directory tells, to the index that Close
// publishes. Call Described before the index is used.
func (c *Collection) Describe(id pack.ID, size int64, header []byte, d pack.Directory) error {
	return c.salvage.rows.add(id, int(size), header, d)
}

// Aside makes the blobs of a pack readable by this Collection, and no more.
func (c *Collection) Aside(id pack.ID, size int64, header []byte, d pack.Directory) error {
	return c.salvage.aside.add(id, int(size), header, d)
}

// Described ends a row of calls of Describe and Aside.
func (c *Collection) Described() error {
	return errors.Join(c.salvage.rows.flush(), c.salvage.aside.flush())
}

// Sources returns the index with the packs set aside.
func (c *Collection) Sources() *index.Index {
	_, sources := c.salvage.indexes(c.view)
	return sources
}

// GetAt reads a blob from one place and checks its name. Damage, be it a pack
// that is missing, is a [*StateError] of state Damaged; any other error says
// nothing about the blob.
func (c *Collection) GetAt(ctx context.Context, loc index.Location, id crypto.ID, dst []byte) ([]byte, error) {
	return c.r.reader.blob(ctx, loc, id, dst[:0])
}

// ProposeRepair makes a plan that condemns damaged packs and nothing else - or
// what the lost plan had decided, when the generation is made anew.
func (c *Collection) ProposeRepair(ctx context.Context, condemned []pack.ID) error {
	if c.plan != nil {
		panic("repo: ProposeRepair with a plan")
	}
	p := &plan{N: c.n, Done: c.view.doneHash, Condemned: slices.Clone(condemned)}
	if c.salvage.rebuilding {
		for sid := range c.view.commits {
			if c.view.events[sid].state == EventCollected {
				p.Dropped = append(p.Dropped, sid)
			}
		}
		if lost := c.salvage.lost; lost != nil {
			p.Condemned = append(p.Condemned, lost.Condemned...)
			p.Dropped = append(p.Dropped, lost.Dropped...)
		}
	}
	return c.propose(ctx, p)
}

// Reload reads what Close has published.
func (c *Collection) Reload(ctx context.Context) (err error) {
	c.view, err = c.r.refresh(ctx)
	c.plan, c.salvage = nil, &salvage{o: c.salvage.o}
	return err
}

// NoteLost records what a backup has lost. Unlike [Repo.Note] it steps over
// events that cannot be read.
func (c *Collection) NoteLost(ctx context.Context, id crypto.SessionID, value []byte) error {
	return c.appendEvent(ctx, id, Event{Kind: EventNote, Key: NoteLost, Value: value})
}

func (c *Collection) appendEvent(ctx context.Context, id crypto.SessionID, e Event) error {
	e.Time, e.Host = snapshot.TimeOf(c.r.env.Now()), c.r.env.Host
	for {
		last := uint32(0)
		for info, err := range c.r.be.List(ctx, eventsDir+id.String()+"/") {
			if err != nil {
				return fmt.Errorf("list %s: %w", eventsDir, err)
			}
			if _, k, ok := parseEvent(info.Name); ok {
				last = max(last, k)
			}
		}
		_, err := c.r.create(ctx, crypto.KindEvent, id, eventName(id, last+1), e.encode())
		if !errors.Is(err, errTaken) {
			return err
		}
	}
}

// RemoveUnreadable deletes commits and events that cannot be read: a commit if
// the newest done does not list it, so that it can never count. Where a lost
// event may have brought a forgotten backup back, it is brought back. It
// returns the names of what is gone.
func (c *Collection) RemoveUnreadable(ctx context.Context) (removed []string, err error) {
	for _, name := range c.brokenIn(eventsDir) {
		sid, k, _ := parseEvent(name)
		at, err := c.forgottenAt(ctx, sid)
		if err != nil {
			return removed, err
		}
		if 0 < at && at < k {
			if err := c.appendEvent(ctx, sid, Event{Kind: EventUnforget}); err != nil {
				return removed, err
			}
		}
	}
	for _, name := range append(c.brokenIn(eventsDir), c.brokenIn(commitsDir)...) {
		if sid, err := crypto.ParseSessionID(strings.TrimPrefix(name, commitsDir)); err == nil && (c.view.done == nil || c.view.done.lists(sid)) {
			continue
		}
		if err := c.r.be.Delete(ctx, name); err != nil && !isMissing(err) {
			return removed, fmt.Errorf("remove %s: %w", name, err)
		}
		removed = append(removed, name)
	}
	return removed, nil
}

// forgottenAt returns the number of the event by which the backup is forgotten;
// 0 if it is not, or is past bringing back.
func (c *Collection) forgottenAt(ctx context.Context, sid crypto.SessionID) (at uint32, err error) {
	if c.view.events[sid].state != EventForget {
		return 0, nil
	}
	for info, err := range c.r.be.List(ctx, eventsDir+sid.String()+"/") {
		if err != nil {
			return 0, fmt.Errorf("list %s: %w", eventsDir, err)
		}
		_, k, ok := parseEvent(info.Name)
		if !ok {
			continue
		}
		e, err := c.r.readEvent(ctx, info.Name)
		if isMissing(err) || StateOf(err) == Damaged {
			continue
		}
		if err != nil {
			return 0, err
		}
		switch e.Kind {
		case EventForget:
			at = k
		case EventUnforget, EventCollected:
			at = 0 // decided anew meanwhile
		}
	}
	return at, nil
}
