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
	"vault/internal/match"
	"vault/snapshot/archive"
)

// source is a volume of an application, and where it comes from.
type source struct {
	*config.Volume
	volume    archive.Volume
	stream    bool                            // one stream rather than a tree
	preflight func(ctx context.Context) error // whether it could be read now; may be nil
}

// sources turns the volumes of an application into what the engine reads, in the
// order of the configuration.
func (o *Options) sources(a *config.App) ([]source, error) {
	var list []source
	for _, v := range a.VolumeList() {
		s, err := sourceOf(a, v)
		if err != nil {
			return nil, fmt.Errorf("volume %s: %w", v.Name, err)
		}
		list = append(list, s)
	}
	return list, nil
}

func sourceOf(a *config.App, v *config.Volume) (s source, err error) {
	s = source{Volume: v, volume: archive.Volume{Name: v.Name}}
	switch v.Kind() {
	case "path":
		err = pathSource(&s, a, v.Path)
	case "command":
		s.stream = true
		s.volume.Source = checked(v, archive.Command{Argv: v.Command.Argv(), Env: append(a.Environment.List(), v.Command.Env.List()...), Dir: v.Command.Dir})
	default:
		err = fmt.Errorf("a volume from %s cannot be read by this version", v.Kind())
	}
	if err == nil && !s.stream {
		s.volume.Excludes, err = excludes(v)
	}
	return s, err
}

// checked makes a stream fail that is not as the configuration expects it.
func checked(v *config.Volume, o appsource.Opener) archive.Opener {
	return appsource.Checked(o, appsource.Expect{MinSize: uint64(v.MinSize), Tail: v.ExpectTail})
}

// pathSource reads a path. A symbolic link stands for what it leads to: who names a
// volume by a link means what is behind it.
func pathSource(s *source, a *config.App, path string) error {
	if !filepath.IsAbs(path) {
		first, rest, _ := strings.Cut(filepath.ToSlash(path), "/")
		root := a.Roots[first]
		if root == nil || root.Path == "" {
			return fmt.Errorf("%s: %s is no root with a path", path, first)
		}
		path = filepath.Join(root.Path, rest)
	}
	if real, err := filepath.EvalSymlinks(path); err == nil {
		s.volume.Source = archive.Path{Path: real}
	} else {
		s.volume.Source = archive.Path{Path: path} // which says why when it is read
	}
	s.preflight = func(context.Context) error {
		_, err := os.Stat(path)
		return err
	}
	return nil
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
