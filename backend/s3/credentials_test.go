package s3

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"vault/backend"
)

// noCredentials takes away what the environment of the tests says.
func noCredentials(t *testing.T, home string) {
	for _, name := range []string{"AWS_ACCESS_KEY_ID", "AWS_ACCESS_KEY", "AWS_SECRET_ACCESS_KEY", "AWS_SECRET_KEY", "AWS_SESSION_TOKEN", "AWS_REGION", "AWS_ROLE_ARN",
		"AWS_PROFILE", "AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "AWS_CONTAINER_CREDENTIALS_FULL_URI", "AWS_EC2_METADATA_SERVICE_ENDPOINT"} {
		t.Setenv(name, "")
	}
	t.Setenv("AWS_SHARED_CREDENTIALS_FILE", filepath.Join(home, "no-credentials"))
	t.Setenv("AWS_CONFIG_FILE", filepath.Join(home, "no-config"))
	t.Setenv("HOME", home)
}

// roleServer gives credentials that expire at once, after the answers that are planned.
type roleServer struct {
	*httptest.Server
	n    atomic.Int64
	plan []int // status of the first answers; 200 is credentials
	body string
	sts  bool
}

func newRoleServer(t *testing.T, sts bool, body string, plan ...int) *roleServer {
	r := &roleServer{plan: plan, body: body, sts: sts}
	r.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		n := int(r.n.Add(1))
		if n <= len(r.plan) && r.plan[n-1] != http.StatusOK {
			w.WriteHeader(r.plan[n-1])
			io.WriteString(w, r.body)
			return
		}
		now := time.Now().Format(time.RFC3339)
		if r.sts {
			fmt.Fprintf(w, `<AssumeRoleWithWebIdentityResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><AssumeRoleWithWebIdentityResult><Credentials><AccessKeyId>rolekey</AccessKeyId><SecretAccessKey>s</SecretAccessKey><SessionToken>t</SessionToken><Expiration>%s</Expiration></Credentials></AssumeRoleWithWebIdentityResult></AssumeRoleWithWebIdentityResponse>`, now)
			return
		}
		fmt.Fprintf(w, `{"AccessKeyId":"rolekey","SecretAccessKey":"s","Token":"t","Expiration":%q,"Code":"Success"}`, now)
	}))
	t.Cleanup(r.Close)
	return r
}

func stsError(code string) string {
	return `<ErrorResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><Error><Type>Sender</Type><Code>` + code + `</Code><Message>planned ` + code + `</Message></Error></ErrorResponse>`
}

// TestRoleHiccup: what a service that gives credentials answers when it fails is
// told, and asked again if time can mend it.
func TestRoleHiccup(t *testing.T) {
	token := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(token, []byte("token"), 0o600); err != nil {
		t.Fatal(err)
	}
	many := []int{503, 503, 503, 503, 503, 503, 503, 503}
	always := func(status int) []int { return slices.Repeat([]int{status}, 8) } // whichever request is answered in time
	for _, c := range []struct {
		name string
		sts  bool
		body string
		plan []int
		kind error  // nil opens
		text string // of the error
		n    int64  // requests
	}{
		{name: "unwell", plan: []int{503, 500, 429}, n: 4},
		{name: "unwell for long", plan: many, kind: backend.ErrUnreachable, text: "503 Service Unavailable", n: 5},
		{name: "refuses", plan: always(403), kind: backend.ErrPermission, text: "403 Forbidden", n: 1},
		{name: "STS unwell", sts: true, plan: []int{503, 500}, n: 3},
		{name: "STS cannot ask", sts: true, body: stsError("IDPCommunicationError"), plan: []int{400, 400}, n: 3},
		{name: "STS throttles", sts: true, body: stsError("Throttling"), plan: []int{400}, n: 2},
		{name: "STS refuses", sts: true, body: stsError("AccessDenied\x1b[2J"), plan: always(403), kind: backend.ErrPermission, text: "ask for the role's credentials", n: 1},
		{name: "STS refuses the token", sts: true, body: stsError("InvalidIdentityToken"), plan: always(400), kind: backend.ErrPermission, text: "planned InvalidIdentityToken", n: 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			noCredentials(t, t.TempDir())
			role := newRoleServer(t, c.sts, c.body, c.plan...)
			if c.sts {
				t.Setenv("AWS_WEB_IDENTITY_TOKEN_FILE", token)
				t.Setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", role.URL)
			} else {
				t.Setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", role.URL)
			}
			_, err := Open(bg, Config{Bucket: "bucket", Retry: Retry{Tries: 5, Base: time.Millisecond, Max: time.Millisecond}})
			mustFail(t, err, c.kind, c.text)
			// A machine that is busy for seconds may make a request time out, and one more.
			if n := role.n.Load(); n < c.n || n > 4 && c.n == 1 {
				t.Errorf("%d requests, want %d", n, c.n)
			}
		})
	}
	t.Run("away", func(t *testing.T) {
		noCredentials(t, t.TempDir())
		t.Setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", "http://127.0.0.1:1/")
		_, err := Open(bg, Config{Bucket: "bucket", Retry: Retry{Base: time.Millisecond, Max: time.Millisecond}})
		mustFail(t, err, backend.ErrUnreachable, "127.0.0.1:1")
	})
}

// mustFail checks that an error is of a kind, says text, and has advice.
func mustFail(t *testing.T, err, kind error, text string) {
	t.Helper()
	if kind == nil {
		if err != nil {
			t.Error(err)
		}
		return
	}
	if !errors.Is(err, kind) || errors.Is(err, backend.ErrPermission) != (kind == backend.ErrPermission) || backend.Hint(err) == "" {
		t.Errorf("error %v with hint %q, want %v", err, backend.Hint(err), kind)
	}
	if got := fmt.Sprint(err); !strings.Contains(got, text) || strings.ContainsAny(got, "\x1b\n") {
		t.Errorf("error %q, want one with %q", got, text)
	}
}

// TestRoleAnsweredBefore: credentials that expire while the service that gives them
// is away are waited for, whatever it answers: it has them.
func TestRoleAnsweredBefore(t *testing.T) {
	noCredentials(t, t.TempDir())
	store := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		w.Header().Set("Etag", `"x"`)
	}))
	t.Cleanup(store.Close)
	role := newRoleServer(t, false, "", 200, 503, 404, 503)
	t.Setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", role.URL)
	s := mustOpen(t, Config{Endpoint: store.URL, Region: "r", Bucket: "bucket", Retry: Retry{Base: time.Millisecond, Max: time.Millisecond}})
	if err := s.Put(bg, "x", []byte("x")); err != nil {
		t.Error(err)
	}
	if n := role.n.Load(); n < 5 {
		t.Errorf("%d requests for credentials: they had not expired", n)
	}
}

// TestBrokenFile: shared files that cannot be read, or do not have what was asked
// for, are told. Nobody else's credentials are used instead, and no secret is shown.
func TestBrokenFile(t *testing.T) {
	dir := t.TempDir()
	role := newRoleServer(t, false, "")
	for name, c := range map[string]struct {
		content string // "" is no file
		env     string // AWS_PROFILE
		creds   Credentials
		text    string
	}{
		"no file of this format": {content: "[default]\naws_secret_access_key SECRET\n", text: "delimiter not found"},
		"no key name":            {content: "[default]\n= SECRET\n", text: "empty key name"},
		"half a key":             {content: "[default]\naws_secret_access_key = SECRET\n", text: "partial static credentials"},
		"a login that is over":   {content: "[default]\nsso_role_name = r\nsso_account_id = 1\nsso_start_url = https://x\nsso_region = r\n", text: "aws sso login"},
		"a program that is gone": {content: "[default]\ncredential_process = /nonexistent/program x\n", text: "/nonexistent/program"},
		"unknown profile":        {content: "[default]\naws_access_key_id = a\naws_secret_access_key = SECRET\n", env: "backup", text: `"backup" does not exist`},
		"profile without a file": {env: "backup", text: "no such file"},
		"the file that is named": {content: "[default]\naws_secret_access_key SECRET\n", creds: Credentials{Profile: "default"}, text: "delimiter not found"},
	} {
		t.Run(name, func(t *testing.T) {
			noCredentials(t, dir)
			t.Setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", role.URL)
			t.Setenv("AWS_PROFILE", c.env)
			if c.content != "" {
				file := filepath.Join(t.TempDir(), "credentials")
				if err := os.WriteFile(file, []byte(c.content), 0o600); err != nil {
					t.Fatal(err)
				}
				t.Setenv("AWS_SHARED_CREDENTIALS_FILE", file)
			}
			_, err := Open(bg, Config{Bucket: "bucket", Credentials: c.creds})
			mustFail(t, err, backend.ErrPermission, c.text)
			if strings.Contains(fmt.Sprint(err), "SECRET") {
				t.Errorf("the error holds the secret: %v", err)
			}
		})
	}
	if n := role.n.Load(); n != 0 {
		t.Errorf("the role was asked %d times", n)
	}
}
