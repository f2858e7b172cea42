package snapshot

import (
	"bytes"
	"encoding/hex"
	"errors"
	"math"
	"reflect"
	"strings"
	"testing"

	"vault/crypto"
	"vault/internal/wire"
)

// fullNodes are nodes that use every field and every limit.
func fullNodes() map[string]*Node {
	id := crypto.ID{1, 2, 3}
	base := Node{Mode: 0o7777, UID: math.MaxUint32, GID: math.MaxUint32, MTime: Time{math.MinInt64, 999999999},
		CTime: Time{math.MaxInt64, 0}, Inode: math.MaxUint64, Device: math.MaxUint64, User: strings.Repeat("u", 256),
		Group: "g", Flags: math.MaxUint32, Xattrs: []Xattr{{Name: "security.selinux", Value: []byte{}},
			{Name: "user.a", Value: bytes.Repeat([]byte{0}, 1024)}, {Name: "user.b", Blob: id, Length: 1025}, {Name: "user.c", Blob: id, Length: MaxBlob}}}
	with := func(f func(n *Node)) *Node { n := base; f(&n); return &n }
	return map[string]*Node{
		"directory":  with(func(n *Node) { n.Type = Directory; n.Tree = id }),
		"empty file": with(func(n *Node) { n.Type = File; n.Links = 2 }),
		"inline":     with(func(n *Node) { n.Type = File; n.Size = 3; n.Content.Inline = []byte("abc") }),
		"items": with(func(n *Node) {
			n.Type = File
			n.Size = 30
			n.Content.Items = []Item{{ItemData, 10, id}, {ItemZero, 10, crypto.ID{}}, {ItemHole, 5, crypto.ID{}}, {ItemData, 5, id}}
		}),
		"largest file": with(func(n *Node) {
			n.Type = File
			n.Size = MaxFileSize
			n.Content.Items = []Item{{ItemHole, MaxFileSize, crypto.ID{}}}
		}),
		"list":    with(func(n *Node) { n.Type = File; n.Size = 1 << 40; n.Content.List = id; n.Links = math.MaxUint64 }),
		"symlink": with(func(n *Node) { n.Type = Symlink; n.Target = strings.Repeat("t", MaxTarget) }),
		"fifo":    with(func(n *Node) { n.Type = FIFO }),
		"socket":  {Type: Socket},
		"char":    with(func(n *Node) { n.Type = CharDevice; n.Major = math.MaxUint32; n.Minor = math.MaxUint32 }),
		"block":   with(func(n *Node) { n.Type = BlockDevice; n.Minor = 1 }),
	}
}

func TestBodyRoundTrip(t *testing.T) {
	for name, n := range fullNodes() {
		b, err := AppendBody([]byte("x"), n)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		got, err := DecodeBody(b[1:])
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		clear(b) // the node must not share its memory
		if !reflect.DeepEqual(got, n) {
			t.Errorf("%s: decoded\n%+v, want\n%+v", name, got, n)
		}
	}
}

func TestBodyBytes(t *testing.T) {
	// A file by hand: | type | present | mode 0644 | uid | gid | mtime -1 s | ctime 0 | inode 300 | user "me" | size 2 | form 1 | bytes |
	n := &Node{Type: File, Mode: 0o644, UID: 1, GID: 2, MTime: Time{-1, 5}, Inode: 300, User: "me", Size: 2, Content: Content{Inline: []byte("hi")}}
	want := "02" + "04" + "a403" + "01" + "02" + "0105" + "0000" + "ac02" + "026d65" + "02" + "01" + "6869"
	b, err := AppendBody(nil, n)
	if err != nil || hex.EncodeToString(b) != want {
		t.Errorf("body %x, %v, want %s", b, err, want)
	}
	// A directory's number of links, and a single link, are not stored.
	for _, n := range []*Node{{Type: Directory, Links: 5}, {Type: FIFO, Links: 1}} {
		b, err := AppendBody(nil, n)
		if err != nil || b[1] != 0 {
			t.Errorf("%v with %d links: %x, %v", n.Type, n.Links, b, err)
		}
	}
}

func TestBodyRefusedByEncoder(t *testing.T) {
	id := crypto.ID{1}
	for name, n := range map[string]*Node{
		"no type":          {},
		"type 8":           {Type: 8},
		"mode":             {Type: FIFO, Mode: 0o10000},
		"nanoseconds":      {Type: FIFO, MTime: Time{0, 1e9}},
		"user":             {Type: FIFO, User: strings.Repeat("u", 257)},
		"no target":        {Type: Symlink},
		"long target":      {Type: Symlink, Target: strings.Repeat("t", MaxTarget+1)},
		"xattr order":      {Type: FIFO, Xattrs: []Xattr{{Name: "b"}, {Name: "a"}}},
		"xattr twice":      {Type: FIFO, Xattrs: []Xattr{{Name: "a"}, {Name: "a"}}},
		"xattr long value": {Type: FIFO, Xattrs: []Xattr{{Name: "a", Value: make([]byte, 1025)}}},
		"xattr short blob": {Type: FIFO, Xattrs: []Xattr{{Name: "a", Blob: id, Length: 1024}}},
		"xattr large blob": {Type: FIFO, Xattrs: []Xattr{{Name: "a", Blob: id, Length: MaxBlob + 1}}},
		"size, no content": {Type: File, Size: 1},
		"content, no size": {Type: File, Content: Content{List: id}},
		"inline length":    {Type: File, Size: 2, Content: Content{Inline: []byte("a")}},
		"two forms":        {Type: File, Size: 1, Content: Content{Inline: []byte("a"), List: id}},
		"items sum":        {Type: File, Size: 2, Content: Content{Items: []Item{{ItemZero, 1, crypto.ID{}}}}},
		"adjacent zeros":   {Type: File, Size: 2, Content: Content{Items: []Item{{ItemZero, 1, crypto.ID{}}, {ItemZero, 1, crypto.ID{}}}}},
		"large data":       {Type: File, Size: MaxBlob + 1, Content: Content{Items: []Item{{ItemData, MaxBlob + 1, id}}}},
		"too large":        {Type: File, Size: 1 << 63, Content: Content{List: id}},
		"65 items": {Type: File, Size: 65, Content: Content{Items: func() (l []Item) {
			for range 65 {
				l = append(l, Item{ItemData, 1, id})
			}
			return l
		}()}},
	} {
		b, err := AppendBody([]byte("x"), n)
		if !errors.Is(err, errNode) || string(b) != "x" {
			t.Errorf("%s: %q, %v", name, b, err)
		}
	}
}

func TestBodyRefusedByDecoder(t *testing.T) {
	id := strings.Repeat("11", 32)
	head := "a403" + "00" + "00" + "0000" + "0000" + "00" // mode to inode
	for name, s := range map[string]string{
		"unknown type":         "08" + "00" + head,
		"type 0":               "00" + "00" + head,
		"unknown bit":          "04" + "40" + head,
		"mode":                 "04" + "00" + "808001" + "00" + "00" + "0000" + "0000" + "00",
		"uid over 32 bits":     "04" + "00" + "00" + "8080808010" + "00" + "0000" + "0000" + "00",
		"not minimal":          "04" + "00" + "8000" + "00" + "00" + "0000" + "0000" + "00",
		"a second of ns":       "04" + "00" + "00" + "00" + "00" + "00" + "8094ebdc03" + "0000" + "00",
		"device 0":             "04" + "01" + head + "00",
		"links 1":              "04" + "02" + head + "01",
		"links of a directory": "01" + "02" + head + "02" + id,
		"empty user":           "04" + "04" + head + "00",
		"empty group":          "04" + "08" + head + "00",
		"flags 0":              "04" + "10" + head + "00",
		"no xattrs":            "04" + "20" + head + "00",
		"xattr form":           "04" + "20" + head + "01" + "0161" + "02" + "00",
		"xattrs unsorted":      "04" + "20" + head + "02" + "0162" + "0000" + "0161" + "0000",
		"xattr blob of 1024":   "04" + "20" + head + "01" + "0161" + "01" + "8008" + id,
		"xattr count lies":     "04" + "20" + head + "ffff03" + "0161" + "0000",
		"size 0, form 1":       "02" + "00" + head + "00" + "01",
		"size 1, form 0":       "02" + "00" + head + "01" + "00",
		"size 1, form 2, none": "02" + "00" + head + "01" + "02" + "00",
		"size 2, items of 1":   "02" + "00" + head + "02" + "02" + "01" + "0201",
		"zeros not merged":     "02" + "00" + head + "02" + "02" + "02" + "0201" + "0201",
		"item of nothing":      "02" + "00" + head + "01" + "02" + "02" + "0200" + "0301",
		"item kind 4":          "02" + "00" + head + "01" + "02" + "01" + "0401",
		"form 4":               "02" + "00" + head + "01" + "04" + id,
		"nameless list":        "02" + "00" + head + "01" + "03" + strings.Repeat("00", 32),
		"empty target":         "03" + "00" + head + "00",
		"trailing byte":        "04" + "00" + head + "00",
		"cut short":            "02" + "00" + head + "05" + "01" + "6161",
	} {
		b, err := hex.DecodeString(s)
		if err != nil {
			t.Fatal(name, err)
		}
		if n, err := DecodeBody(b); !errors.Is(err, wire.ErrMalformed) {
			t.Errorf("%s: %+v, %v", name, n, err)
		}
	}
	if _, err := DecodeBody(mustHex(t, "04"+"00"+head)); err != nil {
		t.Errorf("the base of the cases is itself refused: %v", err)
	}
}

func mustHex(t *testing.T, s string) []byte {
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestCheckName(t *testing.T) {
	for _, name := range []string{"a", "...", ".a", "\xff", " ", "\n", `\`, strings.Repeat("n", 4096)} {
		if err := CheckName(name); err != nil {
			t.Errorf("%q: %v", name, err)
		}
	}
	for _, name := range []string{"", ".", "..", "/", "a/b", "a\x00", strings.Repeat("n", 4097)} {
		if CheckName(name) == nil {
			t.Errorf("%q is accepted", name)
		}
	}
}

func FuzzBody(f *testing.F) {
	for _, n := range fullNodes() {
		b, _ := AppendBody(nil, n)
		if len(b) < 4096 {
			f.Add(b)
		}
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		n, err := DecodeBody(b)
		if err != nil {
			return
		}
		again, err := AppendBody(nil, n)
		if err != nil || !bytes.Equal(again, b) {
			t.Errorf("%x decodes to %+v, which encodes to %x, %v", b, n, again, err)
		}
	})
}
