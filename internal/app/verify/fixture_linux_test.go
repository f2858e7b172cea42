package verify

import (
	"archive/tar"
	"compress/gzip"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"vault/internal/app/apptest"
	"vault/snapshot"
	"vault/snapshot/archive"
)

// unpack unpacks a fixture into a new directory.
func unpack(t testing.TB, name string) string {
	t.Helper()
	dir := t.TempDir()
	f, err := os.Open(filepath.Join("testdata", name))
	must(t, err)
	defer f.Close()
	z, err := gzip.NewReader(f)
	must(t, err)
	for r := tar.NewReader(z); ; {
		h, err := r.Next()
		if err == io.EOF {
			return dir
		}
		must(t, err)
		p := filepath.Join(dir, h.Name)
		switch h.Typeflag {
		case tar.TypeDir:
			must(t, os.MkdirAll(p, 0o700))
		case tar.TypeSymlink:
			must(t, os.Symlink(h.Linkname, p))
		default:
			w, err := os.OpenFile(p, os.O_CREATE|os.O_WRONLY|os.O_EXCL, 0o600)
			must(t, err)
			_, err = io.Copy(w, r)
			must(t, errors.Join(err, w.Close()))
		}
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// backup saves directories as the volumes of a backup in a real repository.
func backup(t testing.TB, dirs map[string]string) (*apptest.Repo, map[string]*snapshot.Node) {
	t.Helper()
	r := apptest.NewRepo(t)
	var volumes []archive.Volume
	for name, dir := range dirs {
		volumes = append(volumes, archive.Volume{Name: name, Source: archive.Path{Path: dir}})
	}
	report := r.Save(t, volumes...)
	roots := map[string]*snapshot.Node{}
	for _, v := range report.Backup.Volumes {
		if v.State != snapshot.Complete {
			t.Fatalf("volume %s: %s %v", v.Name, v.State, v.Problems)
		}
		roots[v.Name] = v.Root
	}
	return r, roots
}

// ocisOf backs up a storage and checks it.
func ocisOf(t testing.TB, dir, bucket string) (list []Finding, sum Summary, err error) {
	t.Helper()
	dirs := map[string]string{"users": dir}
	if bucket != "" {
		dirs["blobs"] = bucket
	}
	r, roots := backup(t, dirs)
	sum, err = Ocis(t.Context(), &Reader{Source: r, Found: func(f Finding) { list = append(list, f) }},
		OcisTree{Volume: "users", Root: roots["users"], Blobs: roots["blobs"]})
	return list, sum, err
}

// rules returns the rules that findings of a severity break, each once, sorted.
func rules(list []Finding, s Severity) []string {
	names := []string{}
	for _, f := range list {
		if f.Severity == s {
			names = append(names, f.Rule)
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// one returns the only path that a pattern matches.
func one(t testing.TB, pattern ...string) string {
	t.Helper()
	p := filepath.Join(pattern...)
	list, err := filepath.Glob(p)
	must(t, err)
	if len(list) == 0 {
		t.Fatalf("nothing matches %s", p)
	}
	return list[0]
}

// edit changes the metadata of a node.
func edit(t testing.TB, mpk string, change func(map[string]string)) {
	t.Helper()
	b, err := os.ReadFile(mpk)
	must(t, err)
	m, err := decodeMap(b)
	must(t, err)
	change(m)
	must(t, os.WriteFile(mpk, encodeMap(m), 0o600))
}

// encodeMap is decodeMap backwards, for values of at most 255 bytes.
func encodeMap(m map[string]string) []byte {
	b := []byte{0xde, byte(len(m) >> 8), byte(len(m))}
	for k, v := range m {
		b = append(append(b, 0xd9, byte(len(k))), k...)
		b = append(append(b, 0xc4, byte(len(v))), v...)
	}
	return b
}

// nodeOf returns the path of the node to which a link leads.
func nodeOf(t testing.TB, link string) string {
	t.Helper()
	target, err := os.Readlink(link)
	must(t, err)
	return filepath.Join(filepath.Dir(link), target)
}

func has(list []Finding, rule, object string) bool {
	return slices.ContainsFunc(list, func(f Finding) bool { return f.Rule == rule && strings.Contains(f.Object, object) })
}
