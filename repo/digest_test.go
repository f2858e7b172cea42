package repo_test

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"vault/backend"
	"vault/backend/backendtest"
	"vault/backend/mem"
	"vault/internal/repotest"
	"vault/repo"
)

// asked counts the commits and events that a client with this cache fetches to list all backups.
func asked(t *testing.T, be backend.Backend, dir string, distant bool) (gets, backups int) {
	t.Helper()
	f := backendtest.NewFaulty(be)
	r := repotest.OpenEnv(t, f, repo.Env{CacheDir: dir, CacheObjects: distant})
	list, err := r.Backups(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	for _, op := range f.Ops() {
		if op.Kind == backendtest.Get && (strings.HasPrefix(op.Name, "commits/") || strings.HasPrefix(op.Name, "events/")) {
			gets++
		}
	}
	return gets, len(list)
}

// TestDigest: a client that has read all records reads one file the next time,
// and only what is new from the store.
func TestDigest(t *testing.T) {
	for _, distant := range []bool{false, true} {
		ctx := context.Background()
		be, r := repotest.New(t)
		t.Cleanup(func() { repotest.MustCheck(t, be) })
		dir := t.TempDir()
		content := repotest.MakeContent(1, 1)
		for range 100 {
			repotest.MustBackup(t, r, content)
		}
		list, err := r.Backups(ctx)
		if err != nil {
			t.Fatal(err)
		}
		if err := r.Forget(ctx, list[3].ID, repo.Event{}); err != nil {
			t.Fatal(err)
		}
		want := len(list) - 1
		if gets, n := asked(t, be, dir, distant); gets != 101 || n != want {
			t.Errorf("distant %v: the first time %d gets, %d backups", distant, gets, n)
		}
		if gets, n := asked(t, be, dir, distant); gets != 0 || n != want {
			t.Errorf("distant %v: the second time %d gets, %d backups", distant, gets, n)
		}
		repotest.MustBackup(t, r, content)
		if gets, n := asked(t, be, dir, distant); gets != 1 || n != want+1 {
			t.Errorf("distant %v: after one more %d gets, %d backups", distant, gets, n)
		}

		// What is not listed any more does not count, whatever the file has.
		other := repotest.Copy(t, be)
		if err := other.Delete(ctx, "commits/"+list[7].ID.String()); err != nil {
			t.Fatal(err)
		}
		if _, n := asked(t, other, dir, distant); n != want {
			t.Errorf("distant %v: %d backups, one commit is gone", distant, n)
		}
	}
}

// TestDigestDamaged: any other bytes than those written cost a reading, and nothing else.
func TestDigestDamaged(t *testing.T) {
	be, r := repotest.New(t)
	t.Cleanup(func() { repotest.MustCheck(t, be) })
	for range 70 {
		repotest.MustBackup(t, r, repotest.MakeContent(1, 1))
	}
	dir := t.TempDir()
	asked(t, be, dir, false)
	file := filepath.Join(dir, r.ID().String(), "digest")
	good, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(good, []byte("commits/")) {
		t.Error("the file can be read without the key")
	}
	flipped := bytes.Clone(good)
	flipped[len(flipped)/2] ^= 1
	_, stranger := strangersDigest(t)
	for name, bad := range map[string][]byte{"empty": {}, "cut": good[:len(good)-1], "flipped": flipped, "another repository's": stranger} {
		if err := os.WriteFile(file, bad, 0o600); err != nil {
			t.Fatal(err)
		}
		if gets, n := asked(t, be, dir, false); gets != 70 || n != 70 {
			t.Errorf("%s: %d gets, %d backups", name, gets, n)
		}
		if now, err := os.ReadFile(file); err != nil || len(now) != len(good) {
			t.Errorf("%s: not written anew: %v", name, err)
		}
	}
}

func strangersDigest(t *testing.T) (*mem.Backend, []byte) {
	be, r := repotest.New(t)
	for range 70 {
		repotest.MustBackup(t, r, repotest.MakeContent(1, 1))
	}
	dir := t.TempDir()
	asked(t, be, dir, false)
	b, err := os.ReadFile(filepath.Join(dir, r.ID().String(), "digest"))
	if err != nil {
		t.Fatal(err)
	}
	return be, b
}
