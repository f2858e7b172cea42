package ns8

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"strings"

	"vault/snapshot"
)

// EnvironmentFile is the name of state/environment in the state directory.
const EnvironmentFile = environment

// maxEnvironment bounds the file state/environment.
const maxEnvironment = 1 << 20

// Environment reads state/environment out of the saved state, before anything is
// restored: it says which module this is (IMAGE_URL, MODULE_ID, MODULE_UUID), and so
// which one must be made. The root is that of the Part "state".
func Environment(ctx context.Context, src snapshot.Source, root *snapshot.Node) (map[string]string, error) {
	n, err := child(ctx, src, root, environment)
	if err == nil && n.Type != snapshot.File {
		err = fmt.Errorf("it is a %v", n.Type)
	}
	if err == nil && n.Size > maxEnvironment {
		err = fmt.Errorf("it has %d bytes, limit %d", n.Size, maxEnvironment)
	}
	var text []byte
	if err == nil {
		text, err = io.ReadAll(io.NewSectionReader(snapshot.NewReader(ctx, src, n), 0, int64(n.Size)))
	}
	if err != nil {
		return nil, fmt.Errorf("read %s/%s of the backup: %w", stateDir, environment, err)
	}
	return parseEnvironment(text), nil
}

func child(ctx context.Context, src snapshot.Source, dir *snapshot.Node, name string) (*snapshot.Node, error) {
	if !dir.IsDir() {
		return nil, errors.New("the state is no directory")
	}
	for n, err := range snapshot.ReadDir(ctx, src, dir.Tree) {
		if err != nil || n.Name == name {
			return n, err
		}
	}
	return nil, fs.ErrNotExist
}

// parseEnvironment reads lines of the form NAME=VALUE. The last of a name counts.
func parseEnvironment(text []byte) map[string]string {
	out := map[string]string{}
	for line := range bytes.Lines(text) {
		name, value, ok := strings.Cut(strings.TrimRight(string(line), "\r\n"), "=")
		if name = strings.TrimSpace(name); ok && name != "" && name[0] != '#' {
			out[name] = value
		}
	}
	return out
}

// IsEnvironment reports whether an entry of a Part is state/environment, which
// NethServer writes itself for the new module and which is not restored over that.
func IsEnvironment(prefix, p string) bool { return prefix == stateDir && p == environment }

// WithoutAttrs returns a choice of extended attributes for a restore: all but those
// that match a pattern such as "security.*".
func WithoutAttrs(patterns ...string) (func(name string) bool, error) {
	for _, p := range patterns {
		if _, err := path.Match(p, ""); err != nil {
			return nil, fmt.Errorf("attribute pattern %q: %w", p, err)
		}
	}
	return func(name string) bool {
		for _, p := range patterns {
			if ok, _ := path.Match(p, name); ok {
				return false
			}
		}
		return true
	}, nil
}

// RenameKey returns under which key of Redis a saved one is restored for a module of
// another number: module/OLD/... becomes module/NEW/..., any other stays.
func RenameKey(from, to string) func(key string) string {
	return func(key string) string {
		if rest, ok := strings.CutPrefix(key, "module/"+from+"/"); ok {
			return "module/" + to + "/" + rest
		}
		return key
	}
}
