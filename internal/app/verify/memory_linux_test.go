package verify

import (
	"fmt"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"

	"vault/internal/treetest"
	"vault/snapshot"
)

// TestMemory measures what a check keeps for a space of many files. VERIFY_NODES says how
// many; without it they are few, and it only proves that nothing is found but the
// wrong size of the tree, by which it looks at the memory.
func TestMemory(t *testing.T) {
	n := 500
	if text := os.Getenv("VERIFY_NODES"); text != "" {
		var err error
		n, err = strconv.Atoi(text)
		must(t, err)
	}
	store := treetest.NewStore()
	file := func(name, content string) *snapshot.Node {
		return &snapshot.Node{Name: name, Type: snapshot.File, Size: uint64(len(content)), Content: snapshot.Content{Inline: []byte(content)}}
	}
	named := func(name string, d *snapshot.Node) *snapshot.Node { d.Name = name; return d }
	meta := func(name string, attrs map[string]string) *snapshot.Node {
		f := file(name, "")
		x := make([]snapshot.Xattr, 0, len(attrs))
		for k, v := range attrs {
			x = append(x, snapshot.Xattr{Name: k, Value: []byte(v)})
		}
		slices.SortFunc(x, func(a, b snapshot.Xattr) int { return strings.Compare(a.Name, b.Name) })
		f.Xattrs = x
		return f
	}
	const root = "00000000-0000-4000-8000-000000000000"
	links := []*snapshot.Node{}
	var outer []*snapshot.Node
	for i := 0; i < n; {
		var mid []*snapshot.Node
		for range 256 {
			var inner []*snapshot.Node
			for range 4 {
				if i++; i > n {
					break
				}
				id := fmt.Sprintf("%02x%02x%02xaa-0000-4000-8000-%012x", 1+len(outer), len(mid), len(inner), i)
				name := fmt.Sprintf("some picture of a holiday %d.jpeg", i)
				links = append(links, &snapshot.Node{Name: name, Type: snapshot.Symlink, Target: "../../../../../" + shard(id)})
				node := meta(id[8:], map[string]string{attrID: id, attrName: name, attrParent: root, attrType: "1", attrBlobID: id, attrBlobSize: "7",
					attrSHA1: "12345678901234567890", attrMD5: "1234567890123456", attrAdler: "1234"})
				inner = append(inner, named(id[4:6], store.Dir(t, []*snapshot.Node{named(id[6:8], store.Dir(t, []*snapshot.Node{node}))})))
			}
			if len(inner) == 0 {
				break
			}
			mid = append(mid, named(fmt.Sprintf("%02x", len(mid)), store.Dir(t, inner)))
		}
		outer = append(outer, named(fmt.Sprintf("%02x", 1+len(outer)), store.Dir(t, mid)))
	}
	top := store.Dir(t, links)
	top.Xattrs = meta("", map[string]string{attrID: root, attrName: "r", attrSpaceID: root, attrSpace: "project", attrSpName: "r", attrTreeSize: "1"}).Xattrs
	top = named(root[8:], top)
	for _, part := range []string{root[6:8], root[4:6], root[2:4]} {
		top = named(part, store.Dir(t, []*snapshot.Node{top}))
	}
	outer = append(outer, named(root[:2], store.Dir(t, []*snapshot.Node{top})))
	links = nil
	one := func(name string, d *snapshot.Node) *snapshot.Node {
		return store.Dir(t, []*snapshot.Node{named(name, d)})
	}
	tree := one("spaces", one(root[:2], one(root[2:], one("nodes", store.Dir(t, outer)))))
	outer = nil

	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	peak := uint64(0)
	var notes []Finding
	sum, err := Ocis(t.Context(), &Reader{Source: store, Found: func(f Finding) {
		if f.Rule == "tree-size" { // all is in memory now
			runtime.GC()
			runtime.ReadMemStats(&after)
			peak = after.HeapAlloc
		}
		if f.Check != "" && f.Rule != "index-missing" && f.Rule != "index-lacks" {
			notes = append(notes, f)
		}
	}}, OcisTree{Volume: "v", Root: tree})
	must(t, err)
	if sum.Objects != uint64(n)+1 || len(notes) != 3 || len(rules(notes, Problem)) != 0 {
		t.Errorf("%+v: %d findings, %v", sum, len(notes), notes[:min(len(notes), 5)])
	}
	if os.Getenv("VERIFY_NODES") != "" {
		t.Logf("%d nodes: about %d bytes a node after the collector, %d allocated in all", n, (int64(peak)-int64(before.HeapAlloc))/int64(n), (after.TotalAlloc-before.TotalAlloc)/uint64(n))
	}
}
