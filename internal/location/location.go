// Package location says where repositories are: it parses what a user gives as
// --repo, and opens the storage driver for it. It is the one place that knows
// all drivers.
//
// Forms:
//
//	/srv/backup  ./backup  file:///srv/backup      a directory
//	sftp://user@host:port/path  sftp:user@host:path
//	s3://bucket/prefix  s3:https://host/bucket/prefix
//
// Anything that does not begin with one of these schemes is a directory. A
// directory whose name looks like a URL is given as ./NAME.
package location

import (
	"errors"
	"fmt"
	"net/url"
	"path/filepath"
	"strings"

	"vault/backend"
	"vault/backend/local"
)

// Scheme says which driver a place needs.
type Scheme string

// The schemes.
const (
	Local Scheme = "local"
	SFTP  Scheme = "sftp"
	S3    Scheme = "s3"
)

// Location is a parsed repository location.
type Location struct {
	Scheme Scheme
	Path   string // Local: absolute and clean
	text   string // the canonical form without secrets
}

// String returns the canonical form, which holds no secret: equal places have
// equal forms, as far as the text tells.
func (l Location) String() string { return l.text }

// ErrNoDriver reports a scheme whose driver does not exist in this version.
var ErrNoDriver = errors.New("not supported by this version")

// Parse parses what a user gave. Errors say what is wrong with the text.
func Parse(s string) (Location, error) {
	scheme, rest, ok := strings.Cut(s, ":")
	switch {
	case s == "":
		return Location{}, errors.New("the repository's location is empty")
	case strings.ContainsRune(s, 0):
		return Location{}, fmt.Errorf("repository %q: the location holds a NUL byte", s)
	case !ok || !isScheme(scheme):
		return parsePath(s)
	}
	switch strings.ToLower(scheme) {
	case "file":
		u, err := url.Parse(s)
		if err != nil || !strings.HasPrefix(rest, "///") || u.RawQuery != "" || u.Fragment != "" {
			return Location{}, fmt.Errorf("repository %q: a file URL has the form file:///absolute/path", s)
		}
		return parsePath(u.Path)
	case "sftp":
		return Location{Scheme: SFTP, text: withoutPassword(s)}, nil
	case "s3":
		return Location{Scheme: S3, text: withoutPassword(s)}, nil
	}
	return Location{}, fmt.Errorf("repository %q: unknown scheme %q; a directory of this name is ./%s", s, scheme, s)
}

// isScheme reports whether the text before a colon is meant as a URL scheme.
// One letter is a drive.
func isScheme(s string) bool {
	if len(s) < 2 {
		return false
	}
	for i, c := range strings.ToLower(s) {
		if !(c >= 'a' && c <= 'z' || i > 0 && (c >= '0' && c <= '9' || c == '+' || c == '-')) {
			return false
		}
	}
	return true
}

func parsePath(s string) (Location, error) {
	abs, err := filepath.Abs(s)
	if err != nil {
		return Location{}, fmt.Errorf("repository %q: %w", s, err)
	}
	return Location{Scheme: Local, Path: abs, text: abs}, nil
}

// withoutPassword removes a password that somebody put into a URL, however
// badly the rest is formed.
func withoutPassword(s string) string {
	scheme, rest, _ := strings.Cut(s, ":")
	inner := ""
	for _, p := range []string{"//", "https://", "http://"} {
		if strings.HasPrefix(rest, p) {
			inner, rest = p, rest[len(p):]
			break
		}
	}
	authority, path, slash := strings.Cut(rest, "/")
	if at := strings.LastIndex(authority, "@"); at >= 0 {
		user, _, _ := strings.Cut(authority[:at], ":")
		authority = user + authority[at:]
	}
	out := scheme + ":" + inner + authority
	if slash {
		out += "/" + path
	}
	return out
}

// Open opens the storage at l and makes nothing there. It is the caller's to
// close.
func (l Location) Open() (backend.Backend, error) {
	if l.Scheme != Local {
		return nil, fmt.Errorf("open %s: %s repositories: %w", l, l.Scheme, ErrNoDriver)
	}
	return local.Open(l.Path)
}
