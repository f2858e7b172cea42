package archive

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"os"
	"path"
	"strings"

	"vault/internal/match"
	"vault/snapshot"
)

// Tree is a Source that is no part of a file system here, but can be listed as a
// tree: the objects of a bucket, the keys of a database. Entries that are as the
// parent has them are taken over without being opened; the others are read by
// several goroutines, at most treeFetchers at once and treeAhead ahead of the first
// that is not done.
type Tree interface {
	Source
	// Entries yields the entries below the root, which is a directory then, or one entry
	// with an empty path, which is the root itself. A directory comes before what is
	// below it, and the entries of a directory come in the order of their names as
	// bytes, as ComparePaths says. A directory that is not yielded but on the way to an entry is made, with
	// mode 0700 and the time of the newest entry in it. An error ends the listing and
	// fails the volume.
	Entries(ctx context.Context) iter.Seq2[Entry, error]
}

// Entry is one entry of a Tree.
type Entry struct {
	Path string // relative to the root, with slashes; "" for the root itself

	// Node is what is known beforehand. Its name and content do not count; its size
	// need not be right. The attributes may be long and in any order.
	Node snapshot.Node

	// Unchanged reports whether a file is as the parent has it. Then the content and the
	// attributes are the parent's. Nil means no.
	Unchanged func(old *snapshot.Node) bool

	// Open returns the content of a file, and may complete its node. An error that is
	// fs.ErrNotExist says that it vanished, which is a notice; any other is a problem, as
	// is an error of Read or Close. It is called once, by any goroutine. Reads should end
	// soon after ctx does.
	Open func(ctx context.Context, n *snapshot.Node) (io.ReadCloser, error)
}

const (
	treeFetchers = 16
	treeAhead    = 256
	treeSmall    = 1 << 20 // bytes up to which a content is fetched whole before it is cut
)

// treeItem is an entry on its way into its directory.
type treeItem struct {
	Entry
	node *snapshot.Node
	old  *snapshot.Node // the parent's

	// The outcome, valid once done is closed; nil done is closed.
	done    chan struct{}
	problem error
	gone    bool
}

// treeDir is a directory of which entries are being placed.
type treeDir struct {
	*frame
	newest snapshot.Time
}

// treeScan is the state of one volume that is a Tree. It belongs to the goroutine
// that called Run, but for the channels.
type treeScan struct {
	*scan
	ctx    context.Context
	cursor *match.Cursor // of what is excluded; may be nil
	last   string        // path yielded last
	listed int           // entries yielded
	way    []treeOld     // the parent's directories down to that of the last entry
	queue  []*treeItem   // in order
	dirs   []treeDir     // the directories down to that of the entry placed last
	jobs   chan *treeItem
	idle   chan *worker // those that cut
}

// treeOld is a directory of the parent.
type treeOld struct {
	name string
	oldDir
}

// tree reads a volume that is a Tree.
func (r *run) tree(src Tree, v *Volume, vol *snapshot.Volume) error {
	parent := v.Parent
	if parent != nil && (parent.Root == nil || r.o.Reader == nil) {
		parent = nil
	}
	ctx, cancel := context.WithCancel(r.ctx)
	t := &treeScan{scan: newScan(r, parent, vol), ctx: ctx, jobs: make(chan *treeItem, treeAhead), idle: make(chan *worker, r.o.Workers)}
	defer func() { r.excluded = t.leftOut }()
	if x := v.Excludes; x != nil {
		t.excludes, t.cursor = x, match.NewCursor(x.set(""), nil)
	}
	for range r.o.Workers {
		t.idle <- newWorker(r)
	}
	fetching := make(chan struct{})
	for range treeFetchers {
		go func() {
			for it := range t.jobs {
				t.fetch(it)
				close(it.done)
			}
			fetching <- struct{}{}
		}()
	}
	err := t.read(src)
	cancel()
	close(t.jobs)
	for range treeFetchers {
		<-fetching
	}
	if cause := context.Cause(r.ctx); cause != nil {
		return cause
	}
	return err
}

// read lists, and places what is listed.
func (t *treeScan) read(src Tree) error {
	top := &slot{node: &snapshot.Node{Type: snapshot.Directory, Mode: 0o700, UID: uint32(max(t.uid, 0)), GID: uint32(max(os.Getegid(), 0))}}
	top.node.User, top.node.Group = t.names.user(top.node.UID), t.names.group(top.node.GID)
	if t.parent != nil {
		top.old = t.parent.Root.Clone()
		top.old.Name = ""
	}
	t.dirs = []treeDir{{frame: &frame{slot: top, name: "."}}}
	t.way = []treeOld{t.oldOf(".", top.old)}
	for e, err := range src.Entries(t.ctx) {
		if cause := context.Cause(t.run.ctx); cause != nil {
			return cause
		}
		if err == nil {
			err = t.check(e)
		}
		if err != nil {
			t.problem(t.vol, ".", fmt.Errorf("list: %w", err))
			return nil
		}
		if err := t.admit(e, top); err != nil {
			return err
		}
		for len(t.queue) >= treeAhead {
			if err := t.first(); err != nil {
				return err
			}
		}
	}
	for len(t.queue) > 0 {
		if err := t.first(); err != nil {
			return err
		}
	}
	if top.node == nil {
		return nil
	}
	if top.node.Type == snapshot.Directory {
		if err := t.leave(0); err != nil {
			return err
		}
	}
	t.compare(top)
	t.count(top)
	t.vol.Root = top.node
	return nil
}

// check returns an error for an entry that cannot come now.
func (t *treeScan) check(e Entry) error {
	t.listed++
	if e.Path == "" || t.listed > 1 && t.last == "" {
		if t.listed > 1 {
			return errors.New("the root is a file and a directory")
		}
		if e.Node.Type != snapshot.File {
			return errors.New("the root is listed, but is no file")
		}
		return nil
	}
	for name := range strings.SplitSeq(e.Path, "/") {
		if err := snapshot.CheckName(name); err != nil {
			return err
		}
	}
	if strings.Count(e.Path, "/") > snapshot.MaxDepth-2 {
		return errors.New("directories are nested too deeply")
	}
	if t.listed > 1 && ComparePaths(t.last, e.Path) >= 0 {
		return fmt.Errorf("%q comes after %q", e.Path, t.last)
	}
	t.last = e.Path
	return nil
}

// admit decides about an entry, and has it read if it must be.
func (t *treeScan) admit(e Entry, top *slot) error {
	if e.Path == "" {
		n := e.Node
		top.node = &n
		it := &treeItem{Entry: e, node: top.node, old: top.old}
		return t.send(it)
	}
	dir, name := path.Split(e.Path)
	n := e.Node
	n.Name = name
	if t.leftOutOf(e.Path, &n) {
		t.leftOut++
		if t.seen.items {
			t.seen.emit(Event{Kind: EventExcluded, Path: e.Path})
		}
		return nil
	}
	if err := t.descend(strings.TrimSuffix(dir, "/")); err != nil {
		return err
	}
	it := &treeItem{Entry: e, node: &n, old: t.seek(name)}
	if n.Type == snapshot.Directory {
		t.way = append(t.way, t.oldOf(name, it.old))
	}
	return t.send(it)
}

func (t *treeScan) leftOutOf(p string, n *snapshot.Node) bool {
	kind := match.File
	if n.Type == snapshot.Directory {
		kind = match.Directory
	}
	if t.cursor != nil {
		if d, _ := t.cursor.Match(p, kind); d == match.Ignore {
			return true
		}
		if limit := t.excludes.LargerThan; limit > 0 && n.Type == snapshot.File && n.Size > limit {
			return true
		}
	}
	return t.o.Select != nil && !t.o.Select(p, n)
}

// descend goes to the directory of the next entry, and queues those on the way that
// nobody has listed.
func (t *treeScan) descend(dir string) error {
	depth, at := 1, 0
	for at < len(dir) {
		name, _, _ := strings.Cut(dir[at:], "/")
		if depth >= len(t.way) || t.way[depth].name != name {
			t.way = t.way[:depth]
			n := &snapshot.Node{Name: name, Type: snapshot.Directory, Mode: 0o700}
			root := t.dirs[0].slot.node
			n.UID, n.GID, n.User, n.Group = root.UID, root.GID, root.User, root.Group
			old := t.seek(name)
			t.way = append(t.way, t.oldOf(name, old))
			if err := t.send(&treeItem{Entry: Entry{Path: dir[:at+len(name)]}, node: n, old: old}); err != nil {
				return err
			}
		}
		depth++
		at += len(name) + 1
	}
	t.way = t.way[:depth]
	return nil
}

// oldOf returns a directory of the parent for a look at its entries.
func (t *treeScan) oldOf(name string, n *snapshot.Node) treeOld {
	o := treeOld{name: name}
	if n != nil && n.Type == snapshot.Directory && t.o.Reader != nil {
		o.reader = snapshot.NewDirReader(t.ctx, t.o.Reader, n.Tree)
	}
	return o
}

// seek returns the parent's entry of that name in the last directory of the way.
func (t *treeScan) seek(name string) *snapshot.Node {
	n, _, err := t.way[len(t.way)-1].seek(name)
	if err != nil && t.ctx.Err() == nil {
		t.notice(".", "parent backup is unreadable here, everything is read again: "+err.Error())
	}
	return t.keep(n)
}

// send queues an entry, and has it fetched if it is a file that may have changed.
func (t *treeScan) send(it *treeItem) error {
	n := it.node
	if n.Type == snapshot.File {
		n.Content = snapshot.Content{}
		switch same, err := t.same(it); {
		case err != nil:
			return err
		case same:
			n.Content, n.Size, n.Xattrs = it.old.Content, it.old.Size, it.old.Xattrs
			t.looked.Add(n.Size)
		default:
			it.done = make(chan struct{})
			t.jobs <- it // has room for all that can be queued
		}
	}
	t.queue = append(t.queue, it)
	return nil
}

func (t *treeScan) same(it *treeItem) (bool, error) {
	if it.old == nil || it.old.Type != snapshot.File || it.Unchanged == nil || !it.Unchanged(it.old) {
		return false, nil
	}
	return t.known(it.old)
}

// first waits for the first entry of the queue and places it.
func (t *treeScan) first() error {
	it := t.queue[0]
	t.queue[0] = nil
	t.queue = t.queue[1:]
	for waiting := it.done != nil; waiting; {
		select {
		case <-it.done:
			waiting = false
		case <-t.seen.ticks():
			t.seen.emit(Event{Kind: EventProgress, Path: "."})
		case <-t.run.ctx.Done():
			return context.Cause(t.run.ctx)
		}
	}
	if it.problem != nil {
		p := it.Path
		if p == "" {
			p = "."
		}
		if it.gone && it.Path != "" {
			t.notice(p, noticeVanished)
		} else {
			t.problem(t.vol, p, it.problem)
		}
		if it.Path == "" {
			t.dirs[0].slot.node = nil
		}
		return nil
	}
	if it.Path == "" {
		return nil
	}
	return t.put(it)
}

// put places an entry that is done.
func (t *treeScan) put(it *treeItem) error {
	if err := t.leave(strings.Count(it.Path, "/") + 1); err != nil {
		return err
	}
	up := &t.dirs[len(t.dirs)-1]
	e := &slot{frame: up.frame, node: it.node, old: it.old}
	if it.node.Type == snapshot.Directory {
		t.dirs = append(t.dirs, treeDir{frame: &frame{up: up.frame, slot: e, name: it.node.Name}})
		return nil
	}
	if it.node.MTime.Compare(up.newest) > 0 {
		up.newest = it.node.MTime
	}
	t.compare(e)
	e.same = false // every directory is written anew
	return t.place(up.frame, e)
}

// leave finishes directories until so many are open; 0 finishes the root as well.
func (t *treeScan) leave(open int) error {
	for len(t.dirs) > open {
		d := t.dirs[len(t.dirs)-1]
		if d.slot.node.MTime == (snapshot.Time{}) {
			d.slot.node.MTime, d.slot.node.CTime = d.newest, d.newest
		}
		if err := t.finish(d.frame); err != nil {
			return err
		}
		t.dirs = t.dirs[:len(t.dirs)-1]
		if len(t.dirs) == 0 {
			return nil
		}
		up := &t.dirs[len(t.dirs)-1]
		if d.newest.Compare(up.newest) > 0 {
			up.newest = d.newest
		}
		d.slot.same = false
		if err := t.place(up.frame, d.slot); err != nil {
			return err
		}
	}
	return nil
}

// fetch reads one file. It is called by any goroutine.
func (t *treeScan) fetch(it *treeItem) {
	if t.ctx.Err() != nil {
		return
	}
	in, err := it.Open(t.ctx, it.node)
	if err == nil {
		err = t.content(it, in)
	}
	switch {
	case err == nil:
	case stops(err) && t.ctx.Err() == nil:
		t.run.cancel(err)
	default:
		it.problem, it.gone = fmt.Errorf("read: %w", err), errors.Is(err, fs.ErrNotExist)
	}
}

// content reads a file to its end and closes it. What is small is fetched before a
// worker is asked for.
func (t *treeScan) content(it *treeItem, in io.ReadCloser) (err error) {
	closed := false
	finish := func() error {
		if closed {
			return nil
		}
		closed = true
		return in.Close()
	}
	defer finish()
	var from io.Reader = in
	if it.node.Size <= treeSmall {
		data, err := io.ReadAll(io.LimitReader(in, treeSmall+1))
		if err != nil {
			return err
		}
		from = strings.NewReader(string(data))
		if len(data) > treeSmall {
			from = io.MultiReader(from, in)
		} else if err := finish(); err != nil {
			return err
		}
	}
	var w *worker
	select {
	case w = <-t.idle:
	case <-t.ctx.Done():
		return &stopError{context.Cause(t.ctx)}
	}
	defer func() { t.idle <- w }()
	if err := w.cut.stream(t.ctx, from, it.node); err != nil {
		if w.sink.err != nil {
			return w.sink.err
		}
		return err
	}
	if err := w.attributes(t.ctx, it.node); err != nil {
		return err
	}
	return finish()
}
