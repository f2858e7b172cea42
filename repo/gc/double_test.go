package gc_test

import (
	"bytes"
	"crypto/rand"
	"fmt"
	"testing"
	"time"

	"vault/backend"
	"vault/crypto"
	"vault/index"
	"vault/internal/repotest"
	"vault/pack"
	"vault/repo"
	"vault/repo/gc"
	"vault/snapshot"
)

// doubled stores a pack of data blobs, each twice, and a backup of that tree that
// names it. No writer of ours makes such a pack; another one may.
func doubled(t *testing.T, be backend.Backend, r *repo.Repo, blobs [][]byte, root *snapshot.Node) *snapshot.Backup {
	t.Helper()
	must := func(err error) {
		if err != nil {
			t.Fatal(err)
		}
	}
	keys := r.Keys()
	sid, err := crypto.NewSessionID(time.Now(), rand.Reader)
	must(err)
	b, err := pack.NewBuilder(keys, sid, crypto.BlobData, 256<<10, nil, rand.Reader)
	must(err)
	coder := pack.NewCoder(pack.LevelNone)
	for range 2 {
		for _, data := range blobs {
			id := keys.BlobID(crypto.BlobData, data)
			slot, ok := b.Reserve(data, pack.Stored, len(data), []pack.Blob{{ID: id, Length: uint32(len(data))}})
			if !ok {
				t.Fatal("the pack is full")
			}
			slot.Seal(data)
			_, err := slot.Verify(coder, nil)
			must(err)
		}
	}
	f, err := b.Finish()
	must(err)
	must(be.Put(t.Context(), f.ID.Path(), f.Bytes))
	var rows index.Builder
	must(rows.Add(f.ID, len(f.Bytes), f.Header, f.Directory))
	segment, err := keys.SealEnvelope(crypto.KindIndex, sid, "", rows.Encode(), rand.Reader)
	must(err)
	name := crypto.FileHash(segment)
	must(be.Put(t.Context(), fmt.Sprintf("index/%x", name[:]), segment))
	saved := &snapshot.Backup{ID: sid, Host: "h", Time: snapshot.TimeOf(time.Now()), Index: [][32]byte{name}, Volumes: []snapshot.Volume{{
		Name: "data", Kind: snapshot.VolumePath, State: snapshot.Complete, Root: root,
	}}}
	payload, err := snapshot.EncodeCommit(&snapshot.Commit{Kind: snapshot.CommitBackup, Backup: saved})
	must(err)
	commit := "commits/" + sid.String()
	record, err := keys.SealEnvelope(crypto.KindCommit, sid, commit, payload, rand.Reader)
	must(err)
	must(be.Create(t.Context(), commit, record))
	return saved
}

// TestABlobTwiceInAPack is rustic#392: a pack holds blobs twice, which a collection
// must neither stumble over nor lose; nor does it keep both for ever.
func TestABlobTwiceInAPack(t *testing.T) {
	be, r := repotest.New(t)
	t.Cleanup(func() { repotest.MustCheck(t, be) })
	c := repotest.MakeContent(5, 6)
	first := repotest.MustBackup(t, r, c)
	var blobs [][]byte
	for i := range len(c) {
		for part := c[fmt.Sprintf("file-%03d", i)]; len(part) > 0; part = part[min(len(part), 8000):] {
			blobs = append(blobs, bytes.Clone(part[:min(len(part), 8000)]))
		}
	}
	b := doubled(t, be, repotest.Open(t, be), blobs, first.Volumes[0].Root)
	mustForget(t, repotest.Open(t, be), first)
	for _, limits := range []gc.Limits{{MaxRepack: 0}, {MaxRepack: -1}, {MaxRepack: -1}} {
		o := atOnce()
		o.Limits = limits
		mustRun(t, repotest.Open(t, be), o)
		mustRestore(t, be, b, c)
	}
	ix, err := repotest.Open(t, be).Index(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	seen := map[crypto.ID]bool{}
	for row := range ix.NewMarks().Rows() {
		if seen[row.ID] {
			t.Errorf("blob %s is still there twice", row.ID)
		}
		seen[row.ID] = true
	}
}
