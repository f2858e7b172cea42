// Package netfault is a bad network for tests: a TCP proxy on the loopback
// interface that delays, throttles, swallows, resets and half-closes what
// passes between clients and a real server.
//
// It works on bytes as they come, so that what is cut is cut anywhere, also in
// the middle of a message. Faults apply to connections that exist and to later
// ones alike, until they are changed.
package netfault

import (
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"sync"
	"time"

	"vault/internal/limit"
)

// Proxy passes TCP connections on to a server. Make one with [New]. It is safe
// for concurrent use.
type Proxy struct {
	target string
	l      net.Listener
	ctx    context.Context
	stop   context.CancelFunc
	wg     sync.WaitGroup

	mu      sync.Mutex // guards what follows
	changed chan struct{}
	hole    bool
	refuse  bool
	latency time.Duration
	rate    *limit.Limiter
	budget  int64 // bytes until a reset, or the next trouble; < 0: none
	trouble *rand.Rand
	left    int // how much trouble is to come
	struck  int // and has come
	pairs   map[*pair]bool
	total   int   // connections so far
	up      int64 // bytes from clients
	down    int64 // bytes from the server
}

// pair is a connection on both sides of the proxy.
type pair struct{ client, server *net.TCPConn }

// New starts a proxy to the server at target ("host:port"). Close ends it.
func New(target string) (*Proxy, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	p := &Proxy{target: target, l: l, budget: -1, changed: make(chan struct{}), pairs: make(map[*pair]bool)}
	p.ctx, p.stop = context.WithCancel(context.Background())
	p.wg.Go(p.accept)
	return p, nil
}

// Addr returns the address ("127.0.0.1:port") that clients connect to.
func (p *Proxy) Addr() string { return p.l.Addr().String() }

// Port returns the port of Addr.
func (p *Proxy) Port() int { return p.l.Addr().(*net.TCPAddr).Port }

// Close resets all connections and waits for the proxy to end.
func (p *Proxy) Close() error {
	p.stop()
	err := p.l.Close()
	p.Reset()
	p.wg.Wait()
	return err
}

// SetLatency delays every byte by d, each way.
func (p *Proxy) SetLatency(d time.Duration) { p.change(func() { p.latency = d }) }

// SetBandwidth lets so many bytes a second pass, both ways and all connections
// together; 0 means any number.
func (p *Proxy) SetBandwidth(bytesPerSecond int64) {
	p.change(func() { p.rate = limit.New(bytesPerSecond) })
}

// SetBlackHole makes the network swallow everything: connections are accepted
// and stay open, nothing passes. What was sent meanwhile passes when the hole
// ends, as with packets that are sent again.
func (p *Proxy) SetBlackHole(on bool) { p.change(func() { p.hole = on }) }

// SetRefuse makes the proxy reset every new connection at once.
func (p *Proxy) SetRefuse(on bool) { p.change(func() { p.refuse = on }) }

// ResetAfter resets all connections once n more bytes have passed, one time.
func (p *Proxy) ResetAfter(n int64) { p.change(func() { p.budget = n }) }

// Trouble makes the network fail n times: after numbers of bytes that seed
// decides, all connections are reset or half-closed, or everything is swallowed,
// or every new connection refused, for a moment. After that, and between two of
// them, it works.
func (p *Proxy) Trouble(seed uint64, n int) {
	p.change(func() {
		p.trouble, p.left = rand.New(rand.NewPCG(seed, 1)), n
		p.arm()
	})
}

// The bytes between two troubles - up to one of these numbers, as likely to be a
// small one as a large one - and how long those last that do not pass at once.
const (
	fewestBetween = 2 << 10
	doublings     = 7
	moment        = 100 * time.Millisecond
)

// arm sets when the next trouble comes. The caller holds p.mu.
func (p *Proxy) arm() {
	p.budget = -1
	if p.left > 0 {
		p.left--
		p.budget = 1 + p.trouble.Int64N(fewestBetween<<p.trouble.IntN(doublings))
	}
}

// strike carries out a trouble.
func (p *Proxy) strike(kind int) {
	switch kind {
	case 0:
		p.HalfClose()
	case 1:
		p.SetBlackHole(true)
		time.AfterFunc(moment, func() { p.SetBlackHole(false) })
	case 2:
		p.SetRefuse(true)
		p.Reset()
		time.AfterFunc(moment, func() { p.SetRefuse(false) })
	default:
		p.Reset()
	}
}

func (p *Proxy) change(f func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	f()
	close(p.changed)
	p.changed = make(chan struct{})
}

// Reset breaks all connections, with RST on either side, and returns how many.
func (p *Proxy) Reset() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := range p.pairs {
		c.reset()
	}
	return len(p.pairs)
}

// HalfClose ends the server's direction of all connections: clients read the
// end, while what they write still arrives. It returns how many there were.
func (p *Proxy) HalfClose() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := range p.pairs {
		_ = c.client.CloseWrite()
	}
	return len(p.pairs)
}

// Stats are counts since the proxy was made.
type Stats struct {
	Connections int
	Open        int   // of them
	Up, Down    int64 // bytes passed from clients, and to them
	Troubles    int   // of Trouble, that have come
}

// Stats returns what has passed so far.
func (p *Proxy) Stats() Stats {
	p.mu.Lock()
	defer p.mu.Unlock()
	return Stats{p.total, len(p.pairs), p.up, p.down, p.struck}
}

func (c *pair) reset() {
	for _, t := range []*net.TCPConn{c.client, c.server} {
		_ = t.SetLinger(0)
		_ = t.Close()
	}
}

func (p *Proxy) accept() {
	for {
		conn, err := p.l.Accept()
		if err != nil {
			return
		}
		client := conn.(*net.TCPConn)
		p.wg.Go(func() { p.serve(client) })
	}
}

func (p *Proxy) serve(client *net.TCPConn) {
	p.mu.Lock()
	refuse := p.refuse
	p.mu.Unlock()
	conn, err := (&net.Dialer{}).DialContext(p.ctx, "tcp", p.target)
	if err != nil || refuse {
		if err == nil {
			conn.Close()
		}
		_ = client.SetLinger(0)
		client.Close()
		return
	}
	c := &pair{client: client, server: conn.(*net.TCPConn)}
	p.mu.Lock()
	p.pairs[c] = true
	p.total++
	p.mu.Unlock()
	var wg sync.WaitGroup
	wg.Go(func() { p.pass(c, c.server, c.client, &p.up) })
	wg.Go(func() { p.pass(c, c.client, c.server, &p.down) })
	if p.ctx.Err() != nil { // Close has not seen this pair
		c.reset()
	}
	wg.Wait()
	c.reset()
	p.mu.Lock()
	delete(p.pairs, c)
	p.mu.Unlock()
}

// packet is what one read brought, and when it may go on.
type packet struct {
	data []byte
	due  time.Time
}

// pass moves bytes one way. Reading and writing are apart, so that latency
// does not limit throughput.
func (p *Proxy) pass(c *pair, dst, src *net.TCPConn, count *int64) {
	queue := make(chan packet, 256)
	done := make(chan struct{})
	go func() {
		defer close(queue)
		for {
			buf := make([]byte, 16<<10)
			n, err := src.Read(buf)
			if n > 0 {
				p.mu.Lock()
				due := time.Now().Add(p.latency)
				p.mu.Unlock()
				select {
				case queue <- packet{buf[:n], due}:
				case <-done:
					return
				}
			}
			if err != nil {
				if !errors.Is(err, io.EOF) {
					c.reset()
				}
				return
			}
		}
	}()
	defer close(done)
	for k := range queue {
		if !p.forward(c, dst, k, count) {
			c.reset()
			return
		}
	}
	_ = dst.CloseWrite()
}

// forward writes one packet when its time has come; false ends the connection.
func (p *Proxy) forward(c *pair, dst *net.TCPConn, k packet, count *int64) bool {
	if wait := time.Until(k.due); wait > 0 {
		select {
		case <-time.After(wait):
		case <-p.ctx.Done():
			return false
		}
	}
	for {
		p.mu.Lock()
		hole, rate, changed := p.hole, p.rate, p.changed
		p.mu.Unlock()
		if hole {
			select {
			case <-changed:
				continue
			case <-p.ctx.Done():
				return false
			}
		}
		if rate.Wait(p.ctx, len(k.data)) != nil {
			return false
		}
		break
	}
	n, strike := p.spend(len(k.data), count)
	if _, err := dst.Write(k.data[:n]); err != nil {
		return false
	}
	if strike != nil {
		strike()
	}
	return n == len(k.data)
}

// spend counts n bytes and returns how many of them may pass before what is due
// is to be done, if anything is.
func (p *Proxy) spend(n int, count *int64) (pass int, strike func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	pass = n
	switch {
	case p.budget < 0:
	case int64(n) < p.budget:
		p.budget -= int64(n)
	case p.trouble == nil:
		pass, p.budget = int(p.budget), -1
		strike = func() { p.Reset() }
	default:
		kind := p.trouble.IntN(4)
		if kind > 1 { // a reset cuts a message off
			pass = int(p.budget)
		}
		p.struck++
		p.arm()
		strike = func() { p.strike(kind) }
	}
	*count += int64(pass)
	return pass, strike
}
