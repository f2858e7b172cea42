package match

import (
	"errors"
	"slices"
	"strings"
	"testing"
)

func TestParsePaths(t *testing.T) {
	tests := []struct {
		name, data string
		sep        Separator
		want       []string
		wantErr    error
	}{
		{"no newline at the end", "/a\n/b", Newline, []string{"/a", "/b"}, nil},
		{"comments, blanks, carriage returns", "# c\n\n  \n/a\r\n./#x\n", Newline, []string{"/a", "./#x"}, nil},
		{"spaces and odd bytes are kept", " a \n\xff*\n\té[\n", Newline, []string{" a ", "\xff*", "\té["}, nil},
		{"byte order mark", "\xef\xbb\xbf/a\n", Newline, []string{"/a"}, nil},
		{"UTF-16", "\xff\xfe/\x00a\x00", Newline, nil, ErrEncoding},
		{"NUL list read as lines", "/a\x00/b\x00", Newline, nil, errNULInPath},
		{"empty", "", Newline, nil, nil},
		{"NUL", "/a\x00b\nc\r\x00#d\x00 \x00", NUL, []string{"/a", "b\nc\r", "#d", " "}, nil},
		{"NUL cut off", "/a\x00/b", NUL, nil, errUnterminated},
		{"NUL twice", "/a\x00\x00/b\x00", NUL, nil, errEmptyPath},
		{"NUL empty", "", NUL, nil, nil},
	}
	for _, tt := range tests {
		got, err := ParsePaths([]byte(tt.data), tt.sep)
		if !errors.Is(err, tt.wantErr) || !slices.Equal(got, tt.want) {
			t.Errorf("%s: %q, %v; want %q, %v", tt.name, got, err, tt.want, tt.wantErr)
		}
	}
}

func TestParseSize(t *testing.T) {
	good := map[string]int64{"0": 0, "17": 17, "5b": 5, "1k": 1024, "10M": 10 << 20, "10MB": 10_000_000, "1GiB": 1 << 30,
		"2tib": 2 << 40, "1P": 1 << 50, "7E": 7 << 60, "9223372036854775807": 1<<63 - 1, "3kB": 3000}
	for s, want := range good {
		if got, err := ParseSize(s); err != nil || got != want {
			t.Errorf("%q: %d, %v; want %d", s, got, err, want)
		}
	}
	for _, s := range []string{"", "M", "-1", "+1", "1.5G", "1 M", "1Mi", "1X", "8E", "9223372036854775808", "0x10", "1_0"} {
		if got, err := ParseSize(s); err == nil {
			t.Errorf("%q is %d", s, got)
		}
	}
}

func TestMarker(t *testing.T) {
	tests := []struct {
		spec    string
		want    Marker
		wantErr bool
	}{
		{".nobackup", Marker{".nobackup", ""}, false},
		{"A:b:c", Marker{"A", "b:c"}, false}, // the first colon
		{"A:", Marker{"A", ""}, false},
		{"", Marker{}, true}, {":x", Marker{}, true}, {"a/b", Marker{}, true}, {"..", Marker{}, true}, {".:x", Marker{}, true},
	}
	for _, tt := range tests {
		if got, err := ParseMarker(tt.spec); got != tt.want || (err != nil) != tt.wantErr {
			t.Errorf("%q: %v, %v", tt.spec, got, err)
		}
	}
	if n, needed := CacheTag.NeedsContent(); n != 43 || !needed { // the specification says 43 octets
		t.Errorf("a cache tag needs %d bytes", n)
	}
	for head, want := range map[string]bool{
		CacheTag.Header: true, CacheTag.Header + "\n# x": true, CacheTag.Header[:42]: false, "": false, "\n" + CacheTag.Header: false,
		strings.ToUpper(CacheTag.Header): false,
	} {
		if CacheTag.Marks([]byte(head)) != want {
			t.Errorf("%q: marks %v", head, !want)
		}
	}
	if _, needed := (Marker{Name: "x"}).NeedsContent(); needed || !(Marker{Name: "x"}).Marks(nil) {
		t.Error("a marker without header looks at content")
	}
}

func TestDialectNames(t *testing.T) {
	for _, d := range []Dialect{Gitignore, Restic} {
		if got, err := ParseDialect(d.String()); got != d || err != nil {
			t.Errorf("%v: %v, %v", d, got, err)
		}
	}
	if _, err := ParseDialect("glob"); err == nil {
		t.Error("unknown dialect is taken")
	}
}
