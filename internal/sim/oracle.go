package sim

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"vault/crypto"
	"vault/repo"
	"vault/repo/check"
	"vault/repo/gc"
	"vault/snapshot"
)

// saved is what is known of one backup.
type saved struct {
	tree  int
	acked bool // the writer was told that it is safe

	// Forgetting. A forget that was begun and not answered may happen any time.
	issued, open int
	kept         bool // nobody has begun to forget it since it was last sure to be there
	tags         []snapshot.Tag
}

// sure reports whether the backup must be there.
func (s *saved) sure() bool { return s.acked && s.kept }

func (w *World) count(f func(*Tally)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	f(&w.tally)
}

// attempt says that a writer begins to save a tree.
func (w *World) attempt(id crypto.SessionID, tree int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.tally.Backups++
	w.truth[id] = &saved{tree: tree, kept: true}
}

// committed says how that ended, as far as a living process was told.
func (w *World) committed(p *process, id crypto.SessionID, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case p.dead:
	case err == nil:
		w.tally.Acknowledged++
		w.truth[id].acked, w.news = true, true
	case errors.Is(err, repo.ErrKilled):
		w.tally.Killed++
	case errors.Is(err, repo.ErrVoid):
		w.tally.Void++
	}
}

func (w *World) forgetting(id crypto.SessionID) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if s := w.truth[id]; s != nil {
		s.issued++
		s.open++
		s.kept = false
	}
}

func (w *World) forgot(p *process, id crypto.SessionID, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if s := w.truth[id]; s != nil && !p.dead && err == nil {
		s.open--
		w.tally.Forgotten++
	}
}

// forgotten chooses a backup that was forgotten, and returns how often that was
// begun, -1 if not each of these has ended.
func (w *World) forgotten(pick uint64) (id crypto.SessionID, issued int, ok bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	var ids []crypto.SessionID
	for id, s := range w.truth {
		if s.issued > 0 {
			ids = append(ids, id)
		}
	}
	if len(ids) == 0 {
		return id, 0, false
	}
	slices.SortFunc(ids, crypto.SessionID.Compare)
	id = ids[pick%uint64(len(ids))]
	if issued = w.truth[id].issued; w.truth[id].open > 0 {
		issued = -1 // somebody is at it, or was interrupted
	}
	return id, issued, true
}

func (w *World) unforgot(p *process, id crypto.SessionID, issued int, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	s := w.truth[id]
	if err != nil || p.dead {
		return
	}
	w.tally.Unforgotten++
	if _, there := w.store.now["commits/"+id.String()]; !there {
		w.violateHeld(Loss, fmt.Errorf("client %d: backup %s was brought back after a collection had dropped it", p.c.index, id))
		return
	}
	if s.open == 0 && s.issued == issued {
		s.kept, w.news = true, true
	}
}

func (w *World) tagged(p *process, id crypto.SessionID, tag snapshot.Tag, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if s := w.truth[id]; s != nil && err == nil && !p.dead {
		s.tags = append(s.tags, tag)
		w.tally.Tagged++
		w.news = true
	}
}

func (w *World) wanted(id crypto.SessionID) (tree, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	s := w.truth[id]
	if s == nil {
		return tree{}, false
	}
	return trees()[s.tree], true
}

func (w *World) mustBeThere(id crypto.SessionID) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.truth[id].sure()
}

// auditor remembers what the last fresh reader asked for. While none of it has
// changed, another one would find the same.
type auditor struct {
	asked map[string]struct{}
	whole map[savedTree][]spot // where what was read back whole lay
}

func (a *auditor) affected(name string) bool {
	if a.asked == nil {
		return true
	}
	if _, ok := a.asked[name]; ok {
		return true
	}
	for i := strings.IndexByte(name, '/'); i >= 0; {
		if _, ok := a.asked[name[:i+1]]; ok {
			return true
		}
		next := strings.IndexByte(name[i+1:], '/')
		if next < 0 {
			break
		}
		i += next + 1
	}
	return false
}

// audit looks at the repository as a fresh reader, if anything has changed that
// one would look at: as it is, and as the worst power cut would leave it.
func (w *World) audit() {
	w.mu.Lock()
	due := w.news
	w.news = false
	w.mu.Unlock()
	for _, name := range w.store.changed {
		due = due || w.auditor.affected(name)
	}
	w.store.changed = w.store.changed[:0]
	if !due {
		return
	}
	w.auditor.asked = map[string]struct{}{}
	w.inspect("as it is", w.store.now)
	if slices.ContainsFunc(w.store.pending, func(e *effect) bool { return e.after != nil && w.auditor.affected(e.name) }) {
		w.inspect("after a power cut", w.store.worst())
	}
}

// inspect opens the repository and demands what must be there.
func (w *World) inspect(when string, objects map[string][]byte) {
	w.tally.Audits++
	ctx := context.Background()
	be := &plain{objects: objects, asked: w.auditor.asked}
	r, err := repo.Open(ctx, be, repo.OpenOptions{Passphrase: pass})
	if err != nil {
		w.violate(Loss, "%s: open: %w", when, err)
		return
	}
	list, err := r.Backups(ctx)
	if err != nil {
		w.violate(Loss, "%s: %w", when, err)
		return
	}
	if broken, _ := r.Broken(ctx); len(broken) > 0 {
		w.violate(Loss, "%s: %w", when, errors.Join(broken...))
	}
	there := map[crypto.SessionID]*snapshot.Backup{}
	for _, b := range list {
		there[b.ID] = b
		s := w.truth[b.ID]
		if s == nil {
			w.violate(Loss, "%s: backup %s is there and was never attempted", when, b.ID)
			continue
		}
		if err := w.auditor.readBack(ctx, r, be, b, trees()[s.tree]); err != nil {
			what := "an unacknowledged"
			if s.acked {
				what = "an acknowledged"
			}
			w.violate(Loss, "%s: %s backup, %s, does not restore: %w", when, what, b.ID, err)
		}
	}
	for id, s := range w.truth {
		b := there[id]
		if b == nil {
			if s.sure() {
				w.violate(Loss, "%s: backup %s of tree %d was acknowledged and is not there", when, id, s.tree)
			}
			continue
		}
		for _, tag := range s.tags {
			if !slices.Contains(b.Tags, tag) {
				w.violate(Loss, "%s: backup %s has lost the tag %v", when, id, tag)
			}
		}
	}
}

// finish ends all faults, lets collections clean up, and demands that nothing is
// left but what the remaining backups need.
func (w *World) finish() {
	for _, g := range w.ghosts {
		if w.rng.IntN(2) == 0 {
			w.apply(g.kind, g.name, g.data)
		}
	}
	w.ghosts = nil
	w.audit()
	if w.broken() {
		return
	}
	ctx := context.Background()
	be := &plain{objects: maps.Clone(w.store.now)}
	r, err := repo.Open(ctx, be, repo.OpenOptions{Passphrase: pass, Env: repo.Env{Now: late, Rand: crypto.Reproducible{Reader: newStream(w.seed, -1, 0)}}})
	if err != nil {
		w.violate(Loss, "at the end: %w", err)
		return
	}
	if Checkpoints {
		if err := supersede(ctx, r); err != nil {
			w.violate(Stuck, "a backup at the end: %w", err)
			return
		}
	}
	o := gc.Options{Workers: 1, Limits: gc.Limits{MaxRepack: -1}, Dead: func(repo.Waiting) bool { return true }}
	for range 3 { // the first may have to finish what another has begun
		if _, err := gc.Run(ctx, r, o); err != nil {
			w.violate(Stuck, "a collection at the end: %w", err)
			return
		}
	}
	for p := range check.Run(ctx, r, check.Options{Workers: 1, Read: check.All}) {
		w.violate(Loss, "a check at the end: %+v", p)
	}
	w.auditor.asked = nil
	w.inspect("at the end", be.objects)
	if err := census(ctx, r, be); err != nil {
		w.violate(Garbage, "%w", err)
	}
}

// late is after all that clients with wrong clocks have dated: a checkpoint is
// superseded by what has a later id.
func late() time.Time { return epoch.AddDate(200, 0, 0) }

// supersede makes and forgets backups of both groups, so that no checkpoint is
// needed any more.
func supersede(ctx context.Context, r *repo.Repo) error {
	for _, group := range []string{"0", "1"} {
		w, err := r.Begin(ctx, repo.WriterOptions{Uploads: 1})
		if err != nil {
			return err
		}
		b, err := w.Commit(&snapshot.Backup{Host: "h", Group: group, Volumes: []snapshot.Volume{{Name: "none", Kind: snapshot.VolumePath, State: snapshot.Failed}}})
		if err != nil {
			return err
		}
		if err := r.Forget(ctx, b.ID, repo.Event{}); err != nil {
			return err
		}
	}
	return nil
}

// census counts the objects of a repository that was just collected.
func census(ctx context.Context, r *repo.Repo, be *plain) error {
	list, err := r.Backups(ctx)
	if err != nil {
		return err
	}
	live := map[crypto.ID]bool{}
	for _, b := range list {
		for i := range b.Volumes {
			for ref := range snapshot.RefsOf(b.Volumes[i].Root) {
				if err := follow(ctx, r, ref, live); err != nil {
					return err
				}
			}
		}
	}
	ix, err := r.Index(ctx)
	if err != nil {
		return err
	}
	named, rows := map[string]bool{}, map[crypto.ID]bool{}
	for row := range ix.NewMarks().Rows() {
		named[row.Pack.Path()] = true
		switch {
		case !live[row.ID]:
			return fmt.Errorf("a dead blob in %s", row.Pack.Path())
		case rows[row.ID]:
			return fmt.Errorf("a blob is stored twice, the second time in %s", row.Pack.Path())
		}
		rows[row.ID] = true
	}
	count := map[string]int{}
	for name := range be.objects {
		dir, _, _ := strings.Cut(name, "/")
		count[dir]++
		if dir == "packs" && !named[name] {
			return fmt.Errorf("%s is named by nothing", name)
		}
		if sid, ok := strings.CutPrefix(name, "events/"); ok {
			if _, ok := be.objects["commits/"+sid[:26]]; !ok {
				return fmt.Errorf("%s has no commit", name)
			}
		}
	}
	switch {
	case count["index"] > 1:
		return fmt.Errorf("index segments are left: %v", count)
	case count["sessions"] > 0:
		return fmt.Errorf("sessions are left: %v", count)
	}
	if count["commits"] != len(list) || count["gc"] > 2 || count["packs"] != len(named) {
		return fmt.Errorf("%v objects for %d backups", count, len(list))
	}
	return nil
}

// follow notes every blob that is reached from ref.
func follow(ctx context.Context, r *repo.Repo, ref snapshot.Ref, live map[crypto.ID]bool) error {
	if live[ref.ID] {
		return nil
	}
	live[ref.ID] = true
	if ref.Kind != crypto.BlobTree {
		return nil
	}
	page, err := r.Get(ctx, ref.Kind, ref.ID, nil)
	if err != nil {
		return err
	}
	for next, err := range snapshot.Refs(page) {
		if err != nil {
			return err
		}
		if err := follow(ctx, r, next, live); err != nil {
			return err
		}
	}
	return nil
}
