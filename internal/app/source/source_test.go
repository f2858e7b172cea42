//go:build linux

package source

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/iotest"

	"vault/snapshot"
)

// text is an Opener of a string whose Close may fail.
type text struct {
	content string
	closed  error
	open    error
}

func (text) Describe() (snapshot.VolumeKind, string) { return snapshot.VolumeStdin, "text" }

func (s text) Open(context.Context) (io.ReadCloser, error) {
	if s.open != nil {
		return nil, s.open
	}
	return struct {
		io.Reader
		io.Closer
	}{iotest.OneByteReader(strings.NewReader(s.content)), closer{s.closed}}, nil
}

type closer struct{ err error }

func (c closer) Close() error { return c.err }

func TestChecked(t *testing.T) {
	long := strings.Repeat("x", 10_000)
	failed := errors.New("exit status 1")
	for name, c := range map[string]struct {
		text   text
		expect Expect
		want   error
	}{
		"nothing expected":        {text{content: ""}, Expect{}, nil},
		"large enough":            {text{content: "12345"}, Expect{MinSize: 5}, nil},
		"too small":               {text{content: "1234"}, Expect{MinSize: 5}, ErrTooSmall},
		"tail is the end":         {text{content: long + TailMySQL}, Expect{Tail: TailMySQL}, nil},
		"tail is not last":        {text{content: long + TailPostgres + "\n--\n\n\\unrestrict " + long[:4000] + "\n"}, Expect{Tail: TailPostgres}, nil},
		"tail is all":             {text{content: TailMySQL}, Expect{Tail: TailMySQL}, nil},
		"tail too early":          {text{content: TailMySQL + long}, Expect{Tail: TailMySQL}, ErrNoTail},
		"tail just in reach":      {text{content: "E" + long[:TailBytes-1]}, Expect{Tail: "E"}, nil},
		"tail just out of reach":  {text{content: "E" + long[:TailBytes]}, Expect{Tail: "E"}, ErrNoTail},
		"half a tail":             {text{content: long + TailMySQL[:10]}, Expect{Tail: TailMySQL}, ErrNoTail},
		"empty with a tail":       {text{content: ""}, Expect{Tail: "x"}, ErrNoTail},
		"head":                    {text{content: "PGDMP" + long}, Expect{Head: "PGDMP"}, nil},
		"other head":              {text{content: "pgdmp"}, Expect{Head: "PGDMP"}, ErrNoHead},
		"short head":              {text{content: "PG"}, Expect{Head: "PGDMP"}, ErrNoHead},
		"the source's own error":  {text{content: "", closed: failed}, Expect{Tail: "x"}, failed},
		"a source that is closed": {text{open: failed}, Expect{Tail: "x"}, failed},
	} {
		err := func() error {
			in, err := Checked(c.text, c.expect).Open(t.Context())
			if err != nil {
				return err
			}
			got, err := io.ReadAll(in)
			if string(got) != c.text.content {
				t.Errorf("%s: other bytes", name)
			}
			return errors.Join(err, in.Close())
		}()
		if !errors.Is(err, c.want) || (err == nil) != (c.want == nil) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
	// Who stops reading early is not told that the end is missing.
	in, err := Checked(text{content: long}, Expect{Tail: "x!"}).Open(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	io.ReadFull(in, make([]byte, 10))
	if err := in.Close(); err != nil {
		t.Errorf("closed early: %v", err)
	}
	if _, err := Checked(text{}, Expect{Tail: long}).Open(t.Context()); err == nil {
		t.Error("a tail that can never be found")
	}
	if kind, label := Checked(text{}, Expect{MinSize: 1}).Describe(); kind != snapshot.VolumeStdin || label != "text" {
		t.Errorf("%v %q", kind, label)
	}
}

func TestFeed(t *testing.T) {
	r := Runner{}
	out := filepath.Join(t.TempDir(), "out")
	if _, err := r.Feed(t.Context(), strings.NewReader(strings.Repeat("line\n", 100_000)), []string{"/bin/sh", "-c", "cat >" + out}); err != nil {
		t.Fatal(err)
	}
	if st, err := os.Stat(out); err != nil || st.Size() != 500_000 {
		t.Errorf("%v, %v", st, err)
	}
	// A program that takes an early end for the end would do harm: it never sees one.
	broken := errors.New("store unreachable")
	harm := filepath.Join(t.TempDir(), "harm")
	_, err := r.Feed(t.Context(), io.MultiReader(strings.NewReader("half"), iotest.ErrReader(broken)), []string{"/bin/sh", "-c", "cat >/dev/null; echo commit >" + harm})
	if !errors.Is(err, broken) {
		t.Errorf("%v", err)
	}
	if _, err := os.Stat(harm); !errors.Is(err, fs.ErrNotExist) {
		t.Error("the program saw an end")
	}
	// One that ends early has failed, and if it says why that is told.
	if _, err := r.Feed(t.Context(), strings.NewReader(strings.Repeat("x", 1<<20)), []string{"/bin/sh", "-c", "exit 0"}); !errors.Is(err, errUnread) {
		t.Errorf("ended early: %v", err)
	}
	_, err = r.Feed(t.Context(), strings.NewReader(strings.Repeat("x", 1<<20)), []string{"/bin/sh", "-c", "head -c 10 >/dev/null; echo why >&2; exit 7"})
	var p *ProgramError
	if !errors.As(err, &p) || p.Status != 7 || p.Said != "why" || p.Signal != 0 {
		t.Errorf("%+v", err)
	}
	_, err = r.Feed(t.Context(), strings.NewReader(""), []string{"/bin/sh", "-c", "kill -9 $$"})
	if !errors.As(err, &p) || p.Signal != 9 || !strings.Contains(err.Error(), "killed by signal 9") {
		t.Errorf("%+v", err)
	}
	said, err := r.Feed(t.Context(), strings.NewReader(""), []string{"/bin/sh", "-c", "head -c 200000 /dev/zero | tr '\\0' x >&2; echo end >&2"})
	if err != nil || len(said) > MaxSaid || !strings.HasSuffix(said, "xend") {
		t.Errorf("%d bytes said, %v", len(said), err)
	}
	if _, err := r.Feed(t.Context(), strings.NewReader(""), nil); err == nil {
		t.Error("no command runs")
	}
	if _, err := r.Output(t.Context(), []string{"/bin/sh", "-c", "head -c 2000000 /dev/zero"}); err == nil {
		t.Error("two megabytes of an answer")
	}
	if got, err := (Runner{Env: []string{"X=secret"}, Dir: "/"}).Output(t.Context(), []string{"/bin/sh", "-c", "echo $X; pwd"}); err != nil || string(got) != "secret\n/\n" {
		t.Errorf("%q, %v", got, err)
	}
}

// What is cancelled ends, with all that it has started.
func TestCancel(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	in, out := io.Pipe()
	started := make(chan struct{})
	go func() {
		out.Write([]byte("x"))
		close(started)
		<-ctx.Done()
		out.CloseWithError(ctx.Err())
	}()
	go func() { <-started; cancel() }()
	_, err := Runner{}.Feed(ctx, in, []string{"/bin/sh", "-c", "cat; sleep 1000"})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
}

func TestArgv(t *testing.T) {
	r := Runner{Prefix: []string{"podman", "exec", "-i", "db"}}
	if got, err := r.Argv([]string{"mariadb-dump", "mysqldump"}, "-x"); err != nil || !slices.Equal(got, []string{"podman", "exec", "-i", "db", "mariadb-dump", "-x"}) {
		t.Errorf("%q, %v", got, err)
	}
	if got, err := (Runner{}).Argv([]string{"no-such-program", "sh"}); err != nil || !strings.HasSuffix(got[0], "/sh") {
		t.Errorf("%q, %v", got, err)
	}
	for _, programs := range [][]string{{"no-such-program"}, {"/no/such/program"}} {
		if _, err := (Runner{}).Argv(programs); !errors.Is(err, ErrNoProgram) {
			t.Errorf("%q: %v", programs, err)
		}
	}
}

func TestPrivate(t *testing.T) {
	place := t.TempDir()
	a, err := MakePrivate(place, nil)
	if err != nil {
		t.Fatal(err)
	}
	path, err := a.File("secret", []byte("x"), nil)
	if err != nil {
		t.Fatal(err)
	}
	for p, want := range map[string]fs.FileMode{a.Path: 0o700, path: 0o600} {
		if st, err := os.Stat(p); err != nil || st.Mode().Perm() != want {
			t.Errorf("%s: %v, %v", p, st.Mode(), err)
		}
	}
	if _, err := a.File("secret", nil, nil); !errors.Is(err, fs.ErrExist) {
		t.Errorf("over a file: %v", err)
	}
	// What others left goes, whatever is in it; what is in use, and what is no private
	// directory, stays.
	outside := filepath.Join(place, "outside")
	dead := filepath.Join(place, privatePrefix+"dead")
	for _, dir := range []string{outside, filepath.Join(dead, "sub")} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	for _, l := range []string{filepath.Join(dead, "link"), filepath.Join(place, privatePrefix+"link")} {
		if err := os.Symlink(outside, l); err != nil {
			t.Fatal(err)
		}
	}
	b, err := MakePrivate(place, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(dead); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("what was left: %v", err)
	}
	for _, p := range []string{a.Path, b.Path, outside} {
		if _, err := os.Stat(p); err != nil {
			t.Error(err)
		}
	}
	if err := errors.Join(a.Remove(), b.Remove()); err != nil {
		t.Error(err)
	}
	if _, err := MakePrivate(filepath.Join(place, "gone"), nil); err == nil {
		t.Error("made in a place that does not exist")
	}
}

// Many that begin at once do not sweep each other away.
func TestPrivateAtOnce(t *testing.T) {
	place := t.TempDir()
	var group sync.WaitGroup
	for i := range 20 {
		group.Go(func() {
			for range 10 {
				p, err := MakePrivate(place, nil)
				if err != nil {
					t.Error(err)
					return
				}
				want := fmt.Appendf(nil, "%d", i)
				path, err := p.File("x", want, nil)
				if err != nil {
					t.Error(err)
				} else if got, err := os.ReadFile(path); err != nil || !bytes.Equal(got, want) {
					t.Errorf("%q, %v", got, err)
				}
				if err := p.Remove(); err != nil {
					t.Error(err)
				}
			}
		})
	}
	group.Wait()
	if left, _ := os.ReadDir(place); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
}

func TestAccount(t *testing.T) {
	a, err := LookupAccount("root")
	if err != nil || a.UID != 0 || a.Name != "root" {
		t.Fatalf("%+v, %v", a, err)
	}
	if b, err := LookupAccount("0"); err != nil || b.Name != "root" {
		t.Errorf("by number: %+v, %v", b, err)
	}
	if os.Geteuid() == 0 && a.Credential() != nil {
		t.Error("root becomes root")
	}
	if !slices.Contains(a.Env(), "HOME="+a.Home) {
		t.Errorf("%q", a.Env())
	}
	var none *Account
	if none.Credential() != nil || none.Env() != nil {
		t.Error("nobody is somebody")
	}
	if os.Geteuid() != 0 {
		return
	}
	nobody, err := LookupAccount("nobody")
	if err != nil {
		t.Fatal(err)
	}
	got, err := (Runner{As: nobody}).Output(t.Context(), []string{"/bin/sh", "-c", "id -u; pwd; echo $USER"})
	if want := fmt.Sprintf("%d\n/\nnobody\n", nobody.UID); err != nil || string(got) != want {
		t.Errorf("%q, %v", got, err)
	}
	place := t.TempDir()
	p, err := MakePrivate(place, nobody)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Remove()
	path, err := p.File("x", []byte("for nobody"), nobody)
	if err != nil {
		t.Fatal(err)
	}
	for dir := place; dir != "/" && dir != os.TempDir(); dir = filepath.Dir(dir) {
		if st, err := os.Stat(dir); err != nil || st.Mode().Perm()&0o005 == 0o005 {
			continue // what is open to all stays as it is
		}
		if err := os.Chmod(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if got, err := (Runner{As: nobody}).Output(t.Context(), []string{"/bin/cat", path}); err != nil || string(got) != "for nobody" {
		t.Errorf("%q, %v", got, err)
	}
}
