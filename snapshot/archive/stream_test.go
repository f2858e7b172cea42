package archive

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"vault/snapshot"
)

func TestCommands(t *testing.T) {
	for _, c := range []struct {
		name    string
		command Command
		want    string // output, or
		problem string
	}{
		{"short", Command{Argv: []string{"echo", "hello"}}, "hello\n", ""},
		{"shell", Command{Shell: "printf a; printf b"}, "ab", ""},
		{"environment", Command{Shell: "printf $X", Env: []string{"X=value"}}, "value", ""},
		{"directory", Command{Argv: []string{"pwd"}, Dir: "/"}, "/\n", ""},
		{"long", Command{Shell: "head -c 300000 /dev/zero | tr '\\0' x"}, strings.Repeat("x", 300000), ""},
		{"no input", Command{Shell: "cat; printf end"}, "end", ""},
		{"daemon holds stderr", Command{Shell: "printf x; sleep 60 >/dev/null & exit 0"}, "x", ""},
		{"status", Command{Shell: "echo part; echo oops >&2; exit 3"}, "", "status 3: oops"},
		{"signal", Command{Shell: "echo part; kill -9 $$"}, "", "signal 9 (killed)"},
		{"nothing", Command{Argv: []string{"true"}}, "", "nothing"},
		{"missing", Command{Argv: []string{"/no/such/program"}}, "", "start command"},
		{"empty", Command{}, "", "no command"},
		{"much on stderr", Command{Shell: "head -c 100000 /dev/zero | tr '\\0' y >&2; echo last words >&2; exit 1"}, "", "yyylast words"},
	} {
		t.Run(c.name, func(t *testing.T) {
			before := openFDs(t)
			m := newMemory()
			r := archive(t, options(t, m), Volume{Name: "dump", Source: c.command})
			v := r.Volumes[0]
			if v.Kind != snapshot.VolumeCommand {
				t.Errorf("kind %v", v.Kind)
			}
			mustSettle(t, before)
			if c.problem != "" {
				if v.State != snapshot.Failed || v.Root != nil || v.ProblemCount != 1 || !strings.Contains(v.Problems[0].Message, c.problem) {
					t.Fatalf("%v: %v", v.State, v.Problems)
				}
				if len(v.Problems[0].Message) > maxMessage {
					t.Errorf("message of %d bytes", len(v.Problems[0].Message))
				}
				return
			}
			mustComplete(t, v)
			checkEncodes(t, r.Volumes)
			if got := content(t, m, v.Root); string(got) != c.want || v.Root.Size != uint64(len(c.want)) {
				t.Errorf("%d bytes %.40q", len(got), got)
			}
			if v.Root.Type != snapshot.File || v.Root.Mode != 0o600 || v.Root.MTime.Sec < time.Now().Unix() || v.Files.New != 1 {
				t.Errorf("root %+v, files %+v", v.Root, v.Files)
			}
		})
	}
}

func TestCommandDescribe(t *testing.T) {
	for want, c := range map[string]Command{
		"pg_dump -Fc 'my db'": {Argv: []string{"pg_dump", "-Fc", "my db"}},
		`printf 'it'\''s' ''`: {Argv: []string{"printf", "it's", ""}},
		"a | b":               {Shell: "a | b"},
	} {
		if _, got := c.Describe(); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

func TestCommandIsKilled(t *testing.T) {
	for name, script := range map[string]string{
		"in the middle":    "echo $$ > PID; while :; do echo x; done",
		"silent":           "echo $$ > PID; sleep 1000",
		"with children":    "echo $$ > PID; sleep 1000 & sleep 1000",
		"ignores the term": "trap '' TERM; echo $$ > PID; while :; do sleep 0.05; done",
		"output closed":    "echo $$ > PID; exec >&-; sleep 1000",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			killed(t, script) // nobody else ends it within the time of a test
		})
	}
	// It has a second to clean up, which may be too little on a busy machine, but not
	// each time.
	for tries := 20; ; tries-- {
		pid := killed(t, "trap 'rm PID.dirty; exit 1' TERM; touch PID.dirty; echo $$ > PID; while :; do sleep 0.05; done")
		if _, err := os.Stat(pid + ".dirty"); err != nil {
			break
		}
		if tries == 0 {
			t.Fatal("it had no time to clean up")
		}
	}
}

// killed runs a script and cancels that when the script has written the file PID, whose
// path it returns.
func killed(t *testing.T, script string) string {
	t.Helper()
	pid := filepath.Join(t.TempDir(), "pid")
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	go func() {
		for ctx.Err() == nil {
			if b, err := os.ReadFile(pid); err == nil && bytes.HasSuffix(b, []byte("\n")) {
				break
			}
			time.Sleep(10 * time.Millisecond)
		}
		cancel()
	}()
	_, err := Run(ctx, options(t, newMemory()), []Volume{{Name: "v", Source: Command{Shell: strings.ReplaceAll(script, "PID", pid)}}})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
	b, err := os.ReadFile(pid)
	if err != nil {
		t.Fatal(err)
	}
	mustBeGone(t, strings.TrimSpace(string(b)))
	return pid
}

// mustBeGone checks that no process is left in a group.
func mustBeGone(t *testing.T, group string) {
	t.Helper()
	var left string
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		left = ""
		stats, _ := filepath.Glob("/proc/[0-9]*/stat")
		for _, path := range stats {
			b, err := os.ReadFile(path)
			if err != nil {
				continue
			}
			_, rest, _ := strings.Cut(string(b), ") ")
			f := strings.Fields(rest) // state, parent, group
			if len(f) > 2 && f[2] == group && f[0] != "Z" {
				left = string(b)
			}
		}
		if left == "" {
			return
		}
	}
	t.Errorf("still there: %s", left)
}

func TestStoreErrorEndsCommand(t *testing.T) {
	m := newMemory()
	m.fail, m.failAt = errors.New("store is full"), 3
	before := openFDs(t)
	// It ends: nobody else ends the command within the time of a test.
	_, err := Run(context.Background(), options(t, m), []Volume{{Name: "v", Source: Command{Shell: "head -c 100000 /dev/urandom; sleep 1000"}}})
	if !errors.Is(err, m.fail) {
		t.Errorf("error %v", err)
	}
	mustSettle(t, before)
}

func TestStream(t *testing.T) {
	for _, size := range []int{1, 128, 129, 1024, 70_000, 3_000_000} {
		m := newMemory()
		o := options(t, m)
		data := noise(3, size)
		v := archive(t, o, Volume{Name: "stdin", Source: Stream{Reader: bytes.NewReader(data), Label: "-"}}).Volumes[0]
		mustComplete(t, v)
		if v.Kind != snapshot.VolumeStdin || v.Source != "-" || v.BytesProcessed != uint64(size) {
			t.Errorf("%+v", v)
		}
		if !bytes.Equal(content(t, m, v.Root), data) || (v.Root.Content.Inline != nil) != (size <= 128) {
			t.Errorf("%d bytes: content differs", size)
		}
		// The same bytes in a file have the same content.
		dir := t.TempDir()
		write(t, filepath.Join(dir, "f"), data)
		f, _ := archiveDir(t, o, filepath.Join(dir, "f"), nil)
		if !equalContent(&f.Root.Content, &v.Root.Content) {
			t.Errorf("%d bytes: another content than as a file", size)
		}
		for _, c := range []struct {
			data []byte
			want snapshot.Counts
		}{{data, snapshot.Counts{Unmodified: 1}}, {append(bytes.Clone(data), 'x'), snapshot.Counts{Changed: 1}}} {
			v2 := archive(t, o, Volume{Name: "stdin", Source: Stream{Reader: bytes.NewReader(c.data)}, Parent: trusted(v)}).Volumes[0]
			if v2.Files != c.want {
				t.Errorf("%d bytes: %+v, want %+v", len(c.data), v2.Files, c.want)
			}
		}
	}
}

type failing struct{ io.Reader }

func (f failing) Read(b []byte) (int, error) {
	n, err := f.Reader.Read(b)
	if err == io.EOF {
		err = errors.New("cable pulled")
	}
	return n, err
}

func TestStreamFails(t *testing.T) {
	for name, r := range map[string]io.Reader{"": nil, "nothing": strings.NewReader(""),
		"cable": failing{bytes.NewReader(noise(1, 100_000))}, "cable pulled": failing{strings.NewReader("")}} {
		m := newMemory()
		v := archive(t, options(t, m), Volume{Name: "v", Source: Stream{Reader: r}}).Volumes[0]
		if v.State != snapshot.Failed || v.Root != nil || !strings.Contains(v.Problems[0].Message, name) {
			t.Errorf("%s: %v %v", name, v.State, v.Problems)
		}
	}
}

func TestStreamIsInterrupted(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	defer r.Close()
	pr, pw := io.Pipe() // knows no deadlines: it is closed
	defer pw.Close()
	for _, in := range []io.Reader{r, pr} {
		ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
		m := newMemory()
		_, err := Run(ctx, options(t, m), []Volume{{Name: "v", Source: Stream{Reader: in}}})
		cancel()
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%T: %v", in, err)
		}
	}
}

func TestEvents(t *testing.T) {
	dir := sample(t)
	m := newMemory()
	o := options(t, m)
	var items, volumes, other int
	var last Event
	o.Items = true
	o.Observe = func(e Event) {
		switch e.Kind {
		case EventItem:
			items++
			if e.Path == "a/mid" && (e.Status != New || e.Size != 40_000 || e.Type != snapshot.File) {
				t.Errorf("%+v", e)
			}
		case EventVolume:
			volumes++
		case EventProgress:
		default:
			other++
		}
		if e.Files < last.Files || e.Directories < last.Directories {
			t.Errorf("%+v after %+v", e, last)
		}
		last = e
	}
	r := archive(t, o, Volume{Name: "one", Source: Path{dir}}, Volume{Name: "two", Source: Command{Argv: []string{"echo"}}},
		Volume{Name: "three", Source: Path{filepath.Join(dir, "missing")}})
	if items != 720 || volumes != 3 || other != 1 {
		t.Errorf("%d items, %d volumes, %d others", items, volumes, other)
	}
	if last.Files != 711 || last.Volume != "three" || last.Bytes != r.Volumes[0].BytesProcessed+1 {
		t.Errorf("last %+v, processed %d", last, r.Volumes[0].BytesProcessed)
	}
	if len(r.Volumes) != 3 || r.Volumes[0].Name != "one" || r.Volumes[2].State != snapshot.Failed {
		t.Errorf("volumes %+v", r.Volumes)
	}
}
