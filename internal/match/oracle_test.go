package match

import (
	"bytes"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

var (
	oracleTrees = flag.Int("oracle.trees", 24, "random trees to compare with git")
	oracleSeed  = flag.Uint64("oracle.seed", 1, "first seed of the random trees")
)

// gitOracle asks git about one tree with changing patterns.
type gitOracle struct {
	t    *testing.T
	tree string // the work tree
	meta string // the git directory
	fold bool
}

func newGitOracle(t *testing.T) *gitOracle {
	t.Helper()
	if _, err := exec.LookPath("git"); err != nil {
		t.Skip("no git to compare with")
	}
	dir, err := os.MkdirTemp("/dev/shm", "match") // much faster, where there is one
	if err != nil {
		dir = t.TempDir()
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	o := &gitOracle{t: t, tree: filepath.Join(dir, "tree"), meta: filepath.Join(dir, "meta")}
	if err := os.Mkdir(o.tree, 0o755); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("git", "init", "-q", "--bare", o.meta).CombinedOutput(); err != nil {
		t.Fatalf("git init: %v: %s", err, out)
	}
	return o
}

// answer is one line of git check-ignore -v: which pattern decided.
type answer struct{ source, line, text string }

func (o *gitOracle) ask(paths []string) []answer {
	o.t.Helper()
	cmd := exec.Command("git", "-c", "core.bare=false", "-c", "core.ignoreCase="+strconv.FormatBool(o.fold),
		"-c", "core.excludesFile="+filepath.Join(o.meta, "global"), "check-ignore", "--no-index", "--stdin", "-z", "-v", "-n")
	cmd.Dir = o.tree
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "GIT_DIR=" + o.meta, "GIT_WORK_TREE=" + o.tree,
		"GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL=/dev/null", "LC_ALL=C"}
	cmd.Stdin = strings.NewReader("./" + strings.Join(paths, "\x00./") + "\x00") // a colon at the beginning would be magic
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if x, ok := err.(*exec.ExitError); err != nil && (!ok || x.ExitCode() != 1) { // 1: nothing matches
		o.t.Fatalf("git check-ignore: %v: %s", err, stderr.Bytes())
	}
	fields := strings.Split(string(out), "\x00")
	if len(fields) != 4*len(paths)+1 {
		o.t.Fatalf("git answered %d fields for %d paths", len(fields), len(paths))
	}
	answers := make([]answer, len(paths))
	for i, p := range paths {
		f := fields[4*i:]
		if f[3] != "./"+p {
			o.t.Fatalf("git answered %q for %q", f[3], p)
		}
		answers[i] = answer{f[0], f[1], f[2]}
	}
	return answers
}

func (o *gitOracle) write(name, data string) {
	o.t.Helper()
	if err := os.WriteFile(name, []byte(data), 0o644); err != nil {
		o.t.Fatal(err)
	}
}

// entry is one path of a tree.
type entry struct {
	path string
	kind Kind
}

// make puts entries into the work tree. Every third file is a symbolic link to the
// root, which is no directory for patterns.
func (o *gitOracle) make(entries []entry) {
	o.t.Helper()
	for i, e := range entries {
		name := filepath.Join(o.tree, e.path)
		var err error
		switch {
		case e.kind == Directory:
			err = os.Mkdir(name, 0o755)
		case i%3 == 0:
			err = os.Symlink(o.tree, name)
		default:
			err = os.WriteFile(name, nil, 0o644)
		}
		if err != nil {
			o.t.Fatal(err)
		}
	}
}

// patterns are the contents of ignore files, by source.
type patterns map[string]string

// install writes the files and removes those of the time before.
func (o *gitOracle) install(p patterns, entries []entry) {
	o.t.Helper()
	o.write(filepath.Join(o.meta, "global"), p["global"])
	o.write(filepath.Join(o.meta, "info", "exclude"), p["info"])
	for _, e := range append([]entry{{"", Directory}}, entries...) {
		if e.kind != Directory {
			continue
		}
		name := path.Join(e.path, ".gitignore")
		if data, ok := p[name]; ok {
			o.write(filepath.Join(o.tree, name), data)
		} else if err := os.Remove(filepath.Join(o.tree, name)); err != nil && !os.IsNotExist(err) {
			o.t.Fatal(err)
		}
	}
}

// cursor returns our side, with sources named as git names them.
func (o *gitOracle) cursor(p patterns) *Cursor {
	parse := func(source, data string) *List {
		l, err := ParseFile(Gitignore, []byte(data), Options{Source: source, Fold: o.fold})
		if err != nil {
			o.t.Fatal(err)
		}
		return l
	}
	set := Set{Files: []*List{
		parse(filepath.Join(o.meta, "global"), p["global"]),
		parse(filepath.Join(o.meta, "info", "exclude"), p["info"]),
	}}
	return NewCursor(set, func(dir string) []*List {
		name := path.Join(dir, ".gitignore")
		if data, ok := p[name]; ok {
			return []*List{parse(name, data)}
		}
		return nil
	})
}

// compare returns how many of the answers are git's, and reports the others.
func (o *gitOracle) compare(p patterns, entries []entry) int {
	o.t.Helper()
	paths := make([]string, len(entries))
	for i, e := range entries {
		paths[i] = e.path
	}
	c, agreed := o.cursor(p), 0
	for i, want := range o.ask(paths) {
		var got answer
		decision, rule := c.Match(entries[i].path, entries[i].kind)
		if rule != nil {
			got = answer{rule.Source, strconv.Itoa(rule.Line), rule.Text}
		}
		wantDecision := Undecided
		if want.source != "" {
			wantDecision = Ignore
			if strings.HasPrefix(want.text, "!") {
				wantDecision = Include
			}
		}
		if got == want && decision == wantDecision {
			agreed++
			continue
		}
		o.t.Errorf("%q (kind %d): %v by %q, git says %q\npatterns %q", entries[i].path, entries[i].kind, decision, got, want, p)
	}
	return agreed
}

// generator makes trees and patterns for them.
type generator struct {
	*rand.Rand
	fold bool
}

func (g *generator) pick(s ...string) string { return s[g.IntN(len(s))] }

func (g *generator) name() string {
	for {
		n := g.pick("a", "b", "c", "ab", "abc", "foo", "bar", "foo.txt", "a.b", "A", "Ab", "FOO", "1", "x9", "-", "!a", "#a",
			"a b", " a", "a ", "a  ", "]", "[a]", "a]", "*", "a*b", "**", "?", `\`, `a\`, `\a`, "é", "\xff", "a\xffb", "\n", "a\nb", "\t",
			".a", "..a", "~", "^", "{a}", ":a", "a\r", "\v", "\x7f")
		if g.IntN(3) == 0 {
			n += g.pick("a", "b", ".o", "1", " ", "\xfe", "-")
		}
		if n != "." && n != ".." {
			return n
		}
	}
}

func (g *generator) tree() []entry {
	dirs, seen := []string{""}, map[string]bool{}
	var out []entry
	for range 110 {
		p := path.Join(dirs[g.IntN(len(dirs))], g.name())
		if seen[p] {
			continue
		}
		seen[p] = true
		e := entry{path: p}
		if strings.Count(p, "/") < 4 && g.IntN(5) < 3 {
			e.kind = Directory
			dirs = append(dirs, p)
		}
		out = append(out, e)
	}
	return out
}

// piece is one random part of a pattern. Where case folds, git does not fold
// quoted letters and single ones in brackets; so those are lower case then.
func (g *generator) piece() string {
	if g.fold {
		return g.pick("a", "B", "C", "ab", "FOO", ".", "*", "?", "/", "**", "[ab]", "[A-C]", "[a-c]", "[!a]", "[^A-b]",
			"[[:upper:]]", "[[:lower:]]", "[![:upper:]]", `\a`, "*.", "\xff", "[Z-b]")
	}
	return g.pick("a", "b", "c", "A", "ab", "foo", ".", " ", "*", "?", "/", "/", "**", "***", "**/", "/**", "/**/", `**\/`, `\/`, `\`, `\\`, `\ `, `\*`,
		"[ab]", "[!a]", "[^b]", "[a-c]", "[c-a]", "[]a]", "[!]]", "[a", "[", "]", `[\]a]`, `[a-\c]`, "[a-]", "[-a]", "[--0]", "[/]", "[a/b]",
		"[[:alpha:]]", "[[:digit:][:space:]]", "[![:alnum:]]", "[[:foo:]]", "[[:]", "[[:a]", "[[:alpha:]-z]", "[[:punct:]]", "[[a]", "[[::]]",
		"\xff", "é", "#", "!", "-", "1", "\t", "\r")
}

func (g *generator) random() string {
	var b strings.Builder
	for range 1 + g.IntN(6) {
		b.WriteString(g.piece())
	}
	return b.String()
}

// derived makes a pattern out of a path, so that it has a chance to match.
func (g *generator) derived(p string) string {
	parts := strings.Split(p, "/")
	parts = parts[g.IntN(len(parts)):]
	for i := range parts {
		switch g.IntN(9) {
		case 0:
			parts[i] = g.pick("*", "**", "***", "?*")
		case 1:
			parts[i] += g.pick("*", "**", "/**", "/**/**", `/**\`)
		case 2:
			parts[i] = g.pick("*", "**", "**/", "*?") + parts[i][g.IntN(len(parts[i])):]
		case 3:
			k := g.IntN(len(parts[i]))
			c := parts[i][k : k+1]
			parts[i] = parts[i][:k] + g.pick("?", "*", "**", "["+strings.ToLower(c)+"]", `\`+strings.ToLower(c), "[!"+strings.ToLower(c)+"]") + parts[i][k+1:]
		case 4:
			k := g.IntN(len(parts[i]))
			parts[i] = parts[i][:k] + g.pick("*", "**", "**/") // cut off
		}
	}
	if len(parts) > 2 && g.IntN(3) == 0 {
		parts = append(parts[:1], parts[2:]...)
		parts[0] += g.pick("/**", "/*", "**", "")
	}
	s := strings.Join(parts, "/")
	if g.IntN(4) == 0 {
		s = g.pick("/", "**/", "*/") + s
	}
	if g.IntN(4) == 0 {
		s += g.pick("/", "/", "/*", "/**", " ", `\ `, "  ", "\r", "\x00x")
	}
	return s
}

func (g *generator) line(paths []string) string {
	var s string
	if len(paths) == 0 || g.IntN(3) == 0 {
		s = g.random()
	} else {
		s = g.derived(paths[g.IntN(len(paths))])
	}
	if g.IntN(4) == 0 {
		s = "!" + s
	}
	return strings.ReplaceAll(s, "\n", "?")
}

func (g *generator) file(base string, entries []entry) string {
	var inside []string
	for _, e := range entries {
		if isBelow(e.path, base) {
			inside = append(inside, strings.TrimPrefix(e.path[len(base):], "/"))
		}
	}
	var b strings.Builder
	if g.IntN(20) == 0 {
		b.WriteString("\xef\xbb\xbf")
	}
	for range 1 + g.IntN(5) {
		if g.IntN(12) == 0 {
			b.WriteString(g.pick("\n", "# a\n", "   \n", "\r\n", "/\n", "//\n", "!\n", "\x00\n"))
		}
		b.WriteString(g.line(inside) + "\n")
	}
	s := b.String()
	if g.IntN(4) == 0 {
		s = strings.TrimSuffix(s, "\n")
	}
	return s
}

func (g *generator) patterns(entries []entry) patterns {
	p := patterns{}
	if g.IntN(3) > 0 {
		p["global"] = g.file("", entries)
	}
	if g.IntN(3) == 0 {
		p["info"] = g.file("", entries)
	}
	if g.IntN(3) > 0 {
		p[".gitignore"] = g.file("", entries)
	}
	for _, e := range entries {
		if e.kind == Directory && g.IntN(6) == 0 {
			p[path.Join(e.path, ".gitignore")] = g.file(e.path, entries)
		}
	}
	return p
}

// TestAgainstGit compares every decision, and which pattern made it, with git.
func TestAgainstGit(t *testing.T) {
	const rounds = 10
	for _, fold := range []bool{false, true} {
		t.Run(fmt.Sprintf("fold=%v", fold), func(t *testing.T) {
			t.Parallel()
			trees := *oracleTrees
			if fold {
				trees /= 3
			}
			cases, agreements, decided := 0, 0, 0
			for i := range trees {
				g := &generator{rand.New(rand.NewPCG(*oracleSeed+uint64(i), 7)), fold}
				o := newGitOracle(t)
				o.fold = fold
				entries := g.tree()
				o.make(entries)
				for range rounds {
					p := g.patterns(entries)
					o.install(p, entries)
					cases += len(entries)
					agreements += o.compare(p, entries)
					c := o.cursor(p)
					for _, e := range entries {
						if d, _ := c.Match(e.path, e.kind); d != Undecided {
							decided++
						}
					}
				}
				if t.Failed() {
					break
				}
			}
			t.Logf("cases/agreements: %d/%d (%d decided by a pattern)", cases, agreements, decided)
			if cases != agreements || decided < cases/5 {
				t.Errorf("want agreement in all cases, and a fifth of them decided")
			}
		})
	}
}

// TestClassesAgainstGit compares every character class over every byte.
func TestClassesAgainstGit(t *testing.T) {
	var entries []entry
	for c := 1; c < 256; c++ {
		if c != '/' {
			entries = append(entries, entry{path: "n" + string([]byte{byte(c)})})
		}
	}
	classes := []string{"[z-a]", "[a-z]", "[!-~]", "[\x80-\xff]", "[^\xff]", `[\a-\c]`, "[]-a]", "[a-]", "[[:alpha:][:digit:]]", "[[:]", "[[:a]", "[[:x:]]"}
	for name := range posixClass {
		classes = append(classes, "[[:"+name+":]]", "[^[:"+name+":]]")
	}
	o := newGitOracle(t)
	o.make(entries)
	agreements := 0
	for _, o.fold = range []bool{false, true} {
		for _, class := range classes {
			p := patterns{".gitignore": "n" + class + "\n"}
			o.install(p, nil)
			agreements += o.compare(p, entries)
		}
	}
	t.Logf("cases/agreements: %d/%d", 2*len(classes)*len(entries), agreements)
}

// TestFoldUnlikeGit holds the two places where git does not fold, and we do.
func TestFoldUnlikeGit(t *testing.T) {
	o := newGitOracle(t)
	o.fold = true
	entries := []entry{{path: "a"}, {path: "A"}}
	o.make(entries)
	for _, line := range []string{`\A`, `[A]`} {
		p := patterns{".gitignore": line}
		o.install(p, nil)
		for _, a := range o.ask([]string{"a", "A"}) {
			if a.source != "" {
				t.Errorf("git has come to fold %q: follow it", line)
			}
		}
		for _, e := range entries {
			if d, _ := o.cursor(p).Match(e.path, File); d != Ignore {
				t.Errorf("%q does not match %q", line, e.path)
			}
		}
	}
}
