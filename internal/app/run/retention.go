//go:build linux

package run

import (
	"context"
	"errors"
	"fmt"
	"time"

	"vault/repo"
	"vault/snapshot"
)

// ErrKeepsNothing says that a policy would leave nothing of an application.
var ErrKeepsNothing = errors.New("the policy would keep none of its backups: nothing was forgotten")

// Retention is what a policy is applied to.
type Retention struct {
	App    string // the group of its backups, on whatever host they were made
	Policy snapshot.Retention
	Now    time.Time
	User   string
	DryRun bool
}

// Retain applies a policy to the backups of one application. It looks at names, not
// at paths and hosts: an application that has moved keeps its history. It refuses
// where the list of backups is not whole, and where nothing would be left.
func Retain(ctx context.Context, r *repo.Repo, o Retention) (kept int, forgotten []*snapshot.Backup, err error) {
	all, err := r.Backups(ctx)
	if err != nil {
		return 0, nil, fmt.Errorf("retention of %s: %w", o.App, err)
	}
	broken, err := r.Broken(ctx)
	if err != nil {
		return 0, nil, fmt.Errorf("retention of %s: %w", o.App, err)
	}
	if b := unlisted(broken); b != nil {
		return 0, nil, fmt.Errorf("retention of %s: the list of backups is not whole: %w", o.App, b)
	}
	for _, d := range o.Policy.Apply(snapshot.Select(all, snapshot.Filter{Group: o.App}), o.Now, time.Local) {
		if d.Keep() {
			kept++
		} else {
			forgotten = append(forgotten, d.Backup)
		}
	}
	if kept == 0 && len(forgotten) > 0 {
		return 0, nil, fmt.Errorf("retention of %s: %w", o.App, ErrKeepsNothing)
	}
	for i, b := range forgotten {
		if o.DryRun {
			continue
		}
		if err := r.Forget(ctx, b.ID, repo.Event{User: o.User}); err != nil {
			return kept, forgotten[:i], fmt.Errorf("forget backup %s: %w", b.ID.Short(), err)
		}
	}
	return kept, forgotten, nil
}
