package restore

import (
	"path"
	"sync"

	"vault/internal/match"
	"vault/snapshot"
)

// Choice says by patterns and places what of some volumes is wanted.
type Choice struct {
	// Below is the path of an entry, without slashes at the ends: nothing but it
	// and what is below it is wanted. Empty is everything.
	Below string
	// Excludes match what is not wanted.
	Excludes []*match.List
	// Includes are lists of match.Options.Includes; if there are any, only what
	// they match is wanted.
	Includes []*match.List
}

// Chooser answers a Choice in the form of Options.Select and Options.Descend.
// Patterns that name paths begin at the root of the file system in a volume
// named by its absolute path, and at the root of the volume in any other. It is
// safe for concurrent use.
type Chooser struct {
	choice  Choice
	mu      sync.Mutex // guards volumes
	volumes map[string]*cursors
}

// cursors follow the walk through one volume; nil is no pattern.
type cursors struct{ excludes, includes *match.Cursor }

// NewChooser returns a Chooser.
func NewChooser(c Choice) *Chooser { return &Chooser{choice: c, volumes: map[string]*cursors{}} }

// All reports whether everything is wanted.
func (c *Chooser) All() bool {
	return c.choice.Below == "" && len(c.choice.Excludes) == 0 && len(c.choice.Includes) == 0
}

// Select reports whether an entry is wanted.
func (c *Chooser) Select(volume, p string, n *snapshot.Node) bool {
	if c.choice.Below != "" && !isBelow(p, c.choice.Below) {
		return false
	}
	kind := match.File
	if n.Type == snapshot.Directory {
		kind = match.Directory
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	at := c.at(volume)
	if at.excludes != nil {
		if d, _ := at.excludes.Match(p, kind); d == match.Ignore {
			return false
		}
	}
	if at.includes == nil {
		return true
	}
	d, _ := at.includes.Match(p, kind)
	return d == match.Include
}

// Descend reports whether anything in a directory that is not wanted itself can
// be wanted.
func (c *Chooser) Descend(volume, p string, _ *snapshot.Node) bool {
	if b := c.choice.Below; b != "" && !isBelow(p, b) && !isBelow(b, p) {
		return false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	at := c.at(volume)
	if at.excludes != nil {
		if d, _ := at.excludes.Match(p, match.Directory); d == match.Ignore {
			return false
		}
	}
	return at.includes == nil || at.includes.MayInclude(p)
}

// at returns the cursors of a volume.
func (c *Chooser) at(volume string) *cursors {
	at := c.volumes[volume]
	if at == nil {
		at = &cursors{}
		set := match.Set{}
		if path.IsAbs(volume) {
			set.Path = volume
		}
		if len(c.choice.Excludes) > 0 {
			set.Command = c.choice.Excludes
			at.excludes = match.NewCursor(set, nil)
		}
		if len(c.choice.Includes) > 0 {
			set.Command = c.choice.Includes
			at.includes = match.NewCursor(set, nil)
		}
		c.volumes[volume] = at
	}
	return at
}

// isBelow reports whether p is top or below it.
func isBelow(p, top string) bool {
	return p == top || len(p) > len(top) && p[len(top)] == '/' && p[:len(top)] == top
}
