package notify

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"vault/internal/app/config"
	"vault/internal/app/record"
	"vault/internal/display"
)

// body is what a webhook gets: the activity as it is on record, and more.
type body struct {
	Type        string     `json:"message_type"` // "notification"
	Title       string     `json:"title"`
	Text        string     `json:"text"`
	Recovered   bool       `json:"recovered"`
	Failures    int        `json:"failures"`
	LastSuccess *time.Time `json:"last_success,omitempty"`
	record.Activity
}

func (s *Sender) webhook(ctx context.Context, n *config.Notify, e Event, title, text string) error {
	w := n.Webhook
	content, kind := []byte(text), "text/plain; charset=utf-8"
	if n.Template == "" {
		m := body{Type: "notification", Title: title, Text: text, Recovered: e.Recovered, Failures: e.Failures, Activity: e.Activity}
		if !e.LastSuccess.IsZero() {
			m.LastSuccess = &e.LastSuccess
		}
		var err error
		if content, err = json.Marshal(m); err != nil {
			return permanent{err}
		}
	}
	if json.Valid(content) {
		kind = "application/json"
	}
	method := w.Method
	if method == "" {
		method = http.MethodPost
	}
	if method == http.MethodGet {
		content = nil
	}
	header := http.Header{"Content-Type": {kind}}
	for k, v := range w.Headers {
		header.Set(k, v)
	}
	return s.request(ctx, method, w.Address, w.Token, "", header, content)
}

// ping tells a health check: the URL itself for success, /fail for everything that
// somebody has to look at, /start for the beginning. The text goes with it.
func (s *Sender) ping(ctx context.Context, p *config.Ping, e Event, text string) error {
	path := ""
	switch {
	case e.Begins:
		path, text = "start", ""
	case e.Result == record.Failed, e.Result == record.Partial:
		path = "fail"
	}
	return s.request(ctx, http.MethodPost, p.Address, config.Token{}, path, http.Header{"Content-Type": {"text/plain; charset=utf-8"}}, []byte(text))
}

var priorities = map[string]int{"min": 1, "low": 2, "default": 3, "high": 4, "urgent": 5}

// ntfy publishes as JSON to the root of the server, which takes every character in
// title and text.
func (s *Sender) ntfy(ctx context.Context, n *config.Ntfy, e Event, title, text string) error {
	m := struct {
		Topic    string   `json:"topic"`
		Title    string   `json:"title"`
		Message  string   `json:"message"`
		Priority int      `json:"priority"`
		Tags     []string `json:"tags"`
	}{n.Topic, title, text, priorities["default"], []string{"white_check_mark"}}
	switch e.Result {
	case record.Failed:
		m.Priority, m.Tags[0] = priorities[orText(n.Priority, "high")], "rotating_light"
	case record.Partial:
		m.Tags[0] = "warning"
	}
	const most = 4000 // a longer message becomes an attachment there
	if len(m.Message) > most {
		m.Message = strings.ToValidUTF8(m.Message[:most], "") + "..."
	}
	content, err := json.Marshal(m)
	if err != nil {
		return permanent{err}
	}
	return s.request(ctx, http.MethodPost, n.Address, n.Token, "", http.Header{"Content-Type": {"application/json"}}, content)
}

func (s *Sender) request(ctx context.Context, method string, a config.Address, t config.Token, path string, header http.Header, content []byte) error {
	address, err := secret(a.URL, a.URLFile, a.URLEnv)
	if err != nil {
		return permanent{err}
	}
	u, err := url.Parse(address)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return permanent{errors.New("its URL is none of http or https")} // and is not shown
	}
	if path != "" {
		u = u.JoinPath(path)
	}
	r, err := http.NewRequestWithContext(ctx, method, u.String(), bytes.NewReader(content))
	if err != nil {
		return permanent{errors.New("its URL or method is wrong")}
	}
	r.Header = header
	r.Header.Set("User-Agent", s.Agent)
	token, err := secret("", t.TokenFile, t.TokenEnv)
	switch {
	case err != nil:
		return permanent{err}
	case token != "":
		r.Header.Set("Authorization", "Bearer "+token)
	}
	answer, err := s.client().Do(r)
	if err != nil {
		var at *url.Error
		if errors.As(err, &at) {
			err = at.Err // without the URL
		}
		return fmt.Errorf("%s: %w", display.Name(u.Host), err)
	}
	defer answer.Body.Close()
	said, _ := io.ReadAll(io.LimitReader(answer.Body, 300))
	if answer.StatusCode >= 200 && answer.StatusCode < 300 {
		return nil
	}
	err = fmt.Errorf("%s answered %d %s", display.Name(u.Host), answer.StatusCode, http.StatusText(answer.StatusCode))
	if text := strings.TrimSpace(string(said)); text != "" {
		err = fmt.Errorf("%w: %s", err, display.Line(text))
	}
	switch c := answer.StatusCode; {
	case c == http.StatusRequestTimeout, c == http.StatusTooManyRequests, c >= 500:
		return err
	}
	return permanent{err}
}

// secret returns a value that stands in a file or an environment variable, or as it
// is.
func secret(plain, file, env string) (string, error) {
	switch {
	case file != "":
		f, err := os.Open(file)
		if err != nil {
			return "", err
		}
		defer f.Close()
		b, err := io.ReadAll(io.LimitReader(f, 64<<10))
		return strings.TrimRight(string(b), "\r\n"), err
	case env != "":
		v, ok := os.LookupEnv(env)
		if !ok {
			return "", fmt.Errorf("the environment variable %s is not set", env)
		}
		return v, nil
	}
	return plain, nil
}
