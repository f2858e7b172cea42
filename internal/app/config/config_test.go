package config

import (
	"bytes"
	"errors"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"
)

const good = `version: 1
repositories:
  main: {url: "sftp://bk@nas/vault", password-file: /etc/vault/key, init: if-empty}
  off: {url: /srv/off, password-command: {shell: "cat /key | head -1"}}
defaults: {to: main, keep: {daily: 7, weekly: 4, monthly: 6}, metrics: /var/lib/node_exporter, environment: {LANG: C}}
apps:
  nextcloud:
    schedule: "03:00"
    quiesce: {enter: [occ, "maintenance:mode", --on], leave: [occ, "maintenance:mode", --off], prewarm: true, timeout: 30m}
    volumes:
      db:   {postgres: {database: nextcloud}, class: required, min-size: 1K, expect-tail: "-- PostgreSQL database dump complete"}
      html: {path: /var/www/nextcloud, exclude: ["data/**"]}
      data: {path: /srv/nc/data, exclude: "*/cache/**"}
    restore: {after: [[occ, "maintenance:data-fingerprint"]]}
  dokuwiki1:
    schedule: [daily, "12:00"]
    to: {repo: main, path: "dokuwiki/3792c7db"}
    keep: {last: 3, ages: ["7d=all", "1y=oldest"]}
    roots: {state: /home/dokuwiki1/.config/state, volumes: {podman: rootless, user: dokuwiki1}}
    volumes:
      environment: {path: state/environment, class: required}
      data: {include-from: state-include.conf, exclude-from: state-exclude.conf}
      ui_name: {redis: "module/dokuwiki1/ui_name", class: optional}
    hooks: {before: [[module-dump-state, dokuwiki1]], finally: [[module-cleanup-state, dokuwiki1], {shell: "true", timeout: 1d, on-error: warn}]}
copies:
  offsite: {from: main, to: off, apps: [nextcloud], after: nextcloud, limit-upload: 1M, keep: {daily: 14, monthly: all}}
`

func parseGood(t *testing.T, text string) *Config {
	t.Helper()
	c, err := Parse("vault.yaml", []byte(text), Options{})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestParse(t *testing.T) {
	c := parseGood(t, good)
	nc, dw := c.Apps["nextcloud"], c.Apps["dokuwiki1"]
	for what, pair := range map[string][2]any{
		"default destination": {*nc.To, Destination{Repo: "main"}},
		"own destination":     {*dw.To, Destination{Repo: "main", Path: "dokuwiki/3792c7db"}},
		"single command":      {nc.Quiesce.Enter.Steps, Steps{{Run: []string{"occ", "maintenance:mode", "--on"}}}},
		"time-out":            {time.Duration(nc.Quiesce.Timeout), 30 * time.Minute},
		"default retention":   {nc.Keep.Policy().Daily, 7},
		"own retention":       {dw.Keep.Policy().Daily, 0},
		"bands":               {len(dw.Keep.Policy().Bands), 2},
		"all":                 {c.Copies["offsite"].Keep.Policy().Monthly, -1},
		"one pattern":         {nc.Volumes["data"].Exclude, Strings{"*/cache/**"}},
		"default class":       {nc.Volumes["html"].Class, Required},
		"size":                {nc.Volumes["db"].MinSize, Size(1024)},
		"short key":           {dw.Volumes["ui_name"].Redis.Key, "module/dokuwiki1/ui_name"},
		"schedules":           {dw.Schedule, Schedule{"daily", "12:00"}},
		"short root":          {dw.Roots["state"].Path, "/home/dokuwiki1/.config/state"},
		"root":                {dw.Roots["volumes"].Podman, Rootless},
		"shell":               {dw.Hooks.Finally[1].Argv(), []string{"/bin/sh", "-c", "true"}},
		"days":                {dw.Hooks.Finally[1].Timeout, Duration(24 * time.Hour)},
		"metrics":             {dw.Metrics, "/var/lib/node_exporter"},
		"environment":         {dw.Environment.List(), []string{"LANG=C"}},
		"kind":                {dw.Volumes["data"].Kind(), "include-from"},
		"limit":               {c.Copies["offsite"].LimitUpload, Size(1 << 20)},
		"order":               {[]string{nc.VolumeList()[0].Name, nc.VolumeList()[1].Name, nc.VolumeList()[2].Name}, []string{"db", "html", "data"}},
		"name":                {nc.Name + nc.Volumes["db"].Name, "nextclouddb"},
	} {
		if !reflect.DeepEqual(pair[0], pair[1]) {
			t.Errorf("%s: %#v, want %#v", what, pair[0], pair[1])
		}
	}
}

// TestMistakes: every mistake is found at its place, and says what to do.
func TestMistakes(t *testing.T) {
	for _, c := range []struct{ name, old, new, want, hint string }{
		{"unknown key", "quiesce:", "quiese:", `vault.yaml:9:5: apps.nextcloud.quiese: there is no key "quiese" here`, "is quiesce meant?"},
		{"unlike any key", "schedule: \"03:00\"", "xyzzy: 1", `vault.yaml:8:5: apps.nextcloud.xyzzy: there is no key "xyzzy" here`, "known here: description, schedule"},
		{"underscore", "prewarm: true", "pre_warm: true", `there is no key "pre_warm" here`, "is prewarm meant?"},
		{"wrong class", "class: required, min", "class: requird, min", `vault.yaml:11:54: apps.nextcloud.volumes.db.class: "requird": want required, recommended or optional`, "is required meant?"},
		{"literal password", "password-file: /etc/vault/key", "password: hunter2", `vault.yaml:3:38: repositories.main.password: a secret does not stand in a configuration`, "password-file, password-command or password-env"},
		{"no password", ", password-file: /etc/vault/key", "", `repositories.main: nothing says where the passphrase is`, "password-file"},
		{"two passwords", "init: if-empty", "password-env: X", `the password is said to be in several places`, ""},
		{"command as text", `enter: [occ, "maintenance:mode", --on]`, `enter: "occ maintenance:mode --on"`, `vault.yaml:9:22: apps.nextcloud.quiesce.enter: want a list of commands`, ""},
		{"shell line as hook", "before: [[module-dump-state, dokuwiki1]]", "before: [module-dump-state dokuwiki1]", `apps.dokuwiki1.hooks.before: want a list of commands, each of which is a list`, "one more pair of brackets"},
		{"shell text as hook", "before: [[module-dump-state, dokuwiki1]]", "before: [[a], b]", `apps.dokuwiki1.hooks.before[1]: want a list of arguments`, `{shell: "..."}`},
		{"empty command", "[[module-dump-state, dokuwiki1]]", "[[]]", `the command is empty`, ""},
		{"unknown repository", "to: main, keep", "to: mian, keep", `defaults.to: there is no repository "mian"`, "is main meant?"},
		{"unknown version", "version: 1", "version: 2", `vault.yaml:1:10: version: version 2 is not known`, ""},
		{"no version", "version: 1\n", "", `the key version is missing`, ""},
		{"two sources", "{path: /srv/nc/data, ", "{path: /srv/nc/data, command: [a], ", `apps.nextcloud.volumes.data: it comes from path and command at once`, ""},
		{"no source", "{postgres: {database: nextcloud}, ", "{", `apps.nextcloud.volumes.db: nothing says where it comes from`, ""},
		{"no database", "{postgres: {database: nextcloud}, ", "{postgres: {user: x}, ", `apps.nextcloud.volumes.db.postgres: want one of database and globals`, ""},
		{"a database and globals", "{postgres: {database: nextcloud}, ", "{postgres: {database: nextcloud, globals: true}, ", `want one of database and globals`, ""},
		{"relative path", "path: state/environment", "path: other/environment", `"other/environment" is neither absolute nor below one of the application's roots`, "state, volumes"},
		{"out of root", "path: state/environment", "path: state/../../etc", `leads out of its root`, ""},
		{"exclude of a dump", "expect-tail:", "exclude: [a], expect-tail:", `apps.nextcloud.volumes.db.exclude: this goes with directories, not with postgres`, ""},
		{"tail of a tree", "{path: /srv/nc/data, ", "{path: /srv/nc/data, expect-tail: x, ", `this goes with commands and dumps, not with path`, ""},
		{"bad duration", "timeout: 30m", "timeout: soon", `vault.yaml:9:120: apps.nextcloud.quiesce.timeout: "soon": want a length of time`, ""},
		{"negative duration", "timeout: 30m", "timeout: -1h", `want a length of time`, ""},
		{"bad size", "min-size: 1K", "min-size: big", `want a number of bytes`, ""},
		{"keeps nothing", "keep: {last: 3, ages: [\"7d=all\", \"1y=oldest\"]}", "keep: {last: 0}", `the policy keeps nothing`, ""},
		{"bad band", "1y=oldest", "1y=some", `apps.dokuwiki1.keep.ages[1]`, ""},
		{"twice", "    schedule: \"03:00\"", "    schedule: \"03:00\"\n    schedule: daily", `vault.yaml:9:5: apps.nextcloud.schedule: the key "schedule" comes twice`, ""},
		{"null", "prewarm: true", "prewarm: ", `the value is missing`, ""},
		{"not a boolean", "prewarm: true", "prewarm: yes please", `want true or false`, ""},
		{"list for a value", "url: /srv/off", "url: [a]", `want one value, not a list`, ""},
		{"value for a mapping", "restore: {after: [[occ, \"maintenance:data-fingerprint\"]]}", "restore: later", `want a mapping, not a single value`, ""},
		{"secret in location", "sftp://bk@nas/vault", "sftp://bk:pw@nas/vault", `repositories.main.url`, ""},
		{"relative repository", "url: /srv/off", "url: off", `a directory must be given by its absolute path`, ""},
		{"no object lock", "url: /srv/off", "url: \"s3://b/off\", s3-object-lock: forever:3d", `vault.yaml:4:44: repositories.off.s3-object-lock: "forever:3d" is no object lock`, "without the key"},
		{"object lock without time", "url: /srv/off", "url: \"s3://b/off\", s3-object-lock: compliance", `"compliance" is no object lock`, ""},
		{"empty object lock", "url: /srv/off", "url: \"s3://b/off\", s3-object-lock: \"\"", `repositories.off.s3-object-lock: the value is missing`, "compliance:30d"},
		{"object lock of a directory", "url: /srv/off", "url: /srv/off, s3-object-lock: \"compliance:30d\"", `vault.yaml:4:40: repositories.off.s3-object-lock: only a bucket can lock objects, not "/srv/off"`, "S3"},
		{"object lock of a server", "init: if-empty", "s3-object-lock: \"compliance:30d\"", `repositories.main.s3-object-lock: only a bucket can lock objects`, "S3"},
		{"misspelt object lock", "url: /srv/off", "url: \"s3://b/off\", s3-objectlock: \"compliance:30d\"", `there is no key "s3-objectlock" here`, "is s3-object-lock meant?"},
		{"time-out of a passphrase", `{shell: "cat /key | head -1"}`, `{shell: "cat /key | head -1", timeout: 1m}`, `repositories.off.password-command.timeout: this does not count`, "only run and shell"},
		{"variables of an SFTP program", "init: if-empty", "sftp-command: {run: [ssh, nas], environment: {A: b}}", `repositories.main.sftp-command.environment: this does not count`, "only run and shell"},
		{"no way back", ", leave: [occ, \"maintenance:mode\", --off]", "", `the key leave is missing`, ""},
		{"bad pattern", `"data/**"`, `"a[b"`, `the pattern is malformed and would never match`, ""},
		{"bad name", "  nextcloud:\n", "  ../x:\n", `cannot be the name of an application`, ""},
		{"merge key", "    schedule: \"03:00\"", "    <<: {schedule: daily}", `merge keys are not supported`, "defaults"},
		{"no YAML", "version: 1", "version: [", `this is not YAML`, ""},
		{"second document", "version: 1", "version: 1\n---\nversion: 1", `a second document begins here`, ""},
		{"unknown alias", "url: /srv/off", "url: *off", `this alias names nothing above it`, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			text := strings.Replace(good, c.old, c.new, 1)
			if text == good {
				t.Fatalf("%q is not in the configuration", c.old)
			}
			_, err := Parse("vault.yaml", []byte(text), Options{})
			var list Errors
			if !errors.As(err, &list) {
				t.Fatalf("error %v", err)
			}
			for _, p := range list {
				if strings.Contains(p.Error(), c.want) && strings.Contains(p.Hint, c.hint) {
					return
				}
			}
			t.Errorf("got\n%v\n(hint of the first: %s)\nwant %s", list, list[0].Hint, c.want)
		})
	}
}

// TestAllMistakes: one reading finds all of them, in the order of the file.
func TestAllMistakes(t *testing.T) {
	text := strings.NewReplacer("init:", "initt:", "prewarm: true", "prewarm: 3", "to: main, keep", "to: none, keep", "last: 3", "last: -3").Replace(good)
	_, err := Parse("vault.yaml", []byte(text), Options{CheckSchedule: func(s string) error {
		if s == "12:00" {
			return errors.New("not at noon")
		}
		return nil
	}})
	var list Errors
	if !errors.As(err, &list) {
		t.Fatal(err)
	}
	var paths []string
	for i, p := range list {
		paths = append(paths, p.Path)
		if i > 0 && p.Line < list[i-1].Line {
			t.Errorf("%v comes after %v", p, list[i-1])
		}
	}
	want := []string{"repositories.main.initt", "defaults.to", "apps.nextcloud.quiesce.prewarm", "apps.dokuwiki1.schedule[1]", "apps.dokuwiki1.keep.last"}
	for _, w := range want {
		if !strings.Contains(strings.Join(paths, " "), w) {
			t.Errorf("%s is not reported: %v", w, paths)
		}
	}
}

func TestAnchors(t *testing.T) {
	c := parseGood(t, strings.Replace(strings.Replace(good, "exclude: \"*/cache/**\"", "exclude: *x", 1), `exclude: ["data/**"]`, `exclude: &x ["data/**"]`, 1))
	if got := c.Apps["nextcloud"].Volumes["data"].Exclude; !reflect.DeepEqual(got, Strings{"data/**"}) {
		t.Errorf("through an alias: %v", got)
	}
	// A file that expands without end is refused, not expanded.
	bomb := "version: 1\nrepositories: {}\nx0: &x0 [a,a,a,a,a,a,a,a,a,a]\n"
	for _, i := range []string{"1", "2", "3", "4", "5", "6", "7"} {
		prev := string(rune(i[0] - 1))
		bomb += "x" + i + ": &x" + i + " [*x" + prev + strings.Repeat(", *x"+prev, 9) + "]\n"
	}
	bomb += "apps: {a: {schedule: *x7}}\n"
	if _, err := Parse("bomb", []byte(bomb), Options{}); err == nil {
		t.Error("the bomb is accepted")
	}
}

// TestShow: what is shown is a configuration that means the same.
func TestShow(t *testing.T) {
	c := parseGood(t, good)
	for name, a := range c.Apps {
		text, err := a.YAML()
		if err != nil {
			t.Fatal(err)
		}
		again := parseGood(t, "version: 1\nrepositories: {main: {url: /a, password-env: P}}\n"+string(text))
		if !reflect.DeepEqual(a, again.Apps[name]) {
			t.Errorf("%s is shown as\n%s\nwhich means %+v, not %+v", name, text, again.Apps[name], a)
		}
		if j, err := a.JSON(); err != nil || !bytes.Contains(j, []byte(`"repo":"main"`)) {
			t.Errorf("JSON: %s, %v", j, err)
		}
	}
}

// TestSchemaFile: the schema that is published is that of these structs.
func TestSchemaFile(t *testing.T) {
	const file = "../../../docs/vault-config.schema.json"
	want := Schema()
	if os.Getenv("UPDATE_GOLDEN") != "" {
		if err := os.WriteFile(file, want, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s is not what Schema returns: UPDATE_GOLDEN=1 go test ./internal/app/config writes it", file)
	}
}

func TestTexts(t *testing.T) {
	for text, want := range map[string]time.Duration{"90s": 90 * time.Second, "1h30m": 90 * time.Minute, "7d": 168 * time.Hour, "2w1d": 360 * time.Hour, "1d12h": 36 * time.Hour} {
		var d, again Duration
		if err := d.fromText(text); err != nil || time.Duration(d) != want {
			t.Errorf("%s is %v, %v", text, time.Duration(d), err)
		}
		if err := again.fromText(d.String()); err != nil || again != d {
			t.Errorf("%s is shown as %s", text, d)
		}
	}
	for _, text := range []string{"", "0s", "d", "-1d", "1", "1x", "+5m", "99999999999d", "1d2w"} {
		if err := new(Duration).fromText(text); err == nil {
			t.Errorf("%q is accepted", text)
		}
	}
	for _, n := range []Size{0, 1, 1023, 1024, 1 << 20, 3 << 30, 1<<30 + 1} {
		var again Size
		if err := again.fromText(n.String()); err != nil || again != n {
			t.Errorf("%d is shown as %s", n, n)
		}
	}
	if got := (&Command{Run: []string{"a", "b c", "d'e", ""}}).String(); got != `a 'b c' 'd'\''e' ''` {
		t.Error(got)
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(good))
	f.Add([]byte("version: 1\nrepositories: {a: &a {url: *a}}"))
	f.Add([]byte("? [a]\n: - b\n"))
	f.Add([]byte("- &a *a"))
	f.Add([]byte("apps: {a: {volumes: {b: {path: /}}}}"))
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := Parse("f", data, Options{})
		if err != nil {
			var list Errors
			if !errors.As(err, &list) || len(list) == 0 || list[0].Line < 1 {
				t.Fatalf("%#v", err)
			}
			return
		}
		for _, a := range c.Apps {
			if _, err := a.YAML(); err != nil {
				t.Fatal(err)
			}
		}
	})
}
