package main

import (
	"fmt"
	"os"
	"runtime"
	"strings"
	"time"
)

// own is the engine that the others are compared with.
const own = "vault"

// table is the result as a table of Markdown.
func (r *result) table() string {
	var b strings.Builder
	fmt.Fprintf(&b, "\n### %s\n\n%s. Measured: %d files, %d MB.\n\n", r.corpus.Name, r.corpus.About, r.files, r.bytes/1e6)
	b.WriteString("| phase | engine | wall s | user s | system s | peak MB | vault's wall | vault's CPU |\n|---|---|--:|--:|--:|--:|--:|--:|\n")
	for _, ph := range phases {
		mine := median(r.samples[own][ph])
		for _, e := range r.engines {
			s, ok := r.samples[e.name][ph]
			if !ok {
				continue
			}
			m := median(s)
			fmt.Fprintf(&b, "| %s | %s | %.2f | %.2f | %.2f | %d | %s | %s |\n", ph, e.name, m.Wall.Seconds(), m.User.Seconds(), m.System.Seconds(),
				m.Peak>>20, ratio(e, mine.Wall, m.Wall), ratio(e, mine.cpu(), m.cpu()))
		}
	}
	b.WriteString("\n| engine | repository MB | vault's size |\n|---|--:|--:|\n")
	for _, e := range r.engines {
		if size, ok := r.size[e.name]; ok {
			fmt.Fprintf(&b, "| %s | %.1f | %s |\n", e.name, float64(size)/1e6, ratio(e, time.Duration(r.size[own]), time.Duration(size)))
		}
	}
	return b.String()
}

// ratio is what vault needs of what the other one does.
func ratio(e *engine, mine, other time.Duration) string {
	if e.name == own || other <= 0 {
		return ""
	}
	return fmt.Sprintf("%.2f", float64(mine)/float64(other))
}

// page is docs/benchmarks.md.
func page(results []result, engines []*engine, command string) string {
	var b strings.Builder
	b.WriteString("# Beside other engines\n\nWhole processes, taking turns on one machine; medians. The last two columns are ratios: what vault takes of what that engine takes, so less than 1\nis better. `find`, `tar` and `sha256sum` are no backup engines but show what merely looking at the tree, writing it, or reading and hashing it costs.\nThe size of vault's repositories is without the 4 MiB of its ballast, which keeps room for forget and prune on a full disk.\n\n![ratios](benchmarks.svg)\n\n")
	fmt.Fprintf(&b, "Command: `%s` on %s, %s, %d cores. Engines:\n\n", command, kernel(), processor(), runtime.NumCPU())
	for _, e := range engines {
		fmt.Fprintf(&b, "- %s: %s\n", e.name, e.version)
	}
	b.WriteString(verdict(targets(results)))
	b.WriteString("\n## Measured\n")
	for _, r := range results {
		b.WriteString(r.table())
	}
	return b.String()
}

func kernel() string {
	b, _ := os.ReadFile("/proc/sys/kernel/osrelease")
	version, _, _ := strings.Cut(strings.TrimSpace(string(b)), "-") // without what names the machine's builder
	return "Linux " + version
}

func processor() string {
	b, _ := os.ReadFile("/proc/cpuinfo")
	for line := range strings.Lines(string(b)) {
		if name, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return runtime.GOARCH
}

// plot draws, for each corpus and phase, the wall time of each peer as a multiple of vault's.
func plot(results []result) string {
	const width, row, gap, left, unit = 900, 14, 10, 210, 40.0
	colours := map[string]string{"restic": "#c0504d", "borg": "#4f81bd", "kopia": "#9bbb59"}
	var b strings.Builder
	y := 50
	for _, r := range results {
		for _, ph := range phases {
			mine := median(r.samples[own][ph]).Wall.Seconds()
			drawn := false
			for _, e := range r.engines {
				colour, ok := colours[e.name]
				s := r.samples[e.name][ph]
				if !ok || len(s) == 0 || mine <= 0 {
					continue
				}
				if !drawn {
					fmt.Fprintf(&b, `<text x="%d" y="%d" text-anchor="end">%s, %s</text>`+"\n", left-8, y+row-3, r.corpus.Name, ph)
					drawn = true
				}
				times := median(s).Wall.Seconds() / mine
				w := min(times*unit, width-left-60)
				fmt.Fprintf(&b, `<rect x="%d" y="%d" width="%.1f" height="%d" fill="%s"/><text x="%.1f" y="%d">%.1f</text>`+"\n",
					left, y, w, row-2, colour, float64(left)+w+4, y+row-3, times)
				y += row
			}
			if drawn {
				y += gap
			}
		}
	}
	var legend strings.Builder
	x := left
	for _, name := range []string{"restic", "borg", "kopia"} {
		fmt.Fprintf(&legend, `<rect x="%d" y="26" width="10" height="10" fill="%s"/><text x="%d" y="35">%s</text>`+"\n", x, colours[name], x+14, name)
		x += 70
	}
	return fmt.Sprintf(`<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" font-family="sans-serif" font-size="11">
<rect width="100%%" height="100%%" fill="white"/>
<text x="%d" y="16" font-size="13">Wall time as a multiple of vault's (the line is 1)</text>
%s%s<line x1="%.1f" y1="44" x2="%.1f" y2="%d" stroke="black"/>
</svg>
`, width, y+10, left, legend.String(), b.String(), left+unit, left+unit, y)
}
