package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"slices"

	"github.com/spf13/pflag"

	"vault/internal/match"
	"vault/snapshot/archive"
)

// excludeFlags say what a backup leaves out.
type excludeFlags struct {
	patterns, foldPatterns []string
	files, foldFiles       []string
	ignoreFiles, ifPresent []string
	largerThan, syntax     string
	caches                 bool
}

func (f *excludeFlags) add(flags *pflag.FlagSet) {
	flags.StringArrayVarP(&f.patterns, "exclude", "e", nil, "leave out what matches `PATTERN` (repeatable)")
	flags.StringArrayVar(&f.foldPatterns, "iexclude", nil, "the same for a `PATTERN` in which case does not count")
	flags.StringArrayVar(&f.files, "exclude-file", nil, "take patterns from the lines of `FILE` (repeatable)")
	flags.StringArrayVar(&f.foldFiles, "iexclude-file", nil, "take patterns in which case does not count from `FILE` (repeatable)")
	flags.StringArrayVar(&f.ignoreFiles, "ignore-file", nil, "files of this `NAME`, such as .gitignore, hold patterns for their directory (repeatable)")
	flags.StringArrayVar(&f.ifPresent, "exclude-if-present", nil, "leave out the rest of directories with a `FILENAME[:HEADER]` (repeatable)")
	flags.BoolVar(&f.caches, "exclude-caches", false, "leave out the rest of directories with a CACHEDIR.TAG")
	flags.StringVar(&f.largerThan, "exclude-larger-than", "", "leave out files of more than `SIZE`, such as 500M")
	flags.StringVar(&f.syntax, "pattern-syntax", match.Gitignore.String(), "how patterns are meant: gitignore or restic")
}

// given reports whether anything is to be left out.
func (f *excludeFlags) given() bool {
	return len(f.patterns)+len(f.foldPatterns)+len(f.files)+len(f.foldFiles)+len(f.ignoreFiles)+len(f.ifPresent) > 0 || f.caches || f.largerThan != ""
}

// parse reads the patterns. It returns nil if nothing is to be left out. Warn is
// told of lines of files that cannot match anything.
func (f *excludeFlags) parse(warn func(about string, err error)) (*archive.Excludes, error) {
	dialect, err := match.ParseDialect(f.syntax)
	if err != nil {
		return nil, usagef("--pattern-syntax: %v", err)
	}
	if !f.given() {
		return nil, nil
	}
	x := &archive.Excludes{}
	for _, source := range []struct {
		flag            string
		patterns, files []string
		fold            bool
	}{{"exclude", f.patterns, f.files, false}, {"iexclude", f.foldPatterns, f.foldFiles, true}} {
		for _, name := range source.files {
			l, err := patternFile(dialect, source.flag+"-file", name, source.fold, warn)
			if err != nil {
				return nil, usage(err)
			}
			x.Files = append(x.Files, l)
		}
		l, err := match.ParseArgs(dialect, source.patterns, match.Options{Source: "--" + source.flag, Fold: source.fold})
		if err != nil {
			return nil, usage(err)
		}
		if err := canMatch(l, func(r *match.Rule) error { return usagef("%v: %w", r, errNeverMatches) }); err != nil {
			return nil, err
		}
		x.Command = append(x.Command, l)
	}
	return x, f.parseOthers(x)
}

// parseOthers parses what is not a list of patterns.
func (f *excludeFlags) parseOthers(x *archive.Excludes) error {
	for _, name := range f.ignoreFiles {
		if _, err := match.ParseMarker(name); err != nil { // the same rule for names
			return usagef("--ignore-file %q: want the name of a file, without a slash", name)
		}
	}
	x.IgnoreFiles = f.ignoreFiles
	for _, text := range f.ifPresent {
		m, err := match.ParseMarker(text)
		if err != nil {
			return usagef("--exclude-if-present: %v", err)
		}
		x.Markers = append(x.Markers, m)
	}
	if f.caches {
		x.Markers = append(x.Markers, match.CacheTag)
	}
	if f.largerThan != "" {
		n, err := match.ParseSize(f.largerThan)
		if err == nil && n == 0 {
			err = errors.New("want more than 0 bytes")
		}
		if err != nil {
			return usagef("--exclude-larger-than: %v", err)
		}
		x.LargerThan = uint64(n)
	}
	return nil
}

var errNeverMatches = errors.New("the pattern is malformed and would never match")

// canMatch calls bad with the first rule of a list that matches nothing whatever
// there is.
func canMatch(l *match.List, bad func(*match.Rule) error) error {
	for _, r := range l.Rules() {
		if !r.CanMatch() {
			if err := bad(r); err != nil {
				return err
			}
		}
	}
	return nil
}

func patternFile(d match.Dialect, flag, name string, fold bool, warn func(string, error)) (*match.List, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, fmt.Errorf("--%s: %w", flag, err)
	}
	defer f.Close()
	data, err := readLimited(f, maxListFile)
	if err != nil {
		return nil, fmt.Errorf("--%s: read %s: %w", flag, name, err)
	}
	o := match.Options{Source: name, Fold: fold}
	if d == match.Restic {
		o.Expand = os.Getenv
	}
	l, err := match.ParseFile(d, data, o)
	if err != nil {
		return nil, fmt.Errorf("--%s: %w", flag, err)
	}
	return l, canMatch(l, func(r *match.Rule) error {
		warn(r.String(), errNeverMatches)
		return nil
	})
}

// maxListFile bounds a file of patterns or of paths, which is held in memory.
const maxListFile = 256 << 20

func readLimited(r io.Reader, limit int64) ([]byte, error) {
	data, err := io.ReadAll(io.LimitReader(r, limit+1))
	if err == nil && int64(len(data)) > limit {
		err = fmt.Errorf("more than %d bytes", limit)
	}
	return data, err
}

// unmatched returns the patterns that have matched nothing, as text.
func unmatched(x *archive.Excludes) []string {
	if x == nil {
		return nil
	}
	var out []string
	for _, l := range slices.Concat(x.Command, x.Files) {
		for _, r := range l.Unmatched() {
			if r.CanMatch() {
				out = append(out, r.String())
			}
		}
	}
	return out
}
