//go:build linux

package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

const redmineDogu = `{"Name": "official/redmine", "Version": "5.1.3-1", "Volumes": [
 {"Name": "data", "Path": "/usr/share/data", "Owner": "1000", "Group": "1000", "NeedsBackup": true},
 {"Name": "plugins", "Path": "/var/tmp/plugins", "Owner": "1000", "Group": "1000", "NeedsBackup": true},
 {"Name": "cache", "Path": "/var/cache", "Owner": "1000", "Group": "1000", "NeedsBackup": false}]}`

const ldapDogu = `{"Name": "official/ldap", "Version": "2.6.2-3", "Volumes": [
 {"Name": "db", "Path": "/var/lib/openldap", "Owner": "100", "Group": "101", "NeedsBackup": true}]}`

const cesappScript = `case "$*" in
healthy) [ ! -e ill ] || { echo "dogu ldap is unhealthy" >&2; exit 1; } ;;
"maintenance on") touch maintenance ;;
"maintenance off") rm -f maintenance ;;
*) exit 64 ;;
esac
`

// As etcdctl(1): the snapshot is written beside its place and renamed, and said so on
// the standard output; a restore wants a directory that does not exist.
const etcdctlScript = `case "$1 $2" in
"snapshot save") [ -e maintenance ] || exit 3
	cp etcd.db "$3.part" && mv "$3.part" "$3" && echo "Snapshot saved at $3" ;;
"snapshot restore") [ -e maintenance ] && [ ! -e broken ] || exit 3
	[ "$4" = --data-dir ] && mkdir "$5" && cp "$3" "$5/db" ;;
*) exit 64 ;;
esac
`

// cesHost is a host with an installed ecosystem, whose dogus have no data yet.
func cesHost(t *testing.T, repo string) *host {
	h := newHost(t)
	h.program("cesapp", cesappScript)
	h.program("etcdctl", etcdctlScript)
	h.configure("cloudogu", "s3://ces-backup/ecosystem", repo, "    s3-endpoint: https://s3.example\n", "",
		"/var/lib/ces: 1G", "/var/lib/ces: 1M", "/var/lib/ces", h.path("ces"), "/etc/ces", h.path("etc"))
	h.write("ces/redmine/dogu.json", redmineDogu)
	h.write("ces/ldap/dogu.json", ldapDogu)
	h.mkdir("ces/redmine/volumes", "ces/ldap/volumes", "etc")
	return h
}

func TestCloudogu(t *testing.T) {
	const health, on, off = "cesapp healthy", "cesapp maintenance on", "cesapp maintenance off"
	repo := filepath.Join(t.TempDir(), "repo")
	old := cesHost(t, repo)
	old.write("etcd.db", "registry \x00\xff of the old host\n")
	old.write("etc/config.toml", "fqdn = old\n")
	old.write("ces/redmine/volumes/data/ticket", "1: it is slow")
	old.write("ces/redmine/volumes/plugins/agile/init.rb", "plugin")
	old.write("ces/redmine/volumes/cache/page", "not wanted")
	old.write("ces/ldap/volumes/db/data.mdb", strings.Repeat("people\n", 999))
	volumes := []string{"etc", "ces/redmine/volumes/data", "ces/redmine/volumes/plugins", "ces/ldap/volumes/db"}

	// An outage is no empty store: nothing is made, and nothing is touched.
	old.env = append(old.env, "AWS_ACCESS_KEY_ID=a", "AWS_SECRET_ACCESS_KEY=b", "AWS_EC2_METADATA_DISABLED=true")
	reachable := "url: " + repo
	old.reconfigure(reachable, "url: s3://ces-backup/ecosystem\n    s3-endpoint: http://127.0.0.1:1")
	old.wantText(old.run(14, "run", "ces"), "hint: ")
	old.wantCalls(health)
	old.reconfigure("url: s3://ces-backup/ecosystem\n    s3-endpoint: http://127.0.0.1:1", reachable)

	// Where there is none, one is made; a second time that it is gone is told.
	out := old.run(0, "run", "ces")
	old.wantText(out, "initialised repository", "volume       registry (required): complete", "volume       redmine-data (required): complete",
		"volume       redmine-plugins", "volume       ldap-db", "volume       configuration")
	if strings.Contains(out, "cache") {
		t.Errorf("a volume without NeedsBackup was taken:\n%s", out)
	}
	calls := old.calls()
	if !strings.HasPrefix(calls, health+"\n"+on+"\netcdctl snapshot save ") || !strings.HasSuffix(calls, "\n"+off) || old.exists("maintenance") {
		t.Errorf("programs were called:\n%s", calls)
	}
	if n := old.backups(repo); n != 1 {
		t.Errorf("%d backups, want all under one ID", n)
	}
	rename(t, repo, repo+".away")
	old.wantText(old.run(14, "run", "ces"), "has seen the repository")
	if _, err := os.Lstat(repo); err == nil {
		t.Error("another was made in the place of the repository that is gone")
	}
	old.wantCalls(health)
	rename(t, repo+".away", repo)

	// An ecosystem that is ill is not stopped, and a wrong key is told before.
	old.write("ill", "")
	old.wantText(old.run(1, "run", "ces"), "health", "ldap is unhealthy")
	old.wantCalls(health)
	old.must(removeAll(old.path("ill")))
	old.write("key", "wrong\n")
	old.run(12, "run", "ces")
	old.wantCalls(health)
	old.write("key", "correct horse\n")

	// Retention: of the last month the oldest, of what came before as well.
	for _, days := range []int{12, 15, 20, 45, 60, 80} {
		when := time.Now().AddDate(0, 0, -days).Format(time.RFC3339)
		old.run(0, old.at(repo, "backup", old.path("etc"), "--group", "ces", "--time", when, "--quiet")...)
	}
	old.wantText(old.run(0, "run", "ces"), "kept         4 backups, 4 forgotten")
	old.calls()

	saved := t.TempDir()
	for _, v := range volumes {
		put(t, filepath.Join(saved, v, "x"), "")
		old.must(removeAll(filepath.Join(saved, v)))
		copyTree(t, old.path(v), filepath.Join(saved, v))
	}
	// The disaster, and another host whose first restore fails half-way.
	old.must(removeAll(old.path("ces"), old.path("etcd.db"), old.path("etc")))
	fresh := cesHost(t, repo)
	fresh.write("ces/ldap/volumes/db/stray", "of the new host")
	fresh.write("broken", "")
	fresh.run(1, "restore", "--app", "ces")
	calls = fresh.calls()
	if !strings.HasPrefix(calls, on+"\n") || !strings.HasSuffix(calls, "\n"+off) || fresh.exists("maintenance") {
		t.Errorf("a failed restore called:\n%s", calls)
	}
	// Half an application is not backed up; the same command finishes it.
	fresh.wantText(fresh.run(1, "run", "ces"), "interrupted")
	fresh.must(removeAll(fresh.path("broken")))
	fresh.calls()
	fresh.run(0, "restore", "--app", "ces")
	if calls = fresh.calls(); !strings.HasPrefix(calls, on+"\n") || !strings.HasSuffix(calls, "\n"+off) || fresh.exists("maintenance") {
		t.Errorf("the restore called:\n%s", calls)
	}
	for _, v := range volumes {
		same(t, filepath.Join(saved, v), fresh.path(v))
	}
	if got := fresh.read("ces/etcd/db"); got != "registry \x00\xff of the old host\n" {
		t.Errorf("the registry is %q", got)
	}
	if fresh.exists("ces/redmine/volumes/cache") {
		t.Error("a volume without NeedsBackup came back")
	}
	fresh.run(0, fresh.at(repo, "check", "--read-data")...)
}
