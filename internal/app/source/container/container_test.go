//go:build linux

package container

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"vault/internal/app/apptest"
	"vault/internal/app/source"
	"vault/snapshot"
	"vault/snapshot/archive"
	"vault/snapshot/restore"
)

func TestMain(m *testing.M) { os.Exit(apptest.Main(m)) }

// rootful returns a real podman with a storage of its own.
func rootful(t *testing.T) Engine {
	t.Helper()
	apptest.Need(t, "podman", "podman")
	if os.Geteuid() != 0 {
		t.Skip("not root")
	}
	dir := t.TempDir()
	return Engine{Args: []string{"--root", dir + "/root", "--runroot", dir + "/run", "--storage-driver", "vfs"}}
}

// rootless returns the real podman of an account of its own: the servers' user with
// another home.
func rootless(t *testing.T) Engine {
	t.Helper()
	e := rootful(t)
	home, err := apptest.Dir()
	if err != nil {
		t.Fatal(err)
	}
	account, err := source.LookupAccount("nobody")
	if err != nil {
		t.Fatal(err)
	}
	account.Home = home
	// Without a session podman keeps there what is in /run/user otherwise.
	if err := os.MkdirAll(home+"/rundir", 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Chown(home+"/rundir", int(account.UID), int(account.GID)); err != nil {
		t.Fatal(err)
	}
	e.As = account
	e.Args = []string{"--root", home + "/root", "--runroot", home + "/run", "--storage-driver", "vfs", "--tmpdir", home + "/tmp", "--cgroup-manager", "cgroupfs"}
	t.Cleanup(func() { // podman leaves a process that holds the namespace
		filepath.WalkDir(home, func(path string, d os.DirEntry, err error) error {
			if err == nil && d.Name() == "pause.pid" {
				text, _ := os.ReadFile(path)
				if pid, err := strconv.Atoi(strings.TrimSpace(string(text))); err == nil && pid > 1 {
					syscall.Kill(pid, syscall.SIGKILL)
				}
			}
			return nil
		})
	})
	return e
}

func TestPodman(t *testing.T) {
	e := rootful(t)
	if err := e.Preflight(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := e.Inspect(t.Context(), "wiki-data"); !errors.Is(err, ErrNoVolume) {
		t.Errorf("before it exists: %v", err)
	}
	v, err := e.Ensure(t.Context(), "wiki-data")
	if err != nil {
		t.Fatal(err)
	}
	again, err := e.Ensure(t.Context(), "wiki-data")
	if err != nil || again.Path != v.Path || v.IDs != nil || v.Driver != "local" || v.Readable() != nil {
		t.Errorf("%+v, then %+v, %v", v, again, err)
	}
	if st, err := os.Stat(v.Path); err != nil || !st.IsDir() || !strings.HasSuffix(v.Path, "/volumes/wiki-data/_data") {
		t.Errorf("it lies at %s: %v", v.Path, err)
	}
	if list, err := e.List(t.Context()); err != nil || !slices.Equal(list, []string{"wiki-data"}) {
		t.Errorf("%v, %v", list, err)
	}
	for _, bad := range []string{"", "-x", "../x", "a b", "a/b", ".x"} {
		if _, err := e.Inspect(t.Context(), bad); err == nil || errors.Is(err, ErrNoVolume) {
			t.Errorf("%q: %v", bad, err)
		}
	}
	// A volume that is a mount has a directory that is empty when nobody uses it.
	if _, err := e.ask(t.Context(), "volume", "create", "--opt", "type=tmpfs", "--opt", "device=tmpfs", "mounted"); err != nil {
		t.Fatal(err)
	}
	if _, err := e.Inspect(t.Context(), "mounted"); !errors.Is(err, ErrNotMounted) {
		t.Errorf("a mount: %v", err)
	}
}

func TestRootless(t *testing.T) {
	e := rootless(t)
	v, err := e.Ensure(t.Context(), "data")
	if err != nil {
		t.Skipf("rootless podman does not work here: %v", err)
	}
	if v.IDs == nil || len(v.IDs.Users) == 0 || v.IDs.Users[0].Inside != 0 || v.IDs.Users[0].Outside != e.As.UID || v.IDs.Groups[0].Outside != e.As.GID {
		t.Fatalf("its namespace is %+v", v.IDs)
	}
	path := filepath.Join(v.Path, "file")
	if err := os.WriteFile(path, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chown(path, int(e.As.UID), int(e.As.GID)); err != nil {
		t.Fatal(err)
	}
	r := apptest.NewRepo(t)
	saved := r.Save(t, archive.Volume{Name: "v", Source: archive.Path{Path: v.Path}, IDs: v.IDs.Saved()}).Backup.Volumes[0]
	for n, err := range snapshot.ReadDir(t.Context(), r, saved.Root.Tree) {
		if err != nil || n.UID != 0 || n.GID != 0 {
			t.Errorf("%s belongs to %d:%d inside (%v)", n.Name, n.UID, n.GID, err)
		}
	}
}

// A backup of one machine's namespace comes back in another's.
func TestOwnersMove(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root may give files away")
	}
	here := &Mapping{Users: []Range{{0, 1001, 1}, {1, 100000, 65536}}, Groups: []Range{{0, 1001, 1}, {1, 100000, 65536}}}
	there := &Mapping{Users: []Range{{0, 2002, 1}, {1, 300000, 1000}}, Groups: []Range{{0, 2002, 1}, {1, 300000, 65536}}}
	dir := t.TempDir()
	owners := map[string]struct{ from, user, group int }{
		"own": {1001, 2002, 2002}, "www": {100032, 300032, 300032}, "large": {105000, 65534, 305000}, "stranger": {5, 65534, 365533},
	}
	for name, o := range owners {
		p := filepath.Join(dir, name)
		if err := os.WriteFile(p, []byte(name), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chown(p, o.from, o.from); err != nil {
			t.Fatal(err)
		}
	}
	r := apptest.NewRepo(t)
	saved := r.Save(t, archive.Volume{Name: "v", Source: archive.Path{Path: dir}, IDs: here.Saved()}).Backup.Volumes[0]
	for n, err := range snapshot.ReadDir(t.Context(), r, saved.Root.Tree) {
		if err != nil {
			t.Fatal(err)
		}
		if want := map[string]uint32{"own": 0, "www": 33, "large": 5001, "stranger": 65534}[n.Name]; n.UID != want || n.User != "" {
			t.Errorf("%s is stored as %d %q, want %d", n.Name, n.UID, n.User, want)
		}
	}
	target := t.TempDir()
	report, err := restore.Run(t.Context(), restore.Options{Source: r, Target: target, Owners: there.Rules()}, []restore.Volume{{Volume: &saved, Dir: "."}})
	if err != nil || report.ProblemCount != 0 {
		t.Fatalf("%v, %v", err, report.Problems)
	}
	for name, o := range owners {
		st, err := os.Stat(filepath.Join(target, name))
		if err != nil {
			t.Fatal(err)
		}
		if sys := st.Sys().(*syscall.Stat_t); int(sys.Uid) != o.user || int(sys.Gid) != o.group {
			t.Errorf("%s belongs to %d:%d, want %d:%d", name, sys.Uid, sys.Gid, o.user, o.group)
		}
	}
}

func TestRules(t *testing.T) {
	m := &Mapping{Users: []Range{{100, 5000, 10}, {0, 1000, 1}}, Groups: []Range{{0, 0, 4294967295}}}
	want := []restore.OwnerRule{{ID: 0, Count: 1, To: 1000}, {ID: 1, Count: 99, To: nobody, Same: true}, {ID: 100, Count: 10, To: 5000},
		{ID: 110, Count: 4294967185, To: nobody, Same: true}, {Group: true, Count: 4294967295}}
	if got := m.Rules(); !slices.Equal(got, want) {
		t.Errorf("%+v", got)
	}
	var none *Mapping
	if none.Rules() != nil || none.Saved() != nil {
		t.Error("no namespace has rules")
	}
}

func TestParseRanges(t *testing.T) {
	got, err := parseRanges([]byte("         0       1001          1\n         1     100000      65536\n"))
	if err != nil || !slices.Equal(got, []Range{{0, 1001, 1}, {1, 100000, 65536}}) {
		t.Errorf("%v, %v", got, err)
	}
	for _, bad := range []string{"", "x", "0 1", "0 1 0", "0 1 2 3", "-1 0 1", "4294967295 0 2", "0 4294967295 1\n", "0 0 4294967296"} {
		if got, err := parseRanges([]byte(bad)); err == nil {
			t.Errorf("%q: %v", bad, got)
		}
	}
}

// script makes a program that prints what docker does.
func script(t *testing.T, name, inspect string) Engine {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	text := "#!/bin/sh\ncase \"$*\" in\n*ls*) echo web_data;;\n*inspect*) cat <<'E'\n" + inspect + "\nE\n;;\n*) exit 1;;\nesac\n"
	if err := os.WriteFile(path, []byte(text), 0o755); err != nil {
		t.Fatal(err)
	}
	return Engine{Program: path}
}

// docker prints the fields that its reference documents (docker volume inspect).
func TestDocker(t *testing.T) {
	dir := t.TempDir()
	describe := func(name, driver, options, path string) string {
		return fmt.Sprintf(`[{"CreatedAt": "2024-04-19T11:00:21Z", "Driver": %q, "Labels": {"com.docker.compose.project": "web"}, "Mountpoint": %q, "Name": %q, "Options": %s, "Scope": "local"}]`, driver, path, name, options)
	}
	v, err := script(t, "docker", describe("web_data", "local", "null", dir)).Inspect(t.Context(), "web_data")
	if err != nil || v.Path != dir || v.IDs != nil || v.Labels["com.docker.compose.project"] != "web" {
		t.Errorf("%+v, %v", v, err)
	}
	for what, text := range map[string]string{
		"another volume": describe("other", "local", "null", dir), "no path": describe("web_data", "local", "null", ""), "no JSON": "Error",
		"nothing": "[]", "a plugin's": describe("web_data", "rclone", "null", dir), "an NFS mount": describe("web_data", "local", `{"type":"nfs","device":":/x"}`, dir),
		"gone": describe("web_data", "local", "null", dir+"/gone"), "relative": describe("web_data", "local", "null", "x"),
	} {
		if v, err := script(t, "docker", text).Inspect(t.Context(), "web_data"); err == nil {
			t.Errorf("%s: %+v", what, v)
		}
	}
	if _, err := (Engine{Program: "docker-that-is-not-there"}).Inspect(t.Context(), "x"); !errors.Is(err, source.ErrNoProgram) {
		t.Errorf("%v", err)
	}
	if got := (Engine{Args: []string{"--root", "x"}}).Unshare("vault", "run"); !slices.Equal(got, []string{"podman", "--root", "x", "unshare", "vault", "run"}) {
		t.Errorf("%q", got)
	}
}

func FuzzVolume(f *testing.F) {
	f.Add([]byte(`[{"Name":"x","Driver":"local","Mountpoint":"/","Options":{"device":"y"}}]`))
	f.Add([]byte("0 1 2\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		parseVolume(b, "x")
		if list, err := parseRanges(b); err == nil {
			m := Mapping{Users: list, Groups: list}
			m.Rules()
			m.Saved()
		}
	})
}
