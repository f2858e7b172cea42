package match

import (
	"errors"
	"path"
	"strings"
	"testing"
)

// restic returns what a list says about a path, going down to it without stopping
// at what is ignored, and whether something below may be included.
func restic(t *testing.T, o Options, patterns []string, p string) (matched, below bool) {
	t.Helper()
	o.Includes = true // so that MayInclude speaks
	d := Set{Files: []*List{mustArgs(t, Restic, o, patterns...)}}.Root()
	p = strings.TrimPrefix(path.Clean(p), "/")
	decision, _ := matches(d, p, File)
	for name := range strings.SplitSeq(p, "/") {
		d = d.Enter(name)
	}
	return decision == Include, d.MayInclude()
}

// TestResticPublished are the cases that restic publishes for one pattern, as
// facts about the dialect, but for those of the empty pattern.
func TestResticPublished(t *testing.T) {
	const yes, no = true, false
	tests := []struct {
		pattern, path string
		want          bool
	}{
		{"*.go", "/foo/bar/test.go", yes}, {"*.c", "/foo/bar/test.go", no}, {"*", "/foo/bar/test.go", yes}, {"**", "/foo/bar/test.go", yes},
		{"foo*", "/foo/bar/test.go", yes}, {"bar*", "/foo/bar/test.go", yes}, {"/bar*", "/foo/bar/test.go", no}, {"bar/*", "/foo/bar/test.go", yes},
		{"baz/*", "/foo/bar/test.go", no}, {"bar/test.go", "/foo/bar/test.go", yes}, {"bar/*.go", "/foo/bar/test.go", yes},
		{"ba*/*.go", "/foo/bar/test.go", yes}, {"bb*/*.go", "/foo/bar/test.go", no}, {"test.*", "/foo/bar/test.go", yes},
		{"tesT.*", "/foo/bar/test.go", no}, {"bar/*", "/foo/bar/baz", yes}, {"bar", "/foo/bar", yes}, {"/foo/bar", "/foo/bar", yes},
		{"/foo/bar/", "/foo/bar", yes}, {"/foo/bar", "/foo/baz", no}, {"/foo/bar", "/foo/baz/", no}, {"/foo///bar", "/foo/bar", yes},
		{"/foo/../bar", "/foo/bar", no}, {"/foo/../bar", "/bar", yes}, {"/foo", "/foo/baz", yes}, {"/foo/", "/foo/baz", yes},
		{"/foo/*", "/foo", no}, {"/foo/*", "/foo/baz", yes}, {"bar", "/foo/bar/baz", yes}, {"bar", "/foo/bar/test.go", yes},
		{"/foo/*test.*", "/foo/bar/test.go", no}, {"/foo/*/test.*", "/foo/bar/test.go", yes}, {"/foo/*/bar/test.*", "/foo/bar/test.go", no},
		{"/*/*/bar/test.*", "/foo/bar/test.go", no}, {"/*/*/bar/test.*", "/foo/bar/baz/test.go", no}, {"/*/*/baz/test.*", "/foo/bar/baz/test.go", yes},
		{"/*/foo/bar/test.*", "/foo/bar/baz/test.go", no}, {"/foo/bar/test.*", "bar/baz/test.go", no}, {"/x/y/bar/baz/test.*", "bar/baz/test.go", no},
		{"/x/y/bar/baz/test.c", "bar/baz/test.go", no}, {"baz/test.*", "bar/baz/test.go", yes}, {"baz/tesT.*", "bar/baz/test.go", no},
		{"test.go", "bar/baz/test.go", yes}, {"*.go", "bar/baz/test.go", yes}, {"*.c", "bar/baz/test.go", no}, {"sdk", "/foo/bar/sdk", yes},
		{"sdk", "/foo/bar/sdk/test/sdk_foo.go", yes},
		{"sdk/*/cpp/*/*vars*.html", "/usr/share/doc/libreoffice/sdk/docs/cpp/ref/a00517.html", no},
		{"foo/**/bar/*.go", "/home/user/foo/work/special/project/bar/test.go", yes}, {"foo/**/bar/*.go", "/home/user/foo/bar/test.go", yes},
		{"foo/**/bar/*.go", "x/foo/bar/test.go", yes}, {"foo/**/bar/*.go", "foo/bar/test.go", yes}, {"foo/**/bar/*.go", "foo/bar/baz/bar/test.go", yes},
		{"foo/**/bar/*.go", "/home/user/foo/test.c", no}, {"foo/**/bar/*.go", "bar/foo/main.go", no}, {"foo/**/bar/*.go", "/foo/bar/main.go", yes},
		{"foo/**/bar/*.go", "bar/main.go", no}, {"foo/**/bar", "/home/user/foo/x/y/bar", yes}, {"foo/**/bar", "/home/user/foo/x/y/bar/main.go", yes},
		{"foo/**/bar/**/x", "/home/user/foo/bar/x", yes}, {"foo/**/bar/**/x", "/home/user/foo/blaaa/blaz/bar/shared/work/x", yes},
		{"user/**/important*", "/home/user/work/x/y/hidden/x", no}, {"user/**/hidden*/**/c", "/home/user/work/x/y/hidden/z/a/b/c", yes},
		{"c:/foo/*test.*", "c:/foo/bar/test.go", no}, {"c:/foo", "c:/foo/bar", yes}, {"c:/foo/", "c:/foo/bar", yes},
		{"c:/foo/*/test.*", "c:/foo/bar/test.go", yes}, {"c:/foo/*/bar/test.*", "c:/foo/bar/test.go", no},
		{"/home/[uU]ser/?.go", "/home/user/F.go", yes},
	}
	for _, tt := range tests {
		if got, _ := restic(t, Options{}, []string{tt.pattern}, tt.path); got != tt.want {
			t.Errorf("%q, %q: %v, want %v", tt.pattern, tt.path, got, tt.want)
		}
	}
}

// TestResticBelow are the published cases of what may match below a directory.
func TestResticBelow(t *testing.T) {
	const yes, no = true, false
	tests := []struct {
		pattern, path string
		want          bool
	}{
		{"foo/bar", "/foo", yes}, {"baz/bar", "/foo", yes}, {"foo", "/foo/bar", yes}, {"bar", "/foo", yes}, {"baz", "/foo/bar", yes}, {"*", "/foo", yes},
		{"/foo/bar", "/foo", yes}, {"/foo/bar/baz", "/foo", yes}, {"/foo/bar/baz", "/foo/bar", yes}, {"/foo/bar/baz", "/foo/baz", no},
		{"/foo/**/baz", "/foo/bar/baz", yes}, {"/foo/**/baz", "/foo/bar/baz/blah", yes}, {"/foo/**/qux", "/foo/bar/baz/qux", yes},
		{"/foo/**/qux", "/foo/bar/baz", yes}, {"/foo/**", "/foo/bar/baz", yes}, {"/foo/**", "/foo/bar", yes}, {"foo/**/bar/**/x", "/home/user/foo", yes},
		{"/foo/*/qux", "/foo/bar", yes}, {"/foo/*/qux", "/foo/bar/boo", no}, {"/foo/*/qux", "/foo/bar/boo/xx", no}, {"/baz/bar", "/foo", no},
		{"/foo", "/foo/bar", yes}, {"/*", "/foo", yes}, {"/*", "/foo/bar", yes}, {"/**", "/foo", yes}, {"/*/**", "/foo", yes}, {"/*/**", "/foo/bar", yes},
		{"/*/bar", "/foo", yes}, {"/bar/*", "/foo", no}, {"/foo/*/baz", "/foo/bar", yes}, {"/foo/*/baz", "/foo/baz", yes}, {"/foo/*/baz", "/bar/baz", no},
		{"/**/*", "/foo", yes}, {"/**/bar", "/foo/bar", yes},
	}
	for _, tt := range tests {
		if _, got := restic(t, Options{}, []string{tt.pattern}, tt.path); got != tt.want {
			t.Errorf("%q, below %q: %v, want %v", tt.pattern, tt.path, got, tt.want)
		}
	}
}

// TestResticLists are the published cases of lists, and some of our own.
func TestResticLists(t *testing.T) {
	const yes, no = true, false
	tests := []struct {
		patterns     []string
		path         string
		match, below bool
	}{
		{nil, "/foo/bar/test.go", no, no},
		{[]string{"*.go"}, "/foo/bar/test.go", yes, yes}, {[]string{"*.go"}, "/foo/bar", no, yes}, {[]string{"*.c"}, "/foo/bar/test.go", no, yes},
		{[]string{"*.go", "*.c"}, "/foo/bar/test.go", yes, yes}, {[]string{"*"}, "/foo/bar/test.go", yes, yes}, {[]string{"?"}, "/foo/bar/test.go", no, yes},
		{[]string{"?", "x"}, "/foo/bar/x", yes, yes}, {[]string{"/*/*/bar/test.*"}, "/foo/bar/test.go", no, no},
		{[]string{"/*/*/bar/test.*"}, "/foo/bar/bar", no, yes}, {[]string{"/*/*/bar/test.*", "*.go"}, "/foo/bar/test.go", yes, yes},
		{[]string{"", "*.c"}, "/foo/bar/test.go", no, yes}, {[]string{"!**", "*.go"}, "/foo/bar/test.go", yes, yes},
		{[]string{"!**", "*.c"}, "/foo/bar/test.go", no, yes}, {[]string{"/foo/*/test.*", "!*.c"}, "/foo/bar/test.c", no, no},
		{[]string{"/foo/*/test.*", "!*.c"}, "/foo/bar/test.go", yes, yes}, {[]string{"/foo/*/*", "!test.*", "*.c"}, "/foo/bar/test.go", no, yes},
		{[]string{"/foo/*/*", "!test.*", "*.c"}, "/foo/bar/test.c", yes, yes}, {[]string{"/foo/*/*", "!test.*", "*.c"}, "/foo/bar/file.go", yes, yes},
		{[]string{"/**/*", "!/foo", "/foo/*", "!/foo/bar"}, "/foo/other/test.go", yes, yes},
		{[]string{"/**/*", "!/foo", "/foo/*", "!/foo/bar"}, "/foo/bar", no, no},
		{[]string{"/**/*", "!/foo", "/foo/*", "!/foo/bar"}, "/foo/bar/test.go", no, no},
		{[]string{"/**/*", "!/foo", "/foo/*", "!/foo/bar"}, "/foo/bar/test.go/child", no, no},
		{[]string{"/**/*", "!/foo", "/foo/*", "!/foo/bar", "/foo/bar/test*"}, "/foo/bar/test.go/child", yes, yes},
		{[]string{"/foo/bar/*"}, "/foo", no, yes}, {[]string{"/foo/bar/*", "!/foo/bar/[a-m]*"}, "/foo", no, yes},
		{[]string{"/foo/**/test.c"}, "/foo/bar/foo/bar/test.c", yes, yes}, {[]string{"/foo/*/test.c"}, "/foo/bar/foo/bar/test.c", no, no},

		{[]string{"/"}, "a", yes, yes},           // everything
		{[]string{"foo/**"}, "/x/foo", yes, yes}, // "**" stands for nothing, too
		{[]string{"h?llo"}, "héllo", yes, yes},   // characters, not bytes
		{[]string{"[а-я]"}, "ж", yes, yes},
		{[]string{"?"}, "\xff", yes, yes}, // what is no character counts as one
		{[]string{"a/**/b/**/c"}, "a/b/c", yes, yes},
		{[]string{"!"}, "a", no, no},
		{[]string{"*.go", "!/foo"}, "/foo", no, no}, // nothing stronger below
		{[]string{"*.go", "!/foo"}, "/foo/x.go", no, no},
	}
	for _, tt := range tests {
		match, below := restic(t, Options{}, tt.patterns, tt.path)
		if match != tt.match || below != tt.below {
			t.Errorf("%q, %q: %v and %v below, want %v and %v", tt.patterns, tt.path, match, below, tt.match, tt.below)
		}
	}
}

func TestResticMalformed(t *testing.T) {
	for _, p := range []string{"test/[", "test/**/[", "*[._]log[.-][0-9]", "!*[._]log[.-][0-9]", `a\`, `a\/b`, "[]", "[a-]", "[]a]", "[\xff]", "[a", `[\`} {
		_, err := ParseArgs(Restic, []string{"ok", p}, Options{Source: "args"})
		var e *Error
		if !errors.As(err, &e) || e.Line != 2 || e.Text != p || e.Source != "args" {
			t.Errorf("%q: %v, want an *Error at place 2", p, err)
		}
	}
	if _, err := ParseFile(Restic, []byte("\xff\xfea\x00"), Options{}); !errors.Is(err, ErrEncoding) {
		t.Errorf("UTF-16: %v", err)
	}
}

// TestResticPath: absolute patterns where the volume has a place in the file system.
func TestResticPath(t *testing.T) {
	tests := []struct {
		pattern, root, path string
		want                Decision
	}{
		{"/home/u/x", "/home/u", "x", Ignore},
		{"/home/u/x", "/home/u", "home/u/x", Undecided},
		{"/home/u/x", "", "home/u/x", Ignore},
		{"/home/*/x", "/home/u", "x", Ignore},
		{"/home/**/x", "/home/u", "y/x", Ignore},
		{"/**/x", "/home/u", "y/x", Ignore},
		{"/var", "/home/u", "var", Undecided},
		{"/home", "/home/u", "x", Ignore},   // above the volume
		{"home", "/home/u", "x", Undecided}, // only anchored patterns look above
		{"u/x", "/home/u", "x", Undecided},  // likewise
		{"x", "/home/u", "y/x", Ignore},
	}
	for _, tt := range tests {
		s := Set{Files: []*List{mustArgs(t, Restic, Options{}, tt.pattern)}, Path: tt.root}
		if got, _ := NewCursor(s, nil).Match(tt.path, File); got != tt.want {
			t.Errorf("%q in %q, %q: %v, want %v", tt.pattern, tt.root, tt.path, got, tt.want)
		}
	}
}

// TestIncludeExcludeFiles are a pair of files as NethServer 8 modules have them.
func TestIncludeExcludeFiles(t *testing.T) {
	in := mustFile(t, Restic, Options{Source: "state-include.conf", Includes: true, Anchored: true},
		"# what the module needs\n\nstate/environment\n  state/*.env \r\nvolumes/data\nvolumes/missing\nstate/last.json") // no newline
	out := mustFile(t, Restic, Options{Source: "state-exclude.conf"}, "*.tmp\nvolumes/data/cache\n!keep.tmp\n\ntrash")
	selector := NewSelector(Selection{Excludes: Set{Files: []*List{out}}, Includes: &Set{Files: []*List{in}}})
	for _, tt := range []struct {
		path string
		kind Kind
		want bool
	}{
		{"state", Directory, true}, {"state/environment", File, true}, {"state/a.env", File, true}, {"state/other", File, false},
		{"state/last.json", File, true}, {"volumes", Directory, true}, {"volumes/data", Directory, true}, {"volumes/data/x", Directory, true},
		{"volumes/data/x/y.tmp", File, false}, {"volumes/data/x/keep.tmp", File, true}, {"volumes/data/cache", Directory, false},
		{"volumes/data/x/trash", Directory, false}, {"volumes/other", Directory, false}, {"other", Directory, false},
		{"other/state/environment", File, false}, {"volumes/data/state/environment", File, true},
	} {
		if got := selector.Select(tt.path, tt.kind); got != tt.want {
			t.Errorf("%q: %v, want %v", tt.path, got, tt.want)
		}
	}
	if u := in.Unmatched(); len(u) != 1 || u[0].String() != "state-include.conf:6: volumes/missing" {
		t.Errorf("unmatched %v, want volumes/missing", u)
	}
	if u := out.Unmatched(); len(u) != 0 {
		t.Errorf("unmatched excludes %v", u)
	}
}

// TestIncludes: lists of the gitignore dialect include as well, with exceptions.
func TestIncludes(t *testing.T) {
	in := mustArgs(t, Gitignore, Options{Includes: true}, "/a", "!/a/b", "/a/b/c", "*.go")
	s := NewSelector(Selection{Includes: &Set{Command: []*List{in}}})
	for p, want := range map[string]bool{"a": true, "a/x/y": true, "a/b/x": false, "a/b/c/d": true, "z": false, "z/x.go": true} {
		if got := s.Select(p, File); got != want {
			t.Errorf("%q: %v, want %v", p, got, want)
		}
	}
	if !s.Select("a/b", Directory) || !s.Select("z", Directory) {
		t.Error("a directory on the way is left out")
	}
}

func TestExpand(t *testing.T) {
	o := Options{Expand: func(name string) string { return map[string]string{"HOME": "/home/u", "NOT": "!x"}[name] }}
	l := mustFile(t, Restic, o, "$HOME/a\n${HOME}/b\n$$c\n$EMPTY\n$NOT\n")
	root := Set{Files: []*List{l}}.Root()
	for p, want := range map[string]Decision{"home/u/a": Ignore, "home/u/b": Ignore, "$c": Ignore, "x": Include, "a": Undecided} {
		if got, _ := matches(root, p, File); got != want {
			t.Errorf("%q: %v, want %v", p, got, want)
		}
	}
	plain := mustArgs(t, Restic, Options{}, "$HOME")
	if got, _ := (Set{Files: []*List{plain}}).Root().Match("$HOME", File); got != Ignore {
		t.Error("a variable is expanded unasked")
	}
}
