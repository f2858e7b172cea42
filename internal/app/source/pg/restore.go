//go:build linux

package pg

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strconv"
	"strings"

	"vault/internal/app/source"
)

// RestoreOptions say how a dump is brought back.
type RestoreOptions struct {
	Database string // into which; "" is the one that was dumped
	Recreate bool   // drop the database first, with all its connections, and make it anew
	Owner    string // of a database made anew; "" is who restores
	NoOwner  bool   // leave out who owns what: all belongs to who restores. Custom only
}

// Restore reads a dump, of either format, into a database, in one transaction: it is
// there whole or not at all, though a database that was dropped stays empty then. The
// transaction of a plain dump is not that of psql's --single-transaction, which ends
// with its input: one that runs in a container, or outlives this process, would take
// that for the end of the dump.
func (d Dump) Restore(ctx context.Context, in io.Reader, o RestoreOptions) error {
	database := o.Database
	if database == "" {
		database = d.Database
	}
	if database == "" {
		return errors.New("restore a dump: no database given")
	}
	// Nothing is dropped for a dump that does not even begin.
	r := bufio.NewReaderSize(in, 64<<10)
	head, err := r.Peek(len(customHead))
	if len(head) == 0 {
		if err == nil || err == io.EOF {
			err = errors.New("the dump is empty")
		}
		return fmt.Errorf("restore database %q: %w", database, err)
	}
	custom := bytes.Equal(head, []byte(customHead))
	var dump io.Reader = r
	if !custom {
		dump = io.MultiReader(strings.NewReader("BEGIN;\n"), forOlder(r), strings.NewReader("\nCOMMIT;\n"))
	}
	if o.NoOwner && !custom {
		return fmt.Errorf("restore database %q: owners can be left out of an archive only, this is a plain dump", database)
	}
	if o.Recreate {
		if err := d.recreate(ctx, database, o.Owner, encodingOf(r)); err != nil {
			return err
		}
	}
	program, args := "psql", []string{"-Xq", "-v", "ON_ERROR_STOP=1", "-d", conninfo(database), "-f", "-"}
	if custom {
		program, args = "pg_restore", []string{"--exit-on-error", "--single-transaction", "-d", conninfo(database)}
		if o.NoOwner {
			args = append(args, "--no-owner")
		}
	}
	if _, err := d.feed(ctx, dump, program, args); err != nil {
		return fmt.Errorf("restore database %q: %w", database, err)
	}
	return nil
}

// recreate drops a database and makes it anew, empty.
func (d Dump) recreate(ctx context.Context, database, owner, encoding string) error {
	if database == maintenance || strings.HasPrefix(database, "template") {
		return fmt.Errorf("restore database %q: a database of the server itself is not dropped", database)
	}
	statements, err := d.anew(ctx, database, owner, encoding)
	if err != nil {
		return fmt.Errorf("recreate database %q: %w", database, err)
	}
	for _, statement := range statements {
		if _, err := d.query(ctx, maintenance, statement); err != nil {
			return fmt.Errorf("recreate database %q: %w", database, err)
		}
	}
	return nil
}

// forced is the version from which on a database can be dropped with all its
// connections.
const forced = 130000

// anew returns the statements that make a database anew: with the owner, encoding and
// collation of the one that is dropped, if there is one, else with the encoding of the
// dump. Nothing is dropped for an owner who cannot have it.
func (d Dump) anew(ctx context.Context, database, owner, encoding string) ([]string, error) {
	name := quoteName(database)
	version, err := d.version(ctx)
	if err != nil {
		return nil, err
	}
	drop := []string{"DROP DATABASE IF EXISTS " + name + " WITH (FORCE)"}
	if version < forced {
		drop = []string{"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = " + quoteText(database), "DROP DATABASE IF EXISTS " + name}
	}
	kept, err := d.kept(ctx, database)
	if err != nil {
		return nil, err
	}
	if owner == "" {
		owner = kept.owner
	}
	if kept.clauses == "" {
		if kept.clauses, err = d.encoded(ctx, encoding); err != nil {
			return nil, err
		}
	}
	// What the template of other databases holds by now is not part of this one.
	create := "CREATE DATABASE " + name + " TEMPLATE template0" + kept.clauses
	if owner != "" {
		if err := d.mayOwn(ctx, owner); err != nil {
			return nil, err
		}
		create += " OWNER " + quoteName(owner)
	}
	return append(drop, create), nil
}

// encoding is a line in the beginning of a dump, of either format.
var encoding = regexp.MustCompile(`SET client_encoding = '([A-Za-z0-9_]+)';`)

// encodingOf returns the encoding of a dump, "" if it cannot be told.
func encodingOf(in *bufio.Reader) string {
	head, _ := in.Peek(preamble)
	if m := encoding.FindSubmatch(head); m != nil {
		return string(m[1])
	}
	return ""
}

// encoded returns the clauses that give a new database the encoding of a dump, where
// that is not what it has anyway and goes with every collation or with that of the
// server. Otherwise the server converts.
func (d Dump) encoded(ctx context.Context, encoding string) (string, error) {
	usual, err := d.query(ctx, maintenance, `SELECT pg_encoding_to_char(encoding), datcollate IN ('C', 'POSIX') AND datctype IN ('C', 'POSIX')
		FROM pg_database WHERE datname = 'template0'`)
	if err != nil {
		return "", err
	}
	has, free, _ := strings.Cut(usual, "|")
	if encoding == "" || encoding == has || encoding != "SQL_ASCII" && free != "t" {
		return "", nil
	}
	return " ENCODING " + quoteText(encoding) + " LC_COLLATE 'C' LC_CTYPE 'C'", nil
}

// mayOwn makes sure that a database can be made for an owner, before another is
// dropped for it.
func (d Dump) mayOwn(ctx context.Context, owner string) error {
	row, err := d.query(ctx, maintenance, `SELECT pg_has_role(o.oid, 'MEMBER'), me.rolsuper OR me.rolcreatedb FROM pg_roles o, pg_roles me
		WHERE me.rolname = current_user AND o.rolname = `+quoteText(owner))
	switch {
	case err != nil:
		return err
	case row == "":
		return fmt.Errorf("the role %q, who is to own it, does not exist: create it, or restore the roles of the server (globals) first", owner)
	case row != "t|t":
		return fmt.Errorf("the role that restores may not make databases for %q (CREATEDB, and membership in that role)", owner)
	}
	return nil
}

// version returns the server's: 150014 is 15.14.
func (s Server) version(ctx context.Context) (int, error) {
	text, err := s.query(ctx, maintenance, "SHOW server_version_num")
	if err != nil {
		return 0, err
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		return 0, fmt.Errorf("version of the server: %w", err)
	}
	return n, nil
}

// timeout is a line by which pg_dump switches off a time-out in the beginning of a
// dump. Which there are depends on its version, not on that of the server that was
// dumped: version 17 knows one more.
var timeout = regexp.MustCompile(`^SET ([a-z_]+_timeout) = 0;$`)

// forOlder returns a plain dump in which only time-outs that the server knows are
// switched off: an older one would refuse all of it.
func forOlder(in *bufio.Reader) io.Reader {
	head, _ := in.Peek(preamble)
	var made []byte
	n := 0
	for {
		line, _, whole := bytes.Cut(head[n:], []byte("\n"))
		if !whole || len(line) > 0 && !bytes.HasPrefix(line, []byte("--")) && !bytes.HasPrefix(line, []byte("SET ")) && !bytes.HasPrefix(line, []byte(`\restrict `)) {
			break
		}
		n += len(line) + 1
		if m := timeout.FindSubmatch(line); m != nil {
			line = fmt.Appendf(nil, "SELECT pg_catalog.set_config(name, '0', false) FROM pg_catalog.pg_settings WHERE name = '%s';", m[1])
		}
		made = append(append(made, line...), '\n')
	}
	in.Discard(n)
	return io.MultiReader(bytes.NewReader(made), in)
}

// preamble is how far, in bytes, the settings of a dump are looked for.
const preamble = 4 << 10

// keptProperties are those of a database that is dropped.
type keptProperties struct{ owner, clauses string }

// kept returns the properties of a database that the one in its place gets; none if
// there is none. Columns that a version of the server does not have are null.
func (d Dump) kept(ctx context.Context, database string) (k keptProperties, err error) {
	row, err := d.query(ctx, maintenance, `SELECT json_build_array(pg_get_userbyid(datdba), pg_encoding_to_char(encoding), datcollate, datctype,
		to_json(d)->>'datlocprovider', coalesce(to_json(d)->>'datlocale', to_json(d)->>'daticulocale')) FROM pg_database d WHERE datname = `+quoteText(database))
	if err != nil || row == "" {
		return k, err
	}
	var fields [6]*string
	if err := json.Unmarshal([]byte(row), &fields); err != nil {
		return k, fmt.Errorf("properties of the database: %w", err)
	}
	clause := func(key string, value *string) {
		if value != nil {
			k.clauses += " " + key + " " + quoteText(*value)
		}
	}
	if fields[0] != nil {
		k.owner = *fields[0]
	}
	clause("ENCODING", fields[1])
	clause("LC_COLLATE", fields[2])
	clause("LC_CTYPE", fields[3])
	switch provider := fields[4]; {
	case provider == nil:
	case *provider == "i":
		k.clauses += " LOCALE_PROVIDER icu"
		clause("ICU_LOCALE", fields[5])
	case *provider == "b":
		k.clauses += " LOCALE_PROVIDER builtin"
		clause("BUILTIN_LOCALE", fields[5])
	}
	return k, nil
}

// Restore reads a dump of roles and tablespaces into a server. What is there already
// stays and gets the attributes of the dump. Everything else that fails is an error,
// at the end: what could be restored is.
func (g Globals) Restore(ctx context.Context, in io.Reader) error {
	// Only the codes of errors tell, in every language, what went wrong.
	said, err := g.feed(ctx, in, "psql", []string{"-Xq", "-v", "VERBOSITY=sqlstate", "-d", conninfo(maintenance), "-f", "-"})
	if err != nil {
		return fmt.Errorf("restore roles: %w", err)
	}
	if len(said) >= source.MaxSaid {
		return errors.New("restore roles: the server reported so many errors that some were lost")
	}
	var failed []string
	for line := range strings.Lines(said) {
		line = strings.TrimSpace(line)
		if line != "" && !strings.HasSuffix(line, " "+duplicateObject) {
			failed = append(failed, line)
		}
	}
	if len(failed) > 0 {
		return fmt.Errorf("restore roles: %s (codes of PostgreSQL, appendix A)", strings.Join(failed, "; "))
	}
	return nil
}

// duplicateObject is the code of an error: a role or tablespace exists.
const duplicateObject = "42710"

func (s Server) feed(ctx context.Context, in io.Reader, program string, args []string) (string, error) {
	run := s.runner()
	argv, err := run.Argv([]string{program}, append(s.connection(), args...)...)
	if err != nil {
		return "", err
	}
	return run.Feed(ctx, in, argv)
}

// quoteName quotes an identifier.
func quoteName(name string) string { return `"` + strings.ReplaceAll(name, `"`, `""`) + `"` }

// quoteText quotes a string, in a form that no setting changes.
func quoteText(s string) string {
	return "E'" + strings.NewReplacer(`\`, `\\`, `'`, `\'`).Replace(s) + "'"
}
