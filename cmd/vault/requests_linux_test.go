package main

import (
	"context"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"sync"
	"testing"
)

// requests counts what is asked of a store.
type requests struct {
	mu sync.Mutex
	n  map[string]int
}

func (r *requests) trace(name string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.n[name]++
}

// total returns how many requests there were, without those that are as many as
// the bytes demand: SFTP moves data in pieces.
func total(n map[string]int) (sum int) {
	for name, k := range n {
		switch name {
		case "read", "write", "close":
		default:
			sum += k
		}
	}
	return sum
}

// requestsOf executes one command line and returns the requests that it made.
func requestsOf(t *testing.T, args ...string) map[string]int {
	t.Helper()
	return requestsTo(t, os.DevNull, args...)
}

// requestsTo is requestsOf, and writes standard output to the file out.
func requestsTo(t *testing.T, out string, args ...string) map[string]int {
	t.Helper()
	stdout, err := os.Create(out)
	if err != nil {
		t.Fatal(err)
	}
	defer stdout.Close()
	r := requests{n: map[string]int{}}
	a := &app{ui: newUI(stdout, os.Stderr), trace: r.trace}
	if code := a.run(context.Background(), append(args, "-q")); code != 0 {
		t.Fatalf("vault %s: exit code %d", args, code)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return maps.Clone(r.n) // files may still be being closed
}

// smallFiles makes n files in n/50 directories, of 100 KB in all.
func smallFiles(t *testing.T, dir string, n int) {
	t.Helper()
	for i := range n {
		sub := filepath.Join(dir, fmt.Sprintf("%03d", i/50))
		if err := os.MkdirAll(sub, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(fmt.Sprintf("%s/%d", sub, i), fmt.Appendf(nil, "%0*d", max(200, 100_000/n), i), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// TestRequests counts the requests of a backup, of one without changes, and of a
// restore with and without a cache, of 50 files in one directory and of 2000 in
// 40: none is made for a file, a directory or a blob. It bounds their number. Two of
// a backup ask at its end whether the repository is still there, and one each for a
// dozen objects that it has stored, at most.
func TestRequests(t *testing.T) {
	if testing.Short() {
		t.Skip("starts servers of its own")
	}
	for _, c := range []struct {
		name  string
		start func(*testing.T) remote
		most  map[string]int // requests of one run
	}{
		{"s3", startS3, map[string]int{"first": 22, "unchanged": 18, "restore": 14, "uncached": 14}},
		{"sftp", startSFTP, map[string]int{"first": 160, "unchanged": 110, "restore": 70, "uncached": 80}},
	} {
		t.Run(c.name, func(t *testing.T) {
			for name, value := range c.start(t).env {
				t.Setenv(name, value)
			}
			counts := map[string][]int{}
			for i, n := range []int{50, 2000} {
				dir := t.TempDir()
				t.Setenv("VAULT_PASSWORD", "password")
				t.Setenv("VAULT_STATE_DIR", dir+"/state")
				t.Setenv("VAULT_CACHE_DIR", dir+"/cache")
				t.Setenv("HOME", dir)
				t.Setenv("VAULT_REPO", fmt.Sprintf("%s-%d", os.Getenv("VAULT_REPO"), i))
				smallFiles(t, dir+"/src", n)
				requestsOf(t, "init", "--kdf-memory", "8", "--kdf-time", "1", "--kdf-threads", "1")
				for _, step := range []struct {
					name string
					args []string
				}{
					{"first", []string{"backup", "data=" + dir + "/src"}},
					{"unchanged", []string{"backup", "data=" + dir + "/src"}},
					{"restore", []string{"restore", "latest", "--target", dir + "/out"}},
					{"uncached", []string{"restore", "latest", "--no-cache", "--target", dir + "/out2"}},
				} {
					got := requestsOf(t, step.args...)
					t.Logf("%d files, %s: %d, %v", n, step.name, total(got), got)
					counts[step.name] = append(counts[step.name], total(got))
				}
				requestsOf(t, "check", "--read-data")
			}
			for name, n := range counts {
				// A second connection, or a directory of packs that is new, is
				// a matter of chance.
				slack := map[string]int{"s3": 3, "sftp": 40}[c.name]
				if n[1] > n[0]+slack || n[1] > c.most[name] {
					t.Errorf("%s: %d requests for 50 files, %d for 2000, want as many and at most %d", name, n[0], n[1], c.most[name])
				}
			}
		})
	}
}
