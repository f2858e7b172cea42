package match

import "strings"

// Cursor decides about paths rather than names. It remembers the directories on
// the way to the last path, so that a walk costs what it costs with a Dir. It is
// for one goroutine.
type Cursor struct {
	ignore func(dir string) []*List
	stack  []level // the root first; each is a directory in the one before
}

// level is one directory on the way to the last path.
type level struct {
	path    string // "" for the root
	dir     *Dir
	ignored *Rule // why this directory is ignored; nil if it is not
}

// NewCursor returns a Cursor at the root of a tree. If ignore is not nil it is
// called once for each directory before something in it is decided (again, when
// the walk comes back to it), with its path from the root, "" for the root itself,
// and returns the lists of its ignore files, weakest first. It is not called for
// directories that are ignored.
func NewCursor(s Set, ignore func(dir string) []*List) *Cursor {
	c := &Cursor{ignore: ignore}
	c.stack = append(c.stack, level{dir: s.Root(c.load("")...)})
	return c
}

func (c *Cursor) load(dir string) []*List {
	if c.ignore == nil {
		return nil
	}
	return c.ignore(dir)
}

// Match decides about the entry at a path from the root, with single slashes and
// none at the beginning or end. What lies below an ignored directory is ignored,
// by the same rule.
func (c *Cursor) Match(path string, kind Kind) (Decision, *Rule) {
	dir, name := "", path
	if i := strings.LastIndexByte(path, '/'); i >= 0 {
		dir, name = path[:i], path[i+1:]
	}
	top := c.enter(dir)
	if top.ignored != nil {
		return Ignore, top.ignored
	}
	return top.dir.Match(name, kind)
}

// MayInclude reports what Dir.MayInclude does, of the directory at a path.
func (c *Cursor) MayInclude(path string) bool {
	top := c.enter(path)
	return top.ignored == nil && top.dir.MayInclude()
}

// enter goes to the directory at path. What it returns is valid until it is called
// again.
func (c *Cursor) enter(path string) *level {
	top := &c.stack[len(c.stack)-1]
	for top.path != path && !isBelow(path, top.path) {
		c.stack = c.stack[:len(c.stack)-1]
		top = &c.stack[len(c.stack)-1]
	}
	for top.path != path {
		from := len(top.path)
		if from > 0 {
			from++
		}
		to := len(path)
		if from+1 < to { // a component has a byte at least, even in a path that should not be
			if i := strings.IndexByte(path[from+1:], '/'); i >= 0 {
				to = from + 1 + i
			}
		}
		c.stack = append(c.stack, c.child(top, path[:to], path[from:to]))
		top = &c.stack[len(c.stack)-1]
	}
	return top
}

// child makes the level of a directory in parent.
func (c *Cursor) child(parent *level, path, name string) level {
	l := level{path: path, dir: parent.dir, ignored: parent.ignored}
	if l.ignored != nil {
		return l
	}
	if d, rule := parent.dir.Match(name, Directory); d == Ignore && !rule.includes {
		l.ignored = rule
		return l
	}
	l.dir = parent.dir.Enter(name, c.load(path)...)
	return l
}

// isBelow reports whether path lies below dir.
func isBelow(path, dir string) bool {
	return dir == "" || len(path) > len(dir) && path[len(dir)] == '/' && path[:len(dir)] == dir
}

// Selection says which entries of a tree are wanted: those that Excludes does not
// ignore and, if Includes is not nil, that it includes. Directories on the way to
// what may be included are wanted too.
type Selection struct {
	Excludes Set
	Ignore   func(dir string) []*List // ignore files of directories: see NewCursor
	Includes *Set                     // lists of Options.Includes
}

// Selector answers a Selection for one walk. It is for one goroutine.
type Selector struct {
	excludes, includes *Cursor
}

// NewSelector returns a Selector at the root.
func NewSelector(s Selection) *Selector {
	x := &Selector{excludes: NewCursor(s.Excludes, s.Ignore)}
	if s.Includes != nil {
		x.includes = NewCursor(*s.Includes, nil)
	}
	return x
}

// Select reports whether the entry at a path from the root is wanted. Of a
// directory that is not, nothing below is.
func (s *Selector) Select(path string, kind Kind) bool {
	if d, _ := s.excludes.Match(path, kind); d == Ignore {
		return false
	}
	if s.includes == nil {
		return true
	}
	if d, _ := s.includes.Match(path, kind); d == Include {
		return true
	}
	return kind == Directory && s.includes.MayInclude(path)
}
