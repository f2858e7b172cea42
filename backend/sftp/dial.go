package sftp

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/crypto/ssh"

	"vault/backend"
)

// dialError is a failure to connect. MayPass says that it is final for a
// server that has never answered, and worth waiting for otherwise.
type dialError struct {
	*marked
	mayPass bool
}

func (e *dialError) Unwrap() error { return e.marked }

// hop is a host on the way to the server, or the server.
type hop struct {
	cfg      hostConfig
	agent    string   // socket, or ""
	defaults []string // keys to try if none is named
	known    *knownHosts
}

func (h *hop) addr() string { return net.JoinHostPort(h.cfg.hostName, strconv.Itoa(h.cfg.port)) }

func (h *hop) label() string { return hostLabel(h.cfg.hostName, h.cfg.port) }

// sshDialer connects through a chain of hops, the server last.
type sshDialer struct {
	hops []hop
	keys *keyring
}

// maxHops bounds chains of ProxyJump, which may run in a circle.
const maxHops = 8

func newSSHDialer(cfg *Config) (*sshDialer, error) {
	if cfg.Home == "" {
		cfg.Home = homeDir()
	}
	files := cfg.ConfigFiles
	if files == nil {
		files = []string{filepath.Join(cfg.Home, ".ssh", "config"), "/etc/ssh/ssh_config"}
	}
	d := &sshDialer{keys: &keyring{ask: cfg.Passphrase, open: make(map[string]ssh.Signer)}}
	sc := newSSHConfig(cfg.Home, files)
	if err := d.addHops(sc, cfg, cfg.Host, cfg.User, cfg.Port, 0); err != nil {
		return nil, err
	}
	return d, nil
}

// addHops appends the hops that lead to a host, and the host, which is depth
// jumps before the server.
func (d *sshDialer) addHops(sc *sshConfig, cfg *Config, alias, user string, port, depth int) error {
	if depth >= maxHops {
		return fmt.Errorf("ProxyJump of %s: over %d hops, or a circle", alias, maxHops)
	}
	h, err := sc.lookUp(alias, user)
	if err != nil {
		return err
	}
	if port != 0 {
		h.port = port
	}
	if h.proxyCommand != "" && h.proxyJump == "" {
		return &marked{kind: backend.ErrUnreachable, err: fmt.Errorf("%s is configured with a ProxyCommand, which is not supported", alias),
			hint: "use ProxyJump, or let your own ssh make the connection: --sftp-command 'ssh -s " + alias + " sftp'"}
	}
	// Every host of the chain is named as "-J" wants it; the first may have
	// jumps of its own.
	for i, jump := range strings.FieldsFunc(h.proxyJump, func(r rune) bool { return r == ',' }) {
		ju, jh, jp, err := splitHost(strings.TrimPrefix(strings.TrimSpace(jump), "ssh://"))
		if err != nil {
			return fmt.Errorf("ProxyJump of %s: %w", alias, err)
		}
		if i == 0 && jh != alias {
			err = d.addHops(sc, cfg, jh, ju, jp, depth+1)
		} else {
			err = d.addHop(sc, cfg, jh, ju, jp)
		}
		if err != nil {
			return err
		}
	}
	return d.add(cfg, h)
}

// addHop appends one host without looking for jumps.
func (d *sshDialer) addHop(sc *sshConfig, cfg *Config, alias, user string, port int) error {
	h, err := sc.lookUp(alias, user)
	if err != nil {
		return err
	}
	if port != 0 {
		h.port = port
	}
	return d.add(cfg, h)
}

func (d *sshDialer) add(cfg *Config, h hostConfig) error {
	if len(d.hops) >= maxHops {
		return fmt.Errorf("ProxyJump: over %d hops, or a circle", maxHops)
	}
	if cfg.Identities != nil {
		h.identities = cfg.Identities
	}
	if cfg.KnownHosts != nil {
		h.knownHosts = cfg.KnownHosts
	}
	known, err := readKnownHosts(h.knownHosts)
	if err != nil {
		return err
	}
	p := hop{cfg: h, agent: agentSocket(cfg.AgentSocket, h.identityAgent), known: known}
	for _, name := range []string{"id_ed25519", "id_ecdsa", "id_rsa"} {
		p.defaults = append(p.defaults, filepath.Join(cfg.Home, ".ssh", name))
	}
	d.hops = append(d.hops, p)
	return nil
}

// dial implements dialer.
func (d *sshDialer) dial(ctx context.Context, timeout time.Duration) (*link, error) {
	var (
		client *ssh.Client
		wire   *tap // of the last hop
		raw    *tap // of the first
		err    error
	)
	shut := func() {
		if raw != nil {
			raw.Close()
		}
	}
	for i := range d.hops {
		h := &d.hops[i]
		wire, err = h.connect(ctx, client, timeout)
		if err == nil {
			if raw == nil {
				raw = wire
			}
			client, err = d.handshake(ctx, h, wire, timeout)
		}
		if err != nil {
			shut()
			if ctx.Err() != nil {
				err = ctx.Err()
			}
			return nil, err
		}
	}
	l, err := startSFTP(client, shut, timeout)
	if err != nil {
		shut()
		return nil, wire.blame(fmt.Errorf("start sftp on %s: %w", d.hops[len(d.hops)-1].label(), err), func(err error) error {
			return &dialError{marked: &marked{kind: backend.ErrUnreachable, err: err, hint: "does the server allow SFTP to this user? (Subsystem sftp in its sshd_config)"}}
		})
	}
	l.heard = wire.received.Load
	return l, nil
}

// connect opens the way to h, through the client of the hop before if there is one.
func (h *hop) connect(ctx context.Context, via *ssh.Client, timeout time.Duration) (*tap, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	var conn net.Conn
	var err error
	if via != nil {
		conn, err = via.DialContext(ctx, "tcp", h.addr())
	} else {
		conn, err = (&net.Dialer{}).DialContext(ctx, "tcp", h.addr())
	}
	if err == nil {
		return &tap{Conn: conn}, nil
	}
	hint := "is the server up, and the network?"
	var dns *net.DNSError
	var timedOut net.Error
	switch {
	case errors.As(err, &dns) && dns.IsNotFound:
		hint = "no such host: is the name right, and is there an entry for it in DNS or ~/.ssh/config?"
	case errors.Is(err, syscall.ECONNREFUSED):
		hint = "nothing listens there: is the SSH server running, and the port right?"
	case ctx.Err() != nil || errors.As(err, &timedOut) && timedOut.Timeout():
		hint = "no answer: is the server up, and does a firewall let us through?"
	}
	return nil, &dialError{marked: &marked{kind: backend.ErrUnreachable, err: fmt.Errorf("connect to %s: %w", h.label(), err), hint: hint}, mayPass: true}
}

// handshake checks the host's key and logs in.
func (d *sshDialer) handshake(ctx context.Context, h *hop, wire *tap, timeout time.Duration) (*ssh.Client, error) {
	host := h.cfg.hostName
	if h.cfg.hostKeyAlias != "" {
		host = h.cfg.hostKeyAlias
	}
	checker := &hostChecker{known: h.known, host: host, port: h.cfg.port}
	ctx, give := context.WithCancelCause(ctx)
	defer give(nil)
	timer := time.AfterFunc(timeout, func() { give(errors.New("the server, or the ssh agent, does not get on with the handshake")) })
	defer timer.Stop()
	defer context.AfterFunc(ctx, func() { wire.fail(context.Cause(ctx)) })()
	pause := func() func() {
		timer.Stop()
		return func() { timer.Reset(timeout) }
	}
	offered := candidates{close: func() {}}
	defer func() { offered.close() }()
	trusted := false
	conn, chans, reqs, err := ssh.NewClientConn(wire, h.addr(), &ssh.ClientConfig{
		User:              h.cfg.user,
		HostKeyAlgorithms: checker.algorithms(h.cfg.hostKeyAlgos),
		HostKeyCallback: func(name string, addr net.Addr, key ssh.PublicKey) error {
			err := checker.check(name, addr, key)
			trusted = err == nil
			return err
		},
		Auth: []ssh.AuthMethod{ssh.PublicKeysCallback(func() ([]ssh.Signer, error) {
			offered = d.keys.collect(ctx, h, timeout/2, pause)
			return offered.signers, nil
		})},
	})
	var pass *passphraseError
	switch {
	case err == nil:
		return ssh.NewClient(conn, chans, reqs), nil
	case checker.err != nil:
		return nil, checker.err
	case errors.As(err, &pass):
		return nil, &dialError{marked: &marked{kind: backend.ErrPermission, err: pass.err, hint: "give the passphrase, or load the key into an agent: ssh-add"}}
	}
	return nil, wire.blame(fmt.Errorf("ssh to %s: %w", h.label(), err), func(err error) error {
		if trusted {
			return refusedKeys(h, offered, err)
		}
		return &dialError{marked: &marked{kind: backend.ErrUnreachable, err: err, hint: "is it an SSH server, and not too old?"}}
	})
}

// startSFTP asks for the subsystem.
func startSFTP(client *ssh.Client, shut func(), timeout time.Duration) (*link, error) {
	timer := time.AfterFunc(timeout, shut)
	defer timer.Stop()
	session, err := client.NewSession()
	if err != nil {
		return nil, err
	}
	w, err := session.StdinPipe()
	if err != nil {
		return nil, err
	}
	r, err := session.StdoutPipe()
	if err != nil {
		return nil, err
	}
	session.Stderr = io.Discard
	if err := session.RequestSubsystem("sftp"); err != nil {
		return nil, err
	}
	return &link{r: r, w: w, close: shut, ping: func() error {
		_, _, err := client.SendRequest("keepalive@openssh.com", true, nil)
		return err
	}}, nil
}

// tap is a network connection that remembers whether it broke, and counts.
type tap struct {
	net.Conn
	received atomic.Int64

	mu     sync.Mutex // guards what follows
	broken error
	closed bool // by us: what fails then is no news
}

func (t *tap) Read(p []byte) (int, error) {
	n, err := t.Conn.Read(p)
	t.received.Add(int64(n))
	if err != nil {
		t.note(err)
	}
	return n, err
}

func (t *tap) Write(p []byte) (int, error) {
	n, err := t.Conn.Write(p)
	if err != nil {
		t.note(err)
	}
	return n, err
}

func (t *tap) note(err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.broken == nil && !t.closed {
		t.broken = err
	}
}

// Close implements net.Conn.
func (t *tap) Close() error {
	t.mu.Lock()
	t.closed = true
	t.mu.Unlock()
	return t.Conn.Close()
}

// fail breaks the connection for a reason.
func (t *tap) fail(why error) {
	t.note(why)
	t.Close()
}

// blame decides whose fault a failure is: if the network broke, it is a lost
// connection, else what final makes of it.
func (t *tap) blame(err error, final func(error) error) error {
	t.mu.Lock()
	broken := t.broken
	t.mu.Unlock()
	if broken == nil {
		return final(err)
	}
	return &lost{fmt.Errorf("%w (%w)", err, broken)}
}
