package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/spf13/pflag"
	"golang.org/x/term"

	"vault/backend"
	"vault/internal/display"
	"vault/internal/location"
)

// remoteFlags say how to get to a repository on another machine, as far as its
// location does not.
type remoteFlags struct {
	sftpCommand    string
	s3Endpoint     string
	s3Region       string
	s3Style        string
	s3StorageClass string
	s3ObjectLock   string

	identities, knownHosts   []string // of configured repositories, instead of the variables
	s3Credentials, s3Profile string   // likewise
	unlocked                 bool     // objects are not locked, whatever is said
}

// objectLockVariable says what --s3-object-lock does.
const objectLockVariable = "VAULT_S3_OBJECT_LOCK"

func (r *remoteFlags) add(f *pflag.FlagSet) {
	f.StringVar(&r.sftpCommand, "sftp-command", "", "shell `command` that speaks SFTP on its standard input and output, as 'ssh -s nas sftp'")
	f.StringVar(&r.s3Endpoint, "s3-endpoint", "", "`URL` of the store of s3://BUCKET, if it is not Amazon's (AWS_ENDPOINT_URL_S3, AWS_ENDPOINT_URL)")
	f.StringVar(&r.s3Region, "s3-region", "", "`region` of the bucket (AWS_REGION)")
	f.StringVar(&r.s3Style, "s3-style", "auto", "where the bucket goes in requests: auto, path or host")
	f.StringVar(&r.s3StorageClass, "s3-storage-class", "", "storage `class` of new data packs; everything else is small and needed often")
	f.StringVar(&r.s3ObjectLock, "s3-object-lock", "", "the store refuses to delete what a restore needs for so long: `MODE:TIME`, as compliance:30d (VAULT_S3_OBJECT_LOCK)")
}

// parseLocation parses a location and completes it by the endpoint that is set:
// the same bucket name at another store is another place.
func (a *app) parseLocation(text string) (location.Location, error) {
	loc, err := location.Parse(text)
	if err != nil {
		return loc, &failure{code: exitUsage, err: err, hint: "a location is a directory, sftp://user@host:port/path, sftp:user@host:path, s3://bucket/prefix or s3:https://host/bucket/prefix"}
	}
	if a.remote.s3ObjectLock != "" && loc.Scheme != location.S3 {
		return loc, &failure{code: exitUsage, err: fmt.Errorf("--s3-object-lock: %s cannot lock objects", display.Name(loc.String())), hint: "object lock is a thing of S3 buckets; leave the flag out"}
	}
	if a.remote.s3Endpoint != "" && loc.NamesEndpoint() {
		return loc, usagef("%s names its store, and so does %s: which one is meant?", loc, a.flag("s3-endpoint"))
	}
	for _, e := range []struct{ from, address string }{
		{"--s3-endpoint", a.remote.s3Endpoint},
		{"AWS_ENDPOINT_URL_S3", os.Getenv("AWS_ENDPOINT_URL_S3")},
		{"AWS_ENDPOINT_URL", os.Getenv("AWS_ENDPOINT_URL")},
	} {
		if e.address == "" {
			continue
		}
		if loc, err = loc.WithEndpoint(e.address); err != nil {
			return loc, usagef("%s: %w", e.from, err)
		}
		break
	}
	return loc, nil
}

// storageOptions returns what flags and variables say about storage at other
// machines. Warn and the terminal are added by storage.
func (a *app) storageOptions() (location.Options, error) {
	l, err := a.limits()
	if err != nil {
		return location.Options{}, err
	}
	r := &a.remote
	o := location.Options{
		LimitUpload: l.upload, LimitDownload: l.download, Trace: a.trace,
		SFTP: location.SFTPOptions{
			Identities: filesOf("VAULT_SFTP_IDENTITY"),
			KnownHosts: filesOf("VAULT_SFTP_KNOWN_HOSTS"),
		},
		S3: location.S3Options{Region: r.s3Region, Style: r.s3Style, StorageClass: r.s3StorageClass, CACert: os.Getenv("AWS_CA_BUNDLE"),
			ObjectLock: cmp.Or(r.s3ObjectLock, os.Getenv(objectLockVariable)), Credentials: r.s3Credentials, Profile: r.s3Profile},
	}
	if r.unlocked {
		o.S3.ObjectLock = ""
	}
	if r.identities != nil {
		o.SFTP.Identities = r.identities
	}
	if r.knownHosts != nil {
		o.SFTP.KnownHosts = r.knownHosts
	}
	if r.sftpCommand != "" {
		if strings.TrimSpace(r.sftpCommand) == "" {
			return o, usagef("--sftp-command: the command is empty")
		}
		o.SFTP.Command = []string{"/bin/sh", "-c", r.sftpCommand}
		if runtime.GOOS == "windows" {
			o.SFTP.Command = []string{"cmd", "/C", r.sftpCommand}
		}
	}
	if err := o.Check(); err != nil {
		return o, usage(err)
	}
	return o, nil
}

// filesOf returns the files that a variable lists as PATH does. It is nil, and
// not merely empty, if the variable lists none: what ~/.ssh says counts then.
func filesOf(variable string) []string {
	if v := os.Getenv(variable); v != "" {
		return filepath.SplitList(v)
	}
	return nil
}

// storage opens the storage of a place.
func (a *app) storage(ctx context.Context, p place) (backend.Backend, error) {
	o, err := a.storageOptions()
	if err != nil {
		return nil, err
	}
	o.Warn = func(message string) { a.ui.warn(p.loc.String(), errors.New(message)) }
	if tty, ok := controlling(); ok {
		tty.Close()
		o.SFTP.Passphrase = a.keyPassphrase
	}
	return p.loc.Open(ctx, o)
}

// keyPassphrase asks for the passphrase of an SSH key, on the terminal itself:
// standard input may be a volume.
func (a *app) keyPassphrase(ctx context.Context, keyFile string) ([]byte, error) {
	tty, ok := controlling()
	if !ok {
		return nil, errors.New("there is no terminal to ask on")
	}
	defer tty.Close()
	a.ui.line.clear()
	return ask(ctx, int(tty.Fd()), "passphrase of the SSH key "+display.Name(keyFile)+": ")
}

// controlling opens the terminal of this process, if it has one.
func controlling() (*os.File, bool) {
	name := "/dev/tty"
	if runtime.GOOS == "windows" {
		name = "CONIN$"
	}
	tty, err := os.OpenFile(name, os.O_RDWR, 0)
	if err != nil {
		return nil, false
	}
	if !term.IsTerminal(int(tty.Fd())) {
		tty.Close()
		return nil, false
	}
	return tty, true
}
