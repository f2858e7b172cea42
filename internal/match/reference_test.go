package match

import (
	"path"
	"strings"
	"testing"
)

// The reference: what a pattern means, by plain backtracking over bytes, with no
// notion of components. It is exponential, for small inputs only.

// refWild follows the text of git's documentation and, for "**", its behaviour: p
// is what is left of a pattern, whole tells where it began.
func refWild(whole, p, s string, paths, fold bool) bool {
	if p == "" {
		return s == ""
	}
	same := func(a, b byte) bool { return a == b || fold && lower(a) == lower(b) }
	switch p[0] {
	case '*':
		rest := strings.TrimLeft(p, "*")
		before := whole[:len(whole)-len(p)]
		deep := !paths || len(p)-len(rest) > 1 && (before == "" || strings.HasSuffix(before, "/")) &&
			(rest == "" || rest[0] == '/' || strings.HasPrefix(rest, `\/`))
		if deep && paths && rest != "" && rest[0] == '/' && refWild(whole, rest[1:], s, paths, fold) {
			return true
		}
		for i := 0; i <= len(s); i++ {
			if refWild(whole, rest, s[i:], paths, fold) {
				return true
			}
			if i < len(s) && s[i] == '/' && !deep {
				return false
			}
		}
		return false
	case '?':
		return s != "" && s[0] != '/' && refWild(whole, p[1:], s[1:], paths, fold)
	case '[':
		set, n, ok := gitClass(p, fold)
		return ok && s != "" && s[0] != '/' && set.has(s[0]) && refWild(whole, p[n:], s[1:], paths, fold)
	case '\\':
		return len(p) > 1 && s != "" && same(p[1], s[0]) && refWild(whole, p[2:], s[1:], paths, fold)
	}
	return s != "" && same(p[0], s[0]) && refWild(whole, p[1:], s[1:], paths, fold)
}

// refGit reports whether one gitignore pattern, without "!", matches an entry.
func refGit(p, s string, kind Kind, fold bool) bool {
	p, dirOnly := strings.CutSuffix(p, "/")
	if dirOnly && kind != Directory {
		return false
	}
	if !strings.Contains(p, "/") {
		return p != "" && refWild(p, p, path.Base(s), false, fold)
	}
	p = strings.TrimPrefix(p, "/")
	plain := strings.IndexAny(p, `*?[\`)
	if plain < 0 {
		plain = len(p)
	}
	if len(s) < plain || !(s[:plain] == p[:plain] || fold && lowerAll(s[:plain]) == lowerAll(p[:plain])) {
		return false
	}
	p = p[plain:]
	return refWild(p, p, s[plain:], true, fold)
}

func lowerAll(s string) string {
	b := []byte(s)
	for i := range b {
		b[i] = lower(b[i])
	}
	return string(b)
}

// refRestic reports whether one pattern of the restic dialect matches an entry or
// what it lies in.
func refRestic(p, s string) bool {
	p = path.Clean(p)
	p, rooted := strings.CutPrefix(p, "/")
	parts, names := strings.Split(p, "/"), strings.Split(s, "/")
	for i := range names {
		if refParts(parts, names[i:]) {
			return true
		}
		if rooted {
			break
		}
	}
	return false
}

// refParts reports whether parts match a beginning of names.
func refParts(parts, names []string) bool {
	if len(parts) == 0 {
		return true
	}
	if parts[0] == "**" || parts[0] == "" {
		for i := 0; i <= len(names); i++ {
			if refParts(parts[1:], names[i:]) {
				return true
			}
		}
		return false
	}
	if len(names) == 0 {
		return false
	}
	ok, _ := path.Match(parts[0], names[0])
	return ok && refParts(parts[1:], names[1:])
}

// validPath reports whether s could be the path of an entry.
func validPath(s string) bool {
	for name := range strings.SplitSeq(s, "/") {
		if name == "" {
			return false
		}
	}
	return !strings.Contains(s, "\x00")
}

// matches walks down to an entry and returns whether a rule is found there. What
// is ignored above does not end the walk.
func matches(root *Dir, s string, kind Kind) (Decision, *Rule) {
	d := root
	for {
		name, rest, more := strings.Cut(s, "/")
		if !more {
			return d.Match(name, kind)
		}
		d, s = d.Enter(name), rest
	}
}

var fuzzSeeds = []struct{ pattern, path string }{
	{"a**/b", "ab"}, {"a**/b", "ax/y/b"}, {"/a**/**/b", "ab"}, {"a**//b", "a/b"}, {`a**\/b`, "a/x/b"}, {`**\/b`, "a/b"},
	{"a/**", "a/b/c"}, {"a**/**", "axx"}, {"x/a**", "x/a/b"}, {"**/a/**/b", "a/a/x/b/b"}, {"a/**/**/**/b/*", "a/b/b/c"},
	{"a*a*a*b", "aaaaaaaaab"}, {"[[:alpha:]-z]", "-"}, {"[!a-c]/", "d"}, {`\*`, "*"}, {`a\`, "a"}, {"?/[^/]", "\xff/\xfe"},
	{"!/é?", "é\xff"}, {"*é*", "aéa"}, {"a//b", "a/b"}, {"**", "a"}, {"/**", "a/b"}, {"/", "a"}, {"../a", "a"}, {"ab*ba*c", "abaxc"}, {"a?*?*a", "aXa"}, {"a[é-z]b", "aéb"},
}

func FuzzGitignore(f *testing.F) {
	for _, s := range fuzzSeeds {
		f.Add(s.pattern, s.path, false, true)
		f.Add(s.pattern+"/", s.path, true, true)
		f.Add(strings.ToUpper(s.pattern), s.path, true, false)
	}
	f.Fuzz(func(t *testing.T, pattern, s string, directory, fold bool) {
		l, err := ParseArgs(Gitignore, []string{pattern}, Options{Fold: fold})
		if err != nil || len(l.Rules()) == 0 {
			return
		}
		var kind Kind
		if directory {
			kind = Directory
		}
		_, rule := matches(Set{Files: []*List{l}}.Root(), s, kind) // must not panic, whatever s is
		if !validPath(s) || len(s) > 24 || len(pattern) > 24 || strings.Count(pattern, "*") > 6 {
			return
		}
		if want := refGit(strings.TrimPrefix(pattern, "!"), s, kind, fold); want != (rule != nil) {
			t.Errorf("%q, path %q, kind %d, fold %v: match is %v, want %v", pattern, s, kind, fold, rule != nil, want)
		}
		if rule != nil && !rule.CanMatch() {
			t.Errorf("%q matches %q and cannot match", pattern, s)
		}
	})
}

func FuzzRestic(f *testing.F) {
	for _, s := range fuzzSeeds {
		f.Add(s.pattern, s.path)
		f.Add("/"+s.pattern, s.path)
	}
	f.Fuzz(func(t *testing.T, pattern, s string) {
		l, err := ParseArgs(Restic, []string{pattern}, Options{})
		if strings.IndexByte(pattern, 0) < 0 && strings.TrimPrefix(pattern, "!") != "" {
			valid := true
			for part := range strings.SplitSeq(path.Clean(strings.TrimPrefix(pattern, "!")), "/") {
				if _, bad := path.Match(part, ""); bad != nil {
					valid = false
				}
			}
			if valid != (err == nil) {
				t.Fatalf("pattern %q: error %v, path.Match finds it valid: %v", pattern, err, valid)
			}
		}
		if err != nil || len(l.Rules()) == 0 || !l.Rules()[0].CanMatch() {
			return
		}
		_, rule := matches(Set{Files: []*List{l}}.Root(), s, File)
		if !validPath(s) || len(s) > 40 || len(pattern) > 40 {
			return
		}
		if want := refRestic(strings.TrimPrefix(pattern, "!"), s); want != (rule != nil) {
			t.Errorf("%q, path %q: match is %v, want %v", pattern, s, rule != nil, want)
		}
	})
}

// FuzzParse reads whole files in every dialect.
func FuzzParse(f *testing.F) {
	f.Add([]byte("# c\n!a/**/b/\n\\#x \\ \n[[:alpha:]]\n"), "a/x/b")
	f.Add([]byte("\xef\xbb\xbf*.go\r\n$HOME/x\n${"), "x/y.go")
	f.Fuzz(func(t *testing.T, data []byte, s string) {
		for _, d := range []Dialect{Gitignore, Restic} {
			for _, includes := range []bool{false, true} {
				o := Options{Source: "f", Includes: includes, Anchored: includes, Expand: func(s string) string { return s }}
				l, err := ParseFile(d, data, o)
				if err != nil {
					if d == Gitignore {
						t.Fatal(err)
					}
					continue
				}
				set := Set{Files: []*List{l}, Path: "/a/b"}
				matches(set.Root(l), s, Directory)
				NewSelector(Selection{Excludes: set, Includes: &set}).Select(s, Directory)
			}
		}
		ParsePaths(data, Newline)
		ParsePaths(data, NUL)
	})
}
