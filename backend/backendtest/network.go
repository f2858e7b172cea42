package backendtest

import (
	"testing"
	"time"

	"vault/backend"
)

// Network is what [RunThrough] makes bad: a netfault.Proxy.
type Network interface {
	SetLatency(each time.Duration)
	SetBandwidth(bytesPerSecond int64)
	Trouble(seed uint64, n int)
}

// How bad the network of [RunThrough] is.
const (
	latency   = 2500 * time.Microsecond // each way
	bandwidth = 32 << 20                // bytes a second, both ways
	troubles  = 5                       // in each test
)

// RunThrough tests a driver of a real server through a bad network: one with
// latency and limited bandwidth, on which, at moments that a seed fixes for each
// test, all connections are reset or half-closed, nothing passes, or no
// connection can be made. The contract is the same, with one exception: where an
// object is replaced while it is read and the connection breaks, the read may
// fail.
//
// Open returns a fresh and empty backend whose driver repeats what fails for the
// moment at least ten times and waits a minute for an answer, and the network
// between it and the server, which is its own.
func RunThrough(t *testing.T, open func(t testing.TB) (backend.Backend, Network)) {
	for i, c := range contract {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			opened, network := open(t)
			b := unreliable{closing(t, opened)}
			names(t, b, "") // a wrong address is found out at once, so that it is not tried often at first
			network.SetLatency(latency)
			network.SetBandwidth(bandwidth)
			network.Trouble(uint64(i), troubles)
			c.test(t, b)
		})
	}
}

// unreliable marks a backend of which a reader may fail when what it reads is
// replaced.
type unreliable struct{ backend.Backend }
