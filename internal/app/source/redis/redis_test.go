//go:build linux

package redis

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"vault/internal/app/apptest"
	"vault/internal/app/source"
	"vault/internal/save"
	"vault/snapshot"
	"vault/snapshot/archive"
)

func TestMain(m *testing.M) { os.Exit(apptest.Main(m)) }

var databases atomic.Int64

// newPlace returns an empty database of its own, and a connection to it.
func newPlace(t *testing.T) (Server, *client) {
	t.Helper()
	r := apptest.Redis(t)
	s := Server{Address: r.Socket, Password: r.Password, Database: int(databases.Add(1)) % 16}
	c, err := dial(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	must(t, c, "FLUSHDB")
	t.Cleanup(c.close)
	return s, c
}

func must(t *testing.T, c *client, args ...string) any {
	t.Helper()
	a, err := c.do(args...)
	if err != nil {
		t.Fatalf("%q: %v", args, err)
	}
	return a
}

// content returns the bytes of a saved file.
func content(t *testing.T, r *apptest.Repo, n *snapshot.Node) []byte {
	t.Helper()
	b, err := io.ReadAll(io.NewSectionReader(snapshot.NewReader(t.Context(), r, n), 0, int64(n.Size)))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestOneKey(t *testing.T) {
	s, c := newPlace(t)
	must(t, c, "HSET", "module/dokuwiki1/settings", "title", "W\x00iki", "ä", strings.Repeat("long", 1000))
	k := Keys{Server: s, Key: "module/dokuwiki1/settings"}
	if err := k.Preflight(t.Context()); err != nil {
		t.Fatal(err)
	}
	before := must(t, c, "DUMP", k.Key).([]byte)
	r := apptest.NewRepo(t)
	v := r.MustSave(t, k)
	if v.Root.Type != snapshot.File || !bytes.Equal(content(t, r, v.Root), before) || v.Root.Xattrs != nil {
		t.Fatalf("saved: %+v", v.Root)
	}
	if again := r.MustSave(t, k); again.Files.Unmodified != 1 {
		t.Errorf("the second time: %+v", again.Files)
	}

	// It exists: an error without Replace, and the old value stays.
	must(t, c, "HSET", k.Key, "title", "changed")
	if _, err := k.Restore(t.Context(), r, v.Root, RestoreOptions{}); !errors.Is(err, ErrExists) {
		t.Errorf("over a key: %v", err)
	}
	if got := must(t, c, "HGET", k.Key, "title"); string(got.([]byte)) != "changed" {
		t.Errorf("after a refused restore: %q", got)
	}
	report, err := k.Restore(t.Context(), r, v.Root, RestoreOptions{Replace: true})
	if err != nil || report.Restored != 1 {
		t.Fatalf("%+v, %v", report, err)
	}
	if got := must(t, c, "HGET", k.Key, "title"); string(got.([]byte)) != "W\x00iki" {
		t.Errorf("restored: %q", got)
	}
	// Under the id of another module.
	k.Key = "module/dokuwiki7/settings"
	if _, err := k.Restore(t.Context(), r, v.Root, RestoreOptions{}); err != nil {
		t.Fatal(err)
	}
	if got := must(t, c, "HLEN", k.Key); got != int64(2) {
		t.Errorf("under another name: %v", got)
	}
}

func TestManyKeys(t *testing.T) {
	s, c := newPlace(t)
	keys := map[string]string{"user:1": "a", "user:/2": "b", "user:%": "c", "user:caf\xe9\x00": "d", "user:..": "e"}
	for i := range 2500 {
		keys["user:n"+strconv.Itoa(i)] = strings.Repeat(strconv.Itoa(i), i%50)
	}
	for k, v := range keys {
		must(t, c, "SET", k, v)
	}
	must(t, c, "SET", "other", "x")
	must(t, c, "PEXPIREAT", "user:1", "4102444800123")
	must(t, c, "SET", "user:temporary", "x", "EX", "1000")
	k := Keys{Server: s, Pattern: "user:*"}
	r := apptest.NewRepo(t)
	v := r.MustSave(t, k)
	got := map[string]*snapshot.Node{}
	for n, err := range snapshot.ReadDir(t.Context(), r, v.Root.Tree) {
		if err != nil {
			t.Fatal(err)
		}
		key, err := source.UnescapeName(n.Name)
		if err != nil {
			t.Fatal(err)
		}
		got[key] = n
	}
	want := slices.Sorted(maps.Keys(keys))
	want = append(want, "user:temporary")
	slices.Sort(want)
	if !slices.Equal(slices.Sorted(maps.Keys(got)), want) {
		t.Fatalf("%d keys saved, want %d", len(got), len(want))
	}
	if x := got["user:1"].Xattrs; len(x) != 1 || x[0].Name != attrExpires || string(x[0].Value) != "4102444800123" {
		t.Errorf("user:1 expires: %v", x)
	}
	again := r.MustSave(t, k)
	if again.Root.Tree != v.Root.Tree {
		t.Error("two backups of the same keys differ")
	}

	must(t, c, "FLUSHDB")
	must(t, c, "SET", "user:n2499", "in the way")
	if report, err := k.Restore(t.Context(), r, v.Root, RestoreOptions{}); !errors.Is(err, ErrExists) || report.Restored != 0 {
		t.Errorf("%+v, %v", report, err)
	}
	report, err := k.Restore(t.Context(), r, v.Root, RestoreOptions{Replace: true})
	if err != nil || report.Restored != uint64(len(want)) {
		t.Fatalf("%+v, %v", report, err)
	}
	for key, v := range keys {
		if got := must(t, c, "GET", key); string(got.([]byte)) != v {
			t.Fatalf("%q is %q, want %q", key, got, v)
		}
	}
	if at := must(t, c, "PEXPIRETIME", "user:1"); at != int64(4102444800123) {
		t.Errorf("user:1 expires at %v", at)
	}
	if at := must(t, c, "PTTL", "user:temporary").(int64); at <= 0 || at > 1000_000 {
		t.Errorf("user:temporary expires in %v ms", at)
	}
	// What was not there goes if that is wanted; what does not match stays.
	must(t, c, "SET", "user:later\xff", "x")
	must(t, c, "SET", "other", "x")
	if report, err := k.Restore(t.Context(), r, v.Root, RestoreOptions{Replace: true, Clean: true}); err != nil || report.Removed != 1 || report.Restored != uint64(len(want)) {
		t.Errorf("%+v, %v", report, err)
	}
	if n := must(t, c, "DBSIZE"); n != int64(len(want)+1) || must(t, c, "EXISTS", "other") != int64(1) {
		t.Errorf("%v keys, want %d", n, len(want)+1)
	}
	// Renamed, chosen, and for ever.
	must(t, c, "FLUSHDB")
	only := RestoreOptions{Forever: true, Rename: func(key string) string {
		if key == "user:1" {
			return "u:1"
		}
		return ""
	}}
	if report, err := k.Restore(t.Context(), r, v.Root, only); err != nil || report.Restored != 1 {
		t.Errorf("%+v, %v", report, err)
	}
	if n := must(t, c, "DBSIZE"); n != int64(1) || must(t, c, "PTTL", "u:1") != int64(-1) {
		t.Errorf("%v keys", n)
	}
}

// A key whose time has come since it was saved is left out.
func TestExpired(t *testing.T) {
	s, c := newPlace(t)
	must(t, c, "SET", "session", "x", "PXAT", "4102444800000")
	k := Keys{Server: s, Key: "session"}
	r := apptest.NewRepo(t)
	v := r.MustSave(t, k)
	v.Root.Xattrs[0].Value = []byte("1700000000000")
	must(t, c, "DEL", "session")
	if report, err := k.Restore(t.Context(), r, v.Root, RestoreOptions{}); err != nil || report.Expired != 1 || report.Restored != 0 {
		t.Errorf("%+v, %v", report, err)
	}
	if _, err := k.Restore(t.Context(), r, v.Root, RestoreOptions{Forever: true}); err != nil || must(t, c, "EXISTS", "session") != int64(1) {
		t.Errorf("for ever: %v", err)
	}
	v.Root.Xattrs[0].Value = []byte("soon")
	if _, err := k.Restore(t.Context(), r, v.Root, RestoreOptions{Replace: true}); err == nil {
		t.Error("a time that is none")
	}
}

// A file as NethServer's redis-dump writes it, by a real server.
func TestFixture(t *testing.T) {
	s, c := newPlace(t)
	file, err := os.ReadFile(filepath.Join("testdata", "redis-hash-key.dump"))
	if err != nil {
		t.Fatal(err)
	}
	k := Keys{Server: s, Key: "fixture"}
	if err := k.RestoreValue(t.Context(), bytes.NewReader(file), RestoreOptions{}); err != nil {
		t.Fatal(err)
	}
	if kind := must(t, c, "TYPE", "fixture"); kind != "hash" {
		t.Errorf("it is a %v", kind)
	}
	if err := k.RestoreValue(t.Context(), bytes.NewReader(file), RestoreOptions{}); !errors.Is(err, ErrExists) {
		t.Errorf("a second time: %v", err)
	}
	// Each damaged byte is found before the server is asked.
	for i := range file {
		bad := bytes.Clone(file)
		bad[i] ^= 0x10
		if err := k.RestoreValue(t.Context(), bytes.NewReader(bad), RestoreOptions{Replace: true}); !errors.Is(err, ErrDamaged) {
			t.Errorf("byte %d changed: %v", i, err)
		}
	}
	if err := k.RestoreValue(t.Context(), bytes.NewReader(file[:5]), RestoreOptions{Replace: true}); !errors.Is(err, ErrDamaged) {
		t.Errorf("five bytes: %v", err)
	}
	// Of a newer server: a version that this one does not know, and a checksum of zero,
	// which says that there is none.
	newer := append(bytes.Clone(file[:len(file)-footer]), 0xff, 0x7f, 0, 0, 0, 0, 0, 0, 0, 0)
	if err := k.RestoreValue(t.Context(), bytes.NewReader(newer), RestoreOptions{Replace: true}); err == nil || !strings.Contains(err.Error(), "version 32767") {
		t.Errorf("a newer version: %v", err)
	}
}

func TestFailures(t *testing.T) {
	s, _ := newPlace(t)
	change := func(f func(s *Server)) Server {
		c := s
		f(&c)
		return c
	}
	for name, c := range map[string]struct {
		s    Server
		want string
	}{
		"server down":    {change(func(s *Server) { s.Address += "x" }), "is the server running"},
		"wrong password": {change(func(s *Server) { s.Password = "wrong" }), "WRONGPASS"},
		"no password":    {change(func(s *Server) { s.Password = "" }), "NOAUTH"},
		"unknown user":   {change(func(s *Server) { s.User = "stranger" }), "WRONGPASS"},
		"no database":    {change(func(s *Server) { s.Database = 4711 }), "choose database 4711"},
	} {
		if err := c.s.Preflight(t.Context()); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", name, err)
		}
		r := apptest.NewRepo(t)
		if got := r.Save(t, archive.Volume{Name: "v", Source: Keys{Server: c.s, Key: "x"}}); got.Outcome != save.Refused {
			t.Errorf("%s: %v", name, got.Outcome)
		}
	}
	for _, k := range []Keys{{Server: s, Key: "no such key"}, {Server: s, Pattern: "nothing*"}} {
		r := apptest.NewRepo(t)
		got := r.Save(t, archive.Volume{Name: "v", Source: k})
		if got.Outcome != save.Refused || !strings.Contains(got.Backup.Volumes[0].Problems[0].Message, ErrNoKey.Error()) {
			t.Errorf("%+v: %v", k, got.Backup.Volumes)
		}
	}
	// Over the network, and as somebody who may not DUMP.
	tcp := Server{Address: apptest.Redis(t).Address, Password: s.Password}
	c, err := dial(t.Context(), tcp)
	if err != nil {
		t.Fatal(err)
	}
	defer c.close()
	must(t, c, "SET", "tcp", "1")
	must(t, c, "ACL", "SETUSER", "weak", "on", ">pw", "~*", "+@all", "-dump")
	weak := Keys{Server: Server{Address: tcp.Address, User: "weak", Password: "pw"}, Key: "tcp"}
	got := apptest.NewRepo(t).Save(t, archive.Volume{Name: "v", Source: weak})
	if got.Outcome != save.Refused || !strings.Contains(fmt.Sprint(got.Backup.Volumes[0].Problems), "NOPERM") {
		t.Errorf("without the right to DUMP: %+v", got.Backup.Volumes)
	}
}

// A server that goes away in the middle fails the volume.
func TestBreaksOff(t *testing.T) {
	s, c := newPlace(t)
	for i := range 600 {
		must(t, c, "SET", "k"+strconv.Itoa(i), strings.Repeat("x", 1000))
	}
	// A proxy that closes the connection after so many bytes of answers.
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	socket := s.Address
	go func() {
		for {
			in, err := l.Accept()
			if err != nil {
				return
			}
			out, err := net.Dial("unix", socket)
			if err != nil {
				in.Close()
				continue
			}
			go io.Copy(out, in)
			go func() {
				io.CopyN(in, out, 20_000)
				in.Close()
				out.Close()
			}()
		}
	}()
	s.Address = l.Addr().String()
	got := apptest.NewRepo(t).Save(t, archive.Volume{Name: "v", Source: Keys{Server: s, Pattern: "*"}})
	if v := got.Backup.Volumes[0]; v.State == snapshot.Complete || v.ProblemCount == 0 {
		t.Errorf("%v with %d problems", v.State, v.ProblemCount)
	}
}

func TestAnswers(t *testing.T) {
	for text, want := range map[string]string{
		"+OK\r\n": "OK", ":-7\r\n": "-7", "$3\r\na\r\n\r\n": "[97 13 10]", "$2\r\nab\r\n": "[97 98]", "$-1\r\n": "<nil>", "*-1\r\n": "<nil>", "-ERR x\r\n": "ERR x",
		"*2\r\n:1\r\n*1\r\n$0\r\n\r\n": "[1 [[]]]", "": "", "\r\n": "", "+x\n": "", "+x": "", ":x\r\n": "", "$5\r\nab\r\n": "", "$2\r\nabXY": "",
		"$9999999999\r\n": "", "$536870912\r\nab": "", "*99999999\r\n": "", "*1048576\r\n:1\r\n": "", "?x\r\n": "",
		strings.Repeat("*1\r\n", maxDepth+1) + ":1\r\n": "", "+" + strings.Repeat("x", 100_000) + "\r\n": "",
	} {
		a, err := readAnswer(bufio.NewReaderSize(strings.NewReader(text), maxLine), 0)
		if got := fmt.Sprint(a); (err != nil) != (want == "") || err == nil && got != want {
			t.Errorf("%.40q: %s, %v", text, got, err)
		}
	}
}

func FuzzAnswer(f *testing.F) {
	f.Add([]byte("*2\r\n$1\r\n0\r\n*1\r\n$2\r\nab\r\n"))
	f.Add([]byte("-ERR x\r\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		a, err := readAnswer(bufio.NewReader(bytes.NewReader(b)), 0)
		if err != nil {
			return
		}
		page(a)
		milliseconds(a)
		if v, ok := a.([]byte); ok {
			checkValue(v)
		}
	})
}

// A server that does not know PEXPIRETIME (before Redis 7) tells in how long a key
// expires.
func TestOlderServer(t *testing.T) {
	_, c := newPlace(t)
	must(t, c, "SET", "k", "v", "PXAT", "4102444800000")
	must(t, c, "SET", "forever", "v")
	s := &saver{client: c}
	_, expires, err := s.dump("k")
	// The server tells what is left, and the answer takes its time: a minute at most.
	if err != nil || (time.Duration(expires-4102444800000)*time.Millisecond).Abs() > time.Minute {
		t.Errorf("it expires at %d, %v", expires, err)
	}
	if _, expires, err := s.dump("forever"); err != nil || expires != 0 {
		t.Errorf("it expires at %d, %v", expires, err)
	}
	if _, _, err := s.dump("gone"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a key that is gone: %v", err)
	}
}
