// Package pick finds the backup of an application that is meant.
package pick

import (
	"cmp"
	"context"
	"fmt"

	"vault/internal/display"
	"vault/repo"
	"vault/snapshot"
)

// Backup returns a backup of the application that is the filter's group: that of an ID
// or the beginning of one, whatever else the filter says, and the newest that the
// filter matches if the id is empty. A backup of another application is an error.
func Backup(ctx context.Context, r *repo.Repo, id string, f snapshot.Filter) (*snapshot.Backup, error) {
	all, err := r.Backups(ctx)
	if err != nil {
		return nil, err
	}
	if id == "" {
		b, err := snapshot.Latest(all, f)
		if err != nil {
			return nil, fmt.Errorf("the newest backup of %s: %w", display.Name(f.Group), err)
		}
		return b, nil
	}
	m, err := snapshot.ByPrefix(all, id)
	if err != nil {
		return nil, fmt.Errorf("backup %s: %w", display.Name(id), err)
	}
	if m.Backup.Group != f.Group {
		return nil, fmt.Errorf("backup %s is one of %s, not of %s", m.Backup.ID.Short(), display.Name(cmp.Or(m.Backup.Group, "no application")), display.Name(f.Group))
	}
	return m.Backup, nil
}
