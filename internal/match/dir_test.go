package match

import (
	"fmt"
	"strings"
	"sync"
	"testing"
)

func mustArgs(t testing.TB, d Dialect, o Options, patterns ...string) *List {
	t.Helper()
	l, err := ParseArgs(d, patterns, o)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func mustFile(t testing.TB, d Dialect, o Options, data string) *List {
	t.Helper()
	l, err := ParseFile(d, []byte(data), o)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// TestGitignoreArgs are patterns from a command line, which git check-ignore
// cannot be asked about.
func TestGitignoreArgs(t *testing.T) {
	tests := []struct {
		patterns []string
		path     string // directories end in a slash
		want     Decision
	}{
		{[]string{"#a"}, "x/#a", Ignore}, // no comments
		{[]string{"a "}, "a ", Ignore},   // spaces count
		{[]string{"a "}, "a", Undecided},
		{[]string{"a", "!a"}, "a", Include},
		{[]string{"!a", "a"}, "a", Ignore},
		{[]string{"d/"}, "x/d/", Ignore},
		{[]string{"d/"}, "x/d", Undecided},
		{[]string{"/d"}, "x/d", Undecided},
		{[]string{"x/d"}, "y/x/d", Undecided}, // a slash in the middle anchors
		{[]string{"*.\xff"}, "x/\xfe.\xff", Ignore},
		{[]string{"?"}, "é", Undecided}, // bytes, not characters
		{[]string{"??"}, "é", Ignore},
		{[]string{"", "a"}, "a", Ignore},
		{[]string{"ab*ba*c"}, "abaxc", Undecided}, // no byte counts twice
		{[]string{"ab*ba*c"}, "abbac", Ignore},
		{[]string{"a", "!a/b"}, "a/b", Ignore}, // below an ignored directory
	}
	for _, tt := range tests {
		p, isDir := strings.CutSuffix(tt.path, "/")
		var kind Kind
		if isDir {
			kind = Directory
		}
		c := NewCursor(Set{Command: []*List{mustArgs(t, Gitignore, Options{}, tt.patterns...)}}, nil)
		if got, _ := c.Match(p, kind); got != tt.want {
			t.Errorf("%q, %q: %v, want %v", tt.patterns, tt.path, got, tt.want)
		}
	}
	if _, err := ParseArgs(Gitignore, []string{"a\x00b"}, Options{}); err == nil {
		t.Error("a NUL byte in a pattern is taken")
	}
}

func TestFold(t *testing.T) {
	for _, d := range []Dialect{Gitignore, Restic} {
		for _, pattern := range []string{"readme.TXT", "README*", "*.txt", "*dme*", "[R]eadme.txt", "r[A-Z]adme.txt", `\READM?.txt`, "/README.txt"} {
			for _, name := range []string{"README.TXT", "readme.txt", "ReadMe.Txt"} {
				l := mustArgs(t, d, Options{Fold: true}, pattern)
				if got, _ := (Set{Files: []*List{l}}).Root().Match(name, File); got != Ignore {
					t.Errorf("%v: %q does not match %q", d, pattern, name)
				}
			}
		}
		l := mustArgs(t, d, Options{Fold: true}, "É", "[!A]", "[^B]")
		if got, _ := (Set{Files: []*List{l}}).Root().Match("é", File); d == Gitignore && got != Undecided {
			t.Errorf("%v: letters beyond ASCII fold", d)
		}
	}
	l := mustArgs(t, Gitignore, Options{Fold: true}, "[!A]")
	for _, name := range []string{"a", "A"} {
		if got, _ := (Set{Files: []*List{l}}).Root().Match(name, File); got != Undecided {
			t.Errorf("[!A] matches %q", name)
		}
	}
}

// TestStrength puts one pattern of each origin against the next weaker one.
func TestStrength(t *testing.T) {
	one := func(p string) *List { return mustArgs(t, Gitignore, Options{Source: p}, p) }
	s := Set{Files: []*List{one("f"), one("!f")}, Command: []*List{one("!c"), one("c")}}
	root := s.Root(one("!c"), one("f"))
	sub := root.Enter("sub", one("!f"), one("c"))
	for _, tt := range []struct {
		dir  *Dir
		name string
		want string
	}{
		{s.Root(), "f", "!f"}, {root, "f", "f"}, {sub, "f", "!f"}, {sub.Enter("x", one("f")), "f", "f"},
		{root, "c", "c"}, {sub, "c", "c"}, {sub.Enter("x", one("!c")), "c", "c"},
	} {
		if _, rule := tt.dir.Match(tt.name, File); rule == nil || rule.Source != tt.want {
			t.Errorf("%q: decided by %v, want %v", tt.name, rule, tt.want)
		}
	}
	if sub.Enter("a") != sub {
		t.Error("a directory in which nothing changes is not its own child")
	}
}

// TestIgnoreFiles follows a walk through a Cursor, back and forth.
func TestIgnoreFiles(t *testing.T) {
	files := map[string]string{"": "*.o\n/build/\n", "src": "!keep.o\n/gen\n", "src/deep": "keep.o\n", "build": "!*\n"}
	var asked []string
	c := NewCursor(Set{}, func(dir string) []*List {
		asked = append(asked, dir)
		if data, ok := files[dir]; ok {
			return []*List{mustFile(t, Gitignore, Options{Source: dir}, data)}
		}
		return nil
	})
	for _, tt := range []struct {
		path string
		kind Kind
		want Decision
	}{
		{"x.o", File, Ignore}, {"src", Directory, Undecided}, {"src/keep.o", File, Include}, {"src/gen", File, Ignore},
		{"src/deep/keep.o", File, Ignore}, {"src/deep/gen", File, Undecided}, {"src/deeper/keep.o", File, Include},
		{"build", Directory, Ignore}, {"build/a/b", File, Ignore}, {"build2/keep.o", File, Ignore}, {"build", File, Undecided},
		{"src/deep/more/keep.o", File, Ignore},
	} {
		if got, rule := c.Match(tt.path, tt.kind); got != tt.want {
			t.Errorf("%q: %v by %v, want %v", tt.path, got, rule, tt.want)
		}
	}
	if got, want := fmt.Sprint(asked), "[ src src/deep src/deeper build2 src src/deep src/deep/more]"; got != want {
		t.Errorf("ignore files asked for in %v, want %v", got, want)
	}
}

// TestBound: no pattern makes the work explode. The steps for a name are bounded by
// its length times the pattern's; the threads by the pattern's components.
func TestBound(t *testing.T) {
	name := strings.Repeat("a", 255)
	worst := 0
	for _, p := range []string{ // none of them matches
		strings.Repeat("a*", 100) + "b", strings.Repeat("*a", 100) + "b", "?" + strings.Repeat("*", 200) + "b", strings.Repeat("?*", 90) + "b",
		strings.Repeat("[a-y]*", 60) + "!", strings.Repeat("*aaaaaaaa", 20) + "b", "*?" + strings.Repeat("a", 127) + "b", "*?" + strings.Repeat("a", 127) + "b*",
		strings.Repeat("*[a-y]?", 70) + "b*", "*" + strings.Repeat("aaaaaaa?", 15) + "b*" + strings.Repeat("a?", 60) + "*",
	} {
		for _, d := range []Dialect{Gitignore, Restic} {
			l := mustArgs(t, d, Options{}, p)
			g := l.names[0].glob
			if g.shape != shapeTokens {
				t.Fatalf("%.30q has a simple shape", p)
			}
			ok, steps := g.scan(name)
			if limit := (len(name) + 1) * (len(g.tokens) + 1); ok || steps > limit {
				t.Errorf("%.30q: match %v in %d steps, limit %d", p, ok, steps, limit)
			}
			worst = max(worst, steps)
		}
	}
	if worst < 10_000 {
		t.Errorf("at most %d steps: these patterns are not adversarial", worst)
	}
	t.Logf("at most %d steps for a name of %d bytes", worst, len(name))

	most := 0
	for _, p := range []string{
		strings.Repeat("**/", 50) + "b", strings.Repeat("**/a/", 50) + "b", strings.Repeat("**/*/", 50) + "b", strings.Repeat("a/", 50) + "b",
		"**/" + strings.Repeat("*/", 50) + "b", strings.Repeat("*/**/a/a/", 20) + "b", "a" + strings.Repeat("**/", 50) + "a**/b", "a**/**/**",
	} {
		for _, d := range []Dialect{Gitignore, Restic} {
			l := mustArgs(t, d, Options{}, p)
			dir := Set{Files: []*List{l}}.Root()
			for range 300 {
				dir = dir.Enter("a")
				for _, v := range dir.views {
					most = max(most, len(v.threads))
					if limit := strings.Count(p, "/") + 3; len(v.threads) > limit {
						t.Fatalf("%.30q: %d threads, limit %d", p, len(v.threads), limit)
					}
				}
			}
		}
	}
	t.Logf("at most %d threads", most)
}

func TestNoAllocations(t *testing.T) {
	root := Set{Files: []*List{mustArgs(t, Gitignore, Options{}, benchPatterns()...)},
		Command: []*List{mustArgs(t, Restic, Options{Fold: true}, "*.ISO", "/a/**/b", "x[a-c]?")}}.Root()
	dir := root.Enter("home").Enter("user")
	if n := testing.AllocsPerRun(100, func() {
		dir.Match("some-file.go", File)
		dir.Match("node_modules", Directory)
		if dir.Enter("project") != dir.Enter("other") {
			t.Error("directories differ")
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestConcurrent(t *testing.T) {
	l := mustArgs(t, Gitignore, Options{}, "*.go", "a/**/b", "/c")
	root := Set{Files: []*List{l}}.Root()
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 200 {
				d := root.Enter("a").Enter("x")
				if got, _ := d.Match("b", File); got != Ignore {
					t.Error("not matched")
				}
				d.Match("x.go", File)
			}
		})
	}
	wg.Wait()
	if u := l.Unmatched(); len(u) != 1 || u[0].Text != "/c" {
		t.Errorf("unmatched %v, want /c", u)
	}
}

// TestMatched: a rule remembers a match also where a stronger one decides.
func TestMatched(t *testing.T) {
	l := mustFile(t, Gitignore, Options{Source: "f"}, "a\n?\n/a\n*\n# c\nb*\n[\nlast")
	root := Set{Files: []*List{l}, Command: []*List{mustArgs(t, Gitignore, Options{}, "!a")}}.Root()
	root.Match("a", File)
	var got []string
	for _, r := range l.Unmatched() {
		got = append(got, fmt.Sprintf("%v %v", r, r.CanMatch()))
	}
	if want := "[f:6: b* true f:7: [ false f:8: last true]"; fmt.Sprint(got) != want {
		t.Errorf("unmatched %v, want %v", got, want)
	}
}

func benchPatterns() []string {
	var p []string
	for i := range 12 {
		p = append(p, fmt.Sprintf("*.ext%d", i), fmt.Sprintf("name-%d", i), fmt.Sprintf("/var/cache/%d/**", i), fmt.Sprintf("tmp%d*", i))
	}
	return append(p, "**/target/*/deps", "*~")
}

func BenchmarkMatch(b *testing.B) {
	for _, fold := range []bool{false, true} {
		b.Run(fmt.Sprintf("fold=%v", fold), func(b *testing.B) {
			d := Set{Files: []*List{mustArgs(b, Gitignore, Options{Fold: fold}, benchPatterns()...)}}.Root().Enter("home").Enter("user")
			b.ReportAllocs()
			for b.Loop() {
				d.Match("an-ordinary-file-name.go", File)
			}
		})
	}
}

func BenchmarkCursor(b *testing.B) {
	c := NewCursor(Set{Files: []*List{mustArgs(b, Gitignore, Options{}, benchPatterns()...)}}, nil)
	paths := make([]string, 1000)
	for i := range paths {
		paths[i] = fmt.Sprintf("home/user/project/dir%d/file-%d.go", i/20, i)
	}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		c.Match(paths[i%len(paths)], File)
	}
}

func BenchmarkAdversarial(b *testing.B) {
	d := Set{Files: []*List{mustArgs(b, Gitignore, Options{}, strings.Repeat("a*", 50)+"b")}}.Root()
	name := strings.Repeat("a", 255)
	for b.Loop() {
		d.Match(name, File)
	}
}
