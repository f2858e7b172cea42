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
			Name: "dedup", Commits: one(),
			Procs: []Proc{writer(b0 | b1), collector(1), forgets(evForget)},
			Gens:  1, MaxCondemn: 1, Stale: true, Tidy: true,
		},
		{
			Name: "late", Commits: one(evForget),
			Procs: []Proc{writer(b0 | b1), collector(1)},
			Gens:  1, MaxCondemn: 1, Tidy: true, Duplicates: 2, GiveUp: true,
		},
		{
			Name: "shared", Commits: []Commit{{Reaches: b0 | b1, Packs: blobs(b0 | b1), Events: forget}, {Reaches: b1}},
			Procs: []Proc{writer(b0 | b1), collector(1), collector(1)},
			Gens:  1, MaxCondemn: 2, Tidy: true,
		},
		{
			Name: "parents", Commits: one(),
			Procs: []Proc{{Role: Writer, Need: b0 | b1, Parents: true, Rounds: 1}, collector(2), forgets(evForget)},
			Gens:  2, MaxCondemn: 1, Tidy: true,
		},
		{
			Name: "tree", Commits: []Commit{{Reaches: b0 | b1, Packs: blobs(b0, b1), Events: forget}},
			Procs: []Proc{{Role: Writer, Need: b0 | b1, Tree: b0}, collector(1)},
			Gens:  1, MaxCondemn: 1,
		},
		{
			Name: "adopt", Commits: two(evForget),
			Procs: []Proc{writer(b0 | b1 | b2), collector(1), collector(1)},
			Gens:  1, MaxCondemn: 1, Stale: true,
		},
		{
			Name: "view", Commits: one(evForget),
			Procs: []Proc{writer(b0), {Role: Writer, Need: b0, Parents: true}, collector(1)},
			Gens:  1, MinCondemn: 1, MaxCondemn: 1, Tidy: true,
		},
		{
			Name: "straggler", Commits: one(),
			Procs: []Proc{collector(2), collector(1)},
			Gens:  3, MaxCondemn: 1, Tidy: true, Keep: true,
		},
		{
			Name: "long", Commits: one(evForget),
			Procs: []Proc{{Role: Writer, Need: b0 | b1, Later: b0, Mode: Chain, Parents: true}, collector(3)},
			Gens:  3, MaxCondemn: 1, Tidy: true,
		},
		{
			Name: "overlap", Commits: one(),
			Procs: []Proc{writer(b0 | b1), collector(1), collector(1)},
			Gens:  2, Tidy: true, Keep: true,
		},
		{
			Name: "impatient", Commits: one(evForget),
			Procs: []Proc{{Role: Writer, Need: b0 | b1, Rounds: 1}, collector(1), collector(1)},
			Gens:  2, Tidy: true, Keep: true, KillAny: true,
		},
		{
			Name: "reuse", Commits: one(evForget),
			Procs: []Proc{{Role: Writer, Need: b0 | b1, Rounds: 2}, collector(3)},
			Gens:  3, MaxCondemn: 1, Tidy: true,
		},
		{
			Name: "giveup", Commits: one(evForget),
			Procs: []Proc{{Role: Writer, Need: b0 | b1, Rounds: 1}, collector(2)},
			Gens:  2, MaxCondemn: 1, Tidy: true, GiveUp: true, Duplicates: 1, Late: 1 << lateCommit,
		},
		{
			Name: "events", Commits: one(),
			Procs: []Proc{forgets(evForget, evUnforget), collector(1), collector(1)},
			Gens:  2, MaxCondemn: 1, Tidy: true, Duplicates: 1,
		},
		{
			Name: "reader", Commits: []Commit{{Reaches: b0, Packs: blobs(b0)}},
			Procs: []Proc{{Role: Reader}, collector(2), writer(b0 | b1)},
			Gens:  2, MaxCondemn: 2, Tidy: true, Keep: true,
		},
		{
			Name: "fold", Commits: one(evForget),
			Procs: []Proc{writer(b0 | b1), folder(1), collector(1)},
			Gens:  2, MaxCondemn: 1, Tidy: true,
		},
		{
			Name: "writers", Commits: one(evForget),
			Procs: []Proc{writer(b0 | b1), {Role: Writer, Need: b1, Parents: true}, collector(1)},
			Gens:  1, MaxCondemn: 1,
		},
		{
			Name: "beside", Commits: one(evForget),
			Procs: []Proc{{Role: Writer, Need: b0 | b1, Later: b0, Mode: Beside, Rounds: 1}, collector(2)},
			Gens:  2, MaxCondemn: 1, Tidy: true,
		},
		{
			Name: "beside2", Commits: one(),
			Procs: []Proc{{Role: Writer, Need: b0 | b1, Later: b0, Mode: Beside}, writer(b1), collector(1)},
			Gens:  1, MaxCondemn: 1, Stale: true,
		},
		{
			Name: "trust", Commits: one(),
			Procs: []Proc{{Role: Writer, Need: b0 | b1, Later: b0, Mode: BesideRest}, {Role: Writer, Need: b1, Parents: true}, collector(1)},
			Gens:  1, MaxCondemn: 1, TrustBeside: true,
		},
		{
			Name: "rest", Commits: one(evForget),
			Procs: []Proc{{Role: Writer, Need: b0 | b1, Later: b0, Mode: BesideRest, Rounds: 1}, collector(2)},
			Gens:  2, MaxCondemn: 1, Tidy: true,
		},
		{
			Name: "orphaned", Commits: one(),
			Procs: []Proc{{Role: Writer, Need: b0 | b1, Later: b0, Mode: BesideRest}, {Role: Forgetter, Target: 2, Script: forget}, collector(2)},
			Gens:  2, MaxCondemn: 1, Tidy: true,
		},
		{
			Name: "rest2", Commits: one(),
			Procs: []Proc{{Role: Writer, Need: b0 | b1, Later: b0, Mode: BesideRest}, writer(b1), collector(1)},
			Gens:  1, MaxCondemn: 1, Stale: true,
		},
		{
			Name: "chain", Commits: one(evForget),
			Procs: []Proc{{Role: Writer, Need: b0 | b1 | b2, Later: b0 | b2, Mode: Chain, Parents: true, Rounds: 1}, collector(2)},
			Gens:  2, MaxCondemn: 1, Tidy: true,
		},

		{
			Name: "large-straggler", Large: true, Commits: one(),
			Procs: []Proc{writer(b0 | b1), collector(2), {Role: Collector, Rounds: 1}},
			Gens:  2, MaxCondemn: 1, Tidy: true,
		},
		{
			Name: "large-writers", Large: true, Commits: one(evForget),
			Procs: []Proc{writer(b0 | b1), {Role: Writer, Need: b0 | b1, Parents: true, Rounds: 1}, collector(2)},
			Gens:  2, MaxCondemn: 1, Tidy: true,
		},
		{
			Name: "large-collectors", Large: true, Commits: two(evForget),
			Procs: []Proc{writer(b0 | b1 | b2), {Role: Writer, Need: b1, Parents: true}, collector(1), collector(1)},
			Gens:  1, MaxCondemn: 1, Tidy: true,
		},
		{
			Name: "large-late", Large: true, Commits: one(evForget),
			Procs: []Proc{{Role: Writer, Need: b0 | b1, Rounds: 1}, collector(2)},
			Gens:  2, MaxCondemn: 1, Tidy: true, GiveUp: true, Duplicates: 2,
		},
		{
			Name: "large-straggler-late", Large: true, Commits: one(),
			Procs: []Proc{collector(2), collector(1)},
			Gens:  2, MaxCondemn: 1, Tidy: true, Keep: true, Duplicates: 2,
		},
		{
			Name: "large-reuse", Large: true, Commits: one(evForget),
			Procs: []Proc{{Role: Writer, Need: b0 | b1, Parents: true, Rounds: 2}, collector(3), forgets(evForget, evUnforget)},
			Gens:  3, MaxCondemn: 1, Tidy: true, Stale: true, Keep: true,
		},
		{
			Name: "large-events", Large: true, Commits: one(),
			Procs: []Proc{forgets(evForget, evUnforget), forgets(evForget), {Role: Writer, Need: b0 | b1, Parents: true}, collector(2)},
			Gens:  2, MaxCondemn: 1, Tidy: true,
		},
		{
			Name: "large-chain", Large: true, Commits: one(evForget),
			Procs: []Proc{{Role: Writer, Need: b0 | b1 | b2, Later: b0 | b2, Mode: Chain, Parents: true, Rounds: 1}, collector(3)},
			Gens:  3, MaxCondemn: 1, Tidy: true,
		},
		{
			Name: "large-beside", Large: true, Commits: one(evForget),
			Procs: []Proc{{Role: Writer, Need: b0 | b1, Later: b0, Mode: Beside, Rounds: 1}, writer(b1), collector(2)},
			Gens:  2, MaxCondemn: 1, Tidy: true,
		},
		{
			Name: "large-rest", Large: true, Commits: one(evForget),
			Procs: []Proc{{Role: Writer, Need: b0 | b1, Later: b0, Mode: BesideRest, Rounds: 1}, writer(b1), collector(2)},
			Gens:  2, MaxCondemn: 1, Tidy: true,
		},
		{
			Name: "large-reader", Large: true, Commits: one(),
			Procs: []Proc{{Role: Reader}, {Role: Writer, Need: b0 | b1, Parents: true}, collector(2), collector(1)},
			Gens:  2, MaxCondemn: 1, Tidy: true, Keep: true,
		},
	}
}
