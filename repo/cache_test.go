package repo_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"vault/backend/backendtest"
	"vault/internal/repotest"
	"vault/repo"
	"vault/repo/gc"
)

// cachedFiles returns the files of the cache, relative to it.
func cachedFiles(t *testing.T, dir string) (files []string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			files = append(files, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// TestCacheIsOfNoConsequence: whatever is done to the cache, the same comes
// out; and with it intact, what never changes is not asked for twice.
func TestCacheIsOfNoConsequence(t *testing.T) {
	be, r := repotest.New(t)
	t.Cleanup(func() { repotest.MustCheck(t, be) })
	c := repotest.MakeContent(1, 40)
	repotest.MustBackup(t, r, c)
	env := repo.Env{CacheDir: t.TempDir(), CacheObjects: true}
	use := func(what string) (asked []string) {
		t.Helper()
		f := backendtest.NewFaulty(be)
		r := repotest.OpenEnv(t, f, env)
		list, err := r.Backups(t.Context())
		if err != nil || len(list) == 0 {
			t.Fatalf("%s: %v", what, err)
		}
		if err := repotest.Restore(t.Context(), r, list[0], c); err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		for _, op := range f.Ops() {
			if op.Kind == backendtest.Get {
				asked = append(asked, op.Name)
			}
		}
		return asked
	}
	cold := use("cold")
	warm := use("warm")
	for _, name := range warm {
		if strings.HasPrefix(name, "index/") || strings.HasPrefix(name, "commits/") {
			t.Errorf("asked again for %s", name)
		}
	}
	if len(warm) >= len(cold) {
		t.Errorf("%d requests with a warm cache, %d with a cold one", len(warm), len(cold))
	}
	for _, harm := range []struct {
		name string
		do   func(file string) error
	}{
		{"flipped", func(file string) error {
			old, err := os.ReadFile(file)
			if err != nil {
				return err
			}
			old[len(old)/2] ^= 1
			os.Remove(file)
			return os.WriteFile(file, old, 0o600)
		}},
		{"emptied", func(file string) error { os.Remove(file); return os.WriteFile(file, nil, 0o600) }},
		{"replaced by rubbish", func(file string) error {
			os.Remove(file)
			return os.WriteFile(file, []byte(strings.Repeat("rubbish", 10000)), 0o600)
		}},
		{"replaced by a directory", func(file string) error { os.Remove(file); return os.MkdirAll(filepath.Join(file, "x"), 0o700) }},
		{"gone", os.RemoveAll},
	} {
		files := cachedFiles(t, env.CacheDir)
		if len(files) < 3 && harm.name != "gone" {
			t.Fatalf("before %s: the cache holds %q", harm.name, files)
		}
		for _, file := range files {
			if err := harm.do(file); err != nil {
				t.Fatal(err)
			}
		}
		use(harm.name)
		if harm.name == "replaced by a directory" {
			os.RemoveAll(env.CacheDir)
		}
		use(harm.name + ", and again")
	}
}

// TestCacheFollowsCollections: copies of what a collection removed go.
func TestCacheFollowsCollections(t *testing.T) {
	be, _ := repotest.New(t)
	t.Cleanup(func() { repotest.MustCheck(t, be) })
	env := repo.Env{CacheDir: t.TempDir(), CacheObjects: true}
	r := repotest.OpenEnv(t, be, env)
	for i := range 5 {
		b := repotest.MustBackup(t, r, repotest.MakeContent(uint64(i), 10))
		if i < 4 {
			if err := r.Forget(t.Context(), b.ID, repo.Event{}); err != nil {
				t.Fatal(err)
			}
		}
	}
	before := len(cachedFiles(t, env.CacheDir))
	if _, err := gc.Run(t.Context(), r, gc.Options{Limits: gc.Limits{MaxRepack: -1}}); err != nil {
		t.Fatal(err)
	}
	if err := r.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	if after := len(cachedFiles(t, env.CacheDir)); after >= before {
		t.Errorf("%d files in the cache, before the collection %d", after, before)
	}
}
