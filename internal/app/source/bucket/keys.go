package bucket

import (
	"fmt"
	"slices"
	"strings"

	"vault/internal/app/source"
	"vault/snapshot"
	"vault/snapshot/archive"
)

// self is the name of the object whose key is also the path of a directory: the
// object "a" beside "a/b" is "a/%self". EscapeName gives this name to no key.
const self = "%self"

// pathOf returns the path of a key: its parts between slashes, each as
// source.EscapeName says, so "a//b" is "a/%/b", and "a/" is "a/%".
func pathOf(key string) string {
	parts := strings.Split(key, "/")
	for i, p := range parts {
		parts[i] = source.EscapeName(p)
	}
	return strings.Join(parts, "/")
}

// keyOf returns the key of a path.
func keyOf(path string) (string, error) {
	parts := strings.Split(path, "/")
	if n := len(parts); n > 1 && parts[n-1] == self {
		parts = parts[:n-1]
	}
	for i, p := range parts {
		var err error
		if parts[i], err = source.UnescapeName(p); err != nil {
			return "", fmt.Errorf("%q is the path of no key: %w", path, err)
		}
	}
	return strings.Join(parts, "/"), nil
}

// object is what is remembered of a listed object until it is its turn.
type object struct {
	path, etag string
	size       int64
	modified   snapshot.Time
}

// arrange puts objects into the order of a walk, and those aside whose path is that of
// a directory.
func arrange(list []object) {
	byPath := func(a, b object) int { return archive.ComparePaths(a.path, b.path) }
	slices.SortFunc(list, byPath)
	moved := false
	for i := range len(list) - 1 {
		if strings.HasPrefix(list[i+1].path, list[i].path+"/") {
			list[i].path += "/" + self
			moved = true
		}
	}
	if moved {
		slices.SortFunc(list, byPath)
	}
}
