package main

import "testing"

// TestAdvice: the strongest compression that costs no time.
func TestAdvice(t *testing.T) {
	levels := []benchMessage{{Level: "fastest", Rate: 300e6, Ratio: 2}, {Level: "better", Rate: 150e6, Ratio: 2.5}, {Level: "best", Rate: 10e6, Ratio: 2.6}}
	for _, c := range []struct {
		name         string
		link         float64
		level, bound string
		least, most  float64
	}{
		{"no store", 0, "none", "processor", 1e9, 3e9},
		{"a slow link is fed by the best", 1e6, "best", "storage", 2.6e6, 2.6e6},
		{"a link that the best cannot feed", 20e6, "better", "storage", 50e6, 50e6},
		{"a fast link", 200e6, "fastest", "storage", 399e6, 401e6},
		{"faster than any compression", 5e9, "none", "processor", 1e9, 3e9},
	} {
		b := benchRun{levels: levels, fixed: 1e-9, link: c.link}
		got := b.choose()
		if got.Compression != c.level || got.Bottleneck != c.bound || got.Rate < c.least || got.Rate > c.most {
			t.Errorf("%s: %+v", c.name, got)
		}
	}
}
