//go:build linux

package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"vault/internal/app/apptest"
)

const ocisFields = `system_user_id: %ID
idm:
  service_user_passwords: {idp_password: pw-%ID, reva_password: pw}
storage_users: {mount_id: mount-%ID}
`

const serviceScript = `case "$*" in
*stop*) rm -f running; [ ! -e stop-hook ] || . ./stop-hook ;;
*start*) touch running; [ ! -e start-hook ] || . ./start-hook ;;
esac
`

// nasScript serves SFTP, unless it is dead; hang and revive are what happens to it.
const (
	nasScript = "#!/bin/sh\ncd '%s' && [ ! -e dead ] || exit 1\necho $$ >>servers\nexec %s\n"
	hang      = "touch dead; kill -STOP $(cat servers) || :\n" // one may have ended
	revive    = "kill -CONT $(cat servers); rm -f dead\n"
)

// ocisHost is a host on which the service runs.
func ocisHost(t *testing.T, repo, id string) *host {
	h := newHost(t)
	h.program("systemctl", serviceScript)
	h.write("running", "")
	server := apptest.Need(t, "sftp-server", "openssh-sftp-server", "/usr/lib/openssh")
	h.write("bin/nas", fmt.Sprintf(nasScript, h.dir, server))
	h.must(os.Chmod(h.path("bin/nas"), 0o755))
	h.configure("ocis", "sftp://backup@nas.example/srv/vault", "sftp://backup@nas.example"+repo+"\n    sftp-command: ["+h.path("bin/nas")+"]",
		"/var/lib/ocis", h.path("data"), "/etc/ocis", h.path("etc"))
	h.write("etc/ocis.yaml", strings.ReplaceAll(ocisFields, "%ID", id))
	h.mkdir("data/idm", "data/storage/metadata", "data/storage/users")
	return h
}

// fill unpacks a real user storage and writes what lies around it.
func fill(h *host) {
	h.t.Helper()
	users := h.path("data/storage/users")
	if out, err := exec.Command("tar", "-C", users, "-xzf", "../verify/testdata/ocis-decomposedfs-mpk.tgz").CombinedOutput(); err != nil {
		h.t.Fatalf("tar: %v: %s", err, out)
	}
	h.write("data/idm/ocis.boltdb", strings.Repeat("people\x00", 5000))
	h.write("data/storage/metadata/spaces/js/node", "settings")
	h.mkdir("data/storage/metadata/empty/deep", "data/search", "data/thumbnails")
	h.write("data/nats/jetstream/1.blk", "events")
	h.write("data/idp/encryption.key", "key")
	h.write("data/web/assets/logo.svg", "<svg/>")
	h.write("etc/csp.yaml", "directives: {}\n")
	// The xattrs backend keeps binary values where messagepack has files.
	err := unix.Setxattr(h.path("data/storage/metadata/spaces/js/node"), "user.ocis.cs.sha1", []byte{0, 255, 10, 0, 128}, 0)
	if err == unix.ENOTSUP {
		h.t.Log("no extended attributes here: they are not compared")
	} else {
		h.must(err)
	}
}

func TestOCIS(t *testing.T) {
	repo := filepath.Join(t.TempDir(), "repo")
	old := ocisHost(t, repo, "old")
	old.reconfigure("{daily: 7, weekly: 4, monthly: 6}", "{last: 9}") // not as the day happens to end
	fill(old)
	stop, start := "systemctl stop ocis", "systemctl start ocis"
	out := old.run(0, "run", "ocis")
	old.wantText(out, "volume       storage-users (required): complete", "at rest", "volume       ocm (optional)")
	old.wantCalls(stop, start)
	// The NAS hangs as long as the service is at rest: it is started again all the same,
	// and what was read is stored when the NAS is back.
	old.must(removeAll(old.path("servers")))
	old.write("stop-hook", hang)
	old.write("start-hook", revive)
	old.run(0, "run", "ocis")
	old.wantCalls(stop, start)
	old.must(removeAll(old.path("stop-hook"), old.path("start-hook")))
	saved := t.TempDir()
	copyTree(t, old.path("data"), saved+"/data")
	copyTree(t, old.path("etc"), saved+"/etc")

	// A wrong key is told before the service is stopped.
	old.write("data/idm/ocis.boltdb", strings.Repeat("changed", 9000))
	old.write("key", "wrong\n")
	old.wantText(old.run(12, "run", "ocis"), "hint: ")
	old.write("key", "correct horse\n")
	old.wantCalls()
	// What fails half-way through bringing the service to rest: it is started again.
	old.write("stop-hook", "exit 1\n")
	old.wantText(old.run(1, "run", "ocis"), "enter: systemctl stop ocis", "hint: ")
	old.wantCalls(stop, start)
	if !old.exists("running") {
		t.Error("the service was left at rest")
	}
	old.must(removeAll(old.path("stop-hook")))
	if n := old.backups(repo); n != 2 {
		t.Errorf("%d backups, want 2", n)
	}
	// A required volume is missing: nothing is stored, and nothing is touched.
	old.must(os.Rename(old.path("data/idm"), old.path("idm.away")))
	old.wantText(old.run(1, "run", "ocis"), "idm")
	old.wantCalls()
	old.must(removeAll(old.path("data"), old.path("etc")))

	// Another instance refuses the data of this one.
	fresh := ocisHost(t, repo, "new")
	fresh.write("data/idm/other", "of the new instance")
	fresh.write("key", "wrong\n")
	fresh.run(12, "restore", "--app", "ocis")
	fresh.write("key", "correct horse\n")
	out = fresh.run(1, "restore", "--app", "ocis")
	fresh.wantText(out, "another instance", "system_user_id", "storage_users.mount_id", "idm.service_user_passwords.idp_password", "--other-identity")
	if strings.Contains(out, "pw-") || strings.Contains(out, "reva_password") {
		t.Errorf("it tells a secret, or what agrees:\n%s", out)
	}
	fresh.wantCalls()
	if fresh.read("data/idm/other") != "of the new instance" || fresh.exists("data/idm/ocis.boltdb") {
		t.Error("a refused restore has touched the data")
	}
	compare := func() {
		t.Helper()
		for _, v := range []string{"idm", "storage/metadata", "storage/users", "idp", "nats", "web", "search", "thumbnails"} {
			same(t, filepath.Join(saved, "data", v), filepath.Join(fresh.path("data"), v))
		}
		same(t, saved+"/etc", fresh.path("etc"))
	}
	fresh.run(0, "restore", "--app", "ocis", "--other-identity")
	fresh.wantCalls(stop, start)
	compare()
	// Now it is that instance: nothing differs any more.
	fresh.write("data/storage/users/stray", "x")
	fresh.run(0, "restore", "--app", "ocis")
	compare()
	// The rules of the storage itself find nothing, in the backup and in one of the new host.
	fresh.run(0, "verify", "--app", "ocis")
	fresh.run(0, "run", "ocis")
	fresh.run(0, "verify", "--app", "ocis")
	fresh.run(0, fresh.at(repo, "check", "--read-data")...)
}
