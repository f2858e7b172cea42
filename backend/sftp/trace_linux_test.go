package sftp

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"sync"
	"testing"

	"vault/backend/sftp/sftptest"
)

// counts counts requests by name.
type counts struct {
	mu sync.Mutex
	n  map[string]int
}

func (c *counts) trace(request string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.n == nil {
		c.n = map[string]int{}
	}
	c.n[request]++
}

// take returns what was counted, and starts anew.
func (c *counts) take() map[string]int {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := c.n
	c.n = nil
	return n
}

// TestTracer: requests are told however the stream is cut.
func TestTracer(t *testing.T) {
	packet := func(kind byte, payload string) string {
		return string(append(binary.BigEndian.AppendUint32(nil, uint32(len(payload)+1)), kind)) + payload
	}
	stream := packet(1, "\x00\x00\x00\x03") + packet(6, "\x00\x00\x00\x01"+strings.Repeat("data", 1000)) +
		packet(200, "\x00\x00\x00\x02\x00\x00\x00\x11fsync@openssh.com\x00\x00\x00\x010") + packet(200, "\x00\x00\x00\x03\x00\x00\x00\x05short") +
		packet(200, "") + packet(4, "\x00\x00\x00\x04")
	const want = "init write fsync short  close"
	for size := 1; size < 200; size++ {
		var got []string
		tr := tracer{tell: func(s string) { got = append(got, s) }}
		for rest := stream; rest != ""; {
			n := min(size, len(rest))
			tr.see([]byte(rest[:n]))
			rest = rest[n:]
		}
		if s := strings.Join(got, " "); s != want {
			t.Fatalf("in pieces of %d: %q, want %q", size, s, want)
		}
	}
}

// TestRequests: what costs how many requests, once directories are known.
func TestRequests(t *testing.T) {
	t.Parallel()
	srv := newServer(t, sftptest.Options{})
	var count counts
	cfg := srv.cfg(srv.place())
	cfg.Trace, cfg.Connections = count.trace, 1
	s := mustOpen(t, cfg)
	check := func(what string, err error, want string) {
		t.Helper()
		if err != nil {
			t.Errorf("%s: %v", what, err)
		}
		got := count.take()
		delete(got, "close") // which nobody waits for
		if s := strings.TrimSuffix(strings.TrimPrefix(fmt.Sprint(got), "map["), "]"); s != want {
			t.Errorf("%s: %s, want %s", what, s, want)
		}
	}
	must(t, s.Put(ctx, "packs/ab/first", noise(10)))
	count.take()
	check("put where nothing is", s.Put(ctx, "keys/k", noise(10)), "fsetstat:1 fsync:3 mkdir:1 open:3 posix-rename:1 setstat:1 write:1")
	check("put", s.Put(ctx, "packs/ab/x", noise(100_000)), "fsetstat:1 fsync:2 open:2 posix-rename:1 write:4")
	check("create", s.Create(ctx, "keys/new", noise(10)), "fsetstat:1 fsync:2 hardlink:1 open:2 remove:1 write:1")
	check("create again", exists(s.Create(ctx, "keys/new", noise(10))), "fsetstat:1 fsync:2 hardlink:1 lstat:1 open:2 remove:1 write:1")
	mustHold(t, s, "packs/ab/x", noise(100_000))
	check("read", nil, "fstat:1 open:1 read:4")
	mustHold(t, s, "keys/k", noise(10))
	check("read a record", nil, "fstat:1 open:1 read:1")
	listed(t, s, "keys/")
	check("list", nil, "fsync:1 open:1 opendir:2 readdir:4")
	listed(t, s, "events/")
	check("list what is missing", nil, "opendir:1 stat:1")
	for i := range 150 {
		must(t, os.WriteFile(fmt.Sprintf("%s/keys/%d", cfg.Path, i), nil, 0o644))
	}
	listed(t, s, "keys/")
	check("list two answers full", nil, "fsync:1 open:1 opendir:2 readdir:12") // 2, and 4 when they were not enough
	check("delete", s.Delete(ctx, "packs/ab/x"), "lstat:1 remove:1")
	s = mustOpen(t, cfg) // which knows no directory
	count.take()
	check("put by a stranger", s.Put(ctx, "keys/k", noise(10)), "fsetstat:1 fsync:4 mkdir:1 open:4 posix-rename:1 write:1")
}

// exists makes the refusal to create the success that is wanted.
func exists(err error) error {
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	return fmt.Errorf("not refused: %w", err)
}

// TestListedIsDurable: a listing syncs the directories in which it met
// something, and their entries in their parents, before it shows it.
func TestListedIsDurable(t *testing.T) {
	t.Parallel()
	srv := newServer(t, sftptest.Options{})
	place := srv.place()
	must(t, os.MkdirAll(place+"/commits", 0o755), os.MkdirAll(place+"/packs/ab", 0o755), os.MkdirAll(place+"/events", 0o755),
		os.WriteFile(place+"/commits/c", nil, 0o644), os.WriteFile(place+"/packs/ab/p", nil, 0o644))
	must(t, os.Chown(place, srv.UID, -1))
	var count counts
	cfg := srv.cfg(place)
	cfg.Trace = count.trace
	s := mustOpen(t, cfg)
	for _, c := range []struct {
		prefix string
		syncs  int
	}{
		{"commits/", 3}, // itself; its entry, and that of the repository
		{"commits/", 1},
		{"events/", 0}, // there is nothing to show
		{"packs/", 4},  // packs/ab/ and its entry in packs/, which shows it; packs/ and its entry
		{"packs/", 2},
	} {
		count.take()
		listed(t, s, c.prefix)
		if n := count.take(); n["fsync"] != c.syncs {
			t.Errorf("list %s: %v, want %d fsync", c.prefix, n, c.syncs)
		}
	}
}
