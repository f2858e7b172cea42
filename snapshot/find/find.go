// Package find looks for entries in saved trees.
//
// Many backups share most of their directories. When a query asks about
// entries themselves and not about where they lie, a directory in which nothing
// was found is not entered again, whatever backup it belongs to: the work is
// that of the different directories there are. What it remembers for this is a
// name of 32 bytes for each of them.
package find

import (
	"context"
	"fmt"
	"io"
	"path"
	"strings"

	"vault/crypto"
	"vault/snapshot"
)

// Query says which entries are wanted: those for which every part that is given
// holds. The zero Query wants all.
type Query struct {
	// Patterns, of which one must match: shell patterns as path.Match takes
	// them. One without a slash is about an entry's name; one that begins with
	// a slash about its whole path; any other about the end of its path.
	Patterns []string
	Fold     bool // patterns match whatever the case of letters

	Newer, Older    *snapshot.Time  // modified at or after, before
	Larger, Smaller *uint64         // bytes of files, both inclusive
	Types           []snapshot.Type // one of these; none: any
}

// Check returns an error for a pattern that is malformed.
func (q *Query) Check() error {
	for _, p := range q.Patterns {
		if _, err := path.Match(p, ""); err != nil || p == "" {
			return fmt.Errorf("pattern %q: %w", p, path.ErrBadPattern)
		}
	}
	return nil
}

// byPath reports whether where an entry lies counts.
func (q *Query) byPath() bool {
	for _, p := range q.Patterns {
		if strings.Contains(p, "/") {
			return true
		}
	}
	return false
}

// Match reports whether an entry is wanted. Its path is that in the volume,
// without a slash at the beginning.
func (q *Query) Match(p string, n *snapshot.Node) bool {
	switch {
	case q.Newer != nil && n.MTime.Compare(*q.Newer) < 0, q.Older != nil && n.MTime.Compare(*q.Older) >= 0:
		return false
	case (q.Larger != nil || q.Smaller != nil) && n.Type != snapshot.File:
		return false
	case q.Larger != nil && n.Size < *q.Larger, q.Smaller != nil && n.Size > *q.Smaller:
		return false
	case len(q.Types) > 0 && !contains(q.Types, n.Type):
		return false
	case len(q.Patterns) == 0:
		return true
	}
	if q.Fold {
		p = strings.ToLower(p)
	}
	for _, pattern := range q.Patterns {
		if q.Fold {
			pattern = strings.ToLower(pattern)
		}
		if matches(pattern, p) {
			return true
		}
	}
	return false
}

func contains(list []snapshot.Type, t snapshot.Type) bool {
	for _, u := range list {
		if t == u {
			return true
		}
	}
	return false
}

func matches(pattern, p string) bool {
	rooted, whole := strings.CutPrefix(pattern, "/")
	if !whole {
		// As many parts from the end as the pattern has.
		at := len(p)
		for range strings.Count(pattern, "/") + 1 {
			if at < 0 {
				return false
			}
			at = strings.LastIndexByte(p[:at], '/')
		}
		rooted, p = pattern, p[at+1:]
	}
	ok, _ := path.Match(rooted, p)
	return ok
}

// Finder answers one query in many trees. It is for one goroutine.
type Finder struct {
	q      Query
	src    snapshot.Source
	barren map[crypto.ID]struct{} // directories without a match in or below; nil: not remembered
}

// New returns a Finder of a query that has been checked.
func New(src snapshot.Source, q Query) *Finder {
	f := &Finder{q: q, src: src}
	if !q.byPath() {
		f.barren = map[crypto.ID]struct{}{}
	}
	return f
}

// Find calls found for each match in the tree, in the order of a walk. name is
// what a root that is no directory is called. It stops at the first error.
func (f *Finder) Find(ctx context.Context, name string, root *snapshot.Node, found func(p string, n *snapshot.Node) error) error {
	if !root.IsDir() {
		if f.q.Match(name, root) {
			return found("", root)
		}
		return nil
	}
	_, err := f.directory(ctx, "", root.Tree, found)
	return err
}

// directory reports whether anything was found in the directory or below.
func (f *Finder) directory(ctx context.Context, dir string, tree crypto.ID, found func(string, *snapshot.Node) error) (any bool, err error) {
	if _, barren := f.barren[tree]; barren {
		return false, nil
	}
	if strings.Count(dir, "/") > snapshot.MaxDepth {
		return false, fmt.Errorf("find: %w", snapshot.ErrTooLarge)
	}
	r := snapshot.NewDirReader(ctx, f.src, tree)
	for {
		n, err := r.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return any, err
		}
		p := path.Join(dir, n.Name)
		if f.q.Match(p, n) {
			any = true
			if err := found(p, n); err != nil {
				return any, err
			}
		}
		if n.IsDir() {
			below, err := f.directory(ctx, p, n.Tree, found)
			if err != nil {
				return any, err
			}
			any = any || below
		}
	}
	if !any && f.barren != nil {
		f.barren[tree] = struct{}{}
	}
	return any, nil
}
