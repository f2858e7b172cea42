// Package sim runs the real engine - writers, collections, forgetting,
// restoring, checking - on a simulated store under every kind of fault, and
// looks after each change whether a backup was lost.
//
// The idea. Several clients, each a handful of goroutines that run the code of
// packages repo, repo/gc, repo/check, snapshot/archive and snapshot/restore,
// share one [store]. Every call of the store blocks until a scheduler grants
// it, and the scheduler grants one at a time, when all goroutines of all
// clients are blocked (package testing/synctest tells when). Which call comes
// next, whether it fails and how, which client is killed or put to sleep for
// days, whose clock jumps, when the power fails: all of it is drawn from a
// generator with a seed, so that a seed names a schedule. The engine's own
// randomness is drawn from the seed as well, and its timers are the scheduler's.
//
// The faults are those that the contract of package backend allows:
//
//   - a call fails without effect, or takes effect and is reported as failed, or
//     fails and takes effect later, or does so a second time - perhaps long
//     afterwards, when the object has been deleted;
//   - reads end early with an error; the store is full for a while;
//   - listings of packs/ and index/ are stale in both directions;
//   - a power cut loses any part of what was not acknowledged, and brings back
//     deleted objects;
//   - clients are killed at any call and started again, are suspended for days,
//     and their clocks jump by years.
//
// The oracle. After every change of something that a reader would look at, a
// fresh reader opens the repository: each backup that was acknowledged and that
// nobody forgot must be there and restore byte for byte, and whatever else is
// visible must be whole. It is exact and yet quick, because a reader is a
// function of the objects that it asks for: while none of those changed, its
// finding stands. At the end, without faults, collections must leave nothing
// but what the remaining backups need, and a check must find nothing.
//
// To show that the simulation can find what it looks for, [Bug] plants one bug
// for each kind of fault, in what the store answers or in how a client asks,
// never in the engine; the tests demand that every one of them is found.
//
// In the environment, SIM_SEED=n makes TestSeed play one schedule and print it;
// SIM_N, SIM_FROM and SIM_MINUTES say which and how many TestSchedules plays,
// SIM_WRONG after how many violations it stops.
//
// A seed means the same schedule on every machine: what is asked of the store
// depends on the store alone, and what the disk makes up of the trees that are
// backed up - inodes, times of change, owners - never reaches the repository.
//
// Caveats. Goroutines of one
// client that would wait for each other's mutex across a call of the store would
// stall synctest, so each client does one thing at a time: it runs one worker of
// everything, and takes turns where the engine starts more.
package sim
