// Package cache keeps copies of what a repository never changes - index
// segments, commits, events, packs of tree pages - on the local disk, so that a
// client of a distant store asks for each only once, and maps index segments
// into memory, so that they need no heap.
//
// Nothing depends on it. What it returns is either authenticated here (index
// segments, which are kept decrypted, and what is put like them) or by the caller (everything else, kept
// as it was stored); what is missing or not as it was written is dropped and
// fetched again. A cache may be deleted at any time. It must not be shortened
// in place while it is mapped, as with any mapped file; this package only ever
// replaces whole files.
package cache

import (
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"github.com/zeebo/blake3"
)

// Cache is a directory of copies, or - without one - only a way to map index
// segments. It is safe for concurrent use, also by several processes.
type Cache struct {
	dir string // "" for none
	key [32]byte

	mu     sync.Mutex // guards mapped
	mapped []mapping
}

// Open returns the cache of one repository under dir, which is created when
// something is first stored. key authenticates the decrypted index segments
// and must be secret.
func Open(dir, repository string, key [32]byte) *Cache {
	return &Cache{dir: filepath.Join(dir, repository), key: key}
}

// None returns a cache that keeps nothing. Index segments are mapped from
// unlinked temporary files.
func None() *Cache { return &Cache{} }

// macSize is the length of the authenticator in front of a segment's payload:
// BLAKE3, keyed, over its name and the payload.
const macSize = 32

func (c *Cache) mac(name [32]byte, payload []byte) (sum [macSize]byte) {
	h, err := blake3.NewKeyed(c.key[:])
	if err != nil {
		panic("cache: internal error: " + err.Error())
	}
	h.Write(name[:])
	h.Write(payload)
	h.Sum(sum[:0])
	return sum
}

func segmentFile(name [32]byte) string { return "index/" + fmt.Sprintf("%x", name[:]) }

// Segment returns the payload of an index segment that was added before,
// mapped, or false. It stays valid until Close and must not be changed.
func (c *Cache) Segment(name [32]byte) ([]byte, bool) {
	if c.dir == "" {
		return nil, false
	}
	f, err := os.Open(c.path(segmentFile(name)))
	if err != nil {
		return nil, false
	}
	defer f.Close()
	b, err := c.mapFile(f)
	if err != nil {
		return nil, false
	}
	if len(b) < macSize {
		os.Remove(f.Name())
		return nil, false
	}
	sum := c.mac(name, b[macSize:])
	if subtle.ConstantTimeCompare(sum[:], b[:macSize]) != 1 {
		os.Remove(f.Name())
		return nil, false
	}
	return b[macSize:], true
}

// AddSegment keeps the payload of an index segment and returns a mapped copy
// of it, so that the original can be let go. If it cannot be mapped, the
// original is returned.
func (c *Cache) AddSegment(name [32]byte, payload []byte) []byte {
	f, err := c.writeSegment(name, payload)
	if err != nil {
		return payload
	}
	defer f.Close()
	b, err := c.mapFile(f)
	if err != nil || len(b) != macSize+len(payload) {
		return payload
	}
	return b[macSize:]
}

// PutSegment keeps the payload of a segment for those who come later. That it
// cannot is nobody's error.
func (c *Cache) PutSegment(name [32]byte, payload []byte) {
	if c.dir == "" {
		return
	}
	if f, err := c.writeSegment(name, payload); err == nil {
		f.Close()
	}
}

// writeSegment writes a segment to a file, which is open and has its name, or
// none if there is no cache.
func (c *Cache) writeSegment(name [32]byte, payload []byte) (*os.File, error) {
	sum := c.mac(name, payload)
	f, err := c.temp("index")
	if err != nil {
		return nil, err
	}
	defer os.Remove(f.Name()) // gone already if it got its name
	if _, err = f.Write(sum[:]); err == nil {
		_, err = f.Write(payload)
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	if c.dir != "" {
		os.Rename(f.Name(), c.path(segmentFile(name)))
	}
	return f, nil
}

// Segments returns the names of the segments that are kept, in their order.
func (c *Cache) Segments() (names [][32]byte) {
	if c.dir == "" {
		return nil
	}
	files, _ := os.ReadDir(c.path("index"))
	for _, f := range files {
		if b, err := hex.DecodeString(f.Name()); err == nil && len(b) == 32 {
			names = append(names, [32]byte(b))
		}
	}
	return names
}

// DropSegment forgets a segment. What was mapped of it stays valid.
func (c *Cache) DropSegment(name [32]byte) { c.Drop(segmentFile(name)) }

// Get returns the copy of an object, or false. The caller verifies it, and
// calls Drop when it is not what it should be.
func (c *Cache) Get(name string) ([]byte, bool) {
	if c.dir == "" {
		return nil, false
	}
	b, err := os.ReadFile(c.path(name))
	return b, err == nil
}

// ReadAt fills dst from the copy of an object, and reports whether it could.
func (c *Cache) ReadAt(name string, dst []byte, off int64) bool {
	if c.dir == "" {
		return false
	}
	f, err := os.Open(c.path(name))
	if err != nil {
		return false
	}
	defer f.Close()
	_, err = f.ReadAt(dst, off)
	return err == nil
}

// Put keeps a copy of an object. That it cannot is nobody's error.
func (c *Cache) Put(name string, data []byte) {
	if c.dir == "" {
		return
	}
	f, err := c.temp(filepath.Dir(name))
	if err != nil {
		return
	}
	defer f.Close()
	if _, err := f.Write(data); err != nil || os.Rename(f.Name(), c.path(name)) != nil {
		os.Remove(f.Name())
	}
}

// Drop forgets an object.
func (c *Cache) Drop(name string) {
	if c.dir != "" {
		os.Remove(c.path(name))
	}
}

// Keep removes the copies under the directory ("index", "commits", ...) that
// keep says no to, and what interrupted processes left.
func (c *Cache) Keep(directory string, keep func(name string) bool) {
	if c.dir == "" {
		return
	}
	root := c.path(directory)
	filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return nil
		}
		name, err := filepath.Rel(c.dir, path)
		if err == nil && !strings.HasPrefix(d.Name(), tempPrefix) && !keep(filepath.ToSlash(name)) {
			os.Remove(path)
		}
		return nil
	})
}

// Close unmaps every segment: their payloads must not be used any more.
func (c *Cache) Close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	var errs []error
	for _, m := range c.mapped {
		errs = append(errs, m.unmap())
	}
	c.mapped = nil
	return errors.Join(errs...)
}

func (c *Cache) path(name string) string { return filepath.Join(c.dir, filepath.FromSlash(name)) }

const tempPrefix = ".tmp-"

// temp creates a temporary file: in the cache, or - already unlinked where the
// system allows it - anywhere.
func (c *Cache) temp(directory string) (*os.File, error) {
	if c.dir == "" {
		return os.CreateTemp("", "vault-index-")
	}
	dir := c.path(directory)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	return os.CreateTemp(dir, tempPrefix)
}

// mapFile maps the file and remembers the mapping for Close.
func (c *Cache) mapFile(f *os.File) ([]byte, error) {
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if info.Size() == 0 || info.Size() > 1<<31 {
		return nil, io.ErrUnexpectedEOF
	}
	m, err := newMapping(f, int(info.Size()))
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.mapped = append(c.mapped, m)
	return m, nil
}
