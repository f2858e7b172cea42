package main

import (
	"cmp"
	"context"
	"errors"
	"os"

	"github.com/spf13/pflag"

	"vault/internal/location"
	"vault/repo"
)

// fromFlags say which repository a copy comes from, and how to get into it.
// Everything else about it is as for the repository that commands are about.
type fromFlags struct {
	repo, passwordFile, passwordCommand, sftpCommand string
	s3Endpoint, s3Region, s3Credentials, s3Profile   string
}

func (f *fromFlags) add(flags *pflag.FlagSet) {
	flags.StringVar(&f.repo, "from-repo", "", "`location` of the repository to copy from (VAULT_FROM_REPO, VAULT_FROM_REPO_FILE)")
	flags.StringVar(&f.passwordFile, "from-password-file", "", "`file` that holds its passphrase (VAULT_FROM_PASSWORD_FILE)")
	flags.StringVar(&f.passwordCommand, "from-password-command", "", "shell `command` that prints its passphrase (VAULT_FROM_PASSWORD_COMMAND)")
	flags.StringVar(&f.sftpCommand, "from-sftp-command", "", "like --sftp-command, for the repository to copy from")
	flags.StringVar(&f.s3Endpoint, "from-s3-endpoint", "", "like --s3-endpoint, for the repository to copy from")
	flags.StringVar(&f.s3Region, "from-s3-region", "", "like --s3-region, for the repository to copy from")
	flags.StringVar(&f.s3Credentials, "from-s3-credentials-file", "", "`file` of its access keys, in the form of ~/.aws/credentials (VAULT_FROM_S3_CREDENTIALS_FILE)")
	flags.StringVar(&f.s3Profile, "from-s3-profile", "", "`section` of that file, or of ~/.aws/credentials (VAULT_FROM_S3_PROFILE)")
}

// given reports whether a flag says something.
func (f *fromFlags) given() bool { return *f != fromFlags{} }

// variable returns the name of an environment variable: VAULT_NAME, or the one
// about the repository to copy from.
func (a *app) variable(name string) string {
	if a.from {
		return "VAULT_FROM_" + name
	}
	return "VAULT_" + name
}

// flag returns the name of a flag, likewise.
func (a *app) flag(name string) string {
	if a.from {
		return "--from-" + name
	}
	return "--" + name
}

// openSource opens the repository to copy from.
func (a *app) openSource(ctx context.Context, f fromFlags) (*repo.Repo, error) {
	s := *a
	s.from, s.learn = true, nil
	s.repo, s.passwordFile, s.passwordCommand, s.remote.sftpCommand = f.repo, f.passwordFile, f.passwordCommand, f.sftpCommand
	s.remote.s3ObjectLock = "" // nothing is stored there
	s.remote.s3Credentials = cmp.Or(f.s3Credentials, os.Getenv("VAULT_FROM_S3_CREDENTIALS_FILE"))
	s.remote.s3Profile = cmp.Or(f.s3Profile, os.Getenv("VAULT_FROM_S3_PROFILE"))
	s.remote.s3Region = cmp.Or(f.s3Region, s.remote.s3Region)
	text, err := s.locationText()
	if err != nil {
		return nil, err
	}
	if f.s3Endpoint != "" {
		s.remote.s3Endpoint = f.s3Endpoint
	} else if loc, err := location.Parse(text); err == nil && loc.NamesEndpoint() {
		s.remote.s3Endpoint = "" // it is about the other one
	}
	r, err := s.open(ctx, nil)
	var told *failure
	if err == nil || errors.As(err, &told) {
		return r, err
	}
	switch repo.StateOf(err) {
	case repo.Uninitialised:
		return nil, &failure{code: exitUninitialised, err: err, hint: "check the location: there is nothing to copy from"}
	case repo.WrongKey:
		return nil, &failure{code: exitWrongKey, err: err, hint: "check the passphrase: VAULT_FROM_PASSWORD, --from-password-file or --from-password-command"}
	}
	return nil, err
}
