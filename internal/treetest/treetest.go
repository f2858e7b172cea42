// Package treetest makes small trees in memory, for tests of what reads them.
package treetest

import (
	"bytes"
	"context"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"testing"

	"vault/crypto"
	"vault/snapshot"
)

var keys = crypto.NewKeys(crypto.MasterKey{1}, crypto.RepoID{2}, crypto.AESGCM)

// Store keeps blobs in memory. It is for one goroutine.
type Store struct {
	Gets  int // blobs that were asked for
	blobs map[string][]byte
}

// NewStore returns an empty store.
func NewStore() *Store { return &Store{blobs: map[string][]byte{}} }

func key(kind crypto.BlobKind, id crypto.ID) string { return string(rune(kind)) + string(id[:]) }

// Put stores a blob and returns its name.
func (s *Store) Put(_ context.Context, kind crypto.BlobKind, data []byte) (crypto.ID, error) {
	id := keys.BlobID(kind, data)
	s.blobs[key(kind, id)] = bytes.Clone(data)
	return id, nil
}

// Get returns a blob.
func (s *Store) Get(_ context.Context, kind crypto.BlobKind, id crypto.ID, dst []byte) ([]byte, error) {
	s.Gets++
	b, ok := s.blobs[key(kind, id)]
	if !ok {
		return nil, fmt.Errorf("%s blob %s: %w", kind, id, fs.ErrNotExist)
	}
	return append(dst[:0], b...), nil
}

// Lose forgets a blob.
func (s *Store) Lose(kind crypto.BlobKind, id crypto.ID) { delete(s.blobs, key(kind, id)) }

// Tree makes a tree of "name=content" for files and "name/=" for directories,
// which must come before their entries; "name=content:mode" has another mode.
// Entries are stored in the order of their names, whatever that given.
func (s *Store) Tree(t testing.TB, entries ...string) *snapshot.Node {
	t.Helper()
	return s.Dir(t, below(entries, "", func(name, content string) *snapshot.Node {
		text, mode := strings.CutSuffix(content, ":mode")
		n := &snapshot.Node{Type: snapshot.File, Mode: 0o644, Size: uint64(len(text)), Content: snapshot.Content{Inline: []byte(text)}}
		if mode {
			n.Mode = 0o600
		}
		return n
	}, func(children []*snapshot.Node) *snapshot.Node { return s.Dir(t, children) }))
}

// below makes the entries that lie directly in dir.
func below(entries []string, dir string, file func(name, content string) *snapshot.Node, directory func([]*snapshot.Node) *snapshot.Node) (list []*snapshot.Node) {
	for _, e := range entries {
		p, content, _ := strings.Cut(e, "=")
		rest, inside := strings.CutPrefix(p, dir)
		name, isDir := strings.CutSuffix(rest, "/")
		if !inside || name == "" || strings.Contains(name, "/") {
			continue
		}
		var n *snapshot.Node
		if isDir {
			n = directory(below(entries, p, file, directory))
		} else {
			n = file(name, content)
		}
		n.Name = name
		list = append(list, n)
	}
	return list
}

// Dir stores a directory of these entries.
func (s *Store) Dir(t testing.TB, entries []*snapshot.Node) *snapshot.Node {
	t.Helper()
	slices.SortFunc(entries, func(a, b *snapshot.Node) int { return strings.Compare(a.Name, b.Name) })
	w := snapshot.NewDirWriter(s, keys, snapshot.DefaultThresholds())
	for _, n := range entries {
		if err := w.Add(t.Context(), n); err != nil {
			t.Fatal(err)
		}
	}
	top, err := w.Finish(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return &snapshot.Node{Type: snapshot.Directory, Mode: 0o755, Tree: top}
}
