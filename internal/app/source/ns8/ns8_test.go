//go:build linux

package ns8

import (
	"context"
	"errors"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"vault/internal/app/apptest"
	"vault/snapshot"
	"vault/snapshot/archive"
	"vault/snapshot/restore"
)

func TestMain(m *testing.M) { os.Exit(apptest.Main(m)) }

// engine is a Volumes of directories.
type engine map[string]string

func (e engine) List(context.Context) ([]string, error) { return slices.Collect(maps.Keys(e)), nil }

func (e engine) Place(_ context.Context, name string) (Place, error) {
	if e[name] == "" {
		return Place{}, fs.ErrNotExist
	}
	return Place{Dir: e[name]}, nil
}

// node is a node of NethServer with the files of a module and its volumes.
type node struct {
	Module
	engine
}

func plant(t *testing.T, rootful bool, files ...string) node {
	t.Helper()
	dir := t.TempDir()
	n := node{Module{ID: "dokuwiki1", StateDir: filepath.Join(dir, "st*te [1]"), Rootful: rootful}, engine{"restic-cache": "/", "other-data": "/"}}
	if !rootful {
		delete(n.engine, "other-data")
	}
	for _, f := range append(files, "state/environment") {
		where, rest, _ := strings.Cut(f, "/")
		at := n.StateDir
		if where == "volumes" {
			var x string
			x, rest, _ = strings.Cut(rest, "/")
			at = filepath.Join(dir, "storage", x, "_data")
			n.engine[n.VolumeName(x)] = at
		}
		path := filepath.Join(at, rest)
		dir := at // of an empty volume
		if rest != "" {
			dir = filepath.Dir(path)
		}
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		if rest != "" {
			text := f
			if rest == environment {
				text = "IMAGE_URL=ghcr.io/nethserver/dokuwiki:1.1\nMODULE_ID=dokuwiki1\nMODULE_UUID=3792c7db-x\n#C=1\nEMPTY=\n"
			}
			if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	return n
}

func (n node) plan(t *testing.T, include, exclude string) *Plan {
	t.Helper()
	p, err := n.Make(t.Context(), n.engine, File{"state-include.conf", []byte(include)}, File{"state-exclude.conf", []byte(exclude)})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// save stores a plan and returns the files in it, as the module names them.
func (n node) save(t *testing.T, p *Plan) (*apptest.Repo, map[string]*snapshot.Volume, []string) {
	t.Helper()
	r := apptest.NewRepo(t)
	var volumes []archive.Volume
	for _, part := range p.Parts {
		volumes = append(volumes, archive.Volume{Name: part.Prefix, Source: part.Source, Excludes: part.Excludes, IDs: part.IDs})
	}
	report := r.Save(t, volumes...)
	saved := map[string]*snapshot.Volume{}
	var files []string
	for i := range report.Backup.Volumes {
		v := &report.Backup.Volumes[i]
		if v.State != snapshot.Complete {
			t.Errorf("%s is %v: %v", v.Name, v.State, v.Problems)
			continue
		}
		saved[v.Name] = v
		if err := snapshot.Walk(t.Context(), r, v.Root, func(p string, n *snapshot.Node) error {
			if n.Type == snapshot.File {
				files = append(files, v.Name+"/"+p)
			}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
	}
	slices.Sort(files)
	return r, saved, files
}

var wiki = []string{
	"state/ui_name.dump", "state/big.log", "state/cache/x", "state/cache/keep", "state/deep/er/y.log", "state/.hidden",
	"volumes/dokuwiki-data/pages/start.txt", "volumes/dokuwiki-data/cache/a", "volumes/dokuwiki-data/cache/sub/b", "volumes/dokuwiki-data/pages/cache/c",
	"volumes/other/file", "volumes/logs/2024.log", "volumes/empty/",
}

func TestPlans(t *testing.T) {
	for name, c := range map[string]struct {
		include, exclude string
		want             string // besides state/environment
		unmatched        []string
	}{
		"nothing":          {"", "", "", nil},
		"a file":           {"state/ui_name.dump\n", "", "state/ui_name.dump", nil},
		"no newline":       {"state/ui_name.dump\nvolumes/other", "", "state/ui_name.dump volumes/other/file", nil},
		"windows lines":    {"# wiki\r\n\r\n  volumes/other/  \r\n", "", "volumes/other/file", nil},
		"a glob":           {"state/*.dump\nvolumes/*/cache", "", "state/ui_name.dump volumes/dokuwiki-data/cache/a volumes/dokuwiki-data/cache/sub/b", nil},
		"all volumes":      {"volumes", "", "volumes/dokuwiki-data/cache/a volumes/dokuwiki-data/cache/sub/b volumes/dokuwiki-data/pages/cache/c volumes/dokuwiki-data/pages/start.txt volumes/logs/2024.log volumes/other/file", nil},
		"the state":        {"state", "*.log\ncache", "state/.hidden state/ui_name.dump", nil},
		"a class":          {"state/[.u]*", "", "state/.hidden state/ui_name.dump", nil},
		"twice":            {"volumes/other\nvolumes/other/file\n./volumes//other", "", "volumes/other/file", nil},
		"no match":         {"state/nothing.dump\nvolumes/gone\nvolumes/other/x*\nvolumes/other", "", "volumes/other/file", []string{"1: state/nothing.dump", "2: volumes/gone", "3: volumes/other/x*"}},
		"elsewhere":        {"/etc/passwd\nstate/../../x\nhome", "", "", []string{"1: /etc/passwd", "2: state/../../x", "3: home"}},
		"restic's volumes": {"volumes/restic-cache", "", "", []string{"1: volumes/restic-cache"}},
		"an empty volume":  {"volumes/empty", "", "", nil},

		"excluded by path":    {"volumes/dokuwiki-data", "volumes/dokuwiki-data/cache\n", "volumes/dokuwiki-data/pages/cache/c volumes/dokuwiki-data/pages/start.txt", nil},
		"excluded by name":    {"volumes/dokuwiki-data", "cache", "volumes/dokuwiki-data/pages/start.txt", nil},
		"excluded in all":     {"volumes/dokuwiki-data\nvolumes/logs", "volumes/*/cache\nvolumes/*/*.log", "volumes/dokuwiki-data/pages/cache/c volumes/dokuwiki-data/pages/start.txt", nil},
		"excluded at depth":   {"state", "state/**/*.log", "state/.hidden state/cache/keep state/cache/x state/ui_name.dump", nil},
		"excluded part":       {"volumes/dokuwiki-data\nvolumes/other", "dokuwiki-data/pages", "volumes/dokuwiki-data/cache/a volumes/dokuwiki-data/cache/sub/b volumes/other/file", nil},
		"excluded absolutely": {"state\n", "/srv/state/cache\n/state/big.log", "state/.hidden state/big.log state/deep/er/y.log state/ui_name.dump", nil},
		"taken back":          {"state", "state/cache/*\n!state/cache/keep\nstate/deep\nstate/*.log", "state/.hidden state/cache/keep state/ui_name.dump", nil},
		"a variable":          {"state/ui_name.dump", "$HOME/x\n$$\nstate/ui_na${me}me.dump", "", nil},
		"comments":            {"#state/big.log\nstate/.hidden", "# .hidden\n", "state/.hidden", nil},
	} {
		t.Run(name, func(t *testing.T) {
			n := plant(t, false, wiki...)
			p := n.plan(t, c.include, c.exclude)
			_, _, files := n.save(t, p)
			want := append(strings.Fields(c.want), "state/environment")
			slices.Sort(want)
			if !slices.Equal(files, want) {
				t.Errorf("saved %q\nwant  %q", files, want)
			}
			var unmatched []string
			for _, u := range p.Unmatched {
				unmatched = append(unmatched, strings.TrimPrefix(u.String(), "state-include.conf:"))
			}
			if !slices.Equal(unmatched, c.unmatched) || (p.Err() == nil) != (len(unmatched) == 0) || p.Err() != nil && !errors.Is(p.Err(), ErrUnmatched) {
				t.Errorf("unmatched: %q, %v", unmatched, p.Err())
			}
		})
	}
}

func TestRootful(t *testing.T) {
	n := plant(t, true, wiki...)
	p := n.plan(t, "volumes/*\n", "")
	var got []string
	for _, part := range p.Parts {
		got = append(got, part.Prefix+"="+part.Volume)
	}
	want := []string{"state=", "volumes/dokuwiki-data=dokuwiki1-dokuwiki-data", "volumes/empty=dokuwiki1-empty", "volumes/logs=dokuwiki1-logs", "volumes/other=dokuwiki1-other"}
	if !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}

func TestErrors(t *testing.T) {
	n := plant(t, false, wiki...)
	for _, c := range [][2]string{{"state/[", ""}, {"volumes/[/x", ""}, {"state", "state/["}, {"state", "a\x00b"}} {
		if p, err := n.Make(t.Context(), n.engine, File{"i", []byte(c[0])}, File{"e", []byte(c[1])}); err == nil {
			t.Errorf("%q: %+v", c, p)
		}
	}
	n.engine["broken"] = ""
	if _, err := n.Make(t.Context(), n.engine, File{"i", []byte("volumes/broken")}, File{}); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a volume that cannot be found: %v", err)
	}
	n.StateDir += "x"
	if p := n.plan(t, "", ""); p.Err() == nil {
		t.Error("without state/environment")
	}
}

// A module comes back on another node under another number.
func TestRestoreElsewhere(t *testing.T) {
	n := plant(t, false, wiki...)
	p := n.plan(t, "state/ui_name.dump\nvolumes/dokuwiki-data", "")
	r, saved, files := n.save(t, p)
	target := t.TempDir()
	var volumes []restore.Volume
	for _, v := range saved {
		volumes = append(volumes, restore.Volume{Volume: v, Dir: v.Name})
	}
	report, err := restore.Run(t.Context(), restore.Options{Source: r, Target: target,
		Select: func(volume, path string, _ *snapshot.Node) bool { return !IsEnvironment(volume, path) }}, volumes)
	if err != nil || report.ProblemCount > 0 {
		t.Fatalf("%v, %v", err, report.Problems)
	}
	var got []string
	filepath.WalkDir(target, func(path string, d fs.DirEntry, _ error) error {
		if d.Type().IsRegular() {
			got = append(got, strings.TrimPrefix(path, target+"/"))
		}
		return nil
	})
	want := slices.DeleteFunc(files, func(f string) bool { return f == "state/environment" })
	if !slices.Equal(got, want) {
		t.Errorf("restored %q, want %q", got, want)
	}
	if key := RenameKey("dokuwiki1", "dokuwiki7")("module/dokuwiki1/ui_name"); key != "module/dokuwiki7/ui_name" {
		t.Error(key)
	}
	if key := RenameKey("dokuwiki1", "dokuwiki7")("module/dokuwiki10/ui_name"); key != "module/dokuwiki10/ui_name" {
		t.Error(key)
	}
}

func FuzzFiles(f *testing.F) {
	f.Add("state/x\nvolumes/data/**/c", "volumes/*/cache\n!keep\n$x")
	f.Add("[", "**/**/a")
	f.Fuzz(func(t *testing.T, include, exclude string) {
		m := Module{ID: "m1", StateDir: "/nonexistent"}
		m.Make(t.Context(), engine{"data": "/nonexistent"}, File{"i", []byte(include)}, File{"e", []byte(exclude)})
		excludesOf("volumes/data", "/x/y", lines(File{"e", []byte(exclude)}))
	})
}
