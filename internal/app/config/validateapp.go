package config

import (
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"

	"vault/internal/match"
)

func (v *validator) app(at string, a *App) {
	if a.To == nil && v.c.Defaults.To == nil {
		v.fail(at, "nothing says where its backups go", "give to, here or in defaults")
	}
	v.destination(join(at, "to"), a.To)
	v.schedule(join(at, "schedule"), a.Schedule)
	v.keep(join(at, "keep"), a.Keep)
	v.targets(join(at, "notify"), a.Notify)
	v.absolute(join(at, "metrics"), a.Metrics)
	for key := range a.Tags {
		if key == "app" || key == "backup-id" {
			v.fail(join(at, "tags."+key), "this tag is given by vault itself", "")
		}
	}
	for name, r := range a.Roots {
		v.root(join(at, "roots."+name), r)
	}
	if len(a.Volumes) == 0 && len(a.Dogus) == 0 {
		v.fail(at, "it has no volumes", "")
	}
	for name, vol := range a.Volumes {
		v.name(join(at, "volumes."+name), name, "a volume")
		vol.Name = name
		v.volume(join(at, "volumes."+name), a, vol)
	}
	if a.Sidecar != nil && a.Sidecar.Enabled && (a.To == nil || a.To.Path == "") {
		v.fail(join(at, "sidecar"), "a sidecar lies beside a repository of its own", "give to: {repo: NAME, path: DIR}")
	}
	for i, d := range a.Dogus {
		v.absolute(fmt.Sprintf("%s.dogus[%d].file", at, i), d.File)
		v.absolute(fmt.Sprintf("%s.dogus[%d].root", at, i), d.Root)
	}
	for _, dir := range a.Preflight.RequireMount {
		v.absolute(join(at, "preflight.require-mount"), dir)
	}
	for dir := range a.Preflight.FreeSpace {
		v.absolute(join(at, "preflight.free-space"), dir)
	}
	if a.Quiesce != nil && len(a.Quiesce.Enter.Steps) > 0 && len(a.Quiesce.Leave.Steps) == 0 {
		v.fail(join(at, "quiesce.leave"), "there is no way back", "")
	}
	if len(a.Restore.Enter.Steps) > 0 && len(a.Restore.Leave.Steps) == 0 {
		v.fail(join(at, "restore"), "enter has no leave", "what was stopped has to be started again, whatever happens")
	}
	for i, c := range a.Restore.Compare {
		at := fmt.Sprintf("%s.restore.compare[%d]", at, i)
		v.names(at, a, c.Volume)
		if c.Preset == "" && len(c.Fields) == 0 {
			v.fail(at, "it says no fields", "give fields, or preset: ocis")
		}
	}
	if y := a.Verify; y != nil {
		v.schedule(join(at, "verify.schedule"), y.Schedule)
		if y.Ocis != nil {
			v.names(join(at, "verify.ocis"), a, y.Ocis.Volume, y.Ocis.Blobs)
		}
		if y.OrthancPG != nil {
			v.names(join(at, "verify.orthanc-pg"), a, y.OrthancPG.Dump, y.OrthancPG.Images)
		}
		if y.SQLTail != nil {
			v.names(join(at, "verify.sql-tail"), a, y.SQLTail.Volumes...)
		}
	}
	if r := a.Rehearse; r != nil {
		v.schedule(join(at, "rehearse.schedule"), r.Schedule)
		v.names(join(at, "rehearse.volumes"), a, r.Volumes...)
		v.absolute(join(at, "rehearse.target"), r.Target)
	}
}

// names checks names of volumes.
func (v *validator) names(at string, a *App, list ...string) {
	for _, name := range list {
		if _, ok := a.Volumes[name]; !ok && name != "" && len(a.Dogus) == 0 {
			v.unknown(at, "volume", name, slices.Sorted(maps.Keys(a.Volumes)))
		}
	}
}

func (v *validator) root(at string, r *Root) {
	n := 0
	for _, given := range []bool{r.Path != "", r.Podman != "", r.Docker != ""} {
		if given {
			n++
		}
	}
	if n != 1 {
		v.fail(at, "want one of path, podman and docker", "")
	}
	v.absolute(join(at, "path"), r.Path)
	if r.Path != "" && (r.Prefix != "" || r.User != "") {
		v.fail(at, "prefix and user go with podman or docker", "")
	}
}

// kinds returns the kinds of source that a volume has.
func (vol *Volume) kinds() (list []string) {
	for _, k := range []struct {
		name  string
		given bool
	}{
		{"path", vol.Path != ""}, {"container", vol.Container != nil}, {"command", vol.Command != nil}, {"postgres", vol.Postgres != nil},
		{"mysql", vol.MySQL != nil}, {"redis", vol.Redis != nil}, {"sqlite", vol.SQLite != nil}, {"s3", vol.S3 != nil},
		{"include-from", len(vol.IncludeFrom) > 0 || len(vol.Include) > 0},
	} {
		if k.given {
			list = append(list, k.name)
		}
	}
	return list
}

// Kind returns the key that says where the volume comes from: path, container,
// command, postgres, mysql, redis, sqlite, s3 or include-from.
func (vol *Volume) Kind() string {
	if k := vol.kinds(); len(k) == 1 {
		return k[0]
	}
	return ""
}

// Tree reports whether the volume is a tree of files, rather than one stream.
func (vol *Volume) Tree() bool {
	switch vol.Kind() {
	case "path", "container", "include-from", "s3", "redis":
		return true
	}
	return false
}

func (v *validator) volume(at string, a *App, vol *Volume) {
	kinds := vol.kinds()
	if len(kinds) != 1 {
		message := "nothing says where it comes from"
		if len(kinds) > 1 {
			message = "it comes from " + strings.Join(kinds, " and ") + " at once"
		}
		v.fail(at, message, "give one of path, container, command, postgres, mysql, redis, sqlite, s3 and include-from")
		return
	}
	kind := kinds[0]
	if !vol.Tree() || kind == "s3" || kind == "redis" {
		for key, given := range map[string]bool{
			"exclude": len(vol.Exclude) > 0, "exclude-from": len(vol.ExcludeFrom) > 0, "ignore-files": len(vol.IgnoreFiles) > 0,
			"exclude-if-present": len(vol.IfPresent) > 0, "exclude-caches": vol.Caches, "exclude-larger-than": vol.LargerThan > 0,
		} {
			if given && (kind != "s3" || key != "exclude") {
				v.fail(join(at, key), "this goes with directories, not with "+kind, "")
			}
		}
	}
	if vol.ExpectTail != "" && vol.Tree() {
		v.fail(join(at, "expect-tail"), "this goes with commands and dumps, not with "+kind, "")
	}
	if len(vol.ExpectTail) > 4096 {
		v.fail(join(at, "expect-tail"), "the text has more than 4096 bytes", "")
	}
	dialect := match.Gitignore
	if vol.Syntax == "restic" || vol.Syntax == "" && kind == "include-from" {
		dialect = match.Restic
	}
	v.patterns(join(at, "exclude"), dialect, vol.Exclude)
	for _, text := range vol.IfPresent {
		if _, err := match.ParseMarker(text); err != nil {
			v.fail(join(at, "exclude-if-present"), err.Error(), "")
		}
	}
	switch kind {
	case "path":
		v.rooted(join(at, "path"), a, vol.Path)
	case "sqlite":
		v.rooted(join(at, "sqlite"), a, vol.SQLite.Path)
	case "postgres":
		v.password(join(at, "postgres"), vol.Postgres.Password, false)
		if (vol.Postgres.Database == "") != vol.Postgres.Globals {
			v.fail(join(at, "postgres"), "want one of database and globals", "a dump is one database; globals: true is the roles of the whole server")
		}
	case "mysql":
		v.password(join(at, "mysql"), vol.MySQL.Password, false)
	case "redis":
		v.password(join(at, "redis"), vol.Redis.Password, false)
		if (vol.Redis.Key == "") == (vol.Redis.Pattern == "") {
			v.fail(join(at, "redis"), "want one of key and pattern", "")
		}
	case "include-from":
		if len(a.Roots) == 0 {
			v.fail(join(at, "include-from"), "the lists name paths relative to roots, and the application has none", "")
		}
	}
	if r := vol.Restore; r != nil {
		v.absolute(join(at, "restore.to"), r.To)
		if r.Command != nil && vol.Tree() {
			v.fail(join(at, "restore.command"), "a command takes a stream, and this volume is a tree", "")
		}
	}
}

// rooted checks a path that is absolute, or below a root.
func (v *validator) rooted(at string, a *App, path string) {
	if path == "" || filepath.IsAbs(path) {
		return
	}
	first, _, _ := strings.Cut(filepath.ToSlash(path), "/")
	if _, ok := a.Roots[first]; !ok {
		v.fail(at, fmt.Sprintf("%s is neither absolute nor below one of the application's roots", quote(path)),
			"roots: "+strings.Join(slices.Sorted(maps.Keys(a.Roots)), ", "))
	}
	if !filepath.IsLocal(path) {
		v.fail(at, quote(path)+" leads out of its root", "")
	}
}
