package archive

import (
	"os"
	"runtime"
	"strings"
	"testing"
	"time"
)

func TestMain(m *testing.M) {
	killAfter = time.Second
	os.Exit(m.Run())
}

// openFDs returns the number of open descriptors.
func openFDs(t testing.TB) int {
	t.Helper()
	names, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(names)
}

// mustSettle checks that descriptors and goroutines of this package are gone.
func mustSettle(t testing.TB, fds int) {
	t.Helper()
	if n := openFDs(t); n > fds {
		t.Fatalf("%d descriptors are open, %d before", n, fds)
	}
	var stacks string
	for range 50 {
		buf := make([]byte, 1<<20)
		stacks = string(buf[:runtime.Stack(buf, true)])
		if !strings.Contains(stacks, "archive.(*worker)") && !strings.Contains(stacks, "archive.(*process)") {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatalf("goroutines are left:\n%s", stacks)
}

// fastDir returns a directory in memory where there is one.
func fastDir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "archive-test-")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}
