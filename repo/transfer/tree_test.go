package transfer_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"vault/crypto"
	"vault/repo"
	"vault/snapshot"
)

// entry is an entry of a tree that does not know yet how a repository names
// things.
type entry struct {
	node     snapshot.Node
	pieces   []piece // of a file
	xattr    []byte  // value of user.long; nil: none
	children []*entry
}

// piece is a part of a file: data, or zeros that are a hole or were data.
type piece struct {
	data   []byte
	kind   snapshot.ItemKind
	length uint64
}

// maker makes trees; equal seeds give equal trees.
type maker struct {
	rng   *rand.Rand
	inode uint64
}

func newMaker(seed uint64) *maker { return &maker{rng: rand.New(rand.NewPCG(seed, 11))} }

func (m *maker) bytes(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(m.rng.Uint32() | 1)
	}
	return b
}

// dir makes a directory of n entries, with others below to that depth.
func (m *maker) dir(name string, n, depth int) *entry {
	m.inode++
	d := &entry{node: snapshot.Node{Name: name, Type: snapshot.Directory, Mode: 0o755, Inode: m.inode, User: "u"}}
	for i := range n {
		name := fmt.Sprintf("e%04d", i)
		if depth > 0 && i%5 == 0 {
			d.children = append(d.children, m.dir(name, m.rng.IntN(n), depth-1))
			continue
		}
		e := m.any(name)
		d.children = append(d.children, e)
		if e.node.Type == snapshot.File && m.rng.IntN(6) == 0 {
			e.node.Links = 2
			link := *e
			link.node.Name = name + "-link"
			d.children = append(d.children, &link)
		}
	}
	return d
}

// any makes an entry that is no directory.
func (m *maker) any(name string) *entry {
	m.inode++
	e := &entry{node: snapshot.Node{Name: name, Type: snapshot.File, Mode: 0o644, Inode: m.inode, UID: m.rng.Uint32N(3)}}
	switch m.rng.IntN(12) {
	case 0:
		e.node.Type, e.node.Target = snapshot.Symlink, "to/somewhere"
	case 1:
		e.node.Type, e.node.Major, e.node.Minor = snapshot.CharDevice, 1, 3
	case 2:
		e.node.Type = snapshot.FIFO
	case 3: // empty
	case 4, 5:
		m.add(e, 1+m.rng.IntN(128))
	case 6: // sparse
		m.add(e, 3000)
		e.pieces = append(e.pieces, piece{kind: snapshot.ItemHole, length: 70000}, piece{kind: snapshot.ItemZero, length: 9000})
		m.add(e, 500)
	case 7: // many pieces: a list
		for range 65 + m.rng.IntN(200) {
			m.add(e, 100+m.rng.IntN(400))
		}
	default:
		for range 1 + m.rng.IntN(4) {
			m.add(e, 129+m.rng.IntN(6000))
		}
	}
	if m.rng.IntN(5) == 0 {
		e.xattr = m.bytes([]int{5, 1024, 1025, 4000}[m.rng.IntN(4)])
	}
	return e
}

func (m *maker) add(e *entry, n int) {
	e.pieces = append(e.pieces, piece{kind: snapshot.ItemData, data: m.bytes(n), length: uint64(n)})
}

// sink lets a lane store pages.
type sink struct{ *repo.Lane }

func (s sink) Put(ctx context.Context, kind crypto.BlobKind, data []byte) (crypto.ID, error) {
	id, _, err := s.Lane.Put(ctx, kind, data)
	return id, err
}

// store stores a tree as a backup into r would, and returns its root.
func (e *entry) store(ctx context.Context, r *repo.Repo, l *repo.Lane) (*snapshot.Node, error) {
	n := e.node
	th := r.Params().Trees
	if e.xattr != nil {
		x := snapshot.Xattr{Name: "user.long", Value: e.xattr}
		if len(e.xattr) > th.InlineXattr {
			id, err := sink{l}.Put(ctx, crypto.BlobData, e.xattr)
			if err != nil {
				return nil, err
			}
			x = snapshot.Xattr{Name: x.Name, Blob: id, Length: uint64(len(e.xattr))}
		}
		n.Xattrs = []snapshot.Xattr{x}
	}
	switch n.Type {
	case snapshot.Directory:
		w := snapshot.NewDirWriter(sink{l}, r, th)
		for _, c := range e.children {
			k, err := c.store(ctx, r, l)
			if err == nil {
				err = w.Add(ctx, k)
			}
			if err != nil {
				return nil, err
			}
		}
		var err error
		n.Tree, err = w.Finish(ctx)
		return &n, err
	case snapshot.File:
		return &n, e.storeContent(ctx, r, l, &n)
	}
	return &n, nil
}

func (e *entry) storeContent(ctx context.Context, r *repo.Repo, l *repo.Lane, n *snapshot.Node) (err error) {
	n.Size = 0
	var all []byte
	for _, p := range e.pieces {
		n.Size += p.length
		if p.kind == snapshot.ItemData {
			all = append(all, p.data...)
		}
	}
	th := r.Params().Trees
	if n.Size <= uint64(th.InlineFile) {
		n.Content = snapshot.Content{Inline: all}
		return nil
	}
	w := snapshot.NewContentWriter(sink{l}, th)
	for _, p := range e.pieces {
		it := snapshot.Item{Kind: p.kind, Length: p.length}
		if p.kind == snapshot.ItemData {
			if it.ID, err = (sink{l}).Put(ctx, crypto.BlobData, p.data); err != nil {
				return err
			}
		}
		if err := w.Add(ctx, it); err != nil {
			return err
		}
	}
	n.Content, err = w.Finish(ctx)
	return err
}

// save commits volumes of these roots as a backup of r.
func save(t *testing.T, r *repo.Repo, b snapshot.Backup, roots map[string]*entry) *snapshot.Backup {
	t.Helper()
	w, err := r.Begin(t.Context(), repo.WriterOptions{})
	if err != nil {
		t.Fatal(err)
	}
	lane := w.Lane()
	names := make([]string, 0, len(roots))
	for name := range roots {
		names = append(names, name)
	}
	slices.Sort(names)
	if b.Host == "" {
		b.Host = "h"
	}
	for _, name := range names {
		root, err := roots[name].store(t.Context(), r, lane)
		if err != nil {
			t.Fatal(err)
		}
		b.Volumes = append(b.Volumes, snapshot.Volume{Name: name, Kind: snapshot.VolumePath, Source: "/" + name, State: snapshot.Complete, Root: root})
	}
	done, err := w.Commit(&b)
	if err != nil {
		t.Fatal(err)
	}
	return done
}

// must compares a volume with what a backup of the tree into r would have made:
// everything must be there, and have the same name.
func mustEqual(t *testing.T, r *repo.Repo, v *snapshot.Volume, e *entry) {
	t.Helper()
	w, err := r.Begin(t.Context(), repo.WriterOptions{DryRun: true})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Abort()
	want, err := e.store(t.Context(), r, w.Lane())
	if err != nil {
		t.Fatal(err)
	}
	a, err := snapshot.AppendBody(nil, want)
	if err != nil {
		t.Fatal(err)
	}
	b, err := snapshot.AppendBody(nil, v.Root)
	if err != nil {
		t.Fatal(err)
	}
	if string(a) != string(b) {
		t.Errorf("volume %s is not what a backup would have made: %+v, want %+v", v.Name, v.Root, want)
	}
	if n := w.Stats().Blobs; n != 0 {
		t.Errorf("volume %s: a backup would have stored %d blobs more", v.Name, n)
	}
}
