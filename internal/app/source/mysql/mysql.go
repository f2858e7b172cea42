//go:build linux

package mysql

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"vault/internal/app/source"
	"vault/snapshot"
	"vault/snapshot/archive"
)

// Server says where a server is and who asks it.
type Server struct {
	Host     string // "" is this machine
	Port     int    // 0 is the usual one
	Socket   string // path of a socket, or ""
	User     string // "" is the name of who runs the program
	Password string
	// TempDir is the place for the private file with the password; "" is the usual one.
	// Behind a Runner.Prefix the variable MYSQL_PWD has it, which the prefix must pass on.
	TempDir string
	Runner  source.Runner
}

// Dump is an archive.Opener of one database.
type Dump struct {
	Server
	Database string
	Options  []string // further arguments of the dump program
}

// The programs, the newer names first.
var (
	dumpPrograms   = []string{"mariadb-dump", "mysqldump"}
	clientPrograms = []string{"mariadb", "mysql"}
)

// Expect returns what a dump must look like.
func (d Dump) Expect() source.Expect { return source.Expect{Tail: source.TailMySQL} }

// Describe implements archive.Source.
func (d Dump) Describe() (snapshot.VolumeKind, string) {
	return snapshot.VolumeCommand, "mariadb-dump " + d.Database
}

// Open implements archive.Opener: it starts the dump program.
func (d Dump) Open(ctx context.Context) (io.ReadCloser, error) {
	if err := d.check(); err != nil {
		return nil, err
	}
	return source.Checked(opener{d}, d.Expect()).Open(ctx)
}

func (d Dump) check() error {
	switch {
	case d.Database == "":
		return errors.New("mariadb-dump: no database given")
	case strings.HasPrefix(d.Database, "-"):
		return fmt.Errorf("mariadb-dump: the database %q would be taken for an option", d.Database)
	}
	return nil
}

type opener struct{ Dump }

func (o opener) Open(ctx context.Context) (io.ReadCloser, error) {
	a, err := o.access()
	if err != nil {
		return nil, err
	}
	args := []string{"--single-transaction", "--routines", "--triggers", "--events", "--hex-blob", "--skip-dump-date"}
	args = append(append(args, o.Options...), o.Database)
	argv, err := a.argv(dumpPrograms, args...)
	if err != nil {
		return nil, errors.Join(err, a.close())
	}
	in, err := archive.Command{Argv: argv, Env: a.run.Environ(), Dir: a.run.WorkDir(), Credential: a.run.As.Credential()}.Open(ctx)
	if err != nil {
		return nil, errors.Join(err, a.close())
	}
	return &stream{in, a}, nil
}

// stream is a dump. The file with the password is there as long as it is.
type stream struct {
	io.ReadCloser
	access *access
}

func (s *stream) Close() error { return errors.Join(s.ReadCloser.Close(), s.access.close()) }

// access is what a program needs to be let in.
type access struct {
	Server
	run     source.Runner
	private *source.Private // nil if there is no file
}

func (s Server) access() (*access, error) {
	a := &access{Server: s, run: s.Runner}
	switch {
	case s.Password == "":
	case len(s.Runner.Prefix) > 0:
		a.run.Env = append(slices.Clone(a.run.Env), "MYSQL_PWD="+s.Password)
	default:
		if err := a.write(); err != nil {
			return nil, err
		}
	}
	return a, nil
}

// write makes the file with the password. A program reads ~/.my.cnf after it, so it
// takes the place of that: what the user's file says comes first, and the password
// cannot be another than the one that was given.
func (a *access) write() (err error) {
	if a.private, err = source.MakePrivate(a.TempDir, a.Runner.As); err != nil {
		return err
	}
	var text string
	if own := filepath.Join(a.home(), ".my.cnf"); filepath.IsAbs(own) && !strings.ContainsAny(own, "\r\n") {
		if st, err := os.Stat(own); err == nil && st.Mode().IsRegular() {
			text = "!include " + own + "\n"
		}
	}
	text += "[client]\npassword=" + quoteOption(a.Password) + "\n"
	if _, err = a.private.File(".my.cnf", []byte(text), a.Runner.As); err != nil {
		return errors.Join(err, a.close())
	}
	a.run.Env = append(slices.Clone(a.run.Env), "HOME="+a.private.Path)
	return nil
}

// home returns where the program would look for ~/.my.cnf.
func (a *access) home() string {
	for _, env := range [][]string{a.run.Environ(), os.Environ()} {
		for _, pair := range slices.Backward(env) {
			if dir, ok := strings.CutPrefix(pair, "HOME="); ok {
				return dir
			}
		}
	}
	return ""
}

func (a *access) close() error {
	if a.private == nil {
		return nil
	}
	return a.private.Remove()
}

// argv returns the arguments of a program with those that say where the server is.
func (a *access) argv(programs []string, args ...string) ([]string, error) {
	var first []string
	for _, o := range [][2]string{{"host", a.Host}, {"socket", a.Socket}, {"user", a.User}} {
		if o[1] != "" {
			first = append(first, "--"+o[0]+"="+o[1])
		}
	}
	if a.Port != 0 {
		first = append(first, "--port="+strconv.Itoa(a.Port))
	}
	if a.Host != "" && a.Socket == "" {
		first = append(first, "--protocol=tcp") // "localhost" would be a socket
	}
	return a.run.Argv(programs, append(first, args...)...)
}

// quoteOption quotes a value for an option file.
func quoteOption(s string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`, "\r", `\r`, "\t", `\t`).Replace(s) + `"`
}

// Preflight checks that the programs are there, and that the server lets one into
// the database.
func (d Dump) Preflight(ctx context.Context) error {
	if err := d.check(); err != nil {
		return err
	}
	if _, err := d.Runner.Argv(dumpPrograms); err != nil {
		return err
	}
	return d.execute(ctx, "SELECT 1", d.Database)
}

// execute runs statements in a database, in none if the name is empty.
func (d Dump) execute(ctx context.Context, statements, database string) error {
	return d.feed(ctx, strings.NewReader(statements), database)
}

// feed has the client execute what it reads.
func (d Dump) feed(ctx context.Context, in io.Reader, database string) error {
	a, err := d.access()
	if err != nil {
		return err
	}
	defer a.close()
	args := []string{"--batch", "--silent"}
	if database != "" {
		args = append(args, "--database="+database)
	}
	argv, err := a.argv(clientPrograms, args...)
	if err != nil {
		return err
	}
	if _, err = a.run.Feed(ctx, in, argv); err != nil {
		return fmt.Errorf("database %q: %w", database, err)
	}
	return nil
}

// RestoreOptions say how a dump is brought back.
type RestoreOptions struct {
	Database string // into which; "" is the one that was dumped
	Recreate bool   // drop the database first and make it anew
}

// Restore reads a dump into a database. What was executed before an error stays.
func (d Dump) Restore(ctx context.Context, in io.Reader, o RestoreOptions) error {
	if o.Database != "" {
		d.Database = o.Database
	}
	if err := d.check(); err != nil {
		return err
	}
	if o.Recreate {
		if slices.Contains(systemDatabases, strings.ToLower(d.Database)) {
			return fmt.Errorf("restore database %q: a database of the server itself is not dropped", d.Database)
		}
		if err := d.execute(ctx, anew(d.Database), ""); err != nil {
			return fmt.Errorf("recreate: %w", err)
		}
	}
	check := source.NewCheck(source.Expect{MinSize: 1})
	if err := d.feed(ctx, io.TeeReader(in, check), d.Database); err != nil {
		return fmt.Errorf("restore: %w", err)
	}
	if err := check.Verdict(); err != nil {
		return fmt.Errorf("restore database %q: the dump is empty: %w", d.Database, err)
	}
	return nil
}

// anew returns the statements that drop a database and make it anew, with the character
// set and collation that it had. They are not in a dump.
func anew(database string) string {
	name := "`" + strings.ReplaceAll(database, "`", "``") + "`"
	text := "X'" + hex.EncodeToString([]byte(database)) + "'" // in whatever mode the server reads strings
	create := "CREATE DATABASE " + name
	return "SET @vault_new = (SELECT CONCAT(' CHARACTER SET ', default_character_set_name, ' COLLATE ', default_collation_name)" +
		" FROM information_schema.schemata WHERE CAST(schema_name AS BINARY) = " + text + ");\n" +
		"SET @vault_new = CONCAT(CONVERT(X'" + hex.EncodeToString([]byte(create)) + "' USING utf8mb4), IFNULL(@vault_new, ''));\n" +
		"DROP DATABASE IF EXISTS " + name + ";\nPREPARE vault_new FROM @vault_new;\nEXECUTE vault_new;\n"
}

var systemDatabases = []string{"mysql", "information_schema", "performance_schema", "sys"}
