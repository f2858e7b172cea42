// Package e2e has no code but tests: it takes real systems from backup to restore on
// another host, each with its configuration of docs/examples, by the program as users
// run it.
//
// The idea. A test makes two hosts: directories with a home, a state directory, a
// configuration and programs of their own. The configuration is the example itself, in
// which paths, addresses and names are replaced by those of the host; a replacement
// that finds nothing fails the test, so that the examples and the tests cannot drift
// apart. Data is written, backed up, changed and lost, brought back on the other host,
// and looked at by the application's own means.
//
// Caveats. PostgreSQL, MariaDB, Redis, SQLite, an S3 server, Orthanc, podman and rsync
// are real, each host's its own; they run as an unprivileged user. What cannot be had as a package - systemd
// units, an agent of NethServer 8, cesapp, etcdctl - is a small script that does what
// its documentation says, and writes down that it was called.
package e2e
