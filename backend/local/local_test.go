package local

import (
	"testing"

	"vault/backend"
	"vault/backend/backendtest"
)

func mustOpen(t testing.TB, dir string) *Store {
	t.Helper()
	s, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestContract(t *testing.T) {
	backendtest.Run(t, func(t testing.TB) backend.Backend { return mustOpen(t, t.TempDir()+"/repo") })
}
