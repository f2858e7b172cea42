package repo

import (
	"encoding/binary"
	"runtime"
	"slices"
	"testing"

	"vault/crypto"
	"vault/index"
	"vault/pack"
	"vault/snapshot"
)

// indexOf is a segment of rows blobs, whose names depend on the seed.
func indexOf(t *testing.T, seed byte, rows int) *index.Segment {
	t.Helper()
	g := pack.SegmentInfo{Offset: crypto.HeaderSize, Raw: uint32(rows), Stored: uint32(rows + pack.Overhead), Blobs: make([]pack.Blob, rows)}
	for i := range g.Blobs {
		id := crypto.ID{8: seed}
		binary.BigEndian.PutUint64(id[:], uint64(i)*0x9e3779b97f4a7c15)
		g.Blobs[i] = pack.Blob{ID: id, Length: 1}
	}
	var b index.Builder
	d := pack.Directory{Kind: crypto.BlobData, Segments: []pack.SegmentInfo{g}}
	if err := b.Add(pack.ID{seed}, crypto.PaddedSize(2*rows+1000), make([]byte, crypto.HeaderSize), d); err != nil {
		t.Fatal(err)
	}
	s, err := index.NewSegment(b.Encode())
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// TestRefreshSharesIndex: a view has the index of the one before if it counts the
// same segments, and the filters that both need are there once.
func TestRefreshSharesIndex(t *testing.T) {
	ctx := t.Context()
	segments := map[[32]byte]*index.Segment{{1}: indexOf(t, 1, 50_000), {2}: indexOf(t, 2, 500), {3}: indexOf(t, 3, 100)}
	load := func(old *view, names ...[32]byte) *view {
		t.Helper()
		v := &view{commits: map[crypto.SessionID]*snapshot.Commit{{1}: {Kind: snapshot.CommitBackup, Backup: &snapshot.Backup{Index: names}}}}
		old.segments = segments // nothing has to be read
		if err := new(Repo).loadIndex(ctx, v, old); err != nil {
			t.Fatal(err)
		}
		rows := 0
		for s := range v.index.Segments() {
			if rows += s.Len(); !slices.ContainsFunc(names, func(n [32]byte) bool { return segments[n] == s }) {
				t.Error("a segment that was not wanted")
			}
		}
		want := 0
		for _, n := range names {
			want += segments[n].Len()
		}
		if rows != want || v.index.Len() != want || len(v.segments) != len(names) {
			t.Errorf("%d rows in the index, %d in its segments, want %d", v.index.Len(), rows, want)
		}
		return v
	}
	first := load(&view{}, [32]byte{1}, [32]byte{2})
	if again := load(first, [32]byte{2}, [32]byte{1}); again.index != first.index {
		t.Error("nothing changed, and yet there is another index")
	}
	for _, names := range [][][32]byte{{{1}, {2}, {3}}, {{1}}, {{1}, {3}}} {
		var next *view
		took := uint64(1 << 60)
		for range 5 { // the least: what other goroutines take is no part of it
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			next = load(first, names...)
			runtime.ReadMemStats(&after)
			took = min(took, after.TotalAlloc-before.TotalAlloc)
		}
		if whole := uint64(first.index.HeapBytes()); took > whole/3 {
			t.Errorf("%d segments: %d bytes beside the %d of the index before", len(names), took, whole)
		}
		if next.index == first.index {
			t.Error("another set of segments, and the same index")
		}
	}
	if none := load(first); none.index.Len() != 0 {
		t.Error("no segments, and an index")
	}
}
