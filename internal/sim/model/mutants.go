package model

// Mutant is the protocol with one sentence left out or misread.
type Mutant uint8

// The mutants; Sentences has what each leaves out.
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
	NamesReused

	// Writer after killed
	ReuseAnyGeneration
	ReuseOrphans
	ReuseCondemned
	ReusePlanOnlyWhenDone
	ReuseCheckedEarly
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
	BesideNotAcked
	BesideSameSegments
	BesideTrusted

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
	DroppedStays
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

	// Forgetter and reader
	TombstoneDeleted
	ReaderNoReload
	ReaderComparesNewest
)
