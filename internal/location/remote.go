package location

import (
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"path"
	"strconv"
	"strings"

	"vault/backend/s3"
	"vault/backend/sftp"
)

var (
	errSFTPForm = errors.New("an sftp location has the form sftp://user@host:port/path or sftp:user@host:path, without a password: use a key")
	errS3Form   = errors.New("an s3 location has the form s3://bucket/prefix or s3:https://host/bucket/prefix; credentials come from AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY or the shared files, never from the location")
	errEndpoint = errors.New("an endpoint has the form https://host:port or http://host:port, without a path, and without credentials")
)

// parseSFTP parses both forms of an SSH server's directory. They are the same
// place if the path of the second is absolute.
func parseSFTP(s string) (Location, error) {
	c, err := sftp.Parse(s)
	switch _, _, risky := secret(s); {
	case err != nil && risky || passwordInPath(s):
		err = errSFTPForm // what is wrong may be a part of a password
	case err != nil:
	case strings.HasPrefix(c.Host, "-") || strings.ContainsAny(c.Host, "/ \t\r\n"):
		err = fmt.Errorf("%q is no host name", c.Host)
	}
	if err != nil {
		return Location{}, fmt.Errorf("repository %q: %w", redact(s), err)
	}
	c.Path = path.Clean(c.Path)
	return Location{Scheme: SFTP, text: sftpText(c), sftp: c}, nil
}

// passwordInPath recognises sftp:user:password@host:path, which reads as the
// path "password@host:path" on the host "user". A path that does look so is
// given with "./" before it.
func passwordInPath(s string) bool {
	_, rest, _ := strings.Cut(s, ":")
	host, path, _ := strings.Cut(rest, ":")
	if strings.HasPrefix(rest, "//") || strings.Contains(host, "@") || strings.HasPrefix(host, "[") {
		return false
	}
	return likePassword(path)
}

func likePassword(path string) bool {
	if strings.HasPrefix(path, "/") || strings.HasPrefix(path, "./") || strings.HasPrefix(path, "~/") {
		return false
	}
	_, after, at := strings.Cut(path, "@")
	return at && strings.Contains(after, ":")
}

// sftpText returns the canonical form.
func sftpText(c sftp.Config) string {
	host := c.Host
	if strings.Contains(host, ":") {
		host = "[" + host + "]"
	}
	if c.User != "" {
		host = url.User(c.User).String() + "@" + host
	}
	if !strings.HasPrefix(c.Path, "/") {
		if likePassword(c.Path) || strings.HasPrefix(c.Path, "~/") {
			return "sftp:" + host + ":./" + c.Path
		}
		return "sftp:" + host + ":" + c.Path
	}
	if c.Port != 0 { // also 22, where ~/.ssh/config may say otherwise
		host += ":" + strconv.Itoa(c.Port)
	}
	return "sftp://" + host + (&url.URL{Path: c.Path}).EscapedPath()
}

// parseS3 parses both forms of a bucket.
func parseS3(s string) (Location, error) {
	bad := func(err error) (Location, error) {
		return Location{}, fmt.Errorf("repository %q: %w", redact(s), err)
	}
	_, rest, _ := strings.Cut(s, ":")
	var c s3.Config
	place, plain := strings.CutPrefix(rest, "//")
	if !plain {
		scheme, after, ok := strings.Cut(rest, "://")
		host, p, _ := strings.Cut(after, "/")
		if !ok {
			return bad(errS3Form)
		}
		var err error
		if c.Endpoint, err = endpoint(scheme + "://" + host); err != nil {
			return bad(errS3Form)
		}
		place = p
	}
	c.Bucket, c.Prefix, _ = strings.Cut(place, "/")
	c.Prefix = strings.Trim(c.Prefix, "/")
	switch {
	case strings.ContainsAny(c.Bucket, ":@"):
		return bad(errS3Form)
	case !bucketName(c.Bucket):
		return bad(fmt.Errorf("%q is no name of a bucket", c.Bucket))
	case c.Prefix != "" && !fs.ValidPath(c.Prefix) || c.Prefix == ".":
		return bad(fmt.Errorf("the prefix %q is not a clean path", c.Prefix))
	}
	return Location{Scheme: S3, text: s3Text(c), s3: c, endpoint: !plain}, nil
}

// bucketName reports whether a name can be one; some stores accept more than
// Amazon does.
func bucketName(s string) bool {
	for _, c := range s {
		if !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '-' || c == '.' || c == '_') {
			return false
		}
	}
	return len(s) >= 3 && len(s) <= 63
}

// s3Text returns the canonical form.
func s3Text(c s3.Config) string {
	place := c.Bucket
	if c.Prefix != "" {
		place += "/" + c.Prefix
	}
	if c.Endpoint == "" {
		return "s3://" + place
	}
	return "s3:" + c.Endpoint + "/" + place
}

// endpoint returns the canonical form of a store's address: a lower-case URL
// without the port that goes without saying; "" is Amazon's.
func endpoint(s string) (string, error) {
	scheme, host, ok := strings.Cut(s, "://")
	if !ok {
		scheme, host = "https", s
	}
	scheme, host = strings.ToLower(scheme), strings.ToLower(strings.TrimRight(host, "/"))
	u, err := url.Parse(scheme + "://" + host)
	if err != nil || scheme != "https" && scheme != "http" || u.Host != host || u.Hostname() == "" || strings.ContainsAny(host, " \\") {
		return "", errEndpoint
	}
	if port := u.Port(); port != "" {
		if n, err := strconv.Atoi(port); err != nil || n < 1 || n > 65535 {
			return "", errEndpoint
		}
		if scheme == "https" && port == "443" || scheme == "http" && port == "80" {
			host = strings.TrimSuffix(host, ":"+port)
		}
	} else if strings.HasSuffix(host, ":") {
		return "", errEndpoint
	}
	if scheme == "https" && host == "s3.amazonaws.com" {
		return "", nil
	}
	return scheme + "://" + host, nil
}

// NamesEndpoint reports whether the text itself says at which store a bucket is.
func (l Location) NamesEndpoint() bool { return l.endpoint }

// WithEndpoint returns the location of a bucket at another store. Its canonical
// form says so, since the same name there is another place. One that names its
// store, and what is no bucket, stays as it is. Address is a URL or a host with
// an optional port, which means https; "" changes nothing.
func (l Location) WithEndpoint(address string) (Location, error) {
	if l.Scheme != S3 || l.endpoint || address == "" {
		return l, nil
	}
	e, err := endpoint(address)
	if err != nil {
		return l, err
	}
	l.s3.Endpoint = e
	l.text = s3Text(l.s3)
	return l, nil
}
