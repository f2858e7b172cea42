//go:build linux

package sftp

import (
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
