//go:build linux

package sftp

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"
)

var ctx = context.Background()

const sshd = "/usr/sbin/sshd"

// must stops a test whose preparations fail.
func must(t testing.TB, errs ...error) {
	t.Helper()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
}

// server is a real OpenSSH server on a loopback port, with keys of its own.
type server struct {
	t       testing.TB
	dir     string // its files; data is below
	port    int
	uid     int
	user    string
	host    ssh.PublicKey
	client  string // private key file that may log in
	config  string // path
	process *exec.Cmd
}

// options of a server.
type options struct {
	uid    int    // who runs it, if we are root
	extra  string // lines for sshd_config
	base   string // where its files go; "": a temporary directory
	client string // a private key file, in place of a new one
}

// newKey writes a new private key and its public half, and returns the latter.
func newKey(t testing.TB, file, passphrase string) ssh.PublicKey {
	t.Helper()
	pub, priv, err := ed25519.GenerateKey(rand.Reader)
	must(t, err)
	var block *pem.Block
	if passphrase == "" {
		block, err = ssh.MarshalPrivateKey(priv, "")
	} else {
		block, err = ssh.MarshalPrivateKeyWithPassphrase(priv, "", []byte(passphrase))
	}
	must(t, err)
	key, err := ssh.NewPublicKey(pub)
	must(t, err, os.WriteFile(file, pem.EncodeToMemory(block), 0o600), os.WriteFile(file+".pub", ssh.MarshalAuthorizedKey(key), 0o644))
	return key
}

// needSSHD skips where no server is installed, except in CI.
func needSSHD(t testing.TB) {
	t.Helper()
	if _, err := os.Stat(sshd); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal(err)
		}
		t.Skip("needs openssh-server")
	}
}

// freePort returns a port that nobody listens on now.
func freePort(t testing.TB) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

func newServer(t testing.TB, o options) *server {
	t.Helper()
	needSSHD(t)
	s := &server{t: t, dir: o.base, port: freePort(t), uid: os.Getuid()}
	if s.dir == "" {
		s.dir = t.TempDir()
	}
	s.user = map[int]string{0: "root", 65534: "nobody"}[s.uid]
	if s.uid == 0 && o.uid != 0 {
		s.uid, s.user = o.uid, "nobody"
	}
	if s.user == "" {
		s.user = os.Getenv("USER")
	}
	s.host = newKey(t, s.dir+"/host", "")
	s.client = o.client
	if s.client == "" {
		s.client = s.dir + "/client"
		newKey(t, s.client, "")
	}
	authorized, err := os.ReadFile(s.client + ".pub")
	must(t, err, os.Mkdir(s.dir+"/data", 0o755), os.WriteFile(s.dir+"/authorized", authorized, 0o644))
	if s.uid != os.Getuid() {
		must(t, os.Chown(s.dir+"/host", s.uid, -1), os.Chown(s.dir+"/data", s.uid, -1))
		for d := s.dir; d != "/" && d != os.TempDir(); d = filepath.Dir(d) {
			must(t, os.Chmod(d, 0o755))
		}
	}
	if s.uid == 0 {
		must(t, os.MkdirAll("/run/sshd", 0o755))
	}
	// A server that may not read /etc/shadow takes its user for locked, unless
	// it leaves that to PAM.
	pam := "no"
	if s.uid != 0 {
		pam = "yes"
	}
	s.config = s.dir + "/sshd_config"
	must(t, os.WriteFile(s.config, []byte(fmt.Sprintf(`ListenAddress 127.0.0.1
Port %d
HostKey %s/host
PidFile none
AuthorizedKeysFile %[2]s/authorized
StrictModes no
UsePAM %[4]s
PermitRootLogin prohibit-password
PasswordAuthentication no
KbdInteractiveAuthentication no
MaxStartups 100
LogLevel VERBOSE
Subsystem sftp internal-sftp
%[3]s
`, s.port, s.dir, o.extra, pam)), 0o644))
	s.start()
	t.Cleanup(func() {
		s.kill()
		if text, err := os.ReadFile(s.dir + "/log"); t.Failed() && err == nil {
			t.Logf("the server's log ends with:\n%s", text[max(0, len(text)-1000):])
		}
	})
	return s
}

// start starts the server and waits until it listens.
func (s *server) start() {
	s.t.Helper()
	log, err := os.OpenFile(s.dir+"/log", os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	must(s.t, err)
	defer log.Close()
	s.process = exec.Command(sshd, "-D", "-e", "-f", s.config)
	s.process.Stdout, s.process.Stderr = log, log
	if s.uid != os.Getuid() {
		s.process.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(s.uid), Gid: 65534}}
	}
	must(s.t, s.process.Start())
	for range 200 {
		conn, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", s.port))
		if err == nil {
			conn.Close()
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	text, _ := os.ReadFile(s.dir + "/log")
	s.t.Fatalf("the server does not listen: %s", text)
}

// kill ends the server and its sessions at once, as a power cut would.
func (s *server) kill() {
	if s.process == nil {
		return
	}
	sessions := descendants(s.process.Process.Pid)
	_ = s.process.Process.Kill()
	for _, pid := range sessions {
		_ = syscall.Kill(pid, syscall.SIGKILL)
	}
	_ = s.process.Wait()
	s.process = nil
}

// descendants returns the processes that pid has started, directly or not.
func descendants(pid int) (list []int) {
	stats, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, f := range stats {
		data, err := os.ReadFile(f)
		if err != nil {
			continue
		}
		// "pid (name) state ppid ..."
		fields := strings.Fields(string(data[strings.LastIndexByte(string(data), ')')+1:]))
		if len(fields) < 2 || fields[1] != strconv.Itoa(pid) {
			continue
		}
		child, _ := strconv.Atoi(filepath.Base(filepath.Dir(f)))
		list = append(append(list, child), descendants(child)...)
	}
	return list
}

// known writes a known_hosts file with the server's key, as the address that
// port has.
func (s *server) known(port int) string {
	f, err := os.CreateTemp(s.dir, "known")
	must(s.t, err)
	defer f.Close()
	_, err = fmt.Fprintf(f, "[127.0.0.1]:%d %s", port, ssh.MarshalAuthorizedKey(s.host))
	must(s.t, err)
	return f.Name()
}

var counter struct {
	sync.Mutex
	n int
}

// place returns a path on the server where nothing is yet.
func (s *server) place() string {
	counter.Lock()
	defer counter.Unlock()
	counter.n++
	return fmt.Sprintf("%s/data/repo%d", s.dir, counter.n)
}

// cfg returns how to get to a place on the server.
func (s *server) cfg(path string) Config {
	return Config{
		Host: "127.0.0.1", Port: s.port, User: s.user, Path: path, Home: s.dir, ConfigFiles: []string{},
		Identities: []string{s.client}, KnownHosts: []string{s.known(s.port)}, AgentSocket: "none", Timeout: 10 * time.Second,
	}
}

func mustOpen(t testing.TB, cfg Config) *Store {
	t.Helper()
	s, err := Open(ctx, cfg)
	if err != nil {
		t.Fatalf("open: %v", err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func itoa(n int) string { return strconv.Itoa(n) }
