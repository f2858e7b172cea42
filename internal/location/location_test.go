package location

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"vault/backend"
)

func TestParse(t *testing.T) {
	wd, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		in     string
		scheme Scheme
		text   string // "" means an error
	}{
		{"/srv/backup", Local, "/srv/backup"},
		{"/srv//backup/../b/", Local, "/srv/b"},
		{"repo", Local, filepath.Join(wd, "repo")},
		{"./sftp:x", Local, filepath.Join(wd, "sftp:x")},
		{"a b:c", Local, filepath.Join(wd, "a b:c")}, // a scheme has no space
		{"file:///srv/a%20b", Local, "/srv/a b"},
		{"file://host/srv", "", ""},
		{"file:srv", "", ""},
		{"file:///srv?x=1", "", ""},
		{"sftp://bk@nas:2222/vault", SFTP, "sftp://bk@nas:2222/vault"},
		{"sftp://nas:22/vault//x/", SFTP, "sftp://nas:22/vault/x"},
		{"SFTP://nas/a%20b%25", SFTP, "sftp://nas/a%20b%25"},
		{"sftp://a%3Ab%40c@nas/", SFTP, "sftp://a%3Ab%40c@nas/"},
		{"sftp://nas", SFTP, "sftp://nas/"},
		{"sftp://[::1]:22/x", SFTP, "sftp://[::1]:22/x"},
		{"sftp:bk@nas:vault", SFTP, "sftp:bk@nas:vault"},
		{"sftp:bk@nas:~/vault/", SFTP, "sftp:bk@nas:vault"},
		{"sftp:nas:./~/x", SFTP, "sftp:nas:./~/x"},
		{"sftp:nas:./a@b:c", SFTP, "sftp:nas:./a@b:c"},
		{"sftp:bk@nas:a@b:c", SFTP, "sftp:bk@nas:./a@b:c"},
		{"sftp:nas:", SFTP, "sftp:nas:."},
		{"sftp:bk@nas:/srv/a b", SFTP, "sftp://bk@nas/srv/a%20b"},
		{"sftp:[::1]:x", SFTP, "sftp:[::1]:x"},
		{"sftp://bk:secret@nas/vault", "", ""},
		{"sftp://bk:sec/secret@nas/vault", "", ""},
		{"sftp:bk:secret@nas:vault", "", ""},
		{"sftp:bk:sec/secret@nas:vault", "", ""},
		{"sftp:nas", "", ""},
		{"sftp://", "", ""},
		{"sftp://nas:99999/x", "", ""},
		{"sftp://-oProxyCommand=x/y", "", ""},
		{"sftp://a b/y", "", ""},
		{"s3://bucket/prefix", S3, "s3://bucket/prefix"},
		{"S3://bucket/", S3, "s3://bucket"},
		{"s3:https://Host:9000/bucket/a/b/", S3, "s3:https://host:9000/bucket/a/b"},
		{"s3:https://host:443/bucket", S3, "s3:https://host/bucket"},
		{"s3:HTTP://host:80/bucket", S3, "s3:http://host/bucket"},
		{"s3:http://[::1]:80/bucket", S3, "s3:http://[::1]/bucket"},
		{"s3:https://s3.amazonaws.com/bucket", S3, "s3://bucket"},
		{"s3:http://s3.amazonaws.com/bucket", S3, "s3:http://s3.amazonaws.com/bucket"},
		{"s3:https://key:secret@host/bucket", "", ""},
		{"s3://key:secret@bucket/x", "", ""},
		{"s3:https://key:sec/secret@host/bucket", "", ""},
		{"s3:https://host", "", ""},
		{"s3:https://host:x/bucket", "", ""},
		{"s3:https:///bucket", "", ""},
		{"s3:ftp://host/bucket", "", ""},
		{"s3:bucket/prefix", "", ""},
		{"s3://b", "", ""},
		{"s3://bucket/../x", "", ""},
		{"s3://bucket/a//b", "", ""},
		{"s3://bucket/.", "", ""},
		{"http://user:secret@example.org/x", "", ""},
		{"http://example.org/x", "", ""},
		{"", "", ""},
		{"a\x00b", "", ""},
	} {
		l, err := Parse(c.in)
		if (err != nil) != (c.text == "") {
			t.Errorf("Parse(%q) = %q, error %v", c.in, l, err)
			continue
		}
		if err != nil && strings.Contains(err.Error(), "sec") {
			t.Errorf("Parse(%q) repeats a password: %v", c.in, err)
		}
		if err == nil && (l.Scheme != c.scheme || l.String() != c.text) {
			t.Errorf("Parse(%q) = %s %q, want %s %q", c.in, l.Scheme, l, c.scheme, c.text)
		}
	}
}

// FuzzParse: a canonical form is understood, and is its own.
func FuzzParse(f *testing.F) {
	for _, s := range []string{"/srv", "sftp://u@h:22/a%20b", "sftp:u@h:./~/x", "sftp:[::1]:@:", "s3://bucket/p", "s3:http://h:80/bucket/p", "file:///a"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		l, err := Parse(s)
		if err != nil {
			return
		}
		again, err := Parse(l.String())
		if err != nil || again.String() != l.String() || again.Scheme != l.Scheme {
			t.Errorf("Parse(%q) = %q, which is %q, %v", s, l, again, err)
		}
	})
}

func TestWithEndpoint(t *testing.T) {
	for _, c := range []struct{ in, address, want string }{
		{"s3://bucket/p", "", "s3://bucket/p"},
		{"s3://bucket/p", "http://127.0.0.1:9000/", "s3:http://127.0.0.1:9000/bucket/p"},
		{"s3://bucket/p", "Host", "s3:https://host/bucket/p"},
		{"s3://bucket/p", "https://s3.amazonaws.com", "s3://bucket/p"},
		{"s3:https://other/bucket", "host", "s3:https://other/bucket"},
		{"s3:https://s3.amazonaws.com/bucket", "host", "s3://bucket"},
		{"sftp://h/x", "host", "sftp://h/x"},
		{"s3://bucket", "http://user:secret@host", ""},
		{"s3://bucket", "http://host/path", ""},
		{"s3://bucket", "http://host?x", ""},
		{"s3://bucket", "ftp://host", ""},
		{"s3://bucket", "host:", ""},
		{"s3://bucket", "host:70000", ""},
		{"s3://bucket", "//", ""},
	} {
		l, err := Parse(c.in)
		if err != nil {
			t.Fatal(err)
		}
		l, err = l.WithEndpoint(c.address)
		if (err != nil) != (c.want == "") || err == nil && l.String() != c.want {
			t.Errorf("%s at %q = %q, %v, want %q", c.in, c.address, l, err, c.want)
		}
		if err != nil && strings.Contains(err.Error(), "secret") {
			t.Errorf("the error repeats a password: %v", err)
		}
	}
}

// TestOpen: every scheme comes to its driver, with what the location and the
// options say.
func TestOpen(t *testing.T) {
	t.Setenv("AWS_ACCESS_KEY_ID", "key")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "secret")
	keys := filepath.Join(t.TempDir(), "keys")
	if err := os.WriteFile(keys, []byte("[off]\naws_access_key_id = a\naws_secret_access_key = b\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		in   string
		o    Options
		fail string // "" is success
	}{
		{t.TempDir(), Options{}, ""},
		{"s3:http://127.0.0.1:1/bucket/p", Options{}, ""}, // nobody is asked yet
		{"s3:http://127.0.0.1:1/bucket/p", Options{S3: S3Options{CACert: "/nonexistent.pem"}}, "nonexistent.pem"},
		{"s3:http://127.0.0.1:1/bucket/p", Options{S3: S3Options{Credentials: "/nonexistent.keys"}}, "credentials"}, // not those of the environment
		{"s3:http://127.0.0.1:1/bucket/p", Options{S3: S3Options{Credentials: keys, Profile: "off"}}, ""},
		{"s3:http://127.0.0.1:1/bucket/p", Options{S3: S3Options{Credentials: keys, Profile: "other"}}, "credentials"},
		{"s3://bucket", Options{S3: S3Options{Style: "odd"}}, "odd"},
		{"s3://bucket", Options{LimitUpload: -1}, "negative"},
		{"sftp://nas/p", Options{SFTP: SFTPOptions{Command: []string{"/nonexistent-ssh"}}}, "nonexistent-ssh"},
	} {
		l, err := Parse(c.in)
		if err != nil {
			t.Fatal(err)
		}
		be, err := l.Open(t.Context(), c.o)
		switch {
		case err == nil && c.fail == "":
			be.Close()
		case err == nil || c.fail == "" || !strings.Contains(err.Error(), c.fail):
			t.Errorf("open %s: %v, want %q", c.in, err, c.fail)
		case be != nil:
			t.Errorf("open %s: an error, and a backend", c.in)
		case c.o.S3.Style == "" && !errors.Is(err, backend.ErrUnreachable):
			t.Errorf("open %s: %v says something about the place", c.in, err)
		}
	}
}
