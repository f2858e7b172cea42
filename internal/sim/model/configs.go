package model

// Blobs, as bits.
const (
	b0 = 1 << iota
	b1
	b2
	b3
)

func blobs(b ...uint8) []uint8 { return b }

var forget = []uint8{evForget}

// one is a repository with one backup in one pack.
func one(events ...uint8) []Commit {
	return []Commit{{Reaches: b0, Packs: blobs(b0), Events: events}}
}

// two adds a second backup that shares nothing with the first.
func two(events ...uint8) []Commit {
	return append(one(events...), Commit{Reaches: b1, Packs: blobs(b1)})
}

func writer(need uint8) Proc  { return Proc{Role: Writer, Need: need} }
func collector(n uint8) Proc  { return Proc{Role: Collector, Rounds: n} }
func folder(n uint8) Proc     { return Proc{Role: Folder, Rounds: n} }
func forgets(s ...uint8) Proc { return Proc{Role: Forgetter, Script: s} }

// Configs returns the configurations, small before large.
func Configs() []Config {
	return []Config{
		{
			Name:    "dedup",
			Why:     "a writer deduplicates against a backup that is being forgotten and collected; stale listings",
			Commits: one(),
			Procs:   []Proc{writer(b0 | b1), collector(1), forgets(evForget)},
			Gens:    1, MaxCondemn: 1, Stale: true, Tidy: true,
		},
		{
			Name:    "late",
			Why:     "any two requests arrive twice, the second time late or never; commits time out",
			Commits: one(evForget),
			Procs:   []Proc{writer(b0 | b1), collector(1)},
			Gens:    1, MaxCondemn: 1, Tidy: true, Duplicates: 2, GiveUp: true,
		},
		{
			Name:    "shared",
			Why:     "two collectors, one blob shared by a dropped and a live backup: plans are adopted, blobs rescued",
			Commits: []Commit{{Reaches: b0 | b1, Packs: blobs(b0 | b1), Events: forget}, {Reaches: b1}},
			Procs:   []Proc{writer(b0 | b1), collector(1), collector(1)},
			Gens:    1, MaxCondemn: 2, Tidy: true,
		},
		{
			Name:    "parents",
			Why:     "a writer takes over from a parent that is forgotten meanwhile, in two sessions",
			Commits: one(),
			Procs:   []Proc{{Role: Writer, Need: b0 | b1, Parents: true, Rounds: 1}, collector(2), forgets(evForget)},
			Gens:    2, MaxCondemn: 1, Tidy: true,
		},
		{
			Name:    "tree",
			Why:     "a dead tree stays in the index while its descendants go",
			Commits: []Commit{{Reaches: b0 | b1, Packs: blobs(b0, b1), Events: forget}},
			Procs:   []Proc{{Role: Writer, Need: b0 | b1, Tree: b0}, collector(1)},
			Gens:    1, MaxCondemn: 1,
		},
		{
			Name:    "adopt",
			Why:     "two collectors and stale listings",
			Commits: two(evForget),
			Procs:   []Proc{writer(b0 | b1 | b2), collector(1), collector(1)},
			Gens:    1, MaxCondemn: 1, Stale: true,
		},
		{
			Name:    "view",
			Why:     "a commit of a suspended writer lands after the collection that passed it over, while another writer reads",
			Commits: one(evForget),
			Procs:   []Proc{writer(b0), {Role: Writer, Need: b0, Parents: true}, collector(1)},
			Gens:    1, MinCondemn: 1, MaxCondemn: 1, Tidy: true,
		},
		{
			Name:    "commits-first",
			Why:     "the same, with the other order of reading",
			Commits: one(evForget),
			Procs:   []Proc{writer(b0), {Role: Writer, Need: b0, Parents: true}, collector(1)},
			Gens:    1, MinCondemn: 1, MaxCondemn: 1, Tidy: true, CommitsFirst: true,
		},
		{
			Name:    "straggler",
			Why:     "a collector is overtaken by whole generations; indexes are kept in part",
			Commits: one(),
			Procs:   []Proc{collector(2), collector(1)},
			Gens:    3, MaxCondemn: 1, Tidy: true, Keep: true,
		},
		{
			Name:    "long",
			Why:     "a checkpoint in a chain of sessions, three generations",
			Commits: one(evForget),
			Procs:   []Proc{{Role: Writer, Need: b0 | b1, Later: b0, Mode: Chain, Parents: true}, collector(3)},
			Gens:    3, MaxCondemn: 1, Tidy: true,
		},
		{
			Name:    "overlap",
			Why:     "the end of one generation meets the beginning of the next",
			Commits: one(),
			Procs:   []Proc{writer(b0 | b1), collector(1), collector(1)},
			Gens:    2, Tidy: true, Keep: true,
		},
		{
			Name:    "impatient",
			Why:     "collectors settle sessions that they need not settle",
			Commits: one(evForget),
			Procs:   []Proc{{Role: Writer, Need: b0 | b1, Rounds: 1}, collector(1), collector(1)},
			Gens:    2, Tidy: true, Keep: true, KillAny: true,
		},
		{
			Name:    "reuse",
			Why:     "a writer is killed up to two times and reuses its packs",
			Commits: one(evForget),
			Procs:   []Proc{{Role: Writer, Need: b0 | b1, Rounds: 2}, collector(3)},
			Gens:    3, MaxCondemn: 1, Tidy: true,
		},
		{
			Name:    "giveup",
			Why:     "a writer gives up on a commit that timed out, and reuses its packs",
			Commits: one(evForget),
			Procs:   []Proc{{Role: Writer, Need: b0 | b1, Rounds: 1}, collector(2)},
			Gens:    2, MaxCondemn: 1, Tidy: true, GiveUp: true, Duplicates: 1, Late: 1 << lateCommit,
		},
		{
			Name:    "events",
			Why:     "forget, unforget and collected race; an event arrives twice",
			Commits: one(),
			Procs:   []Proc{forgets(evForget, evUnforget), collector(1), collector(1)},
			Gens:    2, MaxCondemn: 1, Tidy: true, Duplicates: 1,
		},
		{
			Name:    "reader",
			Why:     "a reader is overtaken by two generations",
			Commits: []Commit{{Reaches: b0, Packs: blobs(b0)}},
			Procs:   []Proc{{Role: Reader}, collector(2), writer(b0 | b1)},
			Gens:    2, MaxCondemn: 2, Tidy: true, Keep: true,
		},
		{
			Name:    "fold",
			Why:     "a generation that condemns nothing, by another client",
			Commits: one(evForget),
			Procs:   []Proc{writer(b0 | b1), folder(1), collector(1)},
			Gens:    2, MaxCondemn: 1, Tidy: true,
		},
		{
			Name:    "writers",
			Why:     "two writers, one takes over from the other",
			Commits: one(evForget),
			Procs:   []Proc{writer(b0 | b1), {Role: Writer, Need: b1, Parents: true}, collector(1)},
			Gens:    1, MaxCondemn: 1,
		},
		{
			Name:    "beside",
			Why:     "checkpoints beside the session: the commit names new segments for everything; killed, and reuse",
			Commits: one(evForget),
			Procs:   []Proc{{Role: Writer, Need: b0 | b1, Later: b0, Mode: Beside, Rounds: 1}, collector(2)},
			Gens:    2, MaxCondemn: 1, Tidy: true,
		},
		{
			Name:    "beside2",
			Why:     "the same, and another writer finds blobs through the checkpoint",
			Commits: one(),
			Procs:   []Proc{{Role: Writer, Need: b0 | b1, Later: b0, Mode: Beside}, writer(b1), collector(1)},
			Gens:    1, MaxCondemn: 1, Stale: true,
		},
		{
			Name:    "trust",
			Why:     "another writer takes over from the checkpoint without look-up",
			Commits: one(),
			Procs:   []Proc{{Role: Writer, Need: b0 | b1, Later: b0, Mode: BesideRest}, {Role: Writer, Need: b1, Parents: true}, collector(1)},
			Gens:    1, MaxCondemn: 1, TrustBeside: true,
		},
		{
			Name:    "rest",
			Why:     "checkpoints beside the session: the commit names the rest only; killed, and reuse",
			Commits: one(evForget),
			Procs:   []Proc{{Role: Writer, Need: b0 | b1, Later: b0, Mode: BesideRest, Rounds: 1}, collector(2)},
			Gens:    2, MaxCondemn: 1, Tidy: true,
		},
		{
			Name:    "orphaned",
			Why:     "the same, and the checkpoint is forgotten while the run goes on",
			Commits: one(),
			Procs:   []Proc{{Role: Writer, Need: b0 | b1, Later: b0, Mode: BesideRest}, {Role: Forgetter, Target: 2, Script: forget}, collector(2)},
			Gens:    2, MaxCondemn: 1, Tidy: true,
		},
		{
			Name:    "rest2",
			Why:     "the same, and another writer finds blobs through the checkpoint",
			Commits: one(),
			Procs:   []Proc{{Role: Writer, Need: b0 | b1, Later: b0, Mode: BesideRest}, writer(b1), collector(1)},
			Gens:    1, MaxCondemn: 1, Stale: true,
		},
		{
			Name:    "chain",
			Why:     "a checkpoint ends its session, the run goes on in a new one with the index in memory",
			Commits: one(evForget),
			Procs:   []Proc{{Role: Writer, Need: b0 | b1 | b2, Later: b0 | b2, Mode: Chain, Parents: true, Rounds: 1}, collector(2)},
			Gens:    2, MaxCondemn: 1, Tidy: true,
		},

		{
			Name:    "periodic",
			Why:     "a checkpoint at any time, also after the session is lost; the run starts over",
			Commits: one(evForget),
			Procs:   []Proc{{Role: Writer, Need: b0 | b1, Mode: Periodic, Marks: 1, Rounds: 1}, collector(2)},
			Gens:    2, MaxCondemn: 1, Tidy: true, DropKept: true,
		},
		{
			Name:    "periodic-twice",
			Why:     "two checkpoints of one session",
			Commits: one(evForget),
			Procs:   []Proc{{Role: Writer, Need: b0 | b1, Mode: Periodic, Marks: 2}, collector(2)},
			Gens:    2, MaxCondemn: 1, Tidy: true, DropKept: true,
		},
		{
			Name:    "periodic-found",
			Why:     "another writer, perhaps after the death of the first, finds blobs through its checkpoint; stale listings",
			Commits: one(),
			Procs:   []Proc{{Role: Writer, Need: b1, Mode: Periodic, Marks: 1}, writer(b1), collector(1)},
			Gens:    1, MaxCondemn: 1, Stale: true, DropKept: true,
		},
		{
			Name:    "periodic-unknown",
			Why:     "checkpoints and commits whose outcome is not known",
			Commits: one(evForget),
			Procs:   []Proc{{Role: Writer, Need: b0 | b1, Mode: Periodic, Marks: 2}, collector(1)},
			Gens:    1, MaxCondemn: 1, Tidy: true, DropKept: true, GiveUp: true, Duplicates: 1, Late: 1 << lateCommit,
		},
		{
			Name:    "large-periodic-again",
			Why:     "two checkpoints of each session, also after it is lost; the run starts over",
			Large:   true,
			Commits: one(evForget),
			Procs:   []Proc{{Role: Writer, Need: b0 | b1, Mode: Periodic, Marks: 2, Rounds: 1}, collector(2)},
			Gens:    2, MaxCondemn: 1, Tidy: true, DropKept: true,
		},
		{
			Name:    "large-periodic-unknown",
			Why:     "checkpoints and commits whose outcome is not known, two generations",
			Large:   true,
			Commits: one(evForget),
			Procs:   []Proc{{Role: Writer, Need: b0 | b1, Mode: Periodic, Marks: 2}, collector(2)},
			Gens:    2, MaxCondemn: 1, Tidy: true, DropKept: true, GiveUp: true, Duplicates: 1, Late: 1 << lateCommit,
		},
		{
			Name:    "large-periodic-stale",
			Why:     "two checkpoints, stale listings, and another writer that finds blobs through them",
			Large:   true,
			Commits: one(),
			Procs:   []Proc{{Role: Writer, Need: b1 | b2, Mode: Periodic, Marks: 2}, writer(b1), collector(1)},
			Gens:    1, MaxCondemn: 1, Stale: true, DropKept: true,
		},
		{
			Name:    "large-periodic",
			Why:     "checkpoints now and then, three generations, a third blob, a run that starts over twice",
			Large:   true,
			Commits: one(evForget),
			Procs:   []Proc{{Role: Writer, Need: b0 | b1 | b2, Mode: Periodic, Marks: 2, Rounds: 2}, collector(3)},
			Gens:    3, MaxCondemn: 1, Tidy: true, DropKept: true,
		},
		{
			Name:    "large-periodic-found",
			Why:     "checkpoints now and then beside another writer, two generations",
			Large:   true,
			Commits: one(evForget),
			Procs:   []Proc{{Role: Writer, Need: b0 | b1, Mode: Periodic, Marks: 2, Rounds: 1}, writer(b1), collector(2)},
			Gens:    2, MaxCondemn: 1, Tidy: true, DropKept: true,
		},
		{
			Name:    "reprieve",
			Why:     "a straggling collector whose done comes long after another one's of the same plan",
			Large:   true,
			Commits: one(),
			Procs:   []Proc{writer(b0), collector(2), {Role: Collector, Rounds: 1}},
			Gens:    2, MinCondemn: 1, MaxCondemn: 1, Tidy: true,
		},
		{
			Name:    "large-straggler",
			Why:     "a straggling collector and a writer",
			Large:   true,
			Commits: one(),
			Procs:   []Proc{writer(b0 | b1), collector(2), {Role: Collector, Rounds: 1}},
			Gens:    2, MaxCondemn: 1, Tidy: true,
		},
		{
			Name:    "large-writers",
			Why:     "two writers, parents and a second session, two generations",
			Large:   true,
			Commits: one(evForget),
			Procs:   []Proc{writer(b0 | b1), {Role: Writer, Need: b0 | b1, Parents: true, Rounds: 1}, collector(2)},
			Gens:    2, MaxCondemn: 1, Tidy: true,
		},
		{
			Name:    "large-collectors",
			Why:     "two writers and two collectors",
			Large:   true,
			Commits: two(evForget),
			Procs:   []Proc{writer(b0 | b1 | b2), {Role: Writer, Need: b1, Parents: true}, collector(1), collector(1)},
			Gens:    1, MaxCondemn: 1, Tidy: true,
		},
		{
			Name:    "large-late",
			Why:     "two generations; any two requests arrive twice; commits time out",
			Large:   true,
			Commits: one(evForget),
			Procs:   []Proc{{Role: Writer, Need: b0 | b1, Rounds: 1}, collector(2)},
			Gens:    2, MaxCondemn: 1, Tidy: true, GiveUp: true, Duplicates: 2,
		},
		{
			Name:    "straggler-late",
			Why:     "a straggler, and any two requests arrive twice",
			Commits: one(),
			Procs:   []Proc{collector(2), collector(1)},
			Gens:    2, MaxCondemn: 1, Tidy: true, Keep: true, Duplicates: 2,
		},
		{
			Name:    "reuse-events",
			Why:     "reuse after killed, parents, stale listings, forget and unforget",
			Commits: one(evForget),
			Procs:   []Proc{{Role: Writer, Need: b0 | b1, Parents: true, Rounds: 2}, collector(3), forgets(evForget, evUnforget)},
			Gens:    3, MaxCondemn: 1, Tidy: true, Stale: true, Keep: true,
		},
		{
			Name:    "toggled",
			Why:     "a parent is forgotten and brought back",
			Commits: one(),
			Procs:   []Proc{forgets(evForget, evUnforget), forgets(evForget), {Role: Writer, Need: b0 | b1, Parents: true}, collector(2)},
			Gens:    2, MaxCondemn: 1, Tidy: true,
		},
		{
			Name:    "large-chain",
			Why:     "a checkpoint in a chain of sessions, three generations, a third blob",
			Large:   true,
			Commits: one(evForget),
			Procs:   []Proc{{Role: Writer, Need: b0 | b1 | b2, Later: b0 | b2, Mode: Chain, Parents: true, Rounds: 1}, collector(3)},
			Gens:    3, MaxCondemn: 1, Tidy: true,
		},
		{
			Name:    "large-beside",
			Why:     "a checkpoint beside the session, another writer, two generations",
			Large:   true,
			Commits: one(evForget),
			Procs:   []Proc{{Role: Writer, Need: b0 | b1, Later: b0, Mode: Beside, Rounds: 1}, writer(b1), collector(2)},
			Gens:    2, MaxCondemn: 1, Tidy: true,
		},
		{
			Name:    "large-rest",
			Why:     "the same, and the commit names the rest only",
			Large:   true,
			Commits: one(evForget),
			Procs:   []Proc{{Role: Writer, Need: b0 | b1, Later: b0, Mode: BesideRest, Rounds: 1}, writer(b1), collector(2)},
			Gens:    2, MaxCondemn: 1, Tidy: true,
		},
		{
			Name:    "large-reader",
			Why:     "a reader, a writer and two collectors",
			Large:   true,
			Commits: one(),
			Procs:   []Proc{{Role: Reader}, {Role: Writer, Need: b0 | b1, Parents: true}, collector(2), collector(1)},
			Gens:    2, MaxCondemn: 1, Tidy: true, Keep: true,
		},
	}
}
