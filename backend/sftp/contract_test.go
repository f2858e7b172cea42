//go:build linux

package sftp

import (
	"bytes"
	"io"
	"os"
	"testing"

	"vault/backend"
	"vault/backend/backendtest"
	"vault/backend/sftp/sftptest"
)

// TestContract runs the suite on a real server, as the user that we are.
func TestContract(t *testing.T) {
	t.Parallel()
	srv := newServer(t, sftptest.Options{})
	backendtest.Run(t, func(t testing.TB) backend.Backend { return mustOpen(t, srv.cfg(srv.place())) })
}

// TestContractUnprivileged runs it on a server of an unprivileged user, over
// one connection.
func TestContractUnprivileged(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("is what TestContract is when not run by root")
	}
	t.Parallel()
	srv := newServer(t, sftptest.Options{UID: 65534})
	backendtest.Run(t, func(t testing.TB) backend.Backend {
		cfg := srv.cfg(srv.place())
		cfg.Connections = 1
		return mustOpen(t, cfg)
	})
}

// TestContractBadNetwork runs it through a network that fails.
func TestContractBadNetwork(t *testing.T) {
	if testing.Short() {
		t.Skip("the contract without faults is tested")
	}
	t.Parallel()
	srv := newServer(t, sftptest.Options{})
	backendtest.RunThrough(t, func(t testing.TB) (backend.Backend, backendtest.Network) {
		p, cfg := behind(t, srv, srv.place())
		cfg.Retries, cfg.Timeout = 0, 0 // as users have them
		return mustOpen(t, cfg), p
	})
}

// TestReaderOfNewVersion: an object that is read to its end is one version as a
// whole, also when it was replaced before the connection broke.
func TestReaderOfNewVersion(t *testing.T) {
	t.Parallel()
	srv := newServer(t, sftptest.Options{})
	dir := srv.place()
	p, cfg := behind(t, srv, dir)
	s, direct := mustOpen(t, cfg), mustOpen(t, srv.cfg(dir))
	old := noise(3<<20 + 7)
	for _, c := range []struct {
		name string
		read int // bytes before the break
		now  []byte
	}{
		{"nothing read, longer", 0, noise(4<<20 + 1)},
		{"nothing read, shorter", 0, noise(10)},
		{"the same beginning, longer", 1 << 20, append(bytes.Clone(old), "more"...)},
		{"the same beginning, shorter", 1 << 20, old[:2<<20]},
		{"another beginning", 1 << 20, noise(3<<20 + 1)},
	} {
		must(t, direct.Put(ctx, "v", old))
		r, err := s.Get(ctx, "v", 0, -1)
		must(t, err)
		got := make([]byte, c.read)
		_, err = io.ReadFull(r, got)
		must(t, err, direct.Put(ctx, "v", c.now))
		p.Reset()
		rest, err := io.ReadAll(r)
		if got = append(got, rest...); err == nil && !bytes.Equal(got, old) && !bytes.Equal(got, c.now) {
			t.Errorf("%s: %d bytes are neither the old version of %d nor the new one of %d", c.name, len(got), len(old), len(c.now))
		}
		r.Close()
	}
}
