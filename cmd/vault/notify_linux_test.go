package main

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"vault/internal/app/record"
)

const told = `
version: 1
repositories:
  main: {url: DIR/repo, password-file: DIR/key}
  wrong: {url: DIR/repo, password-file: DIR/wrong}
  away: {url: "sftp://nobody@127.0.0.1:1/x", sftp-command: ["false"], password-file: DIR/key}
  full: {url: DIR/disk/repo, password-file: DIR/key}
  broken: {url: DIR/broken, password-file: DIR/key, check: {schedule: weekly, read-data: all}}
defaults: {to: main, host: web1, notify: [hook]}
notify: {hook: {on: always, webhook: {url-file: DIR/url}}}
copies: {tonowhere: {from: main, to: away, apps: [good]}}
apps:
  good: {volumes: {html: {path: DIR/site}}}
  dumpfails: {volumes: {html: {path: DIR/site}, db: {command: {shell: 'echo half; echo the database is gone >&2; exit 3'}}}}
  unreachable: {to: away, volumes: {html: {path: DIR/site}}}
  wrongkey: {to: wrong, volumes: {html: {path: DIR/site}}}
  full: {to: full, volumes: {big: {path: DIR/big}}}
  partial: {volumes: {html: {path: DIR/site}, more: {path: DIR/nothing, class: recommended}}}
  interrupted: {volumes: {html: {path: DIR/site}, db: {command: {shell: 'touch DIR/begun; exec sleep 600'}}}}
  recovered: {volumes: {html: {path: DIR/late}}}
  notmounted: {volumes: {html: {path: DIR/site}}, preflight: {require-mount: [DIR/site]}}
  noroom: {volumes: {html: {path: DIR/site}}, preflight: {free-space: {DIR/site: 8000P}}}
  hookfails: {volumes: {html: {path: DIR/site}}, hooks: {before: [{shell: 'echo not now; exit 5'}]}}
  skipped: {volumes: {html: {path: DIR/site}}, hooks: {before: [{shell: 'echo nothing to do; exit 75'}]}}
  leavefails: {volumes: {html: {path: DIR/site}}, quiesce: {enter: ["true"], leave: [{shell: 'echo it does not start; exit 1'}]}}
  toolong: {timeout: 1s, volumes: {db: {command: [sleep, "600"]}}}
  shortdump: {volumes: {db: {command: [echo, half], expect-tail: dump complete}}}
  rehearsal: {volumes: {html: {path: DIR/site}}, rehearse: {check: [{shell: 'echo no rows; exit 1'}]}}
  verification: {volumes: {db: {command: [echo, half]}}, verify: {sql-tail: {volumes: [db]}}}
  damaged: {to: broken, volumes: {big: {path: DIR/noise}}}
`

// receiver is a server that keeps what webhooks tell.
type receiver struct {
	*httptest.Server
	mu   sync.Mutex // guards last and n
	last struct{ Title, Text string }
	n    int
}

func newReceiver(t *testing.T) *receiver {
	r := &receiver{}
	r.Server = httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, q *http.Request) {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.n++
		if err := json.NewDecoder(q.Body).Decode(&r.last); err != nil {
			t.Error(err)
		}
	}))
	t.Cleanup(r.Close)
	return r
}

// vault runs a command line here and returns its exit code and output.
func vault(t *testing.T, ctx context.Context, args ...string) (int, string) {
	t.Helper()
	f, err := os.Create(filepath.Join(t.TempDir(), "out"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	code := (&app{ui: newUI(f, f)}).run(ctx, args)
	out, err := os.ReadFile(f.Name())
	if err != nil {
		t.Fatal(err)
	}
	return code, string(out)
}

var variable = []struct {
	at   *regexp.Regexp
	with string
}{
	{regexp.MustCompile(`\d{4}-\d\d-\d\d \d\d:\d\d:\d\d \S+`), "TIME"},
	{regexp.MustCompile(`(Took: +)[^,\n]+`), "${1}DURATION"},
	{regexp.MustCompile(`(Backup: +)[0-9a-z]{12}\b`), "${1}ID"},
	{regexp.MustCompile(`at rest for [0-9][^,\n]*`), "at rest for DURATION"},
	{regexp.MustCompile(`start sftp: .*`), "start sftp: ..."},
	{regexp.MustCompile(`\nAlso:\n  what was stored so far is used by the next run\n`), ""}, // if there was time to
	{regexp.MustCompile(`\b[0-9a-f]{12}\b|\b[0-9a-f]{32,64}\b`), "ID"},
	{regexp.MustCompile(`[0-9.]+ [kKMGTPE]?i?B( new|, at least| free|, and)`), "SIZE$1"},
	{regexp.MustCompile(`(packs|index)/[0-9a-f/]+`), "$1/ID"},
}

// TestTold shows what an administrator reads of each kind of failure: the texts are in
// testdata/notify, and UPDATE_GOLDEN=1 writes them.
func TestTold(t *testing.T) {
	dir := t.TempDir()
	hook := newReceiver(t)
	write := func(name, text string) {
		t.Helper()
		name = filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("key", "correct horse\n")
	write("wrong", "incorrect horse\n")
	write("url", hook.URL+"/secret\n")
	write("site/index", "hello\n")
	write("vault.yaml", strings.ReplaceAll(told, "DIR", dir))
	t.Setenv("VAULT_STATE_DIR", filepath.Join(dir, "state"))
	t.Setenv("VAULT_CACHE_DIR", filepath.Join(dir, "cache"))
	t.Setenv("VAULT_CONFIG", filepath.Join(dir, "vault.yaml"))
	cheap := []string{"--password-file", filepath.Join(dir, "key"), "--kdf-memory", "8", "--kdf-time", "1", "--kdf-threads", "1"}
	initialise := func(repo string) {
		t.Helper()
		if code, out := vault(t, t.Context(), append([]string{"init", "-r", filepath.Join(dir, repo)}, cheap...)...); code != 0 {
			t.Fatalf("init: %d %s", code, out)
		}
	}
	initialise("repo")
	initialise("broken")
	write("noise/x", noiseText(300<<10))
	kinds := map[string]int{"good": 0, "dumpfails": 1, "unreachable": 14, "wrongkey": 12, "partial": 3, "interrupted": 130, "recovered": 0,
		"notmounted": 1, "noroom": 1, "hookfails": 1, "skipped": 0, "leavefails": 1, "toolong": 1, "shortdump": 1,
		"rehearsal": 15, "verification": 15, "damaged": 15, "copy": 14}
	special := map[string][]string{"rehearsal": {"rehearse", "rehearsal"}, "verification": {"verify", "--app", "verification"}, "damaged": {"schedule", "do", "check", "broken"},
		"copy": {"run", "--copy", "tonowhere"}}
	if disk := filepath.Join(dir, "disk"); os.Geteuid() == 0 && os.Mkdir(disk, 0o700) == nil && exec.Command("mount", "-t", "tmpfs", "-o", "size=4m,mode=700", "tmpfs", disk).Run() == nil {
		t.Cleanup(func() { exec.Command("umount", disk).Run() })
		initialise("disk/repo")
		write("big/x", noiseText(8<<20))
		kinds["full"] = 16
	}
	for name, want := range kinds {
		ctx, stop := context.WithCancelCause(t.Context())
		args := []string{"run", name}
		if special[name] != nil {
			args = special[name]
			if code, out := vault(t, ctx, "run", strings.Replace(name, "copy", "good", 1)); code != 0 {
				t.Fatalf("%s: at first %d: %s", name, code, out)
			}
		}
		switch name {
		case "damaged":
			damagePacks(t, filepath.Join(dir, "broken"))
		case "recovered":
			if code, _ := vault(t, ctx, "run", name); code != 1 {
				t.Fatalf("recovered: at first %d", code)
			}
			write("late/x", "at last\n")
		case "interrupted":
			go func() {
				for ctx.Err() == nil {
					if _, err := os.Stat(filepath.Join(dir, "begun")); err == nil {
						stop(errInterrupted)
					}
					time.Sleep(10 * time.Millisecond)
				}
			}()
		}
		code, out := vault(t, ctx, args...)
		stop(nil)
		if code != want {
			t.Errorf("%s: exit code %d, want %d\n%s", name, code, want, out)
		}
		hook.mu.Lock()
		text := hook.last.Title + "\n\n" + hook.last.Text
		hook.mu.Unlock()
		text = strings.ReplaceAll(strings.ReplaceAll(text, dir, "DIR"), strings.TrimPrefix(dir, "/"), "DIR")
		for _, v := range variable {
			text = v.at.ReplaceAllString(text, v.with)
		}
		golden := filepath.Join("testdata", "notify", name+".txt")
		if os.Getenv("UPDATE_GOLDEN") != "" {
			if err := os.WriteFile(golden, []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		expected, err := os.ReadFile(golden)
		if err != nil {
			t.Fatal(err)
		}
		if text != string(expected) {
			t.Errorf("%s: told\n%s\nwant\n%s", name, text, expected)
		}
	}
	// Nobody there to be told: the backup is good, it is shown, and on record.
	write("url", "http://127.0.0.1:1/secret\n")
	text := strings.ReplaceAll(strings.ReplaceAll(told, "DIR", dir), "{on: always,", "{on: always, timeout: 1s,")
	write("vault.yaml", text)
	code, out := vault(t, t.Context(), "run", "good")
	if code != 0 || !strings.Contains(out, "warning: good: notification hook: 127.0.0.1:") || strings.Contains(out, "/secret") {
		t.Errorf("untold: %d %s", code, out)
	}
	r, err := record.In(filepath.Join(dir, "state")).Load("good")
	if err != nil {
		t.Fatal(err)
	}
	s := r.Get(record.Backup, "main")
	if s == nil || s.Last.Result != record.Success || len(s.Last.Messages) != 1 || !strings.Contains(s.Last.Messages[0], "notification hook: ") {
		t.Errorf("on record: %+v", s)
	}
	if code, out := vault(t, t.Context(), "check", "-r", filepath.Join(dir, "repo"), "--password-file", filepath.Join(dir, "key")); code != 0 {
		t.Errorf("check: %d %s", code, out)
	}
}

// damagePacks writes zeros into all packs of a repository that are not small.
func damagePacks(t *testing.T, repo string) {
	t.Helper()
	n := 0
	err := filepath.WalkDir(filepath.Join(repo, "packs"), func(p string, e os.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		if i, err := e.Info(); err != nil || i.Size() < 100<<10 {
			return err
		}
		n++
		b, err := os.ReadFile(p)
		if err != nil {
			return err
		}
		clear(b[1000:1100])
		return os.WriteFile(p, b, 0o600)
	})
	if err != nil || n == 0 {
		t.Fatalf("%d packs damaged: %v", n, err)
	}
}

// noiseText is text that neither compresses nor repeats.
func noiseText(n int) string {
	b := make([]byte, n)
	x := uint64(88172645463325252)
	for i := range b {
		x ^= x << 13
		x ^= x >> 7
		x ^= x << 17
		b[i] = byte(x >> 32)
	}
	return string(b)
}
