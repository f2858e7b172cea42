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

// mustSettle checks that descriptors and goroutines of this package go; what is told
// to end needs a moment, on a busy machine a long one.
func mustSettle(t testing.TB, fds int) {
	t.Helper()
	var n int
	var stacks string
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		buf := make([]byte, 1<<20)
		stacks = string(buf[:runtime.Stack(buf, true)])
		n = openFDs(t)
		if n <= fds && !strings.Contains(stacks, "archive.(*worker)") && !strings.Contains(stacks, ").looker") && !strings.Contains(stacks, "archive.(*process)") {
			return
		}
	}
	t.Fatalf("%d descriptors are open, %d before; goroutines:\n%s", n, fds, stacks)
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
