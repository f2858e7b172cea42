//go:build linux

package sftp

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"

	"vault/backend"
	"vault/backend/sftp/sftptest"
)

// works checks that a store can be opened and used.
func works(t *testing.T, what string, cfg Config) {
	t.Helper()
	s, err := Open(ctx, cfg)
	if err != nil {
		t.Errorf("%s: %v (hint: %s)", what, err, backend.Hint(err))
		return
	}
	defer s.Close()
	if err := s.Put(ctx, "x", []byte(what)); err != nil {
		t.Errorf("%s: %v", what, err)
		return
	}
	mustHold(t, s, "x", []byte(what))
}

// TestAgent: keys that a real ssh-agent holds.
func TestAgent(t *testing.T) {
	t.Parallel()
	srv := newServer(t, sftptest.Options{})
	socket := t.TempDir() + "/agent"
	cmd := exec.Command("ssh-agent", "-D", "-a", socket)
	must(t, cmd.Start())
	t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
	var conn net.Conn
	for deadline := time.Now().Add(3 * time.Minute); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		var err error
		if conn, err = net.Dial("unix", socket); err == nil {
			break
		}
	}
	if conn == nil {
		t.Fatal("the agent does not listen")
	}
	defer conn.Close()
	cfg := srv.cfg(srv.place())
	cfg.AgentSocket, cfg.Identities = socket, nil
	refused(t, "an empty agent", cfg, backend.ErrPermission, "no key was found")
	priv, err := ssh.ParseRawPrivateKey(mustRead(t, srv.Client))
	must(t, err, agent.NewClient(conn).Add(agent.AddedKey{PrivateKey: priv}))
	works(t, "agent", cfg)
	// A key that the agent holds is named by its public half.
	must(t, os.WriteFile(srv.Dir+"/only.pub", mustRead(t, srv.Client+".pub"), 0o600))
	sftptest.NewKey(t, srv.Dir+"/stranger", "")
	only := func(file string) Config {
		c := cfg
		c.ConfigFiles = []string{srv.Dir + "/only_config"}
		must(t, os.WriteFile(c.ConfigFiles[0], []byte("IdentitiesOnly yes\nIdentityFile "+file+"\n"), 0o600))
		return c
	}
	works(t, "IdentitiesOnly", only(srv.Dir+"/only"))
	refused(t, "IdentitiesOnly with another key", only(srv.Dir+"/stranger"), backend.ErrPermission, "authorized_keys")
	cfg.AgentSocket = srv.Dir + "/nowhere"
	refused(t, "no agent", cfg, backend.ErrPermission, "ssh agent")
}

// TestStuckAgent: an agent that does not answer, such as a forwarded one whose
// connection died, keeps nobody waiting: other keys are used, or what is wrong is said.
func TestStuckAgent(t *testing.T) {
	t.Parallel()
	srv := newServer(t, sftptest.Options{})
	socket := t.TempDir() + "/agent"
	l, err := net.Listen("unix", socket)
	must(t, err)
	t.Cleanup(func() { l.Close() }) // nobody accepts
	cfg := srv.cfg(srv.place())
	cfg.AgentSocket, cfg.Timeout = socket, 2*time.Second // half of it is the agent's
	must(t, hasty(t, cfg).Put(ctx, "x", nil))
	cfg.Identities, cfg.Retries = []string{srv.Dir + "/missing"}, -1
	if s, err := Open(ctx, cfg); err == nil {
		s.Close()
		t.Error("opened without a key")
	} else if !errors.Is(err, backend.ErrUnreachable) {
		t.Errorf("without a key: %v", err)
	}
}

// TestEncryptedKey: the passphrase is asked for once, when it is needed.
func TestEncryptedKey(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	sftptest.NewKey(t, dir+"/key", "secret")
	srv := newServer(t, sftptest.Options{Client: dir + "/key"})
	cfg := srv.cfg(srv.place())
	var asked atomic.Int64
	answers := []string{"wrong", "secret"}
	cfg.Passphrase = func(_ context.Context, file string) ([]byte, error) {
		if file != dir+"/key" {
			t.Errorf("asked for %s", file)
		}
		return []byte(answers[min(int(asked.Add(1))-1, len(answers)-1)]), nil
	}
	s := mustOpen(t, cfg)
	must(t, s.Put(ctx, "x", nil))
	for _, c := range s.conns {
		c.hangUp()
	}
	must(t, s.Put(ctx, "y", nil))
	if asked.Load() != 2 {
		t.Errorf("asked %d times, want 2", asked.Load())
	}
	asked.Store(0)
	answers = []string{"wrong"}
	if _, err := Open(ctx, cfg); !errors.Is(err, backend.ErrPermission) || !strings.Contains(backend.Hint(err), "passphrase") {
		t.Errorf("wrong passphrase: %v", err)
	}
	if asked.Load() != passphraseTries {
		t.Errorf("asked %d times", asked.Load())
	}
	cfg.Passphrase = func(context.Context, string) ([]byte, error) { return nil, errors.New("no terminal") }
	refused(t, "no terminal", cfg, backend.ErrPermission, "ssh-add")
	// Nobody is asked about a key that the server does not want.
	sftptest.NewKey(t, dir+"/other", "secret")
	asked.Store(0)
	cfg.Passphrase = func(context.Context, string) ([]byte, error) { asked.Add(1); return []byte("secret"), nil }
	cfg.Identities = []string{dir + "/other", dir + "/key"}
	works(t, "two keys", cfg)
	if asked.Load() != 1 {
		t.Errorf("asked %d times for one useful key", asked.Load())
	}
	// A slow human is not a stuck network. What a busy machine does not finish within
	// the time it does within a longer one.
	for cfg.Timeout = 300 * time.Millisecond; ; cfg.Timeout *= 3 {
		slow := 3 * cfg.Timeout
		cfg.Passphrase = func(context.Context, string) ([]byte, error) {
			time.Sleep(slow)
			return []byte("secret"), nil
		}
		s, err := Open(ctx, cfg)
		if err == nil {
			s.Close()
			break
		}
		if cfg.Timeout > 10*time.Second {
			t.Fatalf("slow human: %v", err)
		}
	}
}

// TestSSHConfig: aliases, files with tokens, jumps, through real servers.
func TestSSHConfig(t *testing.T) {
	t.Parallel()
	first := newServer(t, sftptest.Options{})
	second := newServer(t, sftptest.Options{Client: first.Client})
	home := t.TempDir()
	must(t, os.MkdirAll(home+"/.ssh/conf.d", 0o700),
		os.WriteFile(home+"/.ssh/conf.d/a", []byte(fmt.Sprintf(`
Host target
	HostName = 127.0.0.1
	Port %d
	HostKeyAlias the-target
Host bastion b2
	HostName "127.0.0.1"
	Port %d
`, second.Port, first.Port)), 0o600),
		os.WriteFile(home+"/.ssh/config", []byte(`
# jumps
Include conf.d/*
Host via-bastion
	ProxyJump bastion
	HostName 127.0.0.1
	Port `+fmt.Sprint(second.Port)+`
Host via-both
	ProxyJump via-bastion,b2
	HostName 127.0.0.1
	Port `+fmt.Sprint(second.Port)+`
Host circle
	ProxyJump circle2
Host circle2
	ProxyJump circle
Host cmd
	ProxyCommand nc %h %p
Match host nothing
	User nobody-at-all
Host *
	User `+first.User+`
	IdentityFile %d/.ssh/%u-key
	UserKnownHostsFile ~/.ssh/hosts /dev/null
`), 0o600))
	who := newSSHConfig(home, nil).localUser
	hosts := fmt.Sprintf("[127.0.0.1]:%d %s[127.0.0.1]:%d %sthe-target %[4]s", first.Port, ssh.MarshalAuthorizedKey(first.Host), second.Port, ssh.MarshalAuthorizedKey(second.Host))
	hosts += fmt.Sprintf("[the-target]:%d %s", second.Port, ssh.MarshalAuthorizedKey(second.Host))
	must(t, os.WriteFile(home+"/.ssh/"+who+"-key", mustRead(t, first.Client), 0o600), os.WriteFile(home+"/.ssh/hosts", []byte(hosts), 0o600))
	cfg := func(host string) Config {
		return Config{Host: host, Path: second.Dir + "/data/" + host, Home: home, AgentSocket: "none", Timeout: time.Minute}
	}
	works(t, "alias", cfg("target"))
	before := sessions(first)
	works(t, "jump", cfg("via-bastion"))
	if sessions(first) == before {
		t.Error("the jump host was not used")
	}
	works(t, "two jumps", cfg("via-both"))
	refused(t, "circle", cfg("circle"), backend.ErrUnreachable, "")
	refused(t, "ProxyCommand", cfg("cmd"), backend.ErrUnreachable, "ProxyJump")
	first.Kill()
	refused(t, "a dead jump host", cfg("via-bastion"), backend.ErrUnreachable, "nothing listens")
}

// sessions counts the logins that a server has seen.
func sessions(s *server) int {
	return strings.Count(string(mustRead(s.t, s.Dir+"/log")), "Accepted publickey")
}

// TestLookUp: what ssh_config(5) says, without a network.
func TestLookUp(t *testing.T) {
	home := t.TempDir()
	file := home + "/config"
	must(t, os.WriteFile(home+"/more", []byte("Host inc\n  User from-include\nHost *\n  Port 99\n"), 0o600), os.WriteFile(file, []byte(`
User global
host = "quoted" *.example.org !bad.example.org
  hostname %h.internal
  port=2222 # comment
  IdentityFile ~/a
  IdentityFile "/b c/%r@%h:%p-%n-%%"
  identitiesonly YES
Match originalhost quoted user global
  HostKeyAlias matched
Match exec "true"
  HostKeyAlias executed
Match all
  IdentityFile none
  IdentityFile ${VAULT_TEST_DIR}/key
Host inc
  Include `+home+`/more
`), 0o600))
	t.Setenv("VAULT_TEST_DIR", "/env")
	c := newSSHConfig(home, []string{file, home + "/missing"})
	get := func(alias, user string) hostConfig {
		h, err := c.lookUp(alias, user)
		must(t, err)
		return h
	}
	q := get("quoted", "")
	if q.hostName != "quoted.internal" || q.port != 2222 || q.user != "global" || !q.identitiesOnly || q.hostKeyAlias != "matched" ||
		!slices.Equal(q.identities, []string{home + "/a", "/b c/global@quoted.internal:2222-quoted-%", "/env/key"}) {
		t.Errorf("quoted: %+v", q)
	}
	if h := get("Quoted", "me"); h.user != "me" || h.hostKeyAlias != "" || h.port != 2222 {
		t.Errorf("given user: %+v", h)
	}
	if h := get("bad.example.org", ""); h.port != 22 || h.hostName != "bad.example.org" {
		t.Errorf("negated: %+v", h)
	}
	if h := get("inc", ""); h.user != "global" || h.port != 99 {
		t.Errorf("included: %+v", h)
	}
	if h := get("other", ""); h.port != 22 {
		t.Errorf("an include of another host's block applies: %+v", h)
	}
	for _, bad := range []string{"Host \"x\n", "Port 0\n", "Port x\n", "Include " + home + "/bad\n"} {
		must(t, os.WriteFile(home+"/bad", []byte(bad), 0o600))
		if _, err := newSSHConfig(home, []string{home + "/bad"}).lookUp("x", ""); err == nil {
			t.Errorf("%q is taken", bad)
		}
	}
}

func FuzzConfig(f *testing.F) {
	f.Add("Host a\n Port 1\n", "a")
	f.Add("Match host \"a\" !user b\nProxyJump x@[::1]:22,y", "*?")
	f.Add("IdentityFile %h${HOME}%", "x")
	f.Fuzz(func(t *testing.T, text, alias string) {
		file := t.TempDir() + "/config"
		if strings.Contains(strings.ToLower(text), "include") || os.WriteFile(file, []byte(text), 0o600) != nil {
			return
		}
		h, err := newSSHConfig("/home", []string{file}).lookUp(alias, "")
		if err == nil && (h.port < 1 || h.port > 65535) {
			t.Errorf("port %d", h.port)
		}
	})
}

func TestParse(t *testing.T) {
	for s, want := range map[string]Config{
		"sftp://bk@nas:2222/srv/x":   {User: "bk", Host: "nas", Port: 2222, Path: "/srv/x"},
		"sftp://nas":                 {Host: "nas", Path: "/"},
		"SFTP://nas/a%20b":           {Host: "nas", Path: "/a b"},
		"sftp://[::1]:22/x":          {Host: "::1", Port: 22, Path: "/x"},
		"sftp://me%40home@nas/x":     {User: "me@home", Host: "nas", Path: "/x"},
		"sftp:bk@nas:vault":          {User: "bk", Host: "nas", Path: "vault"},
		"sftp:nas:/abs/a:b":          {Host: "nas", Path: "/abs/a:b"},
		"sftp:nas:":                  {Host: "nas"},
		"sftp:nas:~/x":               {Host: "nas", Path: "x"},
		"sftp:bk@[fe80::1%eth0]:a/b": {User: "bk", Host: "fe80::1%eth0", Path: "a/b"},
	} {
		got, err := Parse(s)
		if err != nil || got.User != want.User || got.Host != want.Host || got.Port != want.Port || got.Path != want.Path {
			t.Errorf("%s: %+v, %v", s, got, err)
		}
	}
	for _, s := range []string{"", "/srv", "sftp:", "sftp:nas", "sftp://", "sftp:///x", "sftp://nas:0/x", "sftp://nas:x/y", "sftp://u:secret@nas/x", "sftp://[::1/x", "sftp://nas/%00", "sftp:u:secret@h:x"} {
		if got, err := Parse(s); err == nil && !strings.HasPrefix(s, "sftp:u:") {
			t.Errorf("%s is taken: %+v", s, got)
		} else if err != nil && strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: the error tells the password: %v", s, err)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{"sftp://u@h:1/p", "sftp:u@h:p", "sftp:[::1]:x", "sftp://[", "sftp:@:"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if c, err := Parse(s); err == nil && (c.Host == "" || c.Port < 0 || c.Port > 65535) {
			t.Errorf("%q: %+v", s, c)
		}
	})
}

func FuzzKnownHosts(f *testing.F) {
	f.Add([]byte("[h]:22,*.x ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIP5GkDmO3RV7w7mZNJxZDLP2fBBFyMR0BZnIyqt3yTNA\n|1|x|y ssh-rsa AA\n@revoked * x"))
	f.Fuzz(func(t *testing.T, data []byte) {
		file := t.TempDir() + "/hosts"
		if os.WriteFile(file, data, 0o600) != nil {
			return
		}
		k, err := readKnownHosts([]string{file})
		must(t, err)
		c := hostChecker{known: k, host: "h", port: 2222}
		c.relevant()
		if len(c.algorithms("")) == 0 {
			t.Error("no algorithms")
		}
	})
}
