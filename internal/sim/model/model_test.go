package model

import "testing"

// TestProtocol explores the small configurations of the true protocol.
func TestProtocol(t *testing.T) {
	for _, c := range Configs() {
		r := Explore(c, None, 100_000)
		t.Logf("%-10s %8d states, complete %v", c.Name, r.States, r.Complete)
		if r.Violated != "" {
			t.Errorf("%s: %s", c.Name, r.Violated)
			for _, line := range r.Trace {
				t.Log("  ", line)
			}
		}
	}
}
