//go:build linux

package pg

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"vault/internal/app/source"
	"vault/snapshot"
	"vault/snapshot/archive"
)

// Server says where a server is and who asks it.
type Server struct {
	Host     string // name, address, or directory of the socket; "" is the usual socket
	Port     int    // 0 is the usual one
	User     string // role; "" is the name of who runs the program
	Password string // "" for none, or one of PassFile
	PassFile string // in the form of ~/.pgpass, or ""
	Runner   source.Runner
}

// Format says what a dump looks like.
type Format uint8

const (
	Plain  Format = iota // SQL
	Custom               // an archive for pg_restore, not compressed
)

// Dump is an archive.Opener of one database.
type Dump struct {
	Server
	Database string
	Format   Format
	// RestrictKey makes plain dumps repeatable; letters and digits only. See RestrictKey,
	// the function. It is left out where pg_dump does not know it.
	RestrictKey string
	Options     []string // further arguments of pg_dump
}

// Globals is an archive.Opener of the roles and tablespaces of a whole server.
type Globals struct {
	Server
	RestrictKey string
	Options     []string // further arguments of pg_dumpall
}

// RestrictKey returns the key for the dumps of one application: always the same, and
// not to be guessed by who can write to the database but does not know the secret.
func RestrictKey(secret []byte, application string) string {
	h := hmac.New(sha256.New, secret)
	io.WriteString(h, "vault pg_dump restrict key\x00"+application)
	return hex.EncodeToString(h.Sum(nil))
}

// Expect returns what a dump must look like.
func (d Dump) Expect() source.Expect {
	if d.Format == Custom {
		return source.Expect{Head: customHead}
	}
	return source.Expect{Tail: source.TailPostgres}
}

// Expect returns what a dump must look like.
func (g Globals) Expect() source.Expect { return source.Expect{Tail: source.TailPostgresGlobals} }

// customHead begins an archive of pg_dump -Fc.
const customHead = "PGDMP"

// Describe implements archive.Source.
func (d Dump) Describe() (snapshot.VolumeKind, string) {
	return snapshot.VolumeCommand, "pg_dump " + d.Database
}

// Describe implements archive.Source.
func (g Globals) Describe() (snapshot.VolumeKind, string) {
	return snapshot.VolumeCommand, "pg_dumpall --globals-only"
}

// Open implements archive.Opener: it starts pg_dump.
func (d Dump) Open(ctx context.Context) (io.ReadCloser, error) {
	if d.Database == "" {
		return nil, errors.New("pg_dump: no database given")
	}
	args := []string{"--format=plain"}
	if d.Format == Custom {
		args = []string{"--format=custom", "--compress=0"}
	}
	args = append(args, d.connection()...)
	args = append(append(args, d.Options...), "--dbname="+conninfo(d.Database))
	key := d.RestrictKey
	if d.Format == Custom {
		key = ""
	}
	return source.Checked(d.command("pg_dump", key, args, d.Describe), d.Expect()).Open(ctx)
}

// Open implements archive.Opener: it starts pg_dumpall.
func (g Globals) Open(ctx context.Context) (io.ReadCloser, error) {
	args := append([]string{"--globals-only"}, g.connection()...)
	return source.Checked(g.command("pg_dumpall", g.RestrictKey, append(args, g.Options...), g.Describe), g.Expect()).Open(ctx)
}

// opener starts a dump program when it is opened.
type opener struct {
	Server
	program, key string
	args         []string
	describe     func() (snapshot.VolumeKind, string)
}

func (s Server) command(program, key string, args []string, describe func() (snapshot.VolumeKind, string)) opener {
	return opener{Server: s, program: program, key: key, args: args, describe: describe}
}

func (o opener) Describe() (snapshot.VolumeKind, string) { return o.describe() }

func (o opener) Open(ctx context.Context) (io.ReadCloser, error) {
	run := o.runner()
	args := o.args
	if o.key != "" {
		known, err := restricts(ctx, run, o.program)
		if err != nil {
			return nil, err
		}
		if known {
			args = append([]string{"--restrict-key=" + o.key}, args...)
		}
	}
	argv, err := run.Argv([]string{o.program}, args...)
	if err != nil {
		return nil, err
	}
	return archive.Command{Argv: argv, Env: run.Environ(), Dir: run.WorkDir(), Credential: run.As.Credential()}.Open(ctx)
}

// restricts reports whether a program knows the option --restrict-key. There is no
// version from which on all have it: it came to five branches at once.
func restricts(ctx context.Context, run source.Runner, program string) (bool, error) {
	argv, err := run.Argv([]string{program}, "--help")
	if err != nil {
		return false, err
	}
	help, err := run.Output(ctx, argv)
	if err != nil {
		return false, err
	}
	return strings.Contains(string(help), "--restrict-key"), nil
}

// connection returns the arguments that say where the server is. A password is
// never asked for: there is nobody to answer.
func (s Server) connection() []string {
	args := []string{"--no-password"}
	if s.Host != "" {
		args = append(args, "--host="+s.Host)
	}
	if s.Port != 0 {
		args = append(args, "--port="+strconv.Itoa(s.Port))
	}
	if s.User != "" {
		args = append(args, "--username="+s.User)
	}
	return args
}

// runner returns the Runner with what libpq takes from the environment.
func (s Server) runner() source.Runner {
	r := s.Runner
	r.Env = slices.Clone(r.Env)
	if s.Password != "" {
		r.Env = append(r.Env, "PGPASSWORD="+s.Password)
	}
	if s.PassFile != "" {
		r.Env = append(r.Env, "PGPASSFILE="+s.PassFile)
	}
	return r
}

// conninfo returns a database's name in a form in which no name is taken for a
// connection string (libpq, section "Connection Strings").
func conninfo(database string) string {
	return "dbname='" + strings.NewReplacer(`\`, `\\`, `'`, `\'`).Replace(database) + "'"
}

// Preflight checks that the programs are there and that the server lets one into the
// database.
func (d Dump) Preflight(ctx context.Context) error {
	if d.Database == "" {
		return errors.New("pg_dump: no database given")
	}
	return d.preflight(ctx, "pg_dump", d.Database)
}

// Preflight checks that the programs are there and that the server answers.
func (g Globals) Preflight(ctx context.Context) error {
	return g.preflight(ctx, "pg_dumpall", maintenance)
}

func (s Server) preflight(ctx context.Context, program, database string) error {
	run := s.runner()
	argv, err := run.Argv([]string{program}, append([]string{"--version"}, s.connection()...)...) // Debian's chooses a version by the connection
	if err != nil {
		return err
	}
	server, err := s.query(ctx, database, "SHOW server_version")
	if err != nil {
		return err
	}
	own, err := run.Output(ctx, argv)
	if err != nil {
		return err
	}
	have, known := major(string(own))
	want, says := major(server)
	if known && says && have < want {
		return fmt.Errorf("%s is of version %d, which cannot dump a server of version %d: install postgresql-client-%[3]d, or have exec run the one beside the server", program, have, want)
	}
	return nil
}

// number is a version in what programs and servers say: "pg_dump (PostgreSQL) 15.14".
var number = regexp.MustCompile(`(?:^|\) )(\d+)`)

// major returns the first number of a version. Before 10 there were two, but who has
// these has other worries.
func major(said string) (int, bool) {
	m := number.FindStringSubmatch(said)
	if m == nil {
		return 0, false
	}
	n, err := strconv.Atoi(m[1])
	return n, err == nil
}

// maintenance is the database that every server has.
const maintenance = "postgres"

// query runs one statement and returns what it prints.
func (s Server) query(ctx context.Context, database, statement string) (string, error) {
	run := s.runner()
	argv, err := run.Argv([]string{"psql"}, append(s.connection(), "-XAtq", "-v", "ON_ERROR_STOP=1", "-d", conninfo(database), "-c", statement)...)
	if err != nil {
		return "", err
	}
	out, err := run.Output(ctx, argv)
	if err != nil {
		return "", s.explain(database, err)
	}
	return strings.TrimSuffix(string(out), "\n"), nil
}

// explain adds to an error what may be done about it. The exit status of psql tells a
// lost connection (2) from a failed statement (1).
func (s Server) explain(database string, err error) error {
	var p *source.ProgramError
	if errors.As(err, &p) && p.Status == 2 {
		return fmt.Errorf("database %q: %w (is the server running, and are host, role and password right?)", database, err)
	}
	return fmt.Errorf("database %q: %w", database, err)
}
