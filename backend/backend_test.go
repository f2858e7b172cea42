package backend_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"
	"syscall"
	"testing"

	"vault/backend"
	"vault/backend/backendtest"
)

func TestCheck(t *testing.T) {
	for _, name := range []string{
		"config", "packs/ab/0123", "a.b-c_d", "a..b", "a.", "-", "_", "0", "a/b/c/d/e",
		strings.Repeat("a", 255), strings.Repeat("a", 255) + "/" + strings.Repeat("b", 255),
	} {
		if err := backend.Check(name); err != nil {
			t.Errorf("%q: %v", name, err)
		}
	}
	for _, name := range append(backendtest.BadNames(), strings.Repeat("a", 255)+"/"+strings.Repeat("b", 257)) {
		if err := backend.Check(name); !errors.Is(err, backend.ErrName) {
			t.Errorf("%q: error %v", name, err)
		}
	}
}

func FuzzCheck(f *testing.F) {
	for _, name := range append(backendtest.BadNames(), "config", "packs/ab/x") {
		f.Add(name)
	}
	f.Fuzz(func(t *testing.T, name string) {
		ok := backend.Check(name) == nil
		// A valid name is one that means the same to every file system.
		want := fs.ValidPath(name) && name != "." && len(name) <= 512
		for elem := range strings.SplitSeq(name, "/") {
			want = want && len(elem) <= 255 && !strings.HasPrefix(elem, ".") && strings.Trim(elem, "abcdefghijklmnopqrstuvwxyz0123456789._-") == ""
		}
		if ok != want {
			t.Errorf("Check(%q) accepts: %v, want %v", name, ok, want)
		}
		if (backend.CheckPrefix(name+"/") == nil) != ok {
			t.Errorf("CheckPrefix(%q) differs", name+"/")
		}
	})
}

func TestCheckPrefix(t *testing.T) {
	for prefix, ok := range map[string]bool{"": true, "a/": true, "a/b/": true, "a": false, "/": false, "a//": false, "A/": false, "../": false} {
		if err := backend.CheckPrefix(prefix); (err == nil) != ok {
			t.Errorf("%q: %v", prefix, err)
		}
	}
}

func TestError(t *testing.T) {
	inner := &backend.Error{Op: "put", Place: "/repo", Name: "packs/ab", Kind: backend.ErrPermission, Err: syscall.EACCES, Hint: "look"}
	err := fmt.Errorf("commit: %w", &backend.Error{Op: "outer", Err: inner})
	for _, target := range []error{backend.ErrPermission, backend.ErrUnreachable, syscall.EACCES, fs.ErrPermission} {
		if !errors.Is(err, target) {
			t.Errorf("%v is not %v", err, target)
		}
	}
	for _, target := range []error{backend.ErrNoSpace, fs.ErrNotExist, fs.ErrExist, backend.ErrName} {
		if errors.Is(err, target) {
			t.Errorf("%v is %v", err, target)
		}
	}
	if errors.Is(backend.ErrUnreachable, backend.ErrPermission) {
		t.Error("unreachable means permission")
	}
	if got := backend.Hint(err); got != "look" {
		t.Errorf("hint %q", got)
	}
	if got := backend.Hint(errors.New("plain")); got != "" {
		t.Errorf("hint %q", got)
	}
	if got, want := inner.Error(), "put packs/ab at /repo: storage unreachable: permission refused: permission denied"; got != want {
		t.Errorf("text %q, want %q", got, want)
	}
}

// liar is a backend whose readers do not hold what they promise.
type liar struct {
	backend.Backend
	body string
	left int64
}

func (l liar) Get(context.Context, string, int64, int64) (io.ReadCloser, error) {
	return liarReader{strings.NewReader(l.body), l.left}, nil
}

type liarReader struct {
	io.Reader
	left int64
}

func (r liarReader) Remaining() int64 { return r.left }
func (liarReader) Close() error       { return nil }

func TestReadersThatLie(t *testing.T) {
	ctx := context.Background()
	for _, c := range []struct {
		body  string
		left  int64
		limit int64
		err   error
	}{
		{"0123456789", 10, 10, nil},
		{"0123456789", 3, 10, nil},                // more than promised, within the limit
		{"0123456789", 3, 9, backend.ErrTooLarge}, // more than promised, over the limit
		{"012", 1 << 50, 10, backend.ErrTooLarge}, // promises a petabyte
		{"012", 10, 10, nil},                      // less than promised: the driver's own error to give
		{"012", 0, 10, nil},
		{"012", -5, 10, nil},
	} {
		got, err := backend.ReadAll(ctx, liar{body: c.body, left: c.left}, "x", c.limit)
		if !errors.Is(err, c.err) || err == nil && string(got) != c.body {
			t.Errorf("%+v: got %q, %v", c, got, err)
		}
	}
	dst := make([]byte, 4)
	if err := backend.ReadRange(ctx, liar{body: "012"}, "x", 0, dst); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("short range: %v", err)
	}
	if err := backend.ReadRange(ctx, liar{}, "x", 0, dst); !errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF) {
		t.Errorf("empty range: %v", err)
	}
}
