package restore

import (
	"errors"
	"fmt"
	"os/user"
	"slices"
	"strconv"
	"strings"

	"vault/snapshot"
)

// OwnerRule gives to somebody here what belonged to somebody else. The first
// rule of a list that fits decides, also with NumericIDs. Rules apply inside ACLs
// too. An ACL holds numbers only; a number there has the name that it has as the
// owner of the entry or of a directory above it, and else none.
type OwnerRule struct {
	Group bool   // it is about groups, not users
	Name  string // whose: the name in the backup; empty if ID says it
	ID    uint32 // whose: the number in the backup
	To    uint32 // the number here
	// Count makes it a rule for so many numbers from ID on, which become those from To
	// on; 0 is 1. It does not count with a Name.
	Count uint32
	Same  bool // all of them become To
}

// to returns the number here of a number that the rule fits.
func (r *OwnerRule) to(id uint32) uint32 {
	if r.Name != "" || r.Same {
		return r.To
	}
	return r.To + (id - r.ID)
}

// ParseOwnerRule parses user:NAME=TO, group:NAME=TO, uid:NUMBER=TO or
// gid:NUMBER=TO. TO is a name that this system knows, or a number.
func ParseOwnerRule(text string) (OwnerRule, error) {
	kind, rest, ok := strings.Cut(text, ":")
	eq := strings.LastIndexByte(rest, '=')
	if !ok || eq <= 0 || eq == len(rest)-1 {
		return OwnerRule{}, fmt.Errorf("owner rule %q: want user:NAME=TO, group:NAME=TO, uid:NUMBER=TO or gid:NUMBER=TO", text)
	}
	from, to := rest[:eq], rest[eq+1:]
	var r OwnerRule
	switch kind {
	case "user":
		r.Name = from
	case "group":
		r.Group, r.Name = true, from
	case "uid", "gid":
		r.Group = kind == "gid"
		id, err := parseID(from)
		if err != nil {
			return OwnerRule{}, fmt.Errorf("owner rule %q: %w", text, err)
		}
		r.ID = id
	default:
		return OwnerRule{}, fmt.Errorf("owner rule %q: unknown kind %q (user, group, uid, gid)", text, kind)
	}
	id, err := localID(to, r.Group)
	if err != nil {
		return OwnerRule{}, fmt.Errorf("owner rule %q: %w", text, err)
	}
	r.To = id
	return r, nil
}

// parseID parses the number of a user or group. The greatest one means "none" to
// the system.
func parseID(s string) (uint32, error) {
	n, err := strconv.ParseUint(s, 10, 32)
	if err != nil || n == 1<<32-1 {
		return 0, fmt.Errorf("%q is not the number of a user or group", s)
	}
	return uint32(n), nil
}

func localID(s string, group bool) (uint32, error) {
	var text string
	if group {
		g, err := user.LookupGroup(s)
		if err == nil {
			text = g.Gid
		} else if unknown := user.UnknownGroupError(""); !errors.As(err, &unknown) {
			return 0, err
		}
	} else {
		u, err := user.Lookup(s)
		if err == nil {
			text = u.Uid
		} else if unknown := user.UnknownUserError(""); !errors.As(err, &unknown) {
			return 0, err
		}
	}
	if text == "" {
		text = s
	}
	id, err := parseID(text)
	if err != nil {
		return 0, fmt.Errorf("this system does not know %q", s)
	}
	return id, nil
}

// fits reports whether a rule is about this user or group of the backup.
func (r *OwnerRule) fits(name string, id uint32) bool {
	if r.Name != "" {
		return r.Name == name
	}
	return id >= r.ID && id-r.ID < max(r.Count, 1)
}

// mapACL returns an ACL with the numbers that its users and groups have here.
// Entries of one kind are in the order of their numbers, as setfacl(1) leaves
// them; of two that become one, each right must have been in both.
func (w *worker) mapACL(acl []byte, m metadata) []byte {
	if len(acl) < aclHeader || (len(acl)-aclHeader)%aclEntry != 0 {
		return acl // the system will refuse it
	}
	known := w.surroundings(m)
	var list []aclLine
	changed := false
	for b := acl[aclHeader:]; len(b) > 0; b = b[aclEntry:] {
		e := parseACLLine(b)
		if to := w.mapLine(e, known); to != e.id {
			e.id, changed = to, true
		}
		list = append(list, e)
	}
	if !changed {
		return acl
	}
	slices.SortStableFunc(list, aclLine.compare)
	out := append([]byte(nil), acl[:aclHeader]...)
	for i, e := range list {
		if i > 0 && e.compare(list[i-1]) == 0 {
			e.perm &= list[i-1].perm
			list[i] = e
			out = out[:len(out)-aclEntry]
		}
		out = e.append(out)
	}
	return out
}

// mapLine returns the number that a line of an ACL has here.
func (w *worker) mapLine(e aclLine, known []*snapshot.Node) uint32 {
	switch e.tag {
	case aclUser:
		name := ""
		if i := slices.IndexFunc(known, func(n *snapshot.Node) bool { return n.UID == e.id && n.User != "" }); i >= 0 {
			name = known[i].User
		}
		return w.owners.user(name, e.id)
	case aclGroup:
		name := ""
		if i := slices.IndexFunc(known, func(n *snapshot.Node) bool { return n.GID == e.id && n.Group != "" }); i >= 0 {
			name = known[i].Group
		}
		return w.owners.group(name, e.id)
	}
	return e.id
}

// maxSurroundings bounds how far up names are looked for.
const maxSurroundings = 256

// surroundings returns an entry and the directories above it.
func (w *worker) surroundings(m metadata) []*snapshot.Node {
	list := []*snapshot.Node{m.node}
	for d := m.dir; d != nil && d.node != nil && len(list) < maxSurroundings; d = d.parent {
		list = append(list, d.node)
	}
	return list
}
