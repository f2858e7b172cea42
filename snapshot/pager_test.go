package snapshot

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"

	"vault/crypto"
)

// refEntry is an entry of the reference implementation.
type refEntry struct {
	bytes []byte
	name  string    // directories
	id    crypto.ID // of a data item or page
	data  bool      // is a data item or page
	below uint64
}

// referenceCut is section 9 word by word, with everything in memory: it returns
// the top page of the list and stores all pages.
func referenceCut(store *memStore, th Thresholds, leaves PageKind, entries []refEntry) crypto.ID {
	encode := func(level uint8, page []refEntry) []byte {
		b := []byte{1, byte(leaves), level}
		if level > 0 {
			b[1]++
		}
		b = binary.AppendUvarint(b, uint64(len(page)))
		for _, e := range page {
			b = append(b, e.bytes...)
		}
		return b
	}
	length := func(page []refEntry) int {
		n := 3 + len(binary.AppendUvarint(nil, uint64(len(page))))
		for _, e := range page {
			n += len(e.bytes)
		}
		return n
	}
	cut := func(level uint8, e refEntry) bool {
		var h uint64
		if leaves == DirLeaf {
			h = testKeys.PageHash(level, e.name)
		} else if !e.data {
			return false
		} else {
			h = binary.LittleEndian.Uint64(e.id[:8])
		}
		return h%(1<<th.CutBits) == 0
	}
	for level := uint8(0); ; level++ {
		var pages [][]refEntry
		if len(entries) <= th.SinglePage && length(entries) <= th.PageBytes {
			pages = [][]refEntry{entries}
		} else {
			var page []refEntry
			for i, e := range entries {
				page = append(page, e)
				end := i == len(entries)-1 || len(page) == th.PageEntries ||
					cut(level, e) && (level == 0 || len(page) > 1) ||
					length(append(page, entries[i+1])) > th.PageBytes
				if end {
					pages = append(pages, page)
					page = nil
				}
			}
		}
		var next []refEntry
		for _, page := range pages {
			e := refEntry{data: true}
			e.id, _ = store.Put(context.Background(), crypto.BlobTree, encode(level, page))
			for _, x := range page {
				e.below += x.below
				e.name = x.name
			}
			if leaves == DirLeaf {
				e.bytes = append(binary.AppendUvarint(nil, uint64(len(e.name))), e.name...)
			}
			e.bytes = binary.AppendUvarint(append(e.bytes, e.id[:]...), e.below)
			next = append(next, e)
		}
		if len(next) == 1 {
			return next[0].id
		}
		entries = next
	}
}

// sameBlobs compares what two stores hold.
func sameBlobs(a, b *memStore) bool {
	if len(a.blobs) != len(b.blobs) {
		return false
	}
	for k := range a.blobs {
		if _, ok := b.blobs[k]; !ok {
			return false
		}
	}
	return true
}

// smallThresholds makes lists of several levels out of few entries.
func smallThresholds(rng *rand.Rand) Thresholds {
	th := DefaultThresholds()
	th.SinglePage = 1 + rng.IntN(40)
	th.CutBits = uint8(1 + rng.IntN(5))
	th.PageEntries = 2 + rng.IntN(60)
	th.PageBytes = minPageBytes + rng.IntN(minPageBytes)
	th.InlineItems = 1 + rng.IntN(maxItems)
	return th
}

func TestDirCutMatchesReference(t *testing.T) {
	rng := newRand(1)
	maxLevel := uint8(0)
	w := map[Thresholds]*DirWriter{}
	for round := range 80 {
		th := smallThresholds(rng)
		if round%3 == 0 {
			th = DefaultThresholds()
		}
		n := rng.IntN(1500)
		names := map[string]bool{}
		for range n {
			name := fmt.Sprintf("%x", rng.Uint64N(1<<40))
			switch rng.IntN(50) {
			case 0:
				name += strings.Repeat("n", rng.IntN(4000)) // so that page bytes matter
			case 1:
				name = strings.Repeat("z", 1+rng.IntN(4096))
			}
			names[name] = true
		}
		var nodes []*Node
		var refs []refEntry
		for name := range names {
			node := fileNode(name, rng.IntN(3)*50)
			if rng.IntN(100) == 0 { // longer than a small page
				for i := range 1 + rng.IntN(40) {
					node.Xattrs = append(node.Xattrs, Xattr{Name: fmt.Sprintf("user.%02d", i), Value: make([]byte, 1000)})
				}
			}
			nodes = append(nodes, node)
		}
		slices.SortFunc(nodes, func(a, b *Node) int { return strings.Compare(a.Name, b.Name) })
		for _, node := range nodes {
			refs = append(refs, refEntry{bytes: mustEntry(node), name: node.Name, below: 1})
		}

		got, want := newStore(), newStore()
		if w[th] == nil {
			w[th] = NewDirWriter(nil, testKeys, th) // used again and again
		}
		w[th].pages.sink = got
		for _, node := range nodes {
			if err := w[th].Add(t.Context(), node); err != nil {
				t.Fatal(err)
			}
		}
		top, err := w[th].Finish(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if ref := referenceCut(want, th, DirLeaf, refs); ref != top || !sameBlobs(got, want) {
			t.Fatalf("round %d: %d entries, %+v: %d pages with top %v; want %d with top %v", round, len(nodes), th, len(got.blobs), top, len(want.blobs), ref)
		}
		maxLevel = max(maxLevel, got.blobs[blobKey{crypto.BlobTree, top}][2])
		i := 0
		for n, err := range ReadDir(t.Context(), got, top) {
			if err != nil {
				t.Fatal(err)
			}
			if i >= len(nodes) || !reflect.DeepEqual(n, nodes[i]) {
				t.Fatalf("round %d: entry %d is %+v", round, i, n)
			}
			i++
		}
		if i != len(nodes) {
			t.Fatalf("round %d: %d entries, want %d", round, i, len(nodes))
		}
	}
	if maxLevel < 4 {
		t.Errorf("the deepest list had a top on level %d: the test does not reach far", maxLevel)
	}
}

func TestContentCutMatchesReference(t *testing.T) {
	rng := newRand(2)
	for round := range 80 {
		th := smallThresholds(rng)
		if round%3 == 0 {
			th = DefaultThresholds()
		}
		n := rng.IntN(3000)
		var added, items []Item
		for range n {
			it := dataItem(rng, 1+rng.Uint64N(1<<20))
			if rng.IntN(4) == 0 {
				it = Item{Kind: ItemZero + ItemKind(rng.IntN(2)), Length: 1 + rng.Uint64N(1<<30)}
			}
			added = append(added, it)
			if k := len(items); k > 0 && it.Kind != ItemData && items[k-1].Kind == it.Kind {
				items[k-1].Length += it.Length
			} else {
				items = append(items, it)
			}
		}
		var refs []refEntry
		size := uint64(0)
		for _, it := range items {
			refs = append(refs, refEntry{bytes: appendItem(nil, it), id: it.ID, data: it.Kind == ItemData, below: it.Length})
			size += it.Length
		}
		got, want := newStore(), newStore()
		w := NewContentWriter(got, th)
		for range 2 { // the second time with used buffers
			for _, it := range added {
				if err := w.Add(t.Context(), it); err != nil {
					t.Fatal(err)
				}
			}
			if w.Size() != size {
				t.Fatalf("size %d, want %d", w.Size(), size)
			}
			c, err := w.Finish(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if len(items) <= th.InlineItems {
				if len(items) != len(c.Items) || len(items) > 0 && !slices.Equal(c.Items, items) || !c.List.IsZero() || len(got.blobs) > 0 {
					t.Fatalf("round %d: %d items in place: %+v", round, len(items), c)
				}
			} else if ref := referenceCut(want, th, ContentLeaf, refs); c.List != ref || c.Items != nil || !sameBlobs(got, want) {
				t.Fatalf("round %d: %d items, %+v: top %v, want %v", round, len(items), th, c.List, ref)
			}
			var back []Item
			for it, err := range Items(t.Context(), got, c, size) {
				if err != nil {
					t.Fatal(err)
				}
				back = append(back, it)
			}
			if !slices.Equal(back, items) {
				t.Fatalf("round %d: %d items read, want %d", round, len(back), len(items))
			}
			checkRanges(t, rng, got, c, items, size)
		}
	}
}

// checkRanges compares Range with a search in all items.
func checkRanges(t *testing.T, rng *rand.Rand, src Source, c Content, items []Item, size uint64) {
	t.Helper()
	for range 5 {
		off, n := rng.Uint64N(size+2), rng.Uint64N(size+2)
		if rng.IntN(2) == 0 {
			n = rng.Uint64N(1 << 21)
		}
		var want []Extent
		at := uint64(0)
		for _, it := range items {
			if at+it.Length > off && at < off+n {
				want = append(want, Extent{it, at})
			}
			at += it.Length
		}
		var got []Extent
		for x, err := range Range(t.Context(), src, c, size, off, n) {
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, x)
		}
		if !slices.Equal(got, want) {
			t.Fatalf("range %d+%d of %d bytes: %v, want %v", off, n, size, got, want)
		}
	}
}

func TestSinglePageRule(t *testing.T) {
	th := DefaultThresholds()
	for _, tt := range []struct {
		entries   int
		wantLevel uint8
	}{{0, 0}, {1, 0}, {512, 0}, {513, 1}} {
		store := newStore()
		top := writeDir(t, store, th, numbered(tt.entries))
		if level := store.blobs[blobKey{crypto.BlobTree, top}][2]; level != tt.wantLevel {
			t.Errorf("%d entries: top page on level %d, want %d", tt.entries, level, tt.wantLevel)
		}
	}
	// Two entries that fill a page to the last byte, and one byte more.
	th.PageBytes = minPageBytes
	for _, more := range []int{0, 1} {
		a, b := fileNode("a", 0), fileNode("b", 0)
		for i := range 15 {
			a.Xattrs = append(a.Xattrs, Xattr{Name: fmt.Sprintf("user.%02d", i), Value: make([]byte, 1020)})
		}
		b.Xattrs = []Xattr{{Name: "user", Value: make([]byte, 200)}}
		need := func() int { return pageHeadSize + 1 + len(mustEntry(a)) + len(mustEntry(b)) }
		b.Xattrs[0].Value = make([]byte, 200+th.PageBytes+more-need())
		if need() != th.PageBytes+more {
			t.Fatal("the test's arithmetic is wrong")
		}
		store := newStore()
		writeDir(t, store, th, []*Node{a, b})
		if want := 1 + 2*more; len(store.blobs) != want {
			t.Errorf("%d bytes over: %d pages, want %d", more, len(store.blobs), want)
		}
	}
	// An entry longer than a page stands alone, and alone it is the top.
	long := fileNode("m", 0)
	for i := range 20 {
		long.Xattrs = append(long.Xattrs, Xattr{Name: fmt.Sprintf("user.%02d", i), Value: make([]byte, 1000)})
	}
	store := newStore()
	top := writeDir(t, store, th, []*Node{long})
	if len(store.blobs) != 1 || store.blobs[blobKey{crypto.BlobTree, top}][2] != 0 {
		t.Errorf("a lone long entry takes %d pages", len(store.blobs))
	}
	store = newStore()
	writeDir(t, store, th, []*Node{fileNode("a", 0), long, fileNode("z", 0)})
	if len(store.blobs) != 4 {
		t.Errorf("a long entry between two takes %d pages, want 4", len(store.blobs))
	}
}

// TestPageBytesToTheByte varies the limit by single bytes around the length of
// a page of 128 entries, where the count takes a second byte, both for pages
// cut in hindsight and for those cut as entries come.
func TestPageBytesToTheByte(t *testing.T) {
	var nodes []*Node
	var refs []refEntry
	size := pageHeadSize + 2
	for i := range 500 {
		n := &Node{Name: fmt.Sprintf("%04d%s", i, strings.Repeat("n", 120+i%7)), Type: FIFO}
		e := mustEntry(n)
		nodes, refs = append(nodes, n), append(refs, refEntry{bytes: e, name: n.Name, below: 1})
		if i < 128 {
			size += len(e)
		}
	}
	for _, single := range []int{1, 499} {
		th := DefaultThresholds()
		th.SinglePage, th.CutBits = single, 32
		for th.PageBytes = size - 3; th.PageBytes <= size+3; th.PageBytes++ {
			got, want := newStore(), newStore()
			top := writeDir(t, got, th, nodes)
			if ref := referenceCut(want, th, DirLeaf, refs); ref != top || !sameBlobs(got, want) {
				t.Errorf("single page %d, page bytes %d of %d: pages differ", single, th.PageBytes, size)
			}
		}
	}
}

func TestOneEntryTouchesFewPages(t *testing.T) {
	nodes := numbered(100_000)
	store := newStore()
	top := writeDir(t, store, DefaultThresholds(), nodes)
	pages := store.added
	rng := newRand(3)
	for range 5 {
		i := rng.IntN(len(nodes))
		extra := fileNode(nodes[i].Name+"x", 5)
		before := store.added
		changed := writeDir(t, store, DefaultThresholds(), slices.Insert(slices.Clone(nodes), i+1, extra))
		if added := store.added - before; added < 2 || added > 6 || changed == top {
			t.Errorf("one entry more stores %d of %d pages anew", added, pages)
		}
	}
	if again := writeDir(t, newStore(), DefaultThresholds(), nodes); again != top {
		t.Errorf("the same entries give %v and %v", top, again)
	}
}

func TestMillionItems(t *testing.T) {
	rng := newRand(4)
	store := newStore()
	w := NewContentWriter(store, DefaultThresholds())
	const count = 1_000_000
	size := uint64(0)
	for range count {
		it := dataItem(rng, 1+rng.Uint64N(1<<20))
		size += it.Length
		if err := w.Add(t.Context(), it); err != nil {
			t.Fatal(err)
		}
	}
	c, err := w.Finish(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	held := 0
	for i := range w.pages.levels {
		held += cap(w.pages.levels[i].buf)
	}
	if held > 1<<20 {
		t.Errorf("the writer holds %d bytes", held)
	}
	n := 0
	for _, err := range Items(t.Context(), store, c, size) {
		if err != nil {
			t.Fatal(err)
		}
		n++
	}
	if n != count {
		t.Errorf("%d items, want %d", n, count)
	}
	store.gets = 0
	for x, err := range Range(t.Context(), store, c, size, size/2, 1) {
		if err != nil || x.Offset > size/2 || x.Offset+x.Length <= size/2 {
			t.Errorf("middle of the file: %+v, %v", x, err)
		}
	}
	if store.gets > 4 {
		t.Errorf("one byte takes %d pages", store.gets)
	}
}

func TestWriterRefuses(t *testing.T) {
	store := newStore()
	w := NewDirWriter(store, testKeys, DefaultThresholds())
	if err := w.Add(t.Context(), fileNode("m", 1)); err != nil {
		t.Fatal(err)
	}
	for _, n := range []*Node{fileNode("m", 1), fileNode("a", 1), fileNode("", 1), fileNode("..", 1), fileNode("n/o", 1), {Name: "n"}} {
		if err := w.Add(t.Context(), n); !errors.Is(err, errNode) {
			t.Errorf("%q: %v", n.Name, err)
		}
	}
	if w.Count() != 1 {
		t.Errorf("%d entries, want 1", w.Count())
	}
	top, err := w.Finish(t.Context())
	if want := store.page(DirLeaf, 0, mustEntry(fileNode("m", 1))); err != nil || top != want {
		t.Errorf("refused entries left a trace: %v, %v", top, err)
	}

	c := NewContentWriter(store, DefaultThresholds())
	for _, it := range []Item{{}, {Kind: ItemHole}, {Kind: 4, Length: 1}, {Kind: ItemData, Length: MaxBlob + 1}, {Kind: ItemZero, Length: 1 << 63}} {
		if c.Add(t.Context(), it) == nil {
			t.Errorf("%+v is accepted", it)
		}
	}
	if err := errors.Join(c.Add(t.Context(), Item{Kind: ItemHole, Length: MaxFileSize}), c.Add(t.Context(), Item{Kind: ItemHole, Length: 1})); err == nil {
		t.Error("a file of 2^63 bytes is accepted")
	}
}

// TestWriterFailure: an error of the sink comes through, at whatever page, and
// Reset makes the writer as new.
func TestWriterFailure(t *testing.T) {
	nodes := numbered(5000)
	whole := newStore()
	top := writeDir(t, whole, DefaultThresholds(), nodes)
	boom := errors.New("disk full")
	for _, at := range []int{0, 1, whole.added / 2, whole.added - 1} {
		sink := &failingSink{memStore: newStore(), left: at, err: boom}
		w := NewDirWriter(sink, testKeys, DefaultThresholds())
		var err error
		for _, n := range nodes {
			if err = w.Add(t.Context(), n); err != nil {
				break
			}
		}
		if err == nil {
			_, err = w.Finish(t.Context())
		}
		if !errors.Is(err, boom) {
			t.Errorf("page %d: %v", at, err)
		}
		w.Reset()
		sink.left = 1 << 30
		for _, n := range nodes {
			if err := w.Add(t.Context(), n); err != nil {
				t.Fatal(err)
			}
		}
		if again, err := w.Finish(t.Context()); err != nil || again != top {
			t.Errorf("after Reset: %v, %v, want %v", again, err, top)
		}
	}
}

type failingSink struct {
	*memStore
	left int
	err  error
}

func (s *failingSink) Put(ctx context.Context, kind crypto.BlobKind, data []byte) (crypto.ID, error) {
	if s.left--; s.left < 0 {
		return crypto.ID{}, s.err
	}
	return s.memStore.Put(ctx, kind, data)
}

func TestThresholds(t *testing.T) {
	if err := DefaultThresholds().Validate(); err != nil {
		t.Error(err)
	}
	for name, f := range map[string]func(*Thresholds){
		"single 0":    func(t *Thresholds) { t.SinglePage = 0 },
		"cut bits 0":  func(t *Thresholds) { t.CutBits = 0 },
		"cut bits 33": func(t *Thresholds) { t.CutBits = 33 },
		"one entry":   func(t *Thresholds) { t.PageEntries = 1 },
		"page bytes":  func(t *Thresholds) { t.PageBytes = minPageBytes - 1 },
		"large page":  func(t *Thresholds) { t.PageBytes = MaxBlob + 1 },
		"items":       func(t *Thresholds) { t.InlineItems = 65 },
		"xattr":       func(t *Thresholds) { t.InlineXattr = 2048 },
		"negative":    func(t *Thresholds) { t.InlineFile = -1 },
	} {
		th := DefaultThresholds()
		f(&th)
		if th.Validate() == nil {
			t.Errorf("%s is accepted", name)
		}
	}
}

func TestDirWriterDoesNotAllocate(t *testing.T) {
	nodes := numbered(20_000)
	w := NewDirWriter(nullSink{}, fnvHasher{}, DefaultThresholds()) // crypto's pools allocate under the race detector
	run := func() {
		for _, n := range nodes {
			if err := w.Add(t.Context(), n); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := w.Finish(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	run()
	if a := testing.AllocsPerRun(3, run); a > 500 {
		t.Errorf("%v allocations for %d entries", a, len(nodes))
	}
}

type nullSink struct{}

func (nullSink) Put(context.Context, crypto.BlobKind, []byte) (crypto.ID, error) {
	return crypto.ID{1}, nil
}

type fnvHasher struct{}

func (fnvHasher) PageHash(level uint8, name string) uint64 {
	h := uint64(14695981039346656037) + uint64(level)
	for i := range len(name) {
		h = (h ^ uint64(name[i])) * 1099511628211
	}
	return h >> 8
}

type discard struct{}

func (discard) Put(_ context.Context, kind crypto.BlobKind, data []byte) (crypto.ID, error) {
	return testKeys.BlobID(kind, data), nil
}

func BenchmarkDirWriter(b *testing.B) {
	for _, size := range []int{10, 400, 100_000} {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			nodes := numbered(size)
			w := NewDirWriter(discard{}, testKeys, DefaultThresholds())
			b.ReportAllocs()
			n := 0
			for b.Loop() {
				for _, node := range nodes {
					if err := w.Add(b.Context(), node); err != nil {
						b.Fatal(err)
					}
				}
				if _, err := w.Finish(b.Context()); err != nil {
					b.Fatal(err)
				}
				n += size
			}
			b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "entries/s")
		})
	}
}

func BenchmarkDirReader(b *testing.B) {
	store := newStore()
	top := writeDir(b, store, DefaultThresholds(), numbered(100_000))
	b.ReportAllocs()
	n := 0
	for b.Loop() {
		d := NewDirReader(b.Context(), store, top)
		for {
			if _, err := d.Next(); err != nil {
				break
			}
			n++
		}
	}
	b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "entries/s")
}
