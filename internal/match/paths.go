package match

import (
	"bytes"
	"errors"
	"fmt"
)

// Separator is what ends a path in a list of paths.
type Separator uint8

const (
	Newline Separator = iota
	NUL
)

var (
	errEmptyPath    = errors.New("empty path")
	errNULInPath    = errors.New("NUL byte in a path: is the list NUL separated?")
	errUnterminated = errors.New("no NUL byte after the last path: the list is cut off")
)

// ParsePaths parses a list of paths, as --files-from takes them, and returns them
// in their order with every byte as it is.
//
// With Newline, blank lines and lines that begin with "#" do not count (a path
// that does is written "./#..."), one carriage return before the newline and a
// UTF-8 byte order mark at the beginning are not part of a path, spaces and
// wildcards are, and a last line without newline counts. With NUL, each path is
// what lies before a NUL byte, as find -print0 writes it: an empty path and bytes
// after the last NUL are errors.
func ParsePaths(data []byte, sep Separator) ([]string, error) {
	if sep == NUL {
		return nulPaths(data)
	}
	if isUTF16(data) {
		return nil, ErrEncoding
	}
	data = bytes.TrimPrefix(data, utf8BOM)
	var out []string
	for n := 1; len(data) > 0; n++ {
		var line []byte
		line, data, _ = bytes.Cut(data, newline)
		line = bytes.TrimSuffix(line, []byte("\r"))
		switch {
		case len(bytes.TrimSpace(line)) == 0, line[0] == '#':
			continue
		case bytes.IndexByte(line, 0) >= 0:
			return nil, fmt.Errorf("line %d: %w", n, errNULInPath)
		}
		out = append(out, string(line))
	}
	return out, nil
}

func nulPaths(data []byte) ([]string, error) {
	var out []string
	for n := 1; len(data) > 0; n++ {
		path, rest, ok := bytes.Cut(data, []byte{0})
		switch {
		case !ok:
			return nil, fmt.Errorf("path %d: %w", n, errUnterminated)
		case len(path) == 0:
			return nil, fmt.Errorf("path %d: %w", n, errEmptyPath)
		}
		out = append(out, string(path))
		data = rest
	}
	return out, nil
}
