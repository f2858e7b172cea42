//go:build !linux

package porttest

import (
	"fmt"
	"net"
)

// Keep returns a port of 127.0.0.1 on which nobody listens now. Release does nothing.
func Keep() (port int, release func(), err error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, nil, fmt.Errorf("choose a port: %w", err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port, func() {}, nil
}
