// Package sftptest starts a real OpenSSH server for tests, on a loopback port,
// with its own host key, configuration and key to log in with.
//
// The server is Debian's openssh-server. Where it is missing, tests are
// skipped, but not where CI is "true".
// Elsewhere than on Linux the package is empty.
package sftptest
