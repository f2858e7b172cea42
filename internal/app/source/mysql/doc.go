// Package mysql dumps databases of MariaDB and MySQL and brings them back.
//
// The idea. mariadb-dump (or mysqldump) writes the database straight into the
// repository, in one consistent view of all its transactional tables, with routines,
// triggers and events, and without the date, so that two dumps of the same data are
// byte for byte the same. The client reads it straight from there.
//
// Caveats. Tables that know no transactions (MyISAM, Aria) are consistent only while
// nobody writes. The server has no transactions around definitions: a restore that
// breaks off leaves what came before, and has to be repeated. Users and rights
// belong to the server: they are the database "mysql". mariadb-dump 10.11 cannot dump
// a database with a quote or a backslash in its name, and says that it is unknown.
package mysql
