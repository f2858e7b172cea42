// Package source has what the sources of applications share: programs that are run
// as somebody else or inside a container, streams that must end as they should,
// and private places for what has to touch the disk. The kinds of sources are in
// the packages below it: pg, mysql, redis, sqlite, bucket, container, ns8, dogu.
//
// The idea. Every kind describes what to read in a plain struct, which is an
// archive.Source; a method Preflight tells whether it could be read now, and a
// method Restore is the way back. A dump goes from the program that writes it into
// the repository, and from there into the program that reads it, without a file
// between them.
//
// Caveats. A secret is handed to a program in its environment or in a private file,
// never in its arguments, which everybody on the machine can see. The environment
// of a process can be read by its own user and by root. A program that runs behind
// a Runner.Prefix sees of the environment what the prefix passes on.
package source
