package model

import (
	"flag"
	"strings"
	"testing"
	"time"
)

var (
	large  = flag.Bool("model.large", false, "explore the large configurations, too")
	limit  = flag.Int("model.limit", 40_000_000, "states after which an exploration stops; a million take about 100 MB")
	traces = flag.String("model.trace", "", "print the counterexample of the mutant of that name, or of all")
)

// TestProtocol explores every configuration of the true protocol.
func TestProtocol(t *testing.T) {
	for _, c := range Configs() {
		t.Run(c.Name, func(t *testing.T) {
			if c.Large && !*large {
				t.Skip("only with -model.large")
			}
			t.Parallel()
			n := *limit
			if testing.Short() {
				n = 60_000
			}
			start := time.Now()
			r := Explore(c, None, n)
			t.Logf("%9d states, %3d steps deep, complete: %v, drained %d, %.1f s: %s", r.States, r.Depth, r.Complete, r.Drained, time.Since(start).Seconds(), c.Why)
			if r.Violated != "" {
				t.Errorf("violated: %s", r.Violated)
				for _, line := range r.Trace {
					t.Log("  ", line)
				}
			}
			if r.Short > r.Drained/10 {
				t.Errorf("%d of %d states had no room for a full collection: liveness is not checked", r.Short, r.Drained)
			}
			if !r.Complete && !testing.Short() && !c.Large {
				t.Error("the bounds are too wide to explore completely")
			}
		})
	}
}

// TestMutants leaves out one sentence after the other: each must lose data.
func TestMutants(t *testing.T) {
	configs := map[string]Config{}
	for _, c := range Configs() {
		configs[c.Name] = c
	}
	covered := map[Mutant]bool{}
	for _, c := range Cases() {
		covered[c.Mutant] = true
		t.Run(c.Name, func(t *testing.T) {
			t.Parallel()
			config, ok := configs[c.Config]
			if !ok {
				t.Fatalf("no configuration %q", c.Config)
			}
			n := 4_000_000
			if testing.Short() {
				n = 40_000
			}
			r := Explore(config, c.Mutant, n)
			switch {
			case c.Harmless && r.Violated != "":
				t.Errorf("not harmless: %s", r.Violated)
			case c.Harmless:
				t.Logf("%9d states: nothing is lost when %s", r.States, c.Sentence)
			case r.Violated == "" && testing.Short() && !r.Complete:
				t.Skip("needs more states than -short allows")
			case r.Violated == "":
				t.Errorf("%d states of %s and nothing is lost, although %s", r.States, c.Config, c.Sentence)
			default:
				t.Logf("%9d states of %s: %s, when %s", r.States, c.Config, r.Violated, c.Sentence)
			}
			if *traces == c.Name || *traces == "all" {
				for _, line := range r.Trace {
					t.Log("  ", line)
				}
			}
		})
	}
	for m := None + 1; m < mutants; m++ {
		if !covered[m] {
			t.Errorf("mutant %d has no case", m)
		}
	}
}

// TestTrace checks that a counterexample can be read.
func TestTrace(t *testing.T) {
	for _, c := range Configs() {
		if c.Name != "dedup" {
			continue
		}
		r := Explore(c, AckAtOnce, 100_000)
		all := strings.Join(r.Trace, "\n")
		for _, want := range []string{"start: +pack0{b0}", "writer 0 creates its session: +session1(g0)", "+plan1(", "+killed1", "+done1(", "+acknowledged c1"} {
			if !strings.Contains(all, want) {
				t.Errorf("the trace lacks %q:\n%s", want, all)
			}
		}
	}
}

// TestEncoding checks the packed forms that everything else stands on.
func TestEncoding(t *testing.T) {
	var s state
	for k, kind := range []uint8{evForget, evUnforget, evForget, evCollected} {
		if s.addEvent(2, uint8(k)+1, kind) {
			t.Errorf("event %d was created before event %d", k+1, k)
		}
		if !s.addEvent(2, uint8(k), kind) || s.eventCount(2) != uint8(k)+1 || s.decision(2) != kind {
			t.Errorf("after event %d: count %d, decision %d", k, s.eventCount(2), s.decision(2))
		}
		if s.addEvent(2, uint8(k), evUnforget) {
			t.Errorf("event %d was created twice", k)
		}
	}
	seen := newTable()
	for i := uint64(1); i < 300_000; i++ {
		if !seen.add(i*0x9e3779b97f4a7c15, i) {
			t.Fatalf("fingerprint %d was there before", i)
		}
	}
	for i := uint64(1); i < 300_000; i++ {
		if seen.add(i*0x9e3779b97f4a7c15, 0) || seen.slot(i*0x9e3779b97f4a7c15).from != i {
			t.Fatalf("fingerprint %d is lost", i)
		}
	}
}

// TestLiveness plants garbage that a collection cannot know of, to see that the
// check of liveness can fail.
func TestLiveness(t *testing.T) {
	c := Configs()[0]
	m := &model{cfg: &c, maxGen: c.Gens}
	s := m.initial()
	var r Result
	if v := m.drain(&s, &r); v.what != "" {
		t.Fatalf("clean repository: %s", v.what)
	}
	s.killed |= bit8(0) // beside the commit of the same sid
	if v := m.drain(&s, &r); v.what == "" {
		t.Error("a record that no collection removes was not noticed")
	}
}
