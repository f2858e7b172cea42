package match

import (
	"strings"
	"unicode/utf8"
)

// op says what a token takes from a name.
type op uint8

const (
	opByte    op = iota // the byte b
	opAny               // any one byte
	opSet               // any one byte of set
	opRune              // any one character; a byte that is none counts as one
	opRuneSet           // any one character of runes
	opStar              // anything, nothing included
)

// token is one step of a glob.
type token struct {
	op    op
	b     byte // in lower case if the glob folds
	set   *byteSet
	runes *runeSet
}

// shape picks the cheapest way to match a glob.
type shape uint8

const (
	shapeTokens shape = iota
	shapeLiteral
	shapeAll    // *
	shapePrefix // lit*
	shapeSuffix // *lit
	shapeInfix  // *lit*
)

// glob matches one name, or one component of a path. It never sees a slash.
type glob struct {
	shape  shape
	fold   bool
	lit    string  // of every shape but shapeTokens and shapeAll
	tokens []token // of shapeTokens
	least  int     // no shorter name matches
}

// newGlob takes ownership of tokens.
func newGlob(tokens []token, fold bool) glob {
	g := glob{fold: fold, tokens: joinStars(tokens)}
	var lit []byte
	stars := 0
	for _, t := range g.tokens {
		switch t.op {
		case opByte:
			lit = append(lit, t.b)
			g.least++
		case opStar:
			stars++
		default:
			g.least++
			stars = -len(tokens) // no simple shape
		}
	}
	n := len(g.tokens)
	first := n > 0 && g.tokens[0].op == opStar
	last := n > 0 && g.tokens[n-1].op == opStar
	switch {
	case stars == 0:
		g.shape = shapeLiteral
	case stars == 1 && n == 1:
		g.shape = shapeAll
	case stars == 1 && last:
		g.shape = shapePrefix
	case stars == 1 && first:
		g.shape = shapeSuffix
	case stars == 2 && first && last && !fold:
		g.shape = shapeInfix
	default:
		return g
	}
	g.lit, g.tokens = string(lit), nil
	return g
}

// joinStars makes one star of several in a row.
func joinStars(tokens []token) []token {
	out := tokens[:0]
	for _, t := range tokens {
		if t.op == opStar && len(out) > 0 && out[len(out)-1].op == opStar {
			continue
		}
		out = append(out, t)
	}
	return out
}

// match reports whether g matches the whole of name.
func (g *glob) match(name string) bool {
	if len(name) < g.least {
		return false
	}
	switch g.shape {
	case shapeAll:
		return true
	case shapeLiteral:
		return len(name) == len(g.lit) && g.equal(name)
	case shapePrefix:
		return g.equal(name[:len(g.lit)])
	case shapeSuffix:
		return g.equal(name[len(name)-len(g.lit):])
	case shapeInfix:
		return strings.Contains(name, g.lit)
	}
	ok, _ := g.scan(name)
	return ok
}

// equal compares s, which is as long as g.lit, with it.
func (g *glob) equal(s string) bool {
	if !g.fold {
		return s == g.lit
	}
	for i := range len(s) {
		if lower(s[i]) != g.lit[i] {
			return false
		}
	}
	return true
}

// scan matches tokens one after another. Where that fails it goes back to the
// last star and lets it take one byte more; going back further could not help,
// since the earlier stars have already left this one the longest rest. It also
// returns the number of steps taken: at most one for each pair of a byte and a
// token, and one for each byte.
func (g *glob) scan(name string) (ok bool, steps int) {
	var i, t int
	star, mark := -1, 0
	for i < len(name) {
		steps++
		if t < len(g.tokens) {
			if g.tokens[t].op == opStar {
				t++
				star, mark = t, i
				continue
			}
			if n := g.take(&g.tokens[t], name[i:]); n > 0 {
				i += n
				t++
				continue
			}
		}
		if star < 0 {
			return false, steps
		}
		mark++
		i, t = mark, star
	}
	for t < len(g.tokens) && g.tokens[t].op == opStar {
		t++
	}
	return t == len(g.tokens), steps
}

// take returns how many bytes of s, which is not empty, t takes; 0 if it does
// not match.
func (g *glob) take(t *token, s string) int {
	switch t.op {
	case opByte:
		if s[0] == t.b || g.fold && lower(s[0]) == t.b {
			return 1
		}
	case opAny:
		return 1
	case opSet:
		if t.set.has(s[0]) {
			return 1
		}
	case opRune:
		_, n := utf8.DecodeRuneInString(s)
		return n
	case opRuneSet:
		if r, n := utf8.DecodeRuneInString(s); t.runes.has(r, g.fold) {
			return n
		}
	}
	return 0
}

// lower folds ASCII letters.
func lower(c byte) byte {
	if 'A' <= c && c <= 'Z' {
		c += 'a' - 'A'
	}
	return c
}

// literal is the token of one byte of a pattern.
func literal(c byte, fold bool) token {
	if fold {
		c = lower(c)
	}
	return token{op: opByte, b: c}
}
