// Package model searches the abstract commit and garbage collection protocol
// exhaustively: every interleaving of the steps of a few processes over a
// small repository, with an invariant checked after each step. It is how the
// protocol's sentences were tested one by one: [Cases] lists mutants, each the
// protocol with one sentence left out, and each loses data.
//
// # What is modelled
//
// Writers (sessions, packs, index segments, commits, parents taken over
// without look-up, retries after killed, three designs of checkpoints),
// collectors (plan, adopt, settle, re-read, rescue, done, one deletion a step),
// folders (collections that condemn nothing), forgetters and readers. One step
// is one request that changes something, or one listing together with the
// immutable objects that it leads to; objects read later are missing when they
// have been deleted in between, and the process looks again.
//
// Every process may stop at any step for any time, or for ever, which covers
// crashes, suspended machines, and requests that are applied late. Besides,
// any request may be applied a second time, at any later time (a repeat after
// a time-out whose first copy was only delayed), and a commit may time out
// with its writer giving up on it. Listings of packs/ and index/ may lack
// anything. What a collector condemns is any set of packs up to a bound, not
// what a policy would.
//
// The invariant ([Explore]): every acknowledged backup whose forgetting is not
// final is visible and all its blobs can be found through the newest done and
// the commits; every other visible commit is complete; no index segment that
// counts is missing; and no reader calls damage what has only moved. Liveness
// is checked from a sample of the states (1 in 64): when all processes die
// there, one client that finishes what was begun and then runs one full
// collection leaves exactly the packs, segments and records that the live
// backups need.
//
// # What the search has added to the protocol
//
//   - A view of the repository is gc/, then commits/, read one after the other.
//     A commit may land in between that is void by a done that landed in
//     between, too: judged by the older done it counts, and what it reaches is
//     about to go. So gc/ is listed once more at the end, and the view read
//     again if the newest done has moved; or commits/ is listed before gc/
//     (configuration commits-first). Mutant view-not-rechecked.
//   - A reader compares both the newest plan and the newest done when it asks
//     whether a collection has moved on. Mutant reader-compares-newest.
//   - A killed record is deleted only if its session carries a generation below
//     the done, or is gone. Mutant every-killed-deleted.
//   - The newest plan stays when it is done: writers that reuse packs need its
//     orphans. Mutant plan-deleted-with-done.
//   - A checkpoint beside the running session ([Beside], [BesideRest]) is safe
//     with a session of its own (list gc/, create, list again), if then the
//     newest generation is at most the first session's plus one, and none of
//     its packs is condemned and none of its packs and segments an orphan in
//     the newest plan; and if the final commit does not name the segments that
//     the checkpoint names, since a collection may have merged and deleted
//     them. It names the rest only, or new segments for everything.
//   - Several of them, one after the other ([Periodic]), are safe under the same
//     conditions, for each segment by itself, so that one that a plan has caught
//     is left to the commit; also when the session has been killed or is void by
//     then, which replaces the reuse of packs from memory: the next session
//     looks everything up. Where the outcome of a checkpoint is not known, its
//     segments may neither be named by the commit nor be left to the checkpoint:
//     new segments name their packs. Mutants unknown-left, unknown-named.
//   - A collector may drop checkpoints when it likes, without an event before:
//     nobody was told that they are safe.
//   - The packs may be checked between the listings of gc/ around the creation
//     of a session, or after; not before. Whether a checkpoint beside the
//     session is void need not be asked: its generation is not lower than the
//     session's, so then the session's own commit is void, too.
//
// # Limits
//
// The systems are small: up to four processes, three generations that processes
// begin, four blobs, two checkpoints a session. A backup is the set of blobs that
// it reaches; the order in which trees refer to them matters only for the
// mutant known-tree. Contents, hashes, encryption, damage and clocks are not
// modelled; patience is any moment. The listing of one prefix, together with
// reading the immutable records it names, is one step. A process that runs out
// of names stops. States are told apart by 64 bits of hash: at 10^8 states the
// chance that any two are mixed up is below 1 in 3000.
package model
