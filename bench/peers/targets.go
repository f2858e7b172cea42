package main

import (
	"fmt"
	"math"
	"strings"
	"time"
)

// target is a bound that vault is to keep, and what was measured.
type target struct {
	what, where string
	got, bound  float64
	unit        string // or empty for a ratio
}

func (t target) met() bool { return t.got <= t.bound }

// The bounds, as ratios to what another program takes in the same rounds.
const (
	firstCPU, firstWall     = 0.25, 0.30 // of restic's
	unchangedRestic         = 0.10
	unchangedKopia          = 0.30
	unchangedFind           = 1.5 // after opening the repository
	restoreCPU, restoreWall = 0.35, 0.40
	peakMB                  = 200

	manySmall = "small" // the corpus on which looking at files is measured
)

// targets compares what was measured with the bounds. A row is there when its peer
// is; the bounds of restic's are those of whichever version was found.
func targets(results []result) (list []target) {
	for _, r := range results {
		name := r.corpus.Name
		add := func(ph phase, what, other string, of func(sample) time.Duration, bound float64) {
			if got, ok := r.of(ph, other, of); ok {
				list = append(list, target{what: what, where: name, got: got, bound: bound})
			}
		}
		add(first, "first backup, CPU of restic's", "restic", sample.cpu, firstCPU)
		add(first, "first backup, wall of restic's", "restic", wall, firstWall)
		for _, e := range r.engines {
			if e.name != own && !e.limit {
				add(first, "first backup, ahead of "+e.name+" in CPU", e.name, sample.cpu, 1)
				add(first, "first backup, ahead of "+e.name+" in wall", e.name, wall, 1)
			}
		}
		if name == manySmall {
			add(unchanged, "unchanged, CPU of restic's", "restic", sample.cpu, unchangedRestic)
			add(unchanged, "unchanged, wall of restic's", "restic", wall, unchangedRestic)
			add(unchanged, "unchanged, CPU of kopia's", "kopia", sample.cpu, unchangedKopia)
			add(unchanged, "unchanged, wall of kopia's", "kopia", wall, unchangedKopia)
			if got, ok := r.lessOpening(unchanged, "find", wall); ok {
				list = append(list, target{what: "unchanged, wall of find's, less opening", where: name, got: got, bound: unchangedFind})
			}
		}
		add(restore, "restore, CPU of restic's", "restic", sample.cpu, restoreCPU)
		add(restore, "restore, wall of restic's", "restic", wall, restoreWall)
		if name == manySmall {
			add(restore, "restore, wall of tar's", "tar", wall, 1)
		}
		if got, ok := r.lessOpening(checking, "sha256sum", sample.cpu); ok {
			list = append(list, target{what: "check of all data, CPU of sha256sum's, less opening", where: name, got: got, bound: 1})
		}
		if got, ok := r.lessOpening(checking, "sha256sum", wall); ok {
			list = append(list, target{what: "check of all data, wall of sha256sum's, less opening", where: name, got: got, bound: 1})
		}
		for _, e := range r.engines {
			if e.name != own && r.size[e.name] > 0 {
				list = append(list, target{what: "repository, size of " + e.name + "'s", where: name, got: float64(r.size[own]) / float64(r.size[e.name]), bound: 1})
			}
		}
		list = append(list, target{what: "peak memory of all phases", where: name, got: r.peak(), bound: peakMB, unit: " MB"})
	}
	return list
}

func wall(s sample) time.Duration { return s.Wall }

// of is vault's median of something in a phase, of another program's.
func (r *result) of(ph phase, other string, of func(sample) time.Duration) (float64, bool) {
	mine, theirs := r.samples[own][ph], r.samples[other][ph]
	if len(mine) == 0 || len(theirs) == 0 {
		return 0, false
	}
	m, t := of(median(mine)), of(median(theirs))
	return float64(m) / math.Max(float64(t), 1), true
}

// lessOpening is like of, without what opening the repository takes.
func (r *result) lessOpening(ph phase, other string, of func(sample) time.Duration) (float64, bool) {
	mine, opened, theirs := r.samples[own][ph], r.samples[own][open], r.samples[other][ph]
	if len(mine) == 0 || len(opened) == 0 || len(theirs) == 0 {
		return 0, false
	}
	took := max(of(median(mine))-of(median(opened)), 0)
	return float64(took) / math.Max(float64(of(median(theirs))), 1), true
}

// peak is the most memory that vault took, in MB.
func (r *result) peak() float64 {
	most := int64(0)
	for _, samples := range r.samples[own] {
		for _, s := range samples {
			most = max(most, s.Peak)
		}
	}
	return float64(most) / (1 << 20)
}

// verdict is the table of targets as Markdown.
func verdict(list []target) string {
	var b strings.Builder
	b.WriteString("\n## Targets\n\n| target | corpus | measured | at most | |\n|---|---|--:|--:|---|\n")
	met := 0
	for _, t := range list {
		word := "**not met**"
		if t.met() {
			word = "met"
			met++
		}
		fmt.Fprintf(&b, "| %s | %s | %.2f%s | %.2f%s | %s |\n", t.what, t.where, t.got, t.unit, t.bound, t.unit, word)
	}
	fmt.Fprintf(&b, "\n%d of %d met. Of the index at most 2 bytes of heap a blob: `go test -run '^$' -bench IndexAtScale ./bench`, which fails otherwise. What bounds the others: decisions/010-where-the-time-goes.md.\n", met, len(list))
	return b.String()
}
