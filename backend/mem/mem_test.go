package mem_test

import (
	"testing"

	"vault/backend"
	"vault/backend/backendtest"
	"vault/backend/mem"
)

func TestContract(t *testing.T) {
	backendtest.Run(t, func(testing.TB) backend.Backend { return mem.New() })
}
