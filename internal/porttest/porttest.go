// Package porttest keeps loopback ports for the servers of tests, so that nobody
// else gets one before its server listens, or while its server is being restarted.
//
// The idea. A port on which a socket is bound, but does not listen, is neither given
// to those who ask the system for any port nor to a connection that goes out; who asks
// for it by number gets it, as long as both sockets have SO_REUSEADDR set, as every
// server sets it. Meanwhile connections to it are refused, as to a port that nobody
// has.
//
// Caveats. Elsewhere than on Linux a port is free when it is chosen, and no more.
package porttest

import "testing"

// For returns a port of 127.0.0.1 that is kept until the test ends.
func For(t testing.TB) int {
	t.Helper()
	port, release, err := Keep()
	if err != nil {
		t.Fatalf("keep a port: %v", err)
	}
	t.Cleanup(release)
	return port
}
