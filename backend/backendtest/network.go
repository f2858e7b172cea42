package backendtest

import (
	"testing"
	"time"

	"vault/backend"
	"vault/internal/netfault"
)

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
// Addr is the server's address. Open returns a fresh and empty backend whose
// driver connects to where through leads, repeats what fails for the moment at
// least ten times, and waits a minute for an answer.
func RunThrough(t *testing.T, addr string, open func(t testing.TB, through *netfault.Proxy) backend.Backend) {
	for i, c := range contract {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			p, err := netfault.New(addr)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { p.Close() })
			b := unreliable{closing(t, open(t, p))}
			names(t, b, "") // a wrong address is found out at once, so that it is not tried often at first
			p.SetLatency(latency)
			p.SetBandwidth(bandwidth)
			p.Trouble(uint64(i), troubles)
			c.test(t, b)
			t.Logf("%+v", p.Stats())
		})
	}
}

// unreliable marks a backend of which a reader may fail when what it reads is
// replaced.
type unreliable struct{ backend.Backend }
