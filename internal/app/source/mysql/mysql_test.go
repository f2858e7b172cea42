//go:build linux

package mysql

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"testing/iotest"

	"vault/internal/app/apptest"
	"vault/internal/app/source"
)

func TestMain(m *testing.M) { os.Exit(apptest.Main(m)) }

var databases atomic.Int64

const password = "it's \"a\" \\secret # %"

// place is a database of its own on the real server.
type place struct {
	*apptest.MariaDBServer
	db string
}

func newPlace(t *testing.T) place {
	t.Helper()
	p := place{apptest.MariaDB(t), fmt.Sprintf("db ü-%d", databases.Add(1))}
	name := "`" + strings.ReplaceAll(p.db, "`", "``") + "`"
	p.SQL(t, "", "CREATE DATABASE "+name+"; CREATE USER IF NOT EXISTS keeper IDENTIFIED BY '"+strings.NewReplacer(`\`, `\\`, `'`, `\'`).Replace(password)+"'; GRANT ALL ON *.* TO keeper")
	t.Cleanup(func() { p.SQL(t, "", "DROP DATABASE IF EXISTS "+name) })
	p.SQL(t, p.db, `CREATE TABLE visits (id int PRIMARY KEY, who varchar(40), raw blob, at datetime) ENGINE=InnoDB;
		INSERT INTO visits SELECT seq, CONCAT('Besucher ä ', seq), UNHEX(MD5(seq)), '2024-01-01' + INTERVAL seq MINUTE FROM seq_1_to_3000;
		CREATE VIEW late AS SELECT * FROM visits WHERE id > 2990;
		CREATE TABLE audit (n int);
		CREATE TRIGGER watch AFTER DELETE ON visits FOR EACH ROW INSERT INTO audit VALUES (OLD.id);
		CREATE FUNCTION answer() RETURNS int DETERMINISTIC RETURN 42;
		CREATE EVENT tidy ON SCHEDULE EVERY 1 DAY DO DELETE FROM audit;`)
	return p
}

func (p place) dump() Dump {
	return Dump{Server: Server{Socket: p.Socket, User: "keeper", Password: password}, Database: p.db}
}

// state is what a restore must bring back.
func (p place) state(t *testing.T, db string) string {
	t.Helper()
	return p.SQL(t, db, `SELECT COUNT(*), SUM(id), MAX(at), MAX(who), SUM(CRC32(raw)) FROM visits; SELECT COUNT(*) FROM late; SELECT answer();
		SELECT COUNT(*) FROM information_schema.triggers WHERE trigger_schema = DATABASE();
		SELECT COUNT(*) FROM information_schema.events WHERE event_schema = DATABASE();`)
}

func drain(ctx context.Context, o source.Opener) ([]byte, error) {
	in, err := o.Open(ctx)
	if err != nil {
		return nil, err
	}
	out, err := io.ReadAll(in)
	return out, errors.Join(err, in.Close())
}

func TestRoundTrip(t *testing.T) {
	p := newPlace(t)
	d := p.dump()
	d.TempDir = t.TempDir()
	if err := d.Preflight(t.Context()); err != nil {
		t.Fatal(err)
	}
	before := p.state(t, p.db)
	dump, err := drain(t.Context(), d)
	if err != nil {
		t.Fatal(err)
	}
	if again, err := drain(t.Context(), d); err != nil || !bytes.Equal(again, dump) {
		t.Errorf("two dumps of the same data differ (%v)", err)
	}
	if !strings.HasSuffix(strings.TrimSpace(string(dump)), source.TailMySQL) {
		t.Errorf("the dump ends with %q", dump[len(dump)-100:])
	}
	p.SQL(t, p.db, "DROP VIEW late; DELETE FROM visits WHERE id % 2 = 0; CREATE TABLE later (x int)")
	if err := d.Restore(t.Context(), bytes.NewReader(dump), RestoreOptions{Recreate: true}); err != nil {
		t.Fatal(err)
	}
	if after := p.state(t, p.db); after != before {
		t.Errorf("restored:\n%s\nbefore:\n%s", after, before)
	}
	if n := p.SQL(t, p.db, "SELECT COUNT(*) FROM information_schema.tables WHERE table_schema = DATABASE() AND table_name = 'later'"); n != "0" {
		t.Error("a table of the old database is left")
	}
	p.SQL(t, "", "CREATE DATABASE other")
	defer p.SQL(t, "", "DROP DATABASE other")
	if err := d.Restore(t.Context(), bytes.NewReader(dump), RestoreOptions{Database: "other"}); err != nil {
		t.Fatal(err)
	}
	if got := p.state(t, "other"); got != before {
		t.Errorf("under another name:\n%s", got)
	}
	if left, _ := os.ReadDir(d.TempDir); len(left) != 0 {
		t.Errorf("left in the temporary directory: %v", left)
	}
}

func TestFailures(t *testing.T) {
	p := newPlace(t)
	good := p.dump()
	change := func(f func(d *Dump)) Dump {
		d := good
		f(&d)
		return d
	}
	for name, c := range map[string]struct {
		d    Dump
		want string
	}{
		"server down":       {change(func(d *Dump) { d.Socket += "x" }), "Can't connect"},
		"wrong password":    {change(func(d *Dump) { d.Password = "wrong" }), "Access denied"},
		"no password":       {change(func(d *Dump) { d.Password = "" }), "Access denied"},
		"no such database":  {change(func(d *Dump) { d.Database = "no_such" }), "Unknown database"},
		"no database":       {change(func(d *Dump) { d.Database = "" }), "no database given"},
		"an option":         {change(func(d *Dump) { d.Database = "--all-databases" }), "taken for an option"},
		"no temporary file": {change(func(d *Dump) { d.TempDir = "/nonexistent" }), "no such file"},
	} {
		if err := c.d.Preflight(t.Context()); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: preflight: %v", name, err)
		}
		if out, err := drain(t.Context(), c.d); err == nil {
			t.Errorf("%s: dumped %d bytes", name, len(out))
		}
	}
	for _, db := range []string{"mysql", "SYS"} {
		if err := good.Restore(t.Context(), strings.NewReader("x"), RestoreOptions{Database: db, Recreate: true}); err == nil {
			t.Errorf("%s is dropped", db)
		}
	}
	if err := good.Restore(t.Context(), strings.NewReader(""), RestoreOptions{}); !errors.Is(err, source.ErrTooSmall) {
		t.Errorf("an empty dump: %v", err)
	}
	t.Setenv("PATH", t.TempDir())
	if err := good.Preflight(t.Context()); !errors.Is(err, source.ErrNoProgram) || !strings.Contains(err.Error(), "mariadb-client") {
		t.Errorf("without programs: %v", err)
	}
}

func TestStopsInTheMiddle(t *testing.T) {
	p := newPlace(t)
	d := p.dump()
	full, err := drain(t.Context(), d)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		end  string
		want func(error) bool
	}{
		{"kill -9 $$", func(err error) bool { return err != nil && strings.Contains(err.Error(), "killed by signal 9") }},
		{"exit 0", func(err error) bool { return errors.Is(err, source.ErrNoTail) }},
	} {
		script := filepath.Join(t.TempDir(), "run")
		if err := os.WriteFile(script, []byte("#!/bin/sh\n\"$@\" | head -c 60000\n"+c.end+"\n"), 0o755); err != nil {
			t.Fatal(err)
		}
		d.Runner = source.Runner{Prefix: []string{script}}
		if out, err := drain(t.Context(), d); !c.want(err) || len(out) != 60000 {
			t.Errorf("%s: %d bytes, %v", c.end, len(out), err)
		}
	}
	// What comes after an error of the reader is not executed, nor the half statement
	// before it.
	d = p.dump()
	broken := errors.New("the store is gone")
	in := io.MultiReader(bytes.NewReader(full[:len(full)/2]), iotest.ErrReader(broken))
	if err := d.Restore(t.Context(), in, RestoreOptions{Recreate: true}); !errors.Is(err, broken) {
		t.Errorf("%v", err)
	}
	if n := p.SQL(t, p.db, "SELECT COUNT(*) FROM information_schema.triggers WHERE trigger_schema = DATABASE()"); n != "0" {
		t.Error("the end of the dump was executed")
	}
}

// Nobody sees a password in the list of processes, and the file that has it is
// private.
func TestPasswordIsNoArgument(t *testing.T) {
	dir := t.TempDir()
	fake := "#!/bin/sh\necho \"$@\" >>" + dir + "/args\nf=$HOME/.my.cnf\nstat -c %a \"$f\" >>" + dir + "/modes\ncat \"$f\" >>" + dir + "/seen\n"
	for _, name := range []string{"mariadb", "mariadb-dump"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(fake), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
	d := Dump{Server: Server{Password: "hidden", TempDir: t.TempDir()}, Database: "x"}
	drain(t.Context(), d)
	d.Preflight(t.Context())
	args, _ := os.ReadFile(dir + "/args")
	modes, _ := os.ReadFile(dir + "/modes")
	seen, _ := os.ReadFile(dir + "/seen")
	if bytes.Contains(args, []byte("hidden")) || string(modes) != "600\n600\n" || bytes.Count(seen, []byte(`password="hidden"`)) != 2 {
		t.Errorf("arguments:\n%s\nmodes:\n%s\nseen:\n%s", args, modes, seen)
	}
}

func TestAs(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can become somebody else")
	}
	p := newPlace(t)
	account, err := source.LookupAccount("nobody")
	if err != nil {
		t.Fatal(err)
	}
	d := p.dump()
	if d.TempDir, err = apptest.Dir(); err != nil {
		t.Fatal(err)
	}
	d.Runner.As = account
	if err := d.Preflight(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := drain(t.Context(), d); err != nil {
		t.Error(err)
	}
}

// A file of options of whoever runs the program gives what was not said, and cannot
// take the place of the password that was.
func TestOptionFile(t *testing.T) {
	p := newPlace(t)
	home := t.TempDir()
	t.Setenv("HOME", home)
	text := "[client]\nuser=keeper\npassword=wrong\n[mariadb-dump]\npassword=wrong\nskip-extended-insert\n"
	if err := os.WriteFile(filepath.Join(home, ".my.cnf"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	d := p.dump()
	d.User = ""
	if err := d.Preflight(t.Context()); err != nil {
		t.Fatal(err)
	}
	dump, err := drain(t.Context(), d)
	if err != nil {
		t.Fatal(err)
	}
	if n := bytes.Count(dump, []byte("INSERT INTO `visits`")); n != 3000 {
		t.Errorf("%d statements insert 3000 rows: the file was not read", n)
	}
	d.Password = "" // then the file's counts
	if _, err := drain(t.Context(), d); err == nil || !strings.Contains(err.Error(), "Access denied") {
		t.Errorf("with the password of the file: %v", err)
	}
}

// A database that is made anew has the character set of the old one, and one without
// tables comes back.
func TestRecreateKeeps(t *testing.T) {
	p := newPlace(t)
	const name = "kept ` 'x\\"
	quoted := "`" + strings.ReplaceAll(name, "`", "``") + "`"
	p.SQL(t, "", "CREATE DATABASE "+quoted+" CHARACTER SET latin2 COLLATE latin2_czech_cs")
	t.Cleanup(func() { p.SQL(t, "", "DROP DATABASE IF EXISTS "+quoted) })
	other := strings.ToUpper(quoted) // another one, where names differ by case
	p.SQL(t, "", "CREATE DATABASE IF NOT EXISTS "+other)
	t.Cleanup(func() { p.SQL(t, "", "DROP DATABASE IF EXISTS "+other) })
	p.SQL(t, "", "CREATE DATABASE bare")
	t.Cleanup(func() { p.SQL(t, "", "DROP DATABASE bare") })
	d := p.dump()
	d.Database = "bare"
	dump, err := drain(t.Context(), d)
	if err != nil {
		t.Fatal(err)
	}
	const set = "SELECT @@character_set_database, @@collation_database"
	usual := p.SQL(t, "bare", set)
	for range 2 {
		if err := d.Restore(t.Context(), bytes.NewReader(dump), RestoreOptions{Database: name, Recreate: true}); err != nil {
			t.Fatal(err)
		}
		if got := p.SQL(t, name, set); got != "latin2\tlatin2_czech_cs" {
			t.Errorf("the database has %q", got)
		}
	}
	p.SQL(t, "", "DROP DATABASE "+quoted)
	if err := d.Restore(t.Context(), bytes.NewReader(dump), RestoreOptions{Database: name, Recreate: true}); err != nil {
		t.Fatal(err)
	}
	if got := p.SQL(t, name, set); got != usual {
		t.Errorf("the database has %q, want that of the server, %q", got, usual)
	}
}
