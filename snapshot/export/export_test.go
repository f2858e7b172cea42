package export_test

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"

	"vault/crypto"
	"vault/internal/treetest"
	"vault/snapshot"
	"vault/snapshot/export"
)

// sample has an entry of every type.
func sample(t *testing.T, s *treetest.Store) *snapshot.Node {
	value := bytes.Repeat([]byte{0, 255, '\n'}, 2000)
	blob, err := s.Put(t.Context(), crypto.BlobData, value)
	if err != nil {
		t.Fatal(err)
	}
	linked := snapshot.Node{Type: snapshot.File, Mode: 0o4755, Inode: 7, Links: 2, Size: 3, Content: snapshot.Content{Inline: []byte("abc")}}
	first, second := linked, linked
	first.Name, second.Name = "b", "z"
	other := linked // the number was used again
	other.Name, other.CTime.Sec = "y", 5
	return s.Dir(t, []*snapshot.Node{
		&first, &second, &other,
		{Name: "chr", Type: snapshot.CharDevice, Major: 1, Minor: 3},
		{Name: "fifo", Type: snapshot.FIFO, UID: 3000000, GID: 1, User: "ü"},
		{Name: "link", Type: snapshot.Symlink, Target: "to\xff"},
		{Name: "sock", Type: snapshot.Socket},
		{Name: "x\xff", Type: snapshot.File, MTime: snapshot.Time{Sec: -5, Nsec: 7}, Xattrs: []snapshot.Xattr{
			{Name: "user.a=%", Value: []byte{0, 1}}, {Name: "user.long", Blob: blob, Length: uint64(len(value))}}},
	})
}

func TestTar(t *testing.T) {
	s := treetest.NewStore()
	var b bytes.Buffer
	var skipped []string
	err := export.Tar(t.Context(), s, &b, []export.Member{{Name: ".", Node: sample(t, s)}, {Name: "db", Node: &snapshot.Node{Type: snapshot.File}}},
		export.Options{Skipped: func(name string, _ error) { skipped = append(skipped, name) }})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for r := tar.NewReader(&b); ; {
		h, err := r.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		content, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, fmt.Sprintf("%c %q %q %o %d %q %d.%d %s", h.Typeflag, h.Name, h.Linkname, h.Mode, h.Uid, h.Uname, h.Devmajor, h.Devminor, content))
		if strings.HasPrefix(h.Name, "./x") {
			if v := h.PAXRecords["SCHILY.xattr.user.a%3D%25"]; v != "\x00\x01" {
				t.Errorf("attribute %q", v)
			}
			if v := h.PAXRecords["SCHILY.xattr.user.long"]; len(v) != 6000 {
				t.Errorf("long attribute of %d bytes", len(v))
			}
			if at := h.ModTime; at.Unix() != -5 || at.Nanosecond() != 7 {
				t.Errorf("time %v", at)
			}
		}
	}
	want := []string{
		`5 "./" "" 755 0 "" 0.0 `,
		`0 "./b" "" 4755 0 "" 0.0 abc`,
		`3 "./chr" "" 0 0 "" 1.3 `,
		`6 "./fifo" "" 0 3000000 "ü" 0.0 `,
		`2 "./link" "to\xff" 0 0 "" 0.0 `,
		`0 "./x\xff" "" 0 0 "" 0.0 `,
		`0 "./y" "" 4755 0 "" 0.0 abc`,
		`1 "./z" "./b" 4755 0 "" 0.0 `,
		`0 "./db" "" 0 0 "" 0.0 `,
	}
	if !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if !slices.Equal(skipped, []string{"sock"}) {
		t.Errorf("skipped %q", skipped)
	}
}

func TestZip(t *testing.T) {
	s := treetest.NewStore()
	var b bytes.Buffer
	var skipped []string
	err := export.Zip(t.Context(), s, &b, []export.Member{{Name: ".", Node: sample(t, s)}, {Name: "d", Node: s.Tree(t, "f=x")}},
		export.Options{Skipped: func(name string, _ error) { skipped = append(skipped, name) }})
	if err != nil {
		t.Fatal(err)
	}
	r, err := zip.NewReader(bytes.NewReader(b.Bytes()), int64(b.Len()))
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, f := range r.File {
		c, err := f.Open()
		if err != nil {
			t.Fatal(err)
		}
		content, err := io.ReadAll(c)
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, fmt.Sprintf("%s %q %q", f.Mode(), f.Name, content))
	}
	want := []string{`urwxr-xr-x "b" "abc"`, `L--------- "link" "to\xff"`, `---------- "x\xff" ""`, `urwxr-xr-x "y" "abc"`, `urwxr-xr-x "z" "abc"`,
		`drwxr-xr-x "d/" ""`, `-rw-r--r-- "d/f" "x"`}
	if !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if !slices.Equal(skipped, []string{"chr", "fifo", "sock"}) {
		t.Errorf("skipped %q", skipped)
	}
}

// TestACLText: ACLs as text, for GNU tar.
func TestACLText(t *testing.T) {
	line := func(b []byte, tag, perm uint16, id uint32) []byte {
		b = binary.LittleEndian.AppendUint16(b, tag)
		return binary.LittleEndian.AppendUint32(binary.LittleEndian.AppendUint16(b, perm), id)
	}
	const none = 1<<32 - 1
	full := []byte{2, 0, 0, 0}
	for _, l := range []struct {
		tag, perm uint16
		id        uint32
	}{{1, 6, none}, {2, 5, 1234}, {4, 4, none}, {8, 6, 55}, {16, 7, none}, {32, 0, none}} {
		full = line(full, l.tag, l.perm, l.id)
	}
	const text = "user::rw-\nuser:1234:r-x\ngroup::r--\ngroup:55:rw-\nmask::rwx\nother::---\n"
	for _, c := range []struct {
		name             string
		access, standard []byte
		wantA, wantD     string
	}{
		{"access", full, nil, text, ""},
		{"default", nil, full, "user::rwx\ngroup::r-x\nother::r--\n", text},
		{"both", full, full, text, text},
		{"neither", nil, nil, "", ""},
		{"cut", full[:len(full)-1], full[:4], "", ""},
		{"another version", append([]byte{3}, full[1:]...), nil, "", ""},
		{"unknown tag", line([]byte{2, 0, 0, 0}, 64, 7, 0), nil, "", ""},
		{"unknown right", line([]byte{2, 0, 0, 0}, 1, 8, 0), nil, "", ""},
	} {
		n := &snapshot.Node{Type: snapshot.Directory, Mode: 0o754}
		for name, value := range map[string][]byte{"system.posix_acl_access": c.access, "system.posix_acl_default": c.standard} {
			if value != nil {
				n.Xattrs = append(n.Xattrs, snapshot.Xattr{Name: name, Value: value})
			}
		}
		s := treetest.NewStore()
		n.Tree = s.Dir(t, nil).Tree
		var b bytes.Buffer
		if err := export.Tar(t.Context(), s, &b, []export.Member{{Name: "d", Node: n}}, export.Options{}); err != nil {
			t.Fatal(err)
		}
		h, err := tar.NewReader(&b).Next()
		if err != nil {
			t.Fatal(err)
		}
		if a, d := h.PAXRecords["SCHILY.acl.access"], h.PAXRecords["SCHILY.acl.default"]; a != c.wantA || d != c.wantD {
			t.Errorf("%s: %q and %q, want %q and %q", c.name, a, d, c.wantA, c.wantD)
		}
		if got := h.PAXRecords["SCHILY.xattr.system.posix_acl_access"]; got != string(c.access) {
			t.Errorf("%s: attribute %q", c.name, got)
		}
	}
}

// TestCutShort: an archive that could not be finished cannot be taken for whole.
func TestCutShort(t *testing.T) {
	s := treetest.NewStore()
	id, err := s.Put(t.Context(), crypto.BlobData, []byte("lost"))
	if err != nil {
		t.Fatal(err)
	}
	s.Lose(crypto.BlobData, id)
	root := s.Dir(t, []*snapshot.Node{{Name: "f", Type: snapshot.File, Size: 4,
		Content: snapshot.Content{Items: []snapshot.Item{{Kind: snapshot.ItemData, Length: 4, ID: id}}}}})
	var b bytes.Buffer
	if err := export.Tar(t.Context(), s, &b, []export.Member{{Name: ".", Node: root}}, export.Options{}); err == nil {
		t.Error("a missing blob was not noticed")
	}
	r := tar.NewReader(&b)
	for err = nil; err == nil; _, err = r.Next() {
	}
	if errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) && bytes.HasSuffix(b.Bytes(), make([]byte, 1024)) {
		t.Error("the archive has an end mark")
	}
	if err := export.File(t.Context(), s, &b, root); err == nil {
		t.Error("a directory was written as a file")
	}
}
