//go:build linux

package sftp

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha1"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"vault/backend"
	"vault/backend/sftp/sftptest"
	"vault/internal/porttest"
)

func listed(t testing.TB, s *Store, prefix string) (names []string) {
	t.Helper()
	for info, err := range s.List(ctx, prefix) {
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, info.Name)
	}
	return names
}

// TestMissingPlace: a place that is not there reads as empty, nothing makes it
// but a write, and that makes only the last component.
func TestMissingPlace(t *testing.T) {
	t.Parallel()
	srv := newServer(t, sftptest.Options{})
	dir := srv.place()
	s, other := mustOpen(t, srv.cfg(dir)), mustOpen(t, srv.cfg(dir))
	if _, err := s.Get(ctx, "config", 0, -1); !errors.Is(err, fs.ErrNotExist) || errors.Is(err, backend.ErrUnreachable) {
		t.Errorf("get: %v", err)
	}
	if err := s.Delete(ctx, "config"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("delete: %v", err)
	}
	if n, err := s.Sweep(ctx); n != 0 || err != nil {
		t.Errorf("sweep: %d, %v", n, err)
	}
	if _, err := os.Lstat(dir); !errors.Is(err, fs.ErrNotExist) {
		t.Fatalf("reading made the place: %v", err)
	}
	must(t, s.Create(ctx, "keys/1", []byte("key")))
	if got := listed(t, other, ""); !slices.Equal(got, []string{"keys/1"}) {
		t.Errorf("another process lists %q", got)
	}
	for path, want := range map[string]fs.FileMode{dir: 0o700 | fs.ModeDir, dir + "/keys": 0o700 | fs.ModeDir, dir + "/keys/1": 0o600} {
		if st, err := os.Stat(path); err != nil || st.Mode() != want {
			t.Errorf("%s has mode %v (%v), want %v", path, st.Mode(), err, want)
		}
	}
	// What has been there and is gone was not emptied but unmounted.
	must(t, os.RemoveAll(dir))
	_, gerr := s.Get(ctx, "keys/1", 0, -1)
	for _, err := range []error{gerr, s.Put(ctx, "config", nil), s.Create(ctx, "keys/1", nil), s.Delete(ctx, "keys/1")} {
		if !errors.Is(err, backend.ErrUnreachable) || errors.Is(err, fs.ErrNotExist) {
			t.Errorf("the place went away: %v", err)
		}
	}
	for _, err := range s.List(ctx, "") {
		if !errors.Is(err, backend.ErrUnreachable) {
			t.Errorf("list of a place that went away: %v", err)
		}
	}
}

// refused checks that a place cannot be opened, and why.
func refused(t *testing.T, what string, cfg Config, kind error, hint string) {
	t.Helper()
	s, err := newStore(cfg)
	var dials *dialCount
	if err == nil { // as Open does
		dials = &dialCount{dialer: s.dial}
		s.dial = dials
		err = s.reach(ctx)
	}
	if err == nil {
		s.Close()
		t.Errorf("%s: opened", what)
		return
	}
	if !errors.Is(err, kind) || !errors.Is(err, backend.ErrUnreachable) || errors.Is(err, fs.ErrNotExist) || kind != backend.ErrPermission && errors.Is(err, backend.ErrPermission) {
		t.Errorf("%s: wrong kind: %v", what, err)
	}
	if !strings.Contains(backend.Hint(err), hint) {
		t.Errorf("%s: hint %q of %v, want %q", what, backend.Hint(err), err, hint)
	}
	// What cannot pass is not tried again. A machine that holds a handshake up for a minute
	// makes it look as if it could.
	if dials != nil && dials.n > firstRetries {
		t.Errorf("%s: tried %d times, as if it could pass", what, dials.n)
	}
}

// dialCount counts attempts to connect. The first of them all is waited for before
// the count is read.
type dialCount struct {
	dialer
	n int
}

func (d *dialCount) dial(ctx context.Context, timeout time.Duration) (*link, error) {
	d.n++
	return d.dialer.dial(ctx, timeout)
}

// TestUnreachable: what is not evidence of absence is unreachable.
func TestUnreachable(t *testing.T) {
	t.Parallel()
	srv := newServer(t, sftptest.Options{})
	base := srv.Dir + "/data"
	must(t, os.WriteFile(base+"/file", nil, 0o600), os.Symlink(base+"/nowhere", base+"/dangling"), os.WriteFile(srv.Dir+"/none", nil, 0o600))
	sftptest.NewKey(t, srv.Dir+"/stranger", "")
	sftptest.NewKey(t, srv.Dir+"/locked", "secret")
	cfg := srv.cfg(srv.place())
	with := func(f func(*Config)) Config { c := cfg; f(&c); return c }
	for _, c := range []struct {
		what string
		cfg  Config
		kind error
		hint string
	}{
		{"missing parent", srv.cfg(base + "/none/repo"), backend.ErrUnreachable, "mounted"},
		{"a file", srv.cfg(base + "/file"), backend.ErrUnreachable, ""},
		{"below a file", srv.cfg(base + "/file/repo"), backend.ErrUnreachable, ""},
		{"a link to nowhere", srv.cfg(base + "/dangling"), backend.ErrUnreachable, "mounted"},
		{"nobody listens", with(func(c *Config) { c.Port = porttest.For(t) }), backend.ErrUnreachable, "nothing listens"},
		{"no such host", with(func(c *Config) { c.Host = "no-such-host.invalid" }), backend.ErrUnreachable, ""},
		{"unknown host key", with(func(c *Config) { c.KnownHosts = []string{srv.Dir + "/none"} }), backend.ErrUnreachable, "append this line to " + srv.Dir + "/none: [127.0.0.1]:"},
		{"no known hosts", with(func(c *Config) { c.KnownHosts = []string{srv.Dir + "/missing"} }), backend.ErrUnreachable, "compare the fingerprint"},
		{"a stranger's key", with(func(c *Config) { c.Identities = []string{srv.Dir + "/stranger"} }), backend.ErrPermission, "authorized_keys"},
		{"no key", with(func(c *Config) { c.Identities = []string{srv.Dir + "/missing"} }), backend.ErrPermission, "no key was found"},
		{"nobody to ask", with(func(c *Config) { c.Identities = []string{srv.Dir + "/locked"} }), backend.ErrPermission, "nobody can be asked"},
		{"another user", with(func(c *Config) { c.User = "vault-no-such-user" }), backend.ErrPermission, "authorized_keys"},
		{"no program", Config{Command: []string{"/nonexistent/ssh"}, Path: "x"}, backend.ErrUnreachable, "check the command"},
		{"a program that fails", Config{Command: []string{"sh", "-c", "echo no way >&2; exit 1"}, Path: "x"}, backend.ErrUnreachable, "check the command"},
		{"a program that talks", Config{Command: []string{"echo", "Welcome to this server, dear user of it!"}, Path: "x", Timeout: time.Minute}, backend.ErrUnreachable, "print nothing else"},
	} {
		refused(t, c.what, c.cfg, c.kind, c.hint)
	}
	srv.Kill()
	refused(t, "a dead server", cfg, backend.ErrUnreachable, "nothing listens")
	for _, bad := range []Config{{}, {Host: "-oProxyCommand=x"}, {Host: "a b"}, {Host: "h", Port: 70000}, {Host: "h", Path: "a\x00b"}} {
		if s, err := Open(ctx, bad); err == nil {
			s.Close()
			t.Errorf("%+v was opened", bad)
		}
	}
}

// TestHostKeys: only the key that is known opens the door.
func TestHostKeys(t *testing.T) {
	t.Parallel()
	srv := newServer(t, sftptest.Options{})
	other := sftptest.NewKey(t, srv.Dir+"/other", "")
	label := fmt.Sprintf("[127.0.0.1]:%d", srv.Port)
	line := func(marker, host string, key ssh.PublicKey) string {
		return strings.TrimLeft(marker+" ", " ") + host + " " + string(ssh.MarshalAuthorizedKey(key))
	}
	hashed := func(host string) string {
		salt := []byte("0123456789abcdefghij")
		mac := hmac.New(sha1.New, salt)
		mac.Write([]byte(host))
		return "|1|" + base64.StdEncoding.EncodeToString(salt) + "|" + base64.StdEncoding.EncodeToString(mac.Sum(nil))
	}
	rsa := "ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAAAgQC7JHoJfg6yNzLMOWet8Z49a4KD0dCspMAYvo2YAMB7/wdEycocujbhJ2n/seONi+5XqTqqFkM5VBl8rmkkFPZk/7x0xmdsTPECSWnHK+HhoaNDFPR3j8jQhVo1laxiqcEhAHegi5cwtFosuJAvSKAFKEvyD43siaqd1J+lZ3+Eow==\n"
	for _, c := range []struct {
		what, lines, fails string
	}{
		{"plain", line("", label, srv.Host), ""},
		{"hashed", line("", hashed(label), srv.Host), ""},
		{"hashed and changed", line("", hashed(label), other), "has changed"},
		{"without the port", line("", "127.0.0.1", srv.Host), ""},
		{"wildcard", line("", "[127.0.0.*]:*", srv.Host), ""},
		{"not this host", line("", "*,!"+label, srv.Host), "is unknown"},
		{"among nonsense", "nonsense\n# comment\n\n" + label + " ssh-new AAAA\n" + line("", label, srv.Host), ""},
		{"another host", line("", "[127.0.0.1]:1", srv.Host), "is unknown"},
		{"changed", line("", label, other), "has changed"},
		{"known by another kind of key", label + " " + rsa, "has changed"},
		{"one of two", line("", label, other) + line("", label, srv.Host), ""},
		{"revoked", line("", label, srv.Host) + line("@revoked", "*", srv.Host), "revoked"},
		{"an authority", line("@cert-authority", label, srv.Host), "is unknown"},
	} {
		file := srv.Dir + "/lines"
		must(t, os.WriteFile(file, []byte(c.lines), 0o600))
		cfg := srv.cfg(srv.place())
		cfg.KnownHosts = []string{file}
		s, err := Open(ctx, cfg)
		switch {
		case err == nil:
			s.Close()
			if c.fails != "" {
				t.Errorf("%s: accepted", c.what)
			}
		case c.fails == "":
			t.Errorf("%s: %v", c.what, err)
		case !strings.Contains(err.Error(), c.fails) || !strings.Contains(err.Error(), ssh.FingerprintSHA256(srv.Host)) || backend.Hint(err) == "" || !errors.Is(err, backend.ErrUnreachable):
			t.Errorf("%s: %v, hint %q", c.what, err, backend.Hint(err))
		}
	}
	// A certificate of an authority that is known.
	if out, err := exec.Command("ssh-keygen", "-q", "-s", srv.Dir+"/other", "-I", "test", "-h", "-n", "127.0.0.1", srv.Dir+"/host.pub").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	must(t, os.WriteFile(srv.Config, append([]byte("HostCertificate "+srv.Dir+"/host-cert.pub\n"), mustRead(t, srv.Config)...), 0o600),
		os.WriteFile(srv.Dir+"/lines", []byte(line("@cert-authority", label, other)), 0o600))
	srv.Kill()
	srv.Restart()
	cfg := srv.cfg(srv.place())
	cfg.KnownHosts = []string{srv.Dir + "/lines"}
	mustOpen(t, cfg)
	must(t, os.WriteFile(srv.Dir+"/lines", []byte(line("@cert-authority", label, srv.Host)), 0o600))
	refused(t, "a certificate of a stranger", cfg, backend.ErrUnreachable, "")
}

func mustRead(t testing.TB, file string) []byte {
	t.Helper()
	data, err := os.ReadFile(file)
	must(t, err)
	return data
}

// TestPermission: modes on the server are its refusal, not absence.
func TestPermission(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root, to run a server as another user")
	}
	t.Parallel()
	srv := newServer(t, sftptest.Options{UID: 65534})
	must(t, os.Mkdir(srv.Dir+"/data/closed", 0o700), os.Mkdir(srv.Dir+"/data/read", 0o755), os.WriteFile(srv.Dir+"/data/read/secret", nil, 0o600))
	refused(t, "below a closed directory", srv.cfg(srv.Dir+"/data/closed/repo"), backend.ErrPermission, "owner and mode")
	s := mustOpen(t, srv.cfg(srv.Dir+"/data/read"))
	_, gerr := s.Get(ctx, "secret", 0, -1)
	for _, err := range []error{gerr, s.Put(ctx, "x", nil), s.Create(ctx, "x", nil), s.Put(ctx, "a/b/x", nil), s.Delete(ctx, "secret")} {
		if !errors.Is(err, backend.ErrPermission) {
			t.Errorf("%v", err)
		}
	}
	if got := listed(t, s, ""); !slices.Equal(got, []string{"secret"}) {
		t.Errorf("list: %q", got)
	}
	// Where nothing may be made, the first write says so.
	s = mustOpen(t, srv.cfg(srv.Dir+"/data/read/repo"))
	if err := s.Create(ctx, "config", nil); !errors.Is(err, backend.ErrPermission) || errors.Is(err, fs.ErrNotExist) {
		t.Errorf("create: %v", err)
	}
}

// TestFull: a full disk is told from an existing object, leaves what is there
// whole and nothing else, and lets things be deleted.
func TestFull(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root, to mount")
	}
	t.Parallel()
	srv := newServer(t, sftptest.Options{})
	dir := srv.Dir + "/data/full"
	must(t, os.Mkdir(dir, 0o700))
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=4m,nr_inodes=200"); err != nil {
		t.Skipf("cannot mount: %v", err)
	}
	t.Cleanup(func() { must(t, syscall.Unmount(dir, syscall.MNT_DETACH)) })
	s := mustOpen(t, srv.cfg(dir))
	half := make([]byte, 2<<20)
	must(t, s.Put(ctx, "packs/a", half))
	for name, err := range map[string]error{"put": s.Put(ctx, "packs/b", make([]byte, 3<<20)), "create": s.Create(ctx, "packs/b", make([]byte, 3<<20)), "replace": s.Put(ctx, "packs/a", make([]byte, 3<<20))} {
		if !errors.Is(err, backend.ErrNoSpace) || errors.Is(err, fs.ErrExist) || errors.Is(err, backend.ErrUnreachable) || backend.Hint(err) == "" {
			t.Errorf("%s on a full disk: %v", name, err)
		}
	}
	if got := listed(t, s, ""); !slices.Equal(got, []string{"packs/a"}) {
		t.Errorf("left behind: %q", got)
	}
	if all, err := os.ReadDir(dir + "/packs"); err != nil || len(all) != 1 {
		t.Errorf("temporary files are left: %v, %v", all, err)
	}
	// What a failed attempt took is free when its file is closed, which nobody waits for.
	room := func(f func() error) (err error) {
		for i := 0; i < 3000; i++ {
			if err = f(); !errors.Is(err, backend.ErrNoSpace) {
				break
			}
			time.Sleep(20 * time.Millisecond)
		}
		return err
	}
	if err := room(func() error { return s.Create(ctx, "packs/a", []byte("x")) }); !errors.Is(err, fs.ErrExist) {
		t.Errorf("create over an object on a nearly full disk: %v", err)
	}
	if got, err := backend.ReadAll(ctx, s, "packs/a", 4<<20); err != nil || !bytes.Equal(got, half) {
		t.Errorf("the old object: %d bytes, %v", len(got), err)
	}
	var err error // no inodes: neither files nor directories
	for i := 0; err == nil && i < 300; i++ {
		err = s.Create(ctx, fmt.Sprintf("few/%d", i), nil)
	}
	if derr := s.Create(ctx, "other/x", nil); !errors.Is(err, backend.ErrNoSpace) || !errors.Is(derr, backend.ErrNoSpace) {
		t.Errorf("without inodes: %v, %v", err, derr)
	}
	must(t, s.Delete(ctx, "packs/a"), room(func() error { return s.Put(ctx, "packs/c", half) }))
	for i := 0; ; i++ { // busy as long as a file is open for writing, which ends in the background
		err := syscall.Mount("", dir, "", syscall.MS_REMOUNT|syscall.MS_RDONLY, "")
		if err == nil {
			break
		}
		if i == 5000 {
			t.Fatalf("a file is left open: %v", err)
		}
		time.Sleep(20 * time.Millisecond)
	}
	if err := s.Create(ctx, "late", nil); !errors.Is(err, backend.ErrPermission) || !strings.Contains(backend.Hint(err), "read-only") {
		t.Errorf("read-only: %v, %q", err, backend.Hint(err))
	}
}

// TestQuota: a quota of which the server's statvfs knows nothing is a full
// store as well.
func TestQuota(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root, to mount")
	}
	t.Parallel()
	srv := newServer(t, sftptest.Options{})
	dir, image := srv.Dir+"/data/quota", srv.Dir+"/image"
	must(t, os.Mkdir(dir, 0o700), os.WriteFile(image, nil, 0o600), os.Truncate(image, 256<<20))
	for _, args := range [][]string{{"mkfs.btrfs", "-q", image}, {"mount", "-o", "loop", image, dir}, {"btrfs", "quota", "enable", dir}, {"btrfs", "quota", "rescan", "-w", dir}, {"btrfs", "qgroup", "limit", "8M", dir}} {
		if out, err := exec.Command(args[0], args[1:]...).CombinedOutput(); err != nil {
			t.Skipf("%s: %v: %s", args, err, out)
		}
		if args[0] == "mount" {
			t.Cleanup(func() { must(t, syscall.Unmount(dir, syscall.MNT_DETACH)) })
		}
	}
	s := mustOpen(t, srv.cfg(dir))
	data := noise(3 << 20)
	must(t, s.Put(ctx, "packs/a", data))
	var err error
	for i := 0; err == nil && i < 10; i++ {
		err = s.Create(ctx, fmt.Sprintf("packs/b%d", i), data)
	}
	if !errors.Is(err, backend.ErrNoSpace) || errors.Is(err, fs.ErrExist) || !strings.Contains(backend.Hint(err), "quota") {
		t.Errorf("create beyond a quota: %v, hint %q", err, backend.Hint(err))
	}
	mustHold(t, s, "packs/a", data)
	must(t, s.Delete(ctx, "packs/a"))
}

// TestStrangers: what others left in the place is listed as it is, or kept out.
func TestStrangers(t *testing.T) {
	t.Parallel()
	srv := newServer(t, sftptest.Options{})
	dir := srv.place()
	s := mustOpen(t, srv.cfg(dir))
	must(t, s.Put(ctx, "packs/a", nil), os.Mkdir(dir+"/lost+found", 0o700), os.WriteFile(dir+"/lost+found/x", nil, 0o600),
		os.WriteFile(dir+"/Read me", nil, 0o600), os.Symlink("packs", dir+"/link"), syscall.Mkfifo(dir+"/pipe", 0o600),
		os.WriteFile(dir+"/.tmp-other", nil, 0o600), os.Mkdir(dir+"/dir", 0o700))
	if got := listed(t, s, ""); !slices.Equal(got, []string{"Read me", "packs/a"}) {
		t.Errorf("list: %q", got)
	}
	for _, name := range []string{"dir", "packs"} {
		if err := s.Put(ctx, name, nil); err == nil || errors.Is(err, fs.ErrExist) {
			t.Errorf("put over a directory: %v", err)
		}
		if err := s.Create(ctx, name, nil); err == nil || errors.Is(err, fs.ErrExist) {
			t.Errorf("create over a directory: %v", err)
		}
		if err := s.Delete(ctx, name); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("delete of a directory: %v", err)
		}
		if _, err := s.Get(ctx, name, 0, -1); err == nil {
			t.Error("a directory can be read")
		}
	}
	if _, err := os.Stat(dir + "/dir"); err != nil {
		t.Error("an empty directory was deleted")
	}
}

// TestSweep: only what nobody comes back to is removed.
func TestSweep(t *testing.T) {
	t.Parallel()
	srv := newServer(t, sftptest.Options{})
	dir := srv.place()
	s := mustOpen(t, srv.cfg(dir))
	must(t, s.Put(ctx, "packs/a", nil))
	old := time.Now().Add(-72 * time.Hour)
	for name, at := range map[string]time.Time{
		"/.tmp-old": old, "/packs/.tmp-old": old, "/packs/.tmp-young": time.Now(), "/packs/old": old, "/packs/.tmp-" + s.id + "-mine": old, "/packs/.tmp-given-up": time.Now(),
	} {
		must(t, os.WriteFile(dir+name, nil, 0o600), os.Chtimes(dir+name, at, at))
	}
	s.temps[dir+"/packs/.tmp-given-up"] = true
	if n, err := s.Sweep(ctx); n != 3 || err != nil {
		t.Errorf("swept %d, %v", n, err)
	}
	var left []string
	for _, d := range []string{dir, dir + "/packs"} {
		list, err := os.ReadDir(d)
		must(t, err)
		for _, e := range list {
			left = append(left, e.Name())
		}
	}
	slices.Sort(left)
	if want := slices.Sorted(slices.Values([]string{"packs", ".tmp-" + s.id + "-mine", ".tmp-young", "a", "old"})); !slices.Equal(left, want) {
		t.Errorf("left are %q, want %q", left, want)
	}
	if len(s.temps) != 0 {
		t.Errorf("still known: %v", s.temps)
	}
}
