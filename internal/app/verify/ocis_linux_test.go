package verify

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

const (
	personal = "spaces/25/b69780-5f39-43be-a7ac-a9b9e9fe4230"
	project  = "spaces/ff/b49dc7-00aa-4f6b-8a8f-1c6aab19df54"
	rootNode = personal + "/nodes/25/b6/97/80/-5f39-43be-a7ac-a9b9e9fe4230"
	dir0     = personal + "/nodes/0c/85/37/80/-fa42-43ea-983f-96f80813cb3c"
	dir1     = personal + "/nodes/66/4b/37/f5/-0e88-4e91-bb5f-2d97b8338ca7"
	f0Blob   = personal + "/blobs/97/3b/c4/ce/-472b-4260-82af-be9002a89435" // of dir1/f0.bin
	anyTrash = personal + "/trash/87/a3/30/7f/-3620-48ca-a8f3-3e2340c0f336"
)

func TestOcisFixture(t *testing.T) {
	list, sum, err := ocisOf(t, unpack(t, "ocis-decomposedfs-mpk.tgz"), "")
	must(t, err)
	if len(list) != 0 || sum.Objects < 30 || sum.Blobs != 32 || sum.Bytes == 0 {
		t.Errorf("%+v: %+v", sum, list)
	}
}

// damage is one way to damage a storage, and what must be found then.
type damage struct {
	what     string
	do       func(t *testing.T, at func(string) string)
	problems []string // the rules that are broken, and no other
	warnings []string
}

func remove(t *testing.T, at func(string) string, paths ...string) {
	for _, p := range paths {
		if _, err := os.Lstat(at(p)); err != nil {
			t.Fatal(err)
		}
		must(t, os.RemoveAll(at(p)))
	}
}

var damages = []damage{
	{what: "a truncated blob", problems: []string{"blob-size"}, do: func(t *testing.T, at func(string) string) { must(t, os.Truncate(at(f0Blob), 1999)) }},
	{what: "a flipped bit in a blob", problems: []string{"blob-content"}, do: func(t *testing.T, at func(string) string) {
		b, err := os.ReadFile(at(f0Blob))
		must(t, err)
		b[1000] ^= 1
		must(t, os.WriteFile(at(f0Blob), b, 0o600))
	}},
	{what: "a lost blob", problems: []string{"blob-missing"}, do: func(t *testing.T, at func(string) string) { remove(t, at, f0Blob) }},
	{what: "a blob that is a directory", problems: []string{"blob-missing"}, do: func(t *testing.T, at func(string) string) {
		remove(t, at, f0Blob)
		must(t, os.Mkdir(at(f0Blob), 0o700))
	}},
	{what: "the blobs of one space", problems: []string{"blob-missing"}, do: func(t *testing.T, at func(string) string) { remove(t, at, project+"/blobs") }},
	{what: "an orphan blob", warnings: []string{"blob-orphan"}, do: func(t *testing.T, at func(string) string) {
		must(t, os.WriteFile(at(f0Blob)+"0", []byte("x"), 0o600))
	}},
	{what: "a lost link", problems: []string{"link-missing"}, do: func(t *testing.T, at func(string) string) { remove(t, at, dir1+"/f0.bin") }},
	{what: "swapped links", problems: []string{"link-name"}, do: func(t *testing.T, at func(string) string) {
		a, b := at(dir1+"/f0.bin"), at(dir1+"/f2.bin")
		must(t, errors.Join(os.Rename(a, a+"_"), os.Rename(b, a), os.Rename(a+"_", b)))
	}},
	{what: "links of one name swapped between directories", problems: []string{"link-parent"}, do: func(t *testing.T, at func(string) string) {
		a, b := at(dir0+"/f0.bin"), at(dir1+"/f0.bin")
		must(t, errors.Join(os.Rename(a, a+"_"), os.Rename(b, a), os.Rename(a+"_", b)))
	}},
	{what: "a second link", problems: []string{"link-name", "link-twice"}, do: func(t *testing.T, at func(string) string) {
		target, err := os.Readlink(at(dir1 + "/f0.bin"))
		must(t, errors.Join(err, os.Symlink(target, at(dir1+"/again"))))
	}},
	{what: "a link to the root", problems: []string{"link-name", "link-parent", "link-twice"}, do: func(t *testing.T, at func(string) string) {
		must(t, os.Symlink("../../../../../25/b6/97/80/-5f39-43be-a7ac-a9b9e9fe4230", at(dir1+"/loop")))
	}},
	{what: "two folders that lead to each other", problems: []string{"link-loop"}, do: func(t *testing.T, at func(string) string) {
		folderIn(t, at, "/nodes/aa/aa/aa/aa/-aaaa-4aaa-8aaa-aaaaaaaaaaaa", "one", "/nodes/bb/bb/bb/bb/-bbbb-4bbb-8bbb-bbbbbbbbbbbb")
		folderIn(t, at, "/nodes/bb/bb/bb/bb/-bbbb-4bbb-8bbb-bbbbbbbbbbbb", "two", "/nodes/aa/aa/aa/aa/-aaaa-4aaa-8aaa-aaaaaaaaaaaa")
		folderIn(t, at, "/nodes/cc/cc/cc/cc/-cccc-4ccc-8ccc-cccccccccccc", "below", "/nodes/bb/bb/bb/bb/-bbbb-4bbb-8bbb-bbbbbbbbbbbb")
	}},
	{what: "a folder that leads to itself", problems: []string{"link-loop"}, do: func(t *testing.T, at func(string) string) {
		folderIn(t, at, "/nodes/aa/aa/aa/aa/-aaaa-4aaa-8aaa-aaaaaaaaaaaa", "self", "/nodes/aa/aa/aa/aa/-aaaa-4aaa-8aaa-aaaaaaaaaaaa")
	}},
	{what: "a link that leads elsewhere", problems: []string{"link-dangling", "link-missing"}, do: func(t *testing.T, at func(string) string) {
		remove(t, at, dir1+"/f0.bin")
		must(t, os.Symlink("/etc/passwd", at(dir1+"/f0.bin")))
	}},
	{what: "a dereferenced symlink", problems: []string{"link-kind", "link-missing"}, do: func(t *testing.T, at func(string) string) {
		remove(t, at, dir1+"/f0.bin")
		must(t, os.WriteFile(at(dir1+"/f0.bin"), nil, 0o600))
	}},
	{what: "a dereferenced directory", problems: []string{"link-kind", "link-missing"}, do: func(t *testing.T, at func(string) string) {
		remove(t, at, rootNode+"/dir1")
		must(t, os.Mkdir(at(rootNode+"/dir1"), 0o700))
	}},
	{what: "a dereferenced entry of the trash", problems: []string{"link-kind", "trash-missing"}, do: func(t *testing.T, at func(string) string) {
		remove(t, at, anyTrash)
		must(t, os.WriteFile(at(anyTrash), nil, 0o600))
	}},
	{what: "a lost entry of the trash", problems: []string{"trash-missing"}, do: func(t *testing.T, at func(string) string) { remove(t, at, anyTrash) }},
	{what: "the trash", problems: []string{"trash-missing"}, do: func(t *testing.T, at func(string) string) { remove(t, at, personal+"/trash") }},
	{what: "a lost node of the trash", problems: []string{"trash-dangling"}, warnings: []string{"blob-orphan"}, do: func(t *testing.T, at func(string) string) {
		n := nodeOf(t, at(anyTrash))
		must(t, errors.Join(os.Remove(n), os.Remove(n+".mpk")))
	}},
	{what: "deleted indexes", problems: []string{"index-lacks", "index-missing"}, warnings: []string{"index-lacks"}, do: func(t *testing.T, at func(string) string) { remove(t, at, "indexes") }},
	{what: "one index of types", problems: []string{"index-lacks"}, do: func(t *testing.T, at func(string) string) { remove(t, at, "indexes/by-type/project.mpk") }},
	{what: "one index of users", problems: []string{"index-lacks"}, warnings: []string{"index-lacks"}, do: func(t *testing.T, at func(string) string) {
		remove(t, at, "indexes/by-user-id/25b69780-5f39-43be-a7ac-a9b9e9fe4230.mpk")
	}},
	{what: "an index without its end", problems: []string{"index-damaged", "index-lacks"}, do: func(t *testing.T, at func(string) string) {
		must(t, os.Truncate(at("indexes/by-type/project.mpk"), 100))
	}},
	{what: "an index that leads elsewhere", problems: []string{"index-dangling"}, do: func(t *testing.T, at func(string) string) {
		edit(t, at("indexes/by-type/project.mpk"), func(m map[string]string) {
			for id := range m {
				m[id] = strings.Replace(m[id], "ff/b4", "ff/b5", 1)
			}
		})
	}},
	{what: "a space of the wrong type", problems: []string{"index-dangling", "index-lacks"}, do: func(t *testing.T, at func(string) string) {
		must(t, os.Rename(at("indexes/by-type/project.mpk"), at("indexes/by-type/share.mpk")))
	}},
	{what: "a missing empty directory of an index", problems: []string{"index-missing"}, do: func(t *testing.T, at func(string) string) { remove(t, at, "indexes/by-group-id") }},
	{what: "a missing empty folder", problems: []string{"link-dangling", "node-missing"}, do: func(t *testing.T, at func(string) string) {
		id := "/nodes/aa/aa/aa/aa/-aaaa-4aaa-8aaa-aaaaaaaaaaaa"
		emptyFolder(t, at, id)
		remove(t, at, personal+id)
	}},
	{what: "an empty folder", do: func(t *testing.T, at func(string) string) {
		emptyFolder(t, at, "/nodes/aa/aa/aa/aa/-aaaa-4aaa-8aaa-aaaaaaaaaaaa")
	}},
	{what: "a deleted space", problems: []string{"index-dangling"}, do: func(t *testing.T, at func(string) string) { remove(t, at, project) }},
	{what: "all spaces", problems: []string{"index-dangling", "space-missing"}, do: func(t *testing.T, at func(string) string) { remove(t, at, "spaces") }},
	{what: "the nodes of a space", problems: []string{"index-dangling", "node-missing"}, warnings: []string{"blob-orphan"}, do: func(t *testing.T, at func(string) string) {
		remove(t, at, project+"/nodes", project+"/trash")
	}},
	{what: "a lost .mpk", problems: []string{"metadata-missing"}, warnings: []string{"blob-orphan", "tree-size"}, do: func(t *testing.T, at func(string) string) {
		must(t, os.Remove(nodeOf(t, at(dir1+"/f0.bin"))+".mpk"))
	}},
	{what: "a lost .mpk of a revision", problems: []string{"metadata-missing"}, warnings: []string{"blob-orphan"}, do: func(t *testing.T, at func(string) string) {
		must(t, os.Remove(one(t, at(personal), "nodes/*/*/*/*/*.REV.*.mpk")))
	}},
	{what: "a .mpk without its end", problems: []string{"metadata-damaged"}, warnings: []string{"blob-orphan", "tree-size"}, do: func(t *testing.T, at func(string) string) {
		must(t, os.Truncate(nodeOf(t, at(dir1+"/f0.bin"))+".mpk", 300))
	}},
	{what: "a lost node", problems: []string{"link-dangling", "node-missing"}, warnings: []string{"blob-orphan", "tree-size"}, do: func(t *testing.T, at func(string) string) {
		must(t, os.Remove(nodeOf(t, at(dir1+"/f0.bin"))))
	}},
	{what: "a folder that became a file", problems: []string{"link-missing", "node-kind"}, warnings: nil, do: func(t *testing.T, at func(string) string) {
		remove(t, at, dir1)
		must(t, os.WriteFile(at(dir1), nil, 0o600))
	}},
	{what: "metadata of another node", problems: []string{"node-id"}, do: func(t *testing.T, at func(string) string) {
		edit(t, nodeOf(t, at(dir1+"/f0.bin"))+".mpk", func(m map[string]string) { m[attrID] = "5b89eede-2816-4233-8e8e-000000000000" })
	}},
	{what: "a size that is no number", problems: []string{"attribute-damaged", "blob-size"}, warnings: []string{"tree-size"}, do: func(t *testing.T, at func(string) string) {
		edit(t, nodeOf(t, at(dir1+"/f0.bin"))+".mpk", func(m map[string]string) { m[attrBlobSize] = "-1" })
	}},
	{what: "another size of a tree", warnings: []string{"tree-size"}, do: func(t *testing.T, at func(string) string) {
		edit(t, at(dir1+".mpk"), func(m map[string]string) { m[attrTreeSize] = "19001" })
	}},
	{what: "an upload in progress", do: func(t *testing.T, at func(string) string) {
		remove(t, at, f0Blob)
		edit(t, nodeOf(t, at(dir1+"/f0.bin"))+".mpk", func(m map[string]string) { m[attrStatus] = "processing:7" })
	}},
	{what: "a revision of nothing", warnings: []string{"blob-orphan", "revision-orphan"}, problems: []string{"link-dangling"}, do: func(t *testing.T, at func(string) string) {
		n := strings.Split(one(t, at(personal), "nodes/*/*/*/*/*.REV.*Z"), ".REV.")[0]
		must(t, errors.Join(os.Remove(n), os.Remove(n+".mpk")))
	}},
}

// folderIn makes a folder, and the link to it in another one of the same space.
func folderIn(t *testing.T, at func(string) string, id, name, in string) {
	t.Helper()
	must(t, errors.Join(os.MkdirAll(at(personal+id), 0o700), os.MkdirAll(at(personal+in), 0o700)))
	must(t, os.WriteFile(at(personal+id+".mpk"), encodeMap(map[string]string{attrType: "2", attrName: name, attrTreeSize: "0",
		attrParent: strings.ReplaceAll(strings.TrimPrefix(in, "/nodes/"), "/", "")}), 0o600))
	must(t, os.Symlink("../../../../.."+strings.TrimPrefix(id, "/nodes"), at(personal+in+"/"+name)))
}

func emptyFolder(t *testing.T, at func(string) string, id string) {
	must(t, os.MkdirAll(at(personal+id), 0o700))
	must(t, os.WriteFile(at(personal+id+".mpk"), encodeMap(map[string]string{attrType: "2", attrName: "empty", attrTreeSize: "0",
		attrParent: "25b69780-5f39-43be-a7ac-a9b9e9fe4230"}), 0o600))
	must(t, os.Symlink("../../../../.."+strings.TrimPrefix(id, "/nodes"), at(rootNode+"/empty")))
}

func TestOcisDamaged(t *testing.T) {
	for i, d := range damages {
		if testing.Short() && i%6 != 0 {
			continue // each is a backup
		}
		t.Run(d.what, func(t *testing.T) {
			dir := unpack(t, "ocis-decomposedfs-mpk.tgz")
			d.do(t, func(p string) string { return filepath.Join(dir, p) })
			list, _, err := ocisOf(t, dir, "")
			must(t, err)
			if p := rules(list, Problem); !slices.Equal(p, d.problems) {
				t.Errorf("problems %v, want %v", p, d.problems)
			}
			if w := rules(list, Warning); !slices.Equal(w, d.warnings) {
				// The size of a tree follows from what is missing in it.
				if w = slices.DeleteFunc(w, func(r string) bool { return r == "tree-size" }); !slices.Equal(w, d.warnings) {
					t.Errorf("warnings %v, want %v", w, d.warnings)
				}
			}
			if t.Failed() {
				for _, f := range list {
					t.Log(f.Severity, f)
				}
			}
		})
	}
}

// TestOcisAttributes takes every attribute that matters from a file, a folder, the root
// of a space and something in the trash: those first on which it depends what else
// matters.
func TestOcisAttributes(t *testing.T) {
	for _, round := range []map[string][]string{
		{dir1: {attrType}, dir1 + "/f0.bin": {attrType}, anyTrash: {attrType}},
		{dir1 + "/f0.bin": {attrBlobID}},
		{
			dir1:             {attrName, attrParent},
			rootNode:         {attrName, attrSpaceID, attrSpace, attrSpName},
			dir1 + "/f0.bin": {attrName, attrParent, attrBlobSize, attrSHA1, attrMD5, attrAdler},
			anyTrash:         {attrName, attrParent, attrOrigin},
		},
	} {
		dir := unpack(t, "ocis-decomposedfs-mpk.tgz")
		want := map[Finding]bool{}
		for path, names := range round {
			p := filepath.Join(dir, path)
			if _, err := os.Readlink(p); err == nil {
				p = nodeOf(t, p)
			}
			rel, err := filepath.Rel(dir, p)
			must(t, err)
			edit(t, p+".mpk", func(m map[string]string) {
				for _, name := range names {
					if _, ok := m[name]; !ok {
						t.Fatalf("%s has no %s", path, name)
					}
					delete(m, name)
					want[Finding{Check: "ocis", Rule: "attribute-missing", Severity: Problem, Volume: "users", Object: rel, Text: "the metadata lacks " + name}] = true
				}
			})
		}
		list, _, err := ocisOf(t, dir, "")
		must(t, err)
		for _, f := range list {
			if f.Rule == "attribute-missing" && !want[f] {
				t.Errorf("too much: %v", f)
			}
			delete(want, f)
		}
		for f := range want {
			t.Errorf("not found: %v", f)
		}
	}
}

// asXattrs moves the metadata into extended attributes, as the other backend has it.
func asXattrs(t *testing.T, dir string) {
	t.Helper()
	must(t, filepath.WalkDir(filepath.Join(dir, "spaces"), func(p string, _ os.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(p, ".mpk") {
			return err
		}
		b, err := os.ReadFile(p)
		must(t, err)
		m, err := decodeMap(b)
		must(t, err)
		for k, v := range m {
			if err := unix.Setxattr(strings.TrimSuffix(p, ".mpk"), k, []byte(v), 0); errors.Is(err, unix.ENOTSUP) {
				t.Skip("no extended attributes here")
			} else if err != nil {
				return err
			}
		}
		return os.Remove(p)
	}))
}

func TestOcisXattrs(t *testing.T) {
	dir := unpack(t, "ocis-decomposedfs-mpk.tgz")
	asXattrs(t, dir)
	list, sum, err := ocisOf(t, dir, "")
	must(t, err)
	if len(list) != 1 || list[0].Severity != Note || sum.Blobs != 32 {
		t.Errorf("%+v: %v", sum, list)
	}
	n := nodeOf(t, filepath.Join(dir, dir1, "f0.bin"))
	must(t, unix.Removexattr(n, attrBlobID))
	if list, _, err = ocisOf(t, dir, ""); err != nil || !has(list, "attribute-missing", "") || !has(list, "blob-orphan", "") {
		t.Errorf("a lost attribute: %v %v", list, err)
	}
	for _, name := range []string{attrType, attrName, attrParent, attrBlobSize, attrSHA1, attrMD5, attrAdler, attrID, attrPrefix + "mtime"} {
		must(t, unix.Removexattr(n, name))
	}
	if list, _, err = ocisOf(t, dir, ""); err != nil || !slices.Equal(rules(list, Problem), []string{"metadata-missing"}) {
		t.Errorf("lost attributes: %v %v", list, err)
	}
}

func TestOcisS3(t *testing.T) {
	dir, bucket := unpack(t, "ocis-decomposedfs-mpk.tgz"), t.TempDir()
	for p, id := range map[string]string{personal: "25b69780-5f39-43be-a7ac-a9b9e9fe4230", project: "ffb49dc7-00aa-4f6b-8a8f-1c6aab19df54"} {
		must(t, os.Rename(filepath.Join(dir, p, "blobs"), filepath.Join(bucket, id)))
	}
	list, sum, err := ocisOf(t, dir, "")
	must(t, err)
	if len(list) != 1 || list[0].Severity != Note || !strings.Contains(list[0].Text, "32 blobs") || sum.Blobs != 0 {
		t.Errorf("without the bucket: %+v %v", sum, list)
	}
	list, sum, err = ocisOf(t, dir, bucket)
	must(t, err)
	if len(list) != 1 || list[0].Severity != Note || sum.Blobs != 32 {
		t.Errorf("with the bucket: %+v %v", sum, list)
	}
	must(t, os.Remove(one(t, bucket, "25*/97/3b/c4/ce/*")))
	if list, _, err = ocisOf(t, dir, bucket); err != nil || !slices.Equal(rules(list, Problem), []string{"blob-missing"}) {
		t.Errorf("a lost object: %v %v", list, err)
	}
}

func TestOcisPosix(t *testing.T) {
	dir := t.TempDir()
	user := filepath.Join(dir, "users", "einstein")
	must(t, errors.Join(os.MkdirAll(user, 0o700), os.Mkdir(filepath.Join(dir, "indexes"), 0o700)))
	if err := unix.Setxattr(user, "user.ocis.space.id", []byte("x"), 0); err != nil {
		t.Skip(err)
	}
	if _, _, err := ocisOf(t, dir, ""); !errors.Is(err, ErrDriver) {
		t.Error(err)
	}
}
