package schedule

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"vault/internal/durable"
)

// Place is where units go, and what is remembered of them.
type Place struct {
	Dir      string // of units
	StateDir string
	Config   string // absolute path of the configuration; units of others are left alone

	// Systemctl runs systemctl with arguments. Nil: the directory is not one that a
	// running systemd reads, and nothing is enabled.
	Systemctl func(args ...string) error
}

// UnitState is what is the case with one unit.
type UnitState string

// The states.
const (
	Installed UnitState = "installed" // as the configuration wants it
	Changed   UnitState = "changed"   // another text than the configuration wants
	Missing   UnitState = "missing"
	Foreign   UnitState = "foreign"  // there, and not written by Install for this configuration
	Obsolete  UnitState = "obsolete" // written by Install, and no longer wanted
)

// Change is what Install or Remove did with a unit, or what Status found.
type Change struct {
	Unit   string
	Action string // written, unchanged, removed
	State  UnitState
}

// ErrForeign says that a unit is somebody else's.
var ErrForeign = errors.New("the unit was not written for this configuration")

// list is the file in which it is remembered what was written where.
type list struct {
	Version int                 `json:"version"`
	Dirs    map[string][]string `json:"dirs"` // names of units by directory
}

func (p Place) listFile() string { return filepath.Join(p.StateDir, "schedule", "units.json") }

func (p Place) load() (list, error) {
	l := list{Version: 1, Dirs: map[string][]string{}}
	data, err := os.ReadFile(p.listFile())
	if errors.Is(err, fs.ErrNotExist) {
		return l, nil
	}
	if err == nil {
		d := json.NewDecoder(bytes.NewReader(data))
		d.DisallowUnknownFields()
		err = d.Decode(&l)
	}
	if err == nil && l.Version != 1 {
		err = fmt.Errorf("version %d is not known", l.Version)
	}
	if err != nil {
		return l, fmt.Errorf("list of units %s: %w", p.listFile(), err)
	}
	if l.Dirs == nil {
		l.Dirs = map[string][]string{}
	}
	return l, nil
}

func (p Place) store(l list) error {
	for dir, names := range l.Dirs {
		if len(names) == 0 {
			delete(l.Dirs, dir)
		}
	}
	data, err := json.MarshalIndent(l, "", " ")
	if err == nil {
		err = os.MkdirAll(filepath.Dir(p.listFile()), 0o700)
	}
	if err == nil {
		err = durable.WriteFile(p.listFile(), append(data, '\n'), 0o600)
	}
	if err != nil {
		return fmt.Errorf("list of units: %w", err)
	}
	return nil
}

// look returns the state of a unit that should have this content.
func (p Place) look(name, content string) (UnitState, error) {
	data, err := os.ReadFile(filepath.Join(p.Dir, name))
	first, _, _ := strings.Cut(string(data), "\n")
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return Missing, nil
	case err != nil:
		return "", fmt.Errorf("unit %s: %w", name, err)
	case first != marker+plainLine(p.Config):
		return Foreign, nil
	case string(data) == content:
		return Installed, nil
	}
	return Changed, nil
}

// obsolete returns the units that were written here for this configuration and are
// not among the given ones.
func (p Place) obsolete(l list, units []Unit) ([]string, error) {
	var names []string
	for _, name := range l.Dirs[p.Dir] {
		if !filepath.IsLocal(name) || strings.Contains(name, "/") || slices.ContainsFunc(units, func(u Unit) bool { return u.Name == name }) {
			continue
		}
		state, err := p.look(name, "")
		if err != nil {
			return nil, err
		}
		if state == Changed {
			names = append(names, name)
		}
	}
	return names, nil
}

// Status compares what is there with what should be.
func (p Place) Status(units []Unit) ([]Change, error) {
	l, err := p.load()
	if err != nil {
		return nil, err
	}
	var out []Change
	for _, u := range units {
		state, err := p.look(u.Name, u.Content)
		if err != nil {
			return nil, err
		}
		out = append(out, Change{Unit: u.Name, State: state})
	}
	old, err := p.obsolete(l, units)
	for _, name := range old {
		out = append(out, Change{Unit: name, State: Obsolete})
	}
	return out, err
}

// Install writes the units and starts their timers, and removes those that it wrote
// before and that are not wanted any more. A unit that is somebody else's stops it
// before anything is written. Done again, it changes nothing.
func (p Place) Install(units []Unit) ([]Change, error) {
	l, err := p.load()
	if err != nil {
		return nil, err
	}
	states, err := p.Status(units)
	if err != nil {
		return nil, err
	}
	for _, s := range states {
		if s.State == Foreign {
			return nil, fmt.Errorf("%s: %w", filepath.Join(p.Dir, s.Unit), ErrForeign)
		}
	}
	if err := os.MkdirAll(p.Dir, 0o755); err != nil {
		return nil, fmt.Errorf("units: %w", err)
	}
	for _, u := range units { // remembered before they are there
		if !slices.Contains(l.Dirs[p.Dir], u.Name) {
			l.Dirs[p.Dir] = append(l.Dirs[p.Dir], u.Name)
		}
	}
	slices.Sort(l.Dirs[p.Dir])
	if err := p.store(l); err != nil {
		return nil, err
	}
	var changes []Change
	var timers, old []string
	for i, s := range states {
		switch {
		case s.State == Obsolete:
			old = append(old, s.Unit)
			continue
		case s.State == Installed:
			changes = append(changes, Change{Unit: s.Unit, Action: "unchanged", State: Installed})
		default:
			if err := durable.WriteFile(filepath.Join(p.Dir, s.Unit), []byte(units[i].Content), 0o644); err != nil {
				return changes, fmt.Errorf("unit %s: %w", s.Unit, err)
			}
			changes = append(changes, Change{Unit: s.Unit, Action: "written", State: Installed})
		}
		if strings.HasSuffix(s.Unit, ".timer") {
			timers = append(timers, s.Unit)
		}
	}
	gone, err := p.drop(l, old)
	changes = append(changes, gone...)
	if err != nil {
		return changes, err
	}
	if err := p.systemctl("daemon-reload"); err != nil {
		return changes, err
	}
	if len(timers) > 0 {
		err = p.systemctl(append([]string{"enable", "--now"}, timers...)...)
	}
	return changes, err
}

// Remove stops and removes what Install wrote for this configuration, and nothing
// else.
func (p Place) Remove() ([]Change, error) {
	l, err := p.load()
	if err != nil {
		return nil, err
	}
	names, err := p.obsolete(l, nil)
	if err != nil {
		return nil, err
	}
	changes, err := p.drop(l, names)
	if err == nil && len(names) > 0 {
		err = p.systemctl("daemon-reload")
	}
	return changes, err
}

// drop stops timers and removes units.
func (p Place) drop(l list, names []string) (changes []Change, err error) {
	var timers []string
	for _, name := range names {
		if strings.HasSuffix(name, ".timer") {
			timers = append(timers, name)
		}
	}
	if len(timers) > 0 {
		if err := p.systemctl(append([]string{"disable", "--now"}, timers...)...); err != nil {
			return nil, err
		}
	}
	for _, name := range names {
		if err := os.Remove(filepath.Join(p.Dir, name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return changes, fmt.Errorf("remove unit: %w", err)
		}
		changes = append(changes, Change{Unit: name, Action: "removed", State: Missing})
		l.Dirs[p.Dir] = slices.DeleteFunc(l.Dirs[p.Dir], func(s string) bool { return s == name })
	}
	if len(names) == 0 {
		return nil, nil
	}
	return changes, p.store(l)
}

func (p Place) systemctl(args ...string) error {
	if p.Systemctl == nil {
		return nil
	}
	return p.Systemctl(args...)
}
