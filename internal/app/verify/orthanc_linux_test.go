package verify

import (
	"bytes"
	"compress/gzip"
	"compress/zlib"
	"crypto/md5"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"vault/snapshot"
)

// orthancOf backs up a dump and files, and checks them.
func orthancOf(t testing.TB, dump, images string) (list []Finding, sum Summary, err error) {
	t.Helper()
	r := orthancRepo(t, dump, images)
	sum, err = Orthanc(t.Context(), &Reader{Source: r.source, Found: func(f Finding) { list = append(list, f) }}, r.tree)
	return list, sum, err
}

type orthancSaved struct {
	source snapshot.Source
	tree   OrthancTree
}

func orthancRepo(t testing.TB, dump, images string) orthancSaved {
	t.Helper()
	r, roots := backup(t, map[string]string{"index": dump, "images": images})
	return orthancSaved{r, OrthancTree{DumpVolume: "index", Dump: roots["index"], ImagesVolume: "images", Images: roots["images"]}}
}

// orthancFixture returns directories of the dump, plain or custom, and of the files.
func orthancFixture(t testing.TB, dump string) (dumps, images string) {
	t.Helper()
	dir := unpack(t, "orthanc-pg.tgz")
	dumps = filepath.Join(dir, "dumps")
	must(t, os.Mkdir(dumps, 0o700))
	must(t, os.Rename(filepath.Join(dir, dump), filepath.Join(dumps, dump)))
	return dumps, filepath.Join(dir, "storage")
}

func needPgRestore(t testing.TB) {
	t.Helper()
	if _, err := exec.LookPath("pg_restore"); err != nil {
		t.Skip("pg_restore is not installed")
	}
}

func TestOrthancFixture(t *testing.T) {
	for _, dump := range []string{"orthanc.sql", "orthanc.dump"} {
		if dump == "orthanc.dump" {
			needPgRestore(t)
		}
		dumps, images := orthancFixture(t, dump)
		list, sum, err := orthancOf(t, dumps, images)
		must(t, err)
		if len(list) != 0 || sum.Objects != 12 || sum.Blobs != 12 || sum.Bytes != 12*4674 {
			t.Errorf("%s: %+v: %v", dump, sum, list)
		}
		if list, sum, err = orthancOf(t, dumps, filepath.Dir(images)); err != nil || len(list) != 0 || sum.Blobs != 12 {
			t.Errorf("%s, files in a directory of the volume: %+v: %v, %v", dump, sum, list, err)
		}
	}
}

// TestOrthancStorage finds the files, though a directory of some of them is called as
// the one of all of them may be.
func TestOrthancStorage(t *testing.T) {
	ids := []string{"2a352327-ae25-4a62-8fca-9f49d03892ee", "db2c2327-ae25-4a62-8fca-9f49d03892ee", "dbdb2327-ae25-4a62-8fca-9f49d03892ee"}
	for _, there := range [][]string{ids, ids[1:], ids[:1]} {
		for _, storage := range []string{"", "storage", "OrthancStorage", "db"} {
			dir := t.TempDir()
			var dump strings.Builder
			for _, id := range ids {
				fmt.Fprintf(&dump, "INSERT INTO public.attachedfiles (id, filetype, uuid, compressedsize, uncompressedsize, compressiontype, uncompressedhash, compressedhash) VALUES (1, 1, '%s', 0, 0, 1, '', '');\n", id)
			}
			for _, id := range there {
				file := filepath.Join(dir, "images", storage, id[:2], id[2:4], id)
				must(t, errors.Join(os.MkdirAll(filepath.Dir(file), 0o700), os.WriteFile(file, nil, 0o600)))
			}
			must(t, errors.Join(os.Mkdir(filepath.Join(dir, "dumps"), 0o700), os.WriteFile(filepath.Join(dir, "dumps/x.sql"), []byte(dump.String()), 0o600)))
			list, sum, err := orthancOf(t, filepath.Join(dir, "dumps"), filepath.Join(dir, "images"))
			must(t, err)
			var missing []string
			for _, f := range list {
				if f.Severity == Problem || f.Rule == "file-orphan" {
					missing = append(missing, f.Rule)
				}
			}
			if len(missing) != len(ids)-len(there) || sum.Objects != 3 {
				t.Errorf("%d files in %q: %v: %v", len(there), storage, missing, list)
			}
		}
	}
}

func TestOrthancDamaged(t *testing.T) {
	const victim = "2a/35/2a352327-ae25-4a62-8fca-9f49d03892ee"
	for what, c := range map[string]struct {
		do   func(t *testing.T, dump, file string)
		want string // a problem, or with w: a warning
	}{
		"a missing file": {want: "file-missing", do: func(t *testing.T, _, file string) { must(t, os.Remove(file)) }},
		"a short file":   {want: "file-size", do: func(t *testing.T, _, file string) { must(t, os.Truncate(file, 4673)) }},
		"an altered file": {want: "file-content", do: func(t *testing.T, _, file string) {
			b, err := os.ReadFile(file)
			must(t, err)
			b[4000] ^= 0x20
			must(t, os.WriteFile(file, b, 0o600))
		}},
		"a directory for a file": {want: "file-missing", do: func(t *testing.T, _, file string) { must(t, errors.Join(os.Remove(file), os.Mkdir(file, 0o700))) }},
		"a misplaced file": {want: "file-missing", do: func(t *testing.T, _, file string) {
			must(t, os.Rename(file, filepath.Join(filepath.Dir(file), "../3d", filepath.Base(file))))
		}},
		"a stranger": {want: "w:file-orphan", do: func(t *testing.T, _, file string) { must(t, os.WriteFile(file+"0", nil, 0o600)) }},
		"a dump that stops in the table": {want: "dump-damaged", do: func(t *testing.T, dump, _ string) {
			b, err := os.ReadFile(dump)
			must(t, err)
			must(t, os.Truncate(dump, int64(bytes.Index(b, []byte("58e23c3c-")))))
		}},
		"a dump that stops before the table": {want: "dump-damaged", do: func(t *testing.T, dump, _ string) {
			must(t, os.Truncate(dump, 3000))
		}},
		"no dump": {want: "dump-missing", do: func(t *testing.T, dump, _ string) { must(t, os.Remove(dump)) }},
	} {
		t.Run(what, func(t *testing.T) {
			dumps, images := orthancFixture(t, "orthanc.sql")
			c.do(t, filepath.Join(dumps, "orthanc.sql"), filepath.Join(images, victim))
			list, _, err := orthancOf(t, dumps, images)
			must(t, err)
			want := []string{c.want}
			got := rules(list, Problem)
			if w, ok := strings.CutPrefix(c.want, "w:"); ok {
				want = []string{w}
				if got = rules(list, Warning); len(rules(list, Problem)) != 0 {
					t.Errorf("problems: %v", list)
				}
			}
			if !slices.Equal(got, want) {
				t.Errorf("%v, want %v: %v", got, want, list)
			}
			if strings.HasPrefix(c.want, "file-") && !has(list, c.want, victim) {
				t.Errorf("another file: %v", list)
			}
		})
	}
}

func TestOrthancCustomDamaged(t *testing.T) {
	needPgRestore(t)
	dumps, images := orthancFixture(t, "orthanc.dump")
	must(t, os.Remove(one(t, images, "2a/35/*")))
	list, _, err := orthancOf(t, dumps, images)
	if err != nil || !slices.Equal(rules(list, Problem), []string{"file-missing"}) {
		t.Errorf("a missing file: %v, %v", list, err)
	}
	must(t, os.Truncate(filepath.Join(dumps, "orthanc.dump"), 20000))
	list, _, err = orthancOf(t, dumps, images)
	if err != nil || !has(list, "dump-damaged", "orthanc.dump") {
		t.Errorf("half a dump: %v, %v", list, err)
	}
}

func TestOrthancWithoutPgRestore(t *testing.T) {
	dumps, images := orthancFixture(t, "orthanc.dump")
	r := orthancRepo(t, dumps, images)
	_, err := Orthanc(t.Context(), &Reader{Source: r.source, PgRestore: "/nonexistent/pg_restore", Found: func(f Finding) { t.Error(f) }}, r.tree)
	if !errors.Is(err, ErrNoPgRestore) {
		t.Error(err)
	}
}

// TestOrthancCompressed checks what Orthanc compresses: only the hash of the unpacked
// content may be known.
func TestOrthancCompressed(t *testing.T) {
	const id = "2a352327-ae25-4a62-8fca-9f49d03892ee"
	plain := bytes.Repeat([]byte("a picture "), 500)
	var packed bytes.Buffer
	must(t, binary.Write(&packed, binary.LittleEndian, uint64(len(plain))))
	z := zlib.NewWriter(&packed)
	_, err := z.Write(plain)
	must(t, errors.Join(err, z.Close()))
	hash := fmt.Sprintf("%x", md5.Sum(plain))
	for what, c := range map[string]struct {
		stored, plainHash string
		plainSize         int
		want              []string
	}{
		"both":               {stored: fmt.Sprintf("%x", md5.Sum(packed.Bytes())), plainHash: hash, plainSize: len(plain)},
		"the content's only": {plainHash: hash, plainSize: len(plain)},
		"another content":    {plainHash: strings.Repeat("0", 32), plainSize: len(plain), want: []string{"file-content"}},
		"another length":     {plainHash: hash, plainSize: len(plain) + 1, want: []string{"file-content"}},
		"another file":       {stored: strings.Repeat("0", 32), plainHash: hash, plainSize: len(plain), want: []string{"file-content"}},
	} {
		dir := t.TempDir()
		file := filepath.Join(dir, "images/storage/2a/35", id)
		must(t, errors.Join(os.MkdirAll(filepath.Dir(file), 0o700), os.Mkdir(filepath.Join(dir, "dumps"), 0o700), os.WriteFile(file, packed.Bytes(), 0o600)))
		must(t, os.WriteFile(filepath.Join(dir, "dumps/x.sql"), fmt.Appendf(nil,
			"INSERT INTO public.attachedfiles (id, filetype, uuid, compressedsize, uncompressedsize, compressiontype, uncompressedhash, compressedhash) VALUES (1, 1, '%s', %d, %d, 2, '%s', '%s');\n",
			id, packed.Len(), c.plainSize, c.plainHash, c.stored), 0o600))
		list, sum, err := orthancOf(t, filepath.Join(dir, "dumps"), filepath.Join(dir, "images"))
		must(t, err)
		if got := rules(list, Problem); len(got) != len(c.want) || len(got) > 0 && got[0] != c.want[0] || sum.Objects != 1 {
			t.Errorf("%s: %+v %v", what, sum, list)
		}
	}
}

func TestSQLTail(t *testing.T) {
	fixture := unpack(t, "orthanc-pg.tgz")
	read := func(name string) string {
		b, err := os.ReadFile(filepath.Join(fixture, name))
		must(t, err)
		return string(b)
	}
	plain, custom := read("orthanc.sql"), read("orthanc.dump")
	mysql := "/*M!999999\\- enable the sandbox mode */ \n-- MariaDB dump 10.19  Distrib 10.11.14-MariaDB\n--\nINSERT INTO `x` VALUES ('-- Dump completed on');\n-- Dump completed on 2026-11-21  5:13:00\n"
	var packed bytes.Buffer
	z := gzip.NewWriter(&packed)
	_, err := io.WriteString(z, plain)
	must(t, errors.Join(err, z.Close()))
	for what, c := range map[string]struct {
		file, text, expect string
		bad                bool
	}{
		"pg_dump":                              {text: plain},
		"pg_dump without \\unrestrict":         {text: plain[:strings.LastIndex(plain, "\\unrestrict")]},
		"pg_dump, cut before the marker":       {text: plain[:strings.LastIndex(plain, "-- PostgreSQL database dump complete")], bad: true},
		"pg_dump, cut in the marker":           {text: plain[:strings.LastIndex(plain, " complete")], bad: true},
		"pg_dump, the marker in the data only": {text: plain[:3000] + "-- PostgreSQL database dump complete\nfield\n", bad: true},
		"pg_dumpall":                           {text: "--\n-- PostgreSQL database cluster dump\n--\n\n--\n-- PostgreSQL database cluster dump complete\n--\n\n"},
		"mariadb-dump":                         {text: mysql},
		"mariadb-dump, cut":                    {text: mysql[:strings.LastIndex(mysql, "-- Dump")], bad: true},
		"mariadb-dump, cut in the last line":   {text: strings.TrimSuffix(mysql, "\n"), bad: true},
		"mysqldump":                            {text: "-- MySQL dump 10.13  Distrib 8.0\n--\n-- Dump completed on 2026-11-21\n"},
		"empty":                                {text: "", bad: true},
		"something else":                       {text: "hello\n", bad: true},
		"something else that ends as told":     {text: "hello\nthe end\n", expect: "the end"},
		"something else that does not":         {text: "the end" + strings.Repeat("\n", 5000), expect: "the end", bad: true},
		"gzip":                                 {file: "x.sql.gz", text: packed.String()},
		"gzip, cut":                            {file: "x.sql.gz", text: packed.String()[:packed.Len()-100], bad: true},
		"custom":                               {file: "x.dump", text: custom},
		"custom, cut":                          {file: "x.dump", text: custom[:len(custom)-5000], bad: true},
	} {
		t.Run(what, func(t *testing.T) {
			if strings.HasPrefix(what, "custom") {
				needPgRestore(t)
			}
			dir := t.TempDir()
			if c.file == "" {
				c.file = "x.sql"
			}
			must(t, os.WriteFile(filepath.Join(dir, c.file), []byte(c.text), 0o600))
			r, roots := backup(t, map[string]string{"dumps": dir})
			file, err := snapshot.Lookup(t.Context(), r, roots["dumps"].Tree, c.file)
			must(t, err)
			for volume, root := range map[string]*snapshot.Node{"dumps": roots["dumps"], "stream": file} {
				var list []Finding
				sum, err := SQLTail(t.Context(), &Reader{Source: r, Found: func(f Finding) { list = append(list, f) }}, Dump{Volume: volume, Root: root, Expect: c.expect})
				must(t, err)
				if bad := slices.Equal(rules(list, Problem), []string{"dump-end"}); bad != c.bad || len(list) > 1 || sum.Objects != 1 {
					t.Errorf("%s: %+v: %v", volume, sum, list)
				}
			}
		})
	}
	r, roots := backup(t, map[string]string{"dumps": t.TempDir()})
	var list []Finding
	if _, err := SQLTail(t.Context(), &Reader{Source: r, Found: func(f Finding) { list = append(list, f) }}, Dump{Volume: "dumps", Root: roots["dumps"]}); err != nil || !has(list, "dump-missing", "") {
		t.Errorf("no dump: %v, %v", list, err)
	}
}
