// Package torture kills the real program. Several processes of it - backup,
// forget, unforget, prune, restore, check - work on one repository on a real
// file system; each is killed with SIGKILL, or ended with SIGTERM, at a random
// moment, and something is started in its place. After each round everything
// that was acknowledged has to be there.
//
// The idea. The test keeps what the program has promised. A backup is promised
// when its summary with a Backup ID has been written, even if the process dies
// before it exits; a forget or unforget when the process exits with 0. What
// died in between is unsure, and is looked up when everything is quiet. Every
// attempt of a backup has a tag of its own, so that one that became visible
// although its process was killed can be compared as well: it has to be whole.
// After a round every backup that is visible is restored and compared with the
// source as it was - contents, types, modes, owners, times, links, attributes -
// `check --read-data` finds nothing, and `status` says that the repository is
// ready. At the end an undisturbed prune leaves no more than a fresh repository
// of the same backups would take, and once all of them are forgotten, nothing.
//
// The moments are spread over the time that a command of that kind has taken so
// far, so that they fall into each of its phases; some follow directly upon the
// creation of a session, a commit, a plan. The final lines say where prunes were hit.
//
// Another test does the same to a store that is full, and another one to
// repositories on an SSH server and in an S3 bucket, beside a client that copies
// to a second repository; there the server is killed as well, fifty times while one
// client follows another.
//
// Caveats. SIGKILL takes the process, not the machine: what was written to the
// page cache stays. Power cuts are the business of internal/sim. A seed repeats
// the choices, not what several processes make of them. Linux only.
//
// Settings: TORTURE_KILLS (250), TORTURE_REMOTE_KILLS (50) and TORTURE_SEED; TORTURE_DIR is where the
// repository is made, by default the directory for temporary files; VAULT_BIN
// names a program to test instead of the one built from this source. After a
// failure the repository stays, and its place is printed.
package torture
