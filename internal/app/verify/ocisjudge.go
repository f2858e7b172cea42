package verify

import (
	"errors"
	"io/fs"
	"strings"

	"vault/snapshot"
)

// where returns the path of a node.
func (s *space) where(r *rec) string { return join(s.path, "nodes/"+shard(s.text(r.id))) }

// judgeTrash compares the trash with what was put into it.
func (s *space) judgeTrash() error {
	path := join(s.path, "trash")
	dir, err := s.child(s.node, "trash")
	if err == nil && dir.IsDir() {
		err = s.shards(path, dir, "", func(p, prefix string, d *snapshot.Node) error {
			return s.entries(p, d, func(p string, n *snapshot.Node) error {
				s.trashEntry(p, prefix+n.Name, n)
				return nil
			})
		})
	} else if err != nil && !errors.Is(err, fs.ErrNotExist) {
		err = s.unreadable(path, err)
	} else {
		err = nil
	}
	if err != nil {
		return err
	}
	for i := range s.recs {
		if r := &s.recs[i]; r.flags&(isTrashed|isListed) == isTrashed {
			s.problem("trash-missing", s.where(r)+string(trashed)+s.times[uint32(i)], "the trash does not list it")
		}
	}
	return nil
}

func (s *space) trashEntry(path, id string, n *snapshot.Node) {
	if n.Type != snapshot.Symlink {
		s.problem("link-kind", path, "a %s instead of a symbolic link", n.Type)
		return
	}
	rest, ok := strings.CutPrefix(n.Target, "../../../../../nodes/")
	to, whole := unshard(rest)
	to, v, when := splitVariant(to)
	i, there := s.trash[s.key(to)]
	switch {
	case !ok || !whole || v != trashed:
		s.problem("trash-dangling", path, "the link leads to %q, where nothing in the trash is", n.Target)
	case to != id:
		s.problem("trash-dangling", path, "the link leads to another node, %s", to)
	case !there || s.times[i] != when:
		s.problem("trash-dangling", path, "what it leads to is missing")
	default:
		s.recs[i].flags |= isListed
	}
}

// judgeLinks compares the entries of directories with the nodes.
func (s *space) judgeLinks() {
	up := make([]uint32, len(s.recs)) // 1 + the directory that has it as an entry
	for i := range s.links {
		l := &s.links[i]
		from := &s.recs[l.from]
		path := s.where(from)
		if from.flags&isTrashed != 0 {
			path += string(trashed) + s.times[l.from]
		}
		path = join(path, s.get(l.name))
		j, ok := s.live[l.to]
		if !ok {
			text := "the node %s is missing"
			if _, thrown := s.trash[l.to]; thrown {
				text = "the node %s is in the trash"
			}
			s.problem("link-dangling", path, text, s.text(l.to))
			continue
		}
		to := &s.recs[j]
		to.links++
		if to.links == 0 { // so many that the counter is too small
			to.links--
		}
		if up[j] == 0 || to.parent == from.id {
			up[j] = l.from + 1
		}
		if to.flags&isBlank != 0 {
			continue
		}
		if name := s.get(to.name); name != s.get(l.name) {
			s.problem("link-name", path, "the node %s is called %q", s.text(l.to), name)
		}
		if to.parent != from.id {
			s.problem("link-parent", path, "the node %s says that it is in %s", s.text(l.to), s.text(to.parent))
		}
	}
	root := s.key(s.id)
	s.judgeLoops(up, root)
	for i := range s.recs {
		r := &s.recs[i]
		switch {
		case r.flags&isVersion != 0:
			_, alive := s.live[r.id]
			if _, thrown := s.trash[r.id]; !alive && !thrown {
				s.warn("revision-orphan", s.where(r), "there is a revision of a node that is not there")
			}
		case r.flags&isTrashed != 0:
		case r.id == root && r.links > 0:
			s.problem("link-twice", s.where(r), "the root of the space is an entry of a directory")
		case r.id != root && r.links == 0 && r.flags&isBlank != 0:
			s.problem("link-missing", s.where(r), "no directory has it as an entry")
		case r.id != root && r.links == 0:
			s.problem("link-missing", s.where(r), "no directory has it as an entry; it is called %q and says that it is in %s", s.get(r.name), s.text(r.parent))
		case r.links > 1:
			s.problem("link-twice", s.where(r), "%d directories have it as an entry", r.links)
		}
	}
}

// judgeLoops looks for directories that are entries of each other: each of them has its
// place, and no way leads to them from the root. What else cannot be reached from the
// root lies below something that no directory has as an entry, or in the trash.
func (s *space) judgeLoops(up []uint32, root key) {
	seen := make([]uint32, len(up)) // 1 + where the way began that came by
	for i := range up {
		j := uint32(i)
		for seen[j] == 0 && up[j] != 0 && s.recs[j].id != root {
			seen[j] = uint32(i) + 1
			j = up[j] - 1
		}
		if seen[j] != uint32(i)+1 || up[j] == 0 {
			continue
		}
		for first := j; ; {
			r := &s.recs[j]
			s.problem("link-loop", s.where(r), "it is called %q, is an entry of what is below it, and cannot be reached from the root", s.get(r.name))
			if j = up[j] - 1; j == first {
				break
			}
		}
	}
}

// judgeTrees compares the sizes of trees with the sums of their entries.
func (s *space) judgeTrees() {
	root := s.key(s.id)
	for i := range s.recs {
		r := &s.recs[i]
		if r.flags&(isVersion|isTrashed|isBlank) != 0 || r.id == root {
			continue
		}
		j, ok := s.live[r.parent]
		if !ok {
			j, ok = s.trash[r.parent]
		}
		if ok {
			s.recs[j].sum += r.size
		}
	}
	for i := range s.recs {
		if r := &s.recs[i]; r.flags&(isDir|hasTreeSize) == isDir|hasTreeSize && r.sum != r.size {
			s.warn("tree-size", s.where(r), "it says that its tree has %d bytes, the entries have %d", r.size, r.sum)
		}
	}
}
