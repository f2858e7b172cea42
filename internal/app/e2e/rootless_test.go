//go:build linux

package e2e

import (
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"vault/internal/app/apptest"
)

const rootlessConfig = `version: 1
repositories: {main: {url: %s, password-file: %s, init: if-empty}}
apps:
  wiki:
    to: main
    roots: {volumes: {podman: rootless, user: nobody}}
    quiesce: {enter: [sh, -c, "id -u >>ids"], leave: [sh, -c, "id -u >>ids"]}
    volumes:
      data: {container: {volume: wiki-data}}
      media: {path: volumes/wiki-media}
`

// rootlessHost is a host on which somebody who is not root has containers.
func rootlessHost(t *testing.T, repo string) *host {
	podman := apptest.Need(t, "podman", "podman")
	if os.Geteuid() != 0 {
		t.Skip("only root can become somebody else")
	}
	h := newHost(t)
	const nobody = 65534
	h.as = &syscall.Credential{Uid: nobody, Gid: nobody}
	home, short := h.path("home"), shortDir(t)
	h.must(os.Chown(short, nobody, nobody))
	h.mkdir("home/rundir")
	h.write("bin/podman", fmt.Sprintf("#!/bin/sh\nexec %s --root %s/root --runroot %s --storage-driver vfs --tmpdir %s/tmp --cgroup-manager cgroupfs \"$@\"\n",
		podman, home, short, home))
	h.env = append(h.env, "XDG_RUNTIME_DIR="+home+"/rundir", "DBUS_SESSION_BUS_ADDRESS=", "CONTAINERS_CONF="+h.path("containers.conf"))
	h.write("containers.conf", "[engine]\nlock_type=\"file\"\nevents_logger=\"none\"\n")
	h.write("vault.yaml", fmt.Sprintf(rootlessConfig, repo, h.path("key")))
	h.must(os.Chmod(h.path("bin/podman"), 0o755))
	h.must(os.Chmod(filepath.Dir(h.dir), 0o755)) // others may enter
	h.must(filepath.WalkDir(h.dir, func(path string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		return os.Chown(path, nobody, nobody)
	}))
	t.Cleanup(func() { // podman leaves a process that holds the namespace
		filepath.WalkDir(h.dir, func(path string, d fs.DirEntry, err error) error {
			if err == nil && d.Name() == "pause.pid" {
				text, _ := os.ReadFile(path)
				if pid, err := strconv.Atoi(strings.TrimSpace(string(text))); err == nil && pid > 1 {
					syscall.Kill(pid, syscall.SIGKILL)
				}
			}
			return nil
		})
	})
	return h
}

// podman runs podman as the host's user.
func (h *host) podman(args ...string) (string, error) {
	cmd := exec.Command(h.path("bin/podman"), args...)
	cmd.Env, cmd.Dir, cmd.SysProcAttr = h.env, h.dir, &syscall.SysProcAttr{Credential: h.as}
	out, err := cmd.CombinedOutput()
	return strings.TrimSpace(string(out)), err
}

// TestRootless: who is not root backs up and restores volumes of his containers inside
// their namespace, into which the program puts itself. The owners are the namespace's.
func TestRootless(t *testing.T) {
	repo, err := apptest.Dir()
	if err != nil {
		t.Fatal(err)
	}
	old := rootlessHost(t, repo+"/repo")
	if out, err := old.podman("unshare", "true"); err != nil {
		t.Skipf("rootless podman does not work here: %v: %s", err, out)
	}
	const write = `d=$(podman volume inspect --format "{{.Mountpoint}}" $1) && mkdir $d/pages && echo "$1" >$d/pages/start && chmod 600 $d/pages/start`
	for _, v := range []string{"wiki-data", "wiki-media"} {
		out, err := old.podman("volume", "create", v)
		if err == nil {
			cmd := exec.Command("sh", "-c", write, "sh", v)
			cmd.Env, cmd.Dir, cmd.SysProcAttr = old.env, old.dir, &syscall.SysProcAttr{Credential: old.as}
			var b []byte
			b, err = cmd.CombinedOutput()
			out = string(b)
		}
		if err != nil {
			t.Fatalf("%v: %s", err, out)
		}
	}
	old.wantText(old.run(0, "run", "wiki"), "volume       data (required): complete, 1 file", "volume       media (required): complete, 1 file")
	if got := old.read("ids"); got != "0\n0\n" {
		t.Errorf("hooks ran as %q", got)
	}
	// As it is stored, the files belong to the namespace's root.
	out := old.run(0, old.at(repo+"/repo", "ls", "latest", "--json")...)
	if n := strings.Count(out, `"uid":0`); n != strings.Count(out, `"message_type":"node"`) || n == 0 {
		t.Errorf("%d entries belong to the root of the namespace:\n%s", n, out)
	}

	fresh := rootlessHost(t, repo+"/repo")
	fresh.run(0, "restore", "--app", "wiki")
	for _, v := range []string{"wiki-data", "wiki-media"} {
		path, err := fresh.podman("volume", "inspect", "--format", "{{.Mountpoint}}", v)
		if err != nil {
			t.Fatalf("%v: %s", err, path)
		}
		text, err := os.ReadFile(path + "/pages/start")
		if err != nil || string(text) != v+"\n" {
			t.Errorf("%s: %q, %v", v, text, err)
			continue
		}
		if st, err := os.Stat(path + "/pages/start"); err != nil || st.Sys().(*syscall.Stat_t).Uid != fresh.as.Uid {
			t.Errorf("%s does not belong to its user: %v", v, err)
		}
	}
	fresh.run(0, fresh.at(repo+"/repo", "check", "--read-data")...)
}
