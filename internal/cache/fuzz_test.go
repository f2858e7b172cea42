package cache

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
)

// FuzzFiles: whatever lies in the cache, an index segment that it gives out is
// the one that was put in, and nothing panics.
func FuzzFiles(f *testing.F) {
	name, payload := [32]byte{7}, []byte("the payload of an index segment")
	dir := f.TempDir()
	Open(dir, "repo", testKey).AddSegment(name, payload)
	good, err := os.ReadFile(filepath.Join(dir, "repo", segmentFile(name)))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Add(good[:macSize])
	f.Add([]byte{})
	f.Add(append(bytes.Clone(good), 0))
	f.Fuzz(func(t *testing.T, b []byte) {
		dir := t.TempDir()
		c := Open(dir, "repo", testKey)
		defer c.Close()
		for _, file := range []string{segmentFile(name), "commits/a"} {
			path := filepath.Join(dir, "repo", file)
			if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, b, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if got, ok := c.Segment(name); ok && !bytes.Equal(got, payload) {
			t.Fatalf("gave %q", got)
		} else if !ok && bytes.Equal(b, good) {
			t.Fatal("refuses its own")
		}
		part := make([]byte, 8)
		if ok := c.ReadAt("commits/a", part, 4); ok != (len(b) >= 12) || ok && !bytes.Equal(part, b[4:12]) {
			t.Fatalf("part %q, %v", part, ok)
		}
	})
}
