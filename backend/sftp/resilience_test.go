//go:build linux

package sftp

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"vault/backend"
	"vault/backend/sftp/sftptest"
	"vault/internal/netfault"
)

// behind returns a proxy in front of the server, and how to go through it.
func behind(t testing.TB, srv *server, path string) (*netfault.Proxy, Config) {
	t.Helper()
	p, err := netfault.New(fmt.Sprintf("127.0.0.1:%d", srv.Port))
	must(t, err)
	t.Cleanup(func() { p.Close() })
	cfg := srv.cfg(path)
	cfg.Port = p.Port()
	cfg.KnownHosts = []string{srv.Known(p.Port())}
	return p, cfg
}

func noise(n int) []byte {
	data := make([]byte, n)
	rand.NewChaCha8([32]byte{byte(n)}).Read(data)
	return data
}

func mustHold(t testing.TB, s *Store, name string, want []byte) {
	t.Helper()
	got, err := backend.ReadAll(ctx, s, name, 1<<30)
	if err != nil || !bytes.Equal(got, want) {
		t.Errorf("%s: got %d bytes (%v), want %d", name, len(got), err, len(want))
	}
}

// noTemps checks that nothing temporary is left below a directory.
func noTemps(t testing.TB, dir string) {
	t.Helper()
	must(t, filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && strings.HasPrefix(d.Name(), ".tmp-") {
			t.Errorf("%s is left", path)
		}
		return err
	}))
}

// TestServerKilled: operations under way go on when the server is killed and
// started again.
func TestServerKilled(t *testing.T) {
	t.Parallel()
	srv := newServer(t, sftptest.Options{})
	dir := srv.place()
	s := mustOpen(t, srv.cfg(dir))
	data := noise(3 << 20)
	must(t, s.Put(ctx, "old", data))
	var wg sync.WaitGroup
	var done atomic.Int64
	stop := make(chan struct{})
	for g := range 4 {
		wg.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-stop:
					return
				default:
				}
				name := fmt.Sprintf("packs/%d/%d", g, i)
				if err := s.Create(ctx, name, data[:1<<20+i]); err != nil {
					t.Errorf("create %s: %v", name, err)
					return
				}
				mustHold(t, s, name, data[:1<<20+i])
				mustHold(t, s, "old", data)
				for _, err := range s.List(ctx, "packs/") {
					if err != nil {
						t.Errorf("list: %v", err)
					}
				}
				if err := s.Delete(ctx, name); err != nil {
					t.Errorf("delete %s: %v", name, err)
				}
				done.Add(1)
			}
		})
	}
	for range 4 {
		for before := done.Load(); done.Load() < before+4 && !t.Failed(); {
			time.Sleep(5 * time.Millisecond)
		}
		srv.Kill()
		time.Sleep(50 * time.Millisecond)
		srv.Restart()
	}
	close(stop)
	wg.Wait()
	_, err := s.Sweep(ctx) // what could not be removed while the server was away
	must(t, err)
	noTemps(t, dir)
}

// TestResetAnywhere breaks the connection after every so many bytes of a
// Create, so that every answer is lost once: whatever happened, the object is
// there once, whole, and its creator is told that it won.
func TestResetAnywhere(t *testing.T) {
	t.Parallel()
	srv := newServer(t, sftptest.Options{})
	dir := srv.place()
	p, cfg := behind(t, srv, dir)
	cfg.Connections = 1
	s := mustOpen(t, cfg)
	must(t, s.Put(ctx, "commits/x", nil))
	resets := 0
	rng := rand.New(rand.NewPCG(1, 1))
	for i, at := 0, int64(20); at < 3500; i, at = i+1, at+70+rng.Int64N(20) {
		name := fmt.Sprintf("commits/%d", i)
		data := fmt.Appendf(nil, "nonce %d", i)
		before := p.Stats().Connections
		p.ResetAfter(at)
		if err := s.Create(ctx, name, data); err != nil {
			t.Errorf("reset after %d: %v", at, err)
		}
		p.ResetAfter(-1)
		resets += p.Stats().Connections - before
		mustHold(t, s, name, data)
		if err := s.Create(ctx, name, data); !errors.Is(err, fs.ErrExist) {
			t.Errorf("reset after %d: create again: %v", at, err)
		}
	}
	if resets < 15 {
		t.Errorf("only %d connections were broken", resets)
	}
	// Another's object is another's, also if the answer is lost.
	lost := 0
	for at := int64(1200); at < 3500; at += 300 {
		p.ResetAfter(at)
		switch err := s.Create(ctx, "commits/0", []byte("nonce 0")); {
		case errors.Is(err, fs.ErrExist):
		case err == nil:
			t.Errorf("reset after %d: stole an object with the same bytes", at)
		default:
			lost++
		}
	}
	p.ResetAfter(-1)
	if lost > 2 {
		t.Errorf("%d creations were left undecided", lost)
	}
	// What was to be removed over a connection that had broken by then, and what the
	// other end of such a connection may have made since.
	srv.Kill()
	srv.Restart()
	_, err := s.Sweep(ctx)
	must(t, err)
	noTemps(t, dir)
}

// TestFence: the link of an attempt that was given up cannot happen later, and
// one that had happened is recognised, whatever the object holds.
func TestFence(t *testing.T) {
	t.Parallel()
	srv := newServer(t, sftptest.Options{})
	dir := srv.place()
	s := mustOpen(t, srv.cfg(dir))
	must(t, s.Put(ctx, "commits/x", nil))
	c, err := s.acquire(ctx)
	must(t, err)
	defer s.release(c)
	for _, tc := range []struct {
		what   string
		linked bool // our link happened
		other  bool // somebody else has made the same
		swept  bool // our temporary file is gone
		marked bool // after it got its mark, of which no answer has come
		done   bool
		undec  bool
	}{
		{what: "nothing happened"},
		{what: "linked", linked: true, done: true},
		{what: "another with the same bytes", other: true},
		{what: "swept", swept: true},
		{what: "linked and swept", linked: true, swept: true, undec: true},
		{what: "linked, marked and swept", linked: true, marked: true, swept: true, done: true},
		{what: "another and swept", other: true, swept: true, undec: true},
	} {
		u := &upload{s: s, rel: "commits", target: dir + "/commits/y", data: []byte("data"), exclusive: true, sent: true, temp: dir + "/commits/.tmp-" + s.id + "-1"}
		must(t, os.WriteFile(u.temp, u.data, 0o600))
		if tc.linked {
			must(t, os.Link(u.temp, u.target))
		}
		if tc.other {
			must(t, os.WriteFile(u.target, u.data, 0o600))
		}
		if tc.marked {
			u.stamp = 1 << 30
			must(t, os.Chtimes(u.temp, time.Unix(u.stamp, 0), time.Unix(u.stamp, 0)))
		}
		if tc.swept {
			must(t, os.Remove(u.temp))
		}
		temp := u.temp
		err := u.settle(ctx, c)
		done := u.decided
		if done != tc.done || (err != nil) != tc.undec || errors.Is(err, fs.ErrExist) {
			t.Errorf("%s: done %t, %v", tc.what, done, err)
		}
		if _, err := os.Stat(temp); err == nil {
			t.Errorf("%s: the temporary file is left, and may be linked late", tc.what)
		}
		_ = os.Remove(u.target)
	}
	// One that the other end of a broken connection makes after that goes with the next sweep.
	u := &upload{s: s, rel: "commits", target: dir + "/commits/y", temp: dir + "/commits/.tmp-" + s.id + "-2"}
	late := u.temp
	must(t, u.settle(ctx, c), os.WriteFile(late, nil, 0o600))
	_, err = s.Sweep(ctx)
	must(t, err)
	noTemps(t, dir)
}

// hasty opens a store with a short timeout, or with one that is just long enough for
// how busy the machine is.
func hasty(t testing.TB, cfg Config) *Store {
	t.Helper()
	for {
		s, err := Open(ctx, cfg)
		if err == nil {
			t.Cleanup(func() { s.Close() })
			return s
		}
		if cfg.Timeout *= 2; cfg.Timeout > 2*time.Minute {
			t.Fatal(err)
		}
	}
}

// TestBlackHole: a network that swallows everything is noticed, and what was
// under way goes on when it ends, or stops when its context does.
func TestBlackHole(t *testing.T) {
	t.Parallel()
	srv := newServer(t, sftptest.Options{})
	dir := srv.place()
	p, cfg := behind(t, srv, dir)
	data := noise(4 << 20)
	must(t, mustOpen(t, cfg).Put(ctx, "old", data))
	cfg.Timeout, cfg.Retries = 400*time.Millisecond, 1000 // a busy machine may need longer to connect, most times
	s := hasty(t, cfg)

	// What ends in a hole ends by itself: nobody ends the hole meanwhile.
	p.SetBlackHole(true)
	limited, cancel := context.WithTimeout(ctx, 200*time.Millisecond)
	defer cancel()
	buf := bytes.Clone(data)
	if err := s.Put(limited, "late", buf); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("put into a black hole: %v", err)
	}
	clear(buf) // must not be in use any more
	time.AfterFunc(1500*time.Millisecond, func() { p.SetBlackHole(false) })
	mustHold(t, s, "old", data)

	cfg.Retries = -1
	once := hasty(t, cfg)
	p.SetBlackHole(true)
	if err := once.Put(ctx, "x", data); !errors.Is(err, backend.ErrUnreachable) {
		t.Errorf("without retries: %v", err)
	}
	if _, err := Open(ctx, cfg); !errors.Is(err, backend.ErrUnreachable) {
		t.Errorf("open in a black hole: %v", err)
	}
}

// TestStuckServer: a server that stays silent while its network lives.
func TestStuckServer(t *testing.T) {
	t.Parallel()
	sftptest.Need(t)
	dir := t.TempDir()
	cfg := Config{Command: []string{"sh", "-c", "echo $$ >" + dir + "/pid; exec /usr/lib/openssh/sftp-server"}, Path: dir + "/repo", Timeout: 100 * time.Millisecond, Retries: -1}
	must(t, os.Mkdir(cfg.Path, 0o700))
	s := hasty(t, cfg)
	pid, err := strconv.Atoi(strings.TrimSpace(string(mustRead(t, dir+"/pid"))))
	must(t, err, syscall.Kill(pid, syscall.SIGSTOP))
	defer syscall.Kill(pid, syscall.SIGKILL)
	if err := s.Put(ctx, "x", nil); !errors.Is(err, backend.ErrUnreachable) { // it ends: the server does not
		t.Error(err)
	}
}

// TestHalfClosed: a server that hangs up while we write.
func TestHalfClosed(t *testing.T) {
	t.Parallel()
	srv := newServer(t, sftptest.Options{})
	p, cfg := behind(t, srv, srv.place())
	s := mustOpen(t, cfg)
	data := noise(8 << 20)
	for i := range 3 {
		time.AfterFunc(time.Duration(5+10*i)*time.Millisecond, func() { p.HalfClose() })
		must(t, s.Put(ctx, "x", data))
		mustHold(t, s, "x", data)
	}
}

// TestReaderGoesOn: a reader whose connection breaks reads on if the object is
// still the same, and never mixes two.
func TestReaderGoesOn(t *testing.T) {
	t.Parallel()
	srv := newServer(t, sftptest.Options{})
	p, cfg := behind(t, srv, srv.place())
	s := mustOpen(t, cfg)
	data := noise(5 << 20)
	for _, replaced := range []bool{false, true} {
		must(t, s.Put(ctx, "x", data))
		r, err := s.Get(ctx, "x", 1000, -1)
		must(t, err)
		head := make([]byte, 1<<20+10)
		if _, err := io.ReadFull(r, head); err != nil {
			t.Fatal(err)
		}
		if replaced {
			must(t, s.Put(ctx, "x", bytes.Repeat([]byte("x"), len(data))))
		}
		p.Reset()
		rest, err := io.ReadAll(r)
		got := append(head, rest...)
		switch {
		case !replaced && (err != nil || !bytes.Equal(got, data[1000:])):
			t.Errorf("read %d bytes, %v", len(got), err)
		case replaced && err == nil:
			t.Error("a reader went on in another object")
		}
		must(t, r.Close())
	}
	// After Close a reader keeps its connection.
	must(t, s.Put(ctx, "x", data))
	r, err := s.Get(ctx, "x", 0, -1)
	must(t, err, s.Close())
	if got, err := io.ReadAll(r); err != nil || !bytes.Equal(got, data) {
		t.Errorf("after Close: %d bytes, %v", len(got), err)
	}
	must(t, r.Close())
}

// TestSlowNetwork: latency is hidden by requests under way at the same time.
func TestSlowNetwork(t *testing.T) {
	t.Parallel()
	srv := newServer(t, sftptest.Options{})
	p, cfg := behind(t, srv, srv.place())
	s := mustOpen(t, cfg)
	must(t, s.Put(ctx, "packs/x", nil))
	for i := range 40 {
		must(t, s.Put(ctx, fmt.Sprintf("shards/%02d/x", i), nil))
	}
	data := noise(4 << 20)
	n := 0
	for _, c := range []struct {
		what string
		most int // round trips, where one request after the other would take more, and a quiet machine takes few
		f    func()
	}{
		{"put", 100, func() { must(t, s.Put(ctx, "packs/a", data)) }}, // of 132; 5
		{"create", 100, func() { n++; must(t, s.Create(ctx, fmt.Sprint("packs/b", n), data)) }},
		{"get a range", 90, func() { must(t, backend.ReadRange(ctx, s, "packs/a", 1000, make([]byte, 3<<20))) }}, // of 98; 3
		{"list", 120, func() { listed(t, s, "shards/") }},                                                        // of 160; 44
	} {
		// Others may hold everything up, but not while the round trips become longer.
		for rtt, tries := 50*time.Millisecond, 6; ; rtt, tries = 2*rtt, tries-1 {
			p.SetLatency(rtt / 2)
			begin := time.Now()
			c.f()
			took := float64(time.Since(begin)) / float64(rtt)
			t.Logf("%s: %.1f round trips", c.what, took)
			if took <= float64(c.most) {
				break
			}
			if tries == 0 {
				t.Errorf("%s takes %.0f round trips, more than %d", c.what, took, c.most)
				break
			}
		}
	}
}

// TestRateLimit: the limits hold, and a slow transfer is not taken for a stuck one.
func TestRateLimit(t *testing.T) {
	t.Parallel()
	srv := newServer(t, sftptest.Options{})
	cfg := srv.cfg(srv.place())
	data := noise(1 << 20)
	// A transfer takes five times as long as the timeout. A busy server may be silent for
	// longer than that by itself: then both are doubled.
	cfg.Retries = -1
	for cfg.Timeout = 200 * time.Millisecond; ; cfg.Timeout *= 2 {
		rate := int64(float64(len(data)) / (5 * cfg.Timeout).Seconds())
		cfg.LimitUpload, cfg.LimitDownload = rate, rate
		up, down, err := timed(cfg, data)
		if err == nil {
			if least := 3 * cfg.Timeout; up < least || down < least { // a quarter of a second is free
				t.Errorf("a megabyte at %d bytes a second took %v up and %v down", rate, up, down)
			}
			return
		}
		if cfg.Timeout > 10*time.Second {
			t.Fatal(err)
		}
	}
}

// timed stores and reads an object, and returns how long each took.
func timed(cfg Config, data []byte) (up, down time.Duration, err error) {
	s, err := Open(ctx, cfg)
	if err != nil {
		return 0, 0, err
	}
	defer s.Close()
	begin := time.Now()
	if err := s.Put(ctx, "x", data); err != nil {
		return 0, 0, err
	}
	up, begin = time.Since(begin), time.Now()
	got, err := backend.ReadAll(ctx, s, "x", 1<<30)
	if err == nil && !bytes.Equal(got, data) {
		err = fmt.Errorf("read %d other bytes", len(got))
	}
	return up, time.Since(begin), err
}

// TestCreateRace: of 16 stores with connections of their own one wins.
func TestCreateRace(t *testing.T) {
	t.Parallel()
	srv := newServer(t, sftptest.Options{})
	dir := srv.place()
	var stores [16]*Store
	var wg sync.WaitGroup
	for i := range stores {
		wg.Go(func() { // all connect at once
			s, err := Open(ctx, srv.cfg(dir))
			if err != nil {
				t.Error(err)
				return
			}
			stores[i] = s
			t.Cleanup(func() { s.Close() })
		})
	}
	wg.Wait()
	if t.Failed() {
		return
	}
	for round := range 8 {
		name := fmt.Sprintf("gc/%d.plan", round)
		var winners atomic.Int64
		var winner atomic.Int64
		start := make(chan struct{})
		for i, s := range stores {
			wg.Go(func() {
				<-start
				switch err := s.Create(ctx, name, []byte{byte(i)}); {
				case err == nil:
					winners.Add(1)
					winner.Store(int64(i))
				case !errors.Is(err, fs.ErrExist):
					t.Errorf("create: %v", err)
				}
			})
		}
		close(start)
		wg.Wait()
		if winners.Load() != 1 {
			t.Errorf("round %d: %d winners", round, winners.Load())
		}
		mustHold(t, stores[0], name, []byte{byte(winner.Load())})
	}
	noTemps(t, dir)
}
