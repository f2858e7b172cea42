package match

import (
	"slices"
	"strings"
)

// Decision is what patterns say about an entry.
type Decision uint8

const (
	Undecided Decision = iota // no pattern matches
	Ignore
	Include
)

// String returns the name of the decision.
func (d Decision) String() string {
	switch d {
	case Ignore:
		return "ignore"
	case Include:
		return "include"
	}
	return "undecided"
}

// Kind is what patterns want to know of an entry besides its name.
type Kind uint8

const (
	File      Kind = iota // anything that is not a directory
	Directory             // not a symbolic link to one
)

// Set is all patterns for one tree. Of two that match an entry the one in the
// stronger list decides, whatever it says.
type Set struct {
	Files   []*List // the weakest, in increasing strength; their base is the root
	Command []*List // stronger than the lists of directories; their base is the root

	// Path is the absolute path of the root, if there is one. Patterns of the restic
	// dialect that begin with a slash begin at the root of the file system then; one
	// that matches the root or a directory above it matches everything. If Path is
	// empty they begin at the root of the tree.
	Path string
}

// Dir is a directory on the way through a tree: what can be matched in it. It
// does not change and is safe for concurrent use.
type Dir struct {
	views   []view // weakest first
	command int    // where the views of Set.Command begin
}

// view is what a directory sees of a list.
type view struct {
	list    *List
	threads []thread
	// inherited is the strongest rule that matched this directory or one above it,
	// -1 if there is none. Only lists that hand matches down have one.
	inherited int32
}

// thread is a program and the component that it expects next. A thread at a
// compDeep also stands for one at the component after it. The threads of a
// program are together, in increasing order of at, and only the first may be at a
// compDeep: what is expected before it need not be looked for any more.
type thread struct {
	program *program
	at      int
}

// Root returns the root of a tree. Ignore are the lists of its own ignore files,
// weakest first.
func (s Set) Root(ignore ...*List) *Dir {
	d := &Dir{}
	for _, l := range s.Files {
		d.views = append(d.views, l.view(s.Path))
	}
	for _, l := range ignore {
		d.views = append(d.views, l.view(""))
	}
	d.command = len(d.views)
	for _, l := range s.Command {
		d.views = append(d.views, l.view(s.Path))
	}
	return d
}

// view returns how the base of l sees it.
func (l *List) view(path string) view {
	v := view{list: l, inherited: -1}
	above := view{list: l, inherited: -1}
	for i := range l.programs {
		if p := &l.programs[i]; p.root && path != "" {
			above.threads = append(above.threads, thread{p, 0})
		} else {
			v.threads = append(v.threads, thread{p, 0})
		}
	}
	for name := range strings.SplitSeq(path, "/") {
		if name != "" && name != "." && len(above.threads) > 0 {
			best := above.inherited
			above.threads = above.step(nil, name, &best)
			above.inherited = best
		}
	}
	v.threads = append(v.threads, above.threads...)
	v.inherited = above.inherited
	return v
}

// Match decides about an entry of d by its name, which has no slash, and returns
// the rule that decided, nil if none did. For what lies below an ignored directory
// there is nothing to ask: it cannot be included again. Match allocates nothing.
func (d *Dir) Match(name string, kind Kind) (Decision, *Rule) {
	var decision Decision
	var rule *Rule
	for i := len(d.views) - 1; i >= 0; i-- {
		v := &d.views[i]
		best := v.names(name, kind)
		best = v.paths(name, kind, best)
		if best >= 0 && rule == nil {
			rule = v.list.rules[best]
			decision = v.list.decision(rule)
		}
	}
	return decision, rule
}

func (l *List) decision(r *Rule) Decision {
	if r.negated == l.includes {
		return Ignore
	}
	return Include
}

// names returns the strongest rule for names that matches, or what is inherited if
// that is stronger.
func (v *view) names(name string, kind Kind) int32 {
	l, best := v.list, v.inherited
	if l.exact != nil {
		for _, i := range l.exact[name] {
			if r := l.rules[i]; kind == Directory || !r.dirOnly {
				r.matched()
				best = max(best, i)
			}
		}
	}
	for k := range l.names {
		n := &l.names[k]
		if n.dirOnly && kind != Directory || n.rule < best && l.rules[n.rule].Matched() {
			continue
		}
		if n.glob.match(name) {
			l.rules[n.rule].matched()
			best = max(best, n.rule)
		}
	}
	return best
}

// paths returns the strongest rule for paths that matches, or best if that is
// stronger.
func (v *view) paths(name string, kind Kind, best int32) int32 {
	for _, t := range v.threads {
		i := t.program.rule
		r := v.list.rules[i]
		if r.dirOnly && kind != Directory || i < best && r.Matched() {
			continue
		}
		if t.ends(name) {
			r.matched()
			best = max(best, i)
		}
	}
	return best
}

// ends reports whether name is the end of a match.
func (t thread) ends(name string) bool {
	c := t.program.comps[t.at:]
	switch {
	case c[0].kind == compTail:
		return true
	case c[0].kind == compDeep:
		c = c[1:]
	}
	return len(c) == 1 && c[0].glob.match(name)
}

// Enter returns the directory of a name in d. Ignore are the lists of its own
// ignore files, weakest first: stronger than those of the directories above it. If
// nothing changes it returns d.
func (d *Dir) Enter(name string, ignore ...*List) *Dir {
	var buffer [32]thread
	var views []view // nil as long as nothing has changed
	for i := range d.views {
		v := &d.views[i]
		inherited := v.inherited
		if v.list.inherit {
			inherited = v.names(name, Directory)
		}
		threads := v.step(buffer[:0], name, &inherited)
		same := slices.Equal(threads, v.threads)
		if same && inherited == v.inherited {
			continue
		}
		if views == nil {
			views = slices.Clone(d.views)
		}
		if !same {
			views[i].threads = slices.Clone(threads)
		}
		views[i].inherited = inherited
	}
	if len(ignore) == 0 {
		if views == nil {
			return d
		}
		return &Dir{views: views, command: d.command}
	}
	if views == nil {
		views = slices.Clone(d.views)
	}
	own := make([]view, len(ignore))
	for i, l := range ignore {
		own[i] = l.view("")
	}
	return &Dir{views: slices.Insert(views, d.command, own...), command: d.command + len(own)}
}

// step appends to out the threads of v after name, and raises best to the
// strongest rule that name ends, if the list hands matches down.
func (v *view) step(out []thread, name string, best *int32) []thread {
	start := 0 // of the threads of the current program
	for k, t := range v.threads {
		if k == 0 || t.program != v.threads[k-1].program {
			start = len(out)
		}
		comps := t.program.comps
		next := t.at + 1
		switch comps[t.at].kind {
		case compTail:
			next = t.at
		case compDeep:
			out = append(out, t)
			next++
		}
		if comps[t.at].kind != compTail && !comps[next-1].glob.match(name) {
			continue
		}
		if next == len(comps) || comps[t.at].kind == compTail {
			if v.list.inherit {
				v.list.rules[t.program.rule].matched()
				*best = max(*best, t.program.rule)
			}
			if next == len(comps) {
				continue
			}
		}
		if comps[next].kind == compDeep {
			out = out[:start]
		}
		out = append(out, thread{t.program, next})
	}
	return out
}

// MayInclude reports whether anything in d can be included by a list of
// Options.Includes. It errs towards true.
func (d *Dir) MayInclude() bool {
	for i := range d.views {
		if v := &d.views[i]; v.list.includes && v.mayInclude() {
			return true
		}
	}
	return false
}

// mayInclude looks for a plain rule that is not overruled by what is inherited.
func (v *view) mayInclude() bool {
	rules := v.list.rules
	if v.inherited >= 0 && !rules[v.inherited].negated || v.list.lastName > v.inherited {
		return true
	}
	for _, t := range v.threads {
		if i := t.program.rule; i > v.inherited && !rules[i].negated {
			return true
		}
	}
	return false
}
