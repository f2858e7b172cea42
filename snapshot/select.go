package snapshot

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"

	"vault/crypto"
)

// ErrNoBackup reports that nothing matches a selection.
var ErrNoBackup = errors.New("no such backup")

// Filter selects backups. The zero Filter selects all of them.
type Filter struct {
	Host   string // exact; empty for any
	Group  string // exact; empty for any
	Tags   []Tag  // all must be there
	Volume string // the name of one of the volumes; empty for any
	After  *Time  // only backups of a later Time
	Before *Time  // only backups of an earlier Time

	// AllowPartial lets Latest choose a backup that is not complete.
	AllowPartial bool
}

// Match reports whether f selects b. It does not look at completeness.
func (f *Filter) Match(b *Backup) bool {
	switch {
	case f.Host != "" && f.Host != b.Host, f.Group != "" && f.Group != b.Group:
		return false
	case f.Volume != "" && b.Volume(f.Volume) == nil:
		return false
	case f.After != nil && b.Time.Compare(*f.After) <= 0:
		return false
	case f.Before != nil && b.Time.Compare(*f.Before) >= 0:
		return false
	}
	for _, t := range f.Tags {
		if !b.HasTag(t) {
			return false
		}
	}
	return true
}

// Select returns the backups that f matches, oldest first (by Time, then ID).
// The slice is new.
func Select(backups []*Backup, f Filter) []*Backup {
	var out []*Backup
	for _, b := range backups {
		if f.Match(b) {
			out = append(out, b)
		}
	}
	slices.SortStableFunc(out, (*Backup).Compare)
	return out
}

// GroupKey is what "the same series of backups" means: one group on one host.
type GroupKey struct{ Host, Group string }

// String returns host/group, or the host alone where the group has no name.
func (k GroupKey) String() string {
	if k.Group == "" {
		return k.Host
	}
	return k.Host + "/" + k.Group
}

// Key returns the series that b belongs to.
func (b *Backup) Key() GroupKey { return GroupKey{b.Host, b.Group} }

// GroupsError reports that "latest" would have to choose between series.
type GroupsError struct {
	Groups []GroupKey // at least two, sorted
}

func (e *GroupsError) Error() string {
	names := make([]string, len(e.Groups))
	for i, g := range e.Groups {
		names[i] = fmt.Sprintf("%q", g)
	}
	return "several groups match: " + strings.Join(names, ", ")
}

// Latest returns the newest complete backup that f matches, by Time and, for
// equal times, by ID; with AllowPartial, the newest of all. If what f matches
// belongs to several groups the error is a *GroupsError; if nothing can be
// chosen, it is ErrNoBackup.
func Latest(backups []*Backup, f Filter) (*Backup, error) {
	matches := Select(backups, f)
	seen := make(map[GroupKey]bool)
	var groups []GroupKey
	for _, b := range matches {
		if k := b.Key(); !seen[k] {
			seen[k] = true
			groups = append(groups, k)
		}
	}
	if len(groups) > 1 {
		slices.SortFunc(groups, func(a, b GroupKey) int {
			return cmp.Or(cmp.Compare(a.Host, b.Host), cmp.Compare(a.Group, b.Group))
		})
		return nil, &GroupsError{Groups: groups}
	}
	for _, b := range slices.Backward(matches) {
		if f.AllowPartial || b.Complete() {
			return b, nil
		}
	}
	if len(matches) > 0 {
		return nil, fmt.Errorf("latest: none of %d matching backups is complete: %w", len(matches), ErrNoBackup)
	}
	return nil, fmt.Errorf("latest: %w", ErrNoBackup)
}

// Match is what a prefix of an id selects: a backup, or one volume of it.
type Match struct {
	Backup *Backup
	Volume *Volume // nil if the prefix is one of a Backup ID
}

// ID returns the whole id that was matched.
func (m Match) ID() string {
	if m.Volume != nil {
		return m.Volume.SnapshotID(m.Backup).String()
	}
	return m.Backup.ID.String()
}

// AmbiguousError reports a prefix that several ids have.
type AmbiguousError struct {
	Prefix     string
	Candidates []Match // at least two, sorted by id
}

func (e *AmbiguousError) Error() string {
	const most = 8
	var ids []string
	for _, m := range e.Candidates[:min(most, len(e.Candidates))] {
		ids = append(ids, m.ID())
	}
	if n := len(e.Candidates) - most; n > 0 {
		ids = append(ids, fmt.Sprintf("and %d more", n))
	}
	return fmt.Sprintf("%q is not unique: %s", e.Prefix, strings.Join(ids, ", "))
}

// ByPrefix returns the backup whose ID, or the volume whose snapshot id, begins
// with prefix: 1 to 26 digits of Crockford's base 32 in either case, O read as 0
// and I and L as 1. If there is none, it returns the copy of a backup whose ID, or
// snapshot id, in the repository where it comes from begins so. Several matches
// are an *AmbiguousError, none is ErrNoBackup.
func ByPrefix(backups []*Backup, prefix string) (Match, error) {
	p, ok := normalID(prefix)
	if !ok {
		return Match{}, fmt.Errorf("%.40q is not the beginning of an id: %w", prefix, ErrNoBackup)
	}
	found := matches(backups, p, func(b *Backup) (crypto.SessionID, bool) { return b.ID, true })
	if len(found) == 0 {
		found = matches(backups, p, func(b *Backup) (crypto.SessionID, bool) {
			if b.Origin == nil {
				return crypto.SessionID{}, false
			}
			return b.Origin.ID, true
		})
	}
	switch len(found) {
	case 0:
		return Match{}, fmt.Errorf("%q: %w", prefix, ErrNoBackup)
	case 1:
		return found[0], nil
	}
	slices.SortFunc(found, func(a, b Match) int { return cmp.Compare(a.ID(), b.ID()) })
	return Match{}, &AmbiguousError{Prefix: prefix, Candidates: found}
}

// matches returns what has an id that begins with prefix, if a backup has the ID
// that id returns.
func matches(backups []*Backup, prefix string, id func(*Backup) (crypto.SessionID, bool)) (found []Match) {
	for _, b := range backups {
		sid, ok := id(b)
		if !ok {
			continue
		}
		if strings.HasPrefix(sid.String(), prefix) {
			found = append(found, Match{Backup: b})
		}
		for i := range b.Volumes {
			if v := &b.Volumes[i]; strings.HasPrefix(VolumeID(sid, v.Name).String(), prefix) {
				found = append(found, Match{Backup: b, Volume: v})
			}
		}
	}
	return found
}

// normalID brings the beginning of an id into the one form in which ids are
// stored; false if no id can begin so.
func normalID(s string) (string, bool) {
	if s == "" || len(s) > 26 {
		return "", false
	}
	b := []byte(s)
	for i, c := range b {
		if c >= 'A' && c <= 'Z' {
			c += 'a' - 'A'
		}
		switch {
		case c == 'o':
			c = '0'
		case c == 'i', c == 'l':
			c = '1'
		case c == 'u', c < '0', c > '9' && c < 'a', c > 'z':
			return "", false
		}
		b[i] = c
	}
	return string(b), true
}
