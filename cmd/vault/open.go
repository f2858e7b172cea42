package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"

	"vault/backend"
	"vault/internal/display"
	"vault/internal/location"
	"vault/internal/match"
	"vault/internal/pins"
	"vault/repo"
)

// locationText returns what flag and environment say where the repository is, or
// "" if they say nothing.
func (a *app) locationText() (string, error) {
	if a.repo != "" {
		return a.repo, nil
	}
	variable, file := os.Getenv(a.variable("REPO")), os.Getenv(a.variable("REPO_FILE"))
	switch {
	case variable != "" && file != "":
		return "", usagef("%s and %s are both set: which one is meant?", a.variable("REPO"), a.variable("REPO_FILE"))
	case file != "":
		b, err := os.ReadFile(file)
		if err != nil {
			return "", fmt.Errorf("%s: %w", a.variable("REPO_FILE"), err)
		}
		variable = strings.TrimRight(string(b), "\r\n")
	}
	return variable, nil
}

// location returns where the repository is.
func (a *app) location() (location.Location, error) {
	text, err := a.locationText()
	if err != nil {
		return location.Location{}, err
	}
	if text == "" {
		what := "repository"
		if a.from {
			what = "repository to copy from"
		}
		return location.Location{}, &failure{code: exitUsage, err: fmt.Errorf("no %s given", what),
			hint: fmt.Sprintf("use %s, or set %s or %s", a.flag("repo"), a.variable("REPO"), a.variable("REPO_FILE"))}
	}
	return a.parseLocation(text)
}

// stateDir returns the directory of what this client remembers, or "" if the
// environment names none.
func stateDir() string {
	if dir := os.Getenv("VAULT_STATE_DIR"); dir != "" {
		return dir
	}
	if dir := os.Getenv("XDG_STATE_HOME"); filepath.IsAbs(dir) {
		return filepath.Join(dir, "vault")
	}
	if home, err := os.UserHomeDir(); err == nil {
		return filepath.Join(home, ".local", "state", "vault")
	}
	return ""
}

// ballast is what a repository on a disk keeps free for a collection on a full one.
const ballast = 4 << 20

// env is what the engine learns about this process. Copies of objects are kept
// only where asking for them again is slow.
func (a *app) env(p place) repo.Env {
	e := repo.Env{Host: hostName(), PID: os.Getpid(), Agent: agent(), Warn: a.ui.warn,
		CacheDir: a.cache(), CacheObjects: p.loc.Scheme != location.Local}
	if p.loc.Scheme == location.Local || p.loc.Scheme == location.SFTP {
		e.Ballast = ballast
	}
	return e
}

// cache returns the directory of the cache, or "" for none.
func (a *app) cache() string {
	if a.noCache {
		return ""
	}
	for _, dir := range []string{a.cacheDir, os.Getenv("VAULT_CACHE_DIR")} {
		if dir != "" {
			return dir
		}
	}
	if dir, err := os.UserCacheDir(); err == nil {
		return filepath.Join(dir, "vault")
	}
	return ""
}

// checkGlobal refuses global flags that mean nothing.
func (a *app) checkGlobal() error {
	if a.noCache && a.cacheDir != "" {
		return usagef("--no-cache and --cache-dir contradict each other")
	}
	_, err := a.storageOptions()
	return err
}

// limits returns the most bytes a second to and from a remote repository; 0 is
// no limit.
func (a *app) limits() (l struct{ upload, download int64 }, err error) {
	for _, c := range []struct {
		flag, text string
		rate       *int64
	}{{"--limit-upload", a.limitUpload, &l.upload}, {"--limit-download", a.limitDownload, &l.download}} {
		if c.text == "" {
			continue
		}
		if *c.rate, err = match.ParseSize(c.text); err != nil || *c.rate == 0 {
			return l, usagef("%s %q: want bytes a second, as 500K or 1M", c.flag, c.text)
		}
	}
	return l, nil
}

func hostName() string {
	name, err := os.Hostname()
	if err != nil {
		return ""
	}
	return name[:min(len(name), 255)]
}

// agent is the program and its version, as recorded in what it writes.
func agent() string {
	name := "vault " + programVersion()
	return name[:min(len(name), 64)]
}

func programVersion() string {
	if version != "" {
		return version
	}
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" && info.Main.Version != "(devel)" {
		return info.Main.Version
	}
	return "devel"
}

// place is where the repository is, and what this client knows about it.
type place struct {
	loc    location.Location
	memory pins.Memory
	seen   string // the repository seen here before, or ""
}

func (a *app) place() (place, error) {
	loc, err := a.location()
	if err != nil {
		return place{}, err
	}
	p := place{loc: loc, memory: pins.In(stateDir())}
	p.seen, err = p.memory.Recall(loc.String())
	return p, err
}

func (p place) String() string { return display.Name(p.loc.String()) }

// wrap says which repository an error is about.
func (p place) wrap(op string, err error) error { return fmt.Errorf("%s %s: %w", op, p, err) }

// remember records the repository that is there. Failing to is a warning: it
// must not keep a backup from being made.
func (a *app) remember(p place, id string) {
	if p.seen == id {
		return
	}
	if err := p.memory.Remember(p.loc.String(), id); err != nil {
		a.ui.warn(p.loc.String(), err)
	}
}

// missing is the error for a place that is empty though a repository was seen
// there before.
func (p place) missing() error {
	return &failure{
		code: exitUnreachable,
		err:  p.wrap("initialise", fmt.Errorf("this client has seen the repository %s here, and now there is none", p.seen)),
		hint: "is it mounted? If that repository is gone for good: `vault init --again`",
	}
}

// replaced is the error for a place at which another repository was seen before.
func (p place) replaced(id string) error {
	return &failure{
		code: exitUnreachable,
		err:  p.wrap("open", fmt.Errorf("this is the repository %s, but this client has seen %s here", id, p.seen)),
		hint: "is the right disk or directory mounted? If it was replaced on purpose: `vault status --adopt`",
	}
}

// open opens the repository. With init, one is made first where there is none
// and none was seen before.
func (a *app) open(ctx context.Context, init *repo.InitOptions) (*repo.Repo, error) {
	p, err := a.place()
	if err != nil {
		return nil, err
	}
	be, err := a.storage(ctx, p)
	if err != nil {
		return nil, p.wrap("open", err)
	}
	r, err := a.openAt(ctx, p, be)
	if init != nil && repo.StateOf(err) == repo.Uninitialised {
		switch r, err = a.initAt(ctx, p, be, *init); {
		case errors.Is(err, repo.ErrExists): // somebody else was faster
			r, err = a.openAt(ctx, p, be)
		case err == nil:
			a.ui.info("initialised repository %s at %s\n", r.ID(), p)
		}
	}
	if err != nil {
		be.Close()
		return nil, err
	}
	return r, nil
}

// openAt opens what is in a place, and notices when it is not what was there.
func (a *app) openAt(ctx context.Context, p place, be backend.Backend) (*repo.Repo, error) {
	r, err := repo.Open(ctx, be, repo.OpenOptions{
		Passphrase: func() ([]byte, error) { return a.passphrase(ctx, false) },
		Env:        a.env(p),
	})
	if err != nil {
		if repo.StateOf(err) == repo.WrongKey && p.seen != "" {
			if id := repo.Probe(ctx, be).Repo.String(); id != p.seen {
				return nil, p.replaced(id)
			}
		}
		if repo.StateOf(err) == repo.Uninitialised && p.seen != "" {
			return nil, &failure{code: exitUninitialised, err: p.wrap("open", err),
				hint: "is it mounted? This client has seen the repository " + p.seen + " here"}
		}
		return nil, p.wrap("open", err)
	}
	id := r.ID().String()
	if p.seen != "" && p.seen != id {
		return nil, p.replaced(id)
	}
	a.remember(p, id)
	return r, nil
}

// initAt makes a repository, which the caller has seen to be missing.
func (a *app) initAt(ctx context.Context, p place, be backend.Backend, o repo.InitOptions) (*repo.Repo, error) {
	if p.seen != "" {
		return nil, p.missing()
	}
	var err error
	if o.Passphrase, err = a.passphrase(ctx, true); err != nil {
		return nil, p.wrap("initialise", err)
	}
	defer clear(o.Passphrase)
	o.Env = a.env(p)
	r, err := repo.Init(ctx, be, o)
	if err != nil {
		return nil, p.wrap("initialise", err)
	}
	a.remember(p, r.ID().String())
	return r, nil
}

// closing closes what a command opened; an error of it is reported if there is
// no other.
func closing(c io.Closer, err *error) {
	if cerr := c.Close(); *err == nil && cerr != nil {
		*err = fmt.Errorf("close repository: %w", cerr)
	}
}
