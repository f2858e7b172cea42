package snapshot

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"testing/iotest"

	"vault/crypto"
)

// put stores a file's bytes as chunks of at most size bytes.
func putFile(t *testing.T, m *memStore, name string, data []byte, size int) *Node {
	n := fileNode(name, 0)
	n.Size = uint64(len(data))
	if len(data) == 0 {
		return n
	}
	w := NewContentWriter(m, DefaultThresholds())
	for part := range slices.Chunk(data, size) {
		it := Item{Kind: ItemZero, Length: uint64(len(part))}
		if bytes.Count(part, []byte{0}) < len(part) {
			it.Kind = ItemData
			it.ID, _ = m.Put(t.Context(), crypto.BlobData, part)
		}
		if err := w.Add(t.Context(), it); err != nil {
			t.Fatal(err)
		}
	}
	var err error
	if n.Content, err = w.Finish(t.Context()); err != nil {
		t.Fatal(err)
	}
	return n
}

func testFS(t *testing.T) (fs.FS, map[string][]byte) {
	m := newStore()
	rng := newRand(7)
	long := make([]byte, 20_000) // 200 chunks: a list of pages
	for i := range long {
		long[i] = byte(rng.Uint32())
	}
	clear(long[5000:9000])
	inline := fileNode("inline", 0)
	inline.Size, inline.Content.Inline = 5, []byte("hello")
	sub := dirNode("sub", writeDir(t, m, DefaultThresholds(), []*Node{
		{Name: "dangling", Type: Symlink, Target: "nowhere"}, putFile(t, m, "few", []byte("some bytes"), 4),
		{Name: "up", Type: Symlink, Target: "../link"}}))
	// A dangling link would fail TestFS, so it is in a tree of its own.
	plain := dirNode("plain", writeDir(t, m, DefaultThresholds(), numbered(0)))
	root := dirNode("", writeDir(t, m, DefaultThresholds(), []*Node{
		{Name: "%raw%", Type: FIFO}, {Name: "100%", Type: FIFO}, {Name: "absolute", Type: Symlink, Target: "/inline"},
		{Name: `back\slash`, Type: FIFO}, {Name: "caf\xe9", Type: FIFO}, putFile(t, m, "empty", nil, 1), inline,
		{Name: "link", Type: Symlink, Target: "./long"}, putFile(t, m, "long", long, 100), {Name: "loop", Type: Symlink, Target: "loop"},
		{Name: "out", Type: Symlink, Target: "sub/../../inline"}, plain, sub, {Name: "to-sub", Type: Symlink, Target: "sub//"}}))
	return FS(t.Context(), m, root), map[string][]byte{"empty": {}, "inline": []byte("hello"), "long": long, "link": long,
		"sub/few": []byte("some bytes"), "sub/up": long, "to-sub/few": []byte("some bytes"), "to-sub/up": long,
		"%raw%caf%E9": {}, "%raw%back%5Cslash": {}, "%raw%%25raw%25": {}, "100%": {}}
}

func TestFSConforms(t *testing.T) {
	m := newStore()
	sub := dirNode("sub", writeDir(t, m, DefaultThresholds(), []*Node{
		putFile(t, m, "few", []byte("some bytes"), 4), {Name: "up", Type: Symlink, Target: "../zeros"}}))
	root := dirNode("", writeDir(t, m, DefaultThresholds(), []*Node{
		{Name: `back\slash`, Type: FIFO}, {Name: "caf\xe9", Type: FIFO}, putFile(t, m, "empty", nil, 1), sub,
		{Name: "to-sub", Type: Symlink, Target: "sub"}, putFile(t, m, "zeros", make([]byte, 1000), 100)}))
	fsys := FS(t.Context(), m, root)
	if err := fstest.TestFS(fsys, "%raw%caf%E9", "%raw%back%5Cslash", "empty", "sub/few", "sub/up", "zeros"); err != nil {
		t.Error(err)
	}
	if err := fstest.TestFS(FS(t.Context(), m, dirNode("", m.page(DirLeaf, 0)))); err != nil {
		t.Error("empty tree:", err)
	}
}

func TestFSReads(t *testing.T) {
	fsys, want := testFS(t)
	for name, data := range want {
		got, err := fs.ReadFile(fsys, name)
		if err != nil || !bytes.Equal(got, data) {
			t.Errorf("%s: %d bytes, %v, want %d", name, len(got), err, len(data))
			continue
		}
		f, err := fsys.Open(name)
		if err != nil {
			t.Fatal(err)
		}
		if err := iotest.TestReader(f, data); err != nil { // ReaderAt and Seeker too
			t.Errorf("%s: %v", name, err)
		}
		f.Close()
		if _, err := f.Read(make([]byte, 1)); !errors.Is(err, fs.ErrClosed) {
			t.Errorf("%s: read after close: %v", name, err)
		}
	}
	for name, wantErr := range map[string]error{"absolute": fs.ErrNotExist, "out": fs.ErrNotExist, "loop": errLoop, "sub/dangling": fs.ErrNotExist,
		"nowhere": fs.ErrNotExist, "inline/x": fs.ErrNotExist, "../x": fs.ErrInvalid, "caf\xe9": fs.ErrInvalid, "%raw%inline": fs.ErrNotExist} {
		if _, err := fs.Stat(fsys, name); !errors.Is(err, wantErr) {
			t.Errorf("%s: %v, want %v", name, err, wantErr)
		}
		var pe *fs.PathError
		if _, err := fsys.Open(name); !errors.As(err, &pe) || pe.Path != name {
			t.Errorf("open %s: %v", name, err)
		}
	}
	if s, err := fs.ReadLink(fsys, "to-sub"); s != "sub//" || err != nil {
		t.Errorf("link: %q, %v", s, err)
	}
	if _, err := fs.ReadLink(fsys, "inline"); !errors.Is(err, fs.ErrInvalid) {
		t.Errorf("no link: %v", err)
	}
	if i, err := fs.Lstat(fsys, "to-sub"); err != nil || i.Mode().Type() != fs.ModeSymlink || i.Sys().(*Node).Target != "sub//" {
		t.Errorf("lstat: %v, %v", i, err)
	}
	if i, err := fs.Stat(fsys, "to-sub"); err != nil || !i.IsDir() || i.Name() != "to-sub" {
		t.Errorf("stat: %v, %v", i, err)
	}
}

func TestReaderFindsLies(t *testing.T) {
	m := newStore()
	id, _ := m.Put(t.Context(), crypto.BlobData, []byte("four"))
	n := &Node{Type: File, Size: 5, Content: Content{Items: []Item{{ItemData, 5, id}}}}
	if _, err := io.ReadAll(io.NewSectionReader(NewReader(t.Context(), m, n), 0, 5)); err == nil {
		t.Error("a blob shorter than its item is accepted")
	}
	n.Content.Items[0].ID = crypto.ID{1}
	if _, err := NewReader(t.Context(), m, n).ReadAt(make([]byte, 2), 1); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("missing blob: %v", err)
	}
}

func TestEscape(t *testing.T) {
	for name, want := range map[string]string{
		"plain": "plain", "100%": "100%", "ünï": "ünï", "%ra%": "%ra%", "caf\xe9": "%raw%caf%E9", `a\b%`: "%raw%a%5Cb%25",
		"%raw%": "%raw%%25raw%25", "%raw%x": "%raw%%25raw%25x", "\xff%": "%raw%%FF%25", "\xed\xa0\x80": "%raw%%ED%A0%80", "�": "�",
	} {
		got := EscapeName(name)
		if back, ok := UnescapeName(got); got != want || back != name || !ok {
			t.Errorf("%q shows as %q, want %q, and back %q, %t", name, got, want, back, ok)
		}
	}
	for _, shown := range []string{"%raw%", "%raw%plain", "%raw%%41%FF", "%raw%%ff", "%raw%%F", "%raw%%", "%raw%%00", "%raw%%2F%FF", "", "..", "a/b"} {
		if name, ok := UnescapeName(shown); ok {
			t.Errorf("%q is read as %q", shown, name)
		}
	}
}

func FuzzEscape(f *testing.F) {
	f.Add("caf\xe9", "%raw%caf%E9")
	f.Fuzz(func(t *testing.T, name, shown string) {
		if CheckName(name) == nil {
			s := EscapeName(name)
			if back, ok := UnescapeName(s); !ok || back != name || !fs.ValidPath(s) || strings.ContainsAny(s, `/\`) {
				t.Errorf("%q shows as %q and is read back as %q, %t", name, s, back, ok)
			}
		}
		if n, ok := UnescapeName(shown); ok && EscapeName(n) != shown {
			t.Errorf("%q is read as %q, which shows as %q", shown, n, EscapeName(n))
		}
	})
}

func ExampleEscapeName() {
	fmt.Println(EscapeName("caf\xe9"))
	// Output: %raw%caf%E9
}
