package sim

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"vault/crypto"
	"vault/repo"
	"vault/snapshot"
	"vault/snapshot/archive"
)

// The archiver reads trees from a disk, and what a disk makes up - numbers of
// inodes, times of change, owners - is part of what it stores. So that a seed
// means the same on every machine, pages of directories are rewritten between
// archiver and repository: on the way in, each inode gets facts that depend on the
// tree alone; on the way out, to be compared with the disk, it gets its own again.

// facts are the fields of a node that a machine decides.
type facts struct {
	inode        uint64
	mode         uint32
	uid, gid     uint32
	user, group  string
	mtime, ctime snapshot.Time
	flags        uint32
	xattrs       []snapshot.Xattr
}

func factsOf(n *snapshot.Node) facts {
	return facts{n.Inode, n.Mode, n.UID, n.GID, n.User, n.Group, n.MTime, n.CTime, n.Flags, n.Xattrs}
}

func (f facts) put(n *snapshot.Node) {
	n.Inode, n.Mode, n.UID, n.GID, n.User, n.Group = f.inode, f.mode, f.uid, f.gid, f.user, f.group
	n.MTime, n.CTime, n.Flags, n.Xattrs = f.mtime, f.ctime, f.flags, f.xattrs
}

// made is when all files were made and changed, as far as a repository knows.
var made = epoch.AddDate(-10, 0, 0)

// canon translates. It is safe for concurrent use.
type canon struct {
	numbers map[uint64]uint64 // of inodes; never written after the trees are made

	mu    sync.Mutex                 // guards what follows
	real  map[uint64]facts           // by number, as the archiver saw them
	pages map[bool]map[string][]byte // translated before, by direction
}

var canonical = &canon{numbers: map[uint64]uint64{}, real: map[uint64]facts{}, pages: map[bool]map[string][]byte{false: {}, true: {}}}

// add numbers the inode of a path, unless it has a number.
func (c *canon) add(path string) {
	info, err := os.Lstat(path)
	if err != nil {
		panic("sim: " + err.Error())
	}
	inode := uint64(info.Sys().(*syscall.Stat_t).Ino)
	if _, ok := c.numbers[inode]; !ok {
		c.numbers[inode] = uint64(1000 + len(c.numbers))
	}
}

// addAll numbers everything below a path, in the order of names.
func (c *canon) addAll(root string) {
	err := filepath.WalkDir(root, func(path string, _ os.DirEntry, err error) error {
		if err == nil {
			c.add(path)
		}
		return err
	})
	if err != nil {
		panic("sim: " + err.Error())
	}
}

// in gives a node the facts that are the same everywhere.
func (c *canon) in(n *snapshot.Node) {
	number, ok := c.numbers[n.Inode]
	if !ok {
		panic(fmt.Sprintf("sim: internal error: %q has an unknown inode", n.Name))
	}
	if _, ok := c.real[number]; !ok {
		c.real[number] = factsOf(n.Clone())
	}
	mode := uint32(0o600)
	if n.IsDir() {
		mode = 0o700
	}
	facts{inode: number, mode: mode, mtime: snapshot.TimeOf(made), ctime: snapshot.TimeOf(made)}.put(n)
}

// out gives a node what the archiver saw.
func (c *canon) out(n *snapshot.Node) {
	if f, ok := c.real[n.Inode]; ok {
		f.put(n)
	}
}

// node translates a node of its own.
func (c *canon) node(n *snapshot.Node, change func(*snapshot.Node)) *snapshot.Node {
	c.mu.Lock()
	defer c.mu.Unlock()
	n = n.Clone()
	change(n)
	return n
}

// page translates the page of a directory.
func (c *canon) page(kind crypto.BlobKind, page []byte, in bool) ([]byte, error) {
	if kind != crypto.BlobTree {
		return page, nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if p, ok := c.pages[in][string(page)]; ok {
		return p, nil
	}
	change := c.out
	if in {
		change = c.in
	}
	var p onePage
	w := snapshot.NewDirWriter(&p, uncut{}, params().Trees)
	for n, err := range snapshot.ReadDir(context.Background(), onePage{page}, crypto.ID{}) {
		if err != nil {
			return nil, err
		}
		change(n)
		if err := w.Add(context.Background(), n); err != nil {
			return nil, err
		}
	}
	if _, err := w.Finish(context.Background()); err != nil {
		return nil, err
	}
	c.pages[in][string(page)] = p.data
	return p.data, nil
}

// onePage is a source and a sink of a single page.
type onePage struct{ data []byte }

// Get implements snapshot.Source.
func (p onePage) Get(_ context.Context, _ crypto.BlobKind, _ crypto.ID, dst []byte) ([]byte, error) {
	return append(dst[:0], p.data...), nil
}

// Put implements snapshot.Sink.
func (p *onePage) Put(_ context.Context, _ crypto.BlobKind, data []byte) (crypto.ID, error) {
	if p.data != nil {
		panic("sim: internal error: a directory of several pages")
	}
	p.data = append([]byte{}, data...)
	return crypto.ID{}, nil
}

// uncut never ends a page.
type uncut struct{}

// PageHash implements snapshot.Hasher.
func (uncut) PageHash(uint8, string) uint64 { return 1 }

// canonStore translates what the archiver stores.
type canonStore struct{ archive.Store }

// Put implements archive.Store.
func (s canonStore) Put(ctx context.Context, kind crypto.BlobKind, data []byte) (crypto.ID, bool, error) {
	data, err := canonical.page(kind, data, true)
	if err != nil {
		return crypto.ID{}, false, err
	}
	return s.Store.Put(ctx, kind, data)
}

// canonReader translates what the archiver reads of a parent.
type canonReader struct{ *repo.Repo }

// Get implements snapshot.Source.
func (r canonReader) Get(ctx context.Context, kind crypto.BlobKind, id crypto.ID, dst []byte) ([]byte, error) {
	dst, err := r.Repo.Get(ctx, kind, id, dst)
	if err != nil {
		return nil, err
	}
	page, err := canonical.page(kind, dst, false)
	if err != nil || kind != crypto.BlobTree {
		return page, err
	}
	return append(dst[:0], page...), nil
}

// archiveTree archives one of the trees, beside a backup if parent is not nil.
func archiveTree(ctx context.Context, r *repo.Repo, lane func() archive.Store, tree int, parent *snapshot.Backup, trusted bool, now func() time.Time) (archive.Report, error) {
	v := archive.Volume{Name: "data", Source: archive.Path{Path: trees()[tree].dir}}
	if parent != nil && parent.Volumes[0].Root != nil {
		p := &parent.Volumes[0]
		v.Parent = &archive.Parent{Root: canonical.node(p.Root, canonical.out), Trusted: trusted}
		// Whether the files had rested when the parent was made depends on when they
		// were changed as far as the repository knows, not on today's date.
		if p.ScanStarted.Compare(snapshot.TimeOf(made.Add(2*time.Second))) >= 0 {
			v.Parent.ScanStarted = snapshot.TimeOf(late())
		}
	}
	report, err := archive.Run(ctx, archive.Options{
		NewStore: func() archive.Store { return canonStore{lane()} },
		Reader:   canonReader{r}, Hasher: r, Chunker: r.Chunker(), Thresholds: r.Params().Trees, Workers: 1, Now: now,
	}, []archive.Volume{v})
	if err != nil {
		return report, err
	}
	vol := &report.Volumes[0]
	vol.Source = fmt.Sprintf("/tree%d", tree)
	if vol.Root != nil {
		vol.Root = canonical.node(vol.Root, canonical.in)
	}
	return report, nil
}
