package restore

import (
	"context"
	"fmt"
	"sync"
	"testing"

	"vault/crypto"
	"vault/snapshot"
)

// distantStore is a store that is told ahead, and notes what came unannounced.
type distantStore struct {
	*store
	mu     sync.Mutex // guards what follows
	told   map[crypto.ID]bool
	untold map[crypto.ID]bool // read without having been announced, or for the first time before that
	most   int                // announced in one call
}

func (d *distantStore) Distant() bool { return true }

func (d *distantStore) Prefetch(_ context.Context, _ crypto.BlobKind, ids ...crypto.ID) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.most = max(d.most, len(ids))
	for _, id := range ids {
		d.told[id] = true
	}
}

func (d *distantStore) Get(ctx context.Context, kind crypto.BlobKind, id crypto.ID, dst []byte) ([]byte, error) {
	d.mu.Lock()
	if !d.told[id] {
		d.untold[id] = true
	}
	d.mu.Unlock()
	return d.store.Get(ctx, kind, id, dst)
}

// TestAnnounced: all of a tree is announced to a distant store before it is
// asked for, but for the pages of the root and of very long directories.
func TestAnnounced(t *testing.T) {
	s := newStore()
	var top []ent
	const dirs, files = 300, 3
	for i := range dirs {
		var in []ent
		for j := range files {
			in = append(in, s.fileOf(fmt.Sprint(j), fmt.Sprintf("a %0200d %d", i, j)))
		}
		in = append(in, dirOf("deeper", s.fileOf("x", fmt.Sprintf("b %0200d", i))))
		top = append(top, dirOf(fmt.Sprintf("d%04d", i), in...), s.fileOf(fmt.Sprintf("d%04d-file", i), fmt.Sprintf("c %0200d", i)))
	}
	root := s.tree(dirOf("", top...))
	d := &distantStore{store: s, told: map[crypto.ID]bool{}, untold: map[crypto.ID]bool{}}
	v := &snapshot.Volume{Name: "v", State: snapshot.Complete, Root: root}
	report, err := Run(t.Context(), Options{Source: d, Target: t.TempDir()}, []Volume{{Volume: v, Dir: "v"}})
	if err != nil || report.ProblemCount > 0 || report.Files != dirs*(files+2) {
		t.Fatal(err, report.Problems, report.Files)
	}
	if len(d.told) < dirs*(files+2) || d.most > treesAhead {
		t.Errorf("%d blobs were announced, %d of them at once", len(d.told), d.most)
	}
	if n := len(d.untold); n > dirs/20 { // the root's pages
		t.Errorf("%d blobs came unannounced, of %d", n, len(d.told))
	}
}

// TestLead: what waits for workers is bounded, and a node larger than the bound passes.
func TestLead(t *testing.T) {
	var l lead
	l.take(3 * maxLeadBytes)
	took := make(chan bool)
	go func() { l.take(1); took <- true }()
	select {
	case <-took:
		t.Fatal("more was taken than may wait")
	default:
	}
	l.give(3 * maxLeadBytes)
	<-took
	l.take(maxLeadBytes - 1)
	l.give(maxLeadBytes)
	if l.held != 0 {
		t.Errorf("%d bytes are held", l.held)
	}
	big := &snapshot.Node{Name: "n", Xattrs: []snapshot.Xattr{{Name: "user.a", Value: make([]byte, 1000)}}, Content: snapshot.Content{Inline: make([]byte, 2000)}}
	if n := footprint(big); n < 3000 || n > 5000 {
		t.Errorf("a node of 3000 bytes counts as %d", n)
	}
}
