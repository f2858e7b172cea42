//go:build linux

package sftp

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"testing"
	"time"

	"vault/backend/sftp/sftptest"
)

var ctx = context.Background()

// must stops a test whose preparations fail.
func must(t testing.TB, errs ...error) {
	t.Helper()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
}

// server is a real server, with places for stores.
type server struct {
	*sftptest.Server
	t testing.TB
}

func newServer(t testing.TB, o sftptest.Options) *server {
	t.Helper()
	return &server{sftptest.Start(t, o), t}
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
	return fmt.Sprintf("%s/data/repo%d", s.Dir, counter.n)
}

// cfg returns how to get to a place on the server. However busy the machine is, it is
// not given up.
func (s *server) cfg(path string) Config {
	return Config{
		Host: "127.0.0.1", Port: s.Port, User: s.User, Path: path, Home: s.Dir, ConfigFiles: []string{},
		Identities: []string{s.Client}, KnownHosts: []string{s.Known(s.Port)}, AgentSocket: "none", Timeout: time.Minute, Retries: 30,
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
