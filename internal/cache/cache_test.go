package cache

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

var testKey = [32]byte{1}

func TestSegment(t *testing.T) {
	dir := t.TempDir()
	c := Open(dir, "repo", testKey)
	name, payload := [32]byte{7}, bytes.Repeat([]byte("row"), 5000)
	if _, ok := c.Segment(name); ok {
		t.Error("a segment out of nothing")
	}
	if got := c.AddSegment(name, payload); !bytes.Equal(got, payload) || &got[0] == &payload[0] {
		t.Error("the added segment is not mapped")
	}
	again := Open(dir, "repo", testKey)
	got, ok := again.Segment(name)
	if !ok || !bytes.Equal(got, payload) {
		t.Fatal("not there for the next process")
	}
	if _, ok := again.Segment([32]byte{8}); ok {
		t.Error("another name")
	}
	if err := again.Close(); err != nil {
		t.Error(err)
	}
	if _, ok := Open(dir, "other", testKey).Segment(name); ok {
		t.Error("another repository")
	}
	if left, _ := filepath.Glob(filepath.Join(dir, "*", "*", tempPrefix+"*")); len(left) > 0 {
		t.Errorf("left %q", left)
	}
}

// TestAlteredSegment flips every byte in turn, shortens, renames and opens with
// another key: never a segment.
func TestAlteredSegment(t *testing.T) {
	dir := t.TempDir()
	c := Open(dir, "repo", testKey)
	name, payload := [32]byte{7}, bytes.Repeat([]byte("row"), 30)
	c.AddSegment(name, payload)
	file := filepath.Join(dir, "repo", segmentFile(name))
	good, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	try := func(what string, b []byte, name [32]byte, key [32]byte) {
		t.Helper()
		os.Remove(filepath.Join(dir, "repo", segmentFile(name)))
		if err := os.WriteFile(filepath.Join(dir, "repo", segmentFile(name)), b, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, ok := Open(dir, "repo", key).Segment(name); ok {
			t.Errorf("accepted: %s", what)
		}
		if _, err := os.Stat(filepath.Join(dir, "repo", segmentFile(name))); err == nil && len(b) > 0 {
			t.Errorf("not dropped: %s", what)
		}
	}
	for i := range good {
		b := slices.Clone(good)
		b[i] ^= 0x10
		try("flipped", b, name, testKey)
	}
	for i := range good {
		try("shortened", good[:i], name, testKey)
	}
	try("renamed", good, [32]byte{9}, testKey)
	try("other key", good, name, [32]byte{2})
}

func TestObjects(t *testing.T) {
	dir := t.TempDir()
	c := Open(dir, "repo", testKey)
	c.Put("commits/a", []byte("one"))
	c.Put("commits/b", []byte("two"))
	c.Put("packs/ab/abcd", []byte("0123456789"))
	if b, ok := c.Get("commits/a"); !ok || string(b) != "one" {
		t.Errorf("got %q, %v", b, ok)
	}
	part := make([]byte, 3)
	if !c.ReadAt("packs/ab/abcd", part, 4) || string(part) != "456" {
		t.Errorf("part %q", part)
	}
	if c.ReadAt("packs/ab/abcd", part, 8) {
		t.Error("read past the end")
	}
	c.Keep("commits", func(name string) bool { return name == "commits/b" })
	if _, ok := c.Get("commits/a"); ok {
		t.Error("not removed")
	}
	c.Drop("commits/b")
	if _, ok := c.Get("commits/b"); ok {
		t.Error("not dropped")
	}
	if _, ok := c.Get("packs/ab/abcd"); !ok {
		t.Error("another directory was touched")
	}
}

func TestNone(t *testing.T) {
	c := None()
	payload := []byte("payload")
	if got := c.AddSegment([32]byte{1}, payload); !bytes.Equal(got, payload) || &got[0] == &payload[0] {
		t.Error("not mapped")
	}
	c.Put("commits/a", payload)
	if _, ok := c.Get("commits/a"); ok {
		t.Error("kept something")
	}
	if err := c.Close(); err != nil {
		t.Error(err)
	}
}

// TestUnwritable: a cache that cannot be written changes nothing but speed.
func TestUnwritable(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	c := Open(file, "repo", testKey)
	if got := c.AddSegment([32]byte{1}, []byte("payload")); string(got) != "payload" {
		t.Errorf("got %q", got)
	}
	c.Put("commits/a", nil)
	if _, ok := c.Get("commits/a"); ok {
		t.Error("kept something in a file")
	}
}

// TestSegments: segments are put without being mapped, listed, and dropped.
func TestSegments(t *testing.T) {
	dir := t.TempDir()
	c := Open(dir, "repo", testKey)
	if len(c.Segments()) > 0 {
		t.Error("segments out of nothing")
	}
	for _, n := range []byte{9, 7, 8} {
		c.PutSegment([32]byte{n}, []byte{n, n})
	}
	if len(c.mapped) > 0 {
		t.Error("mapped what nobody reads")
	}
	os.WriteFile(filepath.Join(dir, "repo", "index", "07"), nil, 0o600)
	os.WriteFile(filepath.Join(dir, "repo", "index", tempPrefix+"1"), nil, 0o600)
	again := Open(dir, "repo", testKey)
	t.Cleanup(func() { again.Close() })
	if got := again.Segments(); !slices.Equal(got, [][32]byte{{7}, {8}, {9}}) {
		t.Errorf("listed %x", got)
	}
	b, ok := again.Segment([32]byte{8})
	again.DropSegment([32]byte{8})
	if _, still := again.Segment([32]byte{8}); !ok || still || !bytes.Equal(b, []byte{8, 8}) || len(again.Segments()) != 2 {
		t.Errorf("read %x %v, there after it was dropped: %v", b, ok, still)
	}
	None().PutSegment([32]byte{1}, []byte{1})
	if None().Segments() != nil {
		t.Error("a cache that is none lists")
	}
}
