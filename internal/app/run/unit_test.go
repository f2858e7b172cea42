//go:build linux

package run

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"vault/internal/app/config"
	"vault/snapshot"
)

func TestMountKind(t *testing.T) {
	const info = `22 1 0:20 / / rw,relatime shared:1 - ext4 /dev/sda1 rw
30 22 0:25 / /srv/vna rw - autofs systemd-1 rw
31 30 0:26 / /srv/vna rw - nfs4 nas:/vna rw
32 22 0:27 / /srv/auto rw - autofs systemd-1 rw
33 22 0:28 / /srv/with\040space rw - xfs /dev/sdb rw
a line that is none
`
	for dir, want := range map[string]string{"/": "ext4", "/srv/vna": "nfs4", "/srv/auto": "autofs", "/srv/with space": "xfs", "/srv": "", "/srv/vna/x": ""} {
		if got, err := mountKind(strings.NewReader(info), dir); err != nil || got != want {
			t.Errorf("%s: %q, %v, want %q", dir, got, err, want)
		}
	}
	if err := mounted("/proc"); err != nil {
		t.Error(err)
	}
	if err := mounted(t.TempDir()); !errors.Is(err, ErrNotMounted) {
		t.Error(err)
	}
	if err := mounted("/nonexistent"); err == nil || errors.Is(err, ErrNotMounted) {
		t.Error(err)
	}
}

func TestRoom(t *testing.T) {
	dir := t.TempDir()
	if err := room(dir, 1); err != nil {
		t.Error(err)
	}
	if err := room(dir, 1<<62); !errors.Is(err, ErrNoRoom) {
		t.Error(err)
	}
}

func volume(name string, state snapshot.State, files, bytes uint64) snapshot.Volume {
	v := snapshot.Volume{Name: name, State: state, BytesProcessed: bytes, Files: snapshot.Counts{New: files}}
	if state != snapshot.Failed {
		v.Root = &snapshot.Node{Type: snapshot.Directory}
	} else {
		v.Problems = []snapshot.Problem{{Path: ".", Message: "gone"}}
	}
	return v
}

func TestJudge(t *testing.T) {
	type want struct {
		states string // of the record
		kept   int    // volumes that stay in the backup
		state  snapshot.State
		err    error
	}
	for _, c := range []struct {
		name  string
		class config.Class
		v     snapshot.Volume
		min   config.Size
		want  want
	}{
		{"there", config.Required, volume("v", snapshot.Complete, 2, 10), 0, want{"complete", 2, snapshot.Complete, nil}},
		{"partly there", config.Required, volume("v", snapshot.Partial, 2, 10), 0, want{"partial", 2, snapshot.Partial, nil}},
		{"required, missing", config.Required, volume("v", snapshot.Failed, 0, 0), 0, want{"failed", 2, snapshot.Partial, ErrRequired}},
		{"required, empty", config.Required, volume("v", snapshot.Complete, 0, 0), 0, want{"failed", 2, snapshot.Complete, ErrRequired}},
		{"required, too small", config.Required, volume("v", snapshot.Complete, 1, 9), 10, want{"failed", 2, snapshot.Complete, ErrRequired}},
		{"required, just large enough", config.Required, volume("v", snapshot.Complete, 1, 10), 10, want{"complete", 2, snapshot.Complete, nil}},
		{"recommended, missing", config.Recommended, volume("v", snapshot.Failed, 0, 0), 0, want{"failed", 2, snapshot.Partial, nil}},
		{"recommended, empty", config.Recommended, volume("v", snapshot.Complete, 0, 0), 0, want{"partial", 2, snapshot.Partial, nil}},
		{"optional, missing", config.Optional, volume("v", snapshot.Failed, 0, 0), 0, want{"missing", 1, snapshot.Complete, nil}},
		{"optional, empty", config.Optional, volume("v", snapshot.Complete, 0, 0), 0, want{"complete", 2, snapshot.Complete, nil}},
	} {
		b := &snapshot.Backup{Volumes: []snapshot.Volume{c.v, volume("other", snapshot.Complete, 1, 1)}}
		j := judge(b, map[string]*config.Volume{"v": {Class: c.class, MinSize: c.min}, "other": {Class: config.Required}})
		got := want{j.volumes[0].State, len(b.Volumes), b.State(), nil}
		if errors.Is(j.err, ErrRequired) {
			got.err = ErrRequired
		}
		if got != c.want || j.err != nil && c.want.err == nil {
			t.Errorf("%s: %+v (%v), want %+v", c.name, got, j.err, c.want)
		}
		if len(j.volumes) != 2 || (len(j.notices) > 0) != strings.HasPrefix(c.name, "optional") {
			t.Errorf("%s: %+v, notices %q", c.name, j.volumes, j.notices)
		}
	}
	all := &snapshot.Backup{Volumes: []snapshot.Volume{volume("v", snapshot.Failed, 0, 0)}}
	if j := judge(all, map[string]*config.Volume{"v": {Class: config.Optional}}); j.err == nil {
		t.Error("a backup of nothing is stored")
	}
}

func TestExecutor(t *testing.T) {
	t.Setenv("VAULT_PASSWORD", "secret")
	t.Setenv("MY_KEY", "secret")
	dir := t.TempDir()
	secretive := &config.Config{Repositories: map[string]*config.Repository{"main": {Password: config.Password{PasswordEnv: "MY_KEY"}}},
		Apps: map[string]*config.App{"other": {Volumes: map[string]*config.Volume{"db": {Postgres: &config.Postgres{Password: config.Password{PasswordEnv: "DB_KEY"}}}}}}}
	t.Setenv("DB_KEY", "secret")
	var said, warned, partial []string
	x := &executor{app: "web", base: []string{"LANG=C"}, hide: secretNames(secretive), timeout: time.Minute,
		said: func(p, c string) { said = append(said, p+" "+c) }, warn: func(m string) { warned = append(warned, m) }, partial: func(m string) { partial = append(partial, m) }}
	ctx := context.Background()
	sh := func(script string) config.Command { return config.Command{Shell: script} }
	env := sh(`env > env`)
	env.Dir, env.Env = dir, config.Environment{"OWN": "1"}
	if err := x.step(ctx, "before", &env, []string{"VAULT_RESULT=success"}); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(filepath.Join(dir, "env"))
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range []string{"VAULT_APP=web\n", "VAULT_PHASE=before\n", "VAULT_RESULT=success\n", "OWN=1\n", "LANG=C\n"} {
		if !strings.Contains(string(b), line) {
			t.Errorf("the environment has no %q", line)
		}
	}
	if strings.Contains(string(b), "secret") {
		t.Error("the environment has secrets")
	}
	if got := x.blank(); !slices.Equal(got, []string{"DB_KEY=", "MY_KEY=", "VAULT_PASSWORD="}) {
		t.Errorf("programs of databases get %q", got)
	}
	var failed *CommandError
	fails := sh("echo out; echo err >&2; exit 3")
	if err := x.step(ctx, "before", &fails, nil); !errors.As(err, &failed) || failed.Status != 3 || failed.Said != "out\nerr" {
		t.Errorf("%+v", failed)
	}
	skips := sh("exit 75")
	if err := x.step(ctx, "before", &skips, nil); !errors.Is(err, ErrSkipped) {
		t.Error(err)
	}
	if err := x.step(ctx, "after", &skips, nil); errors.Is(err, ErrSkipped) || err == nil {
		t.Errorf("75 after the backup: %v", err)
	}
	fails.OnError = config.OnErrorIgnore
	warns := fails
	warns.OnError = config.OnErrorWarn
	if err := x.steps(ctx, "after", config.Steps{fails, warns}, nil); err != nil || len(warned) != 1 || len(partial) != 1 {
		t.Errorf("%v, %q, %q", err, warned, partial)
	}
	// The first failure ends steps, and none ends all.
	touch := sh("echo x >> touched")
	touch.Dir = dir
	bad := sh("exit 1")
	x.steps(ctx, "before", config.Steps{touch, bad, touch}, nil)
	x.all(ctx, "finally", config.Steps{bad, touch}, nil)
	if b, _ := os.ReadFile(filepath.Join(dir, "touched")); string(b) != "x\nx\n" {
		t.Errorf("%q", b)
	}
	// What stays behind in the background does not hold up the end; what is told to end does.
	daemon := sh("sleep 30 & exit 0")
	if err := x.step(ctx, "leave", &daemon, nil); err != nil {
		t.Error(err)
	}
	stopped, cancel := context.WithCancelCause(ctx)
	cause := errors.New("stopped")
	time.AfterFunc(10*time.Millisecond, func() { cancel(cause) })
	hangs := sh("sleep 600; sleep 600")
	if err := x.step(stopped, "enter", &hangs, nil); !errors.Is(err, cause) {
		t.Error(err)
	}
	if len(said) != 12 {
		t.Errorf("%d commands were told: %q", len(said), said)
	}
}

func TestJournal(t *testing.T) {
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "apps"), 0o700); err != nil {
		t.Fatal(err)
	}
	steps := config.Steps{{Run: []string{"a", "b c"}, Timeout: config.Duration(time.Minute), Env: config.Environment{"X": "1"}}, {Shell: "x | y", Dir: "/"}}
	want := &Journal{App: "web", Kind: kindRun, Started: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), Quiet: true, Leave: commandsOf(steps), Env: []string{"A=1"}}
	if j, err := readJournal(dir, "web"); j != nil || err != nil {
		t.Fatalf("%+v, %v", j, err)
	}
	if err := writeJournal(dir, want); err != nil {
		t.Fatal(err)
	}
	got, err := readJournal(dir, "web")
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Fatalf("%+v, %v", got, err)
	}
	if again := stepsOf(got.Leave); !reflect.DeepEqual(again, steps) {
		t.Errorf("%+v", again)
	}
	for range 2 {
		if err := removeJournal(dir, "web"); err != nil {
			t.Error(err)
		}
	}
	for what, text := range map[string]string{
		"empty":            ``,
		"unknown field":    `{"version":1,"app":"web","kind":"run","surprise":1}`,
		"another version":  `{"version":2,"app":"web","kind":"run"}`,
		"another kind":     `{"version":1,"app":"web","kind":"dance"}`,
		"another app":      `{"version":1,"app":"mail","kind":"run"}`,
		"no command":       `{"version":1,"app":"web","kind":"run","leave":[{}]}`,
		"empty command":    `{"version":1,"app":"web","kind":"run","leave":[{"run":[""]}]}`,
		"two commands":     `{"version":1,"app":"web","kind":"run","leave":[{"run":["a"],"shell":"b"}]}`,
		"more after it":    `{"version":1,"app":"web","kind":"run"}{}`,
		"run that carries": `{"version":1,"app":"web","kind":"run","restore":{}}`,
	} {
		if err := os.WriteFile(journalFile(dir, "web"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := readJournal(dir, "web"); !errors.Is(err, ErrJournal) {
			t.Errorf("%s: %v", what, err)
		}
	}
}

func TestLock(t *testing.T) {
	dir := t.TempDir()
	ctx := context.Background()
	unlock, err := lockApp(ctx, dir, "web", false, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := lockApp(ctx, dir, "web", false, nil); !errors.Is(err, ErrBusy) {
		t.Error(err)
	}
	other, err := lockApp(ctx, dir, "mail", false, nil)
	if err != nil {
		t.Fatal(err)
	}
	other()
	waiting := make(chan bool, 1)
	second := make(chan error)
	go func() {
		u, err := lockApp(ctx, dir, "web", true, func() { waiting <- true })
		if err == nil {
			u()
		}
		second <- err
	}()
	<-waiting
	unlock()
	if err := <-second; err != nil {
		t.Error(err)
	}
}

func FuzzJournal(f *testing.F) {
	j := &Journal{Version: 1, App: "web", Kind: kindRestore, Quiet: true, Finally: []command{{Shell: "x"}}, Restore: &Progress{BackupID: "x", Done: []string{"a"}}}
	b, err := json.Marshal(j)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Add([]byte(`{"version":1,"app":"a","kind":"run","leave":[{"run":["a"]}]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		j, err := decodeJournal(data)
		if err != nil {
			if !errors.Is(err, ErrJournal) {
				t.Fatal(err)
			}
			return
		}
		for _, c := range append(stepsOf(j.Leave), stepsOf(j.Finally)...) {
			if argv := c.Argv(); len(argv) == 0 || argv[0] == "" {
				t.Fatalf("%+v cannot be run", c)
			}
		}
		again, err := json.Marshal(j)
		if err != nil {
			t.Fatal(err)
		}
		if k, err := decodeJournal(again); err != nil || !reflect.DeepEqual(j, k) {
			t.Fatalf("%s: %v", again, err)
		}
	})
}

// TestRehearsalXattrs: what a volume does not get back, its parts do not either.
func TestRehearsalXattrs(t *testing.T) {
	h := rehearsal{app: &config.App{Volumes: map[string]*config.Volume{
		"data":  {Restore: &config.VolumeBack{SkipAttr: config.Strings{"security.*"}}},
		"plain": {},
	}}}
	for _, c := range []struct {
		volume, name string
		want         bool
	}{
		{"data", "security.selinux", false}, {"data", "user.x", true},
		{"data/state", "security.selinux", false}, {"data/state", "user.x", true},
		{"plain", "security.selinux", true}, {"other", "security.selinux", true},
	} {
		if got := h.keepsXattr(c.volume)(c.name); got != c.want {
			t.Errorf("%s of %s: %v", c.name, c.volume, got)
		}
	}
}
