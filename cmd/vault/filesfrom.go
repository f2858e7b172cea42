package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/pflag"

	"vault/internal/match"
	"vault/snapshot/archive"
)

// listFlags name files that list what to back up.
type listFlags struct{ text, verbatim, raw []string }

func (f *listFlags) add(flags *pflag.FlagSet) {
	flags.StringArrayVar(&f.text, "files-from", nil, "back up the paths in `FILE`, one a line, with wildcards and # comments (- is standard input; repeatable)")
	flags.StringArrayVar(&f.verbatim, "files-from-verbatim", nil, "the same, every line of `FILE` as it is")
	flags.StringArrayVar(&f.raw, "files-from-raw", nil, "the same, paths in `FILE` ended by NUL bytes, as from find -print0")
}

func (f *listFlags) given() bool { return len(f.text)+len(f.verbatim)+len(f.raw) > 0 }

// usesStdin reports how often standard input is read.
func (f *listFlags) usesStdin() (n int) {
	for _, names := range [][]string{f.text, f.verbatim, f.raw} {
		for _, name := range names {
			if name == "-" {
				n++
			}
		}
	}
	return n
}

// volume reads the lists. What they name together is one volume: the tree of the
// file system from its root, restricted to these paths.
func (f *listFlags) volume(stdin io.Reader) (archive.Volume, error) {
	var src archive.List
	for _, kind := range []struct {
		flag  string
		files []string
		parse func([]byte) ([]string, error)
	}{
		{"--files-from", f.text, textPaths},
		{"--files-from-verbatim", f.verbatim, verbatimPaths},
		{"--files-from-raw", f.raw, func(b []byte) ([]string, error) { return match.ParsePaths(b, match.NUL) }},
	} {
		for _, name := range kind.files {
			paths, err := readList(name, stdin, kind.parse)
			if err != nil {
				return archive.Volume{}, fmt.Errorf("%s %s: %w", kind.flag, name, err)
			}
			src.Paths = append(src.Paths, paths...)
		}
	}
	if len(src.Paths) == 0 {
		return archive.Volume{}, errors.New("nothing to back up: the lists of paths are empty")
	}
	for i, p := range src.Paths {
		abs, err := filepath.Abs(p)
		if err != nil {
			return archive.Volume{}, fmt.Errorf("path %q: %w", p, err)
		}
		src.Paths[i] = abs
	}
	return archive.Volume{Name: "/", Source: src}, nil
}

func readList(name string, stdin io.Reader, parse func([]byte) ([]string, error)) ([]string, error) {
	if name != "-" {
		f, err := os.Open(name)
		if err != nil {
			return nil, err
		}
		defer f.Close()
		stdin = f
	}
	data, err := readLimited(stdin, maxListFile)
	if err != nil {
		return nil, err
	}
	return parse(data)
}

// textPaths expands wildcards. A line that is the name of something means that as
// well, whatever wildcards are in it; one that matches nothing stays as it is, so
// that the backup says that it is missing.
func textPaths(data []byte) ([]string, error) {
	lines, err := match.ParsePaths(data, match.Newline)
	if err != nil {
		return nil, err
	}
	var out []string
	for _, line := range lines {
		if !strings.ContainsAny(line, `*?[\`) {
			out = append(out, line)
			continue
		}
		_, err := os.Lstat(line)
		found, bad := filepath.Glob(line)
		if err == nil || len(found) == 0 {
			found = append(found, line)
		}
		if err != nil && bad != nil {
			return nil, fmt.Errorf("pattern %q: %w", line, bad)
		}
		out = append(out, found...)
	}
	return out, nil
}

// verbatimPaths takes every line that is not empty as it is.
func verbatimPaths(data []byte) ([]string, error) {
	var out []string
	for n, line := range bytes.Split(data, []byte("\n")) {
		switch {
		case len(line) == 0:
		case bytes.IndexByte(line, 0) >= 0:
			return nil, fmt.Errorf("line %d: NUL byte in a path: --files-from-raw is for such lists", n+1)
		default:
			out = append(out, string(line))
		}
	}
	return out, nil
}
