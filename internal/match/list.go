package match

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync/atomic"
)

// Dialect is a language of patterns. The package comment describes them.
type Dialect uint8

const (
	Gitignore Dialect = iota
	Restic
)

// String returns the name that ParseDialect takes.
func (d Dialect) String() string {
	switch d {
	case Gitignore:
		return "gitignore"
	case Restic:
		return "restic"
	}
	return fmt.Sprintf("dialect %d", uint8(d))
}

// ParseDialect returns the dialect of a name.
func ParseDialect(name string) (Dialect, error) {
	for _, d := range []Dialect{Gitignore, Restic} {
		if name == d.String() {
			return d, nil
		}
	}
	return 0, fmt.Errorf("unknown pattern syntax %q: it is gitignore or restic", name)
}

// Options say how the patterns of a list are meant.
type Options struct {
	Source string // where they come from, for people: the name of a file, or of an option

	// Fold makes the case of ASCII letters not count.
	Fold bool

	// Includes turns the meaning round: a pattern includes what it matches and
	// everything below it, and "!" ignores.
	Includes bool

	// Anchored makes every pattern of the restic dialect begin at the base, as the
	// lines of an include list do, which name paths.
	Anchored bool

	// Expand returns the values of variables. If it is not nil, $NAME and ${NAME} in
	// patterns of the restic dialect are replaced, and $$ is a dollar sign.
	Expand func(name string) string
}

// Rule is one pattern of a list.
type Rule struct {
	Source string // Options.Source
	Line   int    // in its file, or its place among the arguments; from 1
	Text   string // as written, without the space around it that does not count

	negated  bool
	dirOnly  bool
	canMatch bool
	includes bool // of a list of Options.Includes: below what it ignores, others may include
	hit      atomic.Bool
}

// Negated reports whether the pattern begins with "!".
func (r *Rule) Negated() bool { return r.negated }

// CanMatch reports whether there is any name that the pattern matches. One that is
// malformed matches none in the gitignore dialect, and is worth a warning.
func (r *Rule) CanMatch() bool { return r.canMatch }

// Matched reports whether the pattern has matched any entry that was asked about,
// whether or not a stronger pattern decided. It is safe for concurrent use.
func (r *Rule) Matched() bool { return r.hit.Load() }

// String returns source:line: text.
func (r *Rule) String() string { return fmt.Sprintf("%s:%d: %s", r.Source, r.Line, r.Text) }

// matched notes a match. The load keeps cores from fighting over the flag.
func (r *Rule) matched() {
	if !r.hit.Load() {
		r.hit.Store(true)
	}
}

// List is a sequence of patterns of one origin: the later is the stronger. It does
// not change but for what its rules remember, and is safe for concurrent use.
type List struct {
	rules    []*Rule
	includes bool
	inherit  bool // what is below a match is matched

	exact    map[string][]int32 // rules for names without wildcards, case counting
	names    []nameRule         // other rules for names, strongest first
	programs []program          // rules for paths
	lastName int32              // the strongest plain rule for names; -1 if there is none
}

// nameRule is a rule that is compared with names at any depth.
type nameRule struct {
	rule    int32
	dirOnly bool
	glob    glob
}

// Rules returns the patterns, weakest first. The caller must not change the slice.
func (l *List) Rules() []*Rule { return l.rules }

// Unmatched returns the rules that can match and have matched nothing so far.
func (l *List) Unmatched() []*Rule {
	var out []*Rule
	for _, r := range l.rules {
		if !r.Matched() {
			out = append(out, r)
		}
	}
	return out
}

// Error is a pattern that is not one of its dialect.
type Error struct {
	Source string
	Line   int
	Text   string
	Err    error
}

func (e *Error) Error() string {
	return fmt.Sprintf("%s:%d: pattern %q: %v", e.Source, e.Line, e.Text, e.Err)
}

func (e *Error) Unwrap() error { return e.Err }

// ErrEncoding reports a file of patterns or paths in UTF-16.
var ErrEncoding = errors.New("the file is UTF-16, it must be UTF-8 or any other superset of ASCII")

var errNUL = errors.New("NUL byte in a pattern")

// ParseFile parses a file of patterns. Blank lines and lines that begin with "#"
// do not count; a last line without newline does. Errors are *Error or ErrEncoding,
// and only of the restic dialect.
func ParseFile(d Dialect, data []byte, o Options) (*List, error) {
	if d == Restic && isUTF16(data) {
		return nil, fmt.Errorf("%s: %w", o.Source, ErrEncoding)
	}
	data = bytes.TrimPrefix(data, utf8BOM)
	l := newList(d, o)
	for n := 1; len(data) > 0; n++ {
		var line []byte
		line, data, _ = bytes.Cut(data, newline)
		if d == Gitignore {
			line = gitLine(line)
		} else {
			line = bytes.TrimSpace(line)
		}
		if len(line) == 0 || line[0] == '#' {
			continue
		}
		if err := l.add(d, o, n, string(line)); err != nil {
			return nil, err
		}
	}
	l.finish()
	return l, nil
}

// ParseArgs parses patterns that are given one by one and taken as they are; empty
// ones do not count. Errors are *Error.
func ParseArgs(d Dialect, patterns []string, o Options) (*List, error) {
	l := newList(d, o)
	for i, p := range patterns {
		if p == "" {
			continue
		}
		if strings.IndexByte(p, 0) >= 0 {
			return nil, &Error{o.Source, i + 1, p, errNUL}
		}
		if err := l.add(d, o, i+1, p); err != nil {
			return nil, err
		}
	}
	l.finish()
	return l, nil
}

var (
	newline = []byte("\n")
	utf8BOM = []byte("\xef\xbb\xbf")
)

func isUTF16(data []byte) bool {
	return bytes.HasPrefix(data, []byte("\xff\xfe")) || bytes.HasPrefix(data, []byte("\xfe\xff"))
}

// gitLine returns what git takes of a line: without one carriage return at its
// end, up to a NUL byte, without spaces at the end that no backslash quotes. A
// comment stays one.
func gitLine(line []byte) []byte {
	if len(line) > 0 && line[0] == '#' {
		return line
	}
	line = bytes.TrimSuffix(line, []byte("\r"))
	if i := bytes.IndexByte(line, 0); i >= 0 {
		line = line[:i]
	}
	end := 0 // after the last byte that counts
	for i := 0; i < len(line); i++ {
		switch line[i] {
		case ' ':
			continue
		case '\\':
			i++
		}
		end = min(i+1, len(line))
	}
	return line[:end]
}

func newList(d Dialect, o Options) *List {
	return &List{includes: o.Includes, inherit: o.Includes || d == Restic, lastName: -1}
}

// add compiles one pattern that is not empty.
func (l *List) add(d Dialect, o Options, line int, text string) error {
	r := &Rule{Source: o.Source, Line: line, Text: text, includes: o.Includes}
	p := text
	if d == Restic && o.Expand != nil {
		p = expand(p, o.Expand)
	}
	p, r.negated = strings.CutPrefix(p, "!")
	var c compiled
	switch d {
	case Gitignore:
		p, r.dirOnly = strings.CutSuffix(p, "/")
		c = compileGit(p, o.Fold)
	case Restic:
		if p == "" {
			break // an empty variable, or "!" alone: nothing
		}
		var err error
		if c, err = compileRestic(p, o.Fold, o.Anchored); err != nil {
			return &Error{o.Source, line, text, err}
		}
	default:
		return fmt.Errorf("%s: unknown %v", o.Source, d)
	}
	l.insert(r, c)
	return nil
}

func (l *List) insert(r *Rule, c compiled) {
	i := int32(len(l.rules))
	l.rules = append(l.rules, r)
	r.canMatch = c.name != nil || len(c.paths) > 0
	switch g := c.name; {
	case g == nil:
	case g.shape == shapeLiteral && !g.fold:
		if l.exact == nil {
			l.exact = make(map[string][]int32)
		}
		l.exact[g.lit] = append(l.exact[g.lit], i)
	default:
		l.names = append(l.names, nameRule{i, r.dirOnly, *g})
	}
	if c.name != nil && !r.negated {
		l.lastName = i
	}
	for _, p := range c.paths {
		p.rule = i
		l.programs = append(l.programs, p)
	}
}

// finish puts the strongest first, so that the weaker need not be compared once
// they have been seen to match.
func (l *List) finish() {
	reverse(l.names)
	reverse(l.programs)
	for _, rules := range l.exact {
		reverse(rules)
	}
}

func reverse[T any](s []T) {
	for i, j := 0, len(s)-1; i < j; i, j = i+1, j-1 {
		s[i], s[j] = s[j], s[i]
	}
}

// expand replaces variables; $$ is a dollar sign.
func expand(p string, value func(string) string) string {
	return os.Expand(p, func(name string) string {
		if name == "$" {
			return name
		}
		return value(name)
	})
}
