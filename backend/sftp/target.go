package sftp

import (
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"strings"
)

// Parse understands the two forms in which users write a place:
// sftp://user@host:port/path, whose path is absolute, and sftp:user@host:path,
// whose path is relative to the login's directory unless it begins with a
// slash. A password is refused, not used.
func Parse(s string) (Config, error) {
	var c Config
	rest, ok := cutFold(s, "sftp:")
	if !ok {
		return c, fmt.Errorf("%q does not begin with sftp:", s)
	}
	if authority, ok := strings.CutPrefix(rest, "//"); ok {
		host, path, _ := strings.Cut(authority, "/")
		var err error
		if c.User, c.Host, c.Port, err = splitHost(host); err != nil {
			return c, err
		}
		if c.Path, err = url.PathUnescape("/" + path); err != nil {
			return c, err
		}
	} else {
		host, path, ok := cutHost(rest)
		if !ok {
			return c, errors.New("an sftp location has the form sftp:user@host:path or sftp://user@host:port/path")
		}
		var err error
		if c.User, c.Host, c.Port, err = splitHost(host); err != nil {
			return c, err
		}
		c.Path = strings.TrimPrefix(strings.TrimPrefix(path, "~/"), "./")
	}
	switch {
	case c.Host == "":
		return c, errors.New("the sftp location names no host")
	case strings.ContainsRune(c.Path, 0):
		return c, errors.New("the sftp location holds a NUL byte")
	}
	return c, nil
}

func cutFold(s, prefix string) (string, bool) {
	if len(s) < len(prefix) || !strings.EqualFold(s[:len(prefix)], prefix) {
		return s, false
	}
	return s[len(prefix):], true
}

// cutHost cuts "user@[::1]:path" at the colon after the host.
func cutHost(s string) (host, path string, ok bool) {
	at := strings.LastIndexByte(strings.SplitN(s, ":", 2)[0], '@') + 1
	if strings.HasPrefix(s[at:], "[") {
		end := strings.Index(s[at:], "]:")
		if end < 0 {
			return "", "", false
		}
		return s[:at+end+1], s[at+end+2:], true
	}
	return strings.Cut(s, ":")
}

// splitHost splits "user@host:port", whose host may be an address in brackets.
func splitHost(s string) (user, host string, port int, err error) {
	if at := strings.LastIndexByte(s, '@'); at >= 0 {
		var secret bool
		if user, _, secret = strings.Cut(s[:at], ":"); secret {
			return "", "", 0, errors.New("a password in a location is not supported: use a key")
		}
		if user, err = url.PathUnescape(user); err != nil {
			return "", "", 0, err
		}
		s = s[at+1:]
	}
	digits := ""
	if strings.HasPrefix(s, "[") {
		end := strings.IndexByte(s, ']')
		if end < 0 {
			return "", "", 0, fmt.Errorf("%q: a bracket that does not end", s)
		}
		host, s = s[1:end], s[end+1:]
		if s != "" && s[0] != ':' {
			return "", "", 0, fmt.Errorf("%q after an address in brackets", s)
		}
		digits = strings.TrimPrefix(s, ":")
	} else {
		host, digits, _ = strings.Cut(s, ":")
	}
	if digits != "" {
		if port, err = strconv.Atoi(digits); err != nil || port < 1 || port > 65535 {
			return "", "", 0, fmt.Errorf("%q is no port", digits)
		}
	}
	return user, host, port, nil
}
