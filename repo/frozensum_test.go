package repo_test

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io/fs"
	"os"
	"testing"
	"testing/fstest"
)

// frozenSum is sumTree of testdata/repo-v1. It is never changed: nor is what it is
// the sum of.
const frozenSum = "7a118233d774e34e2090df0597456ccfb5655b870bb485a55b8135c6c9ed7939"

// sumTree returns a hash of the names, sizes and contents of all files of a tree, in
// the order of fs.WalkDir. Directories count by what is in them, as version control
// has them.
func sumTree(fsys fs.FS) (string, error) {
	h := sha256.New()
	err := fs.WalkDir(fsys, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		if !d.Type().IsRegular() {
			return fmt.Errorf("%s is %v", name, d.Type())
		}
		data, err := fs.ReadFile(fsys, name)
		if err != nil {
			return err
		}
		fmt.Fprintf(h, "%d %s %d\n", len(name), name, len(data))
		_, err = h.Write(data)
		return err
	})
	return hex.EncodeToString(h.Sum(nil)), err
}

// TestFrozenFiles: no file of the frozen repository has changed, gone or been added.
func TestFrozenFiles(t *testing.T) {
	got, err := sumTree(os.DirFS("../testdata/repo-v1"))
	if err != nil {
		t.Fatal(err)
	}
	if got != frozenSum {
		t.Errorf("the files of testdata/repo-v1 sum up to %s, not %s: they are frozen for ever", got, frozenSum)
	}
}

// TestSumTree: a byte, a name, a file more or less, and the border of two files show.
func TestSumTree(t *testing.T) {
	sum := func(files map[string]string) string {
		t.Helper()
		m := fstest.MapFS{}
		for name, data := range files {
			m[name] = &fstest.MapFile{Data: []byte(data)}
		}
		s, err := sumTree(m)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	want := sum(map[string]string{"a": "one", "d/b": "two"})
	for what, files := range map[string]map[string]string{
		"a byte":        {"a": "one", "d/b": "twO"},
		"a name":        {"a": "one", "d/c": "two"},
		"a directory":   {"a": "one", "e/b": "two"},
		"one more":      {"a": "one", "d/b": "two", "empty": ""},
		"one less":      {"a": "one"},
		"moved border":  {"a": "onet", "d/b": "wo"},
		"another order": {"a": "two", "d/b": "one"},
	} {
		if sum(files) == want {
			t.Errorf("%s: the same sum", what)
		}
	}
	if sum(map[string]string{"d/b": "two", "a": "one"}) != want {
		t.Error("the same tree has two sums")
	}
}
