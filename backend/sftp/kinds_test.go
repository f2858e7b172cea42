//go:build linux

package sftp

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/pkg/sftp"

	"vault/backend"
	"vault/backend/backendtest"
	"vault/backend/sftp/sftptest"
)

// A test binary that is started with this variable is an SFTP server on its
// standard input and output, with only the extensions that the variable names.
const serverVariable = "VAULT_TEST_SFTP_SERVER"

func TestMain(m *testing.M) {
	extensions, ok := os.LookupEnv(serverVariable)
	if !ok {
		os.Exit(m.Run())
	}
	stdio := struct {
		io.Reader
		io.WriteCloser
	}{os.Stdin, os.Stdout}
	err := sftp.SetSFTPExtensions(strings.Fields(extensions)...)
	if err == nil {
		var srv *sftp.Server
		if srv, err = sftp.NewServer(stdio); err == nil {
			err = srv.Serve()
		}
	}
	if err != nil && err != io.EOF {
		os.Exit(1)
	}
	os.Exit(0)
}

// poor returns the configuration of a server with only these extensions.
func poor(t testing.TB, dir, extensions string) (cfg Config, warnings func() string) {
	self, err := os.Executable()
	must(t, err)
	var mu sync.Mutex
	var said []string
	cfg = Config{Command: []string{"env", serverVariable + "=" + extensions, self}, Path: dir, Warn: func(w string) {
		mu.Lock()
		defer mu.Unlock()
		said = append(said, w)
	}}
	return cfg, func() string {
		mu.Lock()
		defer mu.Unlock()
		return strings.Join(said, "\n")
	}
}

// TestPoorServers: what a server lacks is said, and refused where it matters.
func TestPoorServers(t *testing.T) {
	t.Parallel()
	t.Run("without fsync", func(t *testing.T) {
		cfg, warnings := poor(t, "", "hardlink@openssh.com posix-rename@openssh.com statvfs@openssh.com")
		backendtest.Run(t, func(t testing.TB) backend.Backend {
			cfg := cfg
			cfg.Path = t.TempDir() + "/repo"
			return mustOpen(t, cfg)
		})
		if w := warnings(); !strings.Contains(w, "fsync@openssh.com") || strings.Contains(w, "hardlink") {
			t.Errorf("warnings: %s", w)
		}
	})
	t.Run("with nothing", func(t *testing.T) {
		dir := t.TempDir() + "/repo"
		sftptest.Need(t)
		cfg, warnings := poor(t, dir, "")
		cfg.Command = []string{"/usr/lib/openssh/sftp-server", "-P", "hardlink,posix-rename,fsync,statvfs"}
		s := mustOpen(t, cfg)
		must(t, s.Put(ctx, "a/x", []byte("first")))
		mustHold(t, s, "a/x", []byte("first"))
		if err := s.Put(ctx, "a/x", []byte("second")); !errors.Is(err, errors.ErrUnsupported) || backend.Hint(err) == "" {
			t.Errorf("replace: %v", err)
		}
		for _, name := range []string{"a/x", "a/y"} {
			if err := s.Create(ctx, name, nil); !errors.Is(err, errors.ErrUnsupported) || errors.Is(err, fs.ErrExist) || backend.Hint(err) == "" {
				t.Errorf("create %s: %v", name, err)
			}
		}
		mustHold(t, s, "a/x", []byte("first"))
		if got := listed(t, s, ""); !slices.Equal(got, []string{"a/x"}) {
			t.Errorf("list: %q", got)
		}
		noTemps(t, dir)
		for _, want := range []string{"hardlink@", "posix-rename@", "fsync@", "statvfs@"} {
			if strings.Count(warnings(), want) != 1 {
				t.Errorf("warnings: %s", warnings())
			}
		}
	})
}

// TestSingleWriter: a server without hard links serves a single writer, who does
// not overwrite what exists.
func TestSingleWriter(t *testing.T) {
	t.Parallel()
	for _, extensions := range []string{"", "posix-rename@openssh.com"} {
		dir := t.TempDir()
		cfg, _ := poor(t, dir+"/repo", extensions)
		s := mustOpen(t, cfg)
		s.SingleWriter()
		must(t, s.Create(ctx, "commits/c", []byte("first")))
		if err := s.Create(ctx, "commits/c", []byte("second")); !errors.Is(err, fs.ErrExist) {
			t.Errorf("create again: %v", err)
		}
		mustHold(t, s, "commits/c", []byte("first"))
		noTemps(t, dir)
	}
}

// TestOwnSSH: the user's own ssh makes the connection.
func TestOwnSSH(t *testing.T) {
	t.Parallel()
	srv := newServer(t, sftptest.Options{})
	ssh, err := exec.LookPath("ssh")
	if err != nil {
		t.Skip("needs openssh-client")
	}
	cfg := Config{Path: srv.place(), Command: []string{ssh, "-F", "none", "-i", srv.Client, "-o", "UserKnownHostsFile=" + srv.Known(srv.Port), "-o", "IdentitiesOnly=yes", "-o", "BatchMode=yes",
		"-p", itoa(srv.Port), "-l", srv.User, "-s", "127.0.0.1", "sftp"}}
	s := mustOpen(t, cfg)
	data := noise(3 << 20)
	must(t, s.Put(ctx, "x", data))
	srv.Kill()
	srv.Restart()
	mustHold(t, s, "x", data)
	cfg.Command = slices.Replace(slices.Clone(cfg.Command), 4, 5, "/nonexistent")
	_, err = Open(ctx, cfg)
	if !errors.Is(err, backend.ErrUnreachable) || !strings.Contains(err.Error(), "Permission denied") {
		t.Errorf("a wrong key: %v", err)
	}
}

// TestChroot runs the suite where most backup servers keep their users.
func TestChroot(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root, to change the root directory")
	}
	t.Parallel()
	// Nobody else may be able to write to any parent, as in /tmp.
	base, err := os.MkdirTemp("/var/lib", "vault-test-")
	must(t, err)
	t.Cleanup(func() { os.RemoveAll(base) })
	must(t, os.Chmod(base, 0o755))
	srv := newServer(t, sftptest.Options{Base: base, Extra: "ChrootDirectory " + base + "\nForceCommand internal-sftp"})
	n := 0
	backendtest.Run(t, func(t testing.TB) backend.Backend {
		n++
		return mustOpen(t, srv.cfg("/data/repo"+itoa(n)))
	})
	for _, path := range []string{"", "/"} { // the root itself, to which our user may write
		s := mustOpen(t, srv.cfg(path))
		must(t, s.Create(ctx, "keys/"+itoa(len(path)), nil))
		if got := listed(t, s, "keys/"); len(got) != 1+len(path) {
			t.Errorf("path %q: %q", path, got)
		}
	}
	refused(t, "a parent outside", srv.cfg("/srv/none/repo"), backend.ErrUnreachable, "mounted")
}
