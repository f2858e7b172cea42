package durable

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
)

func mustOpenDir(t testing.TB, path string) *Dir {
	t.Helper()
	d, err := OpenDir(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	return d
}

func mustHold(t testing.TB, path, want string) {
	t.Helper()
	if got, err := os.ReadFile(path); err != nil || string(got) != want {
		t.Errorf("%s holds %q (%v), want %q", path, got, err, want)
	}
}

// files returns the names in a directory, as the operating system tells them.
func files(t testing.TB, path string) []string {
	t.Helper()
	list, err := os.ReadDir(path)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range list {
		names = append(names, e.Name())
	}
	return names
}

func TestWriteAndCreateFile(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "State File")
	for _, data := range []string{"one", "", strings.Repeat("long", 100_000), "two"} {
		if err := WriteFile(path, []byte(data), 0o600); err != nil {
			t.Fatal(err)
		}
		mustHold(t, path, data)
	}
	if err := CreateFile(path, []byte("three"), 0o600); !errors.Is(err, fs.ErrExist) {
		t.Errorf("create over a file: %v", err)
	}
	mustHold(t, path, "two")
	if err := CreateFile(path+"2", []byte("three"), 0o640); err != nil {
		t.Error(err)
	}
	mustHold(t, path+"2", "three")
	if st, err := os.Stat(path); err != nil || st.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", st.Mode(), err)
	}
	if err := WriteFile(filepath.Join(dir, "none", "x"), nil, 0o600); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("write in a missing directory: %v", err)
	}
	if err := SyncDir(dir); err != nil {
		t.Error(err)
	}
	if err := SyncDir(path); err == nil {
		t.Error("a file was synced as a directory")
	}
	if got := files(t, dir); !slices.Equal(got, []string{"State File", "State File2"}) {
		t.Errorf("left behind: %q", got)
	}
}

func TestNotAFileInTheWay(t *testing.T) {
	dir := t.TempDir()
	d := mustOpenDir(t, dir)
	if err := d.Mkdir("sub", 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("nowhere", filepath.Join(dir, "link")); err != nil {
		t.Skip(err)
	}
	for _, name := range []string{"sub", "link"} {
		// Not fs.ErrExist: the caller would go and read what is no file.
		if err := d.Create(name, nil, 0o600); err == nil || errors.Is(err, fs.ErrExist) {
			t.Errorf("create %s: %v", name, err)
		}
	}
	if err := d.Replace("sub", nil, 0o600); err == nil {
		t.Error("a directory was replaced")
	}
	for _, name := range []string{"", ".", "..", "a/b", "a\x00"} {
		if d.Create(name, nil, 0o600) == nil || d.Replace(name, nil, 0o600) == nil || d.Mkdir(name, 0o700) == nil || d.Remove(name) == nil {
			t.Errorf("name %q was taken", name)
		}
	}
	if got := files(t, dir); !slices.Equal(got, []string{"link", "sub"}) {
		t.Errorf("left behind: %q", got)
	}
}

func TestConcurrentReplace(t *testing.T) {
	dir := t.TempDir()
	d := mustOpenDir(t, dir)
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			for range 10 {
				if err := d.Replace("x", bytes.Repeat([]byte{byte('a' + g)}, 5000), 0o600); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	got, err := os.ReadFile(filepath.Join(dir, "x"))
	if err != nil || len(got) != 5000 || !bytes.Equal(got, bytes.Repeat(got[:1], 5000)) {
		t.Errorf("%d bytes, %v", len(got), err)
	}
	if got := files(t, dir); !slices.Equal(got, []string{"x"}) {
		t.Errorf("left behind: %q", got)
	}
}

func TestEntries(t *testing.T) {
	dir := t.TempDir()
	d := mustOpenDir(t, dir)
	var want []string
	for i := range 1000 { // more than one getdents buffer
		name := fmt.Sprintf("%04d-%s", i, strings.Repeat("x", 60))
		want = append(want, name)
		if err := os.WriteFile(filepath.Join(dir, name), make([]byte, i), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := d.Mkdir("sub", 0o700); err != nil {
		t.Fatal(err)
	}
	list, err := d.Entries()
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, e := range list {
		kind := File
		if e.Name == "sub" {
			kind = Directory
		}
		if e.Kind != kind {
			t.Errorf("%s has kind %d", e.Name, e.Kind)
		}
		got = append(got, e.Name)
	}
	if want = append(want, "sub"); !slices.Equal(got, want) {
		t.Errorf("got %d entries, want %d, or in another order", len(got), len(want))
	}
	if size, err := d.Size(want[77]); size != 77 || err != nil {
		t.Errorf("size %d, %v", size, err)
	}
	if _, err := d.Size("sub"); !errors.Is(err, fs.ErrInvalid) {
		t.Errorf("size of a directory: %v", err)
	}
	if _, err := d.OpenFile("sub"); err == nil {
		t.Error("a directory was opened as a file")
	}
}
