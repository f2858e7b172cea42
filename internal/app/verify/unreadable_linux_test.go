package verify

import (
	"context"
	"errors"
	"sync"
	"testing"

	"vault/crypto"
	"vault/repo"
	"vault/snapshot"
)

// lossy is a source that cannot deliver one blob.
type lossy struct {
	snapshot.Source
	lost crypto.ID
	err  error

	mu    sync.Mutex // guards asked
	asked map[crypto.ID]bool
}

func (l *lossy) Get(ctx context.Context, kind crypto.BlobKind, id crypto.ID, dst []byte) ([]byte, error) {
	l.mu.Lock()
	l.asked[id] = true
	l.mu.Unlock()
	if id == l.lost {
		return nil, l.err
	}
	return l.Source.Get(ctx, kind, id, dst)
}

// TestUnreadable: whichever blob of a backup cannot be had, that is a problem that is
// found, or the verification cannot be carried out; where the storage cannot be reached
// it is always the latter, and nothing that is merely out of reach is called damaged.
func TestUnreadable(t *testing.T) {
	ocisRepo, roots := backup(t, map[string]string{"users": unpack(t, "ocis-decomposedfs-mpk.tgz")})
	dump, images := orthancFixture(t, "orthanc.sql")
	vna := orthancRepo(t, dump, images)
	for name, c := range map[string]struct {
		source snapshot.Source
		check  func(r *Reader) (Summary, error)
	}{
		"ocis": {ocisRepo, func(r *Reader) (Summary, error) {
			return Ocis(t.Context(), r, OcisTree{Volume: "users", Root: roots["users"]})
		}},
		"orthanc-pg": {vna.source, func(r *Reader) (Summary, error) { return Orthanc(t.Context(), r, vna.tree) }},
	} {
		run := func(lost crypto.ID, state repo.State) (list []Finding, asked map[crypto.ID]bool, err error) {
			l := &lossy{Source: c.source, lost: lost, err: &repo.StateError{State: state, Object: "packs/x", Err: errors.New("gone")}, asked: map[crypto.ID]bool{}}
			_, err = c.check(&Reader{Source: l, Found: func(f Finding) { list = append(list, f) }})
			return list, l.asked, err
		}
		list, asked, err := run(crypto.ID{}, repo.Damaged)
		if err != nil || len(list) != 0 || len(asked) < 20 {
			t.Fatalf("%s: %d blobs, %v, %v", name, len(asked), list, err)
		}
		found := 0
		for id := range asked {
			if list, _, err := run(id, repo.Damaged); err == nil && !has(list, "unreadable", "") {
				t.Errorf("%s: a lost blob was not missed: %v", name, list)
			} else if err == nil {
				found++
			}
			if list, _, err := run(id, repo.Unreachable); repo.StateOf(err) != repo.Unreachable || has(list, "unreadable", "") {
				t.Errorf("%s: out of reach: %v, %v", name, err, list)
			}
		}
		if found < len(asked)/2 {
			t.Errorf("%s: of %d lost blobs only %d are findings", name, len(asked), found)
		}
	}
}
