//go:build linux

package sftptest

import (
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
	"syscall"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"vault/internal/porttest"
)

// program is where Debian installs the server, which is not in everybody's PATH.
const program = "/usr/sbin/sshd"

// startTime bounds the start of a server, which takes a moment on a machine that is
// not busy.
const startTime = 3 * time.Minute

// must stops a test whose preparations fail.
func must(t testing.TB, errs ...error) {
	t.Helper()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
}

// Server is a running SSH server. It is killed when its test ends.
type Server struct {
	Dir    string // its files; Dir/data is for repositories and the user's own
	Port   int    // the same after a restart
	UID    int
	User   string
	Host   ssh.PublicKey
	Client string // private key file that may log in
	Config string // path of sshd_config

	t       testing.TB
	process *exec.Cmd
}

// Options of a server. The zero value is one that runs as this process's user.
type Options struct {
	UID    int    // who runs it, if we are root
	Extra  string // lines for sshd_config
	Base   string // where its files go; "": a temporary directory
	Client string // a private key file, in place of a new one
}

// NewKey writes a new private key and its public half, and returns the latter.
func NewKey(t testing.TB, file, passphrase string) ssh.PublicKey {
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

// Need skips where no server is installed, except in CI.
func Need(t testing.TB) {
	t.Helper()
	if _, err := os.Stat(program); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal(err)
		}
		t.Skip("needs openssh-server")
	}
}

// Start starts a server and waits until it listens.
func Start(t testing.TB, o Options) *Server {
	t.Helper()
	Need(t)
	s := &Server{t: t, Dir: o.Base, Port: porttest.For(t), UID: os.Getuid()}
	if s.Dir == "" {
		s.Dir = t.TempDir()
	}
	s.User = map[int]string{0: "root", 65534: "nobody"}[s.UID]
	if s.UID == 0 && o.UID != 0 {
		s.UID, s.User = o.UID, "nobody"
	}
	if s.User == "" {
		s.User = os.Getenv("USER")
	}
	s.Host = NewKey(t, s.Dir+"/host", "")
	s.Client = o.Client
	if s.Client == "" {
		s.Client = s.Dir + "/client"
		NewKey(t, s.Client, "")
	}
	authorized, err := os.ReadFile(s.Client + ".pub")
	must(t, err, os.Mkdir(s.Dir+"/data", 0o755), os.WriteFile(s.Dir+"/authorized", authorized, 0o644))
	if s.UID != os.Getuid() {
		must(t, os.Chown(s.Dir+"/host", s.UID, -1), os.Chown(s.Dir+"/data", s.UID, -1))
		for d := s.Dir; d != "/" && d != os.TempDir(); d = filepath.Dir(d) {
			if st, err := os.Stat(d); err == nil && st.Mode().Perm()&0o005 != 0o005 { // what is open to all stays as it is
				must(t, os.Chmod(d, 0o755))
			}
		}
	}
	if s.UID == 0 {
		must(t, os.MkdirAll("/run/sshd", 0o755))
	}
	// A server that may not read /etc/shadow takes its user for locked, unless
	// it leaves that to PAM.
	pam := "no"
	if s.UID != 0 {
		pam = "yes"
	}
	s.Config = s.Dir + "/sshd_config"
	must(t, os.WriteFile(s.Config, []byte(fmt.Sprintf(`ListenAddress 127.0.0.1
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
`, s.Port, s.Dir, o.Extra, pam)), 0o644))
	s.Restart()
	t.Cleanup(func() {
		s.Kill()
		if text, err := os.ReadFile(s.Dir + "/log"); t.Failed() && err == nil {
			t.Logf("the server's log ends with:\n%s", text[max(0, len(text)-1000):])
		}
	})
	return s
}

// Restart starts a server that has been killed, at the same port, and waits
// until it listens.
func (s *Server) Restart() {
	s.t.Helper()
	log, err := os.OpenFile(s.Dir+"/log", os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	must(s.t, err)
	defer log.Close()
	s.process = exec.Command(program, "-D", "-e", "-f", s.Config)
	s.process.Stdout, s.process.Stderr = log, log
	if s.UID != os.Getuid() {
		s.process.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(s.UID), Gid: 65534}}
	}
	must(s.t, s.process.Start())
	for deadline := time.Now().Add(startTime); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		conn, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", s.Port))
		if err == nil {
			conn.Close()
			return
		}
	}
	text, _ := os.ReadFile(s.Dir + "/log")
	s.t.Fatalf("the server does not listen: %s", text)
}

// Kill ends the server and its sessions at once, as a power cut would: when it
// returns, none of them does anything any more. Nothing happens if it is not running.
func (s *Server) Kill() {
	if s.process == nil {
		return
	}
	// Who is stopped starts nobody else: all are known when there are no more than before.
	top := s.process.Process.Pid
	sessions := []int{}
	for before := -1; before != len(sessions); {
		for _, pid := range append(sessions, top) {
			_ = syscall.Kill(pid, syscall.SIGSTOP)
		}
		for _, pid := range append(sessions, top) {
			s.await(pid, "TtZX")
		}
		before, sessions = len(sessions), descendants(top)
	}
	_ = s.process.Process.Kill()
	for _, pid := range sessions {
		_ = syscall.Kill(pid, syscall.SIGKILL)
	}
	_ = s.process.Wait()
	for _, pid := range sessions { // what one has begun to ask of the system it may finish
		s.await(pid, "ZX")
	}
	s.process = nil
}

// await waits until a process is gone, or in one of these states of /proc/pid/stat.
func (s *Server) await(pid int, states string) {
	for deadline := time.Now().Add(startTime); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		fields := stat(fmt.Sprintf("/proc/%d/stat", pid))
		if len(fields) == 0 || strings.Contains(states, fields[0]) {
			return
		}
	}
	s.t.Errorf("process %d of the server does not end", pid)
}

// stat returns what /proc/pid/stat tells after the name: the state, the parent, and
// more. It is empty if there is no such process.
func stat(file string) []string {
	data, err := os.ReadFile(file)
	if err != nil {
		return nil
	}
	return strings.Fields(string(data[strings.LastIndexByte(string(data), ')')+1:]))
}

// descendants returns the processes that pid has started, directly or not.
func descendants(pid int) (list []int) {
	children := map[string][]int{}
	stats, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, f := range stats {
		if fields := stat(f); len(fields) > 1 {
			child, _ := strconv.Atoi(filepath.Base(filepath.Dir(f)))
			children[fields[1]] = append(children[fields[1]], child)
		}
	}
	list = append(list, children[strconv.Itoa(pid)]...)
	for i := 0; i < len(list); i++ {
		list = append(list, children[strconv.Itoa(list[i])]...)
	}
	return list
}

// Known writes a known_hosts file with the server's key, as that of a port of
// 127.0.0.1, and returns its path.
func (s *Server) Known(port int) string {
	f, err := os.CreateTemp(s.Dir, "known")
	must(s.t, err)
	defer f.Close()
	_, err = fmt.Fprintf(f, "[127.0.0.1]:%d %s", port, ssh.MarshalAuthorizedKey(s.Host))
	must(s.t, err)
	return f.Name()
}
