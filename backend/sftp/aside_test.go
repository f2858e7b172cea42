package sftp

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"
	"sync"
	"testing"

	"github.com/pkg/sftp"
)

// packet returns a packet of these parts: a byte, a number or a text each.
func packet(kind byte, parts ...any) []byte {
	p := append(make([]byte, 4), kind)
	for _, part := range parts {
		switch v := part.(type) {
		case uint32:
			p = binary.BigEndian.AppendUint32(p, v)
		case string:
			p = append(binary.BigEndian.AppendUint32(p, uint32(len(v))), v...)
		case []byte:
			p = append(p, v...)
		default:
			panic("sftp: internal error: a packet has no such part")
		}
	}
	binary.BigEndian.PutUint32(p, uint32(len(p)-4))
	return p
}

// sink keeps what is written.
type sink struct {
	sync.Mutex
	bytes.Buffer
}

func (s *sink) Write(p []byte) (int, error) {
	s.Lock()
	defer s.Unlock()
	return s.Buffer.Write(p)
}

func (s *sink) Close() error { return nil }

// TestAsideWrites: our requests go between those of the library, never into one,
// however it cuts them.
func TestAsideWrites(t *testing.T) {
	var stream []byte
	for i := range uint32(20) {
		stream = append(stream, packet(6, i, strings.Repeat("x", int(i*i)))...)
	}
	for size := 1; size < 100; size++ {
		var out sink
		a := newAside(nil, &out, nil)
		var wg sync.WaitGroup
		wg.Go(func() {
			for range 20 {
				if _, err := a.send(newRequest(nil, askOpenDir, "directory")); err != nil {
					t.Error(err)
				}
			}
		})
		for rest := stream; len(rest) > 0; {
			n := min(size, len(rest))
			if k, err := a.Write(rest[:n]); k != n || err != nil {
				t.Fatal(k, err)
			}
			rest = rest[n:]
		}
		wg.Wait()
		var library []byte
		asked := 0
		for rest := out.Bytes(); len(rest) > 0; {
			n := 4 + int(binary.BigEndian.Uint32(rest))
			if id := binary.BigEndian.Uint32(rest[5:]); id >= ours {
				if asked++; !bytes.Equal(rest[:n], packet(askOpenDir, id, "directory")) {
					t.Fatalf("our request is %x", rest[:n])
				}
			} else {
				library = append(library, rest[:n]...)
			}
			rest = rest[n:]
		}
		if !bytes.Equal(library, stream) || asked != 20 {
			t.Fatalf("in pieces of %d: %d requests of ours; the library's arrive changed", size, asked)
		}
	}
}

// TestAsideReads: answers to our requests are taken out, whatever their order,
// and all others reach the library as they are.
func TestAsideReads(t *testing.T) {
	version, other, long := packet(2, uint32(3), "ext", "1"), packet(isStatus, uint32(7), uint32(0)), packet(103, uint32(8), strings.Repeat("data", 30_000))
	first, second := packet(isHandle, uint32(ours+1), "h"), packet(isStatus, uint32(ours+2), uint32(1), "end", "")
	in := bytes.Join([][]byte{version, second, other, first, long}, nil)
	a := newAside(bytes.NewReader(in), &sink{}, nil)
	one, _ := a.send(newRequest(nil, askOpenDir, "d"))
	two, _ := a.send(newRequest(nil, askReadDir, "h"))
	got, err := io.ReadAll(a)
	if want := bytes.Join([][]byte{version, other, long}, nil); err != nil || !bytes.Equal(got, want) {
		t.Fatalf("%v; the library reads %d bytes, want %d", err, len(got), len(want))
	}
	if x := <-one; x.kind != isHandle || string(x.body) != "\x00\x00\x00\x01h" {
		t.Errorf("first answer: %v", x)
	}
	if err := failureOf(<-two); err != io.EOF {
		t.Errorf("second answer: %v", err)
	}
	for name, in := range map[string][]byte{
		"to nothing":           packet(isStatus, uint32(ours+9), uint32(0)),
		"a second time":        append(bytes.Clone(first), first...),
		"short":                packet(isStatus),
		"longer than allowed":  append(binary.BigEndian.AppendUint32(nil, longestAnswer+1), make([]byte, 20)...),
		"cut off in the midst": first[:len(first)-1],
	} {
		a := newAside(bytes.NewReader(in), &sink{}, nil)
		if _, err := a.send(newRequest(nil, askOpenDir, "d")); err != nil {
			t.Fatal(err)
		}
		if got, err := io.ReadAll(a); err == nil || len(got) > 0 {
			t.Errorf("an answer %s: %d bytes, %v", name, len(got), err)
		}
	}
}

// scripted is a connection to a server that answers the nth request of a kind, whose
// arguments are args, with what a function says; answers may overtake each other.
func scripted(t *testing.T, answer func(kind byte, n int, args []byte) []byte) *conn {
	server, client := io.Pipe()
	requests, w := io.Pipe()
	c := &conn{aside: newAside(server, w, nil)}
	c.ctx, c.cancel = context.WithCancelCause(t.Context())
	go func() {
		counts := map[byte]int{}
		head := make([]byte, answerHead)
		for {
			if _, err := io.ReadFull(requests, head); err != nil {
				return
			}
			args := make([]byte, binary.BigEndian.Uint32(head)-5)
			if _, err := io.ReadFull(requests, args); err != nil {
				return
			}
			kind := head[4]
			p := answer(kind, counts[kind], args)
			counts[kind]++
			p = append(bytes.Clone(p[:5]), append(bytes.Clone(head[5:]), p[9:]...)...)
			go client.Write(p)
		}
	}()
	go func() {
		_, err := io.Copy(io.Discard, c.aside)
		c.cancel(fmt.Errorf("broken: %v", err))
	}()
	t.Cleanup(func() { server.Close(); requests.Close() })
	return c
}

// TestReadDirAnswers: what a server can answer to the requests of a listing.
func TestReadDirAnswers(t *testing.T) {
	const id = uint32(0) // filled in later
	name := func(s string) []byte { return packet(0, s, "line", uint32(0))[5:] }
	handle := packet(isHandle, id, "h")
	dir, file := packet(isAttributes, id, uint32(hasMode), uint32(0o040755)), packet(isAttributes, id, uint32(hasMode), uint32(0o100644))
	status := func(code uint32) []byte { return packet(isStatus, id, code, "said", "") }
	names := packet(isName, id, uint32(3), name("."), name("a"), name("dir/b"))
	failure := &sftp.StatusError{}
	for what, c := range map[string]struct {
		open, ground []byte
		reads        [][]byte // the last one again and again
		want         string
		is           error
	}{
		"entries":                    {open: handle, reads: [][]byte{names, status(1)}, want: "a b"},
		"many answers":               {open: handle, reads: [][]byte{names, names, names, names, names, status(1)}, want: "a b a b a b a b a b"},
		"empty":                      {open: handle, reads: [][]byte{status(1)}},
		"none after the end":         {open: handle, reads: [][]byte{status(1), names}, want: "a b"}, // they overtook it
		"missing":                    {open: status(2), ground: file, is: fs.ErrNotExist},
		"missing, like the ground":   {open: status(2), ground: status(2), is: fs.ErrNotExist},
		"missing, and the ground is": {open: status(2), ground: dir, is: errNothing},
		"refused":                    {open: status(3), ground: dir, is: fs.ErrPermission},
		"fails later":                {open: handle, reads: [][]byte{names, names, status(4)}, is: failure},
		"no handle":                  {open: packet(isHandle, id), is: errMalformed},
		"a yes":                      {open: status(0), is: errMalformed},
		"names of nothing":           {open: handle, reads: [][]byte{packet(isName, id, uint32(2), name("a"))}, is: errMalformed},
		"no status":                  {open: handle, reads: [][]byte{packet(isStatus, id)}, is: errMalformed},
	} {
		t.Run(what, func(t *testing.T) {
			conn := scripted(t, func(kind byte, n int, _ []byte) []byte {
				switch kind {
				case askOpenDir:
					return c.open
				case askStat:
					return c.ground
				case askReadDir:
					return c.reads[min(n, len(c.reads)-1)]
				}
				return packet(isStatus, id, uint32(0))
			})
			ground := ""
			if c.ground != nil {
				ground = "/place"
			}
			list, err := conn.readDir(t.Context(), "/place/dir", ground)
			if c.is == failure {
				if !errors.As(err, &failure) || failure.FxCode() != sftp.ErrSSHFxFailure || !strings.Contains(err.Error(), "said") {
					t.Errorf("error %v", err)
				}
			} else if !errors.Is(err, c.is) || c.is == fs.ErrNotExist && err == errNothing {
				t.Errorf("error %v, want %v", err, c.is)
			}
			var got []string
			for _, e := range list {
				got = append(got, e.Name())
			}
			if s := strings.Join(got, " "); s != c.want {
				t.Errorf("%q, want %q", s, c.want)
			}
		})
	}
}

// FuzzAnswers: no answer makes the decoders panic, or give more entries than its
// bytes can hold.
func FuzzAnswers(f *testing.F) {
	f.Add([]byte{})
	f.Add(packet(0, uint32(1), "name", "line", uint32(hasSize|hasOwner|hasMode|hasTimes|hasExtended), uint32(1), uint32(2), uint32(3), uint32(4), uint32(0o040700), uint32(5), uint32(6), uint32(1), "k", "v")[5:])
	f.Add(packet(0, uint32(1<<31), "name")[5:])
	f.Add(packet(0, uint32(4), "said", "en")[5:])
	f.Fuzz(func(t *testing.T, b []byte) {
		list, err := appendNames(nil, b)
		if len(list) > len(b)/12 || err != nil && list != nil {
			t.Errorf("%d entries of %d bytes, %v", len(list), len(b), err)
		}
		if failureOf(answer{isStatus, b}) == nil || failureOf(answer{isName, b}) == nil {
			t.Error("a status without an error")
		}
	})
}

// TestAttributes: all that can be told of a file, and what counts of it.
func TestAttributes(t *testing.T) {
	for _, c := range []struct {
		mode uint32
		want fs.FileMode
	}{{0o100640, 0o640}, {0, 0}, {0o040755, fs.ModeDir | 0o755}, {0o120777, fs.ModeIrregular | 0o777}, {0o010600, fs.ModeIrregular | 0o600}, {0o140600, fs.ModeIrregular | 0o600}} {
		list, err := appendNames(nil, packet(0, uint32(1), "n", "", uint32(hasSize|hasOwner|hasMode|hasTimes|hasExtended),
			uint32(1), uint32(2), uint32(3), uint32(4), c.mode, uint32(5), uint32(6), uint32(1), "k", "v")[5:])
		if err != nil || len(list) != 1 {
			t.Fatal(list, err)
		}
		if e := list[0]; e.Name() != "n" || e.Size() != 1<<32+2 || e.Mode() != c.want || e.IsDir() != c.want.IsDir() || e.ModTime().Unix() != 6 || e.Sys() != nil {
			t.Errorf("%o: %+v", c.mode, e)
		}
	}
}
