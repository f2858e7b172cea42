package main

import (
	"errors"
	"fmt"
	"os"
	"slices"

	"github.com/spf13/pflag"

	"vault/internal/match"
	"vault/snapshot/restore"
)

// choiceFlags say what of a backup is wanted.
type choiceFlags struct {
	include, foldInclude, includeFiles, foldIncludeFiles []string
	exclude, foldExclude, excludeFiles, foldExcludeFiles []string
	syntax                                               string
}

func (f *choiceFlags) add(flags *pflag.FlagSet) {
	flags.StringArrayVarP(&f.include, "include", "i", nil, "restore only what matches `PATTERN`, and all below it (repeatable)")
	flags.StringArrayVar(&f.foldInclude, "iinclude", nil, "the same for a `PATTERN` in which case does not count")
	flags.StringArrayVar(&f.includeFiles, "include-file", nil, "take such patterns from the lines of `FILE` (repeatable)")
	flags.StringArrayVar(&f.foldIncludeFiles, "iinclude-file", nil, "the same, and case does not count in them")
	flags.StringArrayVarP(&f.exclude, "exclude", "e", nil, "leave out what matches `PATTERN` (repeatable)")
	flags.StringArrayVar(&f.foldExclude, "iexclude", nil, "the same for a `PATTERN` in which case does not count")
	flags.StringArrayVar(&f.excludeFiles, "exclude-file", nil, "take such patterns from the lines of `FILE` (repeatable)")
	flags.StringArrayVar(&f.foldExcludeFiles, "iexclude-file", nil, "the same, and case does not count in them")
	flags.StringVar(&f.syntax, "pattern-syntax", match.Restic.String(), "how patterns are meant: restic or gitignore")
}

// parse reads the patterns.
func (f *choiceFlags) parse(warn func(about string, err error)) (restore.Choice, error) {
	var c restore.Choice
	dialect, err := match.ParseDialect(f.syntax)
	if err != nil {
		return c, usagef("--pattern-syntax: %v", err)
	}
	for _, source := range []struct {
		flag            string
		patterns, files []string
		o               match.Options
		lists           *[]*match.List
	}{
		{"include", f.include, f.includeFiles, match.Options{Includes: true}, &c.Includes},
		{"iinclude", f.foldInclude, f.foldIncludeFiles, match.Options{Includes: true, Fold: true}, &c.Includes},
		{"exclude", f.exclude, f.excludeFiles, match.Options{}, &c.Excludes},
		{"iexclude", f.foldExclude, f.foldExcludeFiles, match.Options{Fold: true}, &c.Excludes},
	} {
		for _, name := range source.files {
			l, err := choiceFile(dialect, name, source.o, warn)
			if err != nil {
				return c, usagef("--%s-file: %v", source.flag, err)
			}
			*source.lists = append(*source.lists, l)
		}
		if len(source.patterns) == 0 {
			continue
		}
		source.o.Source = "--" + source.flag
		l, err := match.ParseArgs(dialect, source.patterns, source.o)
		if err != nil {
			return c, usage(err)
		}
		if err := canMatch(l, func(r *match.Rule) error { return usagef("%v: %w", r, errNeverMatches) }); err != nil {
			return c, err
		}
		*source.lists = append(*source.lists, l)
	}
	return c, nil
}

func choiceFile(d match.Dialect, name string, o match.Options, warn func(string, error)) (*match.List, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := readLimited(f, maxListFile)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	o.Source = name
	if d == match.Restic {
		o.Expand = os.Getenv
	}
	l, err := match.ParseFile(d, data, o)
	if err != nil {
		return nil, err
	}
	return l, canMatch(l, func(r *match.Rule) error {
		warn(r.String(), errNeverMatches)
		return nil
	})
}

// notFound tells of patterns that should have found something.
func notFound(c restore.Choice, warn func(about string, err error)) {
	for _, l := range slices.Concat(c.Includes, c.Excludes) {
		for _, r := range l.Unmatched() {
			warn(r.String(), errNothingMatched)
		}
	}
}

var errNothingMatched = errors.New("nothing in the backup matches this pattern")

// ownerRules parses --owner-map.
func ownerRules(texts []string) ([]restore.OwnerRule, error) {
	var list []restore.OwnerRule
	for _, text := range texts {
		r, err := restore.ParseOwnerRule(text)
		if err != nil {
			return nil, usagef("--owner-map: %w", err)
		}
		list = append(list, r)
	}
	return list, nil
}
