package netfault

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"testing"
	"time"
)

// echo starts a server that returns what it is sent.
func echo(t *testing.T) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() { defer c.Close(); io.Copy(c, c) }()
		}
	}()
	return l.Addr().String()
}

func start(t *testing.T) (*Proxy, *net.TCPConn) {
	p, err := New(echo(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close() })
	return p, dial(t, p)
}

func dial(t *testing.T, p *Proxy) *net.TCPConn {
	c, err := net.Dial("tcp", p.Addr())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(5 * time.Minute))
	return c.(*net.TCPConn)
}

// around sends n bytes and waits until they are back.
func around(t *testing.T, c net.Conn, n int) time.Duration {
	t.Helper()
	begin := time.Now()
	want := bytes.Repeat([]byte("0123456789"), n/10+1)[:n]
	go c.Write(want)
	got := make([]byte, n)
	if _, err := io.ReadFull(c, got); err != nil || !bytes.Equal(got, want) {
		t.Fatalf("echo of %d bytes: %v", n, err)
	}
	return time.Since(begin)
}

func TestPlain(t *testing.T) {
	p, c := start(t)
	around(t, c, 1<<20)
	c.CloseWrite()
	if n, err := c.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("after the end: %d, %v", n, err)
	}
	if s := p.Stats(); s.Connections != 1 || s.Up != 1<<20 || s.Down != 1<<20 || s.Troubles != 0 {
		t.Errorf("stats %+v", s)
	}
}

func TestLatency(t *testing.T) {
	p, c := start(t)
	p.SetLatency(30 * time.Millisecond)
	if took := around(t, c, 10); took < 60*time.Millisecond {
		t.Errorf("a round trip took %v", took)
	}
	// Many packets, one latency: each after the other would be more than so many of them,
	// one for each 16 KiB. A busy machine may need as long by itself, but not while the
	// latency doubles.
	const size = 8 << 20
	for latency, tries := 30*time.Millisecond, 0; ; latency, tries = 2*latency, tries+1 {
		p.SetLatency(latency)
		took := around(t, c, size)
		if took < size/(16<<10)*latency/2 {
			break
		}
		if tries == 3 {
			t.Errorf("%d bytes took %v with a latency of %v", size, took, latency)
			break
		}
	}
}

func TestBandwidth(t *testing.T) {
	p, c := start(t)
	p.SetBandwidth(1 << 20)
	if took := around(t, c, 512<<10); took < 500*time.Millisecond { // both ways, a quarter of a second free
		t.Errorf("half a megabyte took %v", took)
	}
}

func TestBlackHole(t *testing.T) {
	p, c := start(t)
	around(t, c, 10)
	p.SetBlackHole(true)
	c.Write([]byte("lost?"))
	c.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
	if _, err := c.Read(make([]byte, 10)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("read from a black hole: %v", err)
	}
	c.SetReadDeadline(time.Now().Add(time.Minute))
	p.SetBlackHole(false)
	got := make([]byte, 5)
	if _, err := io.ReadFull(c, got); err != nil || string(got) != "lost?" {
		t.Errorf("after the hole: %q, %v", got, err)
	}
}

func TestReset(t *testing.T) {
	p, c := start(t)
	around(t, c, 10)
	if n := p.Reset(); n != 1 {
		t.Errorf("%d connections reset", n)
	}
	if _, err := c.Read(make([]byte, 1)); err == nil || err == io.EOF {
		t.Errorf("read after a reset: %v", err)
	}
	c = dial(t, p)
	p.ResetAfter(100_000)
	go c.Write(make([]byte, 1<<20))
	n, err := io.Copy(io.Discard, c)
	if err == nil || n > 100_000 {
		t.Errorf("read %d bytes, %v", n, err)
	}
	around(t, dial(t, p), 1<<20) // one time only
	p.SetRefuse(true)
	refused, err := net.Dial("tcp", p.Addr()) // fails, if the reset comes before it looks
	if err != nil {
		return
	}
	defer refused.Close()
	if _, err := refused.Read(make([]byte, 1)); err == nil {
		t.Error("a refused connection can be read")
	}
}

func TestHalfClose(t *testing.T) {
	p, c := start(t)
	around(t, c, 10)
	p.HalfClose()
	if _, err := c.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("read: %v", err)
	}
	if _, err := c.Write([]byte("x")); err != nil {
		t.Errorf("write: %v", err)
	}
}

// TestTrouble: whoever tries again gets through in the end, and the faults have
// come by then.
func TestTrouble(t *testing.T) {
	for seed := range uint64(8) {
		p, c := start(t)
		p.Trouble(seed, 5)
		for rest := 1 << 20; rest > 0; { // 5 troubles come within 640 KiB
			const n = 1000
			conn := c
			go conn.Write(make([]byte, n))
			if _, err := io.ReadFull(c, make([]byte, n)); err == nil {
				rest -= n
				continue
			}
			for conn, err := net.Dial("tcp", p.Addr()); ; conn, err = net.Dial("tcp", p.Addr()) {
				if err == nil {
					t.Cleanup(func() { conn.Close() })
					c = conn.(*net.TCPConn)
					c.SetDeadline(time.Now().Add(2 * time.Minute))
					break
				}
				time.Sleep(moment / 10) // refused
			}
		}
		p.mu.Lock()
		left, budget := p.left, p.budget
		p.mu.Unlock()
		if s := p.Stats(); left != 0 || budget >= 0 || s.Troubles != 5 {
			t.Errorf("seed %d: %d troubles have not come; %+v", seed, left, s)
		}
	}
}
