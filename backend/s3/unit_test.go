package s3

import (
	"bytes"
	"context"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/minio/minio-go/v7"

	"vault/backend"
)

func TestConfig(t *testing.T) {
	t.Parallel()
	key := Credentials{AccessKey: "a", SecretKey: "s"}
	for _, c := range []struct {
		name  string
		cfg   Config
		place string // "" fails
	}{
		{"amazon", Config{Bucket: "bucket"}, "s3://bucket"},
		{"prefix", Config{Bucket: "bucket", Prefix: "/a/b/"}, "s3://bucket/a/b"},
		{"host", Config{Endpoint: "host:9000", Bucket: "bucket"}, "s3:https://host:9000/bucket"},
		{"no TLS", Config{Endpoint: "http://host/", Bucket: "bucket", Prefix: "p"}, "s3:http://host/bucket/p"},
		{"longest prefix", Config{Bucket: "bucket", Prefix: strings.Repeat("x", maxPrefix)}, "s3://bucket/" + strings.Repeat("x", maxPrefix)},
		{"lock", Config{Bucket: "bucket", ObjectLock: ObjectLock{Mode: Governance, For: 720 * time.Hour}}, "s3://bucket"},

		{"no bucket", Config{}, ""},
		{"bad bucket", Config{Bucket: "a/b"}, ""},
		{"scheme", Config{Endpoint: "ftp://host", Bucket: "bucket"}, ""},
		{"user in endpoint", Config{Endpoint: "https://me:secret@host", Bucket: "bucket"}, ""},
		{"path in endpoint", Config{Endpoint: "https://host/path", Bucket: "bucket"}, ""},
		{"nothing after the scheme", Config{Endpoint: "https://", Bucket: "bucket"}, ""},
		{"prefix leads out", Config{Bucket: "bucket", Prefix: "a/../b"}, ""},
		{"prefix with a gap", Config{Bucket: "bucket", Prefix: "a//b"}, ""},
		{"prefix is a dot", Config{Bucket: "bucket", Prefix: "."}, ""},
		{"long prefix", Config{Bucket: "bucket", Prefix: strings.Repeat("x", maxPrefix+1)}, ""},
		{"lock mode", Config{Bucket: "bucket", ObjectLock: ObjectLock{Mode: "forever", For: time.Hour}}, ""},
		{"lock without days", Config{Bucket: "bucket", ObjectLock: ObjectLock{Mode: Compliance}}, ""},
		{"time without lock", Config{Bucket: "bucket", ObjectLock: ObjectLock{For: time.Hour}}, ""},
		{"small parts", Config{Bucket: "bucket", PartSize: minPartSize - 1}, ""},
		{"negative limit", Config{Bucket: "bucket", LimitUpload: -1}, ""},
		{"certificate file missing", Config{Bucket: "bucket", CACert: "/nonexistent"}, ""},
	} {
		c.cfg.Credentials = key
		s, err := Open(bg, c.cfg)
		if (err == nil) != (c.place != "") || err == nil && s.place != c.place {
			t.Errorf("%s: %v, %+v", c.name, err, s)
		}
		if errors.Is(err, os.ErrNotExist) || strings.Contains(fmt.Sprint(err), "secret") {
			t.Errorf("%s: misleading or telling error %v", c.name, err)
		}
	}
}

// TestCredentials sets the environment, so it is not parallel.
func TestCredentials(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "credentials")
	text := "[default]\naws_access_key_id = filekey\naws_secret_access_key = s\n[other]\naws_access_key_id = otherkey\naws_secret_access_key = s\n"
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	others := filepath.Join(dir, "others")
	if err := os.WriteFile(others, []byte(text[strings.Index(text, "[other]"):]), 0o600); err != nil {
		t.Fatal(err)
	}
	none := httptest.NewServer(http.NotFoundHandler())
	defer none.Close()
	for _, c := range []struct {
		name  string
		env   map[string]string
		creds Credentials
		want  string // the access key; "" is an error
	}{
		{"given", map[string]string{"AWS_ACCESS_KEY_ID": "envkey", "AWS_SECRET_ACCESS_KEY": "s"}, Credentials{AccessKey: "given", SecretKey: "s"}, "given"},
		{"environment", map[string]string{"AWS_ACCESS_KEY_ID": "envkey", "AWS_SECRET_ACCESS_KEY": "s"}, Credentials{}, "envkey"},
		{"half an environment", map[string]string{"AWS_ACCESS_KEY_ID": "envkey"}, Credentials{}, "filekey"},
		{"shared file", nil, Credentials{}, "filekey"},
		{"profile of the environment", map[string]string{"AWS_PROFILE": "other"}, Credentials{}, "otherkey"},
		{"profile beats the environment", map[string]string{"AWS_ACCESS_KEY_ID": "envkey", "AWS_SECRET_ACCESS_KEY": "s"}, Credentials{Profile: "other"}, "otherkey"},
		{"unknown profile", nil, Credentials{Profile: "none"}, ""},
		{"missing file", nil, Credentials{File: filepath.Join(dir, "none")}, ""},
		{"role", map[string]string{"AWS_SHARED_CREDENTIALS_FILE": filepath.Join(dir, "none"), "AWS_CONTAINER_CREDENTIALS_FULL_URI": "role"}, Credentials{}, "rolekey"},
		{"instance role", map[string]string{"AWS_SHARED_CREDENTIALS_FILE": filepath.Join(dir, "none"), "AWS_EC2_METADATA_SERVICE_ENDPOINT": "instance"}, Credentials{}, "instancekey"},
		{"no role", map[string]string{"AWS_SHARED_CREDENTIALS_FILE": filepath.Join(dir, "none"), "AWS_EC2_METADATA_SERVICE_ENDPOINT": "none"}, Credentials{}, ""},
		{"no default profile", map[string]string{"AWS_SHARED_CREDENTIALS_FILE": others, "AWS_CONTAINER_CREDENTIALS_FULL_URI": "role"}, Credentials{}, "rolekey"},
	} {
		t.Run(c.name, func(t *testing.T) {
			noCredentials(t, dir)
			t.Setenv("AWS_SHARED_CREDENTIALS_FILE", file)
			role := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				fmt.Fprintf(w, `{"AccessKeyId":"rolekey","SecretAccessKey":"s","Token":"t","Expiration":%q,"Code":"Success"}`, time.Now().Add(time.Hour).Format(time.RFC3339))
			}))
			defer role.Close()
			instance := metadata(t)
			for k, v := range c.env {
				switch v {
				case "role":
					v = role.URL
				case "instance":
					v = instance.URL
				case "none":
					v = none.URL
				}
				t.Setenv(k, v)
			}
			s, err := Open(bg, Config{Bucket: "bucket", Credentials: c.creds})
			if c.want == "" {
				if !errors.Is(err, backend.ErrPermission) || backend.Hint(err) == "" {
					t.Errorf("open: %v", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if v, err := s.core.GetCreds(); err != nil || v.AccessKeyID != c.want {
				t.Errorf("key %q, %v", v.AccessKeyID, err)
			}
		})
	}
}

// metadata is the metadata service of an instance (version 2, which wants a token).
func metadata(t *testing.T) *httptest.Server {
	const list = "/latest/meta-data/iam/security-credentials/"
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch authorized := r.Header.Get("X-aws-ec2-metadata-token") == "token"; {
		case r.Method == http.MethodPut && r.URL.Path == "/latest/api/token":
			io.WriteString(w, "token")
		case authorized && r.URL.Path == list:
			io.WriteString(w, "backup-role")
		case authorized && r.URL.Path == list+"backup-role":
			fmt.Fprintf(w, `{"AccessKeyId":"instancekey","SecretAccessKey":"s","Token":"t","Expiration":%q,"Code":"Success"}`, time.Now().Add(time.Hour).Format(time.RFC3339))
		default:
			w.WriteHeader(http.StatusUnauthorized)
		}
	}))
	t.Cleanup(srv.Close)
	return srv
}

// TestRefusedUnread: a store that refuses an upload without reading it is
// heard, at the latest when the request waits to be asked for its data.
func TestRefusedUnread(t *testing.T) {
	t.Parallel()
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Expect") == "" {
			abort(w) // as when the answer is lost with the connection
			return
		}
		answer(w, &fault{status: 507, code: "InsufficientStorage"})
	}))
	t.Cleanup(srv.Close)
	s := mustOpen(t, Config{Endpoint: srv.URL, Region: "r", Bucket: "bucket", Credentials: Credentials{AccessKey: "a", SecretKey: "s"}})
	if err := s.Put(bg, "x", noise(8<<20)); !errors.Is(err, backend.ErrNoSpace) {
		t.Errorf("put: %v", err)
	}
}

// TestUploadHeaders: what goes over the wire with an object.
func TestUploadHeaders(t *testing.T) {
	t.Parallel()
	var got http.Header
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		got = r.Header
		w.Header().Set("Etag", `"x"`)
	})
	plain, secure := httptest.NewServer(handler), httptest.NewTLSServer(handler)
	t.Cleanup(plain.Close)
	t.Cleanup(secure.Close)
	ca := filepath.Join(t.TempDir(), "ca.pem")
	cert := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: secure.Certificate().Raw})
	if err := os.WriteFile(ca, cert, 0o600); err != nil {
		t.Fatal(err)
	}
	now := time.Date(2030, 1, 2, 3, 4, 5, 6, time.UTC)
	cfg := Config{Region: "r", Bucket: "bucket", StorageClass: "STANDARD_IA", CACert: ca,
		Credentials: Credentials{AccessKey: "a", SecretKey: "s"},
		ObjectLock:  ObjectLock{Mode: Compliance, For: 7 * 24 * time.Hour}, Now: func() time.Time { return now }}
	bulk := backend.Bulk(bg)
	for _, c := range []struct {
		ctx       context.Context
		url, name string
		want      map[string]string
	}{
		{bulk, plain.URL, "packs/p", map[string]string{
			"X-Amz-Storage-Class": "STANDARD_IA", "X-Amz-Checksum-Crc32c": "4waSgw==", // RFC 3720's polynomial; the CRC of "123456789"
			"X-Amz-Object-Lock-Mode": "COMPLIANCE", "X-Amz-Object-Lock-Retain-Until-Date": "2030-01-09T03:04:06Z",
			"X-Amz-Content-Sha256": "15e2b0d3c33891ebb0f1ef609ec419420c20e320ce94c65fbc8c3312448eb225", "If-None-Match": ""}},
		{bg, plain.URL, "packs/trees", map[string]string{"X-Amz-Storage-Class": "", "X-Amz-Object-Lock-Mode": "COMPLIANCE"}},
		{bg, secure.URL, "index/i", map[string]string{"X-Amz-Storage-Class": "", "X-Amz-Checksum-Crc32c": "4waSgw==", "X-Amz-Content-Sha256": "UNSIGNED-PAYLOAD"}},
		{bg, secure.URL, "sessions/s", map[string]string{"X-Amz-Storage-Class": "", "X-Amz-Object-Lock-Mode": ""}},
	} {
		cfg.Endpoint = c.url
		if err := mustOpen(t, cfg).Put(c.ctx, c.name, []byte("123456789")); err != nil {
			t.Fatal(err)
		}
		for k, want := range c.want {
			if got.Get(k) != want {
				t.Errorf("%s: %s is %q, want %q", c.name, k, got.Get(k), want)
			}
		}
	}
	if err := mustOpen(t, cfg).Create(bg, "commits/c", []byte("x")); err != nil || got.Get("If-None-Match") != "*" || got.Get("X-Amz-Meta-Vault-Token") == "" {
		t.Errorf("create: %v with %v", err, got)
	}
}

// TestHostileStore: answers that lie give errors.
func TestHostileStore(t *testing.T) {
	t.Parallel()
	list := func(entries string) string {
		return `<?xml version="1.0"?><ListBucketResult><IsTruncated>false</IsTruncated>` + entries + `</ListBucketResult>`
	}
	entry := func(key string, size int) string {
		return fmt.Sprintf("<Contents><Key>%s</Key><Size>%d</Size><LastModified>2030-01-01T00:00:00Z</LastModified></Contents>", key, size)
	}
	modified := map[string]string{"Etag": `"x"`, "Last-Modified": "Wed, 02 Jan 2030 00:00:00 GMT"}
	with := func(k, v string) map[string]string {
		return map[string]string{"Etag": `"x"`, "Last-Modified": modified["Last-Modified"], k: v}
	}
	for _, c := range []struct {
		name   string
		header map[string]string
		status int
		body   string
	}{
		{"outside the prefix", nil, 200, list(entry("elsewhere", 1))},
		{"out of order", nil, 200, list(entry("p/b", 1) + entry("p/a", 1))},
		{"twice", nil, 200, list(entry("p/b", 1) + entry("p/b", 1))},
		{"negative size", nil, 200, list(entry("p/b", -1))},
		{"endless", nil, 200, "<ListBucketResult>" + strings.Repeat("<Contents></Contents>", 2<<20)},
		{"many tags", nil, 200, "<ListBucketResult>" + strings.Repeat("<Contents></Contents>", 100_000)},
		{"truncated without a token", nil, 200, "<ListBucketResult><IsTruncated>true</IsTruncated></ListBucketResult>"},
		{"cut", nil, 200, list(entry("p/b", 1))[:100]},
		{"wrong start", with("Content-Range", "bytes 5-14/100"), 206, "0123456789"},
		{"no sense", with("Content-Range", "bytes */-1"), 206, "0123456789"},
		{"overflow", with("Content-Range", "bytes 10-19/99999999999999999999"), 206, "0123456789"},
		{"whole object instead", modified, 200, "0123456789012345678901234567890"},
		{"too short", with("Content-Range", "bytes 10-12/13"), 206, "012"},
		{"control characters", nil, 400, "<Error><Code>Bad</Code><Message>\x1b[2J" + strings.Repeat("x", 5000) + "</Message></Error>"},
	} {
		srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			for k, v := range c.header {
				w.Header().Set(k, v)
			}
			w.WriteHeader(c.status)
			io.WriteString(w, c.body)
		}))
		s := mustOpen(t, Config{Endpoint: srv.URL, Region: "r", Bucket: "bucket", Prefix: "p", Credentials: Credentials{AccessKey: "a", SecretKey: "s"},
			Retry: Retry{Tries: 2, Base: time.Millisecond}})
		var lerr error
		for _, err := range s.List(bg, "") {
			lerr = err
		}
		gerr := backend.ReadRange(bg, s, "x", 10, make([]byte, 10))
		for what, err := range map[string]error{"list": lerr, "get": gerr} {
			text := fmt.Sprint(err)
			if err == nil || len(text) > 1000 || strings.ContainsAny(text, "\x1b\n") {
				t.Errorf("%s: %s: %.300q", c.name, what, text)
			}
		}
		srv.Close()
	}
}

func FuzzExtent(f *testing.F) {
	for _, s := range []string{"bytes 0-9/10", "bytes 0-0/1", "bytes */10", "", "bytes 5-4/3", "bytes 9223372036854775807-0/1"} {
		f.Add(s, "10")
	}
	f.Fuzz(func(t *testing.T, rng, length string) {
		h := http.Header{"Content-Range": {rng}, "Content-Length": {length}}
		start, size, err := extent(h)
		if err == nil && (start < 0 || size < start || rng != "" && size == start) {
			t.Errorf("%q, %q: %d of %d", rng, length, start, size)
		}
	})
}

func FuzzDescribe(f *testing.F) {
	f.Add("Code", "message \x1b\u202e\xff")
	f.Fuzz(func(t *testing.T, code, message string) {
		text := describe(minio.ErrorResponse{Code: code, Message: message, StatusCode: 400})
		if len(text) > 4*maxMessage || bytes.ContainsAny([]byte(text), "\x00\n\r\x1b\u202e") {
			t.Errorf("%q", text)
		}
	})
}

func TestPause(t *testing.T) {
	t.Parallel()
	r := Retry{Base: 4 * time.Millisecond, Max: 16 * time.Millisecond}
	for try, longest := range map[int]time.Duration{1: 4, 2: 8, 3: 16, 4: 16, 60: 16, 1000: 16} {
		start := time.Now()
		if !r.pause(bg, try) {
			t.Error("the pause was cut short")
		}
		if took := time.Since(start); took < longest*time.Millisecond/2 || took > time.Minute { // without a bound it would be hours
			t.Errorf("pause %d took %v", try, took)
		}
	}
	ctx, cancel := context.WithCancel(bg)
	cancel()
	if (Retry{Base: time.Hour, Max: time.Hour}).pause(ctx, 1) {
		t.Error("a pause outlives its context")
	}
}
