package sftp

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"strings"
	"sync"
	"testing"

	"vault/backend"
)

// TestReadAt: what is read is what the file holds, however a server cuts its answers,
// and where the file ends before, that is told.
func TestReadAt(t *testing.T) {
	file := noise(5*chunkSize + 100)
	for what, c := range map[string]struct {
		off, n int
		cut    func(n, size int) int // bytes that the nth request gets, of so many
		want   int
		err    error
	}{
		"whole":            {n: len(file), want: len(file)},
		"a part":           {off: 70, n: 3 * chunkSize, want: 3 * chunkSize},
		"nothing":          {},
		"small answers":    {n: 2 * chunkSize, cut: func(_, size int) int { return min(size, 1000) }, want: 2 * chunkSize},
		"each other small": {n: len(file), cut: func(n, size int) int { return size/2 + size%2 + n%2*(size/2) }, want: len(file)},
		"beyond the end":   {off: 4 * chunkSize, n: 3 * chunkSize, want: chunkSize + 100, err: io.EOF},
		"after the end":    {off: len(file), n: 10, err: io.EOF},
		"far after it":     {off: len(file) + 5*chunkSize, n: 2 * chunkSize, err: io.EOF},
	} {
		t.Run(what, func(t *testing.T) {
			conn := scripted(t, func(kind byte, n int, args []byte) []byte {
				d := decoder{args}
				if handle := d.text(); kind != askRead || handle != "handle" {
					return packet(isStatus, uint32(0), uint32(4), "what?", "")
				}
				d.number()
				at, size := int(d.number()), int(d.number())
				if at >= len(file) {
					return packet(isStatus, uint32(0), uint32(1), "end", "")
				}
				if size = min(size, len(file)-at); c.cut != nil {
					size = c.cut(n, size)
				}
				return packet(isData, uint32(0), string(file[at:at+size]))
			})
			got, err := conn.readAt("handle", int64(c.off), c.n)
			if err != c.err || len(got) != c.want || !bytes.Equal(got, file[min(c.off, len(file)):][:c.want]) {
				t.Errorf("%d bytes, %v, want %d, %v", len(got), err, c.want, c.err)
			}
		})
	}
	for what, answer := range map[string][]byte{
		"too much":  packet(isData, uint32(0), "12345"),
		"nothing":   packet(isData, uint32(0), ""),
		"cut off":   packet(isData, uint32(0), uint32(4), []byte("12")),
		"a handle":  packet(isHandle, uint32(0), "h"),
		"no status": packet(isStatus, uint32(0)),
	} {
		conn := scripted(t, func(byte, int, []byte) []byte { return answer })
		if got, err := conn.readAt("handle", 0, 4); err != errMalformed || got != nil {
			t.Errorf("%s: %q, %v", what, got, err)
		}
	}
}

// TestUploadAnswers: what a server can answer while a file is made and filled.
func TestUploadAnswers(t *testing.T) {
	ok, handle := packet(isStatus, uint32(0), uint32(0), "", ""), packet(isHandle, uint32(0), "h")
	status := func(code uint32) []byte { return packet(isStatus, uint32(0), code, "said", "") }
	type script map[byte]func(n int) []byte
	always := func(p []byte) func(int) []byte { return func(int) []byte { return p } }
	nth := func(k int, p []byte) func(int) []byte {
		return func(n int) []byte {
			if n == k {
				return p
			}
			return nil
		}
	}
	refused := errors.New("whatever is no answer that passes")
	for what, c := range map[string]struct {
		s    script
		open error // or fill
		fill error
		made string // directories
	}{
		"all is well":              {made: "/repo/a /repo/a/b"},
		"a directory is there":     {s: script{askMkdir: nth(0, status(4))}, made: "/repo/a/b"},
		"no modes":                 {s: script{askSetStat: always(status(8)), askFsetStat: always(status(8))}, made: "/repo/a /repo/a/b"},
		"no file":                  {s: script{askOpen: nth(0, status(2))}, open: fs.ErrNotExist},
		"no directory":             {s: script{askOpen: nth(1, status(3))}, open: fs.ErrPermission},
		"no parent":                {s: script{askOpen: nth(2, status(3))}, open: fs.ErrPermission},
		"none of the repository":   {s: script{askOpen: nth(4, status(3))}, made: "/repo/a /repo/a/b"}, // somebody else's
		"no handle":                {s: script{askOpen: nth(0, ok)}, open: refused},
		"a write fails":            {s: script{askWrite: nth(3, status(4))}, fill: backend.ErrNoSpace, made: "/repo/a /repo/a/b"},
		"the sync fails":           {s: script{askExtended: nth(3, status(4))}, fill: backend.ErrNoSpace, made: "/repo/a /repo/a/b"}, // after those of parents
		"that of a parent fails":   {s: script{askExtended: nth(0, status(4))}, fill: refused, made: "/repo/a /repo/a/b"},
		"parents cannot be synced": {s: script{askExtended: nth(0, status(5))}, made: "/repo/a /repo/a/b"}, // EINVAL
	} {
		t.Run(what, func(t *testing.T) {
			var mu sync.Mutex
			got := make([]byte, 10*chunkSize)
			open := map[byte]int{}
			var modes []string
			conn := scripted(t, func(kind byte, n int, args []byte) []byte {
				mu.Lock()
				defer mu.Unlock()
				open[kind]++
				d := decoder{args}
				switch kind {
				case askWrite:
					d.text()
					d.number()
					at := d.number()
					copy(got[at:], d.text())
				case askSetStat:
					modes = append(modes, d.text())
				}
				if f := c.s[kind]; f != nil {
					if p := f(n); p != nil {
						return p
					}
				}
				if kind == askOpen {
					return handle
				}
				return ok
			})
			conn.link = &link{close: func() {}}
			conn.has.fsync = true
			s, err := newStore(Config{Host: "nas", Path: "/repo", Home: t.TempDir()})
			must(t, err)
			s.root = "/repo"
			u := &upload{s: s, rel: "a/b", data: noise(7*chunkSize + 5)}
			g, err := s.open(conn, "/repo/a/b/.temp", "/repo/a/b", s.doubtful(conn, "a/b"))
			if c.open != nil {
				if err == nil || c.open != refused && !errors.Is(err, c.open) {
					t.Errorf("opened: %v, want %v", err, c.open)
				}
				return
			}
			must(t, err)
			err = u.fill(t.Context(), conn, g)
			mu.Lock()
			defer mu.Unlock()
			var m *marked
			switch {
			case c.fill == nil:
				must(t, err)
				if !bytes.Equal(got[:len(u.data)], u.data) || len(s.doubtful(conn, "a/b")) > 0 {
					t.Errorf("written otherwise, or not all is durable: %q", s.doubtful(conn, "a/b"))
				}
				if open[askExtended] < 4 && what != "none of the repository" { // the file's, and what is above three directories
					t.Errorf("%d were made durable", open[askExtended])
				}
			case err == nil, c.fill != refused && !(errors.As(err, &m) && m.kind == c.fill):
				t.Errorf("filled: %v, want %v", err, c.fill)
			case len(s.doubtful(conn, "a/b")) != 3:
				t.Errorf("durable though it failed: all but %q", s.doubtful(conn, "a/b"))
			}
			if c.s[askWrite] != nil && open[askExtended] > 3 {
				t.Error("a file is made durable before all of it is written")
			}
			if s := strings.Join(modes, " "); s != c.made {
				t.Errorf("modes were set of %q, want %q", s, c.made)
			}
		})
	}
}
