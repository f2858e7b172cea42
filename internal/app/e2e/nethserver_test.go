//go:build linux

package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"vault/internal/app/apptest"
)

const moduleUUID = "3792c7db-5b4f-4d5c-9f36-0d0f5b4a0a1e"

const moduleEnvironment = "IMAGE_URL=ghcr.io/nethserver/dokuwiki:1.1\nMODULE_ID=%s\nMODULE_UUID=%s\n"

// fakePodman has volumes in directories, where the real one is not to be had.
const fakePodman = `mkdir -p volumes
case "$1 $2" in
"volume ls") ls volumes ;;
"volume create") mkdir -p volumes/$3/_data ;;
"volume inspect") printf '[{"Name":"%s","Driver":"local","Mountpoint":"%s"}]' $3 $PWD/volumes/$3/_data ;;
*) exit 64 ;;
esac
`

// node is a host of NethServer 8 with one instance of dokuwiki.
type node struct {
	*host
	module string
	state  string // its directory, relative to the host's
	redis  *apptest.RedisServer
}

func newNode(t *testing.T, repo, module string) *node {
	n := &node{host: newHost(t), module: module, state: "home/" + module + "/.config/state", redis: apptest.Redis(t)}
	podman := fakePodman
	if real, err := exec.LookPath("podman"); err == nil && os.Geteuid() == 0 {
		// Nothing of it is shared with another host: neither state nor locks.
		n.write("containers.conf", "[engine]\nlock_type=\"file\"\nevents_logger=\"none\"\n")
		podman = fmt.Sprintf("export CONTAINERS_CONF='%s'\nexec %s --root '%s' --runroot '%s' --tmpdir '%s' --storage-driver vfs \"$@\"\n",
			n.path("containers.conf"), real, n.path("podman"), shortDir(t), n.path("podman-tmp"))
	} else {
		n.env = append(n.env, "_CONTAINERS_USERNS_CONFIGURED=done") // owners are as they are seen
	}
	n.write("bin/podman", "#!/bin/sh\ncd '"+n.dir+"' || exit 9\n"+podman)
	n.must(os.Chmod(n.path("bin/podman"), 0o755))
	n.env = append(n.env, "REDIS_PASSWORD="+n.redis.Password)

	// As the agent's: dump, and remove what was dumped, which is plaintext.
	n.program("module-dump-state", "[ \"$1\" = "+module+" ] && cp -p people "+n.state+"/people.dump\n")
	n.program("module-cleanup-state", "[ \"$1\" = "+module+" ] && rm -f "+n.state+"/people.dump\n")
	n.program("systemctl", "")
	n.configure("nethserver8", "sftp://backup@nas.example/srv/ns8", repo, "keep: {last: 7}", "keep: {last: 3}",
		"{podman: rootless, user: dokuwiki1}", "{podman: rootful}", "/home/dokuwiki1", n.path("home/dokuwiki1"),
		"{redis: module/dokuwiki1/ui_name,", "{redis: {key: module/dokuwiki1/ui_name, address: "+n.redis.Socket+", password-env: REDIS_PASSWORD},",
		"      ui_name:", "      services: {redis: {pattern: module/dokuwiki1/srv/*, address: "+n.redis.Socket+", password-env: REDIS_PASSWORD}}\n      ui_name:")
	if module != "dokuwiki1" {
		n.reconfigure("dokuwiki1", module)
	}
	n.mkdir(n.state)
	return n
}

// volume returns the directory of volumes/X, which is made where there is none.
func (n *node) volume(x string) string {
	n.t.Helper()
	name, said := n.module+"-"+x, ""
	for _, args := range [][]string{{"volume", "inspect", name}, {"volume", "create", name}, {"volume", "inspect", name}} {
		cmd := exec.Command(n.path("bin/podman"), args...)
		cmd.Env = n.env
		out, err := cmd.CombinedOutput()
		said += string(out)
		if _, rest, ok := strings.Cut(strings.ReplaceAll(string(out), `": "`, `":"`), `"Mountpoint":"`); ok && err == nil {
			dir, _, _ := strings.Cut(rest, `"`)
			if _, err := os.Stat(dir); err == nil {
				return dir
			}
		}
	}
	n.t.Fatalf("podman does not make the volume %s: %s", name, said)
	return ""
}

// cli asks the Redis server.
func (n *node) cli(args ...string) string {
	n.t.Helper()
	apptest.Need(n.t, "redis-cli", "redis-tools")
	out, err := exec.Command("redis-cli", append([]string{"-s", n.redis.Socket, "-a", n.redis.Password, "--no-auth-warning"}, args...)...).Output()
	if err != nil {
		n.t.Fatalf("redis-cli %v: %v", args, err)
	}
	return strings.TrimSuffix(string(out), "\n")
}

// install writes what an instance has.
func (n *node) install() (data string) {
	n.t.Helper()
	n.write(n.state+"/environment", fmt.Sprintf(moduleEnvironment, n.module, moduleUUID))
	n.write(n.state+"/state-include.conf", "# what belongs to it\nstate/people.dump\nvolumes/dokuwiki-data") // without a newline
	n.write(n.state+"/state-exclude.conf", "volumes/dokuwiki-data/cache\n*.tmp")
	n.write(n.state+"/not-included", "x")
	n.write("people", "admin:$2y$10$hash\n")
	data = n.volume("dokuwiki-data")
	put(n.t, data+"/pages/start.txt", startPage)
	put(n.t, data+"/pages/grün/ü.txt", "unicode")
	put(n.t, data+"/media/logo.png", strings.Repeat("\x89PNG\x00", 40000))
	n.must(os.Mkdir(data+"/attic", 0o750))
	installWiki(n.t, data)
	n.must(os.Symlink("../pages/start.txt", data+"/media/link"))
	n.cli("SET", "module/"+n.module+"/ui_name", "Wiki für alle")
	n.cli("HSET", "module/"+n.module+"/srv/http", "url", "https://wiki.example", "port", "20001")
	return data
}

const startPage = "====== Welcome ======\n"

// installWiki puts DokuWiki, as Debian has it, below a directory of its data.
func installWiki(t *testing.T, data string) {
	t.Helper()
	app := filepath.Join(data, "app")
	apptest.Need(t, "doku.php", "dokuwiki", "/usr/share/dokuwiki")
	put(t, app+"/conf/local.php", "<?php $conf['savedir'] = '..';\n")
	for from, to := range map[string]string{"/usr/share/dokuwiki/": app, "/etc/dokuwiki/": app + "/conf"} {
		// Debian's links lead elsewhere. Which files are secret is not the same everywhere.
		if out, err := exec.Command("rsync", "-rltL", "--exclude=/local.php", "--exclude=*.auth.php", "--exclude=/inc/preload.php", from, to+"/").CombinedOutput(); err != nil {
			t.Fatalf("rsync: %v: %s", err, out)
		}
	}
	put(t, app+"/inc/preload.php", "<?php define('DOKU_CONF', dirname(__DIR__) . '/conf/');\n")
	for _, dir := range []string{"index", "locks", "log", "media_attic", "media_meta", "meta", "tmp"} {
		if err := os.Mkdir(filepath.Join(data, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
}

// wikiPage returns what DokuWiki itself says is on a page. Its cache is not in backups.
func wikiPage(t *testing.T, data, page string) string {
	t.Helper()
	out := filepath.Join(t.TempDir(), "page")
	if err := os.MkdirAll(filepath.Join(data, "cache"), 0o755); err != nil {
		t.Fatal(err)
	}
	if said, err := exec.Command(apptest.Need(t, "php", "php-cli"), data+"/app/bin/dwpage.php", "checkout", page, out).CombinedOutput(); err != nil {
		t.Fatalf("dwpage.php: %v: %s", err, said)
	}
	text, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestNethServer8(t *testing.T) {
	repo := filepath.Join(t.TempDir(), "repo")
	own := filepath.Join(repo, "dokuwiki", moduleUUID)
	old := newNode(t, repo, "dokuwiki1")
	data := old.install()
	name := old.cli("GET", "module/dokuwiki1/ui_name")
	put(t, data+"/cache/page", "excluded")
	put(t, data+"/pages/draft.tmp", "excluded")
	saved := filepath.Join(t.TempDir(), "data")
	copyTree(t, data, saved, "/cache", "*.tmp") // the directories have the times that they are backed up with
	dump, cleanup := "module-dump-state dokuwiki1", "module-cleanup-state dokuwiki1"

	for i := range 4 {
		out := old.run(0, "run", "dokuwiki1")
		old.wantText(out, "volume       environment (required): complete, 1 file", "volume       data/state (required): complete, 2 files",
			"volume       data/volumes/dokuwiki-data (required): complete, ", "volume       ui_name (optional): complete",
			"volume       services (required): complete, 1 file")
		old.wantText(out, fmt.Sprintf("kept         %d backup", min(i+1, 3)))
		old.wantCalls(dump, cleanup)
	}
	if n := old.backups(own); n != 3 {
		t.Errorf("%d backups of the instance, want 3", n)
	}
	note, err := os.ReadFile(own + ".vault.json")
	old.must(err)
	old.wantText(string(note), `"dokuwiki1"`, `"complete"`, `"backup_id"`)

	// What must be there and is not: nothing is stored, and the dump does not stay.
	put(t, old.path(old.state+"/state-include.conf"), "state/people.dump\nvolumes/dokuwiki-uploads")
	old.wantText(old.run(1, "run", "dokuwiki1"), "nothing was stored", "state-include.conf:2: volumes/dokuwiki-uploads")
	old.wantCalls(dump, cleanup)
	if old.exists(old.state + "/people.dump") {
		t.Error("the dump is still there")
	}
	put(t, old.path(old.state+"/state-include.conf"), "state/people.dump\nvolumes/dokuwiki-data")
	// The same for a dump that fails.
	old.must(os.Rename(old.path("people"), old.path("people.away")))
	old.run(1, "run", "dokuwiki1")
	old.wantCalls(dump, cleanup)
	// A wrong key and a store that does not answer are told before anything begins.
	old.write("key", "wrong\n")
	old.wantText(old.run(12, "run", "dokuwiki1"), "hint: ")
	old.write("key", "correct horse\n")
	old.reconfigure("url: "+repo, "url: sftp://backup@nas.example/srv/ns8\n    sftp-command: [\"false\"]")
	old.wantText(old.run(14, "run", "dokuwiki1"), "hint: ")
	old.wantCalls()
	if n := old.backups(own); n != 3 {
		t.Errorf("after failures %d backups, want 3", n)
	}

	// The node is lost. On another one the instance gets another number.
	old.must(removeAll(data, old.path(old.state)))
	old.cli("DEL", "module/dokuwiki1/ui_name", "module/dokuwiki1/srv/http")
	fresh := newNode(t, repo, "dokuwiki2")
	// Of which image it must be is read first; then NethServer makes an instance.
	fresh.run(0, "restore", "--app", "dokuwiki2", "--from-app", "dokuwiki1", "--volume", "environment="+fresh.path("first/environment"))
	if got := fresh.read("first/environment"); got != fmt.Sprintf(moduleEnvironment, "dokuwiki1", moduleUUID) {
		t.Errorf("the environment is %q", got)
	}
	fresh.calls()
	made := fmt.Sprintf(moduleEnvironment, "dokuwiki2", "a-new-one")
	fresh.write(fresh.state+"/environment", made)
	fresh.cli("SET", "module/dokuwiki2/ui_name", "a new one")
	fresh.run(0, "restore", "--app", "dokuwiki2", "--from-app", "dokuwiki1")
	fresh.wantCalls("systemctl --user -M dokuwiki2@ stop dokuwiki.service", "systemctl --user -M dokuwiki2@ start dokuwiki.service")
	same(t, saved, fresh.volume("dokuwiki-data"))
	if got := wikiPage(t, fresh.volume("dokuwiki-data"), "start"); got != startPage {
		t.Errorf("the wiki's page is %q", got)
	}
	if got := fresh.cli("GET", "module/dokuwiki2/ui_name"); got != name || name == "" {
		t.Errorf("ui_name is %q, want %q", got, name)
	}
	if got := fresh.cli("HGETALL", "module/dokuwiki2/srv/http"); got != "url\nhttps://wiki.example\nport\n20001" {
		t.Errorf("the service is %q", got)
	}
	if got := fresh.cli("EXISTS", "module/dokuwiki1/ui_name", "module/dokuwiki1/srv/http"); got != "0" {
		t.Error("keys came back under the old number")
	}
	if got := fresh.read(fresh.state + "/environment"); got != made {
		t.Errorf("the environment of the new instance is %q", got)
	}
	if got := fresh.read(fresh.state + "/people.dump"); got != "admin:$2y$10$hash\n" {
		t.Errorf("the dump is %q", got)
	}
	if fresh.exists(fresh.state + "/not-included") {
		t.Error("what was not included came back")
	}
	fresh.run(0, fresh.at(own, "check", "--read-data")...)
}
