package ns8

import (
	"fmt"
	"os"
	"path"
	"strings"

	"vault/internal/match"
	"vault/snapshot/archive"
)

// excludesOf returns the excludes of a module as they are seen from the directory of
// one part. A pattern may have begun above it: "volumes/data/cache" means "/cache" in
// volumes/data.
func excludesOf(prefix, dir string, patterns []Pattern) (*archive.Excludes, error) {
	above := strings.Split(strings.TrimPrefix(theirBase, "/")+"/"+prefix, "/")
	x := &archive.Excludes{}
	for _, p := range patterns {
		// A list for each line keeps its number; the later list is the stronger, as the
		// later line is.
		text, not := strings.CutPrefix(expand(p.Text), "!")
		if text == "" {
			continue
		}
		var turned []string
		for _, t := range seenFrom(above, text) {
			if strings.HasPrefix(t, "/") {
				t = escape(dir) + strings.TrimSuffix(t, "/")
			}
			if not {
				t = "!" + t
			}
			turned = append(turned, t)
		}
		l, err := match.ParseArgs(match.Restic, turned, match.Options{Source: p.String()})
		if err != nil {
			return nil, fmt.Errorf("%s: %w", p, err)
		}
		x.Files = append(x.Files, l)
	}
	return x, nil
}

func expand(text string) string {
	return os.Expand(text, func(name string) string {
		if name == "$" {
			return name
		}
		return ""
	})
}

// seenFrom returns the patterns that mean in a directory what one pattern of restic
// means above it. Those with a leading slash begin at the directory; "/" is all of it.
func seenFrom(above []string, pattern string) []string {
	clean := path.Clean(pattern)
	var out []string
	seen := map[string]bool{}
	add := func(rest []string) {
		if t := "/" + strings.Join(rest, "/"); !seen[t] {
			seen[t] = true
			out = append(out, t)
		}
	}
	if anchored, ok := strings.CutPrefix(clean, "/"); ok {
		consume(above, strings.Split(anchored, "/"), add)
		return out
	}
	out = append(out, clean) // it begins in the directory or below
	parts := strings.Split(clean, "/")
	for i := range above {
		consume(above[i:], parts, add)
	}
	return out
}

// consume calls add with what is left of a pattern after the names above the directory,
// for each way in which they match. A pattern that ends above matches all that is
// below.
func consume(names, parts []string, add func(rest []string)) {
	switch {
	case len(names) == 0 || len(parts) == 0:
		add(parts)
	case parts[0] == "**":
		consume(names, parts[1:], add)
		consume(names[1:], parts, add)
	default:
		if ok, err := path.Match(parts[0], names[0]); ok && err == nil {
			consume(names[1:], parts[1:], add)
		}
	}
}
