package check

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"

	"vault/crypto"
	"vault/internal/worklist"
	"vault/snapshot"
)

// root is where a walk began.
type root struct {
	backup *snapshot.Backup
	volume *snapshot.Volume
}

// directory is one whose references are to be followed.
type directory struct {
	top  crypto.ID
	root *root
	path string
}

// walker follows the references of all backups. A directory that several
// backups share is followed once, so that the work is that of the different
// directories there are, however often they are referred to.
type walker struct {
	c *checker

	dirs worklist.List[directory]
	mu   sync.Mutex // guards seen
	seen map[crypto.ID]struct{}
}

// references proves that everything the backups refer to is there: every page
// decodes and fits its neighbours, every blob is in the index with the length
// and the kind that is expected.
func (c *checker) references() {
	w := &walker{c: c, seen: map[crypto.ID]struct{}{}}
	for _, b := range c.roots {
		if c.o.Only != nil && !slices.Contains(c.o.Only, b.ID) {
			continue
		}
		for i := range b.Volumes {
			if v := &b.Volumes[i]; v.Root != nil {
				w.node(v.Root, &root{b, v}, "")
			}
		}
	}
	w.dirs.Run(c.ctx, c.o.Workers, func(context.Context) func(directory) error {
		return func(d directory) error {
			w.follow(d)
			c.dirs.Add(1)
			c.progress()
			return nil
		}
	})
}

func (w *walker) push(d directory) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if _, ok := w.seen[d.top]; ok {
		return
	}
	w.seen[d.top] = struct{}{}
	w.dirs.Add(d)
}

// follow reads one directory and looks at each of its entries.
func (w *walker) follow(d directory) {
	reader := snapshot.NewDirReader(w.c.ctx, w.c.r, d.top)
	for {
		n, err := reader.Next()
		if errors.Is(err, io.EOF) {
			return
		}
		if err != nil {
			w.problem(d.root, d.path, fmt.Errorf("read directory: %w", err))
			return
		}
		w.node(n, d.root, d.path+"/"+n.Name)
	}
}

// node looks at what one entry refers to. It does not keep n.
func (w *walker) node(n *snapshot.Node, root *root, path string) {
	for _, x := range n.Xattrs {
		if !x.Blob.IsZero() {
			w.data(root, path, x.Blob, x.Length)
		}
	}
	switch n.Type {
	case snapshot.Directory:
		w.push(directory{top: n.Tree, root: root, path: path})
	case snapshot.File:
		for item, err := range snapshot.Items(w.c.ctx, w.c.r, n.Content, n.Size) {
			if err != nil {
				w.problem(root, path, fmt.Errorf("read content list: %w", err))
				return
			}
			if item.Kind == snapshot.ItemData && !w.data(root, path, item.ID, item.Length) {
				return
			}
		}
	}
}

// data looks a data blob up and reports whether it is all right.
func (w *walker) data(root *root, path string, id crypto.ID, length uint64) bool {
	var err error
	for loc := range w.c.ix.Lookup(id) {
		switch {
		case loc.Kind != crypto.BlobData:
			continue
		case uint64(loc.Length) == length:
			return true
		}
		err = fmt.Errorf("blob %s has %d bytes, the backup says %d", id, loc.Length, length)
	}
	if err == nil {
		err = fmt.Errorf("blob %s is in no pack that the index knows", id)
	}
	w.problem(root, path, err)
	return false
}

func (w *walker) problem(root *root, path string, err error) {
	w.c.report(Problem{Backup: root.backup.ID, Volume: root.volume.Name, Path: path, Err: err})
}
