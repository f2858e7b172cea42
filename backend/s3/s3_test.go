package s3

import (
	"context"
	"fmt"
	"maps"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/minio/minio-go/v7"

	"vault/backend"
	"vault/backend/backendtest"
	"vault/backend/s3/s3test"
	"vault/internal/netfault"
)

var bg = context.Background()

// bucketOptions make a plain bucket.
var bucketOptions minio.MakeBucketOptions

// config returns the way into a server's bucket, with retries that are quick. No
// request takes a minute, however busy the machine is: one that is made again would
// spoil what is counted.
func config(srv *s3test.Server, bucket string) Config {
	return Config{
		Endpoint: srv.Endpoint(), Region: s3test.Region, Bucket: bucket,
		Credentials: Credentials{AccessKey: s3test.AccessKey, SecretKey: s3test.SecretKey},
		Retry:       Retry{Tries: 6, Base: 10 * time.Millisecond, Max: 100 * time.Millisecond},
		Stall:       time.Minute,
	}
}

func mustOpen(t testing.TB, cfg Config) *Store {
	t.Helper()
	s, err := Open(bg, cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// counter counts requests by operation.
type counter struct {
	mu sync.Mutex
	n  map[string]int
}

func (c *counter) trace(op string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.n == nil {
		c.n = map[string]int{}
	}
	c.n[op]++
}

// take returns what was counted, and starts anew.
func (c *counter) take() map[string]int {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := c.n
	c.n = map[string]int{}
	return n
}

func mustCount(t *testing.T, what string, c *counter, want map[string]int) {
	t.Helper()
	if got := c.take(); !maps.Equal(got, want) {
		t.Errorf("%s made the requests %v, want %v", what, got, want)
	}
}

func TestContract(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name   string
		server s3test.Options
		bucket minio.MakeBucketOptions
		change func(*Config)
	}{
		{name: "plain"},
		{name: "parts, one connection", change: func(c *Config) { c.PartSize, c.Connections = minPartSize, 1 }},
		{name: "versioned", server: s3test.Options{Versioning: true}, change: func(c *Config) { c.Prefix = "some/where" }},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			srv := s3test.Start(t, c.server)
			var n atomic.Int32
			backendtest.Run(t, func(t testing.TB) backend.Backend {
				bucket := fmt.Sprintf("bucket-%d", n.Add(1))
				srv.MakeBucket(t, bucket, c.bucket)
				if c.server.Versioning {
					if err := srv.Client(t).EnableVersioning(bg, bucket); err != nil {
						t.Fatal(err)
					}
				}
				cfg := config(srv, bucket)
				if c.change != nil {
					c.change(&cfg)
				}
				if cfg.Prefix != "" { // a neighbour with a similar name must stay out of sight
					other := cfg
					other.Prefix += "-else"
					if err := mustOpen(t, other).Put(bg, "config", []byte("stranger")); err != nil {
						t.Fatal(err)
					}
				}
				return mustOpen(t, cfg)
			})
		})
	}
}

// TestContractBadNetwork runs the suite through a network that fails.
func TestContractBadNetwork(t *testing.T) {
	if testing.Short() {
		t.Skip("the contract without faults is tested")
	}
	t.Parallel()
	srv := s3test.Start(t, s3test.Options{})
	var n atomic.Int32
	backendtest.RunThrough(t, func(t testing.TB) (backend.Backend, backendtest.Network) {
		bucket := fmt.Sprintf("bucket-%d", n.Add(1))
		srv.MakeBucket(t, bucket, bucketOptions)
		p, err := netfault.New(srv.Addr)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { p.Close() })
		cfg := config(srv, bucket)
		cfg.Endpoint = "http://" + p.Addr()
		cfg.PartSize = minPartSize
		cfg.Retry, cfg.Stall = Retry{}, 0 // as users have them
		return mustOpen(t, cfg), p
	})
}
