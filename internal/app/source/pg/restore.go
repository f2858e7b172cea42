//go:build linux

package pg

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
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
// there whole or not at all, though a database that was dropped stays empty then.
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
	if o.NoOwner && !custom {
		return fmt.Errorf("restore database %q: owners can be left out of an archive only, this is a plain dump", database)
	}
	if o.Recreate {
		if err := d.recreate(ctx, database, o.Owner); err != nil {
			return err
		}
	}
	program, args := "psql", []string{"-Xq", "-v", "ON_ERROR_STOP=1", "--single-transaction", "-d", conninfo(database), "-f", "-"}
	if custom {
		program, args = "pg_restore", []string{"--exit-on-error", "--single-transaction", "-d", conninfo(database)}
		if o.NoOwner {
			args = append(args, "--no-owner")
		}
	}
	if _, err := d.feed(ctx, r, program, args); err != nil {
		return fmt.Errorf("restore database %q: %w", database, err)
	}
	return nil
}

// recreate drops a database and makes it anew, empty.
func (d Dump) recreate(ctx context.Context, database, owner string) error {
	if database == maintenance || strings.HasPrefix(database, "template") {
		return fmt.Errorf("restore database %q: a database of the server itself is not dropped", database)
	}
	name := quoteName(database)
	// What the template of other databases holds by now is not part of this one.
	create := "CREATE DATABASE " + name + " TEMPLATE template0"
	if owner != "" {
		create += " OWNER " + quoteName(owner)
	}
	for _, statement := range []string{"DROP DATABASE IF EXISTS " + name + " WITH (FORCE)", create + d.kept(ctx, database)} {
		if _, err := d.query(ctx, maintenance, statement); err != nil {
			return fmt.Errorf("recreate database %q: %w", database, err)
		}
	}
	return nil
}

// kept returns the clauses that give a new database the encoding and collation of the
// one that is dropped; none if there is none.
func (d Dump) kept(ctx context.Context, database string) string {
	row, err := d.query(ctx, maintenance, "SELECT pg_encoding_to_char(encoding), quote_literal(datcollate), quote_literal(datctype) FROM pg_database WHERE datname = "+quoteText(database))
	fields := strings.Split(row, "|")
	if err != nil || len(fields) != 3 {
		return ""
	}
	return " ENCODING " + quoteText(fields[0]) + " LC_COLLATE " + fields[1] + " LC_CTYPE " + fields[2]
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
