package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"vault/repo"
	"vault/snapshot"
)

// catalogue is the backups of a repository, and what is damaged among the
// records that describe them.
type catalogue struct {
	list   []*snapshot.Backup // oldest first
	broken []error            // commits and events only
}

// catalogue reads the list of backups. Damage of single records is a warning:
// the other backups stay within reach.
func (a *app) catalogue(ctx context.Context, r *repo.Repo) (c catalogue, err error) {
	if c.list, err = r.Backups(ctx); err != nil {
		return c, err
	}
	return c, a.damage(ctx, r, &c)
}

// forgotten reads the list of backups that can be brought back.
func (a *app) forgotten(ctx context.Context, r *repo.Repo) (c catalogue, err error) {
	if c.list, err = r.Forgotten(ctx); err != nil {
		return c, err
	}
	return c, a.damage(ctx, r, &c)
}

// damage fills in what is broken.
func (a *app) damage(ctx context.Context, r *repo.Repo, c *catalogue) error {
	broken, err := r.Broken(ctx)
	if err != nil {
		return err
	}
	for _, err := range broken {
		object := brokenObject(err)
		a.ui.warn(object, errors.Unwrap(err))
		if strings.HasPrefix(object, "commits/") || strings.HasPrefix(object, "events/") {
			c.broken = append(c.broken, err)
		}
	}
	return nil
}

func brokenObject(err error) string {
	var state *repo.StateError
	if errors.As(err, &state) && state.Object != "" {
		return state.Object
	}
	return "repository"
}

// incomplete is the error for what needs the whole list while a part of it
// cannot be read; nil if all of it was.
func (c catalogue) incomplete(what, hint string) error {
	if len(c.broken) == 0 {
		return nil
	}
	return &failure{code: exitDamaged, hint: hint,
		err: fmt.Errorf("%s: the list of backups is not complete: %w", what, c.broken[0])}
}

// damaged is how a list ends that could not be read as a whole.
func (c catalogue) damaged() error {
	if len(c.broken) == 0 {
		return nil
	}
	return &failure{code: exitDamaged, err: fmt.Errorf("the list of backups is not complete: %w", c.broken[0]),
		hint: "the backups that are listed are whole as far as this tells; `vault check` looks closer"}
}

// resolve finds what a reference means: a Backup ID, a snapshot id or latest,
// and behind a colon the longest volume name that fits, and a path in it. What
// the newest backup is cannot be told where records are damaged: then latest is
// an error, and not an older one.
func (c catalogue) resolve(text string, f snapshot.Filter) (reference, error) {
	head, _, _ := strings.Cut(text, ":")
	if head == "latest" {
		if err := c.incomplete("latest", "name the backup by its id: `vault backups` lists those that are intact"); err != nil {
			return reference{}, err
		}
	}
	ref, err := resolve(c.list, text, f)
	if errors.Is(err, snapshot.ErrNoBackup) && head == "latest" && len(c.list) > 0 && !f.AllowPartial {
		return ref, &failure{code: exitFailure, err: err, hint: "`vault backups` lists what there is; with --allow-partial a partial one is taken as well"}
	}
	if errors.Is(err, snapshot.ErrNoBackup) && head != "latest" {
		for _, broken := range c.broken {
			if strings.HasPrefix(brokenObject(broken), "commits/"+strings.ToLower(head)) {
				return ref, broken
			}
		}
	}
	return ref, err
}

// resolveBackup finds a whole backup: a reference to a part of one is refused.
func (c catalogue) resolveBackup(text string, f snapshot.Filter) (*snapshot.Backup, error) {
	ref, err := c.resolve(text, f)
	switch {
	case err != nil:
		return nil, err
	case ref.volume != nil:
		return nil, &failure{code: exitUsage, err: fmt.Errorf("%s is one volume of the backup %s", text, ref.backup.ID.Short()),
			hint: "give the Backup ID: a backup is one thing with all its volumes"}
	}
	return ref.backup, nil
}
