package repo

import (
	"context"
	"fmt"
	"iter"
	"slices"

	"vault/pack"
	"vault/snapshot"
)

// Reachable yields the name of every stored object that a restore of the
// backups needs, each once, and that must therefore stay: the config, the key
// slots, the newest records of gc/, the commits of backups that are not
// forgotten and of checkpoints, the events of those backups, the index segments
// that count, and the packs that these name and that no collection is about to
// remove. A store that can lock objects keeps a repository whole by locking
// these, again and again.
//
// Not among them is what protects no backup: sessions, killed records, void
// commits, forgotten backups. Packs are told by the index, not by marking what
// lives: a pack in which something is dead stays until a collection condemns
// it. Damage that was met while reading the state is yielded as an error after
// the names; the names are then those that could be told.
func (r *Repo) Reachable(ctx context.Context) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		v, err := r.refresh(ctx)
		if err != nil {
			yield("", fmt.Errorf("list what is reachable: %w", err))
			return
		}
		for _, names := range []func(context.Context, *view) ([]string, error){r.reachableKeys, reachableRecords, reachableData} {
			list, err := names(ctx, v)
			if err != nil {
				yield("", fmt.Errorf("list what is reachable: %w", err))
				return
			}
			for _, name := range list {
				if !yield(name, nil) {
					return
				}
			}
		}
		for _, err := range v.broken {
			if !yield("", err) {
				return
			}
		}
	}
}

// reachableKeys names the config and the key slots.
func (r *Repo) reachableKeys(ctx context.Context, _ *view) ([]string, error) {
	names := []string{configName}
	for info, err := range r.be.List(ctx, keysDir) {
		if err != nil {
			return nil, fmt.Errorf("list %s: %w", keysDir, err)
		}
		if OwnName(info.Name) {
			names = append(names, info.Name)
		}
	}
	return names, nil
}

// reachableRecords names the records that say what is visible.
func reachableRecords(_ context.Context, v *view) ([]string, error) {
	var names []string
	if v.gc.plan > 0 {
		names = append(names, planName(v.gc.plan))
	}
	if v.gc.done > 0 {
		names = append(names, doneName(v.gc.done))
	}
	for sid, c := range v.commits {
		l := v.events[sid]
		if c.Kind == snapshot.CommitKilled || l.forgotten() {
			continue
		}
		names = append(names, commitName(sid))
		for k := uint32(1); k <= l.last; k++ {
			names = append(names, eventName(sid, k))
		}
	}
	slices.Sort(names)
	return names, nil
}

// reachableData names index segments and packs.
func reachableData(_ context.Context, v *view) ([]string, error) {
	var names []string
	for name := range v.segments {
		names = append(names, indexName(name))
	}
	packs := map[pack.ID]struct{}{}
	for s := range v.index.Segments() {
		for p := range s.Packs() {
			if _, going := v.condemned[p.ID]; !going {
				packs[p.ID] = struct{}{}
			}
		}
	}
	for id := range packs {
		names = append(names, id.Path())
	}
	slices.Sort(names)
	return names, nil
}
