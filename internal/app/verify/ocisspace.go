package verify

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strconv"
	"strings"

	"vault/snapshot"
)

// spaceDir is a directory that should be a space.
type spaceDir struct {
	id, path string
	node     *snapshot.Node
}

// What a rec is.
const (
	isDir        uint8 = 1 << iota // by its own form
	isVersion                      // a revision
	isTrashed                      // in the trash
	isProcessing                   // an upload is not finished
	isBlank                        // its metadata is missing, so nothing can be compared
	isListed                       // something in the trash that the trash lists
	hasTreeSize
)

// rec is a node, as small as can be: there may be millions.
type rec struct {
	id, parent key
	name       span
	size       uint64 // of the blob, or of the tree as the node says
	sum        uint64 // of the tree as its entries say
	links      uint16
	flags      uint8
}

// link is an entry of a directory.
type link struct {
	to   key
	from uint32 // the rec of the directory
	name span
}

// span is a text in the arena of a space: offset << 16 | length.
type span uint64

// space is the check of one space.
type space struct {
	*ocis
	spaceDir
	ids
	info  spaceInfo
	recs  []rec
	live  map[key]uint32
	trash map[key]uint32
	times map[uint32]string // when something was put into the trash
	links []link
	blobs []blobRef
	texts []byte
}

func newSpace(o *ocis, d spaceDir) *space {
	return &space{ocis: o, spaceDir: d, info: spaceInfo{id: d.id, path: d.path}, live: map[key]uint32{}, trash: map[key]uint32{}, times: map[uint32]string{}}
}

func (s *space) put(text string) span {
	text = text[:min(len(text), 1<<16-1)]
	at := span(len(s.texts))<<16 | span(len(text))
	s.texts = append(s.texts, text...)
	return at
}

func (s *space) get(t span) string { return string(s.texts[t>>16:][:t&0xffff]) }

// check checks the space, and adds it to what the indexes are compared with.
func (s *space) check() error {
	nodes, err := s.child(s.node, "nodes")
	switch {
	case errors.Is(err, fs.ErrNotExist) || err == nil && !nodes.IsDir():
		s.problem("node-missing", join(s.path, "nodes"), "the space has no nodes")
		err = nil
	case err != nil:
		err = s.unreadable(join(s.path, "nodes"), err)
	default:
		err = s.shards(join(s.path, "nodes"), nodes, "", func(path, prefix string, dir *snapshot.Node) error { return s.shardDir(path, prefix, dir) })
	}
	if err != nil {
		return err
	}
	i, ok := s.live[s.key(s.id)]
	s.info.root = ok && s.recs[i].flags&isDir != 0
	if !s.info.root {
		s.problem("node-missing", join(s.path, "nodes/"+shard(s.id)), "the root node of the space is missing")
	}
	if err := s.judgeTrash(); err != nil {
		return err
	}
	s.judgeLinks()
	s.judgeTrees()
	if err := s.judgeBlobs(); err != nil {
		return err
	}
	s.spaces = append(s.spaces, s.info)
	return nil
}

// shards calls fn for the directories aa/bb/cc/dd below dir, with the first eight
// characters of the ids in them.
func (o *ocis) shards(path string, dir *snapshot.Node, prefix string, fn func(path, prefix string, dir *snapshot.Node) error) error {
	if len(prefix) == 8 {
		return fn(path, prefix, dir)
	}
	return o.entries(path, dir, func(p string, n *snapshot.Node) error {
		if !n.IsDir() || len(n.Name) != 2 {
			o.warn("stray", p, "a %s that does not belong there", n.Type)
			return nil
		}
		return o.shards(p, n, prefix+n.Name, fn)
	})
}

// disposable reports whether a file is a lock, which nobody misses.
func disposable(name string) bool {
	for _, suffix := range []string{".mlock", ".flock", ".lock"} {
		if strings.HasSuffix(name, suffix) {
			return true
		}
	}
	return false
}

// shardDir takes in the nodes of one directory aa/bb/cc/dd: few, so that they are
// read at once.
func (s *space) shardDir(path, prefix string, dir *snapshot.Node) error {
	nodes, metadata := map[string]*snapshot.Node{}, map[string]*snapshot.Node{}
	var names []string
	if err := s.entries(path, dir, func(_ string, n *snapshot.Node) error {
		if base, ok := strings.CutSuffix(n.Name, ".mpk"); ok {
			metadata[base] = n
		} else if !disposable(n.Name) {
			nodes[n.Name] = n
			names = append(names, n.Name)
		}
		return nil
	}); err != nil {
		return err
	}
	for base := range metadata {
		if nodes[base] == nil {
			s.problem("node-missing", join(path, base), "there is metadata, but no node")
		}
	}
	for _, name := range names {
		if err := s.take(join(path, name), prefix+name, nodes[name], metadata[name]); err != nil {
			return err
		}
	}
	return nil
}

// take takes in one node.
func (s *space) take(path, name string, n, metadata *snapshot.Node) error {
	s.sum.Objects++
	id, v, when := splitVariant(name)
	r := rec{id: s.key(id)}
	switch {
	case n.IsDir():
		r.flags |= isDir
	case n.Type != snapshot.File:
		s.problem("node-kind", path, "a %s instead of a node", n.Type)
	}
	attrs, err := s.attributes(path, n, metadata)
	if err != nil {
		return err
	}
	if attrs == nil {
		r.flags |= isBlank
	} else {
		s.describe(path, &r, id, v, attrs)
	}
	i := uint32(len(s.recs))
	switch v {
	case version:
		r.flags |= isVersion
	case trashed:
		r.flags |= isTrashed
		s.trash[r.id], s.times[i] = i, when
	default:
		s.live[r.id] = i
	}
	s.recs = append(s.recs, r)
	if attrs != nil {
		s.nameBlob(path, i, attrs)
	}
	if !n.IsDir() {
		return nil
	}
	return s.entries(path, n, func(p string, e *snapshot.Node) error {
		if e.Type != snapshot.Symlink {
			s.problem("link-kind", p, "a %s instead of a symbolic link", e.Type)
			return nil
		}
		rest, ok := strings.CutPrefix(e.Target, "../../../../../")
		to, whole := unshard(rest)
		if !ok || !whole {
			s.problem("link-dangling", p, "the link leads to %q, where no node is", e.Target)
			return nil
		}
		s.links = append(s.links, link{to: s.key(to), from: i, name: s.put(e.Name)})
		return nil
	})
}

// attributes returns the metadata of a node, of its file or its extended attributes;
// nil if it has none that is whole.
func (s *space) attributes(path string, n, metadata *snapshot.Node) (map[string]string, error) {
	if metadata != nil {
		b, err := s.whole(metadata, maxMetadata)
		if err == nil {
			var m map[string]string
			if m, err = decodeMap(b); err == nil {
				s.metadata[0]++
				return m, nil
			}
		}
		if errors.Is(err, errMetadata) || errors.Is(err, errTooLong) || metadata.Type != snapshot.File {
			s.problem("metadata-damaged", path+".mpk", "%v", err)
			return nil, nil
		}
		return nil, s.unreadable(path+".mpk", err)
	}
	var m map[string]string
	for _, x := range n.Xattrs {
		if !strings.HasPrefix(x.Name, attrPrefix) {
			continue
		}
		value, err := s.xattr(x)
		if err != nil {
			return nil, s.unreadable(path, fmt.Errorf("attribute %s: %w", x.Name, err))
		}
		if m == nil {
			m = map[string]string{}
		}
		m[x.Name] = value
	}
	if m == nil {
		s.problem("metadata-missing", path, "the node has no metadata")
		return nil, nil
	}
	s.metadata[1]++
	return m, nil
}

// describe fills in what the metadata says, and checks it.
func (s *space) describe(path string, r *rec, id string, v variant, attrs map[string]string) {
	root := v == live && id == s.id
	needed := []string{attrType}
	switch {
	case root:
		needed = []string{attrName, attrSpaceID, attrSpace, attrSpName}
		s.aboutSpace(attrs)
	case v == trashed:
		needed = append(needed, attrName, attrParent, attrOrigin)
	case v == live:
		needed = append(needed, attrName, attrParent)
	}
	if strings.HasPrefix(attrs[attrStatus], "processing:") {
		r.flags |= isProcessing
	}
	kind := attrs[attrType]
	if kind == "1" {
		needed = append(needed, attrBlobID, attrBlobSize)
		if attrs[attrBlobID] != "" && r.flags&isProcessing == 0 {
			needed = append(needed, attrSHA1, attrMD5, attrAdler)
		}
	}
	for _, name := range needed {
		if _, ok := attrs[name]; !ok {
			s.problem("attribute-missing", path, "the metadata lacks %s", name)
		}
	}
	if folder := r.flags&isDir != 0; kind == "1" && folder || kind == "2" && !folder {
		s.problem("node-kind", path, "the metadata says type %s, but the node is a %s", kind, map[bool]string{true: "directory", false: "file"}[folder])
	}
	if own, ok := attrs[attrID]; ok && own != id {
		s.problem("node-id", path, "the metadata is that of %q", own)
	}
	if own, ok := attrs[attrSpaceID]; ok && root && own != s.id {
		s.problem("node-id", path, "the metadata is that of the space %q", own)
	}
	r.parent, r.name = s.key(attrs[attrParent]), s.put(attrs[attrName])
	number := attrBlobSize
	if r.flags&isDir != 0 {
		number = attrTreeSize
	}
	if text, ok := attrs[number]; ok {
		n, err := strconv.ParseUint(text, 10, 63)
		if err != nil {
			s.problem("attribute-damaged", path, "%s is %q", number, text)
		} else if r.size = n; r.flags&isDir != 0 {
			r.flags |= hasTreeSize
		}
	}
}

// aboutSpace takes what the root node says about its space.
func (s *space) aboutSpace(attrs map[string]string) {
	s.info.kind = attrs[attrSpace]
	if attrs[attrOwnType] == "primary" {
		s.info.owner = attrs[attrOwner]
	}
	for name := range attrs {
		if u, ok := strings.CutPrefix(name, attrUsers); ok {
			s.info.users = append(s.info.users, u)
		} else if g, ok := strings.CutPrefix(name, attrGroups); ok {
			s.info.groups = append(s.info.groups, g)
		}
	}
	slices.Sort(s.info.users)
	slices.Sort(s.info.groups)
}

// xattr returns the value of an extended attribute.
func (s *space) xattr(x snapshot.Xattr) (string, error) {
	if x.Length == 0 {
		return string(x.Value), nil
	}
	n := snapshot.Node{Type: snapshot.File, Size: x.Length, Content: snapshot.Content{Items: []snapshot.Item{{Kind: snapshot.ItemData, Length: x.Length, ID: x.Blob}}}}
	b, err := s.whole(&n, maxMetadata)
	return string(b), err
}
