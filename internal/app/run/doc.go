// Package run takes backups of applications, copies them, and brings them back.
//
// The idea. A run is one line of steps, each of which may fail:
//
//	lock - replay - preflight - open - before - [prewarm] - enter - read - leave - commit - after - retention - finally
//
// and whatever fails, what was begun is undone: leave runs once enter has begun,
// finally runs once before has begun, on failure, time-out and signal. What a crash
// would leave behind is in a journal (Journal) before it happens; the next run of the
// application, or Recover, replays it. So leave and finally may run twice, and must
// bear it.
//
// All volumes become visible together under one Backup ID, or nothing does: their
// classes decide before the commit. What was stored until then is found again by
// the next run.
//
// The package executes what the configuration says and prints nothing. How to open a
// repository, and what an error means for an exit code, is handed in: both belong to
// the command line.
//
// Caveats. One application is worked on by one process at a time, by a lock in
// the state directory: processes with different state directories do not know of
// each other. A command that is still running when vault is killed goes on by
// itself, and the replay may run beside it. Commands run as who runs vault.
package run
