package torture

import (
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"vault/internal/fidelity"
)

// source is what one host backs up: a tree that changes between runs, and a file
// whose contents a command prints.
type source struct {
	host string
	dir  string // holds tree and dump
	rng  *rand.Rand
	n    int // attempts
}

// copyOf is a source as it was at one attempt.
type copyOf struct {
	tag  string
	host string
	tree fidelity.Tree
	dump fidelity.Tree // without the metadata that a command's output cannot have
}

func newSource(dir, host string, seed uint64) (*source, error) {
	s := &source{host: host, dir: dir, rng: rand.New(rand.NewPCG(seed, 3))}
	for _, d := range []string{"a", "b/c", "b/d"} {
		if err := os.MkdirAll(filepath.Join(s.tree(), d), 0o755); err != nil {
			return nil, err
		}
	}
	for range 20 {
		if err := s.write(); err != nil {
			return nil, err
		}
	}
	return s, errors.Join(
		os.WriteFile(filepath.Join(s.tree(), "big"), block(uint64(s.rng.IntN(4))+900, 500_000), 0o600),
		os.WriteFile(s.dump(), block(s.rng.Uint64(), 30_000), 0o644))
}

func (s *source) tree() string { return filepath.Join(s.dir, "tree") }
func (s *source) dump() string { return filepath.Join(s.dir, "dump") }

// block returns bytes that depend on the seed, half of them easy to compress.
func block(seed uint64, size int) []byte {
	rng := rand.New(rand.NewPCG(seed, 1))
	b := make([]byte, size)
	for i := range b {
		if b[i] = byte(rng.Uint32()); i%8192 >= 6000 {
			b[i] &= 1
		}
	}
	return b
}

// write writes a file. There are only 50 contents for all hosts, so that what one
// has given up, and a collection may be deleting, another stores anew.
func (s *source) write() error {
	seed := uint64(s.rng.IntN(50))
	size := []int{0, 40, 127, 129, 3000, 20_000, 70_000}[seed%7]
	return s.place(block(seed, size))
}

func (s *source) place(data []byte) error {
	dir := []string{".", "a", "b", "b/c", "b/d"}[s.rng.IntN(5)]
	name := filepath.Join(s.tree(), dir, fmt.Sprintf("f%d", s.rng.IntN(12)))
	if err := os.RemoveAll(name); err != nil {
		return err
	}
	if err := os.WriteFile(name, data, 0o600|fs.FileMode(s.rng.IntN(8)*9)); err != nil {
		return err
	}
	if s.rng.IntN(2) == 0 {
		when := time.Unix(int64(s.rng.Uint32()), int64(s.rng.IntN(1e9)))
		return os.Chtimes(name, when, when)
	}
	return nil
}

// mutate changes a few things.
func (s *source) mutate() error {
	var errs []error
	for range 1 + s.rng.IntN(6) {
		errs = append(errs, s.change())
	}
	return errors.Join(errs...)
}

func (s *source) change() error {
	switch s.rng.IntN(9) {
	case 0: // never seen before
		return s.place(block(s.rng.Uint64(), 1+s.rng.IntN(30_000)))
	case 1: // inserted into a file of several chunks
		name := filepath.Join(s.tree(), "big")
		b, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		at := s.rng.IntN(len(b))
		return os.WriteFile(name, slices.Insert(b, at, block(s.rng.Uint64(), 1+s.rng.IntN(500))...), 0o600)
	case 2:
		return os.WriteFile(filepath.Join(s.tree(), "big"), block(uint64(s.rng.IntN(4))+900, 500_000), 0o600)
	case 3:
		return os.WriteFile(s.dump(), block(uint64(s.rng.IntN(6))+500, 20_000+s.rng.IntN(2)*40_000), 0o644)
	case 4:
		link := filepath.Join(s.tree(), "a", "link")
		os.Remove(link)
		return os.Symlink(fmt.Sprintf("../f%d", s.rng.IntN(100)), link)
	case 5: // a second name
		link := filepath.Join(s.tree(), "b", "hard")
		os.Remove(link)
		return os.Link(filepath.Join(s.tree(), "big"), link)
	case 6:
		err := unix.Setxattr(filepath.Join(s.tree(), "a"), "user.torture", []byte(fmt.Sprint(s.rng.IntN(100))), 0)
		if errors.Is(err, unix.ENOTSUP) {
			return nil
		}
		return err
	case 7:
		return os.Chmod(filepath.Join(s.tree(), "b"), 0o700|fs.FileMode(s.rng.IntN(64)))
	default:
		return s.write()
	}
}

// attempt copies the source as it is now, under a tag of its own.
func (s *source) attempt() (*copyOf, error) {
	s.n++
	c := &copyOf{tag: fmt.Sprintf("attempt=%s-%d", s.host, s.n), host: s.host}
	var err error
	c.tree, c.dump, err = look(s.dir)
	return c, err
}

// look scans the volumes below a directory.
func look(dir string) (tree, dump fidelity.Tree, err error) {
	if tree, err = fidelity.Scan(filepath.Join(dir, "tree"), fidelity.ScanOptions{MinHole: 1 << 40}); err != nil {
		return nil, nil, err
	}
	all, err := fidelity.Scan(dir, fidelity.ScanOptions{MinHole: 1 << 40, Prune: func(p string) bool { return p != "dump" }})
	if err != nil {
		return nil, nil, err
	}
	d := all["dump"]
	if d == nil {
		return nil, nil, fmt.Errorf("%s holds no dump", dir)
	}
	return tree, fidelity.Tree{"dump": {Type: d.Type, Size: d.Size, Content: d.Content}}, nil
}

// differences compares what was restored to dir with the copy.
func (c *copyOf) differences(dir string) ([]string, error) {
	tree, dump, err := look(dir)
	if err != nil {
		return nil, err
	}
	return append(fidelity.Compare(c.tree, tree), fidelity.Compare(c.dump, dump)...), nil
}
