// Package ns8 reads what a module of NethServer 8 says about its backup - the files
// state-include.conf and state-exclude.conf as they are - and turns it into volumes.
//
// The idea. A module's data lies in its state directory and in volumes of podman. Its
// files name both relative to one base: state/... and volumes/X/..., where volumes/X
// is the podman volume X of a rootless module and MODULE-X of a rootful one. Make
// returns a Part for each of them that is included: a list of paths below one
// directory, and what of it is left out. So a backup does not depend on where the
// module's home is, or on its number, and can be restored under another.
//
// The files are read as restic reads them: an include is a glob in which each part of
// a path is matched on its own; an exclude is a pattern of restic, which without a
// leading slash matches at every depth. Lines are trimmed, empty ones and comments do
// not count, and a last line without a newline does.
//
// Caveats. An include that matches nothing is told (Plan.Unmatched): restic only warns,
// and so data was lost silently. What an include matches is looked up when Make is
// called: after the module has dumped its state. In excludes variables have no values,
// and $$ is a dollar sign. An exclude that begins with a slash begins above the base, at
// /srv, as in the module's own backup.
package ns8

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"vault/snapshot/archive"
)

// Module is an instance of a module on this node.
type Module struct {
	ID       string // "dokuwiki1"
	StateDir string // its AGENT_STATE_DIR
	Rootful  bool
}

// Place is where a volume lies, as package container tells.
type Place struct {
	Dir string
	IDs *archive.IDMap // nil if owners are stored as they are
}

// Volumes are those of the module's engine.
type Volumes interface {
	List(ctx context.Context) (names []string, err error)
	Place(ctx context.Context, name string) (Place, error)
}

// File is one of the module's files. A file that is not there is empty.
type File struct {
	Name string // for messages
	Text []byte
}

// Pattern is a line of a file.
type Pattern struct {
	File string
	Line int
	Text string // as written, but for the space around it
}

func (p Pattern) String() string { return fmt.Sprintf("%s:%d: %s", p.File, p.Line, p.Text) }

// Part is one directory of a module with what of it belongs to the backup.
type Part struct {
	Prefix string // "state" or "volumes/X": what paths in the module's files begin with
	Volume string // the podman volume; "" for the state
	Source archive.List
	// Excludes is never nil.
	Excludes *archive.Excludes
	IDs      *archive.IDMap
}

// Plan is what belongs to a backup.
type Plan struct {
	Parts     []Part // the state first, then the volumes by name
	Unmatched []Pattern
}

// ErrUnmatched says that includes match nothing.
var ErrUnmatched = errors.New("what is to be included does not exist")

// Err returns an error that names the includes that match nothing, nil if all do. It is
// for what is required.
func (p *Plan) Err() error {
	if len(p.Unmatched) == 0 {
		return nil
	}
	var names []string
	for _, u := range p.Unmatched {
		names = append(names, u.String())
	}
	return fmt.Errorf("%w: %s", ErrUnmatched, strings.Join(names, ", "))
}

const (
	stateDir    = "state"
	volumesDir  = "volumes"
	environment = "environment"
	// The base in the containers in which NethServer runs restic.
	theirBase = "/srv"
	// Volumes of restic itself are not the module's.
	resticVolumes = "restic-"
)

// VolumeName returns the podman volume of volumes/X.
func (m Module) VolumeName(x string) string {
	if m.Rootful {
		return m.ID + "-" + x
	}
	return x
}

// own returns the X of a podman volume, false if it is not one of the module's.
func (m Module) own(volume string) (string, bool) {
	if strings.HasPrefix(volume, resticVolumes) {
		return "", false
	}
	if m.Rootful {
		return strings.CutPrefix(volume, m.ID+"-")
	}
	return volume, true
}

// Make returns what belongs to a backup of the module. The file state/environment
// always does, since a restore needs it.
func (m Module) Make(ctx context.Context, v Volumes, include, exclude File) (*Plan, error) {
	names, err := v.List(ctx)
	if err != nil {
		return nil, fmt.Errorf("module %s: %w", m.ID, err)
	}
	slices.Sort(names)
	p := &planner{ctx: ctx, module: m, volumes: v, names: names, plan: &Plan{}, excludes: lines(exclude), byPrefix: map[string]*Part{}}
	err = p.include(Pattern{"always included", 1, stateDir + "/" + environment})
	for _, line := range lines(include) {
		if err == nil {
			err = p.include(line)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("module %s: %w", m.ID, err)
	}
	for _, part := range p.byPrefix {
		slices.Sort(part.Source.Paths)
		part.Source.Paths = slices.Compact(part.Source.Paths)
		p.plan.Parts = append(p.plan.Parts, *part)
	}
	slices.SortFunc(p.plan.Parts, func(a, b Part) int { return strings.Compare(a.Prefix, b.Prefix) })
	return p.plan, nil
}

// lines returns the lines of a file that count.
func lines(f File) []Pattern {
	var list []Pattern
	rest := bytes.TrimPrefix(f.Text, []byte("\xef\xbb\xbf"))
	for n := 1; len(rest) > 0; n++ {
		var line []byte
		line, rest, _ = bytes.Cut(rest, []byte("\n"))
		if line = bytes.TrimSpace(line); len(line) > 0 && line[0] != '#' {
			list = append(list, Pattern{f.Name, n, string(line)})
		}
	}
	return list
}

type planner struct {
	ctx      context.Context
	module   Module
	volumes  Volumes
	names    []string // of all volumes of the engine
	excludes []Pattern
	plan     *Plan
	byPrefix map[string]*Part
}

// include adds what an include matches.
func (p *planner) include(line Pattern) error {
	clean := path.Clean(line.Text)
	first, rest, _ := strings.Cut(clean, "/")
	found := false
	var err error
	switch first {
	case stateDir:
		found, err = p.add(stateDir, "", rest)
	case volumesDir:
		which, rest, _ := strings.Cut(rest, "/")
		if which == "" {
			which = "*"
		}
		for _, name := range p.names {
			x, ok := p.module.own(name)
			if !ok {
				continue
			}
			ok, err = path.Match(which, x)
			if err == nil && ok {
				ok, err = p.add(volumesDir+"/"+x, name, rest)
				found = found || ok
			}
			if err != nil {
				break
			}
		}
	}
	if err != nil {
		return fmt.Errorf("%s: %w", line, err)
	}
	if !found {
		p.plan.Unmatched = append(p.plan.Unmatched, line)
	}
	return nil
}

// add adds what a glob matches in the directory of a part, and reports whether that
// is anything.
func (p *planner) add(prefix, volume, glob string) (bool, error) {
	part := p.byPrefix[prefix]
	place := Place{Dir: p.module.StateDir}
	if part != nil {
		place.Dir = part.Source.Base
	} else if volume != "" {
		var err error
		if place, err = p.volumes.Place(p.ctx, volume); err != nil {
			return false, err
		}
	}
	dir, err := filepath.Abs(place.Dir)
	if err != nil {
		return false, err
	}
	if real, err := filepath.EvalSymlinks(dir); err == nil {
		dir = real
	}
	paths := []string{dir}
	if glob != "" {
		if paths, err = filepath.Glob(escape(dir) + "/" + glob); err != nil {
			return false, err
		}
	} else if _, err := os.Lstat(dir); errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if len(paths) == 0 {
		return false, nil
	}
	if part == nil {
		part = &Part{Prefix: prefix, Volume: volume, Source: archive.List{Base: dir}, IDs: place.IDs}
		if part.Excludes, err = excludesOf(prefix, dir, p.excludes); err != nil {
			return false, err
		}
		p.byPrefix[prefix] = part
	}
	part.Source.Paths = append(part.Source.Paths, paths...)
	return true, nil
}

// escape makes a path mean itself in a glob and in a pattern.
func escape(s string) string {
	return strings.NewReplacer(`\`, `\\`, "*", `\*`, "?", `\?`, "[", `\[`).Replace(s)
}
