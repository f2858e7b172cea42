package sim

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"

	"vault/crypto"
	"vault/repo"
	"vault/snapshot"
)

// passphrase opens every repository of the simulation.
const passphrase = "simulated"

func pass() ([]byte, error) { return []byte(passphrase), nil }

// params make much of little data: nothing is compressed, so that no time goes
// into it, and small files have blobs of their own.
func params() repo.Params {
	p := repo.DefaultParams()
	p.PackSize = 64 << 10
	p.SegmentSize = 4 << 10
	p.Compression = 0
	p.Trees.InlineFile = 32
	p.Sharing = repo.SingleWriter // init is not what is simulated
	return p
}

// tree is something to back up: a directory on disk, and what is in it.
type tree struct {
	dir   string
	files map[string][]byte // by slash-separated path
}

// numTrees is how many there are. They share many of their files, some of
// their directories, and the inodes of both contents and names.
const numTrees = 10

// place is where this process keeps its trees and restores to.
var place = sync.OnceValue(func() string {
	base := "/dev/shm"
	if _, err := os.Stat(base); err != nil {
		base = ""
	}
	dir, err := os.MkdirTemp(base, "vault-sim-")
	if err != nil {
		panic("sim: " + err.Error())
	}
	return dir
})

// RemoveAll removes what the simulation has put on disk.
func RemoveAll() { os.RemoveAll(place()) }

// trees makes the trees, once. A file of theirs is a hard link to one of a pool,
// so that a client which takes another tree for the parent finds files unchanged.
var trees = sync.OnceValue(func() []tree {
	must := func(err error) {
		if err != nil {
			panic("sim: " + err.Error())
		}
	}
	rng := rand.New(rand.NewPCG(42, 42))
	pool := filepath.Join(place(), "pool")
	must(os.MkdirAll(pool, 0o700))
	contents := make([][]byte, 14)
	for i := range contents {
		b := make([]byte, []int{20, 150, 300, 700, 1500, 2500, 5000}[i%7])
		for j := range b {
			b[j] = byte(rng.Uint32())
		}
		contents[i] = b
		must(os.WriteFile(filepath.Join(pool, fmt.Sprint(i)), b, 0o600))
		canonical.add(filepath.Join(pool, fmt.Sprint(i)))
	}
	var list []tree
	for t := range numTrees {
		x := tree{dir: filepath.Join(place(), fmt.Sprintf("tree%d", t)), files: map[string][]byte{}}
		add := func(path string, i int) {
			full := filepath.Join(x.dir, path)
			must(os.MkdirAll(filepath.Dir(full), 0o700))
			must(os.Link(filepath.Join(pool, fmt.Sprint(i)), full))
			x.files[path] = contents[i]
		}
		for i := range 2 + t%3 {
			add(fmt.Sprintf("f%d", i), (t/2+i*3)%len(contents))
		}
		if t%4 != 3 {
			for i := range 3 {
				add(fmt.Sprintf("same/f%d", i), 7+(t%3)*2+i)
			}
		}
		if t%2 == 0 {
			add("own/only", t%len(contents))
		}
		canonical.addAll(x.dir)
		list = append(list, x)
	}
	return list
})

// errWrongBytes is what must never happen to anybody.
var errWrongBytes = errors.New("wrong bytes")

// readBack reads a backup through r and compares it with the tree.
func readBack(ctx context.Context, r snapshot.Source, b *snapshot.Backup, want tree) error {
	if len(b.Volumes) != 1 || b.Volumes[0].Root == nil || b.Volumes[0].State != snapshot.Complete {
		return fmt.Errorf("%w: not one complete volume", errWrongBytes)
	}
	got := map[string][]byte{}
	if err := readDir(ctx, r, b.Volumes[0].Root.Tree, "", got); err != nil {
		return err
	}
	if !maps.EqualFunc(got, want.files, bytes.Equal) {
		return fmt.Errorf("%w: %d files, %d expected", errWrongBytes, len(got), len(want.files))
	}
	return nil
}

func readDir(ctx context.Context, r snapshot.Source, top crypto.ID, path string, got map[string][]byte) error {
	d := snapshot.NewDirReader(ctx, r, top)
	for {
		n, err := d.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		name := path + n.Name
		if n.IsDir() {
			if err := readDir(ctx, r, n.Tree, name+"/", got); err != nil {
				return err
			}
			continue
		}
		data := bytes.Clone(n.Content.Inline)
		for item, err := range snapshot.Items(ctx, r, n.Content, n.Size) {
			if err != nil {
				return err
			}
			part, err := r.Get(ctx, crypto.BlobData, item.ID, nil)
			if err != nil {
				return err
			}
			data = append(data, part...)
		}
		got[name] = data
	}
}
