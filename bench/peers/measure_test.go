package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestMedian: the one in the middle, or the mean of the two.
func TestMedian(t *testing.T) {
	for _, c := range []struct {
		values []int64
		want   int64
	}{{[]int64{7}, 7}, {[]int64{9, 1}, 5}, {[]int64{9, 1, 2}, 2}, {[]int64{100, 1, 4, 2}, 3}} {
		var s []sample
		for _, v := range c.values {
			s = append(s, sample{Wall: time.Duration(v), User: time.Duration(2 * v), System: time.Duration(3 * v), Peak: 4 * v})
		}
		if got, want := median(s), (sample{time.Duration(c.want), time.Duration(2 * c.want), time.Duration(3 * c.want), 4 * c.want}); got != want {
			t.Errorf("median of %v: %v, want %v", c.values, got, want)
		}
	}
}

// TestWarm: every byte of every file is read, and nothing else is opened.
func TestWarm(t *testing.T) {
	dir := t.TempDir()
	for name, size := range map[string]int{"a": 3 << 20, "d/b": 5, "d/empty": 0} {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), make([]byte, size), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("nowhere", filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	if n, err := warm(dir); n != 3<<20+5 || err != nil {
		t.Errorf("%d bytes read, %v", n, err)
	}
	if _, err := warm(filepath.Join(dir, "missing")); err == nil {
		t.Error("no error where there is nothing to warm")
	}
}

// TestHashing: the bound of a check is the program that it says it is, and reads
// every file of the corpus.
func TestHashing(t *testing.T) {
	dir := t.TempDir()
	vault := filepath.Join(dir, "vault")
	if err := os.WriteFile(vault, []byte("#!/bin/sh\necho vault 1\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	real, err := exec.LookPath("sha256sum")
	if err != nil {
		t.Skip("no sha256sum")
	}
	// Peers cost time and are another matter; sha256sum notes what it is given.
	bin, said := filepath.Join(dir, "bin"), filepath.Join(dir, "said")
	if err := os.Mkdir(bin, 0o755); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{"sha256sum": "[ \"$1\" = --version ] || echo \"$@\" >>" + said + "\nexec " + real + " \"$@\"", "restic": "echo restic", "borg": "echo borg", "kopia": "echo kopia"} {
		if err := os.WriteFile(filepath.Join(bin, name), []byte("#!/bin/sh\n"+text+"\n"), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("PATH", bin+string(os.PathListSeparator)+os.Getenv("PATH"))
	engines, err := found(vault)
	if err != nil {
		t.Fatal(err)
	}
	source := filepath.Join(dir, "source")
	if err := os.MkdirAll(filepath.Join(source, "d"), 0o755); err != nil {
		t.Fatal(err)
	}
	files := []string{filepath.Join(source, "a"), filepath.Join(source, "d", "b")}
	for _, name := range files {
		if err := os.WriteFile(name, []byte("data"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for _, e := range engines {
		if e.name != "sha256sum" {
			continue
		}
		if filepath.Base(e.program) != e.name || !strings.Contains(e.version, "sha256sum") {
			t.Errorf("%s is %s, version %q", e.name, e.program, e.version)
		}
		if _, err := e.run(t.Context(), place{source: source}, e.phases[checking], dir); err != nil {
			t.Error(err)
		}
		got, err := os.ReadFile(said)
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range files {
			if !strings.Contains(string(got), name) {
				t.Errorf("%s was not hashed, but %q", name, got)
			}
		}
		return
	}
	t.Error("sha256sum is not among the engines")
}
