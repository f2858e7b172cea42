package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/pflag"

	"vault/backend"
	"vault/internal/app/config"
	"vault/internal/app/notify"
	apprun "vault/internal/app/run"
	"vault/internal/calendar"
	"vault/internal/display"
	"vault/internal/location"
	"vault/repo"
)

// configFlags say which configuration of applications counts.
type configFlags struct{ file string }

func (f *configFlags) add(flags *pflag.FlagSet) {
	flags.StringVar(&f.file, "config", "", "configuration `file` of applications (VAULT_CONFIG; default ~/.config/vault/vault.yaml, /etc/vault/vault.yaml)")
}

// path returns the configuration file that counts.
func (f *configFlags) path() (string, error) {
	for _, name := range []string{f.file, os.Getenv("VAULT_CONFIG")} {
		if name != "" {
			return name, nil
		}
	}
	var looked []string
	if dir, err := os.UserConfigDir(); err == nil {
		looked = append(looked, filepath.Join(dir, "vault", "vault.yaml"))
	}
	looked = append(looked, "/etc/vault/vault.yaml")
	for _, name := range looked {
		_, err := os.Stat(name)
		if err == nil {
			return name, nil
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return "", fmt.Errorf("configuration: %w", err)
		}
	}
	return "", &failure{code: exitUsage, err: fmt.Errorf("there is no configuration: neither %s", strings.Join(looked, " nor ")),
		hint: "`vault apps example` shows some; --config or VAULT_CONFIG says where another one is"}
}

// ofOne are the flags about one repository. Those of a configuration have keys of the
// same names; --repo is url there.
var ofOne = []string{"repo", "password-file", "password-command", "sftp-command", "s3-endpoint", "s3-region", "s3-style", "s3-storage-class", "s3-object-lock"}

// refuse refuses flags that would not count, with the advice on what counts instead.
func (a *app) refuse(flags []string, advice func(flag string) string) error {
	for _, name := range flags {
		if a.flags != nil && a.flags.Changed(name) {
			return &failure{code: exitUsage, err: fmt.Errorf("--%s does not count here", name), hint: advice(name)}
		}
	}
	return nil
}

// load reads the configuration. Mistakes in it are all told; the error says no more.
// Flags about one repository are refused: which of those that it has would be meant?
func (f *configFlags) load(a *app) (*config.Config, error) {
	path, err := f.path()
	if err != nil {
		return nil, err
	}
	if err := a.refuse(ofOne, func(flag string) string {
		if flag == "repo" {
			return fmt.Sprintf("which repositories there are says %s, under repositories", display.Name(path))
		}
		return fmt.Sprintf("write %s at the repository that is meant, in %s under repositories", flag, display.Name(path))
	}); err != nil {
		return nil, err
	}
	c, err := config.Load(path, config.Options{CheckSchedule: checkSchedule, CheckTemplate: notify.CheckTemplate})
	var list config.Errors
	switch {
	case errors.As(err, &list):
		for _, p := range list {
			a.ui.mistake(p)
		}
		return nil, &failure{code: exitUsage, err: fmt.Errorf("%s: %s in the configuration", display.Name(path), display.Count(uint64(len(list)), "mistake")),
			hint: "the lines above say where and what"}
	case err != nil:
		return nil, &failure{code: exitUsage, err: err, hint: "`vault apps example` shows configurations"}
	}
	return c, nil
}

// checkSchedule says what is wrong with a schedule.
func checkSchedule(expression string) error {
	_, err := calendar.Parse(expression)
	return err
}

// mistake tells of a mistake in a configuration.
func (u *ui) mistake(p config.Problem) {
	if u.json {
		u.errorMessage(configMessage{Type: "config_error", File: p.File, Line: p.Line, Column: p.Column, Path: p.Path, Message: p.Message, Hint: p.Hint})
		return
	}
	u.complain("%s", display.Line(p.Error()))
	if p.Hint != "" {
		u.complain("  hint: %s", display.Line(p.Hint))
	}
}

// chosen returns the applications that are meant: those named, or all.
func chosen(c *config.Config, args []string) ([]string, error) {
	var known []string
	for name := range c.Apps {
		known = append(known, name)
	}
	slices.Sort(known)
	if len(args) == 0 {
		return known, nil
	}
	for _, name := range args {
		if c.Apps[name] == nil {
			return nil, &failure{code: exitUsage, err: fmt.Errorf("there is no application %s in %s", display.Name(name), display.Name(c.File)),
				hint: "it has: " + strings.Join(known, ", ")}
		}
	}
	return slices.Compact(slices.Clone(args)), nil
}

// at returns this program as it would be for a repository of the configuration.
func (a *app) at(c *config.Config, d config.Destination) (*app, error) {
	r := c.Repositories[d.Repo]
	if r == nil {
		return nil, fmt.Errorf("there is no repository %q in %s", d.Repo, c.File)
	}
	b := *a
	b.repo = r.URL
	if d.Path != "" {
		b.repo = strings.TrimRight(r.URL, "/") + "/" + d.Path
	}
	b.passwordFile, b.passwordCommand, b.passwordEnv = r.PasswordFile, "", r.PasswordEnv
	if r.PasswordCommand != nil {
		b.passwordCommand = r.PasswordCommand.String()
	}
	b.remote = remoteFlags{s3Endpoint: r.S3Endpoint, s3Region: r.S3Region, s3Style: r.S3Style, s3StorageClass: r.S3StorageClass, s3ObjectLock: r.S3ObjectLock,
		identities: r.SFTPIdentity, knownHosts: r.SFTPKnownHosts, s3Credentials: r.S3Credentials, s3Profile: r.S3Profile}
	if r.SFTPCommand != nil {
		b.remote.sftpCommand = r.SFTPCommand.String()
	}
	if b.limitUpload == "" && r.LimitUpload > 0 {
		b.limitUpload = r.LimitUpload.String()
	}
	if b.limitDownload == "" && r.LimitDownload > 0 {
		b.limitDownload = r.LimitDownload.String()
	}
	return &b, nil
}

// openDestination opens the repository of a destination. With init one is made where
// none is, if the configuration allows it; for one of its own, the directories in
// which it lies as well.
func (a *app) openDestination(ctx context.Context, c *config.Config, d config.Destination, init bool) (*repo.Repo, error) {
	b, err := a.at(c, d)
	if err != nil {
		return nil, err
	}
	var o *repo.InitOptions
	if init && c.Repositories[d.Repo].Init == config.InitIfEmpty {
		o = &repo.InitOptions{Params: repo.DefaultParams()}
		p, err := b.place()
		if err != nil {
			return nil, err
		}
		if p.seen == "" && strings.Contains(d.Path, "/") {
			be, err := a.storageOf(ctx, c, d.Repo)
			if err != nil {
				return nil, err
			}
			defer be.Close()
			if err := apprun.MakeParents(ctx, be, d); err != nil {
				return nil, err
			}
		}
	}
	return b.open(ctx, o)
}

// storeAt tells of the storage of a destination, as prunes and locks need it.
func (a *app) storeAt(c *config.Config, d config.Destination) (s apprun.Store, err error) {
	b, err := a.at(c, d)
	if err != nil {
		return s, err
	}
	loc, err := b.location()
	if err != nil {
		return s, err
	}
	s.Remote = loc.Scheme != location.Local
	if loc.Scheme != location.S3 {
		return s, nil
	}
	o, err := b.storageOptions()
	if err != nil {
		return s, err
	}
	lock, err := location.ParseObjectLock(o.S3.ObjectLock)
	s.Lock, s.LockFor = o.S3.ObjectLock, lock.For
	return s, err
}

// storageOf opens the storage of a repository of the configuration, for what lies beside
// repositories: no restore needs that, and it is replaced and deleted. So nothing is locked.
func (a *app) storageOf(ctx context.Context, c *config.Config, name string) (backend.Backend, error) {
	b, err := a.at(c, config.Destination{Repo: name})
	if err != nil {
		return nil, err
	}
	b.remote.unlocked = true
	p, err := b.place()
	if err != nil {
		return nil, err
	}
	return b.storage(ctx, p)
}
