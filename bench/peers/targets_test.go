package main

import (
	"strings"
	"testing"
	"time"

	"vault/bench"
)

// TestTargets: ratios are of medians, what opening takes is left out where it is
// to be, and a row is there only if its peer is.
func TestTargets(t *testing.T) {
	second := func(wall, user float64) []sample {
		s := sample{Wall: time.Duration(wall * 1e9), User: time.Duration(user * 1e9), Peak: 150 << 20}
		return []sample{{Wall: 1}, s, {Wall: time.Hour, User: time.Hour}}
	}
	r := result{
		corpus:  bench.Corpus{Name: manySmall},
		engines: []*engine{{name: own}, {name: "restic"}, {name: "find", limit: true}},
		size:    map[string]int64{own: 90, "restic": 100},
		samples: map[string]map[phase][]sample{
			own:      {first: second(2, 2), unchanged: second(1, 1), open: second(0.8, 0.8)},
			"restic": {first: second(10, 4), unchanged: second(10, 20)},
			"find":   {unchanged: second(0.1, 0.1)},
		},
	}
	got := verdict(targets([]result{r}))
	for _, want := range []string{
		"| first backup, CPU of restic's | small | 0.50 | 0.25 | **not met** |",
		"| first backup, wall of restic's | small | 0.20 | 0.30 | met |",
		"| first backup, ahead of restic in CPU | small | 0.50 | 1.00 | met |",
		"| unchanged, CPU of restic's | small | 0.05 | 0.10 | met |",
		"| unchanged, wall of find's, less opening | small | 2.00 | 1.50 | **not met** |",
		"| repository, size of restic's | small | 0.90 | 1.00 | met |",
		"| peak memory of all phases | small | 150.00 MB | 200.00 MB | met |",
	} {
		if !strings.Contains(got, want+"\n") {
			t.Errorf("no row\n%s\nin%s", want, got)
		}
	}
	for _, not := range []string{"kopia", "borg", "sha256sum", "restore"} {
		if strings.Contains(got, not) {
			t.Errorf("%s was not measured, and is in%s", not, got)
		}
	}
}
