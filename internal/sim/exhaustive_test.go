package sim

import (
	"fmt"
	"testing"

	"vault/repo/gc"
)

// TestEveryCall plays small scripts, in which each call of the store in turn
// meets each kind of fault. The schedule is the same each time, up to the fault.
// SIM_EVERY tells how many orders are tried where there are several clients.
func TestEveryCall(t *testing.T) {
	if testing.Short() {
		t.Skip("thousands of schedules")
	}
	thorough := gc.Limits{MaxRepack: -1}
	for _, tt := range []struct {
		name   string
		base   int
		script [][]Task
	}{
		{"backup", 2, [][]Task{{{Kind: TaskBackup, Tree: 4, Parent: true}}}},
		{"prune", 2, [][]Task{{{Kind: TaskPrune, Limits: thorough}}}},
		{"prune again", 3, [][]Task{{{Kind: TaskPrune, Limits: thorough}}}},
		{"restore", 2, [][]Task{{{Kind: TaskRead}}}},
		{"forget and bring back", 3, [][]Task{{{Kind: TaskForget}, {Kind: TaskUnforget}}}},
		{"backup, prune and restore at once", 2, [][]Task{{{Kind: TaskBackup, Tree: 4, Parent: true}}, {{Kind: TaskPrune, Limits: thorough}}, {{Kind: TaskRead}}}},
		{"two prunes at once", 2, [][]Task{{{Kind: TaskPrune, Limits: thorough}}, {{Kind: TaskPrune, Limits: thorough}}}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			runs, most := 0, 0
			seeds := uint64(number("SIM_EVERY", 1)) // orders of the clients' calls
			for _, kind := range FixedKinds {
				for at := 1; ; at++ {
					f := &Fixed{At: at, What: kind}
					for seed := uint64(1); seed <= seeds; seed++ {
						*f = Fixed{At: at, What: kind}
						out := Play(t, seed, Options{Script: tt.script, Base: tt.base, Fixed: f})
						runs++
						if v := out.Wrong; v != nil && v.issue() == "" {
							t.Errorf("%s at call %d, seed %d: %v", kind, at, seed, v)
							for _, line := range out.Trace[max(0, len(out.Trace)-30):] {
								t.Log(line)
							}
							return
						}
					}
					if f.Seen() < at {
						most = max(most, at-1)
						break
					}
				}
			}
			fmt.Printf("sim: %s: %d schedules, up to %d calls\n", tt.name, runs, most)
		})
	}
}
