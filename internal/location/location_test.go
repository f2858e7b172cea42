package location

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
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
		{"sftp://bk:secret@nas/vault", SFTP, "sftp://bk@nas/vault"},
		{"sftp:bk@nas:vault", SFTP, "sftp:bk@nas:vault"},
		{"s3://bucket/prefix", S3, "s3://bucket/prefix"},
		{"s3:https://key:secret@host/bucket", S3, "s3:https://key@host/bucket"},
		{"http://example.org/x", "", ""},
		{"", "", ""},
		{"a\x00b", "", ""},
	} {
		l, err := Parse(c.in)
		if (err != nil) != (c.text == "") {
			t.Errorf("Parse(%q): error %v", c.in, err)
			continue
		}
		if err == nil && (l.Scheme != c.scheme || l.String() != c.text) {
			t.Errorf("Parse(%q) = %s %q, want %s %q", c.in, l.Scheme, l, c.scheme, c.text)
		}
	}
}

func TestOpen(t *testing.T) {
	for _, s := range []string{"sftp://u:secret@h/p", "s3://b/p"} {
		l, err := Parse(s)
		if err != nil {
			t.Fatal(err)
		}
		if _, err = l.Open(); !errors.Is(err, ErrNoDriver) || strings.Contains(err.Error(), "secret") {
			t.Errorf("open %s: %v", s, err)
		}
	}
	l, err := Parse(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	be, err := l.Open()
	if err != nil {
		t.Fatal(err)
	}
	be.Close()
}
