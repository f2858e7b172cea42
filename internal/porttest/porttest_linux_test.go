package porttest

import (
	"errors"
	"fmt"
	"net"
	"syscall"
	"testing"
)

// TestFor: a port that is kept refuses connections, lets a server listen again and
// again, and is nobody else's.
func TestFor(t *testing.T) {
	port := For(t)
	addr := fmt.Sprintf("127.0.0.1:%d", port)
	for range 3 {
		if _, err := net.Dial("tcp", addr); !errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("connect to a port without a server: %v", err)
		}
		l, err := net.Listen("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		accepted := make(chan error, 1)
		go func() {
			c, err := l.Accept()
			if err == nil {
				c.Close()
			}
			accepted <- err
		}()
		c, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		c.Close()
		if err := <-accepted; err != nil {
			t.Error(err)
		}
		l.Close()
	}
	for range 200 {
		if other := For(t); other == port {
			t.Fatalf("port %d was given twice", port)
		}
	}
}
