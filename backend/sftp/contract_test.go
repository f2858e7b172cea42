package sftp

import (
	"os"
	"testing"

	"vault/backend"
	"vault/backend/backendtest"
)

// TestContract runs the suite on real servers of several kinds.
func TestContract(t *testing.T) {
	t.Run("own user", func(t *testing.T) {
		srv := newServer(t, options{})
		backendtest.Run(t, func(t testing.TB) backend.Backend { return mustOpen(t, srv.cfg(srv.place())) })
	})
	t.Run("one connection", func(t *testing.T) {
		srv := newServer(t, options{})
		backendtest.Run(t, func(t testing.TB) backend.Backend {
			cfg := srv.cfg(srv.place())
			cfg.Connections = 1
			return mustOpen(t, cfg)
		})
	})
	t.Run("unprivileged", func(t *testing.T) {
		if os.Getuid() != 0 {
			t.Skip("is what the others are when not run by root")
		}
		srv := newServer(t, options{uid: 65534})
		backendtest.Run(t, func(t testing.TB) backend.Backend { return mustOpen(t, srv.cfg(srv.place())) })
	})
}
