//go:build linux

package e2e

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/minio/minio-go/v7"

	"vault/backend/s3/s3test"
	"vault/backend/sftp/sftptest"
	"vault/docs/examples"
	"vault/internal/app/apptest"
)

// What is documented of Nextcloud's occ: maintenance:mode keeps users out, and
// maintenance:data-fingerprint tells clients that a backup was restored. Who is kept
// out are the users of upload and finish: one is at work when the mode is switched on,
// and may finish; another one comes when it is off again.
const phpScript = `env >>seen
tr '\0' ' ' </proc/$PPID/cmdline >>seen
config=www/config/config.php
case "$2 $3" in
"maintenance:mode --on")
	[ ! -e busy ] || ./finish 'the last before' || exit 1
	sed -i "s/'maintenance' => false/'maintenance' => true/" $config ;;
"maintenance:mode --off")
	sed -i "s/'maintenance' => true/'maintenance' => false/" $config
	[ ! -e busy ] || ./finish 'the first after' || exit 1 ;;
"maintenance:data-fingerprint ")
	sed -i "s/'fingerprint' => '[a-z0-9]*'/'fingerprint' => 'new'/" $config ;;
*) echo "occ: $2 is not known" >&2; exit 1 ;;
esac
`

const configPHP = `<?php $CONFIG = ['instanceid' => 'ocx7', 'dbpassword' => 'a database secret', 'maintenance' => false, 'fingerprint' => 'old'];
`

const offsiteKey = "the off-site key, which S1 never sees"

// database is that of a Nextcloud.
type database struct {
	config func(h *host) []string // replacements in the example
	sql    func(statements string) string
	client func(h *host) string // command line that runs statements of its standard input
	create string
}

func onPostgres(t *testing.T, pg *apptest.PostgresServer) database {
	psql := apptest.Need(t, "psql", "postgresql-client")
	t.Cleanup(func() { pg.SQL(t, "postgres", "DROP DATABASE IF EXISTS nextcloud WITH (FORCE)") })
	return database{
		config: func(h *host) []string {
			return []string{"postgres: {database: nextcloud}", fmt.Sprintf("postgres: {database: nextcloud, host: %s, port: %d, user: %s}", pg.Socket, pg.Port, pg.User)}
		},
		sql: func(text string) string { return pg.SQL(t, "nextcloud", text) },
		client: func(h *host) string {
			return fmt.Sprintf("%s -qX -h %s -p %d -U %s nextcloud", psql, pg.Socket, pg.Port, pg.User)
		},
		create: pg.SQL(t, "postgres", "CREATE DATABASE nextcloud"),
	}
}

func onMariaDB(t *testing.T, m *apptest.MariaDBServer) database {
	t.Cleanup(func() { m.SQL(t, "", "DROP DATABASE IF EXISTS nextcloud") })
	return database{
		config: func(h *host) []string {
			return []string{"\n        postgres: {database: nextcloud}", fmt.Sprintf("\n        mysql: {database: nextcloud, socket: %s, user: %s}", m.Socket, m.User),
				`"-- PostgreSQL database dump complete"`, `"-- Dump completed"`}
		},
		sql: func(text string) string { return m.SQL(t, "nextcloud", text) },
		client: func(h *host) string {
			return fmt.Sprintf("mariadb --no-defaults -S %s -u %s nextcloud", m.Socket, m.User)
		},
		create: m.SQL(t, "", "CREATE DATABASE nextcloud"),
	}
}

// nextcloudHost is a host on which Nextcloud is installed; at is the repository.
func nextcloudHost(t *testing.T, db database, at string) *host {
	h := newHost(t)
	h.env = append(h.env, "SSH_AUTH_SOCK=")
	h.program("sudo", "shift 2\nexec \"$@\"\n")
	h.program("php", phpScript)
	h.write("finish", "#!/bin/sh\necho \"insert into oc_filecache values ('$1')\" | "+db.client(h)+" && echo \"$1\" >\"nc/alice.liddell/files/$1\"\n")
	h.must(os.Chmod(h.path("finish"), 0o755))
	h.mkdir("metrics", "www/config", "nc/alice.liddell")
	h.write("www/config/config.php", configPHP)
	h.configure("nextcloud", append(db.config(h), "url: sftp://backup@nas.example/srv/vault", "url: "+at, "/var/lib/node_exporter", h.path("metrics"),
		"/var/www/nextcloud", h.path("www"), "/srv/nc/data", h.path("nc"), "on: [fail, partial, recovered]", "on: [partial]")...) // nobody's mail server is asked
	return h
}

// noise is text that nobody can compress.
func noise(n int) string {
	b := make([]byte, n)
	r := rand.New(rand.NewPCG(1, 2))
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return string(b)
}

// secrets are in what users have; none of it may be readable off-site.
var secrets = []string{"alice.liddell", "the last before", "quarterly figures", "Tax return", "oc_filecache", "a database secret", "instanceid", "config.php"}

// fillNextcloud makes users, and one who is at work.
func fillNextcloud(h *host, db database) {
	h.t.Helper()
	db.sql("create table oc_filecache (name varchar(200)); insert into oc_filecache values ('Tax return.odt')")
	h.write("nc/alice.liddell/files/Tax return.odt", strings.Repeat("quarterly figures\n", 3000))
	h.write("nc/alice.liddell/files/noise", noise(40_000))
	h.write("nc/alice.liddell/cache/thumbnail", "to be left out")
	h.write("www/index.php", "<?php")
	h.write("www/data/stray", "to be left out")
	h.write("busy", "")
}

// rows are what the database knows, and what lies in alice's directory besides noise.
func rows(db database) string { return db.sql("select name from oc_filecache order by name") }

const (
	wantRows = "Tax return.odt\nthe last before" // and not the first after
	occ      = "DIR/www/occ maintenance:"
)

func occCalls(args ...string) (list []string) {
	for _, a := range args {
		list = append(list, "sudo -u www-data php "+occ+a, "php "+occ+a)
	}
	return list
}

// wantRestored checks what came back by what the application knows.
func wantRestored(t *testing.T, fresh *host, db database, saved string) {
	t.Helper()
	fresh.wantCalls(occCalls("data-fingerprint")...)
	if got := rows(db); got != wantRows {
		t.Errorf("the database has:\n%s\nwant:\n%s", got, wantRows)
	}
	if text := fresh.read("www/config/config.php"); !strings.Contains(text, "'fingerprint' => 'new'") || !strings.Contains(text, "'maintenance' => true") {
		t.Errorf("config.php: %s", text) // as it was when it was at rest; the administrator looks, and switches it off
	}
	// The directory itself has changed since: somebody came back to work.
	out, err := exec.Command("rsync", "-aXHnO", "--checksum", "--delete", "--itemize-changes", saved+"/files/", fresh.path("nc/alice.liddell/files")+"/").CombinedOutput()
	if err != nil || len(out) > 0 {
		t.Errorf("the files differ: %v\n%s", err, out)
	}
	if fresh.exists("nc/alice.liddell/cache/thumbnail") || fresh.exists("www/data/stray") {
		t.Error("what was left out is there")
	}
}

// keepSaved makes a copy of what a backup must hold.
func keepSaved(t *testing.T, h *host) string {
	saved := t.TempDir()
	copyTree(t, h.path("nc/alice.liddell/files"), saved+"/files", "the first after")
	return saved
}

// TestNextcloud is 3-2-1 on three hosts: S1 has Nextcloud, S2 is nearby and reached by
// SSH, S3 is a store of objects somewhere else. S2 looks for new backups of S1 and
// copies them to S3 with a key that only S2 has - and somebody's safe.
func TestNextcloud(t *testing.T) {
	nas := sftptest.Start(t, sftptest.Options{UID: 65534})
	far := s3test.Start(t, s3test.Options{Root: t.TempDir()})
	far.MakeBucket(t, "bucket", minio.MakeBucketOptions{})
	repo := nas.Dir + "/data/vault"
	db := onPostgres(t, apptest.Postgres(t))
	at := fmt.Sprintf("sftp://%s@127.0.0.1:%d%s\n    sftp-identity: [%s]\n    sftp-known-hosts: [%s]", nas.User, nas.Port, repo, nas.Client, nas.Known(nas.Port))
	s1 := nextcloudHost(t, db, at)
	fillNextcloud(s1, db)
	s2 := newHost(t)
	s2.write("off.key", offsiteKey+"\n")
	s2.write("s3", "[default]\naws_access_key_id = "+s3test.AccessKey+"\naws_secret_access_key = "+s3test.SecretKey+"\n")
	s2.configure("nextcloud-offsite", "url: /srv/vault", "url: "+repo, "/etc/vault/off.key", s2.path("off.key"), "https://s3.example",
		far.Endpoint()+"\n    s3-region: "+s3test.Region+"\n    s3-credentials-file: "+s2.path("s3"), "after: nextcloud", "after: nextcloud\n    poll: 1s")

	// S1: in and out of maintenance, with everything that can be done before done before.
	out := s1.run(0, "run", "nextcloud", "--json")
	s1.wantCalls(occCalls("mode --on", "mode --off")...)
	if before, enter := strings.Index(out, `"phase":"prewarm"`), strings.Index(out, `"phase":"enter"`); before < 0 || enter < before {
		t.Errorf("nothing was stored before the application was brought to rest:\n%s", out)
	}

	// S2: the loop finds it, later, and copies it.
	offsite := []string{"-r", "s3://bucket/nextcloud", "--s3-endpoint", far.Endpoint(), "--s3-region", s3test.Region, "--password-file", s2.path("off.key")}
	s2.env = append(s2.env, "AWS_ACCESS_KEY_ID="+s3test.AccessKey, "AWS_SECRET_ACCESS_KEY="+s3test.SecretKey)
	loop := s2.start("schedule", "run")
	loop.until(func() bool { return s2.exists("state/apps/nextcloud.json") })
	loop.end(syscall.SIGTERM, 0)
	s2.wantText(s2.run(0, "health"), "copy offsite  fine")
	s2.wantText(s2.run(0, append([]string{"backups"}, offsite...)...), "nextcloud")

	// The process dies in the middle of a copy that takes minutes: the next one makes it
	// whole. It cannot be faster than its limit.
	s1.write("nc/alice.liddell/files/noise", noise(2_000_000))
	s1.must(os.Remove(s1.path("busy")))
	s1.run(0, "run", "nextcloud")
	s1.wantCalls(occCalls("mode --on", "mode --off")...)
	s2.reconfigure("limit-upload: 1M", "limit-upload: 5K")
	dies := s2.start("run", "--copy", "offsite", "--json")
	dies.until(func() bool {
		return strings.Contains(dies.output(), `"message_type":"status"`) || strings.Contains(dies.output(), `"phase":"copy"`)
	})
	dies.end(syscall.SIGKILL, -1)
	count := func() int {
		return strings.Count(s2.run(0, append([]string{"backups", "--json"}, offsite...)...), `"message_type":"backup"`)
	}
	if n := count(); n != 1 {
		t.Errorf("%d backups off-site after a copy that died, want 1", n)
	}
	s2.reconfigure("limit-upload: 5K", "limit-upload: 1M")
	s2.wantText(s2.run(0, "schedule", "do", "copy", "offsite"), "copy offsite of nextcloud: success: 1 backup copied")
	s2.run(0, append([]string{"check", "--read-data"}, offsite...)...)

	// S3's disk has nothing that can be read, no names, no sizes, and S1's key does not fit.
	unreadable(t, far.Root, s1.path("nc"), s1.path("www"))
	offsite[len(offsite)-1] = s1.path("key")
	s2.run(12, append([]string{"backups"}, offsite...)...)
	// S1 has never seen the key: not in a file, not in the environment or the arguments of
	// what ran there, not at the place on S2 that S1 can reach.
	for _, dir := range []string{s1.dir, nas.Dir} {
		if found := holding(t, dir, offsiteKey); len(found) > 0 {
			t.Errorf("the off-site key is in %q", found)
		}
	}
	if seen := s1.read("seen"); !strings.Contains(seen, "VAULT_PHASE=enter") || strings.Contains(seen, "off.key") {
		t.Errorf("hooks have seen:\n%s", seen)
	}

	// S2 is lost: S1 does not even begin. Then S1 is lost as well.
	nas.Kill()
	s1.must(os.RemoveAll(repo))
	s1.wantText(s1.run(14, "run", "nextcloud"), "hint: ")
	s1.wantCalls()
	fresh := onPostgres(t, apptest.OtherPostgres(t))
	new1 := nextcloudHost(t, fresh, at)
	text, _ := examples.Get("nextcloud-offsite")
	_, off, _ := strings.Cut(string(text), "  off:\n")
	off, _, _ = strings.Cut(off, "\ncopies:")
	new1.write("off.key", offsiteKey+"\n") // out of the safe
	new1.reconfigure("\ndefaults:", "  off:\n"+off+"\ndefaults:")
	new1.reconfigure("/etc/vault/off.key", new1.path("off.key"), "https://s3.example", far.Endpoint()+"\n    s3-region: "+s3test.Region+"\n    s3-credentials-file: "+s2.path("s3"))
	new1.write("nc/alice.liddell/files/of a new instance", "")
	new1.wantText(new1.run(0, "rehearse", "nextcloud", "--from-repository", "off", "--target", new1.path("home"), "-v"), "check    grep -q oc_filecache db", "success")
	new1.wantCalls()
	new1.run(0, "restore", "--app", "nextcloud", "--from-repository", "off", "--delete")
	if got := rows(fresh); got != "Tax return.odt\nthe first after\nthe last before" { // of the second backup
		t.Errorf("the database has:\n%s", got)
	}
	same(t, s1.path("nc/alice.liddell/files"), new1.path("nc/alice.liddell/files"))
	new1.wantCalls(occCalls("data-fingerprint")...)
}

// TestNextcloudMariaDB is the same with the other database, from backup to restore.
func TestNextcloudMariaDB(t *testing.T) {
	repo := filepath.Join(t.TempDir(), "repo")
	db := onMariaDB(t, apptest.MariaDB(t))
	s1 := nextcloudHost(t, db, repo)
	fillNextcloud(s1, db)
	s1.run(0, "run", "nextcloud")
	s1.wantCalls(occCalls("mode --on", "mode --off")...)
	saved := keepSaved(t, s1)
	if got := rows(db); got != "Tax return.odt\nthe first after\nthe last before" {
		t.Errorf("the application went on with:\n%s", got)
	}
	fresh := onMariaDB(t, apptest.OtherMariaDB(t))
	fresh.sql("create table oc_filecache (name varchar(200)); insert into oc_filecache values ('of a new instance')")
	new1 := nextcloudHost(t, fresh, repo)
	new1.run(0, "restore", "--app", "nextcloud")
	wantRestored(t, new1, fresh, saved)
	new1.run(0, new1.at(repo, "check", "--read-data")...)
}

// background is a program that runs beside the test.
type background struct {
	h   *host
	cmd *exec.Cmd
	out *os.File
}

// start starts the program, which end ends.
func (h *host) start(args ...string) *background {
	h.t.Helper()
	out, err := os.CreateTemp(h.t.TempDir(), "")
	h.must(err)
	ctx, cancel := context.WithCancel(context.Background())
	b := &background{h, exec.CommandContext(ctx, h.vault, args...), out}
	b.cmd.Env, b.cmd.Dir, b.cmd.Stdout, b.cmd.Stderr = h.env, h.dir, out, out
	h.must(b.cmd.Start())
	h.t.Cleanup(func() { cancel(); b.cmd.Wait(); out.Close() })
	return b
}

func (b *background) output() string {
	text, err := os.ReadFile(b.out.Name())
	b.h.must(err)
	return string(text)
}

// until waits for something that the program does.
func (b *background) until(is func() bool) {
	b.h.t.Helper()
	for deadline := time.Now().Add(hangs); !is(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) || syscall.Kill(b.cmd.Process.Pid, 0) != nil {
			b.h.t.Fatalf("vault %q does not do it:\n%s", b.cmd.Args[1:], b.output())
		}
	}
}

// end ends the program, which must have an exit code then; -1 by the signal.
func (b *background) end(s syscall.Signal, code int) {
	b.h.t.Helper()
	b.h.must(b.cmd.Process.Signal(s))
	err := b.cmd.Wait()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) || b.cmd.ProcessState.ExitCode() != code {
		b.h.t.Fatalf("vault %q: %v, want %d:\n%s", b.cmd.Args[1:], err, code, b.output())
	}
}

// files calls fn for every file below a directory.
func files(t *testing.T, dir string, fn func(path string, data []byte)) {
	t.Helper()
	if err := filepath.WalkDir(dir, func(p string, e fs.DirEntry, err error) error {
		if err != nil || !e.Type().IsRegular() {
			return err
		}
		data, err := os.ReadFile(p)
		fn(p, data)
		return err
	}); err != nil {
		t.Fatal(err)
	}
}

// holding returns the files below a directory that hold a text.
func holding(t *testing.T, dir, text string) (list []string) {
	files(t, dir, func(p string, data []byte) {
		if bytes.Contains(data, []byte(text)) {
			list = append(list, p)
		}
	})
	return list
}

// unreadable checks that a store has nothing of what is in some directories: no text, no
// piece of a file, no name, and no file of the same size.
func unreadable(t *testing.T, store string, dirs ...string) {
	t.Helper()
	sizes, pieces := map[int]string{}, map[string]string{}
	for _, dir := range dirs {
		files(t, dir, func(p string, data []byte) {
			if len(data) > 1000 {
				sizes[len(data)], pieces[string(data[len(data)/2:len(data)/2+32])] = p, p
			}
		})
	}
	for _, text := range secrets {
		pieces[text] = "the secrets"
	}
	n := 0
	files(t, store, func(p string, data []byte) {
		n++
		name := strings.TrimPrefix(p, store)
		if of := sizes[len(data)]; of != "" {
			t.Errorf("%s has the size of %s", name, of)
		}
		for piece, of := range pieces {
			if bytes.Contains(data, []byte(piece)) || strings.Contains(name, piece) {
				t.Errorf("%s holds a part of %s", name, of)
			}
		}
	})
	if n < 5 || len(sizes) < 2 {
		t.Fatalf("%d objects and %d files were compared", n, len(sizes))
	}
}
