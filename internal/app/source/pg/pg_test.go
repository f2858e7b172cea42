//go:build linux

package pg

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"testing/iotest"
	"time"

	"vault/internal/app/apptest"
	"vault/internal/app/source"
)

func TestMain(m *testing.M) { os.Exit(apptest.Main(m)) }

var databases atomic.Int64

// place is a database of its own on the real server.
type place struct {
	*apptest.PostgresServer
	db string
}

func newPlace(t *testing.T) place {
	t.Helper()
	p := place{apptest.Postgres(t), fmt.Sprintf("db' \"%d", databases.Add(1))}
	p.SQL(t, "postgres", "CREATE DATABASE "+quoteName(p.db))
	t.Cleanup(func() { p.SQL(t, "postgres", "DROP DATABASE IF EXISTS "+quoteName(p.db)+" WITH (FORCE)") })
	p.SQL(t, conninfo(p.db), `CREATE TABLE visits (id int PRIMARY KEY, who text, at timestamptz);
		INSERT INTO visits SELECT i, 'visitor ' || i, '2024-01-01'::timestamptz + i * interval '1 minute' FROM generate_series(1, 3000) i;
		CREATE VIEW late AS SELECT * FROM visits WHERE id > 2990;
		CREATE FUNCTION answer() RETURNS int LANGUAGE sql AS 'SELECT 42';
		CREATE SEQUENCE numbers START 17; SELECT lo_from_bytea(4711, 'large object');`)
	return p
}

func (p place) server() Server { return Server{Host: p.Socket, Port: p.Port, User: p.User} }

func (p place) dump(f Format) Dump {
	return Dump{Server: p.server(), Database: p.db, Format: f, RestrictKey: RestrictKey([]byte("secret"), "app")}
}

// state is what a restore must bring back.
func (p place) state(t *testing.T) string {
	t.Helper()
	return p.SQL(t, conninfo(p.db), `SELECT count(*), sum(id), min(at), max(who) FROM visits; SELECT count(*) FROM late; SELECT answer();
		SELECT nextval('numbers'); SELECT setval('numbers', 17, false); SELECT convert_from(lo_get(4711), 'UTF8');`)
}

func read(t *testing.T, o source.Opener) []byte {
	t.Helper()
	out, err := drain(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// drain reads a source as a backup does: an error of Close counts.
func drain(ctx context.Context, o source.Opener) ([]byte, error) {
	in, err := o.Open(ctx)
	if err != nil {
		return nil, err
	}
	out, err := io.ReadAll(in)
	return out, errors.Join(err, in.Close())
}

func TestRoundTrip(t *testing.T) {
	for name, format := range map[string]Format{"plain": Plain, "custom": Custom} {
		t.Run(name, func(t *testing.T) {
			p := newPlace(t)
			d := p.dump(format)
			if err := d.Preflight(t.Context()); err != nil {
				t.Fatal(err)
			}
			before := p.state(t)
			first := read(t, d)
			if again := read(t, d); format == Plain && !bytes.Equal(first, again) {
				t.Error("two plain dumps of the same data differ")
			}
			p.SQL(t, conninfo(p.db), "DROP VIEW late; DELETE FROM visits WHERE id % 2 = 0; CREATE TABLE later (x int)")
			if err := d.Restore(t.Context(), bytes.NewReader(first), RestoreOptions{Recreate: true}); err != nil {
				t.Fatal(err)
			}
			if after := p.state(t); after != before {
				t.Errorf("restored:\n%s\nbefore:\n%s", after, before)
			}
			if left := p.SQL(t, conninfo(p.db), "SELECT count(*) FROM pg_tables WHERE tablename = 'later'"); left != "0" {
				t.Error("a table of the old database is left")
			}
			// To another name, without recreating, into an empty database.
			other := place{p.PostgresServer, p.db + " copy"}
			p.SQL(t, "postgres", "CREATE DATABASE "+quoteName(other.db))
			defer p.SQL(t, "postgres", "DROP DATABASE "+quoteName(other.db))
			if err := d.Restore(t.Context(), bytes.NewReader(first), RestoreOptions{Database: other.db}); err != nil {
				t.Fatal(err)
			}
			if got := other.state(t); got != before {
				t.Errorf("copy:\n%s", got)
			}
			// A second time there is everything already: an error, and nothing changes.
			if err := d.Restore(t.Context(), bytes.NewReader(first), RestoreOptions{Database: other.db}); err == nil {
				t.Error("restored twice")
			}
			if got := other.state(t); got != before {
				t.Errorf("after a refused restore:\n%s", got)
			}
		})
	}
}

// The marker of a plain dump is found although it is not the last line.
func TestMarkerIsNotLast(t *testing.T) {
	p := newPlace(t)
	d := p.dump(Plain)
	known, err := restricts(t.Context(), d.runner(), "pg_dump")
	if err != nil {
		t.Fatal(err)
	}
	out := string(read(t, d))
	last := strings.TrimSpace(out)[strings.LastIndexByte(strings.TrimSpace(out), '\n')+1:]
	if known && last != `\unrestrict `+d.RestrictKey {
		t.Errorf("the last line is %q", last)
	}
	d.RestrictKey = "" // and so with a random key
	read(t, d)
}

// A dump that stops early restores nothing: the reader's error ends psql before it
// sees an end.
func TestRestoreIsAllOrNothing(t *testing.T) {
	p := newPlace(t)
	broken := errors.New("the store is gone")
	for name, format := range map[string]Format{"plain": Plain, "custom": Custom} {
		d := p.dump(format)
		dump := read(t, d)
		for _, part := range []int{3, 5, 2} {
			in := io.MultiReader(bytes.NewReader(dump[:len(dump)*part/6]), iotest.ErrReader(broken))
			if err := d.Restore(t.Context(), in, RestoreOptions{Recreate: true}); !errors.Is(err, broken) {
				t.Errorf("%s: %v", name, err)
			}
			if n := p.SQL(t, conninfo(p.db), "SELECT count(*) FROM pg_tables WHERE tablename = 'visits'"); n != "0" {
				t.Errorf("%s: part of the dump was restored", name)
			}
			if err := d.Restore(t.Context(), bytes.NewReader(dump), RestoreOptions{}); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
		for what, bad := range map[string]string{"empty": "", "not SQL": "garbage;\n"} {
			if err := d.Restore(t.Context(), strings.NewReader(bad), RestoreOptions{Database: "postgres"}); err == nil {
				t.Errorf("%s is restored", what)
			}
		}
	}
	if err := (p.dump(Plain)).Restore(t.Context(), strings.NewReader("select 1;"), RestoreOptions{Database: "template1", Recreate: true}); err == nil {
		t.Error("template1 is dropped")
	}
}

// TestDyingClient: psql in a container outlives the client that was ended because the
// store died, and sees the end of its input. It does not take that for the dump's.
func TestDyingClient(t *testing.T) {
	p := newPlace(t)
	dir := t.TempDir()
	client := filepath.Join(dir, "client")
	if err := os.WriteFile(client, []byte("#!/bin/sh\nmkfifo "+dir+"/in\nsetsid \"$@\" <"+dir+"/in >/dev/null 2>&1 &\nexec cat >"+dir+"/in\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	d := p.dump(Plain)
	d.Runner.Prefix = []string{client}
	broken := errors.New("the store is gone")
	sessions := func(state string) string {
		return p.SQL(t, "postgres", "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'psql' AND datname = "+quoteText(p.db)+state)
	}
	in := io.MultiReader(strings.NewReader("CREATE TABLE half (i int);\n"+strings.Repeat("SELECT 1;\n", preamble/5)), dying(func() error {
		for sessions(" AND state = 'idle in transaction'") == "0" && t.Context().Err() == nil { // it has made the table
			time.Sleep(10 * time.Millisecond)
		}
		return broken
	}))
	if err := d.Restore(t.Context(), in, RestoreOptions{}); !errors.Is(err, broken) {
		t.Fatal(err)
	}
	for sessions("") != "0" && t.Context().Err() == nil {
		time.Sleep(10 * time.Millisecond)
	}
	if n := p.SQL(t, conninfo(p.db), "SELECT count(*) FROM pg_tables WHERE tablename = 'half'"); n != "0" {
		t.Error("part of the dump was restored")
	}
}

// dying is a reader that ends with an error.
type dying func() error

func (d dying) Read([]byte) (int, error) { return 0, d() }

func TestGlobals(t *testing.T) {
	p := newPlace(t)
	g := Globals{Server: p.server(), RestrictKey: "abc"}
	if err := g.Preflight(t.Context()); err != nil {
		t.Fatal(err)
	}
	p.SQL(t, "postgres", "CREATE ROLE clerk LOGIN PASSWORD 'x' CONNECTION LIMIT 7")
	dump := read(t, g)
	if again := read(t, g); !bytes.Equal(dump, again) {
		t.Error("two dumps differ")
	}
	for _, change := range []string{"DROP ROLE clerk", "ALTER ROLE clerk CONNECTION LIMIT 1"} {
		p.SQL(t, "postgres", change)
		if err := g.Restore(t.Context(), bytes.NewReader(dump)); err != nil {
			t.Fatal(err)
		}
		if limit := p.SQL(t, "postgres", "SELECT rolconnlimit FROM pg_roles WHERE rolname = 'clerk'"); limit != "7" {
			t.Errorf("after %s the limit is %q", change, limit)
		}
	}
	p.SQL(t, "postgres", "DROP ROLE clerk")
	if err := g.Restore(t.Context(), strings.NewReader("CREATE ROLE keeper;\nCREATE NONSENSE;\n")); err == nil || !strings.Contains(err.Error(), "42601") {
		t.Errorf("a syntax error: %v", err)
	}
}

func TestPassword(t *testing.T) {
	p := newPlace(t)
	s := Server{Host: "127.0.0.1", Port: p.Port, User: p.User, Password: p.Password}
	d := Dump{Server: s, Database: p.db}
	if err := d.Preflight(t.Context()); err != nil {
		t.Fatal(err)
	}
	read(t, d)
	file := filepath.Join(t.TempDir(), "pass")
	if err := os.WriteFile(file, []byte("*:*:*:*:"+strings.ReplaceAll(p.Password, ":", `\:`)+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	d.Password, d.PassFile = "", file
	read(t, d)
	for _, wrong := range []string{"wrong", ""} {
		d.PassFile, d.Password = "/dev/null", wrong
		if out, err := drain(t.Context(), d); err == nil {
			t.Errorf("password %q gives %d bytes", wrong, len(out))
		}
		err := d.Preflight(t.Context())
		if err == nil || !strings.Contains(err.Error(), "password") {
			t.Errorf("password %q: %v", wrong, err)
		}
	}
}

// Nobody sees a password in the list of processes.
func TestPasswordIsNoArgument(t *testing.T) {
	dir := t.TempDir()
	script := filepath.Join(dir, "show")
	if err := os.WriteFile(script, []byte("#!/bin/sh\necho \"$@\" >>"+dir+"/args\necho \"$PGPASSWORD\" >>"+dir+"/env\ncase \"$*\" in *server_version_num*) echo 150000 ;; esac\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	d := Dump{Server: Server{Password: "hidden", Runner: source.Runner{Prefix: []string{script}}}, Database: "x"}
	drain(t.Context(), d)
	d.Preflight(t.Context())
	d.Restore(t.Context(), strings.NewReader("x"), RestoreOptions{Recreate: true})
	args, _ := os.ReadFile(dir + "/args")
	env, _ := os.ReadFile(dir + "/env")
	if bytes.Contains(args, []byte("hidden")) || !bytes.Contains(args, []byte("pg_dump")) || bytes.Count(env, []byte("hidden\n")) < 4 {
		t.Errorf("arguments:\n%s\nenvironment:\n%s", args, env)
	}
}

func TestFailures(t *testing.T) {
	p := newPlace(t)
	for name, c := range map[string]struct {
		d    Dump
		want string
	}{
		"server down":  {Dump{Server: Server{Host: t.TempDir()}, Database: "x"}, "is the server running"},
		"no database":  {Dump{Server: p.server(), Database: "no such database"}, `"no such database" does not exist`},
		"nothing said": {Dump{Server: p.server()}, "no database given"},
		"no program":   {Dump{Server: Server{Runner: source.Runner{Prefix: []string{"/nonexistent/podman"}}}, Database: "x"}, "no such file"},
	} {
		if err := c.d.Preflight(t.Context()); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: preflight: %v", name, err)
		}
		if _, err := drain(t.Context(), c.d); err == nil {
			t.Errorf("%s: dumped", name)
		}
	}
	t.Setenv("PATH", t.TempDir())
	err := p.dump(Plain).Preflight(t.Context())
	if !errors.Is(err, source.ErrNoProgram) || !strings.Contains(err.Error(), "postgresql-client") {
		t.Errorf("without programs: %v", err)
	}
}

// killer is a prefix that kills pg_dump in the middle of its output.
func killer(t *testing.T, end string) source.Runner {
	t.Helper()
	script := filepath.Join(t.TempDir(), "run")
	text := "#!/bin/sh\ncase \"$*\" in *--help*) exec \"$@\";; esac\n\"$@\" | head -c 30000\n" + end + "\n"
	if err := os.WriteFile(script, []byte(text), 0o755); err != nil {
		t.Fatal(err)
	}
	return source.Runner{Prefix: []string{script}}
}

func TestStopsInTheMiddle(t *testing.T) {
	p := newPlace(t)
	d := p.dump(Plain)
	d.Runner = killer(t, "kill -9 $$")
	out, err := drain(t.Context(), d)
	if err == nil || !strings.Contains(err.Error(), "killed by signal 9") || len(out) != 30000 {
		t.Errorf("killed after %d bytes: %v", len(out), err)
	}
	d.Runner = killer(t, "exit 0") // says that all is well
	if _, err := drain(t.Context(), d); !errors.Is(err, source.ErrNoTail) {
		t.Errorf("stopped early: %v", err)
	}
	// The connection is cut by the server.
	slow := p.dump(Plain)
	in, err := slow.Open(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 1)
	if _, err := io.ReadFull(in, b); err != nil {
		t.Fatal(err)
	}
	p.SQL(t, "postgres", "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'pg_dump'")
	io.Copy(io.Discard, in)
	in.Close() // whichever was faster: it must end
	ctx, cancel := context.WithCancel(t.Context())
	in, err = d.Open(ctx)
	if err != nil {
		t.Fatal(err)
	}
	cancel()
	io.Copy(io.Discard, in)
	if err := in.Close(); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

// The role "nobody" is let in only if the system's user of that name asks.
func TestAs(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can become somebody else")
	}
	p := newPlace(t)
	p.SQL(t, "postgres", "DO $$ BEGIN CREATE ROLE nobody LOGIN SUPERUSER; EXCEPTION WHEN duplicate_object THEN END $$")
	account, err := source.LookupAccount("nobody")
	if err != nil {
		t.Fatal(err)
	}
	d := p.dump(Plain)
	d.User = "nobody"
	if err := d.Preflight(t.Context()); err == nil {
		t.Error("root is let in as nobody")
	}
	d.Runner.As = account
	if err := d.Preflight(t.Context()); err != nil {
		t.Fatal(err)
	}
	before := p.state(t)
	dump := read(t, d)
	if err := d.Restore(t.Context(), bytes.NewReader(dump), RestoreOptions{Recreate: true, Owner: "keeper"}); err != nil {
		t.Fatal(err)
	}
	if after := p.state(t); after != before {
		t.Errorf("restored:\n%s", after)
	}
	if _, err := source.LookupAccount("no-such-account"); err == nil {
		t.Error("an account that does not exist")
	}
}

// A role that may not read a table fails the dump.
func TestPermission(t *testing.T) {
	p := newPlace(t)
	p.SQL(t, "postgres", "DO $$ BEGIN CREATE ROLE guest LOGIN; EXCEPTION WHEN duplicate_object THEN END $$")
	d := p.dump(Plain)
	d.User = "guest"
	if _, err := drain(t.Context(), d); err == nil || !strings.Contains(err.Error(), "permission denied") {
		t.Errorf("%v", err)
	}
}

func TestOldPgDump(t *testing.T) {
	if _, err := exec.LookPath("sh"); err != nil {
		t.Skip(err)
	}
	script := filepath.Join(t.TempDir(), "old")
	if err := os.WriteFile(script, []byte("#!/bin/sh\ncase \"$*\" in *--help*) echo help;; *restrict-key*) exit 9;; *) echo '"+source.TailPostgres+"';; esac\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	d := Dump{Server: Server{Runner: source.Runner{Prefix: []string{script}}}, Database: "x", RestrictKey: "k"}
	if _, err := drain(t.Context(), d); err != nil {
		t.Errorf("a pg_dump without --restrict-key: %v", err)
	}
}

// A database that is made anew is that of the same owner, encoding and collation, and
// an owner that cannot have it costs nobody the old one.
func TestRecreateKeeps(t *testing.T) {
	p := newPlace(t)
	p.SQL(t, "postgres", "DO $$ BEGIN CREATE ROLE landlord; CREATE ROLE poor LOGIN; EXCEPTION WHEN duplicate_object THEN END $$")
	const properties = "SELECT pg_get_userbyid(datdba), pg_encoding_to_char(encoding), datcollate, datctype, datlocprovider, daticulocale FROM pg_database WHERE datname = "
	for name, how := range map[string]string{
		"latin": "ENCODING 'SQL_ASCII' LC_COLLATE 'C' LC_CTYPE 'C'",
		"icu":   "LOCALE_PROVIDER icu ICU_LOCALE 'de-AT' ENCODING 'UTF8'",
	} {
		p.SQL(t, "postgres", "CREATE DATABASE "+quoteName(p.db+name)+" OWNER landlord TEMPLATE template0 "+how)
		db := place{p.PostgresServer, p.db + name}
		t.Cleanup(func() { p.SQL(t, "postgres", "DROP DATABASE IF EXISTS "+quoteName(db.db)) })
		before := p.SQL(t, "postgres", properties+quoteText(db.db))
		d := db.dump(Plain)
		dump := read(t, d) // of an empty database
		if err := d.Restore(t.Context(), bytes.NewReader(dump), RestoreOptions{Recreate: true}); err != nil {
			t.Fatal(err)
		}
		if after := p.SQL(t, "postgres", properties+quoteText(db.db)); after != before || !strings.HasPrefix(after, "landlord|") {
			t.Errorf("the new database has %q, want %q", after, before)
		}
	}
	d := p.dump(Plain)
	dump := read(t, d)
	before := p.state(t)
	p.SQL(t, "postgres", "ALTER DATABASE "+quoteName(p.db)+" OWNER TO poor")
	for who, c := range map[string]struct{ user, owner, want string }{
		"unknown": {p.User, "nobody' knows", "does not exist"},
		"poor":    {"poor", "", "CREATEDB"},
	} {
		d.User = c.user
		if err := d.Restore(t.Context(), bytes.NewReader(dump), RestoreOptions{Recreate: true, Owner: c.owner}); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", who, err)
		}
		if after := p.state(t); after != before {
			t.Errorf("%s: the old database is\n%s", who, after)
		}
	}
}

// Names and values that are no UTF-8 come back in a database that says nothing about
// its encoding.
func TestBytes(t *testing.T) {
	p := newPlace(t)
	db := place{p.PostgresServer, p.db + " bytes"}
	p.SQL(t, "postgres", "CREATE DATABASE "+quoteName(db.db)+" TEMPLATE template0 ENCODING 'SQL_ASCII' LC_COLLATE 'C' LC_CTYPE 'C'")
	t.Cleanup(func() { p.SQL(t, "postgres", "DROP DATABASE "+quoteName(db.db)) })
	p.SQL(t, conninfo(db.db), "CREATE TABLE \"caf\xe9\" (v text); INSERT INTO \"caf\xe9\" VALUES ('na\xefve \xff')")
	for name, format := range map[string]Format{"plain": Plain, "custom": Custom} {
		d := db.dump(format)
		dump := read(t, d)
		if err := d.Restore(t.Context(), bytes.NewReader(dump), RestoreOptions{Recreate: true}); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if got := p.SQL(t, conninfo(db.db), "SELECT v FROM \"caf\xe9\""); got != "na\xefve \xff" {
			t.Errorf("%s: %q", name, got)
		}
	}
}

// A newer pg_dump switches off time-outs that the server does not know.
func TestDumpOfNewerProgram(t *testing.T) {
	p := newPlace(t)
	d := p.dump(Plain)
	before := p.state(t)
	dump := read(t, d)
	newer := bytes.Replace(dump, []byte("SET statement_timeout = 0;\n"), []byte("SET statement_timeout = 0;\nSET timeless_timeout = 0;\n"), 1)
	if bytes.Equal(newer, dump) {
		t.Fatalf("the dump begins with %q", dump[:500])
	}
	if err := d.Restore(t.Context(), bytes.NewReader(newer), RestoreOptions{Recreate: true}); err != nil {
		t.Fatal(err)
	}
	if after := p.state(t); after != before {
		t.Errorf("restored:\n%s", after)
	}
	for _, text := range []string{"", "x", "SET a_timeout = 0;", "--\nCREATE;\nSET a_timeout = 0;\n", "SET a_timeout = 1;\n", strings.Repeat("-- no end", 9000), strings.Repeat("--\n", 9000) + "SET a_timeout = 0;\n"} {
		got, err := io.ReadAll(forOlder(bufio.NewReaderSize(strings.NewReader(text), 64<<10)))
		if err != nil || string(got) != text {
			t.Errorf("%.40q became %.80q, %v", text, got, err)
		}
	}
}

// A pg_dump that is older than the server is told before anything begins.
func TestOlderProgram(t *testing.T) {
	for own, ok := range map[string]bool{"14.3 (Debian 14.3-1)": false, "9.6.24": false, "15.2": true, "17beta1": true, "": true} {
		script := filepath.Join(t.TempDir(), "run")
		if err := os.WriteFile(script, []byte("#!/bin/sh\ncase \"$*\" in *server_version*) echo 15.14;; *--version*) echo 'pg_dump (PostgreSQL) "+own+"';; esac\n"), 0o755); err != nil {
			t.Fatal(err)
		}
		err := Dump{Server: Server{Runner: source.Runner{Prefix: []string{script}}}, Database: "x"}.Preflight(t.Context())
		if (err == nil) != ok || !ok && !strings.Contains(err.Error(), "postgresql-client-15") {
			t.Errorf("pg_dump %s: %v", own, err)
		}
	}
}
