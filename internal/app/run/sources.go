//go:build linux

package run

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"vault/internal/app/config"
	appsource "vault/internal/app/source"
	"vault/internal/app/source/container"
	"vault/internal/match"
	"vault/snapshot"
	"vault/snapshot/archive"
	"vault/snapshot/restore"
)

// source is a volume of an application: where it comes from, and how it gets back.
type source struct {
	*config.Volume
	volume    archive.Volume
	stream    bool                            // one stream rather than a tree
	preflight func(ctx context.Context) error // whether it could be read now; may be nil

	// One of these brings it back.
	place string // a path
	feed  func(ctx context.Context, in io.Reader, clean bool) error
	load  func(ctx context.Context, src snapshot.Source, root *snapshot.Node, clean bool) error

	expand func(ctx context.Context, notice func(error)) ([]source, error) // what it consists of, looked up late; or nil
	prefix string                                                          // of what expand has returned: "state" or "volumes/X"

	owners []restore.OwnerRule    // of a path: who owns here what belongs to somebody in the backup
	choose func(path string) bool // of a path: what of it is brought back; nil is everything
}

// sourcer makes sources.
type sourcer struct {
	app    *config.App
	x      *executor
	beside string // directory of the configuration
	key    string // makes the dumps of PostgreSQL repeatable; a secret
	dry    bool   // nothing is stored: what hooks make is not there; nothing is made for a restore
	back   bool   // for a restore: what is to be read need not be there, and is made where possible
	from   string // for a restore: the name that the application had where it was backed up, "" for the same
}

// list turns the volumes of an application into what the engine reads, in the order
// of the configuration.
func (k *sourcer) list(ctx context.Context) ([]source, error) {
	var list []source
	volumes := k.app.VolumeList()
	for i := range k.app.Dogus {
		more, err := k.dogu(&k.app.Dogus[i])
		if err != nil {
			return nil, err
		}
		volumes = append(volumes, more...)
	}
	for _, v := range volumes {
		s, err := k.source(ctx, v)
		if err != nil {
			return nil, fmt.Errorf("volume %s: %w", v.Name, err)
		}
		list = append(list, s)
	}
	return list, nil
}

func (k *sourcer) source(ctx context.Context, v *config.Volume) (s source, err error) {
	s = source{Volume: v, volume: archive.Volume{Name: v.Name}}
	switch v.Kind() {
	case "path":
		err = k.path(ctx, &s, v.Path)
	case "container":
		err = k.container(ctx, &s, engineOf(v.Container), v.Container.Volume, v.Container.Path)
	case "command":
		k.command(&s)
	case "postgres":
		err = k.postgres(ctx, &s)
	case "mysql":
		err = k.mysql(ctx, &s)
	case "redis":
		err = k.redis(ctx, &s)
	case "sqlite":
		err = k.sqlite(&s)
	case "s3":
		err = k.bucket(ctx, &s)
	case "include-from":
		k.included(&s)
	default:
		err = fmt.Errorf("a volume from %s cannot be read by this version", v.Kind())
	}
	if err == nil && !s.stream && !k.back && s.expand == nil {
		s.volume.Excludes, err = excludes(v)
	}
	if r := v.Restore; r != nil && err == nil {
		if r.To != "" {
			s.place = r.To
			if v.Kind() != "sqlite" {
				s.feed, s.load = nil, nil
			}
		}
		if r.Command != nil {
			s.feed = func(ctx context.Context, in io.Reader, _ bool) error {
				return k.x.feed(ctx, phaseRestore, r.Command, in)
			}
		}
		for _, text := range r.OwnerMap {
			rule, err := restore.ParseOwnerRule(text)
			if err != nil {
				return s, fmt.Errorf("owner-map: %w", err)
			}
			s.owners = append([]restore.OwnerRule{rule}, s.owners...)
		}
	}
	return s, err
}

// checked makes a stream fail that is not as the configuration expects it.
func checked(v *config.Volume, o appsource.Opener) archive.Opener {
	return appsource.Checked(o, appsource.Expect{MinSize: uint64(v.MinSize), Tail: v.ExpectTail})
}

// path reads a path. A symbolic link stands for what it leads to: who names a
// volume by a link means what is behind it.
func (k *sourcer) path(ctx context.Context, s *source, path string) error {
	path, root, rest := k.rooted(path)
	switch {
	case root == nil:
	case root.Podman != "" || root.Docker != "":
		name, below, _ := strings.Cut(rest, "/")
		return k.container(ctx, s, rootEngine(root), root.Prefix+name, below)
	}
	s.place = path
	if real, err := filepath.EvalSymlinks(path); err == nil {
		path = real
	}
	s.volume.Source = archive.Path{Path: path}
	s.preflight = func(context.Context) error {
		_, err := os.Stat(path)
		return err
	}
	return nil
}

// rooted resolves a path that is relative to the roots of the application: one of
// a root with a path, or the root and what is below it.
func (k *sourcer) rooted(path string) (resolved string, root *config.Root, rest string) {
	if filepath.IsAbs(path) {
		return path, nil, ""
	}
	first, rest, _ := strings.Cut(filepath.ToSlash(path), "/")
	root = k.app.Roots[first]
	if root == nil || root.Path == "" {
		return "", root, rest
	}
	return filepath.Join(root.Path, rest), nil, ""
}

func (k *sourcer) command(s *source) {
	c := s.Command
	s.stream = true
	s.volume.Source = checked(s.Volume, archive.Command{Argv: c.Argv(), Env: append(append(k.x.blank(), k.app.Environment.List()...), c.Env.List()...), Dir: c.Dir})
}

// engine is a container engine and its owner.
type engine struct{ program, user string }

func engineOf(c *config.Container) engine { return engine{c.Engine, c.User} }

func rootEngine(r *config.Root) engine {
	if r.Docker != "" {
		return engine{"docker", r.User}
	}
	return engine{"podman", r.User}
}

// container reads a volume of a container engine, which is asked where it lies. For
// a restore it is made if it is not there.
func (k *sourcer) container(ctx context.Context, s *source, e engine, name, below string) error {
	engine, err := e.engine()
	if err != nil {
		return err
	}
	ask := engine.Inspect
	if k.back {
		ask = k.target(engine)
	}
	v, err := ask(ctx, name)
	switch {
	case errors.Is(err, container.ErrNoVolume) && s.Class != config.Required:
		s.volume.Source = archive.Path{Path: "/nonexistent/volume/" + name} // it is told when it is read
		return nil
	case err != nil:
		return err
	}
	s.place = filepath.Join(v.Path, below)
	s.volume.Source = archive.Path{Path: s.place}
	s.volume.IDs = v.IDs.Saved()
	s.owners = v.IDs.Rules()
	s.preflight = func(context.Context) error { return v.Readable() }
	return nil
}

// target returns how an engine is asked for a volume that is restored to: it makes it.
// For a dry run one that is not there has words for a path.
func (k *sourcer) target(e container.Engine) func(ctx context.Context, name string) (container.Volume, error) {
	if !k.dry {
		return e.Ensure
	}
	return func(ctx context.Context, name string) (container.Volume, error) {
		v, err := e.Inspect(ctx, name)
		if errors.Is(err, container.ErrNoVolume) {
			return container.Volume{Name: name, Path: "the volume " + name + ", which is made"}, nil
		}
		return v, err
	}
}

const maxPatterns = 64 << 20 // bytes of a file of patterns

// excludes returns what is left out of a volume, nil if nothing is.
func excludes(v *config.Volume) (*archive.Excludes, error) {
	if len(v.Exclude)+len(v.ExcludeFrom)+len(v.IgnoreFiles)+len(v.IfPresent) == 0 && !v.Caches && v.LargerThan == 0 {
		return nil, nil
	}
	dialect := match.Gitignore
	if v.Syntax != "" {
		var err error
		if dialect, err = match.ParseDialect(v.Syntax); err != nil {
			return nil, err
		}
	}
	x := &archive.Excludes{IgnoreFiles: v.IgnoreFiles, LargerThan: uint64(v.LargerThan)}
	l, err := match.ParseArgs(dialect, v.Exclude, match.Options{Source: "exclude"})
	if err != nil {
		return nil, err
	}
	x.Command = []*match.List{l}
	for _, name := range v.ExcludeFrom {
		data, err := readLimited(name)
		if err != nil {
			return nil, fmt.Errorf("exclude-from: %w", err)
		}
		l, err := match.ParseFile(dialect, data, match.Options{Source: name})
		if err != nil {
			return nil, fmt.Errorf("exclude-from: %w", err)
		}
		x.Files = append(x.Files, l)
	}
	for _, text := range v.IfPresent {
		m, err := match.ParseMarker(text)
		if err != nil {
			return nil, err
		}
		x.Markers = append(x.Markers, m)
	}
	if v.Caches {
		x.Markers = append(x.Markers, match.CacheTag)
	}
	return x, nil
}

func readLimited(name string) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxPatterns+1))
	if err == nil && len(data) > maxPatterns {
		err = errors.New("it is too long for a list of patterns")
	}
	return data, err
}
