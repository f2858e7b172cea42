package model

// Mutant is the protocol with one sentence left out or misread.
type Mutant uint8

// The mutants. Cases has, for each, the sentence and the configuration in
// which leaving it out loses data.
const (
	None Mutant = iota

	// Writer
	NoRelist
	GenerationOfDone
	ViewBeforeSession
	CondemnedUsed
	PlanOnlyWhenDone
	OlderDone
	ViewNotRechecked
	KnownTree
	DroppedParent
	ParentNotRechecked
	CommitBeforePacks
	AckAtOnce
	AckWithoutList
	CommitGenerationLate
	NamesReused

	// Writer after killed
	ReuseAnyGeneration
	ReuseOrphans
	ReuseCondemned
	ReusePlanOnlyWhenDone
	CheckedEarly
	LookupsNotRepeated

	// Checkpoints
	KeptIndexLong
	KeptIndexCondemned
	BesideNoSession
	BesideNoRelist
	BesideCheckedEarly
	BesideAnyGeneration
	BesidePacks
	BesideSegments
	BesideUnchecked
	BesideNotLive
	BesideSameSegments
	UnknownLeft
	UnknownNamed
	PeriodicRemembers

	// Visibility
	NoVoidRule
	VoidTooWide

	// Collector
	DropForgotten
	CollectedAppended
	PlanReplaced
	NoAbandon
	NoKill
	FoldWithoutKill
	KillNotAwaited
	SessionRemovedInstead
	StoreLies
	StaleCommits
	RootsBeforeKills
	RootsOfPlan
	LaterEvents
	OrphansAfterPlan
	NoRescue
	NamedOrphansDeleted
	DroppedEntries
	DeadEntries
	DoneBeforeIndex
	NoLiveList
	DeleteBeforeDone
	DeleteFromMemory
	EveryKilledDeleted
	NewSessionsDeleted
	PlanDeletedWithDone
	CondemnedReprieved

	// Forgetter and reader
	TombstoneDeleted
	ReaderNoReload
	ReaderComparesNewest

	// Harmless: what the model shows to be safe without.
	GiveUpWithoutKilled
	BesideNothing

	mutants
)

// Case says what a mutant leaves out, and where that loses data.
type Case struct {
	Mutant   Mutant
	Name     string
	Sentence string // of the protocol, as left out or misread
	Config   string
	Harmless bool // nothing is lost in that configuration, explored completely
}

// Cases has every mutant.
func Cases() []Case {
	return []Case{
		{NoRelist, "no-relist", "gc/ is not listed again after the session was created", "dedup", false},
		{GenerationOfDone, "generation-of-done", "a session carries the newest done instead of the newest plan or done", "dedup", false},
		{ViewBeforeSession, "view-before-session", "plan, commits and index are read before the session is created", "reuse", false},
		{CondemnedUsed, "condemned-used", "condemned packs count as found", "tree", false},
		{PlanOnlyWhenDone, "plan-only-when-done", "a plan without done is not read by writers", "tree", false},
		{OlderDone, "older-done", "the done before is used when the newest cannot be read", "view", false},
		{ViewNotRechecked, "view-not-rechecked", "gc/ is not listed again after commits and index were read: the done may be older than the commits", "view", false},
		{KnownTree, "known-tree", "a tree that is found stands for its descendants", "tree", false},
		{DroppedParent, "dropped-parent", "content is taken over from a commit that the newest plan drops", "parents", false},
		{ParentNotRechecked, "parent-not-rechecked", "a parent trusted by one session is trusted by the next of the run", "parents", false},
		{CommitBeforePacks, "commit-before-packs", "the commit is created before packs and segments are durable", "dedup", false},
		{AckAtOnce, "ack-at-once", "a commit is acknowledged without listing gc/ again", "dedup", false},
		{AckWithoutList, "ack-without-list", "gc/ is listed again, but void is not looked at", "dedup", false},
		{CommitGenerationLate, "commit-generation-late", "a commit carries the generation of its own time, not its session's", "dedup", false},
		{NamesReused, "names-reused", "a pack put again has the same name", "reuse", false},

		{ReuseAnyGeneration, "reuse-any-generation", "after killed, packs are reused however many generations have passed", "reuse", false},
		{ReuseOrphans, "reuse-orphans", "after killed, orphans of the newest plan are reused", "reuse", false},
		{ReuseCondemned, "reuse-condemned", "after killed, own packs that a checkpoint made known and the newest plan condemns are reused", "rest", false},
		{ReusePlanOnlyWhenDone, "reuse-plan-only-when-done", "after killed, a plan without done is not looked at", "reuse", false},
		{CheckedEarly, "reuse-checked-early", "after killed, the packs are checked before the new session is created", "reuse", false},
		{LookupsNotRepeated, "lookups-not-repeated", "after killed, what the old session has found counts as found", "reuse", false},

		{KeptIndexLong, "kept-index-long", "an index in memory is kept over two generations", "long", false},
		{KeptIndexCondemned, "kept-index-condemned", "an index in memory is kept with the packs that the newest plan condemns", "chain", false},
		{BesideNoSession, "beside-no-session", "a checkpoint beside the session has no session of its own", "rest", false},
		{BesideNoRelist, "beside-no-relist", "gc/ is not listed again after the session of the checkpoint was created", "beside2", false},
		{BesideCheckedEarly, "beside-checked-early", "packs are checked before the session of the checkpoint is created", "beside", false},
		{BesideAnyGeneration, "beside-any-generation", "a checkpoint is made however many generations have passed", "rest", false},
		{BesidePacks, "beside-packs", "a checkpoint names segments of packs that are orphans", "rest", false},
		{BesideSegments, "beside-segments", "a checkpoint names segments that are orphans", "rest2", false},
		{BesideUnchecked, "beside-unchecked", "a checkpoint names whatever the session has put", "rest", false},
		{BesideNotLive, "beside-not-live", "what only a checkpoint names is not rescued from condemned packs", "rest", false},
		{BesideSameSegments, "beside-same-segments", "the commit names the index segments of its checkpoint again", "rest", false},

		{BesideNoSession, "periodic-no-session", "the same, of periodic checkpoints", "periodic", false},
		{BesideNoRelist, "periodic-no-relist", "the same, of periodic checkpoints", "periodic-found", false},
		{BesideCheckedEarly, "periodic-checked-early", "the same, of periodic checkpoints", "periodic", false},
		{BesideAnyGeneration, "periodic-any-generation", "the same, of periodic checkpoints", "periodic", false},
		{BesidePacks, "periodic-packs", "the same, of periodic checkpoints", "periodic", false},
		{BesideSegments, "periodic-segments", "the same, of periodic checkpoints", "periodic-found", false},
		{BesideUnchecked, "periodic-unchecked", "the same, of periodic checkpoints", "periodic", false},
		{BesideNotLive, "periodic-not-live", "the same, of periodic checkpoints", "periodic", false},
		{BesideSameSegments, "periodic-same-segments", "the same, of periodic checkpoints", "periodic", false},
		{UnknownLeft, "unknown-left", "the commit leaves segments to a checkpoint of which nobody knows whether it landed", "periodic-unknown", false},
		{UnknownNamed, "unknown-named", "the commit names segments of a checkpoint of which nobody knows whether it landed", "periodic-unknown", false},
		{PeriodicRemembers, "periodic-remembers", "after killed, what the old session has put counts as found", "periodic", false},

		{NoVoidRule, "no-void-rule", "a commit counts whenever it lands", "late", false},
		{VoidTooWide, "void-too-wide", "a commit of the generation of the newest done is void, too", "dedup", false},

		{DropForgotten, "drop-forgotten", "what is forgotten is dropped without an event collected", "events", false},
		{CollectedAppended, "collected-appended", "collected is appended whatever came meanwhile", "events", false},
		{PlanReplaced, "plan-replaced", "an active plan is replaced, not adopted", "shared", false},
		{NoAbandon, "no-abandon", "a plan is followed although the newest done is not n-1", "straggler", false},
		{NoKill, "no-kill", "sessions without a commit are not settled", "dedup", false},
		{FoldWithoutKill, "fold-without-kill", "a generation that condemns nothing does not settle sessions", "fold", false},
		{KillNotAwaited, "kill-not-awaited", "the killed record is sent, not awaited", "dedup", false},
		{SessionRemovedInstead, "session-removed-instead", "a silent session is deleted instead of killed", "dedup", false},
		{StoreLies, "store-lies", "the store lets a second create win", "reuse", false},
		{StaleCommits, "stale-commits", "the listing of commits/ may lack the newest", "dedup", false},
		{RootsBeforeKills, "roots-before-kills", "the roots are read before the sessions are settled", "dedup", false},
		{RootsOfPlan, "roots-of-plan", "the roots are not read again after the plan", "dedup", false},
		{LaterEvents, "later-events", "what is forgotten or collected after the plan is dropped, too", "parents", false},
		{OrphansAfterPlan, "orphans-after-plan", "orphans are computed after the plan", "dedup", false},
		{NoRescue, "no-rescue", "live blobs are not copied out of condemned packs", "dedup", false},
		{NamedOrphansDeleted, "named-orphans-deleted", "orphans that a commit in time has named are deleted", "dedup", false},
		{DroppedEntries, "dropped-entries", "the index loses the segments of dropped commits", "tree", false},
		{DeadEntries, "dead-entries", "the index loses packs in which nothing lives", "tree", false},
		{DoneBeforeIndex, "done-before-index", "the done is created before its index is durable", "dedup", false},
		{NoLiveList, "no-live-list", "the done does not list the live commits", "dedup", false},
		{DeleteBeforeDone, "delete-before-done", "packs are deleted before the done is created", "dedup", false},
		{DeleteFromMemory, "delete-from-memory", "what is deleted is what memory says, not the stored done", "shared", false},
		{EveryKilledDeleted, "every-killed-deleted", "killed records of sessions of the newest generation are deleted", "overlap", false},
		{NewSessionsDeleted, "new-sessions-deleted", "sessions of the newest generation are deleted", "overlap", false},
		{PlanDeletedWithDone, "plan-deleted-with-done", "the newest plan is deleted once it is done", "reuse", false},

		{TombstoneDeleted, "tombstone-deleted", "unforget deletes the event forget", "events", false},
		{ReaderNoReload, "reader-no-reload", "a reader calls damage what is missing", "reader", false},
		{ReaderComparesNewest, "reader-compares-newest", "a reader compares the newest generation only, not plan and done", "reader", false},

		{GiveUpWithoutKilled, "give-up-without-killed", "a writer gives up on a commit that timed out without creating killed", "giveup", true},
		{CondemnedReprieved, "condemned-reprieved", "a condemned pack with live blobs stays, instead of their copy", "reprieve", false},
		{BesideNothing, "beside-nothing", "a checkpoint beside the session keeps packs from being orphans, but none of their blobs alive", "rest2", true},
	}
}
