package schedule

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"vault/internal/app/config"
	"vault/internal/app/record"
)

const text = `
version: 1
repositories:
  main: {url: /srv/vault, password-file: /etc/vault/key, init: if-empty, check: {schedule: weekly}}
  off: {url: "s3://bucket/nc", password-command: [pass, show, off]}
defaults: {to: main, random-delay: 10m, metrics: /var/lib/node exporter}
apps:
  cloud:
    schedule: ["03:00", "Sun 12:00 Europe/Berlin"]
    quiesce: {enter: [[occ, "maintenance:mode", --on]], leave: [[occ, "maintenance:mode", --off]]}
    volumes: {data: {path: /srv/nc}}
    verify: {schedule: monthly, sql-tail: {volumes: [data]}}
    rehearse: {schedule: quarterly}
  files: {schedule: hourly, volumes: {home: {path: /home}}}
  byhand: {volumes: {x: {path: /x}}}
copies:
  offsite: {from: main, to: off, after: cloud}
  polled: {from: main, to: off, after: elsewhere, poll: 20m}
  nightly: {from: main, to: off, schedule: "04:00"}
  never: {from: main, to: off}
`

func parse(t *testing.T, text string) *config.Config {
	t.Helper()
	c, err := config.Parse("vault.yaml", []byte(text), config.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func jobsOf(t *testing.T, c *config.Config) []Job {
	t.Helper()
	jobs, err := Jobs(c)
	if err != nil {
		t.Fatal(err)
	}
	return jobs
}

func ids(jobs []Job) (list []string) {
	for _, j := range jobs {
		list = append(list, j.ID())
	}
	return list
}

// TestJobs: everything with a time, something to follow or something to poll is a
// job, and nothing else.
func TestJobs(t *testing.T) {
	jobs := jobsOf(t, parse(t, text))
	want := []string{"run:cloud", "run:files", "copy:nightly", "copy:polled", "check:main", "verify:cloud", "rehearse:cloud"}
	if got := ids(jobs); !slices.Equal(got, want) {
		t.Fatalf("jobs %v, want %v", got, want)
	}
	if j := jobs[0]; len(j.Times) != 2 || j.Delay != 10*time.Minute || !j.Open {
		t.Errorf("run of cloud: %+v", j)
	}
	if jobs[1].Open || jobs[3].Poll != 20*time.Minute || !jobs[2].Open || jobs[4].Open {
		t.Errorf("jobs %+v", jobs[1:])
	}
}

func options(user bool) UnitOptions {
	return UnitOptions{Program: "/usr/bin/true", Config: "/etc/va ult/100%.yaml", User: user,
		Environment: []string{"HOME=/root", `VAULT_STATE_DIR=/var/lib/va "ult$`}, Writable: []string{"/var/lib/va ult"}}
}

// TestUnits compares the units with those in testdata, and has systemd read them.
func TestUnits(t *testing.T) {
	c := parse(t, text)
	for name, user := range map[string]bool{"system": false, "user": true} {
		units := Units(c, jobsOf(t, c), options(user))
		var b strings.Builder
		dir := t.TempDir()
		var files []string
		for _, u := range units {
			b.WriteString("-- " + u.Name + " --\n" + u.Content)
			file := filepath.Join(dir, u.Name)
			if err := os.WriteFile(file, []byte(u.Content), 0o644); err != nil {
				t.Fatal(err)
			}
			files = append(files, file)
		}
		golden := filepath.Join("testdata", name+".units")
		if os.Getenv("UPDATE_GOLDEN") != "" {
			if err := os.WriteFile(golden, []byte(b.String()), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(golden)
		if err != nil {
			t.Fatal(err)
		}
		if b.String() != string(want) {
			t.Errorf("the units are not those of %s; UPDATE_GOLDEN=1 writes them\n%s", golden, b.String())
		}
		if _, err := exec.LookPath("systemd-analyze"); err != nil {
			t.Log("no systemd-analyze: the units are not verified")
			continue
		}
		cmd := exec.Command("systemd-analyze", append([]string{"verify", "--man=no", "--recursive-errors=no"}, files...)...)
		if user {
			cmd.Args = slices.Insert(cmd.Args, 1, "--user")
		}
		cmd.Env = append(os.Environ(), "XDG_RUNTIME_DIR="+t.TempDir(), "HOME="+t.TempDir())
		out, err := cmd.CombinedOutput()
		for line := range strings.Lines(string(out)) { // it says what is wrong and exits with 0
			if strings.Contains(line, dir) || strings.Contains(line, "vault-") {
				t.Errorf("%s: %s", name, line)
			}
		}
		if err != nil {
			t.Errorf("systemd-analyze verify: %v\n%s", err, out)
		}
	}
}

// TestInstall: what is written is remembered, done again nothing changes, what is not
// wanted goes, and what is somebody else's stays.
func TestInstall(t *testing.T) {
	c := parse(t, text)
	jobs := jobsOf(t, c)
	var calls []string
	o := options(false)
	p := Place{Dir: filepath.Join(t.TempDir(), "units"), StateDir: t.TempDir(), Config: o.Config, Systemctl: func(args ...string) error {
		calls = append(calls, strings.Join(args, " "))
		return nil
	}}
	units := Units(c, jobs, o)
	changes, err := p.Install(units)
	if err != nil || len(changes) != len(units) {
		t.Fatalf("%v %v", changes, err)
	}
	if len(calls) != 2 || calls[0] != "daemon-reload" || !strings.HasPrefix(calls[1], "enable --now vault-run-cloud.timer ") {
		t.Errorf("systemctl %q", calls)
	}
	changes, err = p.Install(units)
	if err != nil || slices.ContainsFunc(changes, func(c Change) bool { return c.Action != "unchanged" }) {
		t.Errorf("again: %v %v", changes, err)
	}
	// One application less; one unit changed by hand; one that is not ours.
	foreign := filepath.Join(p.Dir, "vault-run-other.timer")
	for name, content := range map[string]string{foreign: "[Timer]\n", filepath.Join(p.Dir, "vault-run-files.timer"): marker + o.Config + "\n# changed\n"} {
		if err := os.WriteFile(name, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	less := Units(c, slices.DeleteFunc(slices.Clone(jobs), func(j Job) bool { return j.Name == "polled" }), o)
	states, err := p.Status(less)
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]UnitState{}
	for _, s := range states {
		found[s.Unit] = s.State
	}
	if found["vault-run-files.timer"] != Changed || found["vault-copy-polled.timer"] != Obsolete || found["vault-run-cloud.service"] != Installed {
		t.Errorf("status %v", found)
	}
	if _, err := p.Install(less); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(p.Dir, "vault-copy-polled.service")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("what is not wanted is still there: %v", err)
	}
	// Somebody else's unit under a name of ours.
	if err := os.WriteFile(filepath.Join(p.Dir, "vault-run-cloud.timer"), []byte("[Timer]\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := p.Install(less); !errors.Is(err, ErrForeign) {
		t.Errorf("over somebody else's unit: %v", err)
	}
	if _, err := p.Remove(); err != nil {
		t.Fatal(err)
	}
	entries, err := os.ReadDir(p.Dir)
	if err != nil {
		t.Fatal(err)
	}
	var left []string
	for _, e := range entries {
		left = append(left, e.Name())
	}
	if !slices.Equal(left, []string{"vault-run-cloud.timer", "vault-run-other.timer"}) {
		t.Errorf("left after remove: %v", left)
	}
}

// clock is a time that a test sets.
func at(t *testing.T, s string) time.Time {
	v, err := time.ParseInLocation(time.DateTime, s, time.UTC)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// TestPlan walks through two days.
func TestPlan(t *testing.T) {
	jobs := jobsOf(t, parse(t, strings.ReplaceAll(text, " Europe/Berlin", "")))
	since := at(t, "2024-05-07 12:00:00") // a Tuesday
	now := at(t, "2024-05-09 10:30:00")
	var asked []time.Duration
	p := NewPlan(jobs, 2, now, func(j Job) time.Time {
		if j.Name == "files" {
			return now
		}
		return since
	}, func(most time.Duration) time.Duration { asked = append(asked, most); return most / 2 })
	if got := p.Due(now); len(got) != 2 || got[0].ID() != "copy:nightly" || got[1].ID() != "copy:polled" {
		t.Fatalf("at once: %v", ids(got))
	}
	// The missed run of 03:00 is caught up once, after the random delay; a place must be free.
	now = now.Add(5 * time.Minute)
	if got := p.Due(now); len(got) != 0 {
		t.Fatalf("above the limit: %v", ids(got))
	}
	p.Done(jobs[2], now)
	p.Done(jobs[3], now)
	if got := ids(p.Due(now)); !slices.Equal(got, []string{"run:cloud"}) {
		t.Fatalf("caught up: %v", got)
	}
	if due := p.Upcoming("run:cloud"); !due.Equal(at(t, "2024-05-10 03:05:00")) {
		t.Errorf("the next run is due at %v", due)
	}
	if got := p.Due(now); len(got) != 0 {
		t.Errorf("begun twice: %v", ids(got))
	}
	p.Done(jobs[0], now)
	now = at(t, "2024-05-10 03:06:00")
	got := p.Due(now)
	if !slices.Contains(ids(got), "run:cloud") {
		t.Fatalf("next day: %v", ids(got))
	}
	if w := p.Wake(); w.IsZero() || w.After(now.Add(time.Hour)) {
		t.Errorf("wakes at %v", w)
	}
	if !slices.Contains(asked, 10*time.Minute) {
		t.Errorf("delays asked for: %v", asked)
	}
}

// TestClockSetBack has the clock be years ahead for a while, and then right.
func TestClockSetBack(t *testing.T) {
	jobs := jobsOf(t, parse(t, strings.ReplaceAll(text, " Europe/Berlin", "")))
	now := at(t, "2031-05-09 10:30:00")
	p := NewPlan(jobs, 9, now, func(Job) time.Time { return now }, func(time.Duration) time.Duration { return 0 })
	due := p.Upcoming("run:cloud")
	p.Due(now)
	p.Due(now.Add(-maxSetBack)) // corrected a little
	if got := p.Upcoming("run:cloud"); !got.Equal(due) {
		t.Errorf("a corrected clock: due at %v, before %v", got, due)
	}
	now = at(t, "2024-05-09 10:30:00")
	if got := p.Due(now); len(got) != 0 {
		t.Errorf("begun since the clock was set back: %v", ids(got))
	}
	if got, want := p.Upcoming("run:cloud"), at(t, "2024-05-10 03:00:00"); !got.Equal(want) {
		t.Errorf("due at %v, want %v", got, want)
	}
	if got := ids(p.Due(at(t, "2024-05-10 03:00:00"))); !slices.Contains(got, "run:cloud") {
		t.Errorf("next day: %v", got)
	}
}

// TestQueue: jobs of one queue do not overlap, and none is lost.
func TestQueue(t *testing.T) {
	c := parse(t, `
version: 1
repositories: {main: {url: /srv/vault, password-file: /k}}
apps: {a: {to: main, schedule: "*:*:0/1", volumes: {x: {path: /x}}}, b: {to: main, schedule: "*:*:0/1", volumes: {x: {path: /x}}}}
`)
	start := at(t, "2024-05-09 10:30:00")
	var mu sync.Mutex
	now, busy, most, count := start, map[string]int{}, 0, map[string]int{}
	ctx, stop := context.WithCancel(t.Context())
	dir := t.TempDir()
	err := Loop(ctx, LoopOptions{Jobs: jobsOf(t, c), Limit: 2, StateDir: dir, Chance: func(time.Duration) time.Duration { return 0 },
		Now:  func() time.Time { mu.Lock(); defer mu.Unlock(); now = now.Add(100 * time.Millisecond); return now },
		Warn: func(err error) { t.Error(err) },
		Do: func(ctx context.Context, j Job) {
			mu.Lock()
			busy[j.Name]++
			count[j.Name]++
			if busy[j.Name] > 1 {
				t.Errorf("%s overlaps", j.Name)
			}
			most = max(most, busy["a"]+busy["b"])
			enough := count["a"] >= 5 && count["b"] >= 5
			mu.Unlock()
			if enough {
				stop()
			}
			mu.Lock()
			busy[j.Name]--
			mu.Unlock()
		}})
	if err != nil || count["a"] < 5 || count["b"] < 5 || len(busy) != 2 {
		t.Errorf("%v %v", err, count)
	}
}

// TestCatchUp: what is on record decides what was missed; what never ran is not due
// for the time before it was known.
func TestCatchUp(t *testing.T) {
	jobs := jobsOf(t, parse(t, text))
	dir := t.TempDir()
	now := at(t, "2024-05-09 10:30:00")
	began := now.Add(-30 * time.Hour)
	if err := record.In(dir).Add(record.Activity{App: "cloud", Kind: record.Backup, Destination: "main", Result: record.Failed, Start: began, End: began}); err != nil {
		t.Fatal(err)
	}
	o := LoopOptions{Jobs: jobs, StateDir: dir, Now: func() time.Time { return now }, Warn: func(err error) { t.Error(err) }}
	first, err := o.since()
	if err != nil {
		t.Fatal(err)
	}
	if !first["run:files"].Equal(now) || !first["run:cloud"].Equal(now) {
		t.Errorf("new jobs are known since %v", first)
	}
	later := now.Add(48 * time.Hour)
	o.Now = func() time.Time { return later }
	if err := record.In(dir).Add(record.Activity{App: "cloud", Kind: record.Backup, Destination: "main", Result: record.Success, Start: now.Add(time.Hour), End: now.Add(time.Hour)}); err != nil {
		t.Fatal(err)
	}
	second, err := o.since()
	if err != nil || !second["run:files"].Equal(now) || !second["run:cloud"].Equal(now.Add(time.Hour)) {
		t.Errorf("later: %v %v", second, err)
	}
}
