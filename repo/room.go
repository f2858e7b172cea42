package repo

import (
	"context"
	"errors"
	"fmt"
	"io"

	"vault/backend"
	"vault/pack"
)

// Where a store is a disk, it can be full to the last byte. Forgetting and
// collecting write a little before they delete much: so an object that nobody
// reads, the ballast, keeps room for them. It is deleted when there is none, and
// made again when a collection is done. Backups never touch it.

// withRoom calls f, and once more if there was no space and the ballast could go.
func (r *Repo) withRoom(ctx context.Context, f func() error) error {
	err := f()
	if errors.Is(err, backend.ErrNoSpace) && r.be.Delete(ctx, ballastName) == nil {
		err = f()
	}
	return err
}

// rowBytes is about what a blob takes in an index segment.
const rowBytes = 48

// Reserve sees to it that there is a ballast, if the environment wants one: as
// large as it says and as the index, which a collection writes anew, in whole MiB.
// Its bytes are random, since a file system may not store zeros. That there is no
// room is no error.
func (r *Repo) Reserve(ctx context.Context) error {
	if r.env.Ballast <= 0 {
		return nil
	}
	want := int64(r.env.Ballast)
	if v, err := r.current(ctx); err == nil {
		want += int64(v.index.Len()) * rowBytes >> 20 << 20
	}
	return r.reserve(ctx, want)
}

func (r *Repo) reserve(ctx context.Context, want int64) error {
	var last [1]byte
	err := backend.ReadRange(ctx, r.be, ballastName, want/4*3, last[:])
	if err == nil {
		return nil
	}
	if !isMissing(err) && !isShort(err) {
		return fmt.Errorf("reserve room: %w", err)
	}
	b := make([]byte, want)
	if _, err := io.ReadFull(r.env.Rand, b); err != nil {
		return fmt.Errorf("reserve room: %w", err)
	}
	if err := r.be.Put(ctx, ballastName, b); err != nil && !errors.Is(err, backend.ErrNoSpace) {
		return fmt.Errorf("reserve room: %w", err)
	}
	return nil
}

// Spare keeps a condemned pack after all: there is no room for copies of what
// lives in it. Writers that know the plan do not build upon it, which is a waste
// and nothing worse; a later plan may condemn it again. Call it before Close.
func (c *Collection) Spare(id pack.ID) {
	if c.spared == nil {
		c.spared = map[pack.ID]struct{}{}
	}
	c.spared[id] = struct{}{}
}

// Discard ends a Rescuer that has met no room, and deletes what it has stored, which
// nothing will ever name.
func (w *Writer) Discard(ctx context.Context) error {
	if !w.rescues {
		panic("repo: Discard of a backup")
	}
	w.fail(errFinished)
	w.finish()
	var names []string
	for _, p := range w.upload.packs {
		names = append(names, p.id.Path())
	}
	for _, name := range w.Published() {
		names = append(names, indexName(name))
	}
	for _, name := range names {
		if err := w.r.be.Delete(ctx, name); err != nil && !isMissing(err) {
			return err
		}
	}
	return nil
}
