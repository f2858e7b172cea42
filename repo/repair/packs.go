package repair

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"sync"

	"vault/backend"
	"vault/crypto"
	"vault/index"
	"vault/pack"
	"vault/repo"
)

// isDamage tells damage of a pack from a storage that could not be asked and
// from a pack that a newer program made.
func isDamage(err error) bool {
	for _, sort := range []error{crypto.ErrDamaged, crypto.ErrTampered, crypto.ErrForeign, fs.ErrNotExist, io.ErrUnexpectedEOF} {
		if errors.Is(err, sort) {
			return true
		}
	}
	return false
}

// examine looks at every pack that the index describes, and returns those that
// are damaged or missing.
func (t *task) examine(ctx context.Context, c *repo.Collection) (map[pack.ID]error, error) {
	var packs []index.PackInfo
	seen := map[pack.ID]bool{}
	for s := range c.Index().Segments() {
		for p := range s.Packs() {
			if _, known := t.verdicts[p.ID]; !known && !seen[p.ID] {
				packs = append(packs, p)
			}
			seen[p.ID] = true
		}
	}
	var mu sync.Mutex // guards t.verdicts
	err := each(ctx, t.o.Workers, packs, func(ctx context.Context, p index.PackInfo) error {
		size, listed := c.PackSizes()[p.ID]
		if !listed {
			size = int64(p.Size) // a listing proves nothing
		}
		err := t.twice(func() error { return t.look(ctx, p, size) })
		if err != nil && !isDamage(err) {
			return fmt.Errorf("examine pack %s: %w", p.ID, err)
		}
		mu.Lock()
		defer mu.Unlock()
		t.verdicts[p.ID] = err
		return nil
	})
	bad := map[pack.ID]error{}
	for id := range seen {
		if verdict := t.verdicts[id]; verdict != nil {
			bad[id] = verdict
		}
	}
	return bad, err
}

// twice takes damage for real only if it is there at a second look.
func (t *task) twice(look func() error) error {
	err := look()
	if err != nil && isDamage(err) {
		err = look()
	}
	return err
}

// look reads a pack's directory, or all of it.
func (t *task) look(ctx context.Context, p index.PackInfo, size int64) error {
	if size != int64(p.Size) {
		return fmt.Errorf("it has %d bytes, the index says %d: %w", size, p.Size, crypto.ErrDamaged)
	}
	read := func(off int64, dst []byte) error {
		return backend.ReadRange(ctx, t.r.Backend(), p.ID.Path(), off, dst)
	}
	var file []byte
	if t.o.ReadData {
		file = make([]byte, size)
		if err := read(0, file); err != nil {
			return err
		}
		if pack.ID(crypto.FileHash(file)) != p.ID {
			return fmt.Errorf("its bytes are not those that it is named after: %w", crypto.ErrDamaged)
		}
		read = func(off int64, dst []byte) error {
			copy(dst, file[off:])
			return nil
		}
	}
	d, object, err := pack.ReadDirectory(t.r.Keys(), size, read)
	if err != nil {
		return err
	}
	if d.Kind != p.Kind || !slices.Equal(object.Header(), p.Header) {
		return fmt.Errorf("its header is not the one that the index recorded: %w", crypto.ErrDamaged)
	}
	if file == nil {
		return nil
	}
	return t.blobs(file, d, object)
}

// blobs reads every blob of a pack.
func (t *task) blobs(file []byte, d pack.Directory, object *crypto.Object) (err error) {
	coder := pack.NewCoder(pack.LevelNone)
	var plain []byte
	for _, s := range d.Segments {
		if plain, err = pack.OpenSegment(object, coder, s, file[s.Offset:][:s.Stored], plain); err != nil {
			return err
		}
		rest := plain
		for _, b := range s.Blobs {
			if t.r.BlobID(d.Kind, rest[:b.Length]) != b.ID {
				return fmt.Errorf("blob %s has other bytes than it is named after: %w", b.ID, crypto.ErrDamaged)
			}
			rest = rest[b.Length:]
		}
	}
	return nil
}

// describe reads the directories of packs that no index segment describes: for
// the index, but for those that a collection has given up, or all of them only
// to read from.
func (t *task) describe(ctx context.Context, s *survey, publish bool) error {
	type described struct {
		id     pack.ID
		size   int64
		header []byte
		dir    pack.Directory
		err    error // the directory cannot be read
		inside error // some of the rest cannot
	}
	var packs []described
	for _, id := range s.c.Unnamed() {
		if !s.aside[id] && !(publish && s.c.Doomed(id)) {
			packs = append(packs, described{id: id, size: s.c.PackSizes()[id]})
		}
	}
	slices.SortFunc(packs, func(a, b described) int { return slices.Compare(a.id[:], b.id[:]) })
	work := make([]*described, len(packs))
	for i := range packs {
		work[i] = &packs[i]
	}
	err := each(ctx, t.o.Workers, work, func(ctx context.Context, p *described) error {
		p.err = t.twice(func() error {
			d, object, err := pack.ReadDirectory(t.r.Keys(), p.size, func(off int64, dst []byte) error {
				return backend.ReadRange(ctx, t.r.Backend(), p.id.Path(), off, dst)
			})
			if err == nil {
				p.dir, p.header = d, object.Header()
			}
			return err
		})
		if p.err == nil && publish && t.o.ReadData {
			p.inside = t.twice(func() error {
				return t.look(ctx, index.PackInfo{ID: p.id, Size: uint32(p.size), Kind: p.dir.Kind, Header: p.header}, p.size)
			})
			if p.inside != nil && !isDamage(p.inside) {
				return fmt.Errorf("read pack %s: %w", p.id, p.inside)
			}
		}
		if p.err != nil && !isDamage(p.err) {
			return fmt.Errorf("read pack %s: %w", p.id, p.err)
		}
		return nil
	})
	if err != nil {
		return err
	}
	if s.aside == nil {
		s.aside, s.damaged = map[pack.ID]bool{}, map[pack.ID]bool{}
	}
	for _, p := range packs {
		switch {
		case errors.Is(p.err, fs.ErrNotExist):
		case p.err != nil:
			if publish {
				s.found.Unreadable = append(s.found.Unreadable, Damage{p.id.Path(), p.err})
			}
		case publish && p.inside == nil:
			err = s.c.Describe(p.id, p.size, p.header, p.dir)
			s.found.Undescribed = append(s.found.Undescribed, p.id)
		default:
			err = s.c.Aside(p.id, p.size, p.header, p.dir)
			s.aside[p.id], s.damaged[p.id] = true, p.inside != nil
		}
		if err != nil {
			return fmt.Errorf("index pack %s: %w", p.id, err)
		}
	}
	return s.c.Described()
}

// each runs f for every item on several goroutines, until one fails.
func each[T any](ctx context.Context, workers int, items []T, f func(context.Context, T) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	work := make(chan T)
	var wg sync.WaitGroup
	for range workers {
		wg.Go(func() {
			for item := range work {
				if ctx.Err() == nil {
					if err := f(ctx, item); err != nil {
						cancel(err)
					}
				}
			}
		})
	}
	for _, item := range items {
		work <- item
	}
	close(work)
	wg.Wait()
	return context.Cause(ctx)
}
