package restore

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"testing"

	"vault/crypto"
	"vault/snapshot"
)

// bomb returns a tree of 100 entries a level, all of which are the same page.
func (s *store) bomb(levels int) *snapshot.Node {
	f := s.fileOf("f", noise(testChunk, 1))
	below := s.rawDir(f)
	for range levels {
		var kids []ent
		for i := range 100 {
			d := dirOf(fmt.Sprintf("%02d", i))
			d.Tree = below
			kids = append(kids, d)
		}
		below = s.rawDir(kids...)
	}
	root := dirOf("")
	root.Tree = below
	return &root.Node
}

// TestEntryBomb: a tree of 10^12 entries in a few pages stops where its record
// ends, without a dry run or any selection making a difference.
func TestEntryBomb(t *testing.T) {
	s := newStore()
	root := s.bomb(6)
	for name, change := range map[string]func(*Options){
		"dry run": func(o *Options) { o.DryRun = true },
		"nothing selected": func(o *Options) {
			o.Select = func(string, string, *snapshot.Node) bool { return false }
		},
	} {
		v := &snapshot.Volume{Name: "v", State: snapshot.Complete, Root: root, Files: snapshot.Counts{New: 5}, Directories: snapshot.Counts{Changed: 20}}
		o := Options{Source: s, Target: t.TempDir()}
		change(&o)
		rep, err := Run(context.Background(), o, []Volume{{Volume: v, Dir: "v"}})
		var size *SizeError
		if !errors.As(err, &size) || size.What != "entries" || size.Recorded != 25 {
			t.Errorf("%s: %v", name, err)
		}
		if n := rep.Entries[Created]; n > slackEntries+100 {
			t.Errorf("%s: %d entries", name, n)
		}
	}
}

// TestByteBomb: files that claim more than the record says are not written.
func TestByteBomb(t *testing.T) {
	s := newStore()
	id := must1(s.Put(context.Background(), crypto.BlobData, []byte(noise(testChunk, 1))))
	item := snapshot.Item{Kind: snapshot.ItemData, Length: testChunk, ID: id}
	cw := snapshot.NewContentWriter(s, snapshot.DefaultThresholds())
	chunks := slackBytes/testChunk + 10
	for range chunks {
		must(cw.Add(context.Background(), item))
	}
	list := must1(cw.Finish(context.Background()))
	bad := ent{Node: snapshot.Node{Name: "bad", Type: snapshot.File, Mode: 0o600, Size: chunks * testChunk, Content: list, UID: self.uid, GID: self.gid}}
	zeros := bad.with(func(n *snapshot.Node) {
		n.Size = 1 << 60
		n.Content = snapshot.Content{Items: []snapshot.Item{{Kind: snapshot.ItemZero, Length: 1 << 60}}}
	})
	var many []ent // sizes whose sum is more than 64 bits hold
	for i := range 5 {
		many = append(many, zeros.with(func(n *snapshot.Node) {
			n.Name, n.Size = fmt.Sprint(i), math.MaxInt64
			n.Content.Items = []snapshot.Item{{Kind: snapshot.ItemZero, Length: math.MaxInt64}}
		}))
	}
	linked := bad.with(func(n *snapshot.Node) { n.Links, n.Inode = 2, 7 })
	for name, kids := range map[string][]ent{"chunks": {bad}, "zeros": {zeros}, "many": many, "linked": {linked}} {
		target := t.TempDir()
		v := &snapshot.Volume{Name: "v", State: snapshot.Complete, Root: s.tree(dirOf("", kids...)), BytesProcessed: 1000}
		rep, err := Run(context.Background(), Options{Source: s, Target: target}, []Volume{{Volume: v, Dir: "v"}})
		var size *SizeError
		if !errors.As(err, &size) || size.What != "bytes" || size.Recorded != 1000 || rep.BytesWritten > 0 {
			t.Errorf("%s: %v, %d written", name, err, rep.BytesWritten)
		}
		for _, e := range must1(os.ReadDir(target + "/v")) {
			t.Errorf("%s: %s is left", name, e.Name())
		}
	}
	// What the record says is no bomb, however many names it has.
	content := s.fileOf("", noise(3*testChunk, 2))
	var names []ent
	for i := range 40 {
		names = append(names, content.with(func(n *snapshot.Node) { n.Name, n.Links, n.Inode = fmt.Sprintf("l%02d", i), 40, 9 }))
	}
	v := &snapshot.Volume{Name: "v", State: snapshot.Complete, Root: s.tree(dirOf("", names...))}
	r := newRun(context.Background(), Options{Source: s, Target: t.TempDir(), Workers: 1})
	must(r.openTarget())
	r.workers.Add(1)
	go r.work()
	w := &worker{run: r}
	state := &volume{name: "v", size: newBudget(v), done: make(chan struct{}), links: newLinks()}
	state.size.byteMax = 3 * testChunk // without slack
	w.tree(newDir(r.target, ".", state, v.Root))
	close(r.batches)
	r.workers.Wait()
	if rep := r.report(); r.ctx.Err() != nil || rep.HardLinks != 39 || rep.Files != 1 {
		t.Errorf("40 links: %v, %+v", context.Cause(r.ctx), rep)
	}
	r.dirs.release(r.target)
	r.dirs.close()
}
