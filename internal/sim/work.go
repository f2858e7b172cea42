package sim

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"vault/crypto"
	"vault/pack"
	"vault/repo"
	"vault/repo/check"
	"vault/repo/gc"
	"vault/snapshot"
	"vault/snapshot/archive"
	"vault/snapshot/restore"
)

// TaskKind is what a client does.
type TaskKind string

// The tasks.
const (
	TaskBackup   TaskKind = "backup"
	TaskKeep     TaskKind = "checkpoint" // a backup that is interrupted and keeps what it has stored
	TaskForget   TaskKind = "forget"
	TaskUnforget TaskKind = "unforget"
	TaskTag      TaskKind = "tag"
	TaskPrune    TaskKind = "prune"
	TaskFold     TaskKind = "fold"
	TaskRead     TaskKind = "read"    // restore in memory
	TaskRestore  TaskKind = "restore" // restore to disk
	TaskCheck    TaskKind = "check"
)

// Task is one thing that a client does.
type Task struct {
	Kind     TaskKind
	Tree     int           // TaskBackup
	Parent   bool          // TaskBackup: compare with the newest backup
	Pick     uint64        // which backup to forget, read, ...
	Limits   gc.Limits     // TaskPrune
	Patience time.Duration // TaskPrune, TaskFold; 0: none
}

func (t Task) String() string {
	switch t.Kind {
	case TaskBackup, TaskKeep:
		return fmt.Sprintf("%s of tree %d", t.Kind, t.Tree)
	case TaskPrune:
		return fmt.Sprintf("prune %+v patience %s", t.Limits, t.Patience)
	}
	return string(t.Kind)
}

// perform does one task.
func (p *process) perform(r *repo.Repo, t Task) error {
	clear(p.frozen)
	switch t.Kind {
	case TaskBackup, TaskKeep:
		return p.backup(r, t)
	case TaskForget, TaskTag:
		return p.mark(r, t)
	case TaskUnforget:
		return p.unforget(r, t)
	case TaskPrune:
		return p.prune(r, t)
	case TaskFold:
		return p.fold(r, t)
	case TaskRead, TaskRestore:
		return p.restore(r, t)
	case TaskCheck:
		return p.check(r, t)
	}
	panic("sim: internal error: task " + string(t.Kind))
}

// lane lets one goroutine of the archiver at a time into the writer.
type lane struct {
	*repo.Lane
	p    *process
	name string
}

// Put implements archive.Store.
func (l lane) Put(ctx context.Context, kind crypto.BlobKind, data []byte) (crypto.ID, bool, error) {
	done, err := l.p.turn(ctx, l.name)
	if err != nil {
		return crypto.ID{}, false, err
	}
	defer done()
	return l.Lane.Put(ctx, kind, data)
}

func (p *process) backup(r *repo.Repo, t Task) error {
	var early []*snapshot.Backup
	if p.w.o.Bug == BugBlindTrust {
		early, _ = r.Backups(p.ctx)
		if err := p.sleep(p.ctx, time.Hour); err != nil { // others get on meanwhile
			return err
		}
	}
	w, err := r.Begin(p.ctx, t.writer(p.c.clock()))
	if err != nil {
		return p.excusable("begin", err)
	}
	if t.Kind == TaskBackup {
		p.w.attempt(w.ID(), t.Tree)
	}
	list := w.Backups()
	if early != nil {
		list = early
	}
	var parent *snapshot.Backup
	trusted := false
	if t.Parent && len(list) > 0 {
		parent = list[len(list)-1]
		trusted = w.Trusts(parent.ID) || early != nil
	}
	lanes := 0
	report, err := archiveTree(p.ctx, r, func() archive.Store {
		lanes++
		return lane{w.Lane(), p, fmt.Sprint("lane ", lanes)}
	}, t.Tree, parent, trusted, p.c.clock)
	if err != nil {
		w.Abort()
		return p.excusable("archive", err)
	}
	if s := report.Volumes[0].State; s != snapshot.Complete {
		w.Abort()
		return fmt.Errorf("volume is not complete: %v", report.Volumes[0].Problems)
	}
	if t.Kind == TaskKeep {
		_, err := w.Checkpoint(&snapshot.Backup{Host: "h", Group: fmt.Sprint(t.Pick % 2), Time: snapshot.TimeOf(p.c.clock())})
		if errors.Is(err, repo.ErrKilled) || errors.Is(err, repo.ErrVoid) {
			return err
		}
		return p.excusable("checkpoint", err)
	}
	_, err = w.Commit(&snapshot.Backup{Host: "h", Group: fmt.Sprint(t.Pick % 2), Time: snapshot.TimeOf(p.c.clock()), Volumes: report.Volumes})
	if p.w.o.Bug == BugErrorIsFine && !errors.Is(err, repo.ErrKilled) && !errors.Is(err, repo.ErrVoid) {
		err = nil
	}
	p.w.committed(p, w.ID(), err)
	if errors.Is(err, repo.ErrKilled) || errors.Is(err, repo.ErrVoid) {
		return err
	}
	return p.excusable("commit", err)
}

// writer says how a backup is written: most keep what they have stored after
// each pack, or after some of them.
func (t Task) writer(now time.Time) repo.WriterOptions {
	keep := &repo.Checkpoints{Host: "h", Group: fmt.Sprint(t.Pick % 2), Time: snapshot.TimeOf(now), Bytes: 1}
	switch t.Pick >> 8 % 4 {
	case 0:
		return repo.WriterOptions{}
	case 1:
		return repo.WriterOptions{Checkpoints: keep, Uploads: 1}
	case 2:
		keep.Bytes = 8 << 10
	}
	return repo.WriterOptions{Checkpoints: keep}
}

// pick chooses one of the visible backups.
func (p *process) pick(r *repo.Repo, t Task) (*snapshot.Backup, error) {
	list, err := r.Backups(p.ctx)
	if err != nil {
		return nil, p.excusable("list backups", err)
	}
	if len(list) == 0 {
		return nil, nil
	}
	return list[t.Pick%uint64(len(list))], nil
}

func (p *process) mark(r *repo.Repo, t Task) error {
	b, err := p.pick(r, t)
	if b == nil || err != nil {
		return err
	}
	if t.Kind == TaskTag {
		tag := snapshot.Tag{Key: "k", Value: fmt.Sprint(t.Pick)}
		err = r.Tag(p.ctx, b.ID, repo.Event{Tags: []repo.TagChange{{Key: tag.Key, Value: tag.Value}}})
		p.w.tagged(p, b.ID, tag, err)
	} else {
		p.w.forgetting(b.ID)
		err = r.Forget(p.ctx, b.ID, repo.Event{})
		p.w.forgot(p, b.ID, err)
	}
	if errors.Is(err, repo.ErrNoBackup) {
		return nil // somebody else forgot it, and it was collected
	}
	return p.excusable(string(t.Kind), err)
}

func (p *process) unforget(r *repo.Repo, t Task) error {
	id, issued, ok := p.w.forgotten(t.Pick)
	if !ok {
		return nil
	}
	err := r.Unforget(p.ctx, id, repo.Event{})
	p.w.unforgot(p, id, issued, err)
	if errors.Is(err, repo.ErrCollected) || errors.Is(err, repo.ErrNoBackup) {
		return nil
	}
	return p.excusable("unforget", err)
}

func (p *process) prune(r *repo.Repo, t Task) error {
	last := p.c.clock()
	passed := epoch
	now := func() time.Time { // as with time.Now, differences are never negative
		c := p.c.clock()
		passed, last = passed.Add(max(0, c.Sub(last))), c
		return passed
	}
	report, err := gc.Run(p.ctx, r, gc.Options{
		Limits: t.Limits, Workers: 1, Patience: max(t.Patience, time.Millisecond), Now: now, Sleep: p.sleep,
		Dead: func(repo.Waiting) bool { return t.Patience == 0 },
	})
	if err == nil && !report.Nothing {
		p.w.count(func(c *Tally) { c.Collections++ })
	}
	if errors.Is(err, repo.ErrRaced) {
		return err
	}
	return p.excusable("prune", err)
}

// fold runs a generation that condemns and drops nothing.
func (p *process) fold(r *repo.Repo, t Task) error {
	c, err := r.Collection(p.ctx)
	if err != nil {
		return p.excusable("fold", err)
	}
	if c.Adopted() {
		return p.prune(r, t)
	}
	if err := c.Propose(p.ctx, nil, nil); err != nil {
		return p.excusable("fold", err)
	}
	rounds := 0
	impatient := func(repo.Waiting, uint64) bool { return t.Patience == 0 || rounds > 3 }
	pause := func(ctx context.Context) error {
		rounds++
		return p.sleep(ctx, t.Patience/3+time.Millisecond)
	}
	if err := c.Settle(p.ctx, impatient, pause); err != nil {
		return p.excusable("fold", err)
	}
	if err := c.Reread(p.ctx); err != nil {
		return p.excusable("fold", err)
	}
	if err := c.Close(p.ctx, nil); err != nil {
		return p.excusable("fold", err)
	}
	p.w.count(func(c *Tally) { c.Folds++ })
	_, err = r.Sweep(p.ctx)
	return p.excusable("fold", err)
}

// source lets one goroutine of a restore at a time into the repository.
type source struct {
	*repo.Repo
	p *process
}

// Get implements snapshot.Source.
func (s source) Get(ctx context.Context, kind crypto.BlobKind, id crypto.ID, dst []byte) ([]byte, error) {
	done, err := s.p.turn(ctx, "get "+id.String())
	if err != nil {
		return nil, err
	}
	defer done()
	return s.Repo.Get(ctx, kind, id, dst)
}

func (p *process) restore(r *repo.Repo, t Task) error {
	b, err := p.pick(r, t)
	if b == nil || err != nil {
		return err
	}
	want, ok := p.w.wanted(b.ID)
	if !ok {
		return fmt.Errorf("backup %s was never attempted", b.ID)
	}
	if t.Kind == TaskRead {
		err = readBack(p.ctx, r, b, want)
	} else {
		err = p.restoreTo(r, b, want)
	}
	if errors.Is(err, errWrongBytes) {
		p.w.violate(Loss, "client %d restores backup %s: %w", p.c.index, b.ID, err)
	}
	if err == nil {
		p.w.count(func(c *Tally) { c.Restores++ })
		return nil
	}
	if !p.w.mustBeThere(b.ID) {
		return nil // forgotten meanwhile
	}
	return p.excusable("restore "+b.ID.Short(), err)
}

func (p *process) restoreTo(r *repo.Repo, b *snapshot.Backup, want tree) error {
	target, err := os.MkdirTemp(place(), "restore-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(target)
	report, err := restore.Run(p.ctx, restore.Options{
		Source: source{r, p}, Namer: r.Keys(), Target: target, Workers: 1,
	}, []restore.Volume{{Volume: &b.Volumes[0], Dir: "."}})
	for _, problem := range report.Problems {
		err = errors.Join(err, problem.Err)
	}
	if err != nil {
		return err
	}
	got := map[string][]byte{}
	err = filepath.WalkDir(target, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		rel, _ := filepath.Rel(target, path)
		got[rel], err = os.ReadFile(path)
		return err
	})
	if err == nil && !maps.EqualFunc(got, want.files, bytes.Equal) {
		return fmt.Errorf("%w: on disk: %v", errWrongBytes, slices.Sorted(maps.Keys(got)))
	}
	return err
}

func (p *process) check(r *repo.Repo, t Task) error {
	o := check.Options{Workers: 1}
	if t.Pick%2 == 0 {
		o.Read = func(pack.ID, uint32) bool { return true }
	}
	var errs []error
	for problem := range check.Run(p.ctx, r, o) {
		errs = append(errs, fmt.Errorf("%s %s: %w", problem.Object, problem.Path, problem.Err))
	}
	slices.SortFunc(errs, func(a, b error) int { return strings.Compare(a.Error(), b.Error()) })
	p.w.count(func(c *Tally) { c.Checks++ })
	return p.excusable("check", errors.Join(errs...))
}

// excusable returns err, and calls it a violation if it tells of damage though
// no fault has touched the task: there is no damage in these schedules, and who
// cries wolf makes people repair what is whole.
func (p *process) excusable(what string, err error) error {
	if err == nil {
		return nil
	}
	var blob *repo.BlobError
	alarm := repo.StateOf(err) == repo.Damaged || errors.As(err, &blob) || errors.Is(err, gc.ErrIncomplete) || what == "check"
	if alarm && p.unhurt() && !p.w.o.Deaf {
		p.w.violate(Alarm, "client %d: %s: %w", p.c.index, what, err)
	}
	return fmt.Errorf("%s: %w", what, err)
}
