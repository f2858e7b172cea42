package archive

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"golang.org/x/sys/unix"

	"vault/internal/match"
	"vault/snapshot"
)

// things is a Tree in memory: contents by path, in the order of a walk.
type things struct {
	files  map[string]string
	dirs   map[string]uint32 // modes of directories that are listed themselves
	broken map[string]error  // what Open gives
	order  []string          // what is listed instead of all files in their order
	end    error             // what ends the listing
	opened atomic.Int64
}

func (*things) Describe() (snapshot.VolumeKind, string) { return snapshot.VolumePath, "things" }

func (s *things) Entries(context.Context) iter.Seq2[Entry, error] {
	return func(yield func(Entry, error) bool) {
		list := s.order
		if list == nil {
			list = slices.SortedFunc(maps.Keys(s.files), ComparePaths)
			list = slices.AppendSeq(list, maps.Keys(s.dirs))
			slices.SortFunc(list, ComparePaths)
		}
		for _, p := range list {
			if mode, ok := s.dirs[p]; ok {
				if !yield(Entry{Path: p, Node: snapshot.Node{Type: snapshot.Directory, Mode: mode, MTime: snapshot.Time{Sec: 7}}}, nil) {
					return
				}
				continue
			}
			text := s.files[p]
			tag := fmt.Sprint(len(text), text[:min(len(text), 20)])
			e := Entry{Path: p, Node: snapshot.Node{Type: snapshot.File, Mode: 0o640, Size: uint64(len(text)), MTime: snapshot.Time{Sec: int64(len(p))}}}
			e.Unchanged = func(old *snapshot.Node) bool {
				return slices.ContainsFunc(old.Xattrs, func(x snapshot.Xattr) bool { return x.Name == "user.tag" && string(x.Value) == tag })
			}
			e.Open = func(_ context.Context, n *snapshot.Node) (io.ReadCloser, error) {
				s.opened.Add(1)
				n.Xattrs = []snapshot.Xattr{{Name: "user.tag", Value: []byte(tag)}, {Name: "user.long", Value: bytes.Repeat([]byte("l"), 3000)}}
				return io.NopCloser(strings.NewReader(text)), s.broken[p]
			}
			if !yield(e, nil) {
				return
			}
		}
		if s.end != nil {
			yield(Entry{}, s.end)
		}
	}
}

func someThings(n int) *things {
	s := &things{files: map[string]string{"a-b": "between", "a/x": "1", "a/y/z": "2", "a0": "after", "empty": ""}}
	rng := rand.New(rand.NewPCG(1, 2))
	for i := range n {
		s.files[fmt.Sprintf("many/%03d/f%d", i%17, i)] = strings.Repeat(fmt.Sprint(i), rng.IntN(200))
	}
	b := make([]byte, treeSmall+300_000)
	for i := range b {
		b[i] = byte(rng.Uint32())
	}
	s.files["large"] = string(b)
	return s
}

func TestTree(t *testing.T) {
	s := someThings(1500)
	s.dirs = map[string]uint32{"a": 0o751, "hollow": 0o700}
	m := newMemory()
	o := options(t, m)
	first := archive(t, o, Volume{Name: "v", Source: s}).Volumes[0]
	mustComplete(t, first)
	checkEncodes(t, []snapshot.Volume{first})
	nodes := tree(t, m, first.Root)
	for p, want := range s.files {
		n := nodes[p]
		if n == nil {
			t.Fatalf("%s is missing", p)
		}
		if got := content(t, m, n); string(got) != want || n.Size != uint64(len(want)) {
			t.Fatalf("%s: %d bytes, want %d", p, len(got), len(want))
		}
		if len(n.Xattrs) != 2 || n.Xattrs[0].Name != "user.long" || n.Xattrs[0].Length != 3000 || n.Xattrs[0].Value != nil {
			t.Fatalf("%s: attributes %v", p, n.Xattrs)
		}
	}
	if n := nodes["a"]; n.Mode != 0o751 || n.MTime.Sec != 7 {
		t.Errorf("listed directory: %+v", n)
	}
	if n := nodes["many/003"]; n.Mode != 0o700 || n.MTime.Sec != int64(len("many/003/f1000")) {
		t.Errorf("directory on the way: %+v", n)
	}
	if int(first.Files.New) != len(s.files) || first.Directories.Total() != 1+2+1+1+17 || s.opened.Load() != int64(len(s.files)) {
		t.Errorf("counts: %+v, %d opened", first, s.opened.Load())
	}

	// Only what changed is opened, whether the parent is trusted or not.
	for _, trust := range []bool{true, false} {
		s.opened.Store(0)
		delete(s.files, "a/x")
		s.files["a/y/z"] += "changed"
		s.files[fmt.Sprint("new", trust)] = "n"
		second := archive(t, o, Volume{Name: "v", Source: s, Parent: &Parent{Root: first.Root, Trusted: trust}}).Volumes[0]
		mustComplete(t, second)
		if s.opened.Load() != 2 || second.Files.Changed != 1 || second.Files.New != 1 || int(second.Files.Unmodified) != len(s.files)-2 {
			t.Errorf("trusted %t: %d opened, %+v", trust, s.opened.Load(), second.Files)
		}
		fresh := archive(t, o, Volume{Name: "v", Source: s}).Volumes[0]
		if fresh.Root.Tree != second.Root.Tree {
			t.Error("the tree depends on the parent")
		}
		first = second
	}
}

func TestTreeIsOneFile(t *testing.T) {
	s := &things{files: map[string]string{"": "the value"}}
	m := newMemory()
	v := archive(t, options(t, m), Volume{Source: s}).Volumes[0]
	mustComplete(t, v)
	if v.Root.Type != snapshot.File || string(content(t, m, v.Root)) != "the value" || v.Files.New != 1 {
		t.Errorf("%+v", v)
	}
	s.broken = map[string]error{"": fs.ErrNotExist}
	v = archive(t, options(t, m), Volume{Source: s}).Volumes[0]
	if v.State != snapshot.Failed || v.ProblemCount != 1 {
		t.Errorf("without its root: %+v", v)
	}
}

func TestTreeGoesWrong(t *testing.T) {
	for name, c := range map[string]struct {
		change  func(s *things)
		state   snapshot.State
		message string
		notices int
	}{
		"vanished":            {func(s *things) { s.broken["a/x"] = fmt.Errorf("get: %w", fs.ErrNotExist) }, snapshot.Complete, "", 1},
		"unreadable":          {func(s *things) { s.broken["a/x"] = errors.New("get: refused") }, snapshot.Partial, "get: refused", 0},
		"listing breaks off":  {func(s *things) { s.end = errors.New("connection lost") }, snapshot.Failed, "connection lost", 0},
		"out of order":        {func(s *things) { s.order = []string{"a-b", "a/x"} }, snapshot.Failed, "comes after", 0},
		"twice":               {func(s *things) { s.order = []string{"a-b", "a-b"} }, snapshot.Failed, "comes after", 0},
		"outside":             {func(s *things) { s.order = []string{"../x"} }, snapshot.Failed, "reserved", 0},
		"absolute":            {func(s *things) { s.order = []string{"/x"} }, snapshot.Failed, "reserved", 0},
		"a file and its root": {func(s *things) { s.order = []string{"a-b", ""} }, snapshot.Failed, "a file and a directory", 0},
		"below a file":        {func(s *things) { s.order = []string{"", "a-b"} }, snapshot.Failed, "a file and a directory", 0},
	} {
		t.Run(name, func(t *testing.T) {
			s := someThings(400)
			s.broken = map[string]error{}
			c.change(s)
			r := archive(t, options(t, newMemory()), Volume{Source: s})
			v := r.Volumes[0]
			if v.State != c.state || len(r.Notices) != c.notices {
				t.Errorf("%v with notices %v and problems %v", v.State, r.Notices, v.Problems)
			}
			if c.message != "" && (len(v.Problems) != 1 || !strings.Contains(v.Problems[0].Message, c.message)) {
				t.Errorf("problems %v, want %q", v.Problems, c.message)
			}
		})
	}
}

// A store that fails stops the run, and a run that is cancelled ends.
func TestTreeStops(t *testing.T) {
	full := errors.New("no space")
	for _, at := range []int{0, 5, 300} {
		m := newMemory()
		m.fail, m.failAt = full, at
		if _, err := Run(t.Context(), options(t, m), []Volume{{Source: someThings(900)}}); !errors.Is(err, full) {
			t.Errorf("after %d: %v", at, err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	m := newMemory()
	m.onPut = func([]byte) { cancel() }
	if _, err := Run(ctx, options(t, m), []Volume{{Source: someThings(900)}}); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

func TestTreeExcludes(t *testing.T) {
	l, err := match.ParseArgs(match.Gitignore, []string{"many/", "a-*"}, match.Options{})
	if err != nil {
		t.Fatal(err)
	}
	s := someThings(40)
	m := newMemory()
	r := archive(t, options(t, m), Volume{Source: s, Excludes: &Excludes{Files: []*match.List{l}, LargerThan: 1000}})
	got := slices.Sorted(maps.Keys(tree(t, m, r.Volumes[0].Root)))
	if want := []string{".", "a", "a/x", "a/y", "a/y/z", "a0", "empty"}; !slices.Equal(got, want) || r.Excluded[0] != 42 {
		t.Errorf("%v, %d excluded", got, r.Excluded[0])
	}
}

func TestIDMap(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root may give files away")
	}
	dir := plant(t, map[string]string{"own": "1", "inner": "2", "foreign": "3"})
	for name, id := range map[string]int{".": 1000, "own": 1000, "inner": 100032, "foreign": 5} {
		if err := os.Chown(filepath.Join(dir, name), id, id); err != nil {
			t.Fatal(err)
		}
	}
	acl := binary.LittleEndian.AppendUint32(nil, 2)
	for _, e := range [][3]uint32{{1, 6, 1<<32 - 1}, {2, 4, 100032}, {4, 4, 1<<32 - 1}, {16, 4, 1<<32 - 1}, {32, 0, 1<<32 - 1}} {
		acl = binary.LittleEndian.AppendUint16(acl, uint16(e[0]))
		acl = binary.LittleEndian.AppendUint16(acl, uint16(e[1]))
		acl = binary.LittleEndian.AppendUint32(acl, e[2])
	}
	hasACL := unix.Setxattr(filepath.Join(dir, "own"), aclAccess, acl, 0) == nil
	ids := &IDMap{Users: []IDRange{{1000, 0, 1}, {100000, 1, 65536}}, Groups: []IDRange{{1000, 0, 1}, {100000, 1, 65536}}}
	m := newMemory()
	o := options(t, m)
	v := archive(t, o, Volume{Source: Path{dir}, IDs: ids}).Volumes[0]
	mustComplete(t, v)
	nodes := tree(t, m, v.Root)
	for name, want := range map[string]uint32{".": 0, "own": 0, "inner": 33, "foreign": 65534} {
		if n := nodes[name]; n.UID != want || n.GID != want || n.User != "" || n.Group != "" {
			t.Errorf("%s belongs to %d:%d (%q), want %d", name, n.UID, n.GID, n.User, want)
		}
	}
	if x := nodes["own"].Xattrs; hasACL && (len(x) == 0 || binary.LittleEndian.Uint32(x[0].Value[16:]) != 33) {
		t.Errorf("the ACL is %v", x)
	}
	again := archive(t, o, Volume{Source: Path{dir}, IDs: ids, Parent: trusted(v)}).Volumes[0]
	if again.Files.Unmodified != 3 || again.Root.Tree != v.Root.Tree {
		t.Errorf("the second time: %+v", again.Files)
	}
	// The next volume of the same run is not mapped.
	r := archive(t, o, Volume{Source: Path{dir}, IDs: ids}, Volume{Source: Path{dir}})
	if n := r.Volumes[1].Root; n.UID != 1000 {
		t.Errorf("not mapped, the root belongs to %d", n.UID)
	}
}

func TestListBase(t *testing.T) {
	dir := plant(t, map[string]string{"base/a/x": "1", "base/a/y": "2", "base/b": "3", "other": "4"})
	base := filepath.Join(dir, "base")
	m := newMemory()
	v := archive(t, options(t, m), Volume{Source: List{Base: base + "/", Paths: []string{base + "/a/y", base + "/b"}}}).Volumes[0]
	mustComplete(t, v)
	got := slices.Sorted(maps.Keys(tree(t, m, v.Root)))
	if want := []string{".", "a", "a/y", "b"}; !slices.Equal(got, want) || v.Source != base {
		t.Errorf("%v of %s", got, v.Source)
	}
	v = archive(t, options(t, m), Volume{Source: List{Base: base, Paths: []string{base}}}).Volumes[0]
	if got := tree(t, m, v.Root); len(got) != 5 {
		t.Errorf("the base itself: %v", got)
	}
	for _, l := range []List{{Base: base, Paths: []string{dir + "/other"}}, {Base: base, Paths: []string{base + "x"}}, {Base: "base", Paths: []string{base}}} {
		if _, err := Run(t.Context(), options(t, m), []Volume{{Source: l}}); err == nil {
			t.Errorf("%v is accepted", l)
		}
	}
}

// Content of an untrusted parent that the store has lost is read again.
func TestTreeLostContent(t *testing.T) {
	s := someThings(0)
	m := newMemory()
	o := options(t, m)
	first := archive(t, o, Volume{Source: s}).Volumes[0]
	nodes := tree(t, m, first.Root)
	s.opened.Store(0)
	for it, err := range snapshot.Items(t.Context(), m, nodes["large"].Content, nodes["large"].Size) {
		if err != nil {
			t.Fatal(err)
		}
		delete(m.blobs, it.ID)
		break
	}
	second := archive(t, o, Volume{Source: s, Parent: &Parent{Root: first.Root}}).Volumes[0]
	mustComplete(t, second)
	if s.opened.Load() != 1 || string(content(t, m, tree(t, m, second.Root)["large"])) != s.files["large"] {
		t.Errorf("%d files were read again", s.opened.Load())
	}
}
