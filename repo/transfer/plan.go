package transfer

import (
	"cmp"
	"context"
	"slices"

	"vault/repo"
	"vault/snapshot"
)

// origin returns where a backup of r comes from: itself, unless it is a copy.
func origin(r *repo.Repo, b *snapshot.Backup) snapshot.Origin {
	if b.Origin != nil {
		return *b.Origin
	}
	return snapshot.Origin{Repo: r.ID(), ID: b.ID}
}

// byOrigin is the backups of one repository by where they come from; of several
// copies of one backup, the newest.
type byOrigin map[snapshot.Origin]*snapshot.Backup

func indexed(r *repo.Repo, list []*snapshot.Backup) byOrigin {
	m := byOrigin{}
	for _, b := range list {
		o := origin(r, b)
		if other := m[o]; other == nil || other.ID.Compare(b.ID) < 0 {
			m[o] = b
		}
	}
	return m
}

// plan decides what is to be copied.
func (c *copier) plan(ctx context.Context) error {
	there, err := c.dst.Backups(ctx)
	if err != nil {
		return err
	}
	hidden, err := c.dst.Forgotten(ctx)
	if err != nil {
		return err
	}
	if c.all, err = c.src.repo.Backups(ctx); err != nil {
		return err
	}
	present, forgotten := indexed(c.dst, there), indexed(c.dst, hidden)
	newest := map[snapshot.GroupKey]*snapshot.Backup{}
	for _, b := range there {
		if b.Origin != nil {
			newest[b.Key()] = b // they come oldest first
		}
	}
	list := slices.Clone(c.o.Backups)
	slices.SortFunc(list, (*snapshot.Backup).Compare)
	for _, b := range slices.Compact(list) {
		copied := Copy{Backup: b, Outcome: Pending}
		from := origin(c.src.repo, b)
		if d := present[from]; d != nil {
			copied.Outcome, copied.ID = Present, d.ID
		} else if d := forgotten[from]; d != nil && !c.o.Again {
			copied.Outcome, copied.ID = Forgotten, d.ID
		} else if n := newest[b.Key()]; n != nil && c.o.Newer && b.Time.Compare(n.Time) <= 0 {
			copied.Outcome = Older
		}
		c.report.Copies = append(c.report.Copies, copied)
	}
	c.total = c.report.Count(Pending)
	return nil
}

// pair is a backup of the source, or a node of it, and what became of it in the
// target.
type pair[T any] struct{ src, dst *T }

// pairs returns the backups of which both repositories have one, where the one of
// the target may be relied upon.
func (c *copier) pairs() (list []pair[snapshot.Backup]) {
	copies := indexed(c.dst, c.w.Backups())
	for _, b := range c.all {
		if d := copies[origin(c.src.repo, b)]; d != nil && c.w.Trusts(d.ID) {
			list = append(list, pair[snapshot.Backup]{b, d})
		}
	}
	return list
}

// base returns the pair with which a volume of b is compared: one of its parents
// if possible, else the newest before it of the same host, else the oldest after
// it; of the same group if possible. The zero pair if there is none.
func base(pairs []pair[snapshot.Backup], b *snapshot.Backup, volume string) (best pair[snapshot.Backup]) {
	rank := func(p pair[snapshot.Backup]) (parent, group, before int) {
		if slices.Contains(b.Parents, p.src.ID) {
			parent = 1
		}
		if p.src.Group == b.Group {
			group = 1
		}
		if p.src.Compare(b) <= 0 {
			before = 1
		}
		return parent, group, before
	}
	better := func(p, q pair[snapshot.Backup]) bool {
		pp, pg, pb := rank(p)
		qp, qg, qb := rank(q)
		nearer := p.src.Compare(q.src)
		if pb == 0 {
			nearer = -nearer
		}
		return cmp.Or(cmp.Compare(pp, qp), cmp.Compare(pg, qg), cmp.Compare(pb, qb), nearer) > 0
	}
	for _, p := range pairs {
		s, d := p.src.Volume(volume), p.dst.Volume(volume)
		if s == nil || d == nil || s.Root == nil || d.Root == nil || p.src.Host != b.Host {
			continue
		}
		if best.src == nil || better(p, best) {
			best = p
		}
	}
	return best
}
