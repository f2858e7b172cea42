//go:build linux

package container

import (
	"bufio"
	"bytes"
	"cmp"
	"fmt"
	"math"
	"slices"

	"vault/snapshot/archive"
	"vault/snapshot/restore"
)

// Range is a line of a map of numbers of users or groups (user_namespaces(7)).
type Range struct{ Inside, Outside, Count uint32 }

// Mapping says which numbers of this system a user namespace has as its own. Nil is
// no namespace: every number is itself.
type Mapping struct{ Users, Groups []Range }

// nobody is who has no number on the other side.
const nobody = 65534

// maxRanges is the system's limit for the lines of a map.
const maxRanges = 340

// parseRanges reads /proc/PID/uid_map or gid_map.
func parseRanges(text []byte) ([]Range, error) {
	var list []Range
	for lines := bufio.NewScanner(bytes.NewReader(text)); lines.Scan(); {
		var r Range
		var rest string
		if n, _ := fmt.Sscan(lines.Text()+" .", &r.Inside, &r.Outside, &r.Count, &rest); n != 4 || rest != "." || r.Count == 0 ||
			r.Inside > math.MaxUint32-r.Count || r.Outside > math.MaxUint32-r.Count || len(list) == maxRanges {
			return nil, fmt.Errorf("map of user numbers: line %.60q is malformed", lines.Text())
		}
		list = append(list, r)
	}
	if len(list) == 0 {
		return nil, fmt.Errorf("map of user numbers: %.60q has no lines", text)
	}
	return list, nil
}

// Saved returns what makes a backup store the owners as the namespace sees them.
func (m *Mapping) Saved() *archive.IDMap {
	if m == nil {
		return nil
	}
	turn := func(list []Range) (out []archive.IDRange) {
		for _, r := range list {
			out = append(out, archive.IDRange{From: r.Outside, To: r.Inside, Count: r.Count})
		}
		return out
	}
	return &archive.IDMap{Users: turn(m.Users), Groups: turn(m.Groups)}
}

// Rules return what makes a restore give to the namespace's numbers here what belonged
// to the same numbers in the namespace of the backup. Whoever has none here becomes
// nobody, and not who has that number on this system.
func (m *Mapping) Rules() []restore.OwnerRule {
	if m == nil {
		return nil
	}
	return append(rules(m.Users, false), rules(m.Groups, true)...)
}

func rules(list []Range, group bool) []restore.OwnerRule {
	list = slices.Clone(list)
	slices.SortFunc(list, func(a, b Range) int { return cmp.Compare(a.Inside, b.Inside) })
	var out []restore.OwnerRule
	next := uint64(0) // the first number that no rule is about yet
	gap := func(end uint64) {
		if end > next {
			out = append(out, restore.OwnerRule{Group: group, ID: uint32(next), Count: uint32(end - next), To: nobody, Same: true})
		}
	}
	for _, r := range list {
		gap(uint64(r.Inside))
		out = append(out, restore.OwnerRule{Group: group, ID: r.Inside, Count: r.Count, To: r.Outside})
		next = max(next, uint64(r.Inside)+uint64(r.Count))
	}
	gap(math.MaxUint32)
	return out
}
