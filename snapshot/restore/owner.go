package restore

import (
	"os/user"
	"strconv"
	"sync"

	"vault/snapshot"
)

// owners finds the numbers of users and groups: by the first rule that fits, by
// name where this system knows the name, else the number of the backup. Safe for
// concurrent use.
type owners struct {
	numeric bool
	rules   []OwnerRule
	users   ids
	groups  ids
}

func newOwners(numeric bool, rules []OwnerRule) *owners {
	return &owners{
		numeric: numeric, rules: rules,
		users: ids{look: func(name string) (string, error) {
			u, err := user.Lookup(name)
			if err != nil {
				return "", err
			}
			return u.Uid, nil
		}},
		groups: ids{look: func(name string) (string, error) {
			g, err := user.LookupGroup(name)
			if err != nil {
				return "", err
			}
			return g.Gid, nil
		}},
	}
}

// of returns the owner and group that n is to have here.
func (o *owners) of(n *snapshot.Node) (uid, gid uint32) {
	return o.user(n.User, n.UID), o.group(n.Group, n.GID)
}

// user returns the number here of a user of the backup; the name may be empty.
func (o *owners) user(name string, id uint32) uint32 {
	for i := range o.rules {
		if r := &o.rules[i]; !r.Group && r.fits(name, id) {
			return r.to(id)
		}
	}
	if o.numeric {
		return id
	}
	return o.users.of(name, id)
}

// group returns the number here of a group of the backup.
func (o *owners) group(name string, id uint32) uint32 {
	for i := range o.rules {
		if r := &o.rules[i]; r.Group && r.fits(name, id) {
			return r.to(id)
		}
	}
	if o.numeric {
		return id
	}
	return o.groups.of(name, id)
}

// ids remembers what names are known as here.
type ids struct {
	look  func(name string) (string, error)
	mu    sync.RWMutex // guards known
	known map[string]id
}

type id struct {
	n  uint32
	ok bool
}

const maxKnown = 1 << 16 // names remembered, however many a backup has

func (s *ids) of(name string, otherwise uint32) uint32 {
	if name == "" {
		return otherwise
	}
	s.mu.RLock()
	found, ok := s.known[name]
	s.mu.RUnlock()
	if !ok {
		found = s.find(name)
	}
	if found.ok {
		return found.n
	}
	return otherwise
}

func (s *ids) find(name string) id {
	var found id
	if text, err := s.look(name); err == nil {
		n, err := strconv.ParseUint(text, 10, 32)
		found = id{uint32(n), err == nil}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.known == nil || len(s.known) >= maxKnown {
		s.known = make(map[string]id)
	}
	s.known[name] = found
	return found
}
