package location

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"vault/backend"
	"vault/backend/local"
	"vault/backend/s3"
	"vault/backend/sftp"
)

// Options are what a location does not say. The zero value asks nobody, limits
// nothing and keeps warnings to itself.
type Options struct {
	LimitUpload   int64 // bytes a second to a remote store; 0 is no limit
	LimitDownload int64 // likewise from it

	// Warn is told, once each, what weakens the repository there. It may be
	// called by any goroutine.
	Warn func(message string)

	// Trace is called before every request to a remote store, by any goroutine,
	// with its name as the driver has it. It may be nil.
	Trace func(request string)

	SFTP SFTPOptions
	S3   S3Options
}

// SFTPOptions are options of an SSH server.
type SFTPOptions struct {
	Command    []string // a program with its arguments that speaks SFTP on its standard input and output, instead of SSH
	Identities []string // private key files; nil: as ~/.ssh/config says, the agent's, and ~/.ssh/id_*
	KnownHosts []string // files; nil: as ~/.ssh/config says, or the usual ones

	// Passphrase asks for the passphrase of an encrypted key file. Nil:
	// nobody can be asked.
	Passphrase func(ctx context.Context, keyFile string) ([]byte, error)
}

// S3Options are options of a bucket. Credentials are those of Profile and
// Credentials if one is given, else those of the environment (AWS_ACCESS_KEY_ID and
// so on), of the shared files, or of the machine's role.
type S3Options struct {
	Region       string // "": AWS_REGION, or the store is asked
	Style        string // where the bucket goes in a URL: "auto" (or ""), "path" or "host"
	CACert       string // PEM file of certificates to trust instead of the system's
	StorageClass string // of data packs; "": the bucket's default
	ObjectLock   string // MODE:DURATION, see ParseObjectLock; "": objects are not locked
	Credentials  string // file of access keys instead of the shared ones
	Profile      string // a section of it
}

// ParseObjectLock parses how long the store refuses to delete new objects:
// "compliance" or "governance", a colon, and a time as 30d, 12w or 36h.
func ParseObjectLock(text string) (s3.ObjectLock, error) {
	if text == "" {
		return s3.ObjectLock{}, nil
	}
	mode, span, _ := strings.Cut(text, ":")
	l := s3.ObjectLock{Mode: s3.LockMode(mode)}
	bad := fmt.Errorf("%q is no object lock: want compliance:30d, or governance and a time in days, weeks or hours", text)
	if l.Mode != s3.Compliance && l.Mode != s3.Governance || span == "" {
		return s3.ObjectLock{}, bad
	}
	const day = 24 * time.Hour
	unit := map[byte]time.Duration{'d': day, 'w': 7 * day}[span[len(span)-1]]
	if unit > 0 {
		n, err := strconv.ParseUint(span[:len(span)-1], 10, 16)
		if err != nil {
			return s3.ObjectLock{}, bad
		}
		l.For = time.Duration(n) * unit
	} else {
		var err error
		if l.For, err = time.ParseDuration(span); err != nil {
			return s3.ObjectLock{}, bad
		}
	}
	if l.For < time.Second || l.For > s3.MaxLock {
		return s3.ObjectLock{}, bad
	}
	return l, nil
}

// s3Styles are the values of S3Options.Style.
var s3Styles = map[string]s3.Style{"": s3.StyleAuto, "auto": s3.StyleAuto, "path": s3.StylePath, "host": s3.StyleHost}

// Check reports what is wrong with the options.
func (o *Options) Check() error {
	if _, ok := s3Styles[o.S3.Style]; !ok {
		return fmt.Errorf("%q is no style of S3 addresses: want auto, path or host", o.S3.Style)
	}
	_, err := ParseObjectLock(o.S3.ObjectLock)
	return err
}

// Open opens the storage at l and makes nothing there. It is the caller's to
// close. An SSH server is connected to, and the directory looked at; a bucket
// is first asked when something is read from it. The context is for Open alone.
//
// A store that cannot be opened could not be asked, whatever the reason: except
// for the context's own, errors are [backend.ErrUnreachable].
func (l Location) Open(ctx context.Context, o Options) (backend.Backend, error) {
	if err := o.Check(); err != nil {
		return nil, err
	}
	// A driver's store is passed on only without an error: a nil pointer in an
	// interface is not nil.
	switch l.Scheme {
	case SFTP:
		c := l.sftp
		c.Command, c.Identities, c.KnownHosts, c.Passphrase = o.SFTP.Command, o.SFTP.Identities, o.SFTP.KnownHosts, o.SFTP.Passphrase
		c.LimitUpload, c.LimitDownload, c.Warn, c.Trace = o.LimitUpload, o.LimitDownload, o.Warn, o.Trace
		be, err := sftp.Open(ctx, c)
		if err != nil {
			return nil, unasked(ctx, err)
		}
		return be, nil
	case S3:
		c := l.s3
		c.Region, c.Style, c.CACert, c.StorageClass = o.S3.Region, s3Styles[o.S3.Style], o.S3.CACert, o.S3.StorageClass
		c.Credentials.File, c.Credentials.Profile = o.S3.Credentials, o.S3.Profile
		c.LimitUpload, c.LimitDownload, c.Trace = o.LimitUpload, o.LimitDownload, o.Trace
		c.ObjectLock, _ = ParseObjectLock(o.S3.ObjectLock)
		if o.Warn != nil {
			c.Warn = func(text string) { o.Warn(strings.TrimPrefix(text, l.text+": ")) } // callers know the place
		}
		be, err := s3.Open(ctx, c)
		if err != nil {
			return nil, unasked(ctx, err)
		}
		return be, nil
	default:
		be, err := local.Open(l.Path)
		if err != nil {
			return nil, err
		}
		return be, nil
	}
}

// unasked makes sure that a failure to open counts as one, also where a driver
// refuses its configuration.
func unasked(ctx context.Context, err error) error {
	if ctx.Err() != nil || errors.Is(err, backend.ErrUnreachable) {
		return err
	}
	return fmt.Errorf("%w: %w", backend.ErrUnreachable, err)
}
