// Package sftp keeps a repository in a directory of an SSH server that speaks
// SFTP version 3: an object is a file, the slashes of its name are
// sub-directories. No ssh program is needed, but one can be used.
//
// What a local store does with system calls is done with requests, several at
// a time over several connections. An object is stored in five round trips, and
// what its bytes take (see flight):
//
//	open a temporary file in the object's directory, and that directory
//	write, 32 KiB a request, up to 128 under way
//	fsync@openssh.com of the file
//	hardlink@openssh.com for Create, which fails if the name is in use, or
//	posix-rename@openssh.com for Put, which replaces what is there
//	fsync@openssh.com of the directory; for Create, remove the temporary file
//
// A plain RENAME never decides a Create: OpenSSH carries it out as "look, then
// rename". A server without hard links cannot create exclusively
// (errors.ErrUnsupported); one without fsync is used with a warning, since
// nobody can tell there what a power cut takes along.
//
// Lost connections are made anew and operations repeated, as long as somebody
// waits. An attempt whose answer was lost is fenced before the next one: its
// temporary file is removed, after which its link or rename can no longer
// happen, however late it arrives. Whether a lost link had happened is found
// out by marking the temporary file, which would be the same inode, with a
// random time of change. Where that cannot be found out either, the error is
// neither nil nor fs.ErrExist.
//
// Caveats:
//
//   - SFTP tells few errors apart: an existing target and a full disk are both
//     "failure". The kind of an error is decided by asking further (lstat,
//     statvfs). A new file that takes no data though statvfs tells of space is
//     taken for a quota that is used up.
//   - Symbolic links are followed by the server: whoever may plant one in the
//     repository's directory may as well serve anything else.
//   - Files are made with mode 0600 and directories with 0700; a server that
//     ignores that is told again an instant later.
//   - An empty directory that stands where a file system should be mounted
//     looks like an empty place.
package sftp

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"path"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"vault/backend"
	"vault/internal/limit"
)

// Config says where a store is and how to get there. Only Host (or Command) is
// needed.
type Config struct {
	Host string // name, address, or alias of ~/.ssh/config
	Port int    // 0: as ~/.ssh/config says, or 22
	User string // "": as ~/.ssh/config says, or the name of this process's user
	Path string // absolute, or relative to the login's directory, which is ""

	// Command is a program with its arguments whose standard input and output
	// carry SFTP, such as {"ssh", "-s", "nas", "sftp"}. If given, the fields
	// above but Path serve for messages only, and those on keys for nothing.
	Command []string

	Home        string   // "": $HOME, or the user's home directory
	ConfigFiles []string // nil: ~/.ssh/config and /etc/ssh/ssh_config
	KnownHosts  []string // nil: as ~/.ssh/config says, or ~/.ssh/known_hosts and /etc/ssh/ssh_known_hosts
	Identities  []string // private keys; nil: as ~/.ssh/config says, the agent's, and ~/.ssh/id_*
	AgentSocket string   // "": $SSH_AUTH_SOCK; "none": no agent

	// Passphrase asks for the passphrase of an encrypted key file. It is called
	// by one goroutine at a time, again after a wrong answer, and not again
	// once a key is open. Nil: encrypted keys are not used.
	Passphrase func(ctx context.Context, keyFile string) ([]byte, error)

	// Warn is told what the server lacks, each thing once. It may be called by
	// any goroutine. Nil: nobody is told.
	Warn func(message string)

	// Trace is called before every request of SFTP with its name ("write",
	// "fsync"), concurrently. Nil: nobody is told.
	Trace func(request string)

	Connections int           // at most; 0: 3
	Retries     int           // repetitions of a request after temporary failures; 0: 10 (about a minute), < 0: none
	Timeout     time.Duration // of connecting, and of silence of the network; 0: a minute. A single request may take 5 times as long.

	LimitUpload, LimitDownload int64 // bytes per second over all connections; 0: no limit
}

// Defaults of Config.
const (
	defaultConnections = 3
	defaultRetries     = 10
	defaultTimeout     = time.Minute

	stallFactor = 5  // a request without any progress may take so many times Timeout
	maxParallel = 64 // operations under way at a time
)

// Store is a [backend.Backend] on an SSH server. Use [Open].
type Store struct {
	cfg   Config
	place string // for people
	root  string // path on the server, clean
	id    string // part of the names of this store's temporary files
	dial  dialer
	flow  flow
	turns chan struct{} // holds a token for each operation under way

	single atomic.Bool // there is one writer: Create does without hard links

	ctx  context.Context // done once the store is closed
	stop context.CancelFunc

	mu      sync.Mutex      // guards what follows
	closed  bool            // no new operations
	conns   []*conn         // alive, as far as known
	dialing *dialing        // under way, or nil
	refused int             // how often a further connection could not be made
	ever    bool            // a connection has worked
	seen    bool            // the repository's directory has been there
	synced  map[string]bool // directories whose entries in their parents this store knows to be durable
	temps   map[string]bool // temporary files that could not be removed
	warned  map[string]bool
}

var _ backend.Backend = (*Store)(nil)

// Open connects to the server and looks at the place, and makes nothing there.
// If the directory does not exist but its parent does, the store is empty; the
// first Put or Create makes the directory. Anything else that keeps the
// directory from being seen is backend.ErrUnreachable: no connection, an
// unknown or changed host key, refused keys, a missing parent.
func Open(ctx context.Context, cfg Config) (*Store, error) {
	s, err := newStore(cfg)
	if err != nil {
		return nil, err
	}
	if err := s.reach(ctx); err != nil {
		return nil, err
	}
	return s, nil
}

// reach looks at the place for the first time, and closes the store if it cannot be
// seen. Errors of the first connection are told at once, not after a minute.
func (s *Store) reach(ctx context.Context) error {
	if err := s.retry(ctx, func(ctx context.Context, c *conn) error { return s.look(ctx, c) }); err != nil {
		err = s.failed("open", "", unreachable(err))
		s.Close()
		return err
	}
	return nil
}

func newStore(cfg Config) (*Store, error) {
	place := placeOf(cfg)
	bad := func(what string) (*Store, error) {
		return nil, &backend.Error{Op: "open", Place: place, Err: errors.New(what)}
	}
	switch {
	case cfg.Host == "" && len(cfg.Command) == 0:
		return bad("no host given")
	case strings.HasPrefix(cfg.Host, "-") || strings.ContainsAny(cfg.Host, " \t\n/\x00"):
		return bad(fmt.Sprintf("%q is no host name", cfg.Host))
	case cfg.Port < 0 || cfg.Port > 65535:
		return bad(fmt.Sprintf("%d is no port", cfg.Port))
	case strings.ContainsRune(cfg.Path, 0):
		return bad("the path holds a NUL byte")
	}
	if cfg.Connections <= 0 {
		cfg.Connections = defaultConnections
	}
	if cfg.Retries == 0 {
		cfg.Retries = defaultRetries
	}
	if cfg.Timeout <= 0 {
		cfg.Timeout = defaultTimeout
	}
	s := &Store{
		cfg: cfg, place: place, root: path.Clean(cfg.Path), id: strings.ToLower(rand.Text()[:13]),
		turns:  make(chan struct{}, maxParallel),
		synced: make(map[string]bool), temps: make(map[string]bool), warned: make(map[string]bool),
	}
	s.flow.up, s.flow.down, s.flow.trace = limit.New(cfg.LimitUpload), limit.New(cfg.LimitDownload), cfg.Trace
	s.ctx, s.stop = context.WithCancel(context.Background())
	if len(cfg.Command) > 0 {
		s.dial = &commandDialer{args: cfg.Command}
		return s, nil
	}
	d, err := newSSHDialer(&s.cfg)
	if err != nil {
		return nil, s.failed("open", "", unreachable(err))
	}
	s.dial = d
	return s, nil
}

func placeOf(cfg Config) string {
	host := cfg.Host
	if host == "" && len(cfg.Command) > 0 {
		host = path.Base(cfg.Command[0])
	}
	if cfg.Port != 0 {
		host = net.JoinHostPort(host, strconv.Itoa(cfg.Port))
	}
	if cfg.User != "" {
		host = cfg.User + "@" + host
	}
	if strings.HasPrefix(cfg.Path, "/") {
		return "sftp://" + host + cfg.Path
	}
	return "sftp:" + host + ":" + cfg.Path
}

// SingleWriter implements [backend.SingleWriter].
func (s *Store) SingleWriter() { s.single.Store(true) }

// Moved implements [backend.Mover].
func (s *Store) Moved() int64 { return s.flow.moved.Load() }

// warn tells the user something once.
func (s *Store) warn(message string) {
	s.mu.Lock()
	known := s.warned[message]
	s.warned[message] = true
	s.mu.Unlock()
	if !known && s.cfg.Warn != nil {
		s.cfg.Warn(message)
	}
}

// Close implements [backend.Backend]. Operations under way may finish, and
// open readers keep their connections.
func (s *Store) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return s.failed("close", "", fs.ErrClosed)
	}
	s.closed = true
	s.stop()
	for _, c := range s.conns {
		if c.users == 0 {
			go c.hangUp()
		}
	}
	return nil
}

// file returns the path of the object name on the server.
func (s *Store) file(name string) string {
	switch s.root {
	case ".":
		return name
	case "/":
		return "/" + name
	}
	return s.root + "/" + name
}

// dir returns the path of the sub-directory rel; "" is the repository's.
func (s *Store) dir(rel string) string {
	if rel == "" {
		return s.root
	}
	return s.file(rel)
}

// begin checks what every operation on an object checks first.
func (s *Store) begin(ctx context.Context, op, name string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := backend.Check(name); err != nil {
		return s.failed(op, name, err)
	}
	return nil
}
