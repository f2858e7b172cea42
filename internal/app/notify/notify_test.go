package notify

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"vault/internal/app/config"
	"vault/internal/app/record"
	"vault/internal/porttest"
)

// TestMain lets an attempt take as long as a busy machine needs: the tests count them.
func TestMain(m *testing.M) {
	defaultTimeout, attemptTimeout = 10*time.Minute, 5*time.Minute
	os.Exit(m.Run())
}

var start = time.Date(2026, 3, 1, 3, 0, 0, 0, time.UTC)

func activity(result record.Result) record.Activity {
	a := record.Activity{App: "cloud", Kind: record.Backup, Destination: "main", Result: result, Host: "web1", Start: start, End: start.Add(90 * time.Second), Quiet: 4.5,
		Volumes:    []record.Volume{{Name: "db", Class: "required", State: "complete", Bytes: 5 << 20, Files: 1}, {Name: "data", Class: "recommended", State: "partial", Bytes: 1 << 30, Files: 4711, Message: "x/y: permission denied"}},
		BytesAdded: 3 << 20, BytesStored: 1 << 20}
	switch result {
	case record.Failed:
		a.ExitCode, a.Error, a.Hint = 14, "open sftp://nas/vault: connection refused", "check the network"
	case record.Partial:
		a.ExitCode, a.BackupID = 3, strings.Repeat("ab", 16)
	case record.Success:
		a.BackupID = strings.Repeat("ab", 16)
	}
	return a
}

// heard is one request that a server got.
type heard struct {
	method, path, body string
	header             http.Header
}

// server keeps requests and gives answers, the last one for ever.
type server struct {
	*httptest.Server
	mu      sync.Mutex // guards got and answers
	got     []heard
	answers []int
}

func newServer(t *testing.T, answers ...int) *server {
	s := &server{answers: answers}
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		s.mu.Lock()
		defer s.mu.Unlock()
		s.got = append(s.got, heard{r.Method, r.URL.Path, string(body), r.Header})
		code := 200
		if len(s.answers) > 0 {
			code = s.answers[0]
			if len(s.answers) > 1 {
				s.answers = s.answers[1:]
			}
		}
		w.WriteHeader(code)
		io.WriteString(w, "said\x1b[1m something")
	}))
	t.Cleanup(s.Close)
	return s
}

func sender(targets map[string]*config.Notify) *Sender {
	return &Sender{Targets: targets, Agent: "vault/test", Time: func(t time.Time) string { return t.UTC().Format(time.DateTime) },
		Wait: func(ctx context.Context, d time.Duration) error {
			if d > 4*time.Second {
				return errors.New("long enough")
			}
			return ctx.Err()
		}}
}

// TestWebhook: the activity as JSON, with token and headers from where they are.
func TestWebhook(t *testing.T) {
	s := newServer(t)
	token := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(token, []byte("s3cret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("HOOK_URL", s.URL+"/hook")
	n := &config.Notify{Webhook: &config.Webhook{Address: config.Address{URLEnv: "HOOK_URL"}, Token: config.Token{TokenFile: token}, Headers: config.Environment{"X-Team": "ops"}}}
	before := &record.Series{Failures: 2, LastSuccess: &record.Activity{End: start.Add(-48 * time.Hour)}}
	if f := sender(map[string]*config.Notify{"hook": n}).Send(t.Context(), []string{"hook"}, NewEvent(activity(record.Failed), before)); f != nil {
		t.Fatal(f)
	}
	got := s.got[0]
	if got.method != "POST" || got.path != "/hook" || got.header.Get("Authorization") != "Bearer s3cret" || got.header.Get("X-Team") != "ops" || got.header.Get("Content-Type") != "application/json" || got.header.Get("User-Agent") != "vault/test" {
		t.Errorf("request %+v", got)
	}
	var m map[string]any
	if err := json.Unmarshal([]byte(got.body), &m); err != nil {
		t.Fatal(err)
	}
	for key, want := range map[string]any{"message_type": "notification", "title": "vault: backup of cloud failed on web1", "app": "cloud", "result": "failed", "exit_code": 14.0,
		"failures": 3.0, "recovered": false, "last_success": "2026-02-27T03:00:00Z", "error": "open sftp://nas/vault: connection refused"} {
		if m[key] != want {
			t.Errorf("%s is %v, want %v", key, m[key], want)
		}
	}
	if !strings.HasPrefix(got.body, `{"message_type":`) {
		t.Error("message_type is not first")
	}
	// A template makes the body, of whatever kind.
	n.Template = `{"text": {{json .Error}}, "n": {{.Failures}}}`
	if f := sender(map[string]*config.Notify{"hook": n}).Send(t.Context(), []string{"hook"}, NewEvent(activity(record.Failed), before)); f != nil {
		t.Fatal(f)
	}
	if got := s.got[1]; got.body != `{"text": "open sftp://nas/vault: connection refused", "n": 3}` || got.header.Get("Content-Type") != "application/json" {
		t.Errorf("by template: %+v", got)
	}
}

// TestPing: start, success and failure are told apart by the path.
func TestPing(t *testing.T) {
	s := newServer(t)
	targets := map[string]*config.Notify{"hc": {Ping: &config.Ping{Address: config.Address{URL: s.URL + "/ping/u-u-i-d"}, Start: true}}}
	for _, e := range []Event{{Activity: activity(""), Begins: true}, NewEvent(activity(record.Success), nil), NewEvent(activity(record.Partial), nil), NewEvent(activity(record.Failed), nil), NewEvent(activity(record.Skipped), nil)} {
		if f := sender(targets).Send(t.Context(), []string{"hc"}, e); f != nil {
			t.Fatal(f)
		}
	}
	var paths []string
	for _, h := range s.got {
		paths = append(paths, h.path)
	}
	if want := []string{"/ping/u-u-i-d/start", "/ping/u-u-i-d", "/ping/u-u-i-d/fail", "/ping/u-u-i-d/fail", "/ping/u-u-i-d"}; !slices.Equal(paths, want) {
		t.Errorf("paths %q", paths)
	}
	if s.got[0].body != "" || !strings.Contains(s.got[3].body, "connection refused") {
		t.Errorf("bodies %+v", s.got)
	}
}

// TestNtfy: a failure has the priority that was asked for.
func TestNtfy(t *testing.T) {
	s := newServer(t)
	targets := map[string]*config.Notify{"push": {On: config.Moments{config.OnAlways}, Ntfy: &config.Ntfy{Address: config.Address{URL: s.URL}, Topic: "büro", Priority: "urgent"}}}
	for _, r := range []record.Result{record.Failed, record.Partial, record.Success} {
		if f := sender(targets).Send(t.Context(), []string{"push"}, NewEvent(activity(r), nil)); f != nil {
			t.Fatal(f)
		}
	}
	for i, want := range []struct {
		priority   int
		tag, title string
	}{{5, "rotating_light", "vault: backup of cloud failed on web1"}, {3, "warning", "vault: backup of cloud is partial on web1"}, {3, "white_check_mark", "vault: backup of cloud succeeded on web1"}} {
		var m struct {
			Topic, Title, Message string
			Priority              int
			Tags                  []string
		}
		if err := json.Unmarshal([]byte(s.got[i].body), &m); err != nil {
			t.Fatal(err)
		}
		if m.Topic != "büro" || m.Title != want.title || m.Priority != want.priority || m.Tags[0] != want.tag || s.got[i].path != "/" || m.Message == "" {
			t.Errorf("message %d: %+v", i, m)
		}
	}
}

// TestRetry: what may get better is tried again, for a while; what will not is not;
// and no error has the URL, which may be a secret.
func TestRetry(t *testing.T) {
	for name, c := range map[string]struct {
		answers  []int
		requests int
		want     string // "": it arrives
	}{
		"busy twice": {[]int{503, 429, 200}, 3, ""},
		"always ill": {[]int{500}, 4, "answered 500 Internal Server Error: said\\x1b[1m something (4 attempts)"},
		"not found":  {[]int{404}, 1, "answered 404 Not Found"},
	} {
		s := newServer(t, c.answers...)
		targets := map[string]*config.Notify{"x": {Webhook: &config.Webhook{Address: config.Address{URL: s.URL + "/secret-path"}}}}
		failures := sender(targets).Send(t.Context(), []string{"x"}, NewEvent(activity(record.Failed), nil))
		if len(s.got) != c.requests {
			t.Errorf("%s: %d requests", name, len(s.got))
		}
		switch {
		case c.want == "" && failures != nil:
			t.Errorf("%s: %v", name, failures)
		case c.want != "" && (len(failures) != 1 || !strings.Contains(failures[0].Error(), c.want) || strings.Contains(failures[0].Error(), "secret-path")):
			t.Errorf("%s: %v, want %q", name, failures, c.want)
		}
	}
	gone := fmt.Sprintf("http://127.0.0.1:%d", porttest.For(t))
	targets := map[string]*config.Notify{"x": {Ping: &config.Ping{Address: config.Address{URL: gone + "/secret-path"}}}, "y": {Ping: &config.Ping{Address: config.Address{URL: "ftp://secret-path"}}}}
	failures := sender(targets).Send(t.Context(), []string{"x", "y", "z"}, NewEvent(activity(record.Failed), nil))
	if len(failures) != 3 || !strings.Contains(failures[0].Error(), "notification x: 127.0.0.1:") || strings.Contains(failures[0].Error()+failures[1].Error(), "secret-path") || failures[2].Target != "z" {
		t.Errorf("nobody there: %v", failures)
	}
}

// TestWants: who hears of what.
func TestWants(t *testing.T) {
	mail, ping := &config.Notify{Email: &config.Email{}}, &config.Notify{Ping: &config.Ping{}}
	bad := &record.Series{Failures: 1}
	idle, polled := activity(record.Success), activity(record.Failed)
	idle.Idle, polled.Polled = true, true
	always := &config.Notify{On: config.Moments{config.OnAlways}}
	for _, c := range []struct {
		n    *config.Notify
		e    Event
		want bool
	}{
		{mail, NewEvent(activity(record.Failed), nil), true},
		{mail, NewEvent(activity(record.Partial), nil), true},
		{mail, NewEvent(activity(record.Success), nil), false},
		{mail, NewEvent(activity(record.Success), bad), true},
		{mail, NewEvent(activity(record.Skipped), bad), false},
		{mail, Event{Begins: true}, false},
		{ping, NewEvent(activity(record.Success), nil), true},
		{ping, Event{Begins: true}, false},
		{&config.Notify{On: config.Moments{config.OnSuccess}}, NewEvent(activity(record.Partial), nil), false},
		{&config.Notify{On: config.Moments{config.OnRecovered}}, NewEvent(activity(record.Failed), bad), false},
		{&config.Notify{On: config.Moments{config.OnRecovered}}, NewEvent(activity(record.Success), bad), true},
		{always, NewEvent(activity(record.Skipped), nil), true},
		{always, NewEvent(idle, nil), false},
		{always, NewEvent(idle, bad), true}, // recovered
		{ping, NewEvent(idle, nil), true},
		{mail, NewEvent(polled, nil), true}, // the 1st
		{mail, NewEvent(polled, bad), true},
		{mail, NewEvent(polled, &record.Series{Failures: 2}), false},
		{mail, NewEvent(polled, &record.Series{Failures: 3}), true},
		{mail, NewEvent(polled, &record.Series{Failures: 62}), false},
		{mail, NewEvent(activity(record.Failed), &record.Series{Failures: 2}), true},
		{ping, NewEvent(polled, &record.Series{Failures: 2}), true},
	} {
		if got := Wants(c.n, c.e); got != c.want {
			t.Errorf("on %v: %s (recovered %v): %v", c.n.On, c.e.Result, c.e.Recovered, got)
		}
	}
}

// TestPinged: a health check that waits for backups hears of no other success, and of
// every failure.
func TestPinged(t *testing.T) {
	var mu sync.Mutex
	var got []string
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		got = append(got, r.URL.Path)
	}))
	defer server.Close()
	c := &config.Config{Apps: map[string]*config.App{"cloud": {Notify: config.Strings{"hc"}}}, Copies: map[string]*config.Copy{"off": {Notify: config.Strings{"hc"}}},
		Notify: map[string]*config.Notify{"hc": {Ping: &config.Ping{Address: config.Address{URL: server.URL}, Start: true}}}}
	teller := NewTeller(c, t.TempDir(), "vault/test")
	for _, e := range []struct {
		kind   record.Kind
		app    string
		result record.Result
		want   string
	}{
		{record.Backup, "cloud", record.Success, "/start /"},
		{record.Backup, "cloud", record.Skipped, "/start /"},
		{record.Backup, "cloud", record.Failed, "/start /fail"},
		{record.Verify, "cloud", record.Success, ""},
		{record.Rehearsal, "cloud", record.Failed, "/fail"},
		{record.Copy, "cloud", record.Success, ""},
		{record.Copy, "cloud", record.Failed, "/fail"},
		{record.Copy, "elsewhere", record.Success, "/start /"},
	} {
		got = nil
		a := record.Activity{App: e.app, Kind: e.kind, Destination: "off", Result: e.result}
		wrong := append(teller.Begin(t.Context(), a), teller.End(t.Context(), a, nil)...)
		if text := strings.Join(got, " "); text != e.want || len(wrong) > 0 {
			t.Errorf("%s of %s, %s: %q, want %q; %q", e.kind, e.app, e.result, text, e.want, wrong)
		}
	}
}

// TestTemplates: wrong ones are found, and in an emergency the usual text is sent.
func TestTemplates(t *testing.T) {
	for text, good := range map[string]bool{defaultTitle: true, defaultText: true, "{{.App}} {{upper .App}}": false, "{{.Nothing}}": false, "{{": false, "{{.Took}} {{range .Volumes}}{{.Name}}{{end}}": true} {
		if err := CheckTemplate(text); (err == nil) != good {
			t.Errorf("%q: %v", text, err)
		}
	}
	n := &config.Notify{Subject: "{{.Nothing}}", Template: "{{index .Volumes 7}}"}
	title, text, err := sender(nil).render(n, NewEvent(activity(record.Failed), nil))
	if err != nil || title != "vault: backup of cloud failed on web1" || !strings.Contains(text, "connection refused") || !strings.Contains(text, "template of this notification is wrong") {
		t.Errorf("%q %q %v", title, text, err)
	}
}
