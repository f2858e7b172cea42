package verify

import (
	"bytes"
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"
)

func TestDecodeMap(t *testing.T) {
	for what, b := range map[string]string{
		"nothing":              "",
		"an array":             "\x91\xa1a",
		"an end too early":     "\x81\xa1a\xa2b",
		"no value":             "\x81\xa1a",
		"a number":             "\x81\xa1a\x01",
		"bytes after it":       "\x81\xa1a\xa1b\x00",
		"a key twice":          "\x82\xa1a\xa1b\xa1a\xa1c",
		"more than its bytes":  "\xdf\xff\xff\xff\xff\xa1a\xa1b",
		"a text that is large": "\x81\xa1a\xc6\xff\xff\xff\xff",
		"half a length":        "\xde\x00",
	} {
		if m, err := decodeMap([]byte(b)); !errors.Is(err, errMetadata) {
			t.Errorf("%s: %v, %v", what, m, err)
		}
	}
	for b, want := range map[string]map[string]string{
		"\x80":                               {},
		"\x81\xa1a\xc4\x01b":                 {"a": "b"},
		"\xde\x00\x01\xd9\x01a\xc5\x00\x01b": {"a": "b"},
		"\xdf\x00\x00\x00\x01\xda\x00\x01a\xdb\x00\x00\x00\x01b": {"a": "b"},
		"\x81\xa0\xc6\x00\x00\x00\x00":                           {"": ""},
	} {
		if m, err := decodeMap([]byte(b)); err != nil || !maps.Equal(m, want) {
			t.Errorf("%q: %v, %v", b, m, err)
		}
	}
}

func FuzzDecodeMap(f *testing.F) {
	f.Add([]byte("\x82\xa1a\xc4\x01b\xa1c\xd9\x01d"))
	f.Add([]byte("\xde\x00\x01\xd9\x01a\xc5\x00\x01b"))
	f.Add([]byte("\xdf\x00\x00\x00\x01\xda\x00\x01a\xdb\x00\x00\x00\x01b"))
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := decodeMap(b)
		if err != nil {
			return
		}
		size := 0
		for k, v := range m {
			size += len(k) + len(v) + 2
		}
		if size >= len(b)+2 {
			t.Fatalf("%d bytes out of %d", size, len(b))
		}
	})
}

func TestIDs(t *testing.T) {
	var x ids
	for _, id := range []string{"25b69780-5f39-43be-a7ac-a9b9e9fe4230", "25B69780-5f39-43be-a7ac-a9b9e9fe4230", "", "plain", strings.Repeat("x", 36)} {
		if got := x.text(x.key(id)); got != id {
			t.Errorf("%q became %q", id, got)
		}
		if len(id) > 8 {
			if got, ok := unshard(shard(id)); !ok || got != id {
				t.Errorf("%q became %q", id, got)
			}
		}
	}
	if len(x.others) != 4 {
		t.Errorf("%d ids are remembered", len(x.others))
	}
	for _, p := range []string{"", "aa/bb/cc/dd", "aa/bb/cc/dd/", "../bb/cc/dd/x", "aa/bb/cc/dd/x/y", "a/bb/cc/dd/x"} {
		if id, ok := unshard(p); ok {
			t.Errorf("%q is the path of %q", p, id)
		}
	}
}

func TestBaseline(t *testing.T) {
	b := Baseline{}
	known := Finding{Check: "ocis", Rule: "blob-missing", Severity: Problem, Volume: "v", Object: "a\xff", Text: "one"}
	b.Add(known)
	b.Add(Finding{Check: "ocis", Rule: "blob-orphan", Severity: Warning, Volume: "v", Object: "x"})
	path := t.TempDir() + "/baseline"
	if err := b.Write(path); err != nil {
		t.Fatal(err)
	}
	got, err := ReadBaseline(path)
	if err != nil || !maps.Equal(got, b) || len(got) != 1 {
		t.Fatalf("%v, %v", got, err)
	}
	known.Text = "other words"
	if !got.Knows(known) {
		t.Error("the words count")
	}
	for _, change := range []func(*Finding){func(f *Finding) { f.Object = "b" }, func(f *Finding) { f.Rule = "x" }, func(f *Finding) { f.Volume = "w" }, func(f *Finding) { f.Check = "y" }} {
		f := known
		if change(&f); got.Knows(f) {
			t.Errorf("%+v is known", f)
		}
	}
	for _, bad := range []string{"x\n", "{}\n", `{"check":"a","rule":"b","more":1}`, `{"check":"a","rule":"b"} {}`, "\n", `{"check":"` + strings.Repeat("a", maxBaselineLine) + `"}`} {
		if _, err := DecodeBaseline(strings.NewReader(bad)); !errors.Is(err, ErrBaseline) {
			t.Errorf("%.40q: %v", bad, err)
		}
	}
}

func FuzzDecodeBaseline(f *testing.F) {
	f.Add([]byte(`{"check":"ocis","rule":"r","volume":"v","object":"o"}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		b, err := DecodeBaseline(bytes.NewReader(data))
		if err != nil {
			return
		}
		out, err := b.Encode()
		if err != nil {
			t.Fatal(err)
		}
		again, err := DecodeBaseline(bytes.NewReader(out))
		if err != nil || !maps.Equal(again, b) {
			t.Fatalf("%q became %q: %v", data, out, err)
		}
		if twice, _ := again.Encode(); !slices.Equal(out, twice) {
			t.Fatal("not the same file twice")
		}
	})
}
