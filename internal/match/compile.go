package match

import (
	"errors"
	"fmt"
	"path"
	"strings"
)

// compKind is the kind of a component of a pattern.
type compKind uint8

const (
	compGlob compKind = iota // one name
	compDeep                 // any number of names, none included; a glob follows
	compTail                 // one name or more; the last component
)

// comp is one component of a pattern.
type comp struct {
	kind compKind
	glob glob
}

// program is a pattern for paths. It has at least one component, no compDeep
// after another, and none before a compTail.
type program struct {
	rule  int32 // its place in the list
	root  bool  // begins at the root of the file system, if Set.Path says where that is
	comps []comp
}

// compiled is a pattern without its signs.
type compiled struct {
	name  *glob // if it is compared with names at any depth
	paths []program
}

// itemKind is the kind of a piece of a gitignore pattern with slashes.
type itemKind uint8

const (
	itemToken itemKind = iota
	itemSlash
	itemDeep // "**/": nothing, or anything that ends in a slash
	itemTail // "**" at the end: anything
)

type item struct {
	kind  itemKind
	token token
}

// compileGit compiles a gitignore pattern without "!" and without the slash at
// its end. The zero compiled never matches.
func compileGit(p string, fold bool) compiled {
	if !strings.Contains(p, "/") {
		items, ok := gitItems(p, false, fold)
		if !ok || len(items) == 0 {
			return compiled{}
		}
		tokens := make([]token, len(items))
		for i := range items {
			tokens[i] = items[i].token
		}
		g := newGlob(tokens, fold)
		return compiled{name: &g}
	}
	items, ok := gitItems(strings.TrimPrefix(p, "/"), true, fold)
	if !ok {
		return compiled{}
	}
	b := builder{fold: fold}
	b.build(nil, nil, items)
	return compiled{paths: b.out}
}

// gitItems cuts p into items; false if p is malformed. Of names, p has no slash
// and "**" is "*". Of paths, "**" is special after a slash and before a slash or
// the end; and, as git compares the bytes before the first special one on their
// own, also where it is this first one.
func gitItems(p string, paths, fold bool) ([]item, bool) {
	var items []item
	plain := strings.IndexAny(p, `*?[\`)
	for i := 0; i < len(p); {
		switch c := p[i]; {
		case c == '*':
			end := i
			for end < len(p) && p[end] == '*' {
				end++
			}
			special := paths && end-i > 1 && (i == plain || p[i-1] == '/')
			switch rest := p[end:]; {
			case special && rest == "":
				items = append(items, item{kind: itemTail})
			case special && rest[0] == '/':
				items = append(items, item{kind: itemDeep})
				end++
			case special && strings.HasPrefix(rest, `\/`): // here it does not stand for nothing
				items = append(items, item{token: token{op: opStar}}, item{kind: itemSlash}, item{kind: itemDeep})
				end += 2
			default:
				items = append(items, item{token: token{op: opStar}})
			}
			i = end
		case c == '?':
			items = append(items, item{token: token{op: opAny}})
			i++
		case c == '[':
			set, n, ok := gitClass(p[i:], fold)
			if !ok {
				return nil, false
			}
			items = append(items, item{token: token{op: opSet, set: set}})
			i += n
		default:
			if c == '\\' {
				if i++; i == len(p) {
					return nil, false
				}
				c = p[i]
			}
			if c == '/' {
				items = append(items, item{kind: itemSlash})
			} else {
				items = append(items, item{token: literal(c, fold)})
			}
			i++
		}
	}
	return items, true
}

// builder turns items into programs: one, but for a "**" right after a literal
// beginning, which stands for two or three.
type builder struct {
	fold bool
	out  []program
}

// build goes on after comps, with the tokens of the component that has begun. A
// component without tokens matches no name: then there is no program.
func (b *builder) build(comps []comp, tokens []token, items []item) {
	for i, it := range items {
		switch it.kind {
		case itemToken:
			tokens = append(tokens, it.token)
		case itemSlash:
			if len(tokens) == 0 {
				return
			}
			comps = append(comps, b.glob(tokens))
			tokens = nil
		case itemDeep:
			if len(tokens) == 0 {
				comps = appendDeep(comps)
				continue
			}
			rest := items[i+1:]
			for len(rest) > 0 && rest[0].kind == itemDeep {
				rest = rest[1:]
			}
			b.build(append(comps[:len(comps):len(comps)], b.glob(withStar(tokens)), comp{kind: compDeep}), nil, rest)
			b.build(comps[:len(comps):len(comps)], tokens, rest)
			return
		case itemTail:
			if len(tokens) == 0 {
				if n := len(comps); n > 0 && comps[n-1].kind == compDeep {
					comps = comps[:n-1]
				}
			} else {
				comps = append(comps[:len(comps):len(comps)], b.glob(withStar(tokens)))
				b.out = append(b.out, program{comps: comps})
			}
			comps = append(comps[:len(comps):len(comps)], comp{kind: compTail})
			b.out = append(b.out, program{comps: comps})
			return
		}
	}
	if len(tokens) > 0 {
		comps = append(comps[:len(comps):len(comps)], b.glob(tokens))
		b.out = append(b.out, program{comps: comps})
	}
}

func (b *builder) glob(tokens []token) comp {
	return comp{glob: newGlob(append([]token(nil), tokens...), b.fold)}
}

func withStar(tokens []token) []token {
	return append(tokens[:len(tokens):len(tokens)], token{op: opStar})
}

func appendDeep(comps []comp) []comp {
	if n := len(comps); n > 0 && comps[n-1].kind == compDeep {
		return comps
	}
	return append(comps, comp{kind: compDeep})
}

var errBackslash = errors.New("backslash at the end of a component")

// compileRestic compiles a pattern of the restic dialect without "!". With
// anchored, a pattern that does not begin with a slash begins at the base.
func compileRestic(p string, fold, anchored bool) (compiled, error) {
	p = path.Clean(p)
	root := p[0] == '/'
	p = strings.TrimPrefix(p, "/")
	var comps []comp
	if !root && !anchored {
		comps = appendDeep(comps)
	}
	for part := range strings.SplitSeq(p, "/") {
		if part == "**" || part == "" { // empty only if the pattern is "/": everything
			comps = appendDeep(comps)
			continue
		}
		g, err := resticGlob(part, fold)
		if err != nil {
			return compiled{}, fmt.Errorf("component %q: %w", part, err)
		}
		comps = append(comps, comp{glob: g})
	}
	// At the end, "**" stands for nothing first: what is below a match is matched.
	if n := len(comps); comps[n-1].kind == compDeep {
		comps = comps[:n-1]
	}
	switch {
	case len(comps) == 0:
		comps = []comp{{glob: newGlob([]token{{op: opStar}}, fold)}}
	case len(comps) == 2 && !root && !anchored:
		return compiled{name: &comps[1].glob}, nil
	}
	return compiled{paths: []program{{root: root, comps: comps}}}, nil
}

// resticGlob compiles one component, as path.Match would read it.
func resticGlob(p string, fold bool) (glob, error) {
	var tokens []token
	for i := 0; i < len(p); i++ {
		switch c := p[i]; c {
		case '*':
			tokens = append(tokens, token{op: opStar})
		case '?':
			tokens = append(tokens, token{op: opRune})
		case '[':
			set, n, err := resticClass(p[i:])
			if err != nil {
				return glob{}, err
			}
			tokens = append(tokens, token{op: opRuneSet, runes: set})
			i += n - 1
		default:
			if c == '\\' {
				if i++; i == len(p) {
					return glob{}, errBackslash
				}
				c = p[i]
			}
			tokens = append(tokens, literal(c, fold))
		}
	}
	return newGlob(tokens, fold), nil
}
