package repo_test

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"vault/backend"
	"vault/backend/local"
	"vault/internal/repotest"
	"vault/repo"
	"vault/repo/gc"
	"vault/snapshot"
	"vault/snapshot/restore"
)

const frozenDir = "../testdata/repo-v1"

// secondPassphrase opens the second key slot of the frozen repository.
var secondPassphrase = []byte("battery staple")

var makeFrozen = flag.String("make-frozen", "", "make a repository like the frozen one in this `directory`, which must not exist")

// TestFrozenRepository: the repository of format 1 that is frozen for ever opens
// with both passphrases, checks clean, and restores to what expected.txt tells:
// backups, the forgotten one, and all of them after a collection on a copy.
func TestFrozenRepository(t *testing.T) {
	if *makeFrozen != "" {
		freeze(t, *makeFrozen)
		return
	}
	be := frozenCopy(t)
	if status := repo.Probe(t.Context(), be); status.State != repo.Sealed {
		t.Fatalf("state %s: %v", status.State, status.Err)
	}
	second := func() ([]byte, error) { return bytes.Clone(secondPassphrase), nil }
	if _, err := repo.Open(t.Context(), be, repo.OpenOptions{Passphrase: second}); err != nil {
		t.Errorf("open with the second passphrase: %v", err)
	}
	hasAllKinds(t, be)
	repotest.MustCheck(t, be)
	want, err := os.ReadFile(filepath.Join(frozenDir, "expected.txt"))
	if err != nil {
		t.Fatal(err)
	}
	r := repotest.Open(t, be)
	same(t, "as it was frozen", frozenContent(t, r), string(want))

	// A collection takes what is garbage, and nothing else.
	report, err := gc.Run(t.Context(), r, gc.Options{Workers: 1, Limits: gc.Limits{MaxRepack: -1}, DryRun: true})
	if err != nil || report.Nothing {
		t.Errorf("a collection has nothing to do: %v", err)
	}
	forgotten, err := r.Forgotten(t.Context())
	if err != nil || len(forgotten) != 1 {
		t.Fatalf("%d forgotten backups: %v", len(forgotten), err)
	}
	if err := r.Unforget(t.Context(), forgotten[0].ID, repo.Event{Host: "frost"}); err != nil {
		t.Fatal(err)
	}
	prune(t, be)
	repotest.MustCheck(t, be)
	after := strings.ReplaceAll(string(want), " forgotten\n", "\n")
	same(t, "after a collection", frozenContent(t, repotest.Open(t, be)), after)
	repotest.MustCheck(t, be)
}

// frozenCopy copies the frozen repository, which nothing may change, and opens the
// copy's storage.
func frozenCopy(t *testing.T) backend.Backend {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "repository")
	if err := os.CopyFS(dir, os.DirFS(filepath.Join(frozenDir, "repository"))); err != nil {
		t.Fatal(err)
	}
	be, err := local.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { be.Close() })
	return be
}

// hasAllKinds keeps the test honest: what is frozen has objects of every kind.
func hasAllKinds(t *testing.T, be backend.Backend) {
	t.Helper()
	counts := map[string]int{}
	for _, name := range repotest.Objects(t, be) {
		dir, _, _ := strings.Cut(name, "/")
		counts[dir]++
	}
	for dir, least := range map[string]int{"config": 1, "keys": 2, "packs": 5, "index": 2, "commits": 4, "sessions": 1, "events": 2, "gc": 1} {
		if counts[dir] < least {
			t.Errorf("%d objects of %s, want at least %d", counts[dir], dir, least)
		}
	}
}

// frozenContent restores all backups, the forgotten ones too, and describes them.
func frozenContent(t *testing.T, r *repo.Repo) string {
	t.Helper()
	backups, err := r.Backups(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	forgotten, err := r.Forgotten(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	list := slices.Concat(backups, forgotten)
	slices.SortFunc(list, func(a, b *snapshot.Backup) int { return bytes.Compare(a.ID[:], b.ID[:]) })
	for _, b := range list {
		word := ""
		if slices.ContainsFunc(forgotten, func(f *snapshot.Backup) bool { return f.ID == b.ID }) {
			word = " forgotten"
		}
		fmt.Fprintf(&out, "backup %s host %q group %q tags %v%s\n", b.ID, b.Host, b.Group, b.Tags, word)
		target := t.TempDir()
		var volumes []restore.Volume
		for i := range b.Volumes {
			volumes = append(volumes, restore.Volume{Volume: &b.Volumes[i], Dir: b.Volumes[i].Name})
		}
		report, err := restore.Run(t.Context(), restore.Options{Source: r, Target: target}, volumes)
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range report.Problems {
			t.Errorf("restore %s: %+v", b.ID, p)
		}
		for _, v := range b.Volumes {
			describeTree(t, &out, target, v.Name)
		}
	}
	return out.String()
}

// describeTree writes a line for each entry: what it is, when it was changed, and
// its bytes.
func describeTree(t *testing.T, out *strings.Builder, target, volume string) {
	t.Helper()
	err := filepath.WalkDir(filepath.Join(target, volume), func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		name, err := filepath.Rel(target, path)
		if err != nil {
			return err
		}
		mtime, what := info.ModTime().UTC().Format("2006-01-02T15:04:05.999999999"), ""
		switch {
		case d.Type() == fs.ModeSymlink:
			to, err := os.Readlink(path)
			if err != nil {
				return err
			}
			what = fmt.Sprintf("to %q", to)
		case d.Type().IsRegular():
			data, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			st, ok := info.Sys().(*syscall.Stat_t)
			if !ok {
				return errors.New("no stat")
			}
			if volume == "dump" {
				mtime = "-" // when it was made
			}
			what = fmt.Sprintf("%d bytes, %d links, %x", len(data), st.Nlink, sha256.Sum256(data))
		}
		fmt.Fprintf(out, "%q %v %s %s\n", name, info.Mode(), mtime, what)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// same compares line by line, so that a failure says which entry differs.
func same(t *testing.T, when, got, want string) {
	t.Helper()
	if got == want {
		return
	}
	g, w := strings.Split(got, "\n"), strings.Split(want, "\n")
	for i := range max(len(g), len(w)) {
		if i >= len(g) || i >= len(w) || g[i] != w[i] {
			t.Errorf("%s: line %d is\n%q, want\n%q", when, i+1, at(g, i), at(w, i))
			return
		}
	}
}

func at(lines []string, i int) string {
	if i < len(lines) {
		return lines[i]
	}
	return "(no line)"
}
