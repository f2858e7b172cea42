// Package location says where repositories are: it parses what a user gives as
// --repo, and opens the storage driver for it. It is the one place that knows
// all drivers.
//
// Forms:
//
//	/srv/backup  ./backup  file:///srv/backup      a directory
//	sftp://user@host:port/path                     a directory of an SSH server, absolute
//	sftp:user@host:path                            likewise, relative to the login
//	s3://bucket/prefix                             a bucket at Amazon, or at the endpoint that is set
//	s3:https://host/bucket/prefix                  a bucket at this endpoint
//
// Anything that does not begin with one of these schemes is a directory. A
// directory whose name looks like a URL is given as ./NAME.
//
// Secrets have no place in a location, since locations are printed and
// remembered: one that holds a password is refused, and no error repeats it.
package location

import (
	"errors"
	"fmt"
	"net/url"
	"path/filepath"
	"strings"

	"vault/backend/s3"
	"vault/backend/sftp"
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
	sftp   sftp.Config
	s3     s3.Config

	endpoint bool // S3: the text names the store
}

// String returns the canonical form, which holds no secret and which Parse
// understands: equal places have equal forms, as far as the text tells.
func (l Location) String() string { return l.text }

// Parse parses what a user gave. Errors say what is wrong with the text, and
// repeat nothing that may be a password.
func Parse(s string) (Location, error) {
	scheme, rest, ok := strings.Cut(s, ":")
	switch {
	case s == "":
		return Location{}, errors.New("the repository's location is empty")
	case strings.ContainsRune(s, 0):
		return Location{}, fmt.Errorf("repository %q: the location holds a NUL byte", redact(s))
	case !ok || !isScheme(scheme):
		return parsePath(s)
	}
	switch strings.ToLower(scheme) {
	case "file":
		u, err := url.Parse(s)
		if err != nil || !strings.HasPrefix(rest, "///") || u.RawQuery != "" || u.Fragment != "" {
			return Location{}, fmt.Errorf("repository %q: a file URL has the form file:///absolute/path", redact(s))
		}
		return parsePath(u.Path)
	case "sftp":
		return parseSFTP(s)
	case "s3":
		return parseS3(s)
	}
	return Location{}, fmt.Errorf("repository %q: unknown scheme %q; a directory of this name is given with ./ before it", redact(s), scheme)
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

// secret finds what may be a password in a location, however badly the rest
// is formed: everything between the first colon after the scheme (or schemes)
// and the last "@".
func secret(s string) (from, to int, ok bool) {
	from = strings.IndexByte(s, ':') + 1
	for _, p := range []string{"https:", "http:"} {
		if strings.HasPrefix(strings.ToLower(s[from:]), p) {
			from += len(p)
			break
		}
	}
	to = strings.LastIndexByte(s, '@')
	if to < from {
		return 0, 0, false
	}
	colon := strings.IndexByte(s[from:to], ':')
	if colon < 0 {
		return 0, 0, false
	}
	return from + colon, to, true
}

// redact returns a location for messages.
func redact(s string) string {
	if from, to, ok := secret(s); ok {
		return s[:from] + s[to:]
	}
	return s
}
