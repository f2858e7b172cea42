package repair

import (
	"context"
	"errors"
	"slices"
	"strings"

	"vault/crypto"
	"vault/index"
	"vault/pack"
	"vault/repo"
)

// survey is what is known of a repository at one moment.
type survey struct {
	c          *repo.Collection
	workers    int
	found      Findings
	rebuilding bool
	blind      bool // there are commits that stay although they cannot be read

	bad     map[pack.ID]error // described packs that are damaged
	aside   map[pack.ID]bool  // undescribed packs that are read from
	damaged map[pack.ID]bool  // those of them that the index would have, were they sound
	graph   *graph            // what backups refer to
	marks   *index.Marks      // likewise, in c.Sources()
	gone    map[blob]struct{} // blobs that no place gives
	notes   []note            // to be made
}

// survey looks at everything.
func (t *task) survey(ctx context.Context, c *repo.Collection) (*survey, error) {
	s := &survey{c: c, workers: t.o.Workers, rebuilding: c.Rebuilding()}
	f := &s.found
	for _, err := range c.Broken() {
		d := damageOf(err)
		switch dir, _, _ := strings.Cut(d.Object, "/"); dir {
		case "index":
			f.Index = append(f.Index, d)
		case "events":
			f.Events = append(f.Events, d)
		default:
			f.Commits = append(f.Commits, d)
		}
	}
	f.Plan = c.RedundantPlan()
	sessions, err := c.DamagedSessions(ctx)
	if err != nil {
		return s, err
	}
	for _, err := range sessions {
		f.Sessions = append(f.Sessions, damageOf(err))
	}
	if f.MissingCommits, err = c.MissingCommits(ctx); err != nil {
		return s, err
	}
	if s.bad, err = t.examine(ctx, c); err != nil {
		return s, err
	}
	if err := s.gather(ctx, t); err != nil {
		return s, err
	}
	if f.Rescuable, err = s.rescueAll(ctx, t, func(id pack.ID) bool { return s.bad[id] != nil || c.Adopted() && c.Condemned(id) }, nil); err != nil {
		return s, err
	}
	if c.Adopted() && len(s.bad)+len(s.aside) == 0 {
		f.Rescuable = Count{} // a collection's own business
	}
	for id, err := range s.bad {
		f.Packs = append(f.Packs, Damage{id.Path(), err})
	}
	for _, list := range [][]Damage{f.Index, f.Packs, f.Commits, f.Events, f.Sessions, f.Unreadable} {
		sortDamage(list)
	}
	err = s.trace(ctx)
	for _, n := range s.notes {
		f.Unnoted = append(f.Unnoted, n.backup)
	}
	return s, err
}

func damageOf(err error) Damage {
	var state *repo.StateError
	if errors.As(err, &state) {
		return Damage{state.Object, state.Err}
	}
	return Damage{"", err}
}

// condemned returns the packs that have to go.
func (s *survey) condemned() (list []pack.ID) {
	for id := range s.bad {
		list = append(list, id)
	}
	slices.SortFunc(list, func(a, b pack.ID) int { return slices.Compare(a[:], b[:]) })
	return list
}

// gather reads the packs that no index segment describes, where they may be
// wanted, and follows what backups refer to.
//
// They are wanted in the index if something that names packs cannot be read: a
// segment, or a commit. Otherwise they are what interrupted writers left, and
// may only serve blobs that are nowhere else.
func (s *survey) gather(ctx context.Context, t *task) error {
	named := s.c.Rebuilding()
	for _, err := range s.c.Broken() {
		switch object := damageOf(err).Object; {
		case strings.HasPrefix(object, "index/"):
			named = true
		case !strings.HasPrefix(object, "events/"):
			s.blind = !t.o.DropUnreadable
		}
	}
	if named || s.blind {
		if err := t.describe(ctx, s, true); err != nil {
			return err
		}
	}
	if err := s.follow(ctx); err != nil || s.graph.whole() {
		return err
	}
	if err := t.describe(ctx, s, false); err != nil || len(s.aside) == 0 {
		return err
	}
	return s.follow(ctx)
}

// follow walks all backups through every place that a blob can be read from.
// Packs with pages that cannot be read are bad.
func (s *survey) follow(ctx context.Context) (err error) {
	s.marks = s.c.Sources().NewMarks()
	if s.graph, err = follow(ctx, s.c, s.marks, s.gone, s.workers); err != nil {
		return err
	}
	for id, err := range s.graph.suspects {
		if s.bad != nil && !s.aside[id] && s.bad[id] == nil {
			s.bad[id] = err
		}
	}
	return nil
}

// trace tells what is lost, and which notes do not say so.
func (s *survey) trace(ctx context.Context) (err error) {
	if s.graph == nil || len(s.gone) > 0 {
		if s.marks == nil {
			s.marks = s.c.Sources().NewMarks()
		}
		if s.graph, err = follow(ctx, s.c, s.marks, s.gone, s.workers); err != nil {
			return err
		}
	}
	s.found.Lost, s.notes, err = s.graph.losses(ctx, s.c)
	return err
}

// blob names a blob.
type blob struct {
	kind crypto.BlobKind
	id   crypto.ID
}
