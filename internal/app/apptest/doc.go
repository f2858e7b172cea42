// Package apptest starts real servers of applications for tests: PostgreSQL, MariaDB
// and Redis from Debian's packages, each in a directory of its own, on a socket and a
// loopback port, as an unprivileged user where the test runs as root.
//
// A server is started once in a process, by the first test that asks for it, and
// stopped by Main, by the id of its process. Tests keep to databases and keys of
// their own. Where a program is missing tests are skipped, but not where CI is
// "true".
package apptest
