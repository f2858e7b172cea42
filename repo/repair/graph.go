package repair

import (
	"context"
	"errors"
	"sync"

	"vault/crypto"
	"vault/index"
	"vault/internal/worklist"
	"vault/pack"
	"vault/repo"
	"vault/snapshot"
)

var errNowhere = errors.New("no pack that is known holds it")

// isLost reports whether err says that a blob is not to be had.
func isLost(err error) bool {
	var lost *repo.BlobError
	return errors.As(err, &lost)
}

// graph is what backups refer to: their pages, and of data what is lost. Pages
// that several backups share are in it once.
type graph struct {
	pages    map[crypto.ID]*page
	lost     map[blob]struct{}
	suspects map[pack.ID]error // packs with pages that cannot be read
}

// page is one tree page.
type page struct {
	below []crypto.ID // pages that it names
	data  []crypto.ID // data blobs that it names and that are lost
	gone  bool        // it cannot be read itself
	state uint8       // of the search for losses below it
}

// whole reports whether nothing is lost.
func (g *graph) whole() bool { return len(g.lost) == 0 }

// gaps reports whether pages are lost: what is below them is not known.
func (g *graph) gaps() bool {
	for b := range g.lost {
		if b.kind == crypto.BlobTree {
			return true
		}
	}
	return false
}

// follow reads every page that a backup needs, once, and looks every data blob
// up. What is in gone counts as lost. What it meets it marks, and what
// checkpoints hold.
func follow(ctx context.Context, c *repo.Collection, marks *index.Marks, gone map[blob]struct{}, workers int) (*graph, error) {
	f := &follower{c: c, ix: c.Sources(), marks: marks, gone: gone,
		g: &graph{pages: map[crypto.ID]*page{}, lost: map[blob]struct{}{}, suspects: map[pack.ID]error{}}}
	for _, b := range c.Saved() {
		for i := range b.Volumes {
			if root := b.Volumes[i].Root; root != nil {
				for ref := range snapshot.RefsOf(root) {
					f.visit(nil, ref)
				}
			}
		}
	}
	err := f.todo.Run(ctx, workers, func(ctx context.Context) func(crypto.ID) error {
		var buf []byte
		return func(id crypto.ID) (err error) {
			buf, err = f.read(ctx, id, buf)
			return err
		}
	})
	for _, s := range c.Held() { // after the pages
		for id, loc := range s.All() {
			marks.Mark(loc.Kind, id)
		}
	}
	return f.g, err
}

type follower struct {
	c     *repo.Collection
	ix    *index.Index
	marks *index.Marks
	gone  map[blob]struct{}
	todo  worklist.List[crypto.ID]

	mu sync.Mutex // guards the graph and its pages
	g  *graph
}

// visit notes a reference that stands in a page, or in a commit.
func (f *follower) visit(in *page, ref snapshot.Ref) {
	known, _ := f.marks.Mark(ref.Kind, ref.ID)
	b := blob{ref.Kind, ref.ID}
	_, gone := f.gone[b]
	f.mu.Lock()
	defer f.mu.Unlock()
	if ref.Kind == crypto.BlobData {
		if !known || gone {
			f.g.lost[b] = struct{}{}
			if in != nil {
				in.data = append(in.data, ref.ID)
			}
		}
		return
	}
	if in != nil {
		in.below = append(in.below, ref.ID)
	}
	if f.g.pages[ref.ID] == nil {
		f.g.pages[ref.ID] = new(page)
		f.todo.Add(ref.ID)
	}
}

// read reads one page and visits what it names.
func (f *follower) read(ctx context.Context, id crypto.ID, buf []byte) ([]byte, error) {
	f.mu.Lock()
	p := f.g.pages[id]
	f.mu.Unlock()
	b := blob{crypto.BlobTree, id}
	_, gone := f.gone[b]
	var err error
	if gone {
		err = &repo.BlobError{ID: id, Kind: crypto.BlobTree, Err: errNowhere}
	} else {
		buf, err = getBlob(ctx, f.c, f.ix, crypto.BlobTree, id, buf, func(pack.ID) bool { return true })
	}
	if err != nil && !isLost(err) {
		return buf, err
	}
	if err == nil {
		for ref, rerr := range snapshot.Refs(buf) {
			if rerr != nil { // no writer makes such a page
				err = rerr
				break
			}
			f.visit(p, ref)
		}
		if err == nil {
			return buf, nil
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	p.gone = true
	f.g.lost[b] = struct{}{}
	if isLost(err) && !gone {
		for loc := range f.ix.Lookup(id) {
			f.g.suspects[loc.Pack] = err
		}
	}
	return buf, nil
}

// States of the search for losses.
const (
	unknown = iota
	sound
	lossy
)

// lossy reports whether something is lost at or below a page. Pages are named
// after their content, so there are no cycles.
func (g *graph) lossy(id crypto.ID) bool {
	p := g.pages[id]
	if p == nil {
		return false
	}
	if p.state == unknown {
		p.state = sound
		if p.gone || len(p.data) > 0 {
			p.state = lossy
		}
		for _, below := range p.below {
			if p.state == sound && g.lossy(below) {
				p.state = lossy
			}
		}
	}
	return p.state == lossy
}
