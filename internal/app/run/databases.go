//go:build linux

package run

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"slices"
	"strings"

	"vault/backend/s3"
	"vault/internal/app/config"
	appsource "vault/internal/app/source"
	"vault/internal/app/source/bucket"
	"vault/internal/app/source/mysql"
	"vault/internal/app/source/pg"
	"vault/internal/app/source/redis"
	"vault/internal/app/source/sqlite"
	"vault/snapshot"
)

// maxSecret bounds a password, in bytes.
const maxSecret = 4096

// secret returns the password that the configuration says where to find; "" for none.
func (k *sourcer) secret(ctx context.Context, p config.Password) (string, error) {
	var b []byte
	var err error
	switch {
	case p.PasswordFile != "":
		b, err = readSecret(p.PasswordFile)
	case p.PasswordEnv != "":
		text, ok := os.LookupEnv(p.PasswordEnv)
		if !ok {
			return "", fmt.Errorf("password: the environment has no %s", p.PasswordEnv)
		}
		return text, nil
	case p.PasswordCommand != nil:
		b, err = k.x.output(ctx, "password", p.PasswordCommand, maxSecret+2)
	}
	if err != nil {
		return "", fmt.Errorf("password: %w", err)
	}
	text := strings.TrimSuffix(strings.TrimSuffix(string(b), "\n"), "\r")
	if len(text) > maxSecret {
		return "", fmt.Errorf("password: it has more than %d bytes", maxSecret)
	}
	return text, nil
}

func readSecret(name string) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, maxSecret+3))
}

// runner returns how the programs of a database are run.
func (k *sourcer) runner(e *config.Exec) (r appsource.Runner, err error) {
	r.Env = append(k.x.blank(), k.app.Environment.List()...)
	if e == nil {
		return r, nil
	}
	r.Prefix = e.Prefix
	if e.User != "" {
		r.As, err = appsource.LookupAccount(e.User)
	}
	return r, err
}

// back returns how a volume is brought back; never nil.
func back(v *config.Volume) *config.VolumeBack {
	if v.Restore == nil {
		return &config.VolumeBack{}
	}
	return v.Restore
}

// keepsXattr tells which extended attributes of a volume come back: of one that the
// configuration does not know, nil, all.
func keepsXattr(v *config.Volume) func(name string) bool {
	var skip config.Strings
	if v != nil {
		skip = back(v).SkipAttr
	}
	return func(name string) bool {
		return !slices.ContainsFunc(skip, func(pattern string) bool { ok, _ := path.Match(pattern, name); return ok })
	}
}

func (k *sourcer) postgres(ctx context.Context, s *source) error {
	c, how := s.Postgres, back(s.Volume)
	password, err := k.secret(ctx, c.Password)
	if err != nil {
		return err
	}
	run, err := k.runner(c.Exec)
	if err != nil {
		return err
	}
	s.stream = true
	server := pg.Server{Host: c.Host, Port: c.Port, User: c.User, Password: password, Runner: run}
	if c.Globals {
		g := pg.Globals{Server: server, RestrictKey: k.key, Options: c.Options}
		s.volume.Source, s.preflight = checked(s.Volume, g), g.Preflight
		s.feed = func(ctx context.Context, in io.Reader, _ bool) error { return g.Restore(ctx, in) }
		return nil
	}
	d := pg.Dump{Server: server, Database: c.Database, RestrictKey: k.key, Options: c.Options}
	if c.Format == "custom" {
		d.Format = pg.Custom
	}
	s.volume.Source, s.preflight = checked(s.Volume, d), d.Preflight
	s.feed = func(ctx context.Context, in io.Reader, clean bool) error {
		return d.Restore(ctx, in, pg.RestoreOptions{Database: how.Database, Recreate: clean, Owner: how.Owner})
	}
	return nil
}

func (k *sourcer) mysql(ctx context.Context, s *source) error {
	c, how := s.MySQL, back(s.Volume)
	password, err := k.secret(ctx, c.Password)
	if err != nil {
		return err
	}
	run, err := k.runner(c.Exec)
	if err != nil {
		return err
	}
	d := mysql.Dump{Database: c.Database, Options: c.Options,
		Server: mysql.Server{Host: c.Host, Port: c.Port, Socket: c.Socket, User: c.User, Password: password, Runner: run}}
	s.stream = true
	s.volume.Source, s.preflight = checked(s.Volume, d), d.Preflight
	s.feed = func(ctx context.Context, in io.Reader, clean bool) error {
		return d.Restore(ctx, in, mysql.RestoreOptions{Database: how.Database, Recreate: clean})
	}
	return nil
}

func (k *sourcer) redis(ctx context.Context, s *source) error {
	c, how := s.Redis, back(s.Volume)
	password, err := k.secret(ctx, c.Password)
	if err != nil {
		return err
	}
	rename := k.renamed()
	keys := redis.Keys{Server: redis.Server{Address: c.Address, User: c.User, Password: password, Database: c.Database}, Key: c.Key, Pattern: c.Pattern}
	s.volume.Source, s.preflight = keys, keys.Preflight
	s.load = func(ctx context.Context, src snapshot.Source, root *snapshot.Node, clean bool) error {
		_, err := keys.Restore(ctx, src, root, redis.RestoreOptions{Replace: how.Replace || clean, Clean: clean, Rename: rename})
		return err
	}
	return nil
}

func (k *sourcer) sqlite(s *source) error {
	path, root, _ := k.rooted(s.SQLite.Path)
	if root != nil {
		return errors.New("an SQLite database is a file of a root with a path")
	}
	f := sqlite.File{Path: path}
	how := back(s.Volume)
	s.stream = true
	s.volume.Source, s.preflight = checked(s.Volume, f), f.Preflight
	s.feed = func(ctx context.Context, in io.Reader, _ bool) error {
		return f.Restore(ctx, in, sqlite.RestoreOptions{Path: how.To, Force: how.Replace})
	}
	return nil
}

func (k *sourcer) bucket(_ context.Context, s *source) error {
	c := s.S3
	name, prefix, _ := strings.Cut(strings.TrimPrefix(c.URL, "s3://"), "/")
	conf := s3.Config{Endpoint: c.Endpoint, Region: c.Region, Bucket: name, Prefix: strings.Trim(prefix, "/"), Style: s3Styles[c.Style]}
	for _, f := range []struct {
		file string
		to   *string
	}{{c.KeyFile, &conf.Credentials.AccessKey}, {c.SecretFile, &conf.Credentials.SecretKey}} {
		if f.file == "" {
			continue
		}
		b, err := readSecret(f.file)
		if err != nil {
			return fmt.Errorf("credentials: %w", err)
		}
		*f.to = strings.TrimSpace(string(b))
	}
	b := bucket.Bucket{Config: conf}
	s.volume.Source, s.preflight = b, b.Preflight
	s.load = func(ctx context.Context, src snapshot.Source, root *snapshot.Node, clean bool) error {
		_, err := b.Restore(ctx, src, root, bucket.RestoreOptions{Clean: clean})
		return err
	}
	return nil
}

var s3Styles = map[string]s3.Style{"": s3.StyleAuto, "auto": s3.StyleAuto, "path": s3.StylePath, "host": s3.StyleHost}
