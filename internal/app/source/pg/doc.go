// Package pg dumps databases of PostgreSQL and brings them back.
//
// The idea. pg_dump writes the database straight into the repository, as plain SQL or
// as an archive without compression, so that the next dump is deduplicated against
// it; psql or pg_restore reads it straight from there, in one transaction where the
// server allows one. Two dumps of the same data are byte for byte the same if
// RestrictKey is given: without it, pg_dump of 2025 and later writes a random key at
// both ends of a plain dump.
//
// Caveats. A dump is one database; the roles that own its objects and the tablespaces
// belong to the server, and Globals dumps them. The marker of a complete plain dump
// is not its last line. An archive has no marker: that it is complete is told by
// pg_dump's exit status. A database that is made anew gets owner, encoding and collation
// of the one that it replaces; what was granted on the database itself, and settings of
// it, are not in a dump. Behind a Prefix, PGPASSWORD has to be passed on, as by "podman
// exec -e PGPASSWORD". A restore into a database that is not made anew runs into
// what is there already, and then leaves everything as it was.
package pg
