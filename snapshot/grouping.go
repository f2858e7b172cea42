package snapshot

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Grouping says which backups belong to one series, to which a retention policy
// is applied on its own: those that agree in every one of its fields. No field
// is a path of the source, which may be another one every time; a volume counts
// by its name.
type Grouping []GroupField

// GroupField is one thing that the backups of a series have in common.
type GroupField struct {
	kind fieldKind
	tag  string // its key, for fieldTag
}

type fieldKind uint8

const (
	fieldHost fieldKind = iota
	fieldGroup
	fieldVolume
	fieldTag
)

// DefaultGrouping is by host and group.
var DefaultGrouping = Grouping{{kind: fieldHost}, {kind: fieldGroup}}

// ParseGrouping reads "host,group": names of fields, each at most once, in the
// order in which groups are sorted. The fields are host, group, volume (the
// names of all volumes), and tag:KEY (the values of the tags of that key).
// The empty text puts all backups into one group.
func ParseGrouping(text string) (Grouping, error) {
	var g Grouping
	if text == "" {
		return g, nil
	}
	for word := range strings.SplitSeq(text, ",") {
		var f GroupField
		key, isTag := strings.CutPrefix(word, "tag:")
		switch {
		case word == "host":
			f.kind = fieldHost
		case word == "group":
			f.kind = fieldGroup
		case word == "volume":
			f.kind = fieldVolume
		case isTag && key != "":
			f.kind, f.tag = fieldTag, key
		default:
			return nil, fmt.Errorf("group by %q: want a list of host, group, volume and tag:KEY", word)
		}
		if slices.Contains(g, f) {
			return nil, fmt.Errorf("group by %q: it is there twice", word)
		}
		g = append(g, f)
	}
	return g, nil
}

// String returns the name of the field, as ParseGrouping reads it.
func (f GroupField) String() string {
	switch f.kind {
	case fieldHost:
		return "host"
	case fieldGroup:
		return "group"
	case fieldVolume:
		return "volume"
	}
	return "tag:" + f.tag
}

// of returns what the field is in b; several values are sorted.
func (f GroupField) of(b *Backup) []string {
	switch f.kind {
	case fieldHost:
		return []string{b.Host}
	case fieldGroup:
		return []string{b.Group}
	}
	var list []string
	if f.kind == fieldVolume {
		for i := range b.Volumes {
			list = append(list, b.Volumes[i].Name)
		}
	} else {
		for _, t := range b.Tags {
			if t.Key == f.tag {
				list = append(list, t.Value)
			}
		}
	}
	slices.Sort(list)
	return list
}

// Group is the backups of one series.
type Group struct {
	Grouping Grouping
	Values   [][]string // one element a field
	Backups  []*Backup  // oldest first
}

// Split puts backups into their groups, sorted by the groups' values.
func (g Grouping) Split(backups []*Backup) []Group {
	var list []Group
	for _, b := range backups {
		values := make([][]string, len(g))
		for i, f := range g {
			values[i] = f.of(b)
		}
		at, found := slices.BinarySearchFunc(list, values, func(k Group, v [][]string) int { return compareValues(k.Values, v) })
		if !found {
			list = slices.Insert(list, at, Group{Grouping: g, Values: values})
		}
		list[at].Backups = append(list[at].Backups, b)
	}
	for i := range list {
		slices.SortFunc(list[i].Backups, (*Backup).Compare)
	}
	return list
}

func compareValues(a, b [][]string) int {
	for i := range a {
		if n := slices.Compare(a[i], b[i]); n != 0 {
			return n
		}
	}
	return cmp.Compare(len(a), len(b))
}

// ParseBand reads "SPAN=RULE", as "30d=all" or "1y=oldest".
func ParseBand(text string) (Band, error) {
	span, rule, _ := strings.Cut(text, "=")
	var b Band
	var err error
	if b.Until, err = ParseSpan(span); err != nil {
		return b, err
	}
	switch rule {
	case "all":
		b.Keep = KeepAll
	case "oldest":
		b.Keep = KeepOldest
	case "newest":
		b.Keep = KeepNewest
	default:
		return b, fmt.Errorf("age band %q: want SPAN=all, SPAN=oldest or SPAN=newest", text)
	}
	return b, nil
}
