package sftp

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"

	"vault/backend"
)

// maxKeyFile bounds what is read as a private key.
const maxKeyFile = 1 << 20

// passphraseTries is how often somebody is asked for one passphrase.
const passphraseTries = 3

// keyring opens key files. What was opened once stays open, for all hosts and
// connections of a store.
type keyring struct {
	ask func(ctx context.Context, file string) ([]byte, error) // or nil

	mu   sync.Mutex // guards what follows, and serialises questions
	open map[string]ssh.Signer
}

// candidates are the keys to offer to one host.
type candidates struct {
	signers []ssh.Signer
	notes   []string // why some are missing
	close   func()   // the agent's connection
}

// collect returns the keys for a host, the most promising first: those named
// for it, then those of the agent, then the user's default ones. Asking about
// passphrases is put off until the server wants the key; pause is called
// before and resume after it. An agent that does not say what it has goes without
// after patience, and one that does not sign when ctx ends.
func (k *keyring) collect(ctx context.Context, h *hop, patience time.Duration, pause func() (resume func())) candidates {
	c := candidates{close: func() {}}
	fromAgent := k.agentSigners(ctx, h.agent, patience, &c)
	named := len(h.cfg.identities) > 0
	files := h.cfg.identities
	if !named {
		files = h.defaults
	}
	var fromFiles []ssh.Signer
	for _, f := range files {
		signers, err := k.load(ctx, f, pause)
		switch {
		case err == nil:
			fromFiles = append(fromFiles, signers...)
		case named || !errors.Is(err, fs.ErrNotExist):
			c.notes = append(c.notes, err.Error())
		}
	}
	wanted := publicKeys(files)
	for _, s := range fromFiles {
		wanted = append(wanted, s.PublicKey())
	}
	var offered []ssh.PublicKey
	add := func(list []ssh.Signer, which func(ssh.PublicKey) bool) {
		for _, s := range list {
			same := func(p ssh.PublicKey) bool { return sameKey(p, s.PublicKey()) }
			if which(s.PublicKey()) && !slices.ContainsFunc(offered, same) {
				c.signers = append(c.signers, s)
				offered = append(offered, s.PublicKey())
			}
		}
	}
	isWanted := func(p ssh.PublicKey) bool {
		return slices.ContainsFunc(wanted, func(w ssh.PublicKey) bool { return sameKey(w, p) })
	}
	all := func(ssh.PublicKey) bool { return true }
	add(fromAgent, isWanted) // needs no passphrase
	if named {
		add(fromFiles, all)
	}
	if !h.cfg.identitiesOnly {
		add(fromAgent, all)
	}
	add(fromFiles, all)
	return c
}

// agentSigners asks the agent at socket.
func (k *keyring) agentSigners(ctx context.Context, socket string, patience time.Duration, c *candidates) []ssh.Signer {
	if socket == "" {
		return nil
	}
	dialer := net.Dialer{Timeout: patience}
	conn, err := dialer.DialContext(ctx, "unix", socket)
	if err != nil {
		c.notes = append(c.notes, "ssh agent: "+err.Error())
		return nil
	}
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	c.close = func() { stop(); conn.Close() }
	late := time.AfterFunc(patience, func() { conn.Close() })
	signers, err := agent.NewClient(conn).Signers()
	if !late.Stop() { // what it signs may take longer: somebody may have to agree
		signers, err = nil, errors.New("it does not answer")
	}
	if err != nil {
		c.notes = append(c.notes, "ssh agent: "+err.Error())
	}
	return signers
}

// publicKeys reads FILE.pub, or FILE where that is a public key, for each file:
// keys that only the agent can use.
func publicKeys(files []string) (list []ssh.PublicKey) {
	for _, f := range files {
		for _, name := range []string{f, f + ".pub"} {
			data, err := readSmall(name)
			if err != nil {
				continue
			}
			if key, _, _, _, err := ssh.ParseAuthorizedKey(data); err == nil {
				list = append(list, key)
			}
		}
	}
	return list
}

// load returns the key of a file, and before it the same with a certificate if
// there is FILE-cert.pub.
func (k *keyring) load(ctx context.Context, file string, pause func() func()) ([]ssh.Signer, error) {
	s, err := k.loadKey(ctx, file, pause)
	if err != nil {
		return nil, err
	}
	data, err := readSmall(file + "-cert.pub")
	if err != nil {
		return []ssh.Signer{s}, nil
	}
	key, _, _, _, err := ssh.ParseAuthorizedKey(data)
	if cert, ok := key.(*ssh.Certificate); err == nil && ok {
		if cs, err := ssh.NewCertSigner(cert, s); err == nil {
			return []ssh.Signer{cs, s}, nil
		}
	}
	return []ssh.Signer{s}, nil
}

func (k *keyring) loadKey(ctx context.Context, file string, pause func() func()) (ssh.Signer, error) {
	k.mu.Lock()
	s := k.open[file]
	k.mu.Unlock()
	if s != nil {
		return s, nil
	}
	data, err := readSmall(file)
	if err != nil {
		return nil, fmt.Errorf("key %s: %w", file, err)
	}
	s, err = ssh.ParsePrivateKey(data)
	var missing *ssh.PassphraseMissingError
	switch {
	case err == nil:
		return s, nil
	case !errors.As(err, &missing):
		return nil, fmt.Errorf("key %s: %w", file, err)
	case k.ask == nil:
		return nil, fmt.Errorf("key %s is encrypted and nobody can be asked for its passphrase", file)
	}
	l := &lazySigner{k: k, ctx: ctx, file: file, data: data, public: missing.PublicKey, pause: pause}
	if l.public == nil {
		if pub := publicKeys([]string{file}); len(pub) > 0 {
			l.public = pub[0]
		}
	}
	if l.public == nil { // an old format that tells nothing before it is open
		return l.unlock()
	}
	return l, nil
}

func readSmall(file string) ([]byte, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxKeyFile+1))
	if err == nil && len(data) > maxKeyFile {
		err = errors.New("too large to be a key")
	}
	return data, err
}

// lazySigner is an encrypted key that is opened when it is needed.
type lazySigner struct {
	k      *keyring
	ctx    context.Context
	file   string
	data   []byte
	public ssh.PublicKey
	pause  func() func()
}

// passphraseError says that a key stays closed.
type passphraseError struct{ err error }

func (e *passphraseError) Error() string { return e.err.Error() }
func (e *passphraseError) Unwrap() error { return e.err }

// PublicKey implements ssh.Signer.
func (l *lazySigner) PublicKey() ssh.PublicKey { return l.public }

// Sign implements ssh.Signer.
func (l *lazySigner) Sign(rand io.Reader, data []byte) (*ssh.Signature, error) {
	s, err := l.unlock()
	if err != nil {
		return nil, err
	}
	return s.Sign(rand, data)
}

// SignWithAlgorithm implements ssh.AlgorithmSigner, without which RSA keys
// would sign with SHA-1.
func (l *lazySigner) SignWithAlgorithm(rand io.Reader, data []byte, algorithm string) (*ssh.Signature, error) {
	s, err := l.unlock()
	if err != nil {
		return nil, err
	}
	as, ok := s.(ssh.AlgorithmSigner)
	if !ok {
		return nil, fmt.Errorf("key %s cannot sign with %s", l.file, algorithm)
	}
	return as.SignWithAlgorithm(rand, data, algorithm)
}

func (l *lazySigner) unlock() (ssh.Signer, error) {
	l.k.mu.Lock()
	defer l.k.mu.Unlock()
	if s := l.k.open[l.file]; s != nil {
		return s, nil
	}
	defer l.pause()()
	for range passphraseTries {
		pass, err := l.k.ask(l.ctx, l.file)
		if err != nil {
			return nil, &passphraseError{fmt.Errorf("passphrase of key %s: %w", l.file, err)}
		}
		s, err := ssh.ParsePrivateKeyWithPassphrase(l.data, pass)
		clear(pass)
		if err == nil {
			l.k.open[l.file] = s
			return s, nil
		}
	}
	return nil, &passphraseError{fmt.Errorf("key %s: wrong passphrase", l.file)}
}

// refusedKeys describes that a server took none of the keys.
func refusedKeys(h *hop, c candidates, err error) error {
	hint := fmt.Sprintf("offered %d keys; is the right one in ~/.ssh/authorized_keys of %s there, or does another one have to be named?", len(c.signers), h.cfg.user)
	if len(c.signers) == 0 {
		hint = "no key was found: make one (ssh-keygen), name one, or start an agent; passwords are not supported"
	}
	if len(c.notes) > 0 {
		hint += " (" + strings.Join(c.notes, "; ") + ")"
	}
	return &dialError{marked: &marked{kind: backend.ErrPermission, err: fmt.Errorf("log in to %s as %s: %w", h.label(), h.cfg.user, err), hint: hint}}
}
