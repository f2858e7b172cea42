package match

import (
	"errors"
	"unicode/utf8"
)

// byteSet is a set of bytes.
type byteSet [4]uint64

func (s *byteSet) add(c byte)      { s[c>>6] |= 1 << (c & 63) }
func (s *byteSet) has(c byte) bool { return s[c>>6]&(1<<(c&63)) != 0 }

func (s *byteSet) addIf(in func(byte) bool) {
	for c := range 256 {
		if in(byte(c)) {
			s.add(byte(c))
		}
	}
}

// foldCase adds the other case of every letter in s.
func (s *byteSet) foldCase() {
	for c := byte('a'); c <= 'z'; c++ {
		upper := c - 'a' + 'A'
		if s.has(c) || s.has(upper) {
			s.add(c)
			s.add(upper)
		}
	}
}

func between(lo, hi byte) func(byte) bool {
	return func(c byte) bool { return lo <= c && c <= hi }
}

func oneOf(sets ...func(byte) bool) func(byte) bool {
	return func(c byte) bool {
		for _, in := range sets {
			if in(c) {
				return true
			}
		}
		return false
	}
}

var (
	isDigit = between('0', '9')
	isUpper = between('A', 'Z')
	isLower = between('a', 'z')
	isAlnum = oneOf(isDigit, isUpper, isLower)
	isGraph = between('!', '~')
)

// posixClass are the character classes as git sees them, whatever the locale.
var posixClass = map[string]func(byte) bool{
	"alnum":  isAlnum,
	"alpha":  oneOf(isUpper, isLower),
	"blank":  func(c byte) bool { return c == ' ' || c == '\t' },
	"cntrl":  oneOf(between(0, 31), between(127, 127)),
	"digit":  isDigit,
	"graph":  isGraph,
	"lower":  isLower,
	"print":  between(' ', '~'),
	"punct":  func(c byte) bool { return isGraph(c) && !isAlnum(c) },
	"space":  func(c byte) bool { return c == ' ' || c == '\t' || c == '\n' || c == '\r' },
	"upper":  isUpper,
	"xdigit": oneOf(isDigit, between('A', 'F'), between('a', 'f')),
}

// gitClass parses the bracket expression at the beginning of p, as git's wildmatch
// does, and returns its set and its length; ok is false if it is malformed.
//
// A "]" first is a member; "!" and "^" negate; a backslash quotes; the lower end
// of a range is a member even if the range is empty; "[:" that no ":]" ends is two
// members.
func gitClass(p string, fold bool) (set *byteSet, n int, ok bool) {
	at := func(i int) byte {
		if i < len(p) {
			return p[i]
		}
		return 0
	}
	set = new(byteSet)
	i := 1
	negated := at(i) == '!' || at(i) == '^'
	if negated {
		i++
	}
	var previous byte // what a range would begin with; 0 after a range or a class
	for c := at(i); ; {
		switch {
		case c == 0:
			return nil, 0, false
		case c == '\\':
			i++
			if c = at(i); c == 0 {
				return nil, 0, false
			}
			set.add(c)
		case c == '-' && previous != 0 && at(i+1) != 0 && at(i+1) != ']':
			i++
			if c = at(i); c == '\\' {
				i++
				if c = at(i); c == 0 {
					return nil, 0, false
				}
			}
			set.addIf(between(previous, c))
			c = 0
		case c == '[' && at(i+1) == ':':
			end := i + 2
			for at(end) != 0 && at(end) != ']' {
				end++
			}
			if at(end) == 0 {
				return nil, 0, false
			}
			if end == i+2 || at(end-1) != ':' {
				set.add(c)
				break
			}
			in, known := posixClass[p[i+2:end-1]]
			if !known {
				return nil, 0, false
			}
			set.addIf(in)
			i, c = end, 0
		default:
			set.add(c)
		}
		previous = c
		i++
		if c = at(i); c == ']' {
			break
		}
	}
	if fold {
		set.foldCase()
	}
	if negated {
		for k := range set {
			set[k] = ^set[k]
		}
	}
	return set, i + 1, true
}

// runeSet is a bracket expression of the restic dialect.
type runeSet struct {
	negated bool
	ranges  [][2]rune
}

func (s *runeSet) has(r rune, fold bool) bool {
	in := s.holds(r)
	if fold && !in {
		switch {
		case 'a' <= r && r <= 'z':
			in = s.holds(r - 'a' + 'A')
		case 'A' <= r && r <= 'Z':
			in = s.holds(r - 'A' + 'a')
		}
	}
	return in != s.negated
}

func (s *runeSet) holds(r rune) bool {
	for _, e := range s.ranges {
		if e[0] <= r && r <= e[1] {
			return true
		}
	}
	return false
}

var errBadClass = errors.New("malformed bracket expression")

// resticClass parses the bracket expression at the beginning of p, as path.Match
// does, and returns its length.
func resticClass(p string) (set *runeSet, n int, err error) {
	rest := p[1:]
	set = new(runeSet)
	if rest != "" && rest[0] == '^' {
		set.negated = true
		rest = rest[1:]
	}
	for {
		if rest != "" && rest[0] == ']' && len(set.ranges) > 0 {
			return set, len(p) - len(rest) + 1, nil
		}
		var lo, hi rune
		if lo, rest, err = classRune(rest); err != nil {
			return nil, 0, err
		}
		hi = lo
		if rest[0] == '-' {
			if hi, rest, err = classRune(rest[1:]); err != nil {
				return nil, 0, err
			}
		}
		set.ranges = append(set.ranges, [2]rune{lo, hi})
	}
}

// classRune takes one member, quoted or not, from s. The rest is not empty: at
// least the closing bracket has to follow.
func classRune(s string) (rune, string, error) {
	if s == "" || s[0] == '-' || s[0] == ']' {
		return 0, "", errBadClass
	}
	if s[0] == '\\' {
		if s = s[1:]; s == "" {
			return 0, "", errBadClass
		}
	}
	r, n := utf8.DecodeRuneInString(s)
	if r == utf8.RuneError && n == 1 || len(s) == n {
		return 0, "", errBadClass
	}
	return r, s[n:], nil
}
