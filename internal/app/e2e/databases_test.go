//go:build linux

package e2e

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/minio/minio-go/v7"

	"vault/backend/s3/s3test"
	"vault/internal/app/apptest"
)

// databasesYAML is an application that keeps its data everywhere. What is in braces is
// that of a host.
const databasesYAML = `version: 1
repositories:
  main: {url: "{repo}", password-file: {key}, init: if-empty}
apps:
  shop:
    to: main
    keep: {last: 3}
    hooks:
      before: [[witness, before]]
    volumes:
      roles: {postgres: {globals: true, host: "{pg-socket}", port: {pg-port}, user: keeper}}
      orders:
        postgres: {database: orders, host: 127.0.0.1, port: {pg-port}, user: clerk, password-env: CLERK_PASSWORD}
        restore: {database: "{orders}"}
      archive:
        postgres: {database: "the archive's", host: "{pg-socket}", port: {pg-port}, user: keeper, format: custom}
      blog:
        mysql: {database: blog, socket: "{mysql}", user: author, password-file: {author}}
        restore: {database: {blog}}
      empty:
        mysql: {database: empty, socket: "{mysql}", user: author, password-file: {author}}
      sessions: {redis: {pattern: "session:*", address: "{redis}", database: 3, password-command: [cat, {redis-password}]}}
      counter: {redis: {key: "counter", address: "{redis}", password-command: [cat, {redis-password}]}}
      notes: {sqlite: {path: {notes}}}
      pictures: {s3: {url: "s3://{bucket}/pictures", endpoint: "{s3}", region: us-east-1, style: path, access-key-file: {s3-key}, secret-key-file: {s3-secret}}}
      said: {command: [sh, -c, "env; echo the end"], expect-tail: the end, restore: {to: {said}}}
    restore:
      clean: true
      before: [[witness, restore]]
      enter: [witness, enter]
      leave: [witness, leave]
`

// secrets are what nobody else is to see: neither among the arguments of any program
// nor in the environment of one that is not to use it.
const clerkPassword, authorPassword = "clerk-secret", `author's "secret" \ # %`

// servers are the places where the application of a host has its data.
type servers struct {
	*host
	pg    *apptest.PostgresServer
	mysql *apptest.MariaDBServer
	redis *apptest.RedisServer
	s3    *s3test.Server

	bucket, orders, blog string
}

// newServers makes a host. It restores the databases under the names that are given.
func newServers(t *testing.T, repo, bucket, orders, blog string, pg *apptest.PostgresServer, my *apptest.MariaDBServer, redis *apptest.RedisServer, s3 *s3test.Server) *servers {
	s := &servers{host: newHost(t), pg: pg, mysql: my, redis: redis, s3: s3, bucket: bucket, orders: orders, blog: blog}
	s.program("witness", "env >>env; [ ! -e fails ] || [ \"$1\" = leave ]\n")
	s.write("author", authorPassword+"\n")
	s.write("redis-password", redis.Password+"\n")
	s.write("s3-key", s3test.AccessKey)
	s.write("s3-secret", s3test.SecretKey)
	// Who has a file of options of his own does not want vault to ask with it.
	s.write("home/.my.cnf", "[client]\nuser=somebody\npassword=wrong\n[mariadb-dump]\npassword=wrong\n")
	s.env = append(s.env, "CLERK_PASSWORD="+clerkPassword, "VAULT_PASSWORD=vault-secret")
	s3.MakeBucket(t, bucket, minio.MakeBucketOptions{})
	my.SQL(t, "", "CREATE USER author IDENTIFIED BY '"+strings.NewReplacer(`\`, `\\`, `'`, `\'`).Replace(authorPassword)+"'; GRANT ALL ON *.* TO author")

	s.config = databasesYAML
	s.reconfigure("{repo}", repo, "{key}", s.path("key"), "{pg-socket}", pg.Socket, "{pg-port}", fmt.Sprint(pg.Port), "{orders}", orders, "{blog}", blog,
		"{mysql}", my.Socket, "{author}", s.path("author"), "{redis}", redis.Socket, "{redis-password}", s.path("redis-password"),
		"{notes}", s.path("notes.db"), "{bucket}", bucket, "{s3}", s3.Endpoint(), "{s3-key}", s.path("s3-key"), "{s3-secret}", s.path("s3-secret"), "{said}", s.path("said"))
	return s
}

// fill writes what the application has.
func (s *servers) fill() {
	t := s.t
	s.pg.SQL(t, "postgres", "CREATE ROLE clerk LOGIN CREATEDB PASSWORD '"+clerkPassword+"'")
	s.pg.SQL(t, "postgres", "CREATE DATABASE orders OWNER clerk TEMPLATE template0 ENCODING 'UTF8'")
	s.pg.SQL(t, "postgres", `CREATE DATABASE "the archive's" TEMPLATE template0 ENCODING 'SQL_ASCII' LC_COLLATE 'C' LC_CTYPE 'C'`)
	s.pg.SQL(t, "orders", `CREATE EXTENSION pg_trgm; SET ROLE clerk;
		CREATE TABLE orders (id serial PRIMARY KEY, who text NOT NULL, at timestamptz);
		INSERT INTO orders (who, at) SELECT 'Käufer ' || i, '2024-01-01'::timestamptz + i * interval '1 minute' FROM generate_series(1, 500) i;
		CREATE INDEX ON orders USING gin (who gin_trgm_ops); SELECT lo_from_bytea(77, 'a large object');`)
	s.pg.SQL(t, s.archive(), "CREATE TABLE \"caf\xe9\" (v text); INSERT INTO \"caf\xe9\" VALUES ('na\xefve \xff'), ('a|b')")
	s.mysql.SQL(t, "", "CREATE DATABASE blog CHARACTER SET latin1 COLLATE latin1_german1_ci; CREATE DATABASE empty")
	s.mysql.SQL(t, "blog", `CREATE TABLE posts (id int AUTO_INCREMENT PRIMARY KEY, title varchar(80) CHARACTER SET utf8mb4, raw blob);
		INSERT INTO posts (title, raw) SELECT CONCAT('Beitrag ü ', seq), UNHEX(MD5(seq)) FROM seq_1_to_500;
		CREATE VIEW recent AS SELECT * FROM posts WHERE id > 490; CREATE FUNCTION answer() RETURNS int DETERMINISTIC RETURN 42;`)
	for i := range 20 {
		s.cli(3, "HSET", fmt.Sprintf("session:%d:\xff/", i), "user", fmt.Sprint(i), "raw", "\x01\xfe")
	}
	s.cli(3, "PEXPIREAT", "session:1:\xff/", "33333333333333")
	s.cli(3, "SET", "other", "stays")
	s.cli(0, "INCRBY", "counter", "41")
	s.sqlite("PRAGMA journal_mode=wal; CREATE TABLE notes (text TEXT); INSERT INTO notes VALUES ('eins'), (x'00ff');")
	for _, key := range []string{"pictures/a.png", "pictures/deep/b", "pictures/deep//odd", "elsewhere"} {
		s.put(key, "object "+key)
	}
}

// archive is a database whose name needs quoting.
func (s *servers) archive() string { return `dbname='the archive\'s'` }

// cli asks Redis. An answer is told byte by byte.
func (s *servers) cli(database int, args ...string) string {
	s.t.Helper()
	apptest.Need(s.t, "redis-cli", "redis-tools")
	out, err := exec.Command("redis-cli", append([]string{"--no-raw", "-s", s.redis.Socket, "-a", s.redis.Password, "--no-auth-warning", "-n", fmt.Sprint(database)}, args...)...).Output()
	if err != nil || bytes.HasPrefix(out, []byte("(error)")) {
		s.t.Fatalf("redis-cli %q: %v %s", args, err, out)
	}
	return string(out)
}

func (s *servers) sqlite(statements string) string {
	s.t.Helper()
	out, err := exec.Command(apptest.Need(s.t, "sqlite3", "sqlite3"), "-batch", "-bail", "-init", "/dev/null", s.path("notes.db"), statements).CombinedOutput()
	if err != nil {
		s.t.Fatalf("sqlite3 %s: %v: %s", statements, err, out)
	}
	return string(out)
}

func (s *servers) put(key, text string) {
	s.t.Helper()
	_, err := s.s3.Client(s.t).PutObject(context.Background(), s.bucket, key, strings.NewReader(text), int64(len(text)),
		minio.PutObjectOptions{ContentType: "text/x-note", UserMetadata: map[string]string{"Colour": "green"}})
	s.must(err)
}

// objects returns the contents of the bucket.
func (s *servers) objects() string {
	s.t.Helper()
	c := s.s3.Client(s.t)
	var all []string
	for o := range c.ListObjects(context.Background(), s.bucket, minio.ListObjectsOptions{Recursive: true}) {
		s.must(o.Err)
		in, err := c.GetObject(context.Background(), s.bucket, o.Key, minio.GetObjectOptions{})
		s.must(err)
		text, err := io.ReadAll(in)
		s.must(err)
		st, err := in.Stat()
		s.must(err)
		all = append(all, fmt.Sprintf("%s %q %s %v", o.Key, text, st.ContentType, st.UserMetadata))
	}
	return strings.Join(all, "\n")
}

// state is everything that a restore must bring back, as the servers tell it.
func (s *servers) state() map[string]string {
	t := s.t
	t.Helper()
	var sessions []string
	for i := range 20 {
		key := fmt.Sprintf("session:%d:\xff/", i)
		sessions = append(sessions, s.cli(3, "HGETALL", key), s.cli(3, "PEXPIRETIME", key))
	}
	return map[string]string{
		"orders": s.pg.SQL(t, s.orders, `SELECT count(*), sum(id), min(at), max(who) FROM orders; SELECT extname FROM pg_extension ORDER BY 1;
			SELECT convert_from(lo_get(77), 'UTF8'); SELECT tableowner FROM pg_tables WHERE tablename = 'orders'; SELECT count(*) FROM orders WHERE who LIKE '%er 77%';`),
		"archive": s.pg.SQL(t, s.archive(), "SELECT * FROM \"caf\xe9\" ORDER BY v") + s.pg.SQL(t, "postgres", "SELECT pg_encoding_to_char(encoding) FROM pg_database WHERE datname LIKE 'the archive%'"),
		"blog":    s.mysql.SQL(t, s.blog, "SELECT COUNT(*), SUM(id), MAX(title), SUM(CRC32(raw)) FROM posts; SELECT COUNT(*) FROM recent; SELECT answer()"),
		"empty":   s.mysql.SQL(t, "empty", "SHOW TABLES"),
		"keys":    s.cli(3, "DBSIZE") + s.cli(3, "GET", "other") + s.cli(0, "GET", "counter") + strings.Join(sessions, ""),
		"notes":   s.sqlite("SELECT quote(text) FROM notes; PRAGMA integrity_check;"),
		"bucket":  s.objects(),
	}
}

// clean removes what a test has left on servers that others use as well.
func (s *servers) clean() {
	for _, db := range []string{"orders", "orders_new", `the archive''s`} {
		s.pg.SQL(s.t, "postgres", `DROP DATABASE IF EXISTS "`+strings.ReplaceAll(db, "''", "'")+`" WITH (FORCE)`)
	}
	s.pg.SQL(s.t, "postgres", "DROP ROLE IF EXISTS clerk")
	s.mysql.SQL(s.t, "", "DROP DATABASE IF EXISTS blog; DROP DATABASE IF EXISTS blog_new; DROP DATABASE IF EXISTS empty; DROP USER author")
	s.cli(3, "FLUSHDB")
	s.cli(0, "DEL", "counter")
}

func TestDatabases(t *testing.T) {
	repo := filepath.Join(t.TempDir(), "repo")
	store := s3test.Start(t, s3test.Options{})
	old := newServers(t, repo, "old", "orders", "blog", apptest.Postgres(t), apptest.MariaDB(t), apptest.Redis(t), store)
	t.Cleanup(old.clean)
	old.fill()
	before := old.state()
	out := old.run(0, "run", "shop")
	for _, v := range []string{"roles", "orders", "archive", "blog", "empty", "sessions", "counter", "notes", "pictures", "said"} {
		old.wantText(out, "volume       "+v+" (required): complete")
	}
	old.wantCalls("witness before")
	old.secrets("env")

	// What is changed and dropped afterwards comes back as it was.
	old.pg.SQL(t, "orders", "DELETE FROM orders WHERE id % 2 = 0; CREATE TABLE later (x int)")
	old.pg.SQL(t, "postgres", `DROP DATABASE "the archive's"`)
	old.mysql.SQL(t, "", "DROP DATABASE empty; UPDATE blog.posts SET title = 'changed'; CREATE TABLE blog.later (x int)")
	old.cli(3, "HSET", "session:2:\xff/", "user", "changed")
	old.cli(3, "DEL", "session:3:\xff/")
	old.cli(3, "SET", "session:later", "x")
	old.cli(0, "INCR", "counter")
	old.sqlite("DELETE FROM notes")
	old.put("pictures/a.png", "changed")
	old.put("pictures/later", "x")
	old.run(0, "restore", "--app", "shop")
	old.same("in place", before)
	if n := old.pg.SQL(t, "orders", "SELECT count(*) FROM pg_tables WHERE tablename = 'later'") + old.mysql.SQL(t, "blog", "SHOW TABLES LIKE 'later'"); n != "0" {
		t.Errorf("tables of later are left: %s", n)
	}
	old.run(0, "run", "shop")

	// On other servers, under other names, at the second try: the application is brought
	// back from rest both times.
	fresh := newServers(t, repo, "fresh", "orders_new", "blog_new", apptest.OtherPostgres(t), apptest.OtherMariaDB(t), apptest.OtherRedis(t), store)
	t.Cleanup(fresh.clean)
	fresh.mysql.SQL(t, "", "CREATE DATABASE blog_new CHARACTER SET latin1 COLLATE latin1_german1_ci")
	fresh.cli(3, "SET", "other", "stays")
	fresh.put("elsewhere", "object elsewhere")
	good := fresh.read("author")
	fresh.write("author", "wrong\n")
	fresh.wantText(fresh.run(1, "restore", "--app", "shop"), "volume blog", "Access denied")
	fresh.wantCalls("witness restore", "witness enter", "witness leave")
	fresh.write("author", good)
	fresh.wantText(fresh.run(0, "restore", "--app", "shop"), "restored before")
	fresh.wantCalls("witness restore", "witness enter", "witness leave")
	fresh.same("elsewhere", before)
	// What is made later gets the character set of the database, not that of the server.
	if got := fresh.mysql.SQL(t, "blog_new", "SELECT @@character_set_database, @@collation_database"); got != "latin1\tlatin1_german1_ci" {
		t.Errorf("the database has %q", got)
	}
	if got := fresh.pg.SQL(t, "postgres", "SELECT pg_get_userbyid(datdba) FROM pg_database WHERE datname = 'orders_new'"); got != "clerk" {
		t.Errorf("the database belongs to %q", got)
	}
	fresh.secrets("env", "said")
	// Nothing that is a secret was stored, but for the passwords of roles as the server
	// keeps them.
	fresh.run(0, fresh.at(repo, "check", "--read-data")...)
}

// same compares what the servers have.
func (s *servers) same(where string, want map[string]string) {
	s.t.Helper()
	got := s.state()
	if maps.Equal(want, got) {
		return
	}
	for name := range want {
		if got[name] != want[name] {
			s.t.Errorf("restored %s, %s is\n%s\nwant\n%s", where, name, got[name], want[name])
		}
	}
}

// secrets looks for passwords in files into which programs have written their
// environment.
func (s *servers) secrets(files ...string) {
	s.t.Helper()
	for _, name := range files {
		env, err := os.ReadFile(s.path(name))
		s.must(err)
		if !bytes.Contains(env, []byte("PATH=")) {
			s.t.Errorf("%s is no environment: %s", name, env)
		}
		for _, secret := range []string{clerkPassword, "vault-secret", authorPassword, s.redis.Password} {
			if bytes.Contains(env, []byte(secret)) {
				s.t.Errorf("the environment in %s has the password %s", name, secret)
			}
		}
	}
}
