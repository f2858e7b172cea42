//go:build linux

package run

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"vault/internal/app/config"
	appsource "vault/internal/app/source"
	"vault/internal/app/source/container"
	"vault/internal/app/source/dogu"
	"vault/internal/app/source/ns8"
)

// dogu returns the volumes that a descriptor names, each with the class of all; one
// that some installations make in another way may be missing.
func (k *sourcer) dogu(d *config.Dogu) ([]*config.Volume, error) {
	text, err := readLimited(d.File)
	if err != nil {
		return nil, fmt.Errorf("dogu: %w", err)
	}
	parsed, err := dogu.Parse(text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", d.File, err)
	}
	var list []*config.Volume
	for _, v := range parsed.Volumes {
		name := parsed.Short() + "-" + v.Name
		if k.app.Volumes[name] != nil {
			return nil, fmt.Errorf("%s: the application has a volume %s already", d.File, name)
		}
		made := &config.Volume{Name: name, Class: d.Class, Path: parsed.Dir(d.Root, v)}
		if v.Clients {
			made.Class = config.Optional
		}
		list = append(list, made)
	}
	return list, nil
}

// included is a volume of lists of NethServer's kind: one source for the state and
// each volume of the container engine that they name. What they match is looked up
// when expand is called, after the hooks that make it.
func (k *sourcer) included(s *source) {
	s.expand = func(ctx context.Context, notice func(wrong error)) ([]source, error) {
		m, engine, err := k.module()
		if err != nil {
			return nil, err
		}
		include, err := k.lists(s.IncludeFrom, s.Include, true)
		if err != nil {
			return nil, err
		}
		exclude, err := k.lists(s.ExcludeFrom, s.Exclude, false)
		if err != nil {
			return nil, err
		}
		plan, err := m.Make(ctx, volumesOf{engine}, include, exclude)
		if err != nil {
			return nil, err
		}
		if err := plan.Err(); err != nil {
			if s.Class == config.Required && !k.dry {
				return nil, fmt.Errorf("volume %s: %w: %w", s.Name, ErrRequired, err)
			}
			notice(fmt.Errorf("%s volume %s: %w", s.Class, s.Name, err))
		}
		var list []source
		for _, part := range plan.Parts {
			v := *s.Volume
			v.Name = s.Name + "/" + part.Prefix
			out := source{Volume: &v, prefix: part.Prefix}
			out.volume.Name, out.volume.Source, out.volume.Excludes, out.volume.IDs = v.Name, part.Source, part.Excludes, part.IDs
			list = append(list, out)
		}
		return list, nil
	}
}

// module returns what the application is as a module, and the engine of its volumes.
func (k *sourcer) module() (m ns8.Module, e container.Engine, err error) {
	m.ID = k.app.Name
	if state := k.app.Roots["state"]; state != nil {
		m.StateDir = state.Path
	}
	root := k.app.Roots["volumes"]
	if root == nil || m.StateDir == "" {
		return m, e, errors.New("include-from wants the roots state, a directory, and volumes, of an engine")
	}
	m.Rootful = root.Podman == config.Rootful || root.Docker != ""
	if root.Prefix != "" {
		m.ID = strings.TrimSuffix(root.Prefix, "-")
	}
	e, err = rootEngine(root).engine()
	return m, e, err
}

// renamed says under which key of Redis a saved one comes back: those of a module that
// had another number get this one's.
func (k *sourcer) renamed() func(key string) string {
	if k.from == "" {
		return nil
	}
	to := k.app.Name
	if m, _, err := k.module(); err == nil {
		to = m.ID
	}
	return ns8.RenameKey(k.from, to)
}

// lists reads lists, and adds lines that stand in the configuration itself. A list of
// what is left out need not exist.
func (k *sourcer) lists(files, lines config.Strings, must bool) (ns8.File, error) {
	out := ns8.File{Name: "configuration"}
	if len(files) > 0 {
		out.Name = files[0]
	}
	for _, name := range files {
		path, root, _ := k.rooted(name)
		if root == nil && path == "" { // beside the configuration
			path = filepath.Join(k.beside, name)
		}
		text, err := readLimited(path)
		if errors.Is(err, fs.ErrNotExist) && !must {
			continue
		}
		if err != nil {
			return out, err
		}
		out.Text = append(append(out.Text, text...), '\n')
	}
	out.Text = append(out.Text, strings.Join(lines, "\n")...)
	return out, nil
}

// volumesOf are the volumes of an engine, as the planner wants them.
type volumesOf struct{ container.Engine }

func (v volumesOf) Place(ctx context.Context, name string) (ns8.Place, error) {
	found, err := v.Inspect(ctx, name)
	if err != nil {
		return ns8.Place{}, err
	}
	if err := found.Readable(); err != nil {
		return ns8.Place{}, err
	}
	return ns8.Place{Dir: found.Path, IDs: found.IDs.Saved()}, nil
}

// partPlace says where the part of a module goes back: "state" or "volumes/X", below
// the roots of the application as it is configured here. A module of another number
// keeps the environment that NethServer has made for it.
func (k *sourcer) partPlace(ctx context.Context, s *source, prefix string) error {
	m, e, err := k.module()
	if err != nil {
		return err
	}
	x, isVolume := strings.CutPrefix(prefix, "volumes/")
	if !isVolume {
		s.place = m.StateDir
		if _, err := os.Lstat(filepath.Join(m.StateDir, ns8.EnvironmentFile)); err == nil && k.from != "" {
			s.choose = func(path string) bool { return !ns8.IsEnvironment(prefix, path) }
		}
		return nil
	}
	v, err := k.target(e)(ctx, m.VolumeName(x))
	if err != nil {
		return err
	}
	s.place, s.owners = v.Path, append(slices.Clone(s.owners), v.IDs.Rules()...)
	return nil
}

// engine returns the engine as package container knows it.
func (e engine) engine() (container.Engine, error) {
	out := container.Engine{Program: e.program}
	if e.user == "" {
		return out, nil
	}
	as, err := appsource.LookupAccount(e.user)
	if err == nil && container.Owns(as.UID) {
		as = nil // as the root of its namespace
	}
	out.As = as
	return out, err
}
