package repo

import (
	"cmp"
	"context"
	"slices"

	"vault/index"
	"vault/snapshot"
)

// backups returns the visible backups: commits of kind backup, not void, not
// forgotten; ascending by time, ties by id.
func (v *view) backups() []*snapshot.Backup {
	return v.backupsThat(func(l lifecycle) bool { return !l.forgotten() })
}

// backupsThat returns the backups with a lifecycle that is wanted, in the same
// order.
func (v *view) backupsThat(wanted func(lifecycle) bool) []*snapshot.Backup {
	var list []*snapshot.Backup
	for sid, c := range v.commits {
		if c.Kind != snapshot.CommitBackup {
			continue
		}
		l := v.events[sid]
		if !wanted(l) {
			continue
		}
		b := c.Backup
		if len(l.events) > 0 {
			copied := *b
			copied.Tags = l.tags(b.Tags)
			b = &copied
		}
		list = append(list, b)
	}
	slices.SortFunc(list, compareBackups)
	return list
}

// compareBackups orders by time, ties by id.
func compareBackups(a, b *snapshot.Backup) int {
	return cmp.Or(a.Time.Compare(b.Time), a.ID.Compare(b.ID))
}

// Backups returns the backups that are visible now, oldest first. Each call
// looks at the store again.
func (r *Repo) Backups(ctx context.Context) ([]*snapshot.Backup, error) {
	v, err := r.refresh(ctx)
	if err != nil {
		return nil, err
	}
	return v.backups(), nil
}

// Broken returns the damage that was met when the state was last read: one
// [*StateError] for each commit, event or index segment that is not what was
// written. Backups that such an object describes are not in [Repo.Backups].
func (r *Repo) Broken(ctx context.Context) ([]error, error) {
	v, err := r.current(ctx)
	if err != nil {
		return nil, err
	}
	return v.broken, nil
}

// Roots returns every commit that keeps blobs alive: backups, forgotten ones
// that are not collected yet, and checkpoints.
func (r *Repo) Roots(ctx context.Context) ([]*snapshot.Backup, error) {
	v, err := r.current(ctx)
	if err != nil {
		return nil, err
	}
	var list []*snapshot.Backup
	for _, c := range v.commits {
		if c.Kind != snapshot.CommitKilled {
			list = append(list, c.Backup)
		}
	}
	slices.SortFunc(list, compareBackups)
	return list, nil
}

// Index returns the index as it was when the state was last read.
func (r *Repo) Index(ctx context.Context) (*index.Index, error) {
	v, err := r.current(ctx)
	if err != nil {
		return nil, err
	}
	return v.index, nil
}
