package repo

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"vault/crypto"
	"vault/snapshot"
)

// ErrCollected says that a backup was forgotten and a collection has dropped
// it: there is nothing to bring back.
var ErrCollected = errors.New("the backup was forgotten, and a collection has dropped it")

// ErrNoBackup says that there is no backup of that id.
var ErrNoBackup = errors.New("no such backup")

// lifecycle is what the events of a backup come to.
type lifecycle struct {
	last   uint32    // highest k
	state  EventKind // the deciding one of forget, unforget, collected; 0 if none
	events []Event
}

// forgotten reports whether the backup is to be seen no more.
func (l lifecycle) forgotten() bool { return l.state == EventForget || l.state == EventCollected }

// add takes account of event k, which is later than those before.
func (l lifecycle) add(k uint32, e Event) lifecycle {
	l.last, l.events = k, append(slices.Clip(l.events), e)
	if e.Kind <= EventCollected {
		l.state = e.Kind
	}
	return l
}

// tags applies the changes that were made after the commit.
func (l lifecycle) tags(tags []snapshot.Tag) []snapshot.Tag {
	tags = slices.Clone(tags)
	for _, e := range l.events {
		for _, c := range e.Tags {
			tag := snapshot.Tag{Key: c.Key, Value: c.Value}
			at := slices.Index(tags, tag)
			switch {
			case c.Remove && at >= 0:
				tags = slices.Delete(tags, at, at+1)
			case !c.Remove && at < 0:
				tags = append(tags, tag)
			}
		}
	}
	return tags
}

// Forget hides a backup: it is not listed any more, and the next collection
// may drop it. Until then Unforget brings it back. Forgetting what is
// forgotten does nothing.
func (r *Repo) Forget(ctx context.Context, id crypto.SessionID, e Event) error {
	e.Kind = EventForget
	return r.append(ctx, id, e, func(l lifecycle) (bool, error) { return !l.forgotten(), nil })
}

// Unforget brings back a forgotten backup. One that a collection has dropped
// is ErrCollected.
func (r *Repo) Unforget(ctx context.Context, id crypto.SessionID, e Event) error {
	e.Kind = EventUnforget
	return r.append(ctx, id, e, func(l lifecycle) (bool, error) {
		if l.state == EventCollected {
			return false, ErrCollected
		}
		return l.state == EventForget, nil
	})
}

// Tag changes the tags of a backup.
func (r *Repo) Tag(ctx context.Context, id crypto.SessionID, e Event) error {
	e.Kind = EventTags
	return r.append(ctx, id, e, always)
}

// Note keeps a value with a backup, under a key; the newest of a key counts.
func (r *Repo) Note(ctx context.Context, id crypto.SessionID, e Event) error {
	e.Kind = EventNote
	return r.append(ctx, id, e, always)
}

func always(lifecycle) (bool, error) { return true, nil }

// Collect records that a collection is going to drop a forgotten backup: from
// then on it cannot be brought back. It reports whether the backup may be
// dropped: not if somebody brought it back meanwhile.
func (r *Repo) Collect(ctx context.Context, id crypto.SessionID, e Event) (bool, error) {
	e.Kind = EventCollected
	drop := false
	err := r.append(ctx, id, e, func(l lifecycle) (bool, error) {
		drop = l.forgotten()
		return l.state == EventForget, nil
	})
	return drop && err == nil, err
}

// append adds an event as the next in the backup's row, if wanted says so of
// what is there. When somebody else adds one meanwhile it looks again.
func (r *Repo) append(ctx context.Context, id crypto.SessionID, e Event, wanted func(lifecycle) (bool, error)) error {
	e.Time = snapshot.TimeOf(r.env.Now())
	if e.Host == "" {
		e.Host = r.env.Host
	}
	for {
		v, err := r.refresh(ctx)
		if err != nil {
			return err
		}
		if c := v.commits[id]; c == nil || c.Kind == snapshot.CommitKilled {
			return fmt.Errorf("%w: %s", ErrNoBackup, id)
		}
		l := v.events[id]
		if ok, err := wanted(l); !ok || err != nil {
			return err
		}
		err = r.withRoom(ctx, func() error {
			_, err := r.create(ctx, crypto.KindEvent, id, eventName(id, l.last+1), e.encode())
			return err
		})
		switch {
		case errors.Is(err, errTaken):
			continue
		case err != nil:
			return err
		}
		return r.stillThere(ctx, id)
	}
}

// stillThere looks, after an event was created, whether its backup was dropped
// meanwhile. A clean-up deletes commits before events, so if it had freed the
// event's name, the commit is gone by now. The event is swept up with the next.
func (r *Repo) stillThere(ctx context.Context, id crypto.SessionID) error {
	v, err := r.refresh(ctx)
	if err != nil {
		return err
	}
	if v.commits[id] == nil {
		return fmt.Errorf("%w: %s", ErrCollected, id)
	}
	return nil
}

// Forgotten returns the backups that were forgotten and that no collection has
// begun to drop, oldest first: those that Unforget brings back.
func (r *Repo) Forgotten(ctx context.Context) ([]*snapshot.Backup, error) {
	v, err := r.refresh(ctx)
	if err != nil {
		return nil, err
	}
	return v.backupsThat(func(l lifecycle) bool { return l.state == EventForget }), nil
}

// Events returns what happened to a backup after its commit, oldest first.
func (r *Repo) Events(ctx context.Context, id crypto.SessionID) ([]Event, error) {
	v, err := r.current(ctx)
	if err != nil {
		return nil, err
	}
	return slices.Clone(v.events[id].events), nil
}
