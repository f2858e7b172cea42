package repo

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync"

	"vault/backend"
	"vault/crypto"
)

// A commit whose record was created is acknowledged only if it counts, and if it
// still lies in the repository that was opened: somebody may have emptied that
// meanwhile, or unmounted it under a server, and a store makes anew the directories
// that are gone. So three things are asked for at the same time, none of which
// waits for another:
//
//   - gc/: a collection may have closed without the commit;
//   - the config, which never changes, and a key slot;
//   - what this session has stored itself, since what was stored before it is gone
//     may be gone with it. A near store is asked for all of it. A distant one is
//     asked for the oldest, the newest and some between: what empties a directory
//     begins with what is old.
//
// What was there before the session is not looked at: that is what check is for, and
// a backup is worth storing in a damaged repository, too.

// ErrVanished says that the repository that was opened is not there any more, in
// whole or in part. An error that matches it is a [*StateError] as well, of a damaged
// repository.
var ErrVanished = errors.New("the repository has vanished, or was emptied, while it was written to")

func vanished(object string, err error) error {
	return &StateError{State: Damaged, Object: object, Err: fmt.Errorf("%w: %w", ErrVanished, err)}
}

// Present looks whether the repository is still the one that was opened, with two
// small requests at once. The error matches ErrVanished if it is not; any other
// says that this could not be told.
func (r *Repo) Present(ctx context.Context) error {
	var key error
	var wg sync.WaitGroup
	wg.Go(func() { key = r.presentKey(ctx) })
	config := r.presentConfig(ctx)
	wg.Wait()
	if config != nil {
		return config
	}
	return key
}

func (r *Repo) presentConfig(ctx context.Context) error {
	there := make([]byte, len(r.config))
	err := backend.ReadRange(ctx, r.be, configName, 0, there)
	switch {
	case isMissing(err), isShort(err):
		return vanished(configName, err)
	case err != nil:
		return unreachable(configName, err)
	case !bytes.Equal(there, r.config):
		return vanished(configName, errors.New("it is another one now"))
	}
	return nil
}

// presentKey looks for the key slot that opened the repository. That may have been
// removed since, by who has another.
func (r *Repo) presentKey(ctx context.Context) error {
	name := slotName(r.slot)
	gone := backend.ReadRange(ctx, r.be, name, 0, make([]byte, 1))
	switch {
	case gone == nil:
		return nil
	case !isMissing(gone) && !isShort(gone):
		return unreachable(name, gone)
	}
	for info, err := range r.be.List(ctx, keysDir) {
		if err != nil {
			return unreachable(keysDir, err)
		}
		if OwnName(info.Name) {
			return nil
		}
	}
	return vanished(keysDir, gone)
}

// landmark is a byte of an object that this session has stored.
type landmark struct {
	name string
	at   int64
}

// How many of its packs, and of its segments and checkpoints, a session looks for
// in a distant store.
const (
	samplePacks   = 8
	sampleRecords = 4
)

// landmarks are what tells that the session's objects are still there: of packs the
// last byte, of the others, which are small, the first.
func (w *Writer) landmarks() []landmark {
	u := w.upload
	u.mu.Lock()
	defer u.mu.Unlock()
	packs, records := u.packs, u.records
	if w.r.env.CacheObjects {
		packs, records = sample(packs, samplePacks), sample(records, sampleRecords)
	}
	list := make([]landmark, 0, len(packs)+len(records))
	for _, p := range packs {
		list = append(list, landmark{p.id.Path(), int64(p.size) - 1})
	}
	for _, name := range records {
		list = append(list, landmark{name, 0})
	}
	return list
}

// sample returns n of a list, the first and the last among them, or all.
func sample[T any](list []T, n int) []T {
	if len(list) <= n {
		return list
	}
	some := make([]T, n)
	for i := range some {
		some[i] = list[i*(len(list)-1)/(n-1)]
	}
	return some
}

// presentOwn looks for what this session has stored. Only while no collection has
// closed is an object that is missing one that has vanished.
func (w *Writer) presentOwn(ctx context.Context) error {
	list := w.landmarks()
	found := each(ctx, w.r.atOnce(), list, func(ctx context.Context, l landmark) (struct{}, error) {
		err := backend.ReadRange(ctx, w.r.be, l.name, l.at, make([]byte, 1))
		if isShort(err) {
			err = damaged(l.name, err)
		}
		return struct{}{}, err
	})
	for i, f := range found {
		switch {
		case isMissing(f.err), StateOf(f.err) == Damaged:
			return vanished(list[i].name, f.err)
		case f.err != nil:
			return unreachable(list[i].name, f.err)
		}
	}
	return nil
}

// acknowledge looks whether the commit, which has just been created, counts, and
// whether the repository still holds it and what it names.
func (w *Writer) acknowledge(name string) error {
	var place, own error
	var wg sync.WaitGroup
	wg.Go(func() { place = w.r.Present(w.ctx) })
	wg.Go(func() { own = w.presentOwn(w.ctx) })
	taken, err := w.taken()
	wg.Wait()
	if err == nil && own != nil && !taken {
		taken, err = w.taken() // it may have closed meanwhile, and have moved what is missing
	}
	if taken {
		own = nil
	}
	for _, err := range []error{err, place, own} {
		switch {
		case errors.Is(err, ErrVoid):
			return ErrVoid
		case errors.Is(err, ErrVanished):
			return fmt.Errorf("nothing was saved: %w", err)
		}
	}
	if err = errors.Join(err, place, own); err != nil {
		return fmt.Errorf("%s is stored, but whether it counts is not known: %w", name, err)
	}
	return nil
}

// taken reports whether a collection has closed since the session began, which may
// have moved what the session has stored: with a later plan it has listed the commit,
// and if it has not, that is ErrVoid; with the plan that the session found, it leaves
// the packs alone but may have put the index segments together. A done that is gone
// when it is read was followed by a newer one.
func (w *Writer) taken() (closed bool, err error) {
	for range reloads {
		if closed, err = w.closed(); !isMissing(err) || errors.Is(err, ErrVanished) {
			break
		}
	}
	return closed, err
}

func (w *Writer) closed() (bool, error) {
	g, err := w.r.listGC(w.ctx)
	switch {
	case err != nil:
		return false, err
	case g.done < w.gc.done: // the newest one is never deleted
		return false, vanished(doneName(w.gc.done), errors.New("the newest collection is not listed any more"))
	case g.done <= w.session.Generation:
		return g.done > w.gc.done, nil
	}
	payload, _, err := w.r.fetch(w.ctx, crypto.KindDone, doneName(g.done))
	if err != nil {
		return false, err
	}
	d, err := decodeDone(payload)
	if err != nil {
		return false, damaged(doneName(g.done), err)
	}
	if w.session.Generation < d.N && !d.lists(w.sid) {
		return false, ErrVoid
	}
	return true, nil
}
