package config

import (
	"fmt"
	"maps"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"

	"vault/internal/location"
	"vault/internal/match"
)

func reflectOf(c *Config) reflect.Value { return reflect.ValueOf(c).Elem() }

// validator checks what joins several places.
type validator struct {
	c        *Config
	o        Options
	problems []Problem
}

// has reports whether something was written at a path.
func (v *validator) has(at string) bool {
	_, ok := v.c.at[at]
	return ok
}

// fail reports a mistake at the path, or at the nearest place above it.
func (v *validator) fail(at, message, hint string) {
	p := position{1, 1}
	for place := at; place != ""; {
		if found, ok := v.c.at[place]; ok {
			p = found
			break
		}
		place = place[:max(strings.LastIndexByte(place, '.'), 0)]
	}
	v.problems = append(v.problems, Problem{File: v.c.File, Line: p.line, Column: p.column, Path: at, Message: message, Hint: hint})
}

// names are what may name an application, a volume or a repository: it becomes
// part of file names.
var names = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9._-]{0,99}$`)

func (v *validator) name(at, name, what string) {
	if !names.MatchString(name) {
		v.fail(at, fmt.Sprintf("%s cannot be the name of %s", quote(name), what), "letters, digits, dot, underscore and minus, at most 100, and not first a dot or minus")
	}
}

func (v *validator) config() {
	c := v.c
	if c.Version != Version {
		v.fail("version", fmt.Sprintf("version %d is not known", c.Version), "this program knows version 1")
	}
	for name, r := range c.Repositories {
		v.name(join("repositories", name), name, "a repository")
		v.repository(join("repositories", name), r)
	}
	d := &c.Defaults
	v.destination("defaults.to", d.To)
	v.schedule("defaults.schedule", d.Schedule)
	v.targets("defaults.notify", d.Notify)
	v.keep("defaults.keep", d.Keep)
	v.absolute("defaults.metrics", d.Metrics)
	for name, a := range c.Apps {
		v.name(join("apps", name), name, "an application")
		a.Name = name
		v.app(join("apps", name), a)
	}
	for name, o := range c.Copies {
		v.name(join("copies", name), name, "a copy")
		o.Name = name
		v.copy(join("copies", name), o)
	}
	for name, n := range c.Notify {
		v.name(join("notify", name), name, "a target")
		n.Name = name
		v.notify(join("notify", name), n)
	}
}

func (v *validator) repository(at string, r *Repository) {
	if r.URL != "" {
		if loc, err := location.Parse(r.URL); err != nil {
			v.fail(join(at, "url"), err.Error(), "")
		} else if loc.Scheme == location.Local && !filepath.IsAbs(strings.TrimPrefix(r.URL, "file://")) {
			v.fail(join(at, "url"), "a directory must be given by its absolute path", "a run by a timer has another working directory")
		}
	}
	v.objectLock(join(at, "s3-object-lock"), r)
	v.password(at, r.Password, true)
	v.plainCommand(join(at, "password-command"))
	v.plainCommand(join(at, "sftp-command"))
	if r.Check != nil {
		v.schedule(join(at, "check.schedule"), r.Check.Schedule)
	}
}

// objectLock checks a promise that only a bucket can keep.
func (v *validator) objectLock(at string, r *Repository) {
	if !v.has(at) {
		return
	}
	loc, err := location.Parse(r.URL)
	if err == nil && loc.Scheme != location.S3 {
		v.fail(at, "only a bucket can lock objects, not "+quote(r.URL), "object lock is a thing of S3 buckets: s3://bucket/prefix")
	}
	if _, err := location.ParseObjectLock(r.S3ObjectLock); err != nil {
		v.fail(at, err.Error(), "without the key objects are not locked")
	} else if r.S3ObjectLock == "" {
		v.fail(at, "the value is missing", "remove the key, or say as compliance:30d")
	}
}

// plainCommand refuses what the command of a repository has no use for: nothing is to
// be written that does not count.
func (v *validator) plainCommand(at string) {
	for _, key := range []string{"timeout", "on-error", "environment", "dir"} {
		if v.has(join(at, key)) {
			v.fail(join(at, key), "this does not count for the command of a repository", `only run and shell do; {shell: "cd DIR && NAME=value program"} says the rest`)
		}
	}
}

func (v *validator) password(at string, p Password, need bool) {
	n := 0
	for _, given := range []bool{p.PasswordFile != "", p.PasswordCommand != nil, p.PasswordEnv != ""} {
		if given {
			n++
		}
	}
	switch {
	case n > 1:
		v.fail(at, "the password is said to be in several places", "give one of password-file, password-command and password-env")
	case n == 0 && need:
		v.fail(at, "nothing says where the passphrase is", "give one of password-file, password-command and password-env")
	}
}

func (v *validator) destination(at string, d *Destination) {
	if d == nil || d.Repo == "" {
		return
	}
	if _, ok := v.c.Repositories[d.Repo]; !ok {
		v.unknown(at, "repository", d.Repo, slices.Sorted(maps.Keys(v.c.Repositories)))
	}
	if d.Path != "" && !filepath.IsLocal(d.Path) {
		v.fail(join(at, "path"), quote(d.Path)+": want a path below the repository's place", "")
	}
}

func (v *validator) unknown(at, what, name string, known []string) {
	hint := "known: " + strings.Join(known, ", ")
	if near := nearest(name, known); near != "" {
		hint = "is " + near + " meant?"
	}
	v.fail(at, fmt.Sprintf("there is no %s %s", what, quote(name)), hint)
}

func (v *validator) schedule(at string, s Schedule) {
	for i, text := range s {
		err := error(nil)
		if strings.TrimSpace(text) == "" {
			err = fmt.Errorf("the expression is empty")
		} else if v.o.CheckSchedule != nil {
			err = v.o.CheckSchedule(text)
		}
		if err != nil {
			at := at
			if len(s) > 1 {
				at = fmt.Sprintf("%s[%d]", at, i)
			}
			v.fail(at, fmt.Sprintf("%s: %v", quote(text), err), `an OnCalendar expression, as daily, "03:00" or "Mon..Fri *-*-* 22:30"`)
		}
	}
}

func (v *validator) targets(at string, list Strings) {
	for _, name := range list {
		if _, ok := v.c.Notify[name]; !ok {
			v.unknown(at, "notify target", name, slices.Sorted(maps.Keys(v.c.Notify)))
		}
	}
}

func (v *validator) keep(at string, k *Keep) {
	if p := k.Policy(); k != nil && p.IsZero() {
		v.fail(at, "the policy keeps nothing", "as {daily: 7, weekly: 4}; without keep, nothing is forgotten")
	}
}

func (v *validator) absolute(at, path string) {
	if path != "" && !filepath.IsAbs(path) {
		v.fail(at, quote(path)+": want an absolute path", "a run by a timer has another working directory")
	}
}

func (v *validator) copy(at string, o *Copy) {
	v.destination(join(at, "from"), o.From)
	v.destination(join(at, "to"), o.To)
	if o.From != nil && o.To != nil && *o.From == *o.To {
		v.fail(join(at, "to"), "source and target are the same", "")
	}
	v.schedule(join(at, "schedule"), o.Schedule)
	v.targets(join(at, "notify"), o.Notify)
	v.keep(join(at, "keep"), o.Keep)
	v.absolute(join(at, "metrics"), o.Metrics)
}

func (v *validator) notify(at string, n *Notify) {
	var kinds []string
	address := func(kind string, a Address) {
		count := 0
		for _, text := range []string{a.URL, a.URLFile, a.URLEnv} {
			if text != "" {
				count++
			}
		}
		if count != 1 {
			v.fail(join(at, kind), "want one of url, url-file and url-env", "a URL that is a secret itself does not stand here")
		}
	}
	if n.Webhook != nil {
		kinds = append(kinds, "webhook")
		address("webhook", n.Webhook.Address)
	}
	if n.Ping != nil {
		kinds = append(kinds, "ping")
		address("ping", n.Ping.Address)
	}
	if n.Ntfy != nil {
		kinds = append(kinds, "ntfy")
		address("ntfy", n.Ntfy.Address)
	}
	if n.Email != nil {
		kinds = append(kinds, "email")
		v.password(join(at, "email"), n.Email.Password, n.Email.User != "")
	}
	if len(kinds) != 1 {
		v.fail(at, "want one of webhook, ping, ntfy and email", "")
	}
	for key, text := range map[string]string{"subject": n.Subject, "template": n.Template} {
		if text == "" || v.o.CheckTemplate == nil {
			continue
		}
		if err := v.o.CheckTemplate(text); err != nil {
			v.fail(join(at, key), err.Error(), "docs/operations.md has the fields and functions of templates")
		}
	}
}

// patterns checks patterns of one dialect.
func (v *validator) patterns(at string, d match.Dialect, list Strings) {
	l, err := match.ParseArgs(d, list, match.Options{Source: at})
	if err != nil {
		v.fail(at, err.Error(), "")
		return
	}
	for _, r := range l.Rules() {
		if !r.CanMatch() {
			v.fail(at, fmt.Sprintf("%v: the pattern is malformed and would never match", r), "")
		}
	}
}
