//go:build linux

package e2e

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"vault/internal/app/apptest"
)

// orthancJSON is /etc/orthanc/orthanc.json. Where the machine has what is in the
// variables that the service is started with, so that it holds on another one.
const orthancJSON = `{"Name": "${ORTHANC_NAME}", "HttpPort": ${ORTHANC_PORT}, "StorageDirectory": "${ORTHANC_STORAGE}", "IndexDirectory": "${ORTHANC_STORAGE}",
 "DicomServerEnabled": false, "RemoteAccessAllowed": false, "AuthenticationEnabled": false, "UserMetadata": {"finding": 1024},
 "Plugins": ["/usr/share/orthanc/plugins/libOrthancPostgreSQLIndex.so"],
 "PostgreSQL": {"EnableIndex": true, "EnableStorage": false, "Host": "127.0.0.1", "Port": ${POSTGRES_PORT}, "Database": "orthanc",
  "Username": "orthanc", "Password": "%s", "Lock": false}}
`

// A pg_dump with which something happens while it runs, and a psql that breaks off
// when it has begun.
const (
	pgDumpScript = `case "$*" in *--format*) ;; *) exec %[2]s "$@" ;; esac
if [ -e dies ]; then %[2]s "$@" | head -c 9000; exit 3; fi
if [ -e stops ]; then %[2]s "$@" | head -c 15000; exit 0; fi
if [ -e busy ]; then echo upload >ask; read -r answer <answer; fi
%[2]s "$@" || exit
if [ -e busy ]; then echo upload >ask; read -r answer <answer; fi
`
	psqlScript = `case "$* " in *ON_ERROR_STOP*" -f - ") if [ -e breaks ]; then head -c 4000 >/dev/null; exit 1; fi ;; esac
exec %[2]s "$@"
`
	askScript = `echo "$*" >ask; read -r answer <answer; exit $answer
`
)

// vna is a host with an Orthanc, its database and its share.
type vna struct {
	*host
	pg      *apptest.PostgresServer
	orthanc apptest.Orthanc
	seed    uint64
}

func newVNA(t *testing.T, repo, password string, pg *apptest.PostgresServer, seed uint64) *vna {
	v := &vna{host: newHost(t), pg: pg, seed: seed}
	v.must(os.Chmod(filepath.Dir(v.dir), 0o755)) // the accounts of the database and of the service have to get there
	pg.SQL(t, "postgres", "CREATE ROLE orthanc LOGIN PASSWORD '"+password+"'")
	pg.SQL(t, "postgres", "CREATE DATABASE orthanc OWNER orthanc")
	t.Cleanup(func() {
		pg.SQL(t, "postgres", "DROP DATABASE IF EXISTS orthanc WITH (FORCE)")
		pg.SQL(t, "postgres", "DROP ROLE orthanc")
	})
	v.mkdir("vna/images")
	v.write("etc/orthanc.json", fmt.Sprintf(orthancJSON, password))
	v.must(os.Chmod(v.path("etc/orthanc.json"), 0o644))
	uid, gid := apptest.OrthancUser()
	v.must(os.Chown(v.path("vna/images"), uid, gid))
	v.orthanc = apptest.Orthanc{Config: v.path("etc"), Env: []string{"ORTHANC_STORAGE=" + v.path("vna/images"), "POSTGRES_PORT=" + strconv.Itoa(pg.Port)}}

	v.program("systemctl", askScript)
	// These run as the database's account, which may not write here.
	for name, script := range map[string]string{"pg_dump": pgDumpScript, "psql": psqlScript} {
		text := fmt.Sprintf("#!/bin/sh\ncd '%s' || exit 9\n"+script, v.dir, apptest.Need(t, name, "postgresql-client"))
		v.must(os.WriteFile(v.path("bin/"+name), []byte(text), 0o755))
	}
	v.serve()
	exec := ""
	if os.Geteuid() == 0 {
		exec = ", exec: {user: nobody}"
	}
	v.configure("orthanc", "url: /srv/backup/vna", "url: "+repo, "[/srv/vna, /srv/backup]", "[/proc]", "/srv/backup: 5G", v.dir+": 1M",
		"/srv/vna/images", v.path("vna/images"), "/etc/orthanc", v.path("etc"),
		"host: /run/postgresql, exec: {user: postgres}", fmt.Sprintf("host: %s, port: %d, user: %s%s", pg.Socket, pg.Port, pg.User, exec))
	return v
}

// serve does what scripts ask for, one line at a time: the service is a process of
// the test, stopped by its id.
func (v *vna) serve() {
	var pipes [2]*os.File
	for i, name := range []string{"ask", "answer"} {
		v.must(syscall.Mkfifo(v.path(name), 0o600))
		v.must(os.Chmod(v.path(name), 0o666))
		f, err := os.OpenFile(v.path(name), os.O_RDWR, 0)
		v.must(err)
		v.t.Cleanup(func() { f.Close() })
		pipes[i] = f
	}
	go func() {
		for in := bufio.NewScanner(pipes[0]); in.Scan(); {
			var err error
			switch in.Text() {
			case "stop orthanc":
				v.orthanc.Stop()
			case "start orthanc":
				err = v.orthanc.Start()
			case "upload":
				_, err = v.upload()
			default:
				err = errors.New("it is not known")
			}
			status := "0\n"
			if err != nil {
				v.t.Errorf("%s: %v", in.Text(), err)
				status = "1\n"
			}
			io.WriteString(pipes[1], status)
		}
	}()
}

// call asks the REST interface.
func (v *vna) call(method, path string, body []byte) ([]byte, error) {
	request, err := http.NewRequest(method, v.orthanc.URL+path, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	out, err := io.ReadAll(response.Body)
	if err == nil && response.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s %s: %s: %s", method, path, response.Status, out)
	}
	return out, err
}

// get asks for a value.
func (v *vna) get(path string) []byte {
	v.t.Helper()
	out, err := v.call(http.MethodGet, path, nil)
	v.must(err)
	return out
}

// upload stores another instance and returns its name.
func (v *vna) upload() (id string, err error) {
	v.seed++
	out, err := v.call(http.MethodPost, "/instances", dicom(v.seed))
	var answer struct{ ID, Status string }
	if err == nil {
		err = json.Unmarshal(out, &answer)
	}
	if err == nil && answer.Status != "Success" {
		err = fmt.Errorf("it answers %s", out)
	}
	return answer.ID, err
}

// instances returns what is served: of each instance its bytes, and what the index
// knows about it.
func (v *vna) instances() map[string]string {
	v.t.Helper()
	var ids []string
	v.must(json.Unmarshal(v.get("/instances"), &ids))
	all := map[string]string{}
	for _, id := range ids {
		all[id] = fmt.Sprintf("%x %s %s", sha256.Sum256(v.get("/instances/"+id+"/file")), v.get("/instances/"+id+"/metadata?expand"), v.get("/instances/"+id))
	}
	return all
}

// want checks that exactly these are served.
func (v *vna) want(want map[string]string) {
	v.t.Helper()
	got := v.instances()
	if maps.Equal(want, got) {
		return
	}
	v.t.Errorf("%d instances are served, want %d", len(got), len(want))
	for id := range want {
		if got[id] != want[id] {
			v.t.Errorf("instance %s:\n%s\nwant:\n%s", id, got[id], want[id])
		}
	}
}

// dicom makes an image in the format of PS3.10: | preamble 128 | DICM | elements |,
// of which each is | group u16 | element u16 | type 2 | length | value |, explicit and
// little endian.
func dicom(seed uint64) []byte {
	const class = "1.2.840.10008.5.1.4.1.1.7" // secondary capture
	uid := fmt.Sprintf("1.2.826.0.1.3680043.2.1143.%d", seed)
	element := func(to []byte, group, number uint16, kind string, value []byte) []byte {
		if len(value)%2 == 1 {
			pad := byte(' ')
			if kind == "UI" || kind == "OB" {
				pad = 0
			}
			value = append(slices.Clip(value), pad)
		}
		to = binary.LittleEndian.AppendUint16(binary.LittleEndian.AppendUint16(to, group), number)
		to = append(to, kind...)
		if kind == "OB" {
			return append(binary.LittleEndian.AppendUint32(append(to, 0, 0), uint32(len(value))), value...)
		}
		return append(binary.LittleEndian.AppendUint16(to, uint16(len(value))), value...)
	}
	number := func(n uint16) []byte { return binary.LittleEndian.AppendUint16(nil, n) }
	var meta []byte
	meta = element(meta, 2, 1, "OB", []byte{0, 1})
	meta = element(meta, 2, 2, "UI", []byte(class))
	meta = element(meta, 2, 3, "UI", []byte(uid))
	meta = element(meta, 2, 0x10, "UI", []byte("1.2.840.10008.1.2.1"))
	meta = element(meta, 2, 0x12, "UI", []byte("1.2.826.0.1.3680043.2.1143"))
	file := append(make([]byte, 128), "DICM"...)
	file = append(element(file, 2, 0, "UL", binary.LittleEndian.AppendUint32(nil, uint32(len(meta)))), meta...)
	for _, e := range []struct {
		group, number uint16
		kind, value   string
	}{
		{8, 0x16, "UI", class}, {8, 0x18, "UI", uid}, {8, 0x60, "CS", "OT"},
		{0x10, 0x10, "PN", fmt.Sprintf("Doe^Pat%d", seed%3)}, {0x10, 0x20, "LO", fmt.Sprintf("PID%d", seed%3)},
		{0x20, 0xd, "UI", fmt.Sprintf("1.2.3.%d", seed%3)}, {0x20, 0xe, "UI", fmt.Sprintf("1.2.3.%d.9", seed%3)},
		{0x28, 2, "US", string(number(1))}, {0x28, 4, "CS", "MONOCHROME2"}, {0x28, 0x10, "US", string(number(64))}, {0x28, 0x11, "US", string(number(64))},
		{0x28, 0x100, "US", string(number(8))}, {0x28, 0x101, "US", string(number(8))}, {0x28, 0x102, "US", string(number(7))}, {0x28, 0x103, "US", string(number(0))},
	} {
		file = element(file, e.group, e.number, e.kind, []byte(e.value))
	}
	pixels, random := make([]byte, 64*64), rand.New(rand.NewPCG(seed, 8))
	for i := range pixels {
		pixels[i] = byte(random.Uint32())
	}
	return element(file, 0x7fe0, 0x10, "OB", pixels)
}

func TestOvena(t *testing.T) {
	apptest.NeedOrthanc(t)
	repo := filepath.Join(t.TempDir(), "repo")
	old := newVNA(t, repo, "old-secret", apptest.Postgres(t), 100)
	old.must(old.orthanc.Start())
	var ids []string
	for range 6 {
		id, err := old.upload()
		old.must(err)
		ids = append(ids, id)
	}
	_, err := old.call(http.MethodPut, "/instances/"+ids[2]+"/metadata/finding", []byte("nothing to be seen"))
	old.must(err)

	// Images arrive while it runs, before the dump and between it and the images: all
	// that the dump names is there.
	old.write("busy", "")
	old.wantText(old.run(0, "run", "vna"), "volume       index (required): complete", "volume       images (required): complete", "volume       roles (recommended): complete")
	old.must(os.Remove(old.path("busy")))
	old.wantText(old.run(0, "verify", "--app", "vna"), "file-orphan")
	old.run(0, "run", "vna")
	if out := old.run(0, "verify", "--app", "vna"); strings.Contains(out, "file-") {
		t.Errorf("what nobody changed has findings:\n%s", out)
	}
	saved := old.instances()
	if len(saved) != 8 {
		t.Fatalf("%d instances are served, 8 were stored", len(saved))
	}
	images := t.TempDir() + "/images"
	copyTree(t, old.path("vna/images"), images)
	old.calls()
	old.failures(repo)

	// What comes after the backup does not come back, what goes does.
	_, err = old.call(http.MethodDelete, "/instances/"+ids[0], nil)
	old.must(err)
	_, err = old.upload()
	old.must(err)
	old.wantCalls() // a backup does not stop it

	old.orthanc.Kill()
	old.pg.SQL(t, "postgres", "DROP DATABASE orthanc WITH (FORCE)")
	old.must(removeAll(old.path("vna"), old.path("etc")))

	// On another host there is one already, with another password.
	fresh := newVNA(t, repo, "new-secret", apptest.OtherPostgres(t), 200)
	fresh.must(fresh.orthanc.Start())
	_, err = fresh.upload()
	fresh.must(err)
	const stop, start = "systemctl stop orthanc", "systemctl start orthanc"

	// A restore that breaks off in the midst of the database.
	fresh.write("breaks", "")
	fresh.wantText(fresh.run(1, "restore", "--app", "vna"), "volume index", "vault restore --app vna goes on")
	fresh.wantCalls(stop, start)
	fresh.wantText(fresh.run(1, "run", "vna"), "interrupted")
	fresh.wantCalls()
	fresh.must(os.Remove(fresh.path("breaks")))
	fresh.wantText(fresh.run(0, "restore", "--app", "vna"), "roles")
	fresh.wantCalls(stop, start)
	fresh.want(saved)
	same(t, images, fresh.path("vna/images"))
	fresh.wantText(fresh.read("etc/orthanc.json"), "old-secret")

	// It is as good as the old one was: it takes images, and is backed up.
	lost, err := fresh.upload()
	fresh.must(err)
	fresh.run(0, "run", "vna")
	if out := fresh.run(0, "verify", "--app", "vna"); strings.Contains(out, "file-") {
		t.Errorf("what was restored has findings:\n%s", out)
	}
	var attachment string
	for line := range strings.Lines(fresh.pg.SQL(t, "orthanc", "SELECT uuid FROM attachedfiles JOIN resources ON id = internalid WHERE publicid = '"+lost+"'")) {
		attachment = strings.TrimSpace(line)
	}
	fresh.must(os.Remove(fresh.path("vna/images/" + attachment[:2] + "/" + attachment[2:4] + "/" + attachment)))
	fresh.run(0, "run", "vna")
	fresh.wantText(fresh.run(15, "verify", "--app", "vna"), "file-missing", attachment)
	fresh.run(0, fresh.at(repo, "check", "--read-data")...)
	fresh.orthanc.Kill()
}

// failures makes runs that must not store anything, or not count as complete.
func (v *vna) failures(repo string) {
	t := v.t
	before := v.backups(repo)
	fails := func(what string, texts ...string) {
		t.Helper()
		v.wantText(v.run(1, "run", "vna"), texts...)
		if n := v.backups(repo); n != before {
			t.Errorf("%s: %d backups, want %d", what, n, before)
		}
	}
	v.reconfigure("[/proc]", "["+v.path("vna")+"]")
	fails("the share is not mounted", "nothing is mounted")
	v.reconfigure("["+v.path("vna")+"]", "[/proc]")
	for _, what := range []string{"dies", "stops"} {
		v.write(what, "")
		fails("the dump "+what, "nothing was stored: a required volume is missing: index")
		v.must(os.Remove(v.path(what)))
	}
	rename(t, v.path("vna/images"), v.path("vna/away"))
	fails("the images are gone", "images")
	rename(t, v.path("vna/away"), v.path("vna/images"))
	v.reconfigure(v.pg.Socket, v.path("nowhere"))
	fails("the server does not answer", "is the server running")
	v.reconfigure(v.path("nowhere"), v.pg.Socket)
	// Of the volumes that are not required one is missing: it is stored, but takes the
	// place of no complete one.
	rename(t, v.path("etc"), v.path("away"))
	v.wantText(v.run(3, "run", "vna"), "configuration")
	rename(t, v.path("away"), v.path("etc"))
	v.wantText(v.run(0, v.at(repo, "backups", "--json")...), `"state":"complete"`)
}
