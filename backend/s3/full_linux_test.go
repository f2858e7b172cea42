package s3

import (
	"errors"
	"fmt"
	"syscall"
	"testing"

	"vault/backend"
	"vault/backend/s3/s3test"
)

// TestFull: a full disk is no space; what is there reads, and deleting helps.
func TestFull(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=4m"); err != nil {
		t.Skipf("mount a small file system: %v", err)
	}
	t.Cleanup(func() { syscall.Unmount(dir, syscall.MNT_DETACH) })
	srv := s3test.Start(t, s3test.Options{Root: dir})
	srv.MakeBucket(t, "bucket", bucketOptions)
	var count counter
	cfg := config(srv, "bucket")
	cfg.Trace = count.trace
	s := mustOpen(t, cfg)
	data := noise(1 << 20)
	var err error
	n := 0
	for ; err == nil && n < 10; n++ {
		count.take()
		err = s.Put(bg, fmt.Sprintf("packs/%d", n), data)
	}
	if !errors.Is(err, backend.ErrNoSpace) || errors.Is(err, backend.ErrUnreachable) || backend.Hint(err) == "" {
		t.Fatalf("put number %d: %v", n, err)
	}
	mustCount(t, "a put on a full store", &count, map[string]int{OpPut: 1})
	if err := s.Create(bg, "commits/c", data); !errors.Is(err, backend.ErrNoSpace) {
		t.Errorf("create: %v", err)
	}
	mustHold(t, s, "packs/0", data)
	if err := s.Delete(bg, "packs/0"); err != nil {
		t.Fatal(err)
	}
	if err := s.Create(bg, "commits/c", data[:1000]); err != nil {
		t.Errorf("create after delete: %v", err)
	}
}
