// Package pins is a client's memory of repositories: which one it has seen at
// which place.
//
// The memory is what tells an empty disk from a disk that is not mounted: where
// a repository was seen before, none is made without being asked for, and
// another one in its place is noticed. It is kept in the state directory, one
// small file a place, replaced durably and in one step; it is not a cache.
// Losing it loses that protection until the next use, and nothing else.
package pins

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"vault/internal/durable"
)

// Memory is the state directory. The zero Memory remembers nothing.
type Memory struct{ dir string }

// In returns the memory in a state directory, which need not exist.
func In(dir string) Memory { return Memory{dir: dir} }

// pin is the content of a file, for people as well.
type pin struct {
	Location   string `json:"location"`
	Repository string `json:"repository_id"`
}

// maxPin is more than the longest location takes.
const maxPin = 64 << 10

// File returns the file that remembers a place.
func (m Memory) File(location string) string {
	sum := sha256.Sum256([]byte(location))
	return filepath.Join(m.dir, "repositories", hex.EncodeToString(sum[:16])+".json")
}

// Recall returns the id of the repository that was seen at a place, or "" if
// none was. An error means that the memory cannot be read.
func (m Memory) Recall(location string) (id string, err error) {
	if m.dir == "" {
		return "", nil
	}
	name := m.File(location)
	info, err := os.Stat(name)
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	if err == nil && info.Size() > maxPin {
		err = fmt.Errorf("%d bytes, limit %d", info.Size(), maxPin)
	}
	var b []byte
	if err == nil {
		b, err = os.ReadFile(name)
	}
	var p pin
	if err == nil {
		err = json.Unmarshal(b, &p)
	}
	if err == nil && (p.Location != location || p.Repository == "") {
		err = errors.New("it does not describe this place")
	}
	if err != nil {
		return "", fmt.Errorf("read what is remembered of %s: %s: %w", location, name, err)
	}
	return p.Repository, nil
}

// Remember records the repository at a place, durably.
func (m Memory) Remember(location, id string) error {
	if m.dir == "" {
		return nil
	}
	name := m.File(location)
	b, err := json.Marshal(pin{Location: location, Repository: id})
	if err == nil {
		err = os.MkdirAll(filepath.Dir(name), 0o700)
	}
	if err == nil {
		err = durable.WriteFile(name, append(b, '\n'), 0o600)
	}
	if err != nil {
		return fmt.Errorf("remember %s: %w", location, err)
	}
	return nil
}
