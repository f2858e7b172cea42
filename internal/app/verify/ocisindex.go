package verify

import (
	"errors"
	"io/fs"
	"strings"

	"vault/snapshot"
)

// indexed is what the indexes hold: index, key in it, space.
type indexed map[[3]string]bool

// indexes compares the indexes with the spaces.
func (o *ocis) indexes() error {
	there := map[string]*spaceInfo{}
	for i := range o.spaces {
		there[o.spaces[i].id] = &o.spaces[i]
	}
	dir, err := o.child(o.tree, "indexes")
	if errors.Is(err, fs.ErrNotExist) || err == nil && !dir.IsDir() {
		dir, err = nil, nil
	}
	if err != nil {
		return o.unreadable("indexes", err)
	}
	has := indexed{}
	for _, name := range []string{"by-type", "by-user-id", "by-group-id"} {
		path := "indexes/" + name
		index, err := o.child(dir, name)
		switch {
		case errors.Is(err, fs.ErrNotExist) || err == nil && !index.IsDir():
			o.problem("index-missing", path, "the index is missing")
		case err != nil:
			if err := o.unreadable(path, err); err != nil {
				return err
			}
		default:
			if err := o.index(path, name, index, there, has); err != nil {
				return err
			}
		}
	}
	for _, s := range o.spaces {
		o.expectIndexed(s, has)
	}
	return nil
}

// index reads one index: X.mpk, a map from spaces to links; or, as older servers
// write it, a directory X of links.
func (o *ocis) index(path, name string, dir *snapshot.Node, there map[string]*spaceInfo, has indexed) error {
	return o.entries(path, dir, func(p string, n *snapshot.Node) error {
		values := map[string]string{}
		base, isFile := strings.CutSuffix(n.Name, ".mpk")
		switch {
		case isFile:
			b, err := o.whole(n, maxMetadata)
			if err == nil {
				values, err = decodeMap(b)
			}
			if errors.Is(err, errMetadata) || errors.Is(err, errTooLong) || n.Type != snapshot.File {
				o.problem("index-damaged", p, "%v", err)
				return nil
			}
			if err != nil {
				return o.unreadable(p, err)
			}
		case n.IsDir():
			if err := o.entries(p, n, func(q string, e *snapshot.Node) error {
				if e.Type != snapshot.Symlink {
					o.problem("link-kind", q, "a %s instead of a symbolic link", e.Type)
					return nil
				}
				values[e.Name] = e.Target
				return nil
			}); err != nil {
				return err
			}
		case disposable(n.Name):
			return nil
		default:
			o.warn("stray", p, "a %s that does not belong there", n.Type)
			return nil
		}
		o.indexValues(p, name, base, values, there, has)
		return nil
	})
}

func (o *ocis) indexValues(path, index, entry string, values map[string]string, there map[string]*spaceInfo, has indexed) {
	for id, target := range values {
		has[[3]string{index, entry, id}] = true
		s := there[id]
		switch {
		case s == nil:
			o.problem("index-dangling", join(path, id), "the space is missing")
		case target != "../../../"+s.path+"/nodes/"+shard(id):
			o.problem("index-dangling", join(path, id), "it leads to %q, which is not the root of the space", target)
		case !s.root:
			o.problem("index-dangling", join(path, id), "the root of the space is missing")
		case index == "by-type" && s.kind != "" && s.kind != entry:
			o.problem("index-dangling", join(path, id), "the space is of type %q", s.kind)
		}
	}
}

// expectIndexed looks for a space in the indexes where it must be.
func (o *ocis) expectIndexed(s spaceInfo, has indexed) {
	if s.kind != "" && !has[[3]string{"by-type", s.kind, s.id}] {
		o.problem("index-lacks", join("indexes/by-type/"+s.kind, s.id), "the space is not in the index of its type")
	}
	if s.owner != "" && !has[[3]string{"by-user-id", s.owner, s.id}] {
		o.problem("index-lacks", join("indexes/by-user-id/"+s.owner, s.id), "the space is not in the index of the user whose it is")
	}
	for _, u := range s.users {
		if u != s.owner && !has[[3]string{"by-user-id", u, s.id}] {
			o.warn("index-lacks", join("indexes/by-user-id/"+u, s.id), "the space is not in the index of a user who has access")
		}
	}
	for _, g := range s.groups {
		if !has[[3]string{"by-group-id", g, s.id}] {
			o.warn("index-lacks", join("indexes/by-group-id/"+g, s.id), "the space is not in the index of a group that has access")
		}
	}
}
